"""Unpacking: plain archives whole, hostile ones refused by the name of their first bad member."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.data import archive as archive_module
from harness.data.archive import ArchiveError, unpack

FILES = {"a/one.png": b"1" * 700, "a/b/two.png": b"", "readme.txt": np.random.default_rng(0).bytes(300_000)}


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **changes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in changes.items():
        setattr(info, field, value)
    return info, data


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w", **options) -> Path:
    with tarfile.open(path, mode, **options) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def pack_tar(path: Path, files=FILES, mode: str = "w", **options) -> Path:
    return tar(path, *(member(name, data=data) for name, data in files.items()), mode=mode, **options)


def pack_zip(path: Path, files=FILES, method: int = zipfile.ZIP_DEFLATED, unix_mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("folder/"), b"")
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = method, unix_mode << 16
            archive.writestr(info, data)
    return path


PACKERS = {
    "tar": pack_tar,
    "tar.xz": lambda path: pack_tar(path, mode="w:xz"),
    "zip": pack_zip,
    "stored zip": lambda path: pack_zip(path, method=zipfile.ZIP_STORED),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, *words: str) -> None:
    """It ends in one line that has these words, and nothing lies outside the folder, nor a link or a device in it."""
    around = archive.parent / "around"
    (around / "into").mkdir(parents=True)
    before = sorted(os.listdir(archive.parent))
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, around / "into")
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in words), line
    assert sorted(os.listdir(archive.parent)) == before
    assert os.listdir(around) == ["into"]
    assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in around.rglob("*"))


@pytest.mark.parametrize("packer", PACKERS)
def test_everything_is_there_whatever_the_archive_is_called(tmp_path, packer):
    archive = PACKERS[packer](tmp_path / "download?id=3")
    shown: list[int] = []
    unpack(archive, tmp_path / "into", show=shown.append)
    assert contents(tmp_path / "into") == FILES
    assert shown == sorted(shown)
    assert 0 < shown[-1] <= archive.stat().st_size


def test_owner_and_dangerous_permissions_are_not_taken_over(tmp_path):
    unpack(tar(tmp_path / "x", member("f", mode=0o6777, uid=12345, gid=12345)), tmp_path / "into")
    status = (tmp_path / "into/f").stat()
    assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH | stat.S_IXUSR)
    assert status.st_uid == os.getuid()


@pytest.mark.parametrize("packer", [pack_tar, pack_zip])
@pytest.mark.parametrize("prefix", ["top/", "./top/", "top//"])
def test_the_archives_own_folder_is_left_out(tmp_path, packer, prefix):
    files = {f"{prefix}01/x.png": b"x", f"{prefix}readme": b"r", "licence": b"l", "topping/y": b"y"}
    unpack(packer(tmp_path / "x", files), tmp_path / "into", strip="top")
    assert contents(tmp_path / "into") == {"01/x.png": b"x", "readme": b"r", "licence": b"l", "topping/y": b"y"}


def test_folders_may_come_twice_and_after_their_files(tmp_path):
    folders = [member(name, tarfile.DIRTYPE) for name in (".", "a", "a", "empty")]
    unpack(tar(tmp_path / "x", member("a/f", data=b"1"), *folders, member("A/g", data=b"2")), tmp_path / "into")
    assert contents(tmp_path / "into") == {"a/f": b"1", "A/g": b"2"}
    assert (tmp_path / "into/empty").is_dir()


@pytest.mark.parametrize("packer", [pack_tar, pack_zip])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../x", "leaves the folder"),
        ("a/../../x", "leaves the folder"),
        ("/x", "absolute"),
        ("..\\x", "backslash"),
        ("a\x1b[2Jb\n", "control character"),
    ],
)
def test_a_bad_name(tmp_path, packer, name, reason):
    refused(packer(tmp_path / "x", {"good": b"1", name: b"2"}), repr(name)[1:-1], reason)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (tarfile.SYMTYPE, {"linkname": "/etc/passwd"}),
        (tarfile.SYMTYPE, {"linkname": "good"}),
        (tarfile.LNKTYPE, {"linkname": "../x"}),
        (tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}),
        (tarfile.FIFOTYPE, {}),
        (tarfile.GNUTYPE_SPARSE, {}),
    ],
)
def test_a_tar_member_that_is_no_plain_file(tmp_path, kind, changes):
    refused(tar(tmp_path / "x", member("good"), member("l", kind, **changes), member("l/f")), "'l'", "only plain files")


@pytest.mark.parametrize(
    "odd",
    [
        *({"unix_mode": mode | 0o777} for mode in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO)),
        *({"method": method} for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),  # no bound on memory
    ],
)
def test_a_zip_member_that_is_no_plain_file(tmp_path, odd):
    refused(pack_zip(tmp_path / "x", {"l": b"/etc/passwd"}, **odd), "'l'", "only plain files")


def test_a_zip_member_that_is_larger_than_it_declares(tmp_path):
    path = pack_zip(tmp_path / "x", {"f": bytes(50_000_000)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the size, in both of its headers
        struct.pack_into("<I", content, content.rindex(signature) + offset, 1000)
    path.write_bytes(content)
    refused(path, "x: is damaged", "Bad CRC-32")
    assert all(len(data) <= 1000 for data in contents(tmp_path / "around/into").values())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (member("f"), member("./f")),
        (member("f"), member("f/g")),
        (member("f"), member("f", tarfile.DIRTYPE)),
        (member("f", tarfile.DIRTYPE), member("f")),
        (member("g"), member(".")),
    ],
)
def test_a_name_that_comes_twice(tmp_path, first, second):
    refused(tar(tmp_path / "x", first, second), repr(second[0].name), "this name twice")


@pytest.mark.parametrize("packer", [pack_tar, pack_zip])
def test_more_bytes_than_allowed_are_refused_before_they_are_written(tmp_path, monkeypatch, packer):
    monkeypatch.setattr(archive_module, "MAX_BYTES", 1_000_000)
    refused(packer(tmp_path / "x", {"one": bytes(600_000), "two": bytes(600_000)}), "'two'", "more than 1.0 MB")
    assert "two" not in contents(tmp_path / "around/into")


@pytest.mark.parametrize(("packer", "cut"), [("tar.xz", True), ("tar", True), ("zip", True), ("stored zip", False)])
def test_a_damaged_archive(tmp_path, packer, cut):
    data = bytearray(PACKERS[packer](tmp_path / "x").read_bytes())
    middle = len(data) // 2
    (tmp_path / "x").write_bytes(data[:middle] if cut else data[:middle] + bytes(50) + data[middle + 50 :])
    refused(tmp_path / "x", "x: is damaged")


@pytest.mark.parametrize("data", [b"", b"7z\xbc\xaf" + bytes(600), b"<html>" * 200])
def test_what_is_no_archive(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", "or not a .tar.xz, .tar or .zip file")
