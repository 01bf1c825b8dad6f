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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.data import download as download_module
from harness.data.archive import unpack as unpack_module
from harness.data.archive.fetch import Patience
from harness.data.archive.unpack import Limits
from harness.data.archive.view import LineView
from harness.data.catalog import CATALOG, Archive, Counts, DatasetInfo
from harness.data.download import Request, download
from harness.data.verify import check_dataset
from harness.errors import RequestError, UserError
from tests.data.serving import Behaviour, Served, fixed, give, hang, serving
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category

QUICK = Patience(timeout_s=0.3, attempts=2, pause_s=0.01)
LAYOUTS = ("mvtec", "visa", "btad")
SMALL = {"n_train": 3, "n_good": 2, "n_bad": 2, "size": 16}
COUNTS = Counts(3, 2, 2)


@dataclass(frozen=True)
class Published:
    """A small dataset in an official layout, and its archive."""

    info: DatasetInfo
    data: bytes
    files: dict[str, bytes]
    """As they must lie below the dataset's own folder."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def publish(layout: str, folder: Path) -> Published:
    """Draw two categories and pack them as the official archive is packed."""
    names = {"mvtec": ("bottle", "cable"), "visa": ("candle", "pcb1"), "btad": ("01", "03")}[layout]
    official = CATALOG[layout].archive
    top = folder / official.folder
    for name in names:
        if layout == "visa":
            draw_visa_category(top, name, **SMALL)
        elif layout == "btad":
            draw_btad_category(top / name, **SMALL)
        else:
            draw_mvtec_category(top / name, **SMALL)
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
    archive_info = Archive(f"http://127.0.0.1:9/{suffix}", hashlib.sha256(data).hexdigest(), official.folder)
    info = replace(
        CATALOG[layout], name=f"tiny_{layout}", archive=archive_info, categories=dict.fromkeys(names, COUNTS)
    )
    files = contents(folder)
    return Published(info, data, {name.removeprefix(f"{official.folder}/"): data for name, data in files.items()})


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Published]:
    return {layout: publish(layout, tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}


@pytest.fixture
def mvtec(published) -> Published:
    return published["mvtec"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def data_root(tmp_path) -> Path:
    return tmp_path / "data"


def ask(one: Published, data_root: Path, served: Served | None = None, **changes) -> Request:
    return Request(one.info, data_root, url=served.url if served else None, patience=QUICK, **changes)


def refused(request: Request, *words: str, kind=UserError) -> str:
    """It ends in one line, and what is left never counts as complete."""
    before = contents(request.target) if request.target.is_dir() else None
    with pytest.raises(kind) as caught:
        download(request, LineView())
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line
    assert (contents(request.target) if request.target.is_dir() else None) == before
    assert not (request.work / "unpacked").exists()
    return line


def assert_complete(one: Published, data_root: Path) -> None:
    """The dataset is there, nothing else is, and a run of the same configuration would take it."""
    target = data_root / one.info.name
    assert contents(target) == one.files
    assert os.listdir(data_root) == [one.info.name]
    assert all(not check.problems for check in check_dataset(one.info, target, decode=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_arrives_as_dataset_root_expects_it(published, data_root, layout):
    one = published[layout]
    with serving(give(one.data)) as served:
        assert download(ask(one, data_root, served), LineView()) is True
        assert_complete(one, data_root)
        assert all((data_root / one.info.name / category).is_dir() for category in one.info.categories)
        assert served.body_bytes == len(one.data)


def test_the_second_time_nothing_is_asked_for(mvtec, data_root):
    with serving(give(mvtec.data)) as served:
        download(ask(mvtec, data_root, served), LineView())
        assert download(ask(mvtec, data_root, served), LineView()) is False
        assert len(served.asked) == 1
    assert_complete(mvtec, data_root)


def test_an_empty_folder_is_as_good_as_none(mvtec, data_root):
    (data_root / "tiny_mvtec").mkdir(parents=True)
    with serving(give(mvtec.data)) as served:
        assert download(ask(mvtec, data_root, served), LineView()) is True
    assert_complete(mvtec, data_root)


@pytest.mark.parametrize("missing", ["cable", "bottle/train/good/000.png", "bottle/ground_truth/blot/000_mask.png"])
def test_a_folder_that_is_not_complete_is_left_as_it_is(mvtec, data_root, missing):
    with serving(give(mvtec.data)) as served:
        download(ask(mvtec, data_root, served), LineView())
        path = data_root / "tiny_mvtec" / missing
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        refused(ask(mvtec, data_root, served), "tiny_mvtec: is there but not complete", "move it away")
        assert len(served.asked) == 1


def test_a_target_of_another_kind_is_left_as_it_is(mvtec, data_root):
    data_root.mkdir()
    target = data_root / "tiny_mvtec"
    with serving(give(mvtec.data)) as served:
        target.write_text("mine")
        refused(ask(mvtec, data_root, served), "is no folder")
        assert target.read_text() == "mine"
        target.unlink()
        target.symlink_to("nowhere")
        refused(ask(mvtec, data_root, served), "is no folder")
        assert served.asked == []


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (fixed(404), ["answered 404 (Not Found)", "--url", "--archive", "https://www.mvtec.com/"]),
        (fixed(200, {"Content-Type": "text/html"}, b"log in"), ["gives a web page", "--url"]),
        (fixed(200, {}, b"<!DOCTYPE html>"), ["gives a web page"]),
        (fixed(302, {"Location": "/archive"}), ["in a circle"]),
        (fixed(302, {"Location": "file:///etc/passwd"}), ["redirects to file:///etc/passwd"]),
        (fixed(200, {}, b"something else"), ["is not the published archive"]),
        (fixed(503), ["503", "2 times in a row"]),
        (hang, ["nothing came for 0.3 s"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_had_leaves_nothing(mvtec, data_root, behaviour: Behaviour, words):
    with serving(behaviour) as served:
        refused(ask(mvtec, data_root, served), served.url, *words)
    assert os.listdir(data_root) == []


def test_a_wrong_checksum_leaves_nothing(mvtec, data_root):
    changed = bytearray(mvtec.data)
    changed[len(changed) // 2] ^= 1
    with serving(give(bytes(changed))) as served:
        refused(ask(mvtec, data_root, served), "is not the published archive", mvtec.info.archive.sha256)
    assert os.listdir(data_root) == []


def test_another_archive_needs_its_own_checksum(mvtec, published, data_root):
    other = Published(mvtec.info, published["visa"].data, {})
    with serving(give(other.data)) as served:
        sha256 = hashlib.sha256(other.data).hexdigest()
        refused(ask(mvtec, data_root, served), "is not the published archive")
        refused(
            ask(mvtec, data_root, served, sha256=sha256.upper()),
            "the archive does not hold the official dataset (bottle: missing",
            "1 more categories",
        )
    assert os.listdir(data_root) == []


def test_a_cut_connection_goes_on_in_the_next_command(mvtec, data_root):
    half = len(mvtec.data) // 2
    with serving(give(mvtec.data, cut=half), fixed(503), fixed(503), give(mvtec.data)) as served:
        refused(ask(mvtec, data_root, served), "503")
        assert os.listdir(data_root) == [".tiny_mvtec.incoming"]
        assert download(ask(mvtec, data_root, served), LineView()) is True
        assert served.body_bytes == len(mvtec.data)
    assert_complete(mvtec, data_root)


def having(*free: int):
    """A disk that has this much free space when it is asked for the first time, the second, ..."""
    left = list(free)
    return lambda _: SimpleNamespace(total=10**12, used=0, free=left.pop(0))


def test_a_disk_without_room_is_found_before_the_download(mvtec, data_root, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", having(len(mvtec.data) + 100))
    with serving(give(mvtec.data)) as served:
        refused(ask(mvtec, data_root, served), "of free space, too little for", "to download and about")
    assert os.listdir(data_root) == []


def test_a_disk_without_room_is_found_before_the_unpacking(published, data_root, monkeypatch):
    """Before the download the unpacked size is an estimate; then a .zip says it exactly."""
    one = published["btad"]
    needed = sum(map(len, one.files.values()))
    with serving(give(one.data)) as served:
        request = ask(one, data_root, served)
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "disk_usage", having(10**9, needed - 1))
            refused(request, "too little for", "to unpack")
        assert sorted(os.listdir(request.work)) == ["tiny_btad.archive", "tiny_btad.archive.json"]
        assert download(request, LineView()) is True
        assert len(served.asked) == 1
    assert_complete(one, data_root)


def break_writing(monkeypatch, error: BaseException, after: int = 5):
    """The file with that number cannot be written while the archive is unpacked."""
    real, opened = os.open, []

    def refuse(path, flags, *args, **options):
        if flags & os.O_CREAT:
            opened.append(path)
            if len(opened) > after:
                raise error
        return real(path, flags, *args, **options)

    monkeypatch.setattr(unpack_module.os, "open", refuse)


def test_a_disk_that_fills_up_while_unpacking(mvtec, data_root, monkeypatch):
    with serving(give(mvtec.data)) as served:
        with monkeypatch.context() as patched:
            break_writing(patched, OSError(errno.ENOSPC, "No space left on device"))
            refused(ask(mvtec, data_root, served), "the disk is full", "run the same command again")
        assert not (data_root / "tiny_mvtec").exists()
        assert download(ask(mvtec, data_root, served), LineView()) is True
        assert len(served.asked) == 1  # the archive was kept
    assert_complete(mvtec, data_root)


def test_another_error_of_the_disk(mvtec, data_root, monkeypatch):
    break_writing(monkeypatch, OSError(errno.EIO, "Input/output error"))
    with serving(give(mvtec.data)) as served:
        refused(ask(mvtec, data_root, served), "cannot be written or read (Input/output error)")


def test_an_interruption_while_unpacking_leaves_nothing_that_counts(mvtec, data_root, monkeypatch):
    with serving(give(mvtec.data)) as served:
        with monkeypatch.context() as patched:
            break_writing(patched, KeyboardInterrupt())
            refused(ask(mvtec, data_root, served), kind=KeyboardInterrupt)
        assert not (data_root / "tiny_mvtec").exists()
        assert download(ask(mvtec, data_root, served), LineView()) is True
    assert_complete(mvtec, data_root)


def test_a_killed_process_leaves_nothing_that_counts(mvtec, data_root, tmp_path):
    """Killed in the middle of unpacking, without a chance to clean up; the next command finishes."""
    archive = tmp_path / "archive"
    archive.write_bytes(mvtec.data)
    code = f"""
