"""The members of a .tar.xz, .tar or .zip file, read in order, each as a name, a kind, a size and its bytes."""

from __future__ import annotations

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, cast

from harness.errors import UserError

FILE, FOLDER = "file", "folder"

_XZ_MAGIC = b"\xfd7zXZ\x00"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_XZ_RATIO = 1.1
"""Images hardly shrink in an .xz file, whose unpacked size cannot be read off cheaply."""
_LONGEST_READ = 4 * 2**20
_LONGEST_REST = 64 * 2**20
"""Of zeros after the last member; tar writes a few kilobytes of them."""
_DAMAGE = (
    EOFError,
    MemoryError,
    NotImplementedError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the readers raise on a damaged file; NotImplementedError on a .zip of an unknown kind, MemoryError on an .xz
that demands more than there is."""


class ArchiveError(UserError):
    """An archive holds what it must not, or cannot be read; nothing of it counts."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    """As the archive spells it: nothing is checked yet."""
    kind: str
    """FILE, FOLDER, or in words what else it is."""
    size: int
    """Bytes, as the archive declares them."""
    consumed: int
    """Bytes of the archive that lie before it."""
    open: Callable[[], IO[bytes]]
    """A file's bytes; to be read before the next member is asked for."""


@contextmanager
def open_members(archive: Path, destination: Path) -> Iterator[Iterator[Member]]:
    """The members of `archive`, one after the other; the format is told by its first bytes, not by its name.

    Args:
        destination: the folder that tarfile's own "data" filter judges the files for.

    Raises:
        ArchiveError: an unknown format, a damaged file, or a file that tarfile's filter refuses.
        OSError: the file system's.
    """
    with archive.open("rb") as file:
        form = _format(file)
        with _damage(archive):
            if form == "zip":
                with zipfile.ZipFile(file) as opened:
                    yield _zip_members(opened)
            elif form == "xz":
                with lzma.open(file) as plain:
                    yield _tar_members(plain, file.tell, destination)
            elif form == "tar":
                yield _tar_members(file, file.tell, destination)
            else:
                raise ArchiveError(f"{archive.name}: is no .tar.xz, .tar or .zip file")


def unpacked_bytes(archive: Path) -> int:
    """How much room the unpacked files take: as declared for .zip, at most that for .tar, an estimate for .tar.xz.

    Raises:
        ArchiveError: a .zip whose list of members is damaged.
        OSError: the file system's.
    """
    size = archive.stat().st_size
    with archive.open("rb") as file, _damage(archive):
        form = _format(file)
        if form == "zip":
            with zipfile.ZipFile(file) as opened:
                return sum(info.file_size for info in opened.infolist())
    return int(size * _XZ_RATIO) if form == "xz" else size


def _format(file: BinaryIO) -> str | None:
    head = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if head.startswith(_ZIP_MAGIC):
        return "zip"
    if head.startswith(_XZ_MAGIC):
        return "xz"
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.TarError:
        return None
    return "tar"


@contextmanager
def _damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise ArchiveError(
            f"{archive.name}: is damaged or cannot be read ({str(error) or type(error).__name__})"
        ) from error


def _zip_members(opened: zipfile.ZipFile) -> Iterator[Member]:
    consumed = 0
    for info in opened.infolist():
        yield Member(info.filename, _zip_kind(info), info.file_size, consumed, partial(opened.open, info))
        consumed += info.compress_size


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a symbolic link" if stat.S_ISLNK(mode) else "a device or other special file"
    if info.filename.endswith("/"):  # is_dir() fails on an empty name
        return FOLDER
    if info.flag_bits & 1:
        return "an encrypted file"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "a file compressed by a method that is not read here"  # the others unpack without a bound on memory
    return FILE


class _Bounded(io.RawIOBase):
    """A file of which at most a few mebibytes are read at once.

    tarfile reads a long name or a pax header into memory whole, however long its header says it is.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _tar_members(plain: IO[bytes], tell: Callable[[], int], destination: Path) -> Iterator[Member]:
    with tarfile.open(fileobj=_Bounded(plain), mode="r:") as opened:
        consumed = 0
        while (info := opened.next()) is not None:
            yield Member(
                info.name, _tar_kind(info), info.size, consumed, partial(_open_tar_file, opened, info, destination)
            )
            consumed = tell()
    _check_rest(plain)


def _check_rest(plain: IO[bytes]) -> None:
    """Read on to the end, where an .xz file has its checksum, and where tarfile stops at the first odd header."""
    for _ in range(_LONGEST_REST // _LONGEST_READ):
        block = plain.read(_LONGEST_READ)
        if not block:
            return
        if block.count(0) < len(block):
            break
    raise tarfile.ReadError("something follows the last readable member")


def _open_tar_file(opened: tarfile.TarFile, info: tarfile.TarInfo, destination: Path) -> IO[bytes]:
    try:
        tarfile.data_filter(info, str(destination))
    except tarfile.FilterError as error:
        raise ArchiveError(f"{info.name!r}: refused ({error}); nothing of the archive is kept") from error
    return cast(IO[bytes], opened.extractfile(info))


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return FOLDER
    if info.issym() or info.islnk():
        return f"a {'symbolic' if info.issym() else 'hard'} link to {info.linkname!r}"
    if info.issparse():
        return "a sparse file"
    return FILE if info.isreg() else "a device or other special file"
