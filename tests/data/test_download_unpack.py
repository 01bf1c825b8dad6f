"""Unpacking: plain archives whole, hostile ones refused by the name of their first bad member."""

from __future__ import annotations

import io
import lzma
import os
import resource
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from harness.data.archive import members as members_module
from harness.data.archive.members import ArchiveError, unpacked_bytes
from harness.data.archive.unpack import Limits, unpack
from harness.data.archive.view import LineView

FILES = {"a/one.png": b"1" * 700, "a/b/two.png": b"", "readme.txt": np.random.default_rng(0).bytes(300_000)}


def member(name: str, kind: bytes = tarfile.REGTYPE, **changes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in changes.items():
        setattr(info, field, value)
    return info


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w", **options) -> Path:
    with tarfile.open(path, mode, **options) as archive:
        for info, data in members:
            if info.isreg() and info.size == 0:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pack_tar(path: Path, files=FILES, mode: str = "w", **options) -> Path:
    folders = [(member("a", tarfile.DIRTYPE, mode=0o555), b"")] if "a/one.png" in files else []
    return tar(path, *folders, *((member(name), data) for name, data in files.items()), mode=mode, **options)


def pack_zip(path: Path, files=FILES, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


PACKERS = {
    "tar": pack_tar,
    "tar.xz": lambda path: pack_tar(path, mode="w:xz"),
    "pax tar": lambda path: pack_tar(path, format=tarfile.PAX_FORMAT, pax_headers={"comment": "é" * 300}),
    "zip": pack_zip,
    "stored zip": lambda path: pack_zip(path, method=zipfile.ZIP_STORED),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(archive: Path, into: Path, *, strip: str = "", limits: Limits | None = None) -> None:
    into.mkdir(exist_ok=True)
    unpack(archive, into, strip=strip, limits=limits or Limits(), view=LineView())


def refused(archive: Path, name: str, reason: str, **options) -> None:
    """It ends in one line that names the member, and nothing lies outside the folder."""
    around = archive.parent / "around"
    around.mkdir()
    before = sorted(os.listdir(archive.parent))
    with pytest.raises(ArchiveError) as caught:
        run(archive, around / "into", **options)
    line = str(caught.value)
    assert "\n" not in line
    assert name in line
    assert reason in line
    assert sorted(os.listdir(archive.parent)) == before
    assert os.listdir(around) == ["into"]
    assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in around.rglob("*"))


@pytest.mark.parametrize("packer", PACKERS)
def test_everything_is_there_whatever_the_archive_is_called(tmp_path, packer):
    archive = PACKERS[packer](tmp_path / "download?id=3")
    run(archive, tmp_path / "into")
    assert contents(tmp_path / "into") == FILES
    assert unpacked_bytes(archive) >= (sum(map(len, FILES.values())) if packer != "tar.xz" else archive.stat().st_size)


@pytest.mark.parametrize("packer", PACKERS)
def test_permissions_are_our_own(tmp_path, packer):
    run(PACKERS[packer](tmp_path / "x"), tmp_path / "into")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "file").touch()
    assert (tmp_path / "into/a").stat().st_mode == plain.stat().st_mode
    assert (tmp_path / "into/a/one.png").stat().st_mode == (plain / "file").stat().st_mode


def test_setuid_and_owner_are_not_taken_over(tmp_path):
    archive = tar(tmp_path / "x", (member("f", mode=0o6777, uid=12345, gid=12345), b"data"))
    run(archive, tmp_path / "into")
    status = (tmp_path / "into/f").stat()
    assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)
    assert status.st_uid == os.getuid()


@pytest.mark.parametrize("prefix", ["top/", "./top/", "top//"])
def test_the_archives_own_folder_is_left_out(tmp_path, prefix):
    files = {f"{prefix}01/x.png": b"x", f"{prefix}readme": b"r", "licence": b"l", "topping/y": b"y"}
    run(pack_tar(tmp_path / "x", files), tmp_path / "into", strip="top")
    assert contents(tmp_path / "into") == {"01/x.png": b"x", "readme": b"r", "licence": b"l", "topping/y": b"y"}


def test_folders_may_come_twice_and_after_their_files(tmp_path):
    folder = member("a", tarfile.DIRTYPE)
    archive = tar(
        tmp_path / "x",
        (member(".", tarfile.DIRTYPE), b""),
        (member("a/f"), b"1"),
        (folder, b""),
        (folder, b""),
        (member("empty", tarfile.DIRTYPE), b""),
    )
    run(archive, tmp_path / "into")
    assert contents(tmp_path / "into") == {"a/f": b"1"}
    assert (tmp_path / "into/empty").is_dir()


