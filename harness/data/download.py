"""A dataset from its published archive into `DATA_ROOT/<dataset>`: whole and verified, or not at all."""

import errno
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from harness.data.archive import MAX_BYTES, ArchiveError, megabytes, unpack
from harness.data.catalog import Archive, DatasetInfo
from harness.data.verify import check_dataset
from harness.errors import DataError, RequestError, UserError, printable

TIMEOUT_S = 30.0
"""Without a packet, after which the connection is taken for dead."""
ATTEMPTS = 5
"""In a row, without more bytes on the disk than ever before."""
PAUSE_S = 1.0
"""Before the second attempt; doubled for each further one."""

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(UserError):
    """An archive cannot be fetched, or is not the published one; or the disk fails."""


@dataclass(frozen=True)
class Request:
    """Which archive is wanted and from where."""

    info: DatasetInfo
    data_root: Path
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
    """Make `request.target` the complete dataset; return False where it already is.

    The archive is fetched into a hidden folder beside the target (an interrupted attempt continues there), checked,
    unpacked and verified there, and moved into place in one step. An existing target is never changed.

    Raises:
        RequestError: the request is wrong, or the place cannot be used.
        DownloadError: the archive cannot be downloaded, or is not the published one; or the disk is full.
        ArchiveError: it holds what it must not.
        DataError: what is there, or what the archive holds, is not the official dataset.
    """
    published = _published(request)
    if _is_there(request):
        return False
    kept = request.data_root / (Path(urlsplit(published.url).path).name or f"{request.info.name}.archive")
    if request.keep_archive and os.path.lexists(kept):
        raise RequestError(f"{kept}: already exists; give it with --archive, or move it away")
    with _alone(request):
        archive = _checked(request, published)
        try:
            _install(request, published, archive)
        except (ArchiveError, DataError):
            shutil.rmtree(request.work, ignore_errors=True)  # another attempt with the same bytes ends the same way
            raise
        if request.keep_archive and not request.archive:
            with _disk(kept):
                archive.rename(kept)
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
        return bool(re.fullmatch(r"https?://[!-~]+", url) and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _is_there(request: Request) -> bool:
    """Tell whether the target is complete; an empty folder is as good as none."""
    target = request.target
    if not os.path.lexists(target):
        return False
    with _disk(target):
        if not target.is_dir():
            raise DataError(f"{target}: is not a folder; move it away, then download again")
        if not any(target.iterdir()):
            return False
    if problem := _problem(request.info, target):
        raise DataError(f"{target}: exists but is not complete ({problem}); move it away, then download again")
    return True


def _problem(info: DatasetInfo, root: Path) -> str:
    bad = [check for check in check_dataset(info, root) if check.problems]
    more = f", and {len(bad) - 1} more categories" if len(bad) > 1 else ""
    return f"{bad[0].category}: {bad[0].problems[0]}{more}" if bad else ""


@contextmanager
def _alone(request: Request) -> Iterator[None]:
    """Make the hidden folder and let one process at a time work in it; remove it where nothing is left in it."""
    folder = request.work
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise RequestError(
            f"{request.data_root}: cannot be written ({error.strerror or error}); give another folder as DATA_ROOT"
        ) from error
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
    """Unpack, verify, and move into place; whatever happens, nothing unfinished stays beside the archive."""
    fresh = request.work / "unpacked"
    try:
        with _disk(fresh):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            with _stage("unpacking", archive.stat().st_size) as show:
                unpack(archive, fresh, strip=published.folder, show=show)
        _say("verifying counts and masks")
        if problem := _problem(request.info, fresh):
            raise DataError(f"{request.info.name}: the archive does not hold the official dataset ({problem})")
        # After a power cut, a file system may know of the renaming below and not of the files' contents.
        os.sync()
        with _disk(request.target):
            fresh.rename(request.target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _checked(request: Request, published: Archive) -> Path:
    """Return the archive, fetched or given, whose checksum is right."""
    part = request.work / f"{published.sha256}.part"
    if not request.archive:
        _fetch(published.url, part, request.info.homepage)
    archive = request.archive or part
    with _disk(archive), archive.open("rb") as file, _stage("checking the archive's sha256", None):
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != published.sha256:
        if not request.archive:
            part.unlink()
        raise DownloadError(
            f"{request.archive or published.url}: is not the published archive: its sha256 is {found}, not "
            f"{published.sha256}; download it again, or give its own checksum with --sha256"
        )
    return archive


def _fetch(url: str, part: Path, homepage: str) -> None:
    """Receive into `part` until the file's end, going on where an earlier attempt ended."""
    most = failures = 0
    while True:
        try:
            return _receive(url, part, homepage)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = f"the connection failed ({getattr(error, 'reason', error) or type(error).__name__})"
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                reason = f"the server answers {error.code} ({error.reason})"
                if error.code not in _BUSY:
                    raise DownloadError(f"{url}: {reason}{_elsewhere(homepage)}") from error
            have = part.stat().st_size if part.exists() else 0
            failures = 1 if have > most else failures + 1
            most = max(most, have)
            if failures >= ATTEMPTS:
                again = f"the same command continues after {megabytes(have)}"
                raise DownloadError(f"{url}: {reason}, {failures} times in a row; {again}") from error
            pause = PAUSE_S * 2 ** (failures - 1)
            _say(f"{reason}; trying again in {pause:g} s")
            time.sleep(pause)


def _receive(url: str, part: Path, homepage: str) -> None:
    """Write one answer's body where it belongs; an OSError, HTTPException or ValueError keeps what came on disk."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "vad-harness", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    asked = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(asked, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the server has nothing after the bytes that are here
        raise
    with answer:
        if not isinstance(answer, http.client.HTTPResponse):
            raise DownloadError(f"{url}: redirects to {answer.url}; only http and https are followed")
        if (answer.headers.get("Content-Type") or "").lower().startswith("text/html"):
            raise DownloadError(f"{url}: gives a web page, not an archive{_elsewhere(homepage)}")
        done = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
        size = None if answer.length is None else done + answer.length
        if not done:
            with _disk(part):
                part.write_bytes(b"")
        with _stage("downloading", size, done) as show:
            while block := answer.read1(2**20):
                with _disk(part), part.open("ab") as file:
                    file.write(block)
                done += len(block)
                show(done)
                if done > MAX_BYTES:
                    part.unlink()
                    raise DownloadError(f"{url}: sends more than {megabytes(MAX_BYTES)}, more than any archive has")
    if size is not None and done < size:
        raise ConnectionError(f"ended after {done} of {size} bytes")


def _elsewhere(homepage: str) -> str:
    return f"; {homepage} may say where the archive is: give that address with --url, or a copy with --archive"


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"cannot be written or read ({error.strerror or error})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full; free some space and run the same command again, which continues from here"
        raise DownloadError(f"{path}: {reason}") from error


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


@contextmanager
def _stage(name: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Show a stage on standard error: a bar on a terminal, else one line; give a function of the bytes done so far."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        size = "" if total is None else f", {megabytes(total)}"
        _say(f"{name}{size}" + (f" ({megabytes(done)} are here already)" if done else ""))
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total, completed=done)
        yield lambda n: progress.update(task, completed=n)