import os, signal
from pathlib import Path
from harness.data.archive import unpack
from harness.data.archive.view import LineView
from harness.data.download import Request, download
from tests.data.test_download import contents
from harness.data.catalog import MVTEC, Archive, Counts
from dataclasses import replace
real, opened = unpack._Written.add, []
def add(self, member, path):
    opened.append(path)
    if len(opened) > 12:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, member, path)
unpack._Written.add = add
info = replace(MVTEC, name="tiny_mvtec", categories=dict.fromkeys(("bottle", "cable"), Counts(3, 2, 2)))
download(Request(info, Path({str(data_root)!r}), archive=Path({str(archive)!r}),
    sha256={mvtec.info.archive.sha256!r}), LineView())
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert os.listdir(data_root) == [".tiny_mvtec.incoming"]
    assert contents(data_root)  # it had begun
    assert download(ask(mvtec, data_root, archive=archive), LineView()) is True
    assert_complete(mvtec, data_root)
    assert archive.read_bytes() == mvtec.data


def test_what_a_killed_process_left_behind_goes_when_the_dataset_is_there(mvtec, data_root):
    with serving(give(mvtec.data)) as served:
        download(ask(mvtec, data_root, served), LineView())
    left = data_root / ".tiny_mvtec.incoming"
    left.mkdir()
    (left / "tiny_mvtec.archive").write_bytes(b"x")
    assert download(ask(mvtec, data_root), LineView()) is False
    assert_complete(mvtec, data_root)


