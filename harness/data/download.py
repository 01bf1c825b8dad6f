"""A dataset from its published archive into `DATA_ROOT/<dataset>`: whole and verified, or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from harness.data.archive.disk import digest, disk
from harness.data.archive.fetch import Patience, fetch
from harness.data.archive.members import ArchiveError, unpacked_bytes
from harness.data.archive.unpack import Limits, unpack
from harness.data.archive.view import View, megabytes
from harness.data.archive.web import AddressError, DownloadError, check_url
from harness.data.catalog import Archive, DatasetInfo
from harness.data.verify import CategoryCheck, check_dataset
from harness.errors import DataError, RequestError

_UNPACKED_RATIO = {".zip": 6.0, ".xz": 1.1, ".tar": 1.0}
"""Unpacked bytes per byte of an archive that is not here yet: BTAD's bitmaps shrink in a .zip, JPEGs hardly."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    patience: Patience = field(default_factory=Patience)
    limits: Limits = field(default_factory=Limits)

    @property
    def target(self) -> Path:
        """The dataset's own folder."""
        return self.data_root / self.info.name

    @property
    def work(self) -> Path:
        """The hidden folder beside it that holds everything unfinished."""
        return self.data_root / f".{self.info.name}.incoming"


def download(request: Request, view: View) -> bool:
    """Make `request.target` the complete dataset; False where it already is.

    The archive is fetched into a hidden folder beside the target, where an attempt that was cut off is gone on with;
    checked against its sha256; unpacked there; checked for counts and masks; and moved into place in one step. A target
    that exists is never changed.

    Raises:
        RequestError: the request is wrong, or the place cannot be used.
        DownloadError: the archive cannot be had, or is not the published one; or the disk is full.
        ArchiveError: it holds what it must not.
        DataError: what is there, or what the archive holds, is not the official dataset.
    """
    published = _published(request)
    if _is_there(request):
        with suppress(OSError):  # left by an attempt that was killed after its last step
            shutil.rmtree(request.work)
        return False
    kept = request.data_root / (Path(urlsplit(published.url).path).name or f"{request.info.name}.archive")
    if request.keep_archive and os.path.lexists(kept):
        raise RequestError(f"{kept}: is there already; give it with --archive, or move it away")
    _make_folder(request)
    with _claimed(request.work):
        if _is_there(request):  # another process was quicker
            return False
        part = request.archive or request.work / f"{request.info.name}.archive"
        if request.archive:
            _check_copy(request.archive, published.sha256, view)
        else:
            _fetch(request, published, part, view)
        try:
            _install(request, published, part, view)
        except (ArchiveError, DataError):
            shutil.rmtree(request.work, ignore_errors=True)  # another attempt with the same bytes ends the same way
            raise
        if request.keep_archive and not request.archive:
            with disk(kept):
                os.rename(part, kept)
        with suppress(OSError):
            shutil.rmtree(request.work)
    return True


def _published(request: Request) -> Archive:
    info = request.info
    if info.archive is None:
        raise RequestError(f"{info.name}: is drawn by the harness itself; there is nothing to download")
    url, sha256 = request.url or info.archive.url, (request.sha256 or info.archive.sha256).lower()
    check_url(url)
    if not _SHA256.fullmatch(sha256):
        raise RequestError(f"sha256 {sha256!r}: must be 64 hexadecimal digits")
    if request.archive and not request.archive.is_file():
        raise RequestError(f"{request.archive}: no such file; give the archive that you downloaded")
    return Archive(url, sha256, info.archive.folder)


def _is_there(request: Request) -> bool:
    """Whether the target is complete; an empty folder is as good as none.

    Raises:
        DataError: it holds something else, which is left as it is.
    """
    target = request.target
    if not os.path.lexists(target):
        return False
    with disk(target):
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
        request.data_root.mkdir(parents=True, exist_ok=True)
        request.work.mkdir(exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"{request.data_root}: cannot be written ({error.strerror or error}); give another folder as DATA_ROOT"
        ) from error


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Let one process at a time work in `folder`; remove it afterwards where nothing is left in it.

    Raises:
        RequestError: another one does.
    """
    with disk(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _lock(descriptor, folder)
        try:
            yield
        finally:
            with suppress(OSError):
                folder.rmdir()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RequestError(f"{folder}: another download works there; wait until it has ended") from error
    except OSError:
        pass  # a file system without locks; what is moved into place is verified and whole in any case


def _fetch(request: Request, published: Archive, part: Path, view: View) -> None:
    def make_room(size: int, have: int) -> None:
        _check_room(request.data_root, size - have, size * _ratio(published.url))

    try:
        fetch(published.url, published.sha256, part, patience=request.patience, view=view, make_room=make_room)
    except AddressError as error:
        raise AddressError(
            f"{error}; {request.info.homepage} may say where the archive is now: give that address with --url, "
            "or a downloaded copy with --archive"
        ) from error


def _check_copy(archive: Path, sha256: str, view: View) -> None:
    found = digest(archive, view)
    if found != sha256:
        raise DownloadError(f"{archive}: is not the published archive: its sha256 is {found}, not {sha256}")


def _ratio(url: str) -> float:
    return _UNPACKED_RATIO.get(Path(urlsplit(url).path).suffix.lower(), 1.0)


def _check_room(folder: Path, archive: float, unpacked: float) -> None:
    with disk(folder):
        free = shutil.disk_usage(folder).free
    if archive + unpacked > free:
        parts = f"{megabytes(int(archive))} to download and about " if archive else ""
        raise DownloadError(
            f"{folder}: has {megabytes(free)} of free space, too little for {parts}{megabytes(int(unpacked))} "
            "to unpack; free some, or give another folder as DATA_ROOT"
        )


def _install(request: Request, published: Archive, archive: Path, view: View) -> None:
    """Unpack, verify, and move into place; whatever happens, nothing unfinished stays outside the archive."""
    fresh = request.work / "unpacked"
    try:
        with disk(fresh):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            _check_room(request.data_root, 0, unpacked_bytes(archive))
            unpack(archive, fresh, strip=published.folder, limits=request.limits, view=view)
        view.say("verifying counts and masks")
        bad = [check for check in check_dataset(request.info, fresh) if check.problems]
        if bad:
            raise DataError(f"{request.info.name}: the archive does not hold the official dataset ({_first(bad)})")
        # After a power cut, a file system may know of the renaming below and not of the files' contents.
        os.sync()
        with disk(request.target):
            os.rename(fresh, request.target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
