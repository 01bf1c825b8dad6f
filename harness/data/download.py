"""A dataset from its published archive into `DATA_ROOT/<dataset>`: whole and verified, or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.data.archive import MAX_BYTES, ArchiveError, megabytes, unpack
from harness.data.catalog import Archive, DatasetInfo
from harness.data.verify import CategoryCheck, check_dataset
from harness.errors import DataError, RequestError, UserError, printable

TIMEOUT_S = 30.0
"""Without a packet, after which the connection is taken for dead."""
ATTEMPTS = 5
"""In a row, without more bytes on the disk than ever before."""
PAUSE_S = 1.0
"""Before the second attempt; doubled for each further one."""

_BLOCK = 2**20
_SCHEMES = ("http", "https")
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNPACKED_RATIO = {".zip": 6.0, ".xz": 1.1, ".tar": 1.0}
"""Unpacked bytes per byte of an archive: BTAD's bitmaps shrink in a .zip, JPEGs hardly."""


class DownloadError(UserError):
    """An archive cannot be fetched, or is not the published one; or the disk fails."""


class _RetryError(Exception):
    """A failure that may pass: the connection, a busy server. `str(error)` says what happened."""


@dataclass(frozen=True)
class Request:
    """Which archive is wanted and from where."""

    info: DatasetInfo
    data_root: Path
    """The dataset's folder is made in it, under the dataset's name."""
    url: str | None = None
    """A mirror's address; None for the catalog's."""
    sha256: str | None = None
    """The archive's checksum; None for the catalog's."""
    archive: Path | None = None
    """A copy of the archive that is already here: nothing is downloaded then, and the copy stays."""
    keep_archive: bool = False
    """Move the downloaded archive into `data_root`, instead of deleting it."""

    @property
    def target(self) -> Path:
        """The dataset's own folder."""
        return self.data_root / self.info.name

    @property
    def work(self) -> Path:
        """The hidden folder beside it that holds everything unfinished."""
        return self.data_root / f".{self.info.name}.incoming"


def download(request: Request) -> bool:
    """Make `request.target` the complete dataset; False where it already is.

    The archive is fetched into a hidden folder beside the target, where an attempt that was cut off is continued;
    checked against its sha256; unpacked there; checked for counts and masks; and moved into place in one step. A target
    that exists is never changed. What goes on is shown on standard error.

    Raises:
        RequestError: the request is wrong, or the place cannot be used.
        DownloadError: the archive cannot be downloaded, or is not the published one; or the disk is full.
        ArchiveError: it holds what it must not.
        DataError: what is there, or what the archive holds, is not the official dataset.
    """
    published = _published(request)
    if _is_there(request):
        shutil.rmtree(request.work, ignore_errors=True)  # left by an attempt that was killed after its last step
        return False
    kept = request.data_root / (Path(urlsplit(published.url).path).name or f"{request.info.name}.archive")
    if request.keep_archive and os.path.lexists(kept):
        raise RequestError(f"{kept}: is there already; give it with --archive, or move it away")
    _make_folder(request)
    with _alone(request.work):
        if _is_there(request):  # another process was quicker
            return False
        archive = (
            _checked_copy(request, request.archive, published.sha256) if request.archive else _fetch(request, published)
        )
        try:
            _install(request, published, archive)
        except (ArchiveError, DataError):
            shutil.rmtree(request.work, ignore_errors=True)  # another attempt with the same bytes ends the same way
            raise
        if request.keep_archive and not request.archive:
            with _disk(kept):
                os.rename(archive, kept)
        shutil.rmtree(request.work, ignore_errors=True)
    return True


def _published(request: Request) -> Archive:
    info = request.info
    if info.archive is None:
        raise RequestError(f"{info.name}: is drawn by the harness itself; there is nothing to download")
    url, sha256 = request.url or info.archive.url, (request.sha256 or info.archive.sha256).lower()
    if not _is_web_address(url):
        raise RequestError(f"{url!r}: not an address to download from; it must begin with http:// or https://")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise RequestError(f"sha256 {sha256!r}: must be 64 hexadecimal digits")
    if request.archive and not request.archive.is_file():
        raise RequestError(f"{request.archive}: no such file; give the archive that you downloaded")
    return Archive(url, sha256, info.archive.folder)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and url.isascii() and url.isprintable() and " " not in url


