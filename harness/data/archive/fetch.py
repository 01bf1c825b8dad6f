"""A published file, fetched piece by piece into a partial file that a later attempt goes on with."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

from harness.data.archive.disk import digest, disk
from harness.data.archive.view import View, megabytes
from harness.data.archive.web import (
    AddressError,
    Answer,
    DownloadError,
    RangeRefusedError,
    TransientError,
    get,
    parse_content_range,
)

MAX_BYTES = 64 * 10**9
"""No archive is larger; a server that goes on sending is stopped here."""

_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")


@dataclass(frozen=True)
class Patience:
    """When a server is given up."""

    timeout_s: float = 30.0
    """Without a packet; or, over this time, with less than `slowest` bytes a second."""
    attempts: int = 5
    """In a row, without `progress` more bytes on the disk than ever before."""
    pause_s: float = 1.0
    """Before the second attempt; doubled for each further one."""
    longest_pause_s: float = 60.0
    slowest: float = 1024.0
    progress: int = 2**20


@dataclass(frozen=True)
class _Origin:
    """Which file a partial file is part of; kept beside it."""

    url: str
    sha256: str
    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None


class _ChangedError(Exception):
    """The server's file is not the one that the partial file began as."""


def fetch(
    url: str,
    sha256: str,
    part: Path,
    *,
    patience: Patience,
    view: View,
    make_room: Callable[[int, int], None],
) -> None:
    """Make `part` the file at `url`, whose checksum is `sha256`; goes on where an earlier attempt ended.

    A partial file stays when the connection, the server or the disk fails. One whose checksum is wrong does not.

    Args:
        part: the partial file; what it is part of is kept beside it, in `<part>.json`.
        make_room: called with the file's size and the bytes that are here already, before anything is written;
            raises where the disk has no room.

    Raises:
        DownloadError: one line that says what was tried and what to do.
    """
    transfer = _Transfer(url, sha256, part, patience, view, make_room)
    resumed = transfer.run()
    found = digest(part, view)
    if found != sha256 and resumed:
        # A server without validators may have changed the file between two attempts.
        view.say("the pieces of several attempts do not fit together; downloading it again from the start")
        discard(part)
        transfer.run()
        found = digest(part, view)
    if found != sha256:
        size = part.stat().st_size
        discard(part)
        raise DownloadError(
            f"{url}: what it gave ({megabytes(size)}) is not the published archive: its sha256 is {found}, not "
            f"{sha256}; it was deleted"
        )


def discard(part: Path) -> None:
    """Remove a partial file and what is known about it."""
    for path in (part, _origin_path(part)):
        with suppress(FileNotFoundError):
            path.unlink()


