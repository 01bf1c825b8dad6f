"""An archive's files, written below one folder and nowhere else, within bounds that no image archive reaches."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.data.archive.members import FILE, FOLDER, ArchiveError, Member, open_members
from harness.data.archive.view import View, megabytes

_BLOCK = 2**20
_DEEPEST = 32
_LONGEST, _LONGEST_PART = 1024, 255
"""Bytes of a path and of a name in it; file systems take no longer name."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; the official ones have up to 13000 members and 10 GB."""

    members: int = 200_000
    file_bytes: int = 2**30
    total_bytes: int = 64 * 10**9


def unpack(archive: Path, into: Path, *, strip: str = "", limits: Limits, view: View) -> None:
    """Write the archive's files and folders below `into`, an empty folder that nobody else writes to.

    Only plain files and folders are accepted, under relative names without `..`, each name once, also on a disk that
    takes upper and lower case for the same; permissions, owners and times of the archive are not taken over. After an
    exception `into` holds a part of the archive.

    Args:
        strip: a folder of the archive whose contents are written as if they lay at its top.

    Raises:
        ArchiveError: names the first member that is refused, or says that the archive is damaged.
        OSError: the file system's.
    """
    written = _Written(into, limits)
    view.begin("unpacking", archive.stat().st_size)
    shown = 0
    try:
        with open_members(archive, into) as members:
            for member in members:
                view.advance(member.consumed - shown)
                shown = member.consumed
                written.add(member, _placed(_checked_name(member), strip))
    finally:
        view.end()


class _Written:
    """What has been written so far, and the writing of more."""

    def __init__(self, into: Path, limits: Limits) -> None:
        self._into = into
        self._limits = limits
        self._files: set[PurePosixPath] = set()
        self._spellings: set[str] = set()
        self._folders: set[PurePosixPath] = {PurePosixPath()}
        self._members = 0
        self._bytes = 0

    def add(self, member: Member, path: PurePosixPath) -> None:
        self._members += 1
        if self._members > self._limits.members:
            raise _refusal(member, f"the archive has more than {self._limits.members} members")
        if member.kind not in (FILE, FOLDER):
            raise _refusal(member, f"is {member.kind}; only plain files and folders are unpacked")
        if member.kind == FOLDER:
            self._make_folder(member, path)
            return
        if path in self._files or path in self._folders:
            raise _refusal(member, "the archive has this name twice")
        spelling = unicodedata.normalize("NFC", str(path)).casefold()
        if spelling in self._spellings:
            raise _refusal(member, "the archive has this name twice, in another spelling")
        self._spellings.add(spelling)
        self._check_size(member)
        self._make_folder(member, path.parent)
        self._files.add(path)
        self._bytes += self._write(member, self._into / path)

    def _make_folder(self, member: Member, path: PurePosixPath) -> None:
        for folder in (*reversed(path.parents), path):
            if folder in self._folders:
                continue
            if folder in self._files:
                raise _refusal(member, f"{str(folder)!r} is a file of the archive, and cannot be a folder too")
            (self._into / folder).mkdir()
            self._folders.add(folder)

    def _check_size(self, member: Member) -> None:
        if member.size < 0:
            raise _refusal(member, "its size is negative")
        if member.size > self._limits.file_bytes:
            raise _refusal(member, f"larger than {megabytes(self._limits.file_bytes)}, which no image is")
        if self._bytes + member.size > self._limits.total_bytes:
            raise _refusal(member, f"the archive unpacks to more than {megabytes(self._limits.total_bytes)}")

    def _write(self, member: Member, target: Path) -> int:
        """Write one file; what really comes is counted, and never more is written than was declared and allowed."""
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError as error:  # a file system that takes two spellings for one name
            raise _refusal(member, "the archive has this name twice") from error
        size = 0
        with open(descriptor, "wb", buffering=0) as file, member.open() as content:
            while block := content.read(_BLOCK):
                size += len(block)
                if size > member.size:
                    break
                left = memoryview(block)
                while left:
                    left = left[file.write(left) :]
        if size != member.size:
            raise _refusal(member, f"does not hold the {member.size} bytes that the archive declares")
        return size


def _checked_name(member: Member) -> PurePosixPath:
    """The member's name as a relative path, without `.`; empty for the archive's own top."""
    name = member.name
    path = PurePosixPath(name)
    if path.is_absolute():
        raise _refusal(member, "its path is absolute")
    if ".." in path.parts:
        raise _refusal(member, "its path leaves the folder")
    if "\\" in name or not all(letter.isprintable() for letter in name):
        raise _refusal(member, "its name has a backslash, a control character or bytes that are not UTF-8")
    if len(os.fsencode(str(path))) > _LONGEST or any(len(os.fsencode(part)) > _LONGEST_PART for part in path.parts):
        raise _refusal(member, f"its name is longer than {_LONGEST_PART} bytes, or its path than {_LONGEST}")
    if len(path.parts) > _DEEPEST:
        raise _refusal(member, f"its path is deeper than {_DEEPEST} folders")
    if not path.parts and member.kind == FILE:
        raise _refusal(member, "a file without a name")
    return path


def _placed(path: PurePosixPath, strip: str) -> PurePosixPath:
    return path.relative_to(strip) if strip and path.is_relative_to(strip) else path


def _refusal(member: Member, reason: str) -> ArchiveError:
    name = member.name if len(member.name) <= 200 else f"{member.name[:200]}…"
    return ArchiveError(f"{name!r}: refused, {reason}; nothing of the archive is kept")
