"""Files that are whole or not there, whoever is killed meanwhile, and one line for what a file system refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import StoreError

LEFTOVER_AGE_S = 6 * 3600.0
"""No write takes hours, so a temporary file of this age belongs to a process that was killed."""

LOCK_PATIENCE_S = 10.0

_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that every reader sees the old content or the new, and a power cut leaves one of them.

    The new content goes into a temporary file beside it, with the permissions that the umask gives, and replaces it.

    Raises:
        OSError: the file system refused; the old content is untouched and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last; some network file systems cannot, and it is theirs to last without."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, *, older_than_s: float = LEFTOVER_AGE_S) -> None:
    """Remove temporary files that killed processes left in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > older_than_s:
                with suppress(OSError):
                    os.unlink(entry.path)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Writers of one folder take turns, without a lock file.

    The lock is on the folder itself. It is a courtesy: where the file system has no such lock, or its holder hangs,
    the writer goes on after a while, since every file is whole in any case.

    Raises:
        FileNotFoundError: the folder was removed meanwhile.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    give_up = time.monotonic() + LOCK_PATIENCE_S
    while time.monotonic() < give_up:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return
        else:
            return


_REASONS = {
    errno.EROFS: "is on a read-only file system",
    errno.EACCES: "may not be written (permission denied)",
    errno.EPERM: "may not be written (not permitted)",
    errno.ENOTDIR: "has a file where a folder must be",
    errno.EEXIST: "has a file where a folder must be",
    errno.EISDIR: "has a folder where a file must be",
    errno.ENOSPC: "is full (no space left on the device)",
    errno.EDQUOT: "is full (quota exceeded)",
    errno.ENAMETOOLONG: "has too long a path",
    errno.ENOENT: "cannot be created there",
}


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line that names the store.

    Raises:
        StoreError: instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"cannot be written ({error.strerror or error})")
        raise StoreError(f"store {store}: {reason}; make it writable, or give another folder") from error