@dataclass(frozen=True)
class _Transfer:
    """One file on its way from one address into one partial file."""

    url: str
    sha256: str
    part: Path
    patience: Patience
    view: View
    make_room: Callable[[int, int], None]

    def run(self) -> bool:
        """Fetch until the file's end; whether `part` was put together from several answers."""
        most = failures = 0
        while True:
            origin = _read_origin(self.part, self.url, self.sha256)
            have = _size(self.part) if origin else 0
            if origin and have and have == origin.size:
                return True
            try:
                headers = _resume_headers(origin, have) if origin and have else {}
                with get(self.url, headers, self.patience.timeout_s) as answer:
                    return self._receive(answer, origin, have)
            except RangeRefusedError as refusal:
                if have and refusal.total == have:
                    return True
                if not have:
                    raise DownloadError(f"{self.url}: answers 416 to a request for the whole file") from refusal
                self._start_again("the server's file has changed")
            except _ChangedError as change:
                self._start_again(str(change))
            except TransientError as error:
                now = _size(self.part)
                failures = 1 if now >= most + self.patience.progress else failures + 1
                most = max(most, now)
                self._pause(error, failures, now)

    def _start_again(self, reason: str) -> None:
        self.view.say(f"{reason}; downloading it again from the start")
        discard(self.part)

    def _pause(self, error: TransientError, failures: int, have: int) -> None:
        patience = self.patience
        if failures >= patience.attempts:
            there = f" and goes on after {megabytes(have)}" if have else ""
            raise DownloadError(
                f"{self.url}: {error}, {failures} times in a row; the same command tries again{there}"
            ) from error
        pause = max(min(patience.pause_s * 2 ** (failures - 1), patience.longest_pause_s), error.wait_s)
        self.view.say(f"{error}; trying again in {pause:g} s")
        time.sleep(pause)

    def _receive(self, answer: Answer, origin: _Origin | None, have: int) -> bool:
        """Write one answer's body where it belongs; whether it was added to what was here."""
        start, size = _place(answer, origin, have)
        web_page = answer.headers.get("Content-Type", "").lower().startswith("text/html")
        block = b"" if web_page else answer.read()
        if web_page or (start == 0 and block[:64].lstrip().lower().startswith(_WEB_PAGE)):
            raise AddressError(f"{self.url}: gives a web page, not an archive; a browser shows what it wants")
        if size is not None:
            if size > MAX_BYTES:
                raise DownloadError(f"{self.url}: announces {megabytes(size)}, more than any of the archives has")
            self.make_room(size, start)
        if start == 0 and have:
            self.view.say("the server does not go on in the middle; downloading it again from the start")
        with disk(self.part), self.part.open("ab" if start else "wb", buffering=0) as file:
            if start == 0:
                etag, last_modified = _validator(answer, "ETag"), _validator(answer, "Last-Modified")
                _write_origin(self.part, _Origin(self.url, self.sha256, etag, last_modified, size))
            self.view.begin("downloading", size, start)
            try:
                end = start
                for piece in self._pieces(answer, block):
                    end += _write(file, piece)
                    self.view.advance(len(piece))
                    if end > (MAX_BYTES if size is None else size):
                        break
            finally:
                self.view.end()
        if size is not None and end < size:
            raise TransientError(f"the connection ended after {end} of {size} bytes")
        if end > (MAX_BYTES if size is None else size):
            discard(self.part)
            raise DownloadError(f"{self.url}: sends more than {'any archive has' if size is None else 'it announces'}")
        return start > 0

    def _pieces(self, answer: Answer, block: bytes) -> Iterator[bytes]:
        """`block` and all that follows it.

        Raises:
            TransientError: the connection fails, or is so slow that it must be taken for dead.
        """
        since, received = time.monotonic(), 0
        while block:
            yield block
            received += len(block)
            if (elapsed := time.monotonic() - since) > self.patience.timeout_s:
                if received < self.patience.slowest * elapsed:
                    raise TransientError(f"only {received} bytes came in {elapsed:.0f} s")
                since, received = time.monotonic(), 0
            block = answer.read()


def _write(file: io.FileIO, block: bytes) -> int:
    left = memoryview(block)
    while left:
        left = left[file.write(left) :]
    return len(block)


def _validator(answer: Answer, name: str) -> str | None:
    """A header that can be sent back as it came."""
    value = answer.headers.get(name)
    return value if value and value.isprintable() else None


def _resume_headers(origin: _Origin, have: int) -> dict[str, str]:
    headers = {"Range": f"bytes={have}-"}
    strong = origin.etag if origin.etag and not origin.etag.startswith("W/") else None
    validator = strong or origin.last_modified
    return headers | {"If-Range": validator} if validator else headers


def _place(answer: Answer, origin: _Origin | None, have: int) -> tuple[int, int | None]:
    """At which byte an answer's body starts, and the file's size where the server says it.

    Raises:
        _ChangedError: it is a part of another file, or not the part that was asked for.
    """
    length = answer.headers.get("Content-Length") or ""
    if answer.status == HTTPStatus.OK:
        return 0, int(length) if length.isdecimal() and len(length) < 20 else None
    first, last, total = parse_content_range(answer.headers.get("Content-Range"))
    if origin is None or not have:
        raise DownloadError(f"{answer.url}: gives a part where the whole file was asked for")
    if first != have or last is None or (total is not None and last != total - 1):
        raise _ChangedError("the server sent another part than the one asked for")
    if origin.size is not None and total is not None and total != origin.size:
        raise _ChangedError("the server's file has changed")
    etag = _validator(answer, "ETag")
    if etag and origin.etag and etag != origin.etag:
        raise _ChangedError("the server's file has changed")
    return have, total if total is not None else origin.size


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _origin_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_origin(part: Path, url: str, sha256: str) -> _Origin | None:
    """What the partial file is part of; None where that is unknown, or not what is wanted now."""
    try:
        origin = _Origin(**json.loads(_origin_path(part).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    texts = (origin.etag, origin.last_modified)
    known = all(text is None or isinstance(text, str) for text in texts) and isinstance(origin.size, int | None)
    return origin if known and (origin.url, origin.sha256) == (url, sha256) else None


def _write_origin(part: Path, origin: _Origin) -> None:
    path = _origin_path(part)
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(asdict(origin)))
    os.replace(temporary, path)
