"""Archives (.tar.xz, .tar, .zip) unpacked below one folder: plain files and folders with safe names, nothing else."""

from __future__ import annotations

import lzma
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from harness.errors import UserError

MAX_BYTES = 64 * 10**9
"""Of one archive, packed or unpacked; the largest official one unpacks to 10 GB."""

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGE = (
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the readers raise on a damaged file; RuntimeError for an encrypted or unknown kind of .zip."""


class ArchiveError(UserError):
    """An archive holds what it must not, or cannot be read; nothing of it counts."""


@dataclass(frozen=True)
class _Member:
    name: str
    """As the archive spells it: nothing is checked yet."""
    is_folder: bool
    is_plain: bool
    """A folder, or a file that is neither a link nor a device, and that can be read without a surprise."""
    size: int
    """Bytes, as the archive declares them; the readers never give more."""
    extract: Callable[[str], object]
    """Write the file under this name below the destination."""


def unpack(archive: Path, into: Path, *, strip: str = "", show: Callable[[int], object] = lambda _: None) -> None:
    """Write the archive's files and folders below `into`, an empty folder that nobody else writes to.

    Only plain files and folders are accepted, under relative names without `..`, each name once, also on a disk that
    takes upper and lower case for the same. After an exception `into` holds a part of the archive.

    Args:
        strip: a folder of the archive whose contents are written as if they lay at its top.
        show: called with the bytes of the archive that have been read.

    Raises:
        ArchiveError: names the first member that is refused, or says that the archive is damaged.
        OSError: the file system's.
    """
    files: set[PurePosixPath] = set()
    folders = {PurePosixPath()}
    total = 0
    with archive.open("rb") as file, _damage(archive):
        for member in _members(file, into):
            total += member.size
            if member.size < 0 or total > MAX_BYTES:
                raise _refusal(member, f"the archive unpacks to more than {megabytes(MAX_BYTES)}")
            path = _checked_path(member)
            if strip and path.is_relative_to(strip):
                path = path.relative_to(strip)
            _check_unique(member, path, files, folders)
            if member.is_folder:
                (into / path).mkdir(parents=True, exist_ok=True)
            else:
                member.extract(str(path))
                show(file.tell())


def megabytes(n: int) -> str:
    """A number of bytes for a person, in decimal units."""
    if n >= 1_000_000_000:
        return f"{n / 1e9:.1f} GB"
    return f"{n / 1e6:.1f} MB" if n >= 100_000 else f"{n} bytes"


@contextmanager
def _damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise ArchiveError(
            f"{archive.name}: is damaged, or no .tar.xz, .tar or .zip file ({str(error) or type(error).__name__})"
        ) from error


def _members(file: BinaryIO, into: Path) -> Iterator[_Member]:
    """The members in the archive's order; the format is told by the first bytes, not by the name."""
    head = file.read(4)
    file.seek(0)
    return _zip_members(file, into) if head in _ZIP_MAGIC else _tar_members(file, into)


def _zip_members(file: BinaryIO, into: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as opened:

        def extract(info: zipfile.ZipInfo, name: str) -> None:
            info.filename = name
            opened.extract(info, into)

        for info in opened.infolist():
            is_plain = (
                stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
                # The other methods unpack without a bound on memory.
                and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            )
            is_folder = info.filename.endswith("/")
            yield _Member(info.filename, is_folder, is_plain, info.file_size, partial(extract, info))


def _tar_members(file: BinaryIO, into: Path) -> Iterator[_Member]:
    with tarfile.open(fileobj=file) as opened:

        def extract(info: tarfile.TarInfo, name: str) -> None:
            opened.extract(info.replace(name=name, deep=False), into, filter="data")

        for info in opened:
            is_plain = info.isdir() or (info.isreg() and not info.issparse())
            yield _Member(info.name, info.isdir(), is_plain, info.size, partial(extract, info))


def _checked_path(member: _Member) -> PurePosixPath:
    """The member's name as a relative path, without `.`; empty for the archive's own top."""
    path = PurePosixPath(member.name)
    if not member.is_plain:
        raise _refusal(member, "is a link, a device or of another odd kind; only plain files and folders are unpacked")
    if path.is_absolute():
        raise _refusal(member, "its path is absolute")
    if ".." in path.parts:
        raise _refusal(member, "its path leaves the folder")
    if "\\" in member.name or not member.name.isprintable():
        raise _refusal(member, "its name has a backslash, a control character or bytes that are not UTF-8")
    return path


def _check_unique(member: _Member, path: PurePosixPath, files: set[PurePosixPath], folders: set[PurePosixPath]) -> None:
    """Refuse a name that is taken, on a disk that keeps cases apart or on one that does not; else take it."""
    spelled = PurePosixPath(unicodedata.normalize("NFC", str(path)).casefold())
    is_taken = spelled in files or (spelled in folders and not member.is_folder)
    if is_taken or not files.isdisjoint(spelled.parents):
        raise _refusal(member, "the archive has this name twice, perhaps in another spelling")
    folders.update(spelled.parents)
    (folders if member.is_folder else files).add(spelled)


def _refusal(member: _Member, reason: str) -> ArchiveError:
    return ArchiveError(f"{member.name[:200]!r}: refused, {reason}; nothing of the archive is kept")
