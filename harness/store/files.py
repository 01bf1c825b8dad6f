"""Files that are whole or not there, whoever is killed meanwhile, and one line for what a file system refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import StoreError
from harness.leftovers import is_abandoned, temporary_name

LOCK_PATIENCE_S = 10.0

TURN = ".turn"
"""An empty file that is locked where a folder cannot be; that it lies there says nothing."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that every reader sees the old content or the new, and a power cut leaves one of them.

    The new content goes into a temporary file beside it, with the permissions that the umask gives, and replaces it.

    Raises:
        OSError: the file system refused; the old content is untouched and nothing is left behind.
    """
    temporary = path.with_name(temporary_name(path.name))
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


def read_plain(path: Path, largest: int) -> bytes:
    """The content of a plain file of at most `largest` bytes; links are followed.

    Whoever makes a store may put anything in a file's place: a pipe or a device would be read for ever.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")
    if status.st_size > largest:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and {largest} are the most")
    return path.read_bytes()


def _sync_folder(folder: Path) -> None:
    """Make the renaming last; some network file systems cannot, and it is theirs to last without."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder; those of a living one stay."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if is_abandoned(Path(entry.path)):
                    os.unlink(entry.path)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Writers of one folder take turns, and a dead one's turn is over.

    The lock is the kernel's, on the folder itself; no file stands for it that a dead process could leave. A network
    file system locks only what is open for writing, as no folder can be: there an empty file in the folder is locked
    instead. It is a courtesy: where there is no lock at all, or its holder hangs, the writer goes on after a while,
    since every file is whole in any case.

    Raises:
        FileNotFoundError: the folder was removed meanwhile.
    """
    descriptors = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        if not _lock(descriptors[0]):
            with suppress(OSError):
                descriptors.append(os.open(folder / TURN, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666))
                _lock(descriptors[1])
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)  # which unlocks it


def _lock(descriptor: int) -> bool:
    """Wait a while for a lock; False where this cannot be locked at all."""
    give_up = time.monotonic() + LOCK_PATIENCE_S
    while time.monotonic() < give_up:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return False
        else:
            return True
    return True


_WRITABLE, _ROOM = "make it writable, or give another folder", "make room, or give another folder"

_REASONS = {
    errno.EROFS: ("is on a read-only file system", _WRITABLE),
    errno.EACCES: ("may not be written (permission denied)", _WRITABLE),
    errno.EPERM: ("may not be written (not permitted)", _WRITABLE),
    errno.ENOTDIR: ("has a file where a folder must be", _WRITABLE),
    errno.EEXIST: ("has a file where a folder must be", _WRITABLE),
    errno.EISDIR: ("has a folder where a file must be", _WRITABLE),
    errno.ENOSPC: ("is full (no space left on the device)", _ROOM),
    errno.EDQUOT: ("is full (quota exceeded)", _ROOM),
    errno.EFBIG: ("may not hold a file of this size (file too large)", "raise the limit (ulimit -f)"),
    errno.ENAMETOOLONG: ("has too long a path", _WRITABLE),
    errno.ENOENT: ("cannot be created there", _WRITABLE),
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
        unknown = f"cannot be written ({error.strerror or error})", _WRITABLE
        reason, remedy = _REASONS.get(error.errno or 0, unknown)
        raise StoreError(f"store {store}: {reason}; {remedy}") from error