def with_member(one: Published, info: tarfile.TarInfo, data: bytes = b"") -> Published:
    """The same dataset with one more member in its archive, as a .tar, and that archive's checksum."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in one.files.items():
            plain = tarfile.TarInfo(name)
            plain.size = len(content)
            archive.addfile(plain, io.BytesIO(content))
        info.size = info.size or len(data)
        archive.addfile(info, io.BytesIO(data))
    content = packed.getvalue()
    archive_info = replace(one.info.archive, sha256=hashlib.sha256(content).hexdigest())
    return Published(replace(one.info, archive=archive_info), content, one.files)


def special(name: str, kind: bytes = tarfile.REGTYPE, **changes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in changes.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    ("info", "word"),
    [
        (special("../escaped"), "'../escaped'"),
        (special("bottle/../../../escaped"), "'bottle/../../../escaped'"),
        (special("/escaped"), "'/escaped'"),
        (special("link", tarfile.SYMTYPE, linkname="/"), "symbolic link to '/'"),
        (special("link", tarfile.LNKTYPE, linkname="../../escaped"), "hard link to '../../escaped'"),
        (special("null", tarfile.CHRTYPE, devmajor=1, devminor=3), "'null'"),
        (special("bottle/train/good/000.png"), "twice"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_a_hostile_archive_with_the_right_checksum(mvtec, data_root, tmp_path, info, word):
    hostile = with_member(mvtec, info)
    with serving(give(hostile.data)) as served:
        refused(ask(hostile, data_root, served), word, "refused")
    assert os.listdir(data_root) == []
    assert sorted(os.listdir(tmp_path)) == ["data"]


def test_a_bomb_with_the_right_checksum(mvtec, data_root):
    bomb = with_member(mvtec, special("bomb"), bytes(3_000_000))
    with serving(give(bomb.data)) as served:
        refused(ask(bomb, data_root, served, limits=Limits(file_bytes=1_000_000)), "'bomb'", "larger than 1.0 MB")
    assert os.listdir(data_root) == []


def test_one_more_file_does_no_harm(mvtec, data_root):
    more = with_member(mvtec, special("extra.txt"), b"more")
    with serving(give(more.data)) as served:
        assert download(ask(more, data_root, served), LineView()) is True
    assert contents(data_root / "tiny_mvtec") == mvtec.files | {"extra.txt": b"more"}


def test_an_archive_that_is_here_already(mvtec, data_root, tmp_path):
    copy = tmp_path / "by hand.tar.xz"
    copy.write_bytes(mvtec.data[:-1])
    refused(ask(mvtec, data_root, archive=copy), str(copy), "is not the published archive")
    assert copy.exists()
    copy.write_bytes(mvtec.data)
    assert download(ask(mvtec, data_root, archive=copy, keep_archive=True), LineView()) is True
    assert copy.read_bytes() == mvtec.data
    assert_complete(mvtec, data_root)


def test_the_archive_is_kept_on_request_and_taken_from_there(mvtec, data_root):
    with serving(give(mvtec.data), path="/x/mvtec.tar.xz?id=3") as served:
        download(ask(mvtec, data_root, served, keep_archive=True), LineView())
        assert sorted(os.listdir(data_root)) == ["mvtec.tar.xz", "tiny_mvtec"]
        assert (data_root / "mvtec.tar.xz").read_bytes() == mvtec.data
        shutil.rmtree(data_root / "tiny_mvtec")
        refused(ask(mvtec, data_root, served, keep_archive=True), "mvtec.tar.xz: is there already", kind=RequestError)
    assert download(ask(mvtec, data_root, archive=data_root / "mvtec.tar.xz"), LineView()) is True


def test_two_downloads_at_once_do_not_meet(mvtec, data_root):
    """The second is refused while the first waits for its server, and does the first no harm."""
    reached = threading.Event()

    def slow(handler):
        reached.set()
        handler.served.release.wait(5)
        give(mvtec.data)(handler)

    with serving(slow) as served:
        results = []
        patient = replace(ask(mvtec, data_root, served), patience=Patience(timeout_s=10))
        first = threading.Thread(target=lambda: results.append(download(patient, LineView())))
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

    with serving(appear) as served, pytest.raises(UserError) as caught:
        download(ask(mvtec, data_root, served), LineView())
    assert "\n" not in str(caught.value)
    assert contents(data_root / "tiny_mvtec") == {"mine": b"mine"}


def test_wrong_requests_ask_nobody_and_write_nothing(mvtec, data_root, tmp_path):
    drawn = replace(mvtec.info, archive=None)
    for request, word in (
        (Request(drawn, data_root), "is drawn by the harness itself"),
        (Request(mvtec.info, data_root, url="file:///etc/passwd"), "file:///etc/passwd"),
        (Request(mvtec.info, data_root, sha256="abc"), "64 hexadecimal digits"),
        (Request(mvtec.info, data_root, archive=tmp_path / "none"), "none: no such file"),
    ):
        refused(request, word, kind=RequestError)
    assert not data_root.exists()
    (tmp_path / "file").touch()
    refused(Request(mvtec.info, tmp_path / "file/data"), "cannot be written (Not a directory)", kind=RequestError)


def test_the_catalogs_own_address_and_checksum_are_the_default(monkeypatch, data_root):
    asked: list[tuple[str, str]] = []

    def remember(url, sha256, *_, **__) -> Iterator[None]:
        asked.append((url, sha256))
        raise KeyboardInterrupt

    monkeypatch.setattr(download_module, "fetch", remember)
    for name in LAYOUTS:
        with pytest.raises(KeyboardInterrupt):
            download(Request(CATALOG[name], data_root), LineView())
    assert asked == [(CATALOG[name].archive.url, CATALOG[name].archive.sha256) for name in LAYOUTS]