BAD_NAMES = [
    ("../x", "leaves the folder"),
    ("a/../../x", "leaves the folder"),
    ("a/..", "leaves the folder"),
    ("/x", "absolute"),
    ("//x", "absolute"),
    ("..\\x", "backslash"),
    ("a\nb", "control character"),
    ("a\x1b[2Jb", "control character"),
    ("d/" * 40 + "f", "deeper"),
]


@pytest.mark.parametrize(("name", "reason"), BAD_NAMES)
def test_a_tar_member_with_a_bad_name(tmp_path, name, reason):
    shown = repr(name)[1:-1][:150]
    refused(tar(tmp_path / "x", (member("good"), b"1"), (member(name), b"2")), shown, reason)


@pytest.mark.parametrize(("name", "reason"), BAD_NAMES)
def test_a_zip_member_with_a_bad_name(tmp_path, name, reason):
    shown = repr(name)[1:-1][:150]
    refused(pack_zip(tmp_path / "x", {"good": b"1", name: b"2"}), shown, reason)


def test_a_name_that_is_not_utf8(tmp_path):
    refused(tar(tmp_path / "x", (member("b\udcffd"), b"2"), format=tarfile.GNU_FORMAT), "b\\udcffd", "not UTF-8")


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (member("l", tarfile.SYMTYPE, linkname="/etc/passwd"), "a symbolic link to '/etc/passwd'"),
        (member("l", tarfile.SYMTYPE, linkname="../../x"), "a symbolic link to '../../x'"),
        (member("l", tarfile.SYMTYPE, linkname="good"), "a symbolic link to 'good'"),
        (member("l", tarfile.LNKTYPE, linkname="/etc/passwd"), "a hard link to '/etc/passwd'"),
        (member("l", tarfile.LNKTYPE, linkname="../x"), "a hard link to '../x'"),
        (member("l", tarfile.CHRTYPE, devmajor=1, devminor=3), "a device or other special file"),
        (member("l", tarfile.BLKTYPE, devmajor=8, devminor=0), "a device or other special file"),
        (member("l", tarfile.FIFOTYPE), "a device or other special file"),
        (member("l", tarfile.GNUTYPE_SPARSE), "a sparse file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tar_member_that_is_no_plain_file(tmp_path, info, reason):
    refused(tar(tmp_path / "x", (member("good"), b"1"), (info, b"")), "'l'", reason)


def test_a_file_below_a_link_is_refused_with_the_link(tmp_path):
    link = member("l", tarfile.SYMTYPE, linkname=str(tmp_path))
    refused(tar(tmp_path / "x", (link, b""), (member("l/escaped"), b"2")), "'l'", "symbolic link")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK, "a symbolic link"),
        (stat.S_IFCHR, "a device"),
        (stat.S_IFIFO, "a device"),
        (stat.S_IFSOCK, "a device"),
    ],
)
def test_a_zip_member_that_is_no_plain_file(tmp_path, mode, reason):
    info = zipfile.ZipInfo("l")
    info.create_system = 3
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "x", "'l'", reason)


@pytest.mark.parametrize(("method", "reason"), [(zipfile.ZIP_BZIP2, "a method"), (zipfile.ZIP_LZMA, "a method")])
def test_a_zip_member_compressed_otherwise(tmp_path, method, reason):
    refused(pack_zip(tmp_path / "x", {"f": b"data"}, method), "'f'", reason)