def _is_there(request: Request) -> bool:
    """Whether the target is complete; an empty folder is as good as none.

    Raises:
        DataError: it holds something else, which is left as it is.
    """
    target = request.target
    if not os.path.lexists(target):
        return False
    with _disk(target):
        if not target.is_dir():
            raise DataError(f"{target}: is no folder; move it away, then download again")
        if not any(target.iterdir()):
            return False
    bad = [check for check in check_dataset(request.info, target) if check.problems]
    if bad:
        raise DataError(f"{target}: is there but not complete ({_first(bad)}); move it away, then download again")
    return True


def _first(bad: list[CategoryCheck]) -> str:
    more = f", and {len(bad) - 1} more categories" if len(bad) > 1 else ""
    return f"{bad[0].category}: {bad[0].problems[0]}{more}"


def _make_folder(request: Request) -> None:
    try:
        request.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"{request.data_root}: cannot be written ({error.strerror or error}); give another folder as DATA_ROOT"
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time work in `folder`; remove it afterwards where nothing is left in it.

    Raises:
        RequestError: another one does.
    """
    with _disk(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(OSError):  # a file system without locks: what is moved into place is whole in any case
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RequestError(f"{folder}: another download works there; wait until it has ended") from error
        try:
            yield
        finally:
            with suppress(OSError):
                folder.rmdir()
    finally:
        os.close(descriptor)


def _install(request: Request, published: Archive, archive: Path) -> None:
    """Unpack, verify, and move into place; whatever happens, nothing unfinished stays outside the archive."""
    fresh = request.work / "unpacked"
    try:
        with _disk(fresh):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            with _stage("unpacking", archive.stat().st_size) as show:
                unpack(archive, fresh, strip=published.folder, show=show)
        _say("verifying counts and masks")
        bad = [check for check in check_dataset(request.info, fresh) if check.problems]
        if bad:
            raise DataError(f"{request.info.name}: the archive does not hold the official dataset ({_first(bad)})")
        # After a power cut, a file system may know of the renaming below and not of the files' contents.
        os.sync()
        with _disk(request.target):
            os.rename(fresh, request.target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _checked_copy(request: Request, copy: Path, sha256: str) -> Path:
    if (found := _sha256(copy)) != sha256:
        raise _mismatch(str(copy), found, sha256)
    _check_room(request.data_root, 0, copy.stat().st_size * _ratio(copy.name))
    return copy


def _fetch(request: Request, published: Archive, *, again: bool = True) -> Path:
    """Fetch the archive, going on where an earlier attempt ended; return where it is, checked.

    A partial file is named by the checksum it shall have, and stays when the connection, the server or the disk fails.
    One whose checksum is wrong does not.
    """
    part = request.work / f"{published.sha256}.part"
    is_resumed = _receive_all(request, published.url, part)
    found = _sha256(part)
    if found == published.sha256:
        return part
    _discard(part)
    if not (is_resumed and again):
        raise _mismatch(published.url, found, published.sha256)
    _say("the pieces of several attempts do not fit together; downloading it again from the start")
    return _fetch(request, published, again=False)


def _receive_all(request: Request, url: str, part: Path) -> bool:
    """Receive until the file's end; whether `part` was put together from several answers."""
    most = failures = 0
    while True:
        try:
            return _receive(request, url, part)
        except _RetryError as error:
            have = _size(part)
            failures = 1 if have > most else failures + 1
            most = max(most, have)
            if failures >= ATTEMPTS:
                there = f" and goes on after {megabytes(have)}" if have else ""
                raise DownloadError(
                    f"{url}: {error}, {failures} times in a row; the same command tries again{there}"
                ) from error
            pause = PAUSE_S * 2 ** (failures - 1)
            _say(f"{error}; trying again in {pause:g} s")
            time.sleep(pause)


def _receive(request: Request, url: str, part: Path) -> bool:
    """Write one answer's body where it belongs; whether it was added to what was here.

    Raises:
        _RetryError: the answer is not complete; what came is on the disk.
        DownloadError: another attempt cannot help.
    """
    have = _size(part)
    answer = _open(url, _resume_headers(part, have), request.info.homepage)
    if answer is None:
        return True
    with answer:
        if (answer.headers.get("Content-Type") or "").lower().startswith("text/html"):
            raise DownloadError(f"{url}: gives a web page, not an archive{_elsewhere(request.info.homepage)}")
        start = end = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
        size = None if answer.length is None else start + answer.length
        if size is not None:
            _check_room(request.data_root, size - start, size * _ratio(url))
        with _disk(part), part.open("ab" if start else "wb") as file, _stage("downloading", size, start) as show:
            if not start:
                _validator_path(part).write_text(_validator(answer))
            while block := _read(answer, url):
                file.write(block)
                end += len(block)
                if end > MAX_BYTES:
                    _discard(part)
                    raise DownloadError(f"{url}: sends more than {megabytes(MAX_BYTES)}, which no archive has")
                show(end)
    if size is not None and end < size:
        raise _RetryError(f"the connection ended after {end} of {size} bytes")
    return start > 0


