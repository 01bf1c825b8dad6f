"""Archives (.tar.xz, .tar, .zip) unpacked below one folder: plain files and folders with safe names, nothing else."""

import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from harness.errors import UserError

MAX_BYTES = 64 * 10**9
"""Of one archive, packed or unpacked; the largest official one unpacks to 10 GB."""

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGE = (
    *(EOFError, MemoryError, OverflowError, RuntimeError, ValueError),
    *(lzma.LZMAError, struct.error, tarfile.TarError, zipfile.BadZipFile, zlib.error),
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
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, into: Path, *, strip: str = "", show: Callable[[int], object] = lambda _: None) -> None:
    """Write the archive's files and folders below `into`, an empty folder that nobody else writes to.

    Only plain files and folders with relative names are accepted, each name once. After an exception `into` holds a
    part of them.

    Args:
        strip: a folder of the archive whose contents are written as if they lay at its top.
        show: called with the bytes of the archive that have been read.

    Raises:
        ArchiveError: names the first member that is refused, or says that the archive is damaged.
        OSError: the file system's.
    """
    total = 0
    with archive.open("rb") as file:
        try:
            for member in _members(file):
                total += member.size
                if member.size < 0 or total > MAX_BYTES:
                    raise _refusal(member, f"the archive unpacks to more than {megabytes(MAX_BYTES)}")
                _write(member, into / _checked_path(member, strip))
                if not member.is_folder:
                    show(file.tell())
        except _DAMAGE as error:
            reason = str(error) or type(error).__name__
            raise ArchiveError(f"{archive.name}: is damaged, or not a .tar.xz, .tar or .zip file ({reason})") from error


def megabytes(n: int) -> str:
    """Write a number of bytes for a person, in decimal units."""
    if n >= 1_000_000_000:
        return f"{n / 1e9:.1f} GB"
    return f"{n / 1e6:.1f} MB" if n >= 100_000 else f"{n} bytes"


def _members(file: BinaryIO) -> Iterator[_Member]:
    """Give the members in the archive's order; the format is told by the first bytes, not by the name."""
    is_zip = file.read(4) in _ZIP_MAGIC
    file.seek(0)
    if is_zip:
        with zipfile.ZipFile(file) as packed:
            for entry in packed.infolist():
                is_plain = (
                    stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
                    # The other methods unpack without a bound on memory.
                    and entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                )
                yield _Member(entry.filename, entry.is_dir(), is_plain, entry.file_size, partial(packed.open, entry))
    else:
        with tarfile.open(fileobj=file) as opened:
            for info in opened:
                is_plain = info.isdir() or info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
                yield _Member(info.name, info.isdir(), is_plain, info.size, partial(opened.extractfile, info))


def _checked_path(member: _Member, strip: str) -> PurePosixPath:
    """Return the member's name as a relative path, without `.` and `strip`; empty for the archive's own top."""
    path = PurePosixPath(member.name)
    if not member.is_plain:
        raise _refusal(member, "is a link, a device or another special file; only plain files and folders are unpacked")
    if path.is_absolute():
        raise _refusal(member, "its path is absolute")
    if ".." in path.parts:
        raise _refusal(member, "its path leaves the folder")
    if "\\" in member.name or not member.name.isprintable():
        raise _refusal(member, "its name has a backslash, a control character or bytes that are not UTF-8")
    return path.relative_to(strip) if strip and path.is_relative_to(strip) else path


def _write(member: _Member, path: Path) -> None:
    try:
        folder = path if member.is_folder else path.parent
        folder.mkdir(parents=True, exist_ok=True)
        if not member.is_folder:
            with path.open("xb") as target, member.open() as source:  # type: ignore[union-attr]
                shutil.copyfileobj(source, target)
    except (FileExistsError, NotADirectoryError) as error:
        raise _refusal(member, "the archive has this name twice") from error


def _refusal(member: _Member, reason: str) -> ArchiveError:
    return ArchiveError(f"{member.name[:200]!r}: refused, {reason}; nothing of the archive is kept")