def test_an_encrypted_zip_member(tmp_path):
    data = bytearray(pack_zip(tmp_path / "plain", {"f": b"data"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.rindex(signature) + offset
        data[at] |= 1
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", "'f'", "an encrypted file")


@pytest.mark.parametrize("second", ["f", "./f", "a/../f"])
def test_a_name_that_comes_twice(tmp_path, second):
    reason = "leaves the folder" if ".." in second else "twice"
    refused(tar(tmp_path / "x", (member("f"), b"1"), (member(second), b"2")), second, reason)


def test_a_name_that_comes_twice_because_a_folder_is_left_out(tmp_path):
    refused(tar(tmp_path / "x", (member("f"), b"1"), (member("top/f"), b"2")), "top/f", "twice", strip="top")


def test_a_name_that_comes_twice_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("f", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("f", b"2")
    refused(tmp_path / "x", "'f'", "twice")


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/Scratch.png", "a/scratch.PNG"), ("A/f", "a/f"), ("stra\u00dfe", "STRASSE"), ("\u00e9", "e\u0301")],
)
@pytest.mark.parametrize("packer", [pack_tar, pack_zip])
def test_names_that_are_one_name_on_another_disk(tmp_path, packer, first, second):
    """There one image would silently replace the other, or the dataset have one more than on the next machine."""
    archive = packer(tmp_path / "x", {first: b"1", second: b"2"})
    refused(archive, repr(second), "twice, in another spelling")


def test_folders_may_be_spelled_in_two_ways(tmp_path):
    files = {"A/f": b"1", "a/g": b"2"}
    run(pack_tar(tmp_path / "x", files), tmp_path / "into")
    assert contents(tmp_path / "into") == files


@pytest.mark.parametrize("name", ["n" * 256, "é" * 128, "d/" + "n" * 300, "/".join(["d" * 200] * 6), "n" * 100_000])
@pytest.mark.parametrize("packer", [pack_tar, pack_zip])
def test_very_long_names(tmp_path, packer, name):
    if packer is pack_zip and len(name.encode()) > 65_535:
        return  # a .zip has no room for it
    refused(packer(tmp_path / "x", {"good": b"1", name: b"2"}), repr(name)[:150], "longer than 255 bytes")


def test_names_as_long_as_a_disk_takes(tmp_path):
    files = {f"{'d' * 255}/{'n' * 255}": b"1"}
    run(pack_tar(tmp_path / "x", files), tmp_path / "into")
    assert contents(tmp_path / "into") == files


def test_an_xz_file_that_demands_gigabytes(tmp_path):
    """Its dictionary is declared to have 1.5 GiB; liblzma asks for them, and only what is used is ever there."""
    data = pack_tar(tmp_path / "plain").read_bytes()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**16}]
    content = bytearray(lzma.compress(data, filters=filters))
    header = content[12 : 12 + 4 * (content[12] + 1)]
    at = header.index(b"\x21\x01") + 2  # the filter's one property is the size of its dictionary
    header[at] = 37
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    content[12 : 12 + len(header)] = header
    (tmp_path / "x").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(tmp_path / "x", tmp_path / "into")
    assert contents(tmp_path / "into") == FILES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_memory_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    archive = pack_tar(tmp_path / "x", mode="w:xz")

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(lzma.LZMAFile, "read", no_memory)
    refused(archive, "x: is damaged or cannot be read (MemoryError)", "")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (member("f"), member("f/g"), "cannot be a folder too"),
        (member("f"), member("f", tarfile.DIRTYPE), "cannot be a folder too"),
        (member("f", tarfile.DIRTYPE), member("f"), "twice"),
        (member("f/g"), member("f"), "twice"),
        (member("g"), member("."), "without a name"),
    ],
)
def test_a_name_that_is_a_file_and_a_folder(tmp_path, first, second, reason):
    refused(tar(tmp_path / "x", (first, b""), (second, b"")), second.name, reason)


def test_more_members_than_allowed(tmp_path):
    files = {f"f{i}": b"" for i in range(11)}
    refused(pack_tar(tmp_path / "x", files), "'f10'", "more than 10 members", limits=Limits(members=10))


@pytest.mark.parametrize("mode", ["w", "w:xz"])
def test_a_member_that_declares_more_than_allowed(tmp_path, mode):
    archive = tar(tmp_path / "x", (member("big"), bytes(2_000_000)), mode=mode)
    refused(archive, "'big'", "larger than 1.0 MB", limits=Limits(file_bytes=1_000_000))
    assert contents(tmp_path / "around/into") == {}


@pytest.mark.parametrize("packer", [pack_tar, pack_zip])
def test_members_that_declare_more_than_allowed_together(tmp_path, packer):
    archive = packer(tmp_path / "x", {"one": bytes(600_000), "two": bytes(600_000)})
    refused(archive, "'two'", "unpacks to more than 1.0 MB", limits=Limits(total_bytes=1_000_000))


def test_a_bomb_of_a_terabyte_in_a_kilobyte(tmp_path):
    header = member("bomb", size=2**40).tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "x").write_bytes(lzma.compress(header + bytes(10_000_000)))
    refused(tmp_path / "x", "'bomb'", "larger than 1.1 GB")


