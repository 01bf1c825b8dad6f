"""Fetching a file from a server on loopback: whole, in pieces, and when everything goes wrong."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest

from harness.data.archive import fetch as fetch_module
from harness.data.archive.fetch import Patience, fetch
from harness.data.archive.view import LineView
from harness.data.archive.web import AddressError, DownloadError
from tests.data.serving import fixed, give, hang, serving

DATA = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
OTHER = np.random.default_rng(1).bytes(3_000_000)
QUICK = Patience(timeout_s=0.3, attempts=3, pause_s=0.01)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def part(tmp_path) -> Path:
    return tmp_path / "x.archive"


def run(url, part, *, sha256=SHA256, patience=QUICK, make_room=lambda size, have: None):
    fetch(url, sha256, part, patience=patience, view=LineView(), make_room=make_room)


def refused(url, part, kind=DownloadError, **changes) -> str:
    """The one line that a failing download ends with."""
    with pytest.raises(kind) as caught:
        run(url, part, **changes)
    line = str(caught.value)
    assert "\n" not in line
    assert url in line or str(part) in line
    return line


def assert_whole(part):
    assert part.read_bytes() == DATA


def test_a_whole_file_in_one_go(part):
    with serving(give(DATA)) as served:
        run(served.url, part)
    assert_whole(part)
    assert served.body_bytes == len(DATA)


def test_a_cut_connection_goes_on_where_it_ended(part, capsys):
    with serving(give(DATA, cut=1_200_000), give(DATA, cut=1_000_000), give(DATA)) as served:
        run(served.url, part)
    assert_whole(part)
    assert [one.status for one in served.asked] == [200, 206, 206]
    assert [one.headers.get("range") for one in served.asked] == [None, "bytes=1200000-", "bytes=2200000-"]
    assert served.asked[1].headers["if-range"] == '"one"'
    assert served.body_bytes == len(DATA)  # not one byte twice
    assert "the connection ended after 1200000 of 3000000 bytes; trying again" in capsys.readouterr().err


def test_a_later_command_goes_on_too(part):
    with serving(give(DATA, cut=1_000_000), fixed(503)) as served:
        refused(served.url, part)
        assert part.stat().st_size == 1_000_000
        served.behaviours[:] = [give(DATA)]
        run(served.url, part)
        assert_whole(part)
        assert served.body_bytes == len(DATA)
        run(served.url, part)  # all there: nobody is asked
        assert served.body_bytes == len(DATA)


def test_a_date_serves_where_there_is_no_tag_and_a_weak_tag_does_not(part):
    date = "Thu, 22 Sep 2022 19:23:39 GMT"
    stated = {"etag": 'W/"x"', "last_modified": date}
    with serving(give(DATA, cut=99, **stated), give(DATA, **stated)) as served:
        run(served.url, part)
    assert served.asked[1].headers["if-range"] == date
    assert served.body_bytes == len(DATA)


def test_a_server_without_ranges_sends_all_again(part, capsys):
    with serving(give(DATA, cut=1_000_000, ranges=False), give(DATA, ranges=False)) as served:
        run(served.url, part)
    assert_whole(part)
    assert served.body_bytes == len(DATA) + 1_000_000
    assert "does not go on in the middle" in capsys.readouterr().err


def test_a_server_without_ranges_that_always_cuts_is_given_up(part):
    with serving(give(DATA, cut=500_000, ranges=False)) as served:
        line = refused(served.url, part)
    assert "ended after 500000 of 3000000 bytes, 3 times in a row" in line
    assert len(served.asked) == 3


def test_attempts_that_get_further_are_not_counted_together(part):
    data = np.random.default_rng(2).bytes(8 * 2**20)
    with serving(give(data, cut=2**20 + 1)) as served:
        run(served.url, part, sha256=hashlib.sha256(data).hexdigest(), patience=Patience(0.3, attempts=2, pause_s=0.01))
    assert part.read_bytes() == data
    assert len(served.asked) == 8


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(give(DATA, etag='"two"'), id="the server honours If-Range"),
        pytest.param(give(DATA, etag='"two"', if_range=False), id="it does not, but sends the new tag"),
        pytest.param(give(DATA, etag=None), id="no tag any more"),
    ],
)
def test_a_file_that_changed_between_attempts_is_fetched_anew(part, changed, capsys):
    with serving(give(OTHER, cut=1_000_000), changed) as served:
        run(served.url, part)
    assert_whole(part)
    assert "do not fit together" not in capsys.readouterr().err  # found before the rest was fetched


@pytest.mark.parametrize("size", [2_000_000, 4_000_000])
def test_a_file_of_another_size_is_fetched_anew(part, size, capsys):
    data = np.random.default_rng(3).bytes(size)
    with serving(give(OTHER, etag=None, cut=1_000_000), give(data, etag=None)) as served:
        run(served.url, part, sha256=hashlib.sha256(data).hexdigest())
    assert part.read_bytes() == data
    assert "the server's file has changed" in capsys.readouterr().err


def test_a_file_that_became_shorter_than_what_is_here_is_fetched_anew(part):
    data = DATA[:500]
    with serving(give(OTHER, etag=None, cut=1_000_000), give(data, etag=None)) as served:
        run(served.url, part, sha256=hashlib.sha256(data).hexdigest())
    assert [one.status for one in served.asked] == [200, 416, 200]
    assert part.read_bytes() == data


def test_pieces_of_two_files_that_nothing_told_apart_are_found_by_the_checksum(part, capsys):
    with serving(give(OTHER, etag=None, cut=1_000_000), give(DATA, etag=None)) as served:
        run(served.url, part)
    assert_whole(part)
    assert [one.status for one in served.asked] == [200, 206, 200]
    assert "do not fit together" in capsys.readouterr().err


@pytest.mark.parametrize(
    "span",
    ["bytes 0-2999999/3000000", "bytes 999999-2999999/3000000", "bytes 1000000-1999999/3000000", "nonsense", None],
)
def test_a_part_that_was_not_asked_for_is_not_appended(part, span):
    wrong = fixed(206, {"Content-Range": span, "ETag": '"one"'}, DATA[:1000])
    with serving(give(DATA, cut=1_000_000), wrong, give(DATA)) as served:
        run(served.url, part)
    assert_whole(part)
    assert "range" not in served.asked[2].headers


def test_a_part_where_the_whole_was_asked_for(part):
    with serving(fixed(206, {"Content-Range": "bytes 0-2999999/3000000"}, DATA)) as served:
        assert "a part where the whole file" in refused(served.url, part)
    assert not part.exists()


def test_416_for_the_whole_file(part):
    with serving(fixed(416)) as served:
        assert "answers 416" in refused(served.url, part)
    assert len(served.asked) == 1


def test_a_wrong_checksum_leaves_nothing(part, tmp_path):
    with serving(give(OTHER)) as served:
        line = refused(served.url, part)
    assert hashlib.sha256(OTHER).hexdigest() in line
    assert SHA256 in line
    assert list(tmp_path.iterdir()) == []
    assert served.body_bytes == len(OTHER)  # not asked for twice


@pytest.mark.parametrize("announce", [1_000, 2_999_999])
def test_a_content_length_that_is_too_short(part, tmp_path, announce):
    with serving(give(DATA, announce=announce)) as served:
        assert "is not the published archive" in refused(served.url, part)
    assert list(tmp_path.iterdir()) == []


def test_a_content_length_that_is_too_long(part):
    with serving(give(DATA, announce=3_000_100)) as served:
        assert "ended after 3000000 of 3000100 bytes, 3 times in a row" in refused(served.url, part)


def test_an_absurd_content_length_is_refused_before_a_byte_is_written(part, tmp_path):
    with serving(fixed(200, {"Content-Length": 10**12}, b"data")) as served:
        assert "announces 1000.0 GB" in refused(served.url, part)
    with serving(fixed(200, {"Content-Length": "9" * 5000}, DATA)) as served:
        run(served.url, part)  # not a number that can be meant: the checksum decides


def test_no_content_length_at_all(part):
    with serving(fixed(200, {}, DATA)) as served:
        run(served.url, part)
    assert_whole(part)


def test_an_endless_answer_is_stopped(part, tmp_path, monkeypatch):
    def endless(handler):
        handler.head(200, {})
        while not handler.served.release.is_set():
            handler.body(bytes(65536))

    monkeypatch.setattr(fetch_module, "MAX_BYTES", 5_000_000)
    with serving(endless) as served:
        assert "sends more than any archive has" in refused(served.url, part)
    assert list(tmp_path.iterdir()) == []


def chunked(data: bytes, *, cut: int | None = None):
    def behave(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.head(200, {"Transfer-Encoding": "chunked", "Connection": "close"})
        for start in range(0, len(data) if cut is None else cut, 100_000):
            piece = data[start : start + 100_000]
            handler.body(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if cut is None:
            handler.body(b"0\r\n\r\n")
        handler.close_connection = True

    return behave


def test_chunks(part):
    with serving(chunked(DATA, cut=500_000), chunked(DATA)) as served:
        run(served.url, part)
    assert_whole(part)
    assert len(served.asked) == 2


@pytest.mark.parametrize("content_type", ["text/html", "text/html; charset=utf-8", "TEXT/HTML"])
def test_a_web_page_is_no_archive(part, tmp_path, content_type):
    with serving(fixed(200, {"Content-Type": content_type}, b"please log in")) as served:
        assert "gives a web page" in refused(served.url, part, AddressError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>", b"\n <HTML>", b"<?xml version='1.0'?><Error>"])
def test_a_web_page_that_does_not_say_so_is_no_archive_either(part, tmp_path, page):
    with serving(fixed(200, {"Content-Length": len(page)}, page)) as served:
        assert "gives a web page" in refused(served.url, part, AddressError)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_does_not_replace_what_is_here(part):
    with serving(give(DATA, cut=1_000_000), fixed(200, {"Content-Type": "text/html"}, b"log in"), give(DATA)) as served:
        refused(served.url, part, AddressError)
        assert part.stat().st_size == 1_000_000
        run(served.url, part)
    assert served.body_bytes == len(DATA) + len(b"log in")


def test_a_missing_file(part, tmp_path):
    with serving(fixed(404)) as served:
        assert "answered 404 (Not Found)" in refused(served.url, part, AddressError)
    assert len(served.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("behaviour", [hang, give(DATA, cut=100, then=hang)], ids=["silent", "silent in the middle"])
def test_a_server_that_hangs_is_given_up(part, behaviour):
    start = time.monotonic()
    with serving(behaviour) as served:
        assert "nothing came for 0.3 s, 3 times in a row" in refused(served.url, part)
    assert time.monotonic() - start < 5


def test_a_server_that_drips_is_given_up(part):
    def drip(handler):
        handler.head(200, {"Content-Length": len(DATA)})
        while not handler.served.release.wait(0.05):
            handler.body(b"x")

    start = time.monotonic()
    with serving(drip) as served:
        assert "bytes came in" in refused(served.url, part)
    assert time.monotonic() - start < 5


def test_a_busy_server_is_asked_again_as_late_as_it_wants(part, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with serving(fixed(503, {"Retry-After": "30"}), fixed(500), give(DATA)) as served:
        run(served.url, part)
    assert_whole(part)
    assert slept == [30, 0.02]


def test_pauses_double_up_to_their_limit(part, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with serving(fixed(502)) as served:
        refused(served.url, part, patience=Patience(attempts=9))
    assert slept == [1, 2, 4, 8, 16, 32, 60, 60]


def test_without_room_nothing_is_written(part, tmp_path):
    def full(size, have):
        raise DownloadError(f"{part}: no room for {size}")

    with serving(give(DATA)) as served:
        assert "no room for 3000000" in refused(served.url, part, make_room=full)
    assert list(tmp_path.iterdir()) == []


def test_room_is_asked_for_what_is_missing(part):
    asked = []
    with serving(give(DATA, cut=1_000_000), give(DATA)) as served:
        run(served.url, part, make_room=lambda *sizes: asked.append(sizes))
    assert asked == [(3_000_000, 0), (3_000_000, 1_000_000)]


class Full(io.FileIO):
    """A file on a disk that takes half a block more and then nothing."""

    room = 1_500_000

    def write(self, block):
        left = Full.room - self.tell()
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(block[:left])


def test_a_disk_that_fills_up_keeps_what_it_has(part, monkeypatch):
    real = Path.open

    def opened(path, mode="r", *args, **options):
        return (
            Full(path, mode.replace("b", "")) if path == part and mode != "rb" else real(path, mode, *args, **options)
        )

    with serving(give(DATA)) as served:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", opened)
            line = refused(served.url, part)
        assert "the disk is full" in line
        assert part.read_bytes() == DATA[:1_500_000]
        run(served.url, part)
    assert_whole(part)
    assert served.asked[-1].headers["range"] == "bytes=1500000-"


@pytest.mark.parametrize(
    "note",
    [
        None,
        "{",
        "[]",
        "7",
        '{"url": 1}',
        json.dumps({"url": "http://other/", "sha256": SHA256}),
        json.dumps({"url": "URL", "sha256": "0" * 64}),
        json.dumps({"url": "URL", "sha256": SHA256, "etag": 5}),
        json.dumps({"url": "URL", "sha256": SHA256, "size": "x"}),
    ],
)
def test_a_partial_file_of_unknown_origin_is_not_gone_on_with(part, note):
    part.write_bytes(b"what is this")
    with serving(give(DATA)) as served:
        if note is not None:
            part.with_name("x.archive.json").write_text(note.replace("URL", served.url))
        run(served.url, part)
    assert_whole(part)
    assert "range" not in served.asked[0].headers


def test_a_tag_that_cannot_be_sent_back_is_not_sent(part):
    folded = '"a"\r\n b'
    with serving(give(DATA, etag=folded, cut=1_000_000), give(DATA, etag=folded)) as served:
        run(served.url, part)
    assert_whole(part)
    assert "if-range" not in served.asked[1].headers


def test_an_interruption_leaves_a_part_to_go_on_with(part):
    class Impatient(LineView):
        def advance(self, n):
            raise KeyboardInterrupt

    with serving(give(DATA)) as served:
        with pytest.raises(KeyboardInterrupt):
            fetch(served.url, SHA256, part, patience=QUICK, view=Impatient(), make_room=lambda size, have: None)
        have = part.stat().st_size
        assert 0 < have < len(DATA)
        run(served.url, part)
    assert served.asked[-1].headers["range"] == f"bytes={have}-"
    assert_whole(part)
