"""A dataset from a server on loopback to its place: whole, verified and in one step, or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.data import download as download_module
from harness.data.catalog import CATALOG, Archive, Counts, DatasetInfo
from harness.data.download import Request, download
from harness.data.verify import check_dataset
from harness.errors import RequestError, UserError
from tests.data.serving import Behaviour, Served, fixed, give, hang, serving
from tests.data.test_archive import contents
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category

LAYOUTS = ("mvtec", "visa", "btad")
SMALL = {"n_train": 3, "n_good": 2, "n_bad": 2, "size": 16}


@dataclass(frozen=True)
class Published:
    """A small dataset in an official layout, and its archive."""

    info: DatasetInfo
    data: bytes
    files: dict[str, bytes]
    """As they must lie below the dataset's own folder."""


def publish(layout: str, folder: Path) -> Published:
    """Draw two categories and pack them as the official archive is packed."""
    names = {"mvtec": ("bottle", "cable"), "visa": ("candle", "pcb1"), "btad": ("01", "03")}[layout]
    official = CATALOG[layout].archive
    top = folder / official.folder
    for name in names:
        if layout == "visa":
            draw_visa_category(top, name, **SMALL)
        else:
            {"mvtec": draw_mvtec_category, "btad": draw_btad_category}[layout](top / name, **SMALL)
    (folder / "readme.txt").write_text("about")
    packed = io.BytesIO()
    suffix = official.url.rpartition("/")[2]
    if suffix.endswith(".zip"):
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
    else:
        with tarfile.open(fileobj=packed, mode="w:xz" if suffix.endswith(".xz") else "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name)
    data = packed.getvalue()
    info = replace(
        CATALOG[layout],
        name=f"tiny_{layout}",
        archive=Archive(f"http://127.0.0.1:9/{suffix}", hashlib.sha256(data).hexdigest(), official.folder),
        categories=dict.fromkeys(names, Counts(3, 2, 2)),
    )
    files = {name.removeprefix(f"{official.folder}/"): data for name, data in contents(folder).items()}
    return Published(info, data, files)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Published]:
    return {layout: publish(layout, tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}


@pytest.fixture
def mvtec(published) -> Published:
    return published["mvtec"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    for name, value in {"TIMEOUT_S": 10, "ATTEMPTS": 2, "PAUSE_S": 0.01, "MAX_BYTES": 5_000_000}.items():
        monkeypatch.setattr(download_module, name, value)


@pytest.fixture
def data_root(tmp_path) -> Path:
    return tmp_path / "data"


def ask(one: Published, data_root: Path, served: Served | None = None, **changes) -> Request:
    return Request(one.info, data_root, url=served.url if served else None, **changes)


def refused(request: Request, *words: str, kind=UserError) -> None:
    """It ends in one line, and what is left never counts as complete."""
    before = contents(request.target) if request.target.is_dir() else None
    with pytest.raises(kind) as caught:
        download(request)
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in words), line
    assert (contents(request.target) if request.target.is_dir() else None) == before
    assert not (request.work / "unpacked").exists()


def assert_complete(one: Published, data_root: Path) -> None:
    """The dataset is there, nothing else is, and a run of the same configuration would take it."""
    target = data_root / one.info.name
    assert contents(target) == one.files
    assert os.listdir(data_root) == [one.info.name]
    assert all(not check.problems for check in check_dataset(one.info, target, decode=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_arrives_as_dataset_root_expects_it_and_is_not_asked_for_again(published, data_root, layout):
    one = published[layout]
    (data_root / one.info.name).mkdir(parents=True)  # an empty folder is as good as none
    with serving(give(one.data)) as served:
        assert download(ask(one, data_root, served)) is True
        assert_complete(one, data_root)
        assert download(ask(one, data_root, served)) is False
        assert_complete(one, data_root)
        assert served.body_bytes == len(one.data)


def test_what_is_there_and_not_complete_is_left_as_it_is(mvtec, data_root):
    target = data_root / "tiny_mvtec"
    for name, data in mvtec.files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    (target / "bottle/ground_truth/blot/000_mask.png").unlink()
    refused(ask(mvtec, data_root), "tiny_mvtec: exists but is not complete", "move it away")
    shutil.rmtree(target)
    target.write_text("mine")
    refused(ask(mvtec, data_root), "is not a folder")
    assert target.read_text() == "mine"
    target.unlink()
    target.symlink_to("nowhere")
    refused(ask(mvtec, data_root), "is not a folder")


def test_wrong_requests_ask_nobody_and_write_nothing(mvtec, data_root, tmp_path):
    addresses = ["file:///etc/passwd", "ftp://host/x", "host/x", "http://", "https://[::1/x", "http://h/a\nb"]
    for request, word in (
        *((Request(mvtec.info, data_root, url=url), f"{url!r}: not an address") for url in addresses),
        (Request(replace(mvtec.info, archive=None), data_root), "is drawn by the harness itself"),
        (Request(mvtec.info, data_root, sha256="abc"), "64 hexadecimal digits"),
        (Request(mvtec.info, data_root, archive=tmp_path / "none"), "none: no such file"),
    ):
        refused(request, word, kind=RequestError)
    assert not data_root.exists()
    (tmp_path / "file").touch()
    refused(Request(mvtec.info, tmp_path / "file/data"), "cannot be written (Not a directory)", kind=RequestError)


def endless(handler) -> None:
    handler.head(200, {})
    while not handler.served.release.is_set():
        handler.body(bytes(65536))


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (fixed(404), ["answers 404 (Not Found)", "--url", "--archive", "https://www.mvtec.com/"]),
        (fixed(200, {"Content-Type": "text/html; charset=utf-8"}, b"log in"), ["gives a web page", "--url"]),
        (fixed(302, {"Location": "/archive"}), ["infinite loop"]),
        (fixed(302, {"Location": "file:///etc/passwd"}), ["file:///etc/passwd", "not allowed"]),
        (fixed(200, {}, b"something else"), ["is not the published archive"]),
        (fixed(200, {"Content-Length": 0}), ["is not the published archive"]),
        (endless, ["sends more than 5.0 MB"]),
        (fixed(503), ["503", "2 times in a row"]),
        (lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n"), ["the connection failed"]),
        (hang, ["the connection failed (timed out)"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_had_leaves_nothing(mvtec, data_root, monkeypatch, behaviour: Behaviour, words):
    if behaviour is hang:
        monkeypatch.setattr(download_module, "TIMEOUT_S", 0.3)
    with serving(behaviour) as served:
        refused(ask(mvtec, data_root, served), *words)
    assert os.listdir(data_root) == []


def test_a_cut_connection_goes_on_where_it_ended(mvtec, data_root, capsys):
    third = len(mvtec.data) // 3
    with serving(give(mvtec.data, cut=third), give(mvtec.data, cut=third), give(mvtec.data)) as served:
        download(ask(mvtec, data_root, served))
    assert_complete(mvtec, data_root)
    assert served.asked == [(None, 200), (f"bytes={third}-", 206), (f"bytes={2 * third}-", 206)]
    assert served.body_bytes == len(mvtec.data)  # not one byte twice
    assert f"ended after {third} of {len(mvtec.data)} bytes); trying again" in capsys.readouterr().err


def test_a_later_command_goes_on_too_and_the_archive_may_have_moved(mvtec, data_root):
    half = len(mvtec.data) // 2
    with serving(give(mvtec.data, cut=half), fixed(503)) as served:
        refused(ask(mvtec, data_root, served), "503", "2 times in a row; the same command continues")
        assert os.listdir(data_root) == [".tiny_mvtec.incoming"]
        served.behaviours[:] = [fixed(307, {"Location": "/there"}), give(mvtec.data)]
        assert download(ask(mvtec, data_root, served)) is True
        assert served.body_bytes == len(mvtec.data)
    assert_complete(mvtec, data_root)


def test_a_server_that_knows_no_ranges_gives_it_anew(mvtec, data_root):
    with serving(give(bytes(1000), cut=500), give(mvtec.data, ranges=False)) as served:
        download(ask(mvtec, data_root, served))
    assert_complete(mvtec, data_root)
    assert served.asked == [(None, 200), ("bytes=500-", 200)]


def test_pieces_of_two_files_never_make_one(mvtec, data_root):
    with serving(give(bytes(3000), cut=1000), give(mvtec.data)) as served:
        refused(ask(mvtec, data_root, served), "is not the published archive", mvtec.info.archive.sha256)
        assert os.listdir(data_root) == []
        download(ask(mvtec, data_root, served))
    assert_complete(mvtec, data_root)


def chunked(data: bytes, *, cut: int | None = None) -> Behaviour:
    def behave(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.head(200, {"Transfer-Encoding": "chunked", "Connection": "close"})
        handler.body(f"{len(data):x}\r\n".encode() + data[:cut] + (b"\r\n0\r\n\r\n" if cut is None else b""))
        handler.close_connection = True

    return behave


def test_a_server_that_does_not_announce_a_size(mvtec, data_root):
    with serving(chunked(mvtec.data, cut=500), chunked(mvtec.data)) as served:
        download(ask(mvtec, data_root, served))
    assert_complete(mvtec, data_root)
    assert len(served.asked) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ["the disk is full", "run the same command again"]),
        (OSError(errno.EIO, "Input/output error"), ["cannot be written or read (Input/output error)"]),
        (KeyboardInterrupt(), []),
    ],
)
def test_a_failure_while_unpacking_leaves_the_archive_to_go_on_with(mvtec, data_root, monkeypatch, error, words):
    def fail(source, target) -> None:
        raise error

    with serving(give(mvtec.data)) as served:
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "copyfileobj", fail)
            refused(ask(mvtec, data_root, served), *words, kind=UserError if words else KeyboardInterrupt)
        assert not (data_root / "tiny_mvtec").exists()
        assert download(ask(mvtec, data_root, served)) is True
        assert served.body_bytes == len(mvtec.data)
    assert_complete(mvtec, data_root)


def test_a_killed_process_leaves_nothing_that_counts(mvtec, data_root, tmp_path):
    """Killed in the middle of unpacking, without a chance to clean up; the next command finishes."""
    archive = tmp_path / "mvtec.tar.xz"
    archive.write_bytes(mvtec.data)
    code = f"""
import os, shutil, signal
from dataclasses import replace
from pathlib import Path
from harness.data.catalog import CATALOG
from harness.data.download import Request, download
real, written = shutil.copyfileobj, []
def copy(source, target):
    written.append(target)
    if len(written) > 12:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
shutil.copyfileobj = copy
info = replace(CATALOG["mvtec"], name="tiny_mvtec")
download(Request(info, Path({str(data_root)!r}), archive=Path({str(archive)!r}), sha256={mvtec.info.archive.sha256!r}))
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert os.listdir(data_root) == [".tiny_mvtec.incoming"]
    assert contents(data_root)  # it had begun
    assert download(ask(mvtec, data_root, archive=archive)) is True
    assert_complete(mvtec, data_root)
    assert archive.read_bytes() == mvtec.data


def test_a_hostile_archive_with_the_right_checksum_leaves_nothing(mvtec, data_root, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("good"))
        archive.addfile(tarfile.TarInfo("../escaped"))
    with serving(give(packed.getvalue())) as served:
        sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
        refused(ask(mvtec, data_root, served, sha256=sha256), "'../escaped'", "refused")
    assert os.listdir(data_root) == []
    assert sorted(os.listdir(tmp_path)) == ["data"]


def test_another_archive_needs_its_own_checksum_and_is_not_the_dataset(mvtec, published, data_root):
    other = published["visa"].data
    sha256 = hashlib.sha256(other).hexdigest()
    with serving(give(other)) as served:
        refused(ask(mvtec, data_root, served), "is not the published archive")
        words = ("the archive does not hold the official dataset (bottle: missing", "1 more categories")
        refused(ask(mvtec, data_root, served, sha256=sha256.upper()), *words)
    assert os.listdir(data_root) == []


def test_two_downloads_at_once_do_not_meet(mvtec, data_root):
    """The second is refused while the first waits for its server, and does the first no harm."""
    reached = threading.Event()

    def slow(handler):
        reached.set()
        handler.served.release.wait(5)
        give(mvtec.data)(handler)

    with serving(slow) as served:
        results = []
        first = threading.Thread(target=lambda: results.append(download(ask(mvtec, data_root, served))))
        first.start()
        assert reached.wait(5)
        refused(ask(mvtec, data_root, served), "another download works there", kind=RequestError)
        served.release.set()
        first.join(20)
    assert results == [True]
    assert_complete(mvtec, data_root)


def test_a_dataset_that_appears_meanwhile_is_not_overwritten(mvtec, data_root):
    def appear(handler):
        (data_root / "tiny_mvtec").mkdir()
        (data_root / "tiny_mvtec/mine").write_text("mine")
        give(mvtec.data)(handler)

    with serving(appear) as served, pytest.raises(UserError):
        download(ask(mvtec, data_root, served))
    assert contents(data_root / "tiny_mvtec") == {"mine": b"mine"}
