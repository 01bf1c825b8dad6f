"""Archives and servers: whatever comes is the published file, unpacked below its folder, or one line."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shutil
import socket
import tarfile
import threading
import zipfile
from contextlib import suppress

import pytest
from hypothesis import example
from hypothesis import strategies as st

from harness.data.archive.fetch import Patience, fetch
from harness.data.archive.members import ArchiveError, unpacked_bytes
from harness.data.archive.unpack import Limits, unpack
from harness.data.archive.web import DownloadError
from tests.fuzz.strategies import HOSTILE, damaged, texts
from tests.fuzz.target import answer, fuzz

LIMITS = Limits(members=50, file_bytes=100_000, total_bytes=300_000)


class Silent:
    """A view that shows nothing."""

    def begin(self, stage, total, done=0):
        pass

    def advance(self, n):
        pass

    def end(self):
        pass

    def say(self, line):
        pass


def packed(kind: str) -> bytes:
    buffer = io.BytesIO()
    files = {"a/one.png": b"1" * 700, "a/b/two.png": b"", "readme": b"r" * 3000}
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return buffer.getvalue()
    form = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}[kind]
    with tarfile.open(
        fileobj=buffer, mode="w", format=form, pax_headers={"comment": "é"} if kind == "pax" else {}
    ) as tar:
        for name, data in [*files.items(), ("é" * 110, b"long")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVES = [packed("zip"), packed("pax"), packed("gnu"), lzma.compress(packed("gnu"))]


def run(folder, content: bytes) -> None:
    """Nothing but plain files and folders, within the limits, and all of it below the folder."""
    around = folder / "around"
    shutil.rmtree(around, ignore_errors=True)
    (around / "into").mkdir(parents=True)
    archive = around / "x"
    archive.write_bytes(content)

    def both():
        unpack(archive, around / "into", limits=LIMITS, view=Silent())
        return True

    with suppress(OSError):  # the disk's own refusal, which `download` makes a line of
        answer(both, refusals=(ArchiveError,), mebibytes=64)
    answer(unpacked_bytes, archive, refusals=(ArchiveError,), mebibytes=64)
    assert sorted(os.listdir(around)) == ["into", "x"]
    written = list((around / "into").rglob("*"))
    assert all(path.is_dir() or (path.is_file() and not path.is_symlink()) for path in written)
    assert sum(path.stat().st_size for path in written if path.is_file()) <= LIMITS.total_bytes
    assert len(written) <= 50 * 32


@fuzz(150, content=damaged(*ARCHIVES))
def test_a_damaged_archive_stays_below_its_folder(tmp_path_factory, content):
    run(tmp_path_factory.getbasetemp(), content)


TYPES = [tarfile.REGTYPE] * 4 + [
    *(tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE),
    *(tarfile.AREGTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"Z"),
]
names = st.one_of(
    st.sampled_from(["a", "a/b", "A", "a/../b", "./a", "a//b", "into", "../x", "../../x", "/tmp/x", *HOSTILE]), texts
).filter(lambda name: "\0" not in name)
members = st.lists(
    st.tuples(
        names, st.sampled_from(TYPES), st.binary(max_size=20), names, st.sampled_from([0, 0, 0, 1, 2**33, 10**6])
    ),
    max_size=5,
)


@fuzz(150, members=members)
def test_an_archive_of_any_members_stays_below_its_folder(tmp_path_factory, members):
    buffer = io.BytesIO()
    for name, kind, data, target, more in members:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, len(data) + more
        with suppress(ValueError, UnicodeError):
            header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            buffer.write(header + data + bytes(-len(data) % 512))
    run(tmp_path_factory.getbasetemp(), buffer.getvalue() + bytes(1024))


DATA = bytes(range(256)) * 8
SHA256 = hashlib.sha256(DATA).hexdigest()
ONCE = Patience(timeout_s=1.0, attempts=2, pause_s=0.0)


@pytest.fixture(scope="module")
def server():
    """A server that answers each connection with the bytes that it is given, and hangs up."""
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    if answers == [b"end"]:
                        return
                    connection.settimeout(2)
                    connection.recv(65536)
                    connection.sendall(answers[0])
                    connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/archive", answers
        answers[:] = [b"end"]
        socket.create_connection(listener.getsockname()).close()
        thread.join()


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2048\r\nETag: "one"\r\n\r\n' + DATA
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + DATA + b"\r\n0\r\n\r\n"
PART = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2047/2048\r\nContent-Length: 2048\r\n\r\n" + DATA
MOVED = b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"

fields = st.sampled_from(
    ["Content-Length", "Content-Range", "Transfer-Encoding", "Location", "ETag", "Last-Modified", "Content-Type", "X"]
)
values = st.one_of(
    texts,
    st.sampled_from(
        [
            *("-1", "2048", "9" * 30, "2049", "1_0", "٣", "bytes 0-2047/2048", "bytes 5-1/9", "bytes 0-1/*", "chunked"),
            *(
                "file:///etc/passwd",
                "//",
                "http://[",
                "http://127.0.0.1:1/",
                "ftp://x/",
                "\r\n x",
                "text/html",
                '"one"',
            ),
        ]
    ),
)


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """Status line, headers and a body that may fit or not."""
    status = draw(st.sampled_from([200, 200, 200, 206, 204, 301, 302, 304, 401, 404, 416, 429, 503, 100, 999]))
    headers = draw(st.lists(st.tuples(fields, values), max_size=4))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"HTTP/1.1 {status} {draw(texts)}\r\n{lines}\r\n".encode("utf-8", "replace")
    return head + draw(st.sampled_from([DATA, DATA[:700], DATA + b"x", b"", b"<html>", b"5\r\nhello\r\n0\r\n\r\n"]))


@fuzz(120, reply=damaged(OK, CHUNKED, PART, MOVED) | replies())
@example(OK)
@example(CHUNKED)
@example(MOVED)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2048\r\n" + b"X: y\r\n" * 200 + b"\r\n" + DATA)
@example(b"HTTP/1.1 200 OK\r\n" + b"X" * 100_000)
def test_whatever_a_server_answers_is_the_file_or_one_line(tmp_path_factory, monkeypatch, server, reply):
    monkeypatch.setenv("no_proxy", "*")
    url, answers = server
    answers[:] = [reply]
    part = tmp_path_factory.getbasetemp() / "part"

    def got():
        fetch(url, SHA256, part, patience=ONCE, view=Silent(), make_room=lambda size, have: None)
        return part.read_bytes()

    content = answer(got, refusals=(DownloadError,), mebibytes=64)
    assert content in (None, DATA)
    for path in part.parent.glob("part*"):
        path.unlink()