def lying_zip(path: Path, data: bytes, declared: int) -> Path:
    """A .zip whose member is `data`, and is declared, in both places, to have another size."""
    content = bytearray(pack_zip(path, {"bomb": data}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.rindex(signature) + offset
        content[at : at + 4] = struct.pack("<I", declared)
    path.write_bytes(content)
    return path


def test_a_zip_member_that_is_larger_than_it_declares(tmp_path):
    archive = lying_zip(tmp_path / "x", bytes(50_000_000), 1000)
    assert archive.stat().st_size < 100_000
    refused(archive, "x: is damaged", "Bad CRC-32")
    assert all(len(data) <= 1000 for data in contents(tmp_path / "around/into").values())


def test_a_zip_member_that_is_smaller_than_it_declares(tmp_path):
    refused(lying_zip(tmp_path / "x", bytes(100), 1000), "'bomb'", "does not hold the 1000 bytes")


def test_the_real_size_is_bounded_whatever_the_reader_says(tmp_path, monkeypatch):
    """zipfile stops at the declared size; were it not to, the bytes that come are counted."""
    real = zipfile.ZipFile.open

    def opened(archive, info):
        real(archive, info).close()
        return io.BytesIO(bytes(5_000_000))

    archive = pack_zip(tmp_path / "x", {"f": bytes(100)})
    monkeypatch.setattr(zipfile.ZipFile, "open", opened)
    refused(archive, "'f'", "does not hold the 100 bytes")
    assert (tmp_path / "around/into/f").stat().st_size <= 100


def test_a_long_name_of_a_gigabyte_is_not_read_into_memory(tmp_path):
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        header = member("x", kind, size=2**30).tobuf(tarfile.GNU_FORMAT)
        archive = tmp_path / f"x{ord(kind)}"
        archive.write_bytes(lzma.compress(header + bytes(1_000_000)))
        with pytest.raises(ArchiveError, match=r"is damaged .*a header of 1073741824 bytes"):
            run(archive, tmp_path / "into")


def test_a_negative_size(tmp_path):
    header = bytearray(member("f").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"  # base 256: -256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    (tmp_path / "x").write_bytes(bytes(header) + bytes(10_240))
    with pytest.raises(ArchiveError) as caught:
        run(tmp_path / "x", tmp_path / "into")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_archive(tmp_path, packer, share):
    """It is an error, or what follows is missing and the verification finds it; nothing else ever happens."""
    archive = PACKERS[packer](tmp_path / "x")
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    try:
        run(archive, tmp_path / "into")
    except ArchiveError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert "x: is" in str(error)  # noqa: PT017
    else:
        assert packer.endswith("tar")
        assert contents(tmp_path / "into").items() <= FILES.items()


@pytest.mark.parametrize("packer", ["tar.xz", "zip", "stored zip"])
def test_damaged_bytes_are_found(tmp_path, packer):
    archive = PACKERS[packer](tmp_path / "x")
    data = bytearray(archive.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(50)
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="x: is damaged"):
        run(archive, tmp_path / "into")


def test_members_after_an_unreadable_header_are_not_passed_over(tmp_path):
    archive = tar(tmp_path / "x", (member("one"), b"1"), (member("two"), b"2"), (member("three"), b"3"))
    data = bytearray(archive.read_bytes())
    data[1024 + 5] ^= 1  # in the name of the second: its header's checksum is wrong now
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="something follows the last readable member"):
        run(archive, tmp_path / "into")


def test_zeros_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(members_module, "_LONGEST_REST", 8 * 2**20)
    archive = pack_tar(tmp_path / "x")
    archive.write_bytes(lzma.compress(archive.read_bytes() + bytes(9 * 2**20), preset=0))
    with pytest.raises(ArchiveError, match="something follows the last readable member"):
        run(archive, tmp_path / "into")


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x1f\x8b\x08" + bytes(600), b"7z\xbc\xaf" + bytes(600), b"<html>" * 200]
)
def test_what_is_no_archive(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", "x: is no .tar.xz, .tar or .zip file", "")


def test_random_archives_never_escape(tmp_path):
    """Bytes of a tar and of a zip changed at random: unpacked, or refused in one line, and nothing lies outside."""
    rng = np.random.default_rng(7)
    sources = [pack_tar(tmp_path / "t", {"a/x": b"1" * 50, "b": b"2"}), pack_zip(tmp_path / "z", {"a/x": b"1" * 50})]
    around = tmp_path / "around"
    around.mkdir()
    for round_ in range(200):
        data = bytearray(sources[round_ % 2].read_bytes()[:3000])
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(256)
        (tmp_path / "x").write_bytes(data)
        into = around / f"into{round_}"
        try:
            run(tmp_path / "x", into)
        except ArchiveError as error:
            assert "\n" not in str(error)  # noqa: PT017
        except OSError as error:
            assert error.errno is not None  # noqa: PT017
        assert all(path.is_file() or path.is_dir() for path in into.rglob("*"))
    assert sorted(os.listdir(around)) == sorted(f"into{round_}" for round_ in range(200))
