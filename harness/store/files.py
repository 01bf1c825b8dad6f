"""Files that are whole or not there, turns of those who write, one line for what a file system refuses, and CSV."""

import csv
import errno
import io
import logging
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from harness.errors import StoreError, printable
from harness.leftovers import is_abandoned, temporary_name

logger = logging.getLogger(__name__)

LOCK_PATIENCE_S = 10.0

TURN = ".turn"
"""The file in a store that its writers lock; it stays, and that it is there means nothing."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that every reader sees the old content or the new, and a power cut leaves one of them.

    The new content goes into a temporary file beside it, with the permissions that the umask gives, and replaces it.

    Raises:
        OSError: the file system refused; the old content is untouched and nothing is left behind.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # some network file systems cannot make a renaming last
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_plain(path: Path, largest: int) -> bytes:
    """Read a plain file of at most `largest` bytes; links are followed.

    Whoever makes a store may put anything in a file's place: a pipe or a device would be read for ever.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file")
    if status.st_size > largest:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, more than the allowed {largest}")
    return path.read_bytes()


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder; those of a living one stay."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if is_abandoned(path):
                path.unlink()
                logger.debug("%s removed: a killed process left it", path)


@contextmanager
def turn(store: Path) -> Iterator[None]:
    """Let the writers of one store take turns, by the kernel's lock (flock): a dead process holds none.

    Every file is whole without it, too. So the writer goes on after `LOCK_PATIENCE_S` if the holder hangs, and at once,
    with a note, if the file system has no locks.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(store / TURN, LOCK_PATIENCE_S, mode=0o664, poll_interval=0.01, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        logger.debug("store %s: another writer holds its lock for %g s; going on without", store, LOCK_PATIENCE_S)
    except OSError as error:
        _say_unlocked(store, error.strerror or str(error))
    try:
        yield
    finally:
        lock.release()


@cache
def _say_unlocked(store: Path, reason: str) -> None:
    note = f"note: store {store}: cannot be locked ({reason}); let one sweep at a time write to it"
    print(printable(note), file=sys.stderr)


_REMEDIES = {errno.ENOSPC: "make room", errno.EDQUOT: "make room", errno.EFBIG: "raise the limit (ulimit -f)"}


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line that names the store.

    Raises:
        StoreError: instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        remedy = _REMEDIES.get(error.errno or 0, "make it writable")
        raise StoreError(f"store {store}: {reason}; {remedy}, or give another folder") from error


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a table as CSV that every reader parses back: minimal quoting, \n between rows.

    None becomes an empty field, a float its shortest exact form; a text stays as it is.
    """
    return "".join(f"{_line(row)}\n" for row in [header, *rows])


def _line(row: Sequence[object]) -> str:
    # The csv module quotes only the characters of its own line ending, so it must believe that \r is one.
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(row)
    return buffer.getvalue()[:-2]


def csv_rows(text: str) -> list[list[str]]:
    """Return the rows of a CSV text, the header included.

    Raises:
        csv.Error: it is no CSV.
    """
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def is_formula(text: str) -> bool:
    """Say whether a spreadsheet may take a cell for a formula; blanks before it and full-width letters do not hide one.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    starts = text[:1] in ("\t", "\r", "\n") or text.lstrip()[:1] in tuple("=+-@＝＋－＠")
    return bool(text) and starts and not _NUMBER.fullmatch(text)


def no_formula(text: str) -> str:
    """Return the text with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if is_formula(text) else text
