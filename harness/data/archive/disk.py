"""The disk under an archive: what it refuses as one line, and the checksum of what it holds."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.data.archive.view import View
from harness.data.archive.web import DownloadError

_BLOCK = 2**20


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a DownloadError.

    Raises:
        DownloadError: names the path.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"{path}: the disk is full; free some space and run the same command again, which goes on from here"
            ) from error
        raise DownloadError(f"{path}: cannot be written or read ({error.strerror or error})") from error


def digest(path: Path, view: View) -> str:
    """The sha256 of a file, in hexadecimal digits.

    Raises:
        DownloadError: it cannot be read.
    """
    hasher = hashlib.sha256()
    with disk(path), path.open("rb") as file:
        view.begin("checking the archive's sha256", os.fstat(file.fileno()).st_size)
        try:
            while block := file.read(_BLOCK):
                hasher.update(block)
                view.advance(len(block))
        finally:
            view.end()
    return hasher.hexdigest()