def _resume_headers(part: Path, have: int) -> dict[str, str]:
    """Ask for what is missing, if the server's file is still the one that `part` began as."""
    if not have:
        return {}
    with suppress(OSError, UnicodeError):
        if validator := _validator_path(part).read_text():
            return {"Range": f"bytes={have}-", "If-Range": validator}
    return {"Range": f"bytes={have}-"}


def _validator(answer: http.client.HTTPResponse) -> str:
    """What tells the server's file from a later one: a strong ETag or a date; empty where there is neither."""
    etag = answer.headers.get("ETag") or ""
    validator = etag if etag.startswith('"') else answer.headers.get("Last-Modified") or ""
    return validator if validator.isascii() and validator.isprintable() else ""


def _validator_path(part: Path) -> Path:
    return part.with_suffix(".validator")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_path(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only: never to a local file or an FTP server."""

    def redirect_request(self, req: urllib.request.Request, *arguments: Any) -> urllib.request.Request | None:
        target = arguments[-1]
        if urlsplit(target).scheme not in _SCHEMES:
            raise DownloadError(f"{req.full_url}: redirects to {target}; only http and https are followed")
        return super().redirect_request(req, *arguments)


def _open(url: str, headers: dict[str, str], homepage: str) -> http.client.HTTPResponse | None:
    """The server's answer; None where it has nothing after the bytes that are here."""
    asked = urllib.request.Request(url, headers={"User-Agent": "vad-harness", "Accept-Encoding": "identity"} | headers)
    with _network(url, homepage):
        try:
            answer: http.client.HTTPResponse = urllib.request.build_opener(_WebOnly).open(asked, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and headers:
                return None
            raise
    return answer


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    with _network(url):
        return answer.read1(_BLOCK)


@contextmanager
def _network(url: str, homepage: str = "") -> Iterator[None]:
    """Tell failures that may pass (_RetryError) from those that stay (DownloadError)."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _BUSY:
            raise _RetryError(f"the server answers {error.code} ({error.reason})") from error
        raise DownloadError(f"{url}: answered {error.code} ({error.reason}){_elsewhere(homepage)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        is_unknown = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME
        if is_unknown or isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url}: cannot be reached ({reason}){_elsewhere(homepage)}") from error
        if isinstance(reason, TimeoutError):
            raise _RetryError(f"nothing came for {TIMEOUT_S:g} s") from error
        raise _RetryError(f"the connection failed ({reason or type(error).__name__})") from error


def _elsewhere(homepage: str) -> str:
    return f"; {homepage} may say where the archive is: give that address with --url, or a copy with --archive"


def _sha256(path: Path) -> str:
    with _disk(path), path.open("rb") as file, _stage("checking the archive's sha256", None):
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(name: str, found: str, sha256: str) -> DownloadError:
    return DownloadError(f"{name}: is not the published archive: its sha256 is {found}, not {sha256}")


def _ratio(name: str) -> float:
    return _UNPACKED_RATIO.get(Path(urlsplit(name).path).suffix.lower(), 1.0)


def _check_room(folder: Path, archive: int, unpacked: float) -> None:
    with _disk(folder):
        free = shutil.disk_usage(folder).free
    if archive + unpacked > free:
        parts = f"{megabytes(archive)} to download and about " if archive else "about "
        raise DownloadError(
            f"{folder}: has {megabytes(free)} of free space, too little for {parts}{megabytes(int(unpacked))} "
            "to unpack; free some, or give another folder as DATA_ROOT"
        )


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a DownloadError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"{path}: the disk is full; free some space and run the same command again, which goes on from here"
            ) from error
        raise DownloadError(f"{path}: cannot be written or read ({error.strerror or error})") from error


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


@contextmanager
def _stage(name: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Show a stage on standard error: a bar on a terminal, else one line; gives a function of the bytes done so far."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        size = "" if total is None else f", {megabytes(total)}"
        _say(f"{name}{size}" + (f" ({megabytes(done)} are here already)" if done else ""))
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total, completed=done)
        yield lambda n: progress.update(task, completed=n)
