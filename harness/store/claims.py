"""Claims: which of several sweeps on one store makes a run.

A claim is a lease of the filelock package on `STORE/.claims/KEY.lock`; `KEY.txt` names the run. Another process takes
over at once if the holder was a process of this machine and has ended, else after `EXPIRY_S` without a renewal.
If two processes make the same run after all, the first record stays.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import StoreError
from harness.leftovers import is_alive
from harness.store.files import read_plain, writing

if TYPE_CHECKING:
    from filelock import SoftFileLease

logger = logging.getLogger(__name__)

CLAIMS = ".claims"
EXPIRY_S = 120.0
"""More than the minute for which a network file system may show an old time, and a renewal."""
_ATTEMPTS = 20
"""Another process may give a claim back, or remove the empty folder, between two steps."""


@dataclass(frozen=True)
class Holder:
    """Who has a claim, and on what."""

    key: str
    label: str = ""
    host: str = ""
    pid: int | None = None
    """None while the claim is being written, or where it is damaged."""
    since: str = ""
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"{self.host}, process {self.pid}" + (f", since {self.since}" if self.since else "")


class Claims:
    """The claims of one process on one store, renewed by threads; leaving the context releases them."""

    def __init__(self, store: Path, *, expiry_s: float = EXPIRY_S) -> None:
        self._store, self._expiry_s = Path(store), expiry_s
        self._folder = self._store / CLAIMS
        self._leases: dict[str, SoftFileLease] = {}
        """Also on claims that others have: a lease notices a silent holder only where it is asked again."""

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._leases):
            self.release(key)
        self._remove_folder()

    def take(self, key: str, label: str = "") -> Holder | None:
        """Claim a run.

        Returns:
            None where the claim is this object's now (or was before), else its holder.

        Raises:
            StoreError: the store cannot be written.
        """
        from filelock import SoftFileLease, Timeout

        path = self._folder / f"{key}.lock"
        if key not in self._leases:
            self._leases[key] = SoftFileLease(path, lease_duration=self._expiry_s, blocking=False, thread_local=False)
        with writing(self._store):
            for _ in range(_ATTEMPTS):
                try:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    self._remove_if_forgotten(path)
                    self._leases[key].acquire()
                    path.with_suffix(".txt").write_text(label, encoding="utf-8", errors="backslashreplace")
                except FileNotFoundError:
                    logger.debug("claim %s: its folder was removed meanwhile; tried again", key)
                    continue
                except Timeout:
                    if there := self.holder(key):
                        return there
                else:
                    logger.debug("claim %s taken: %s", key, label)
                    return None
        return Holder(key)

    def release(self, key: str) -> None:
        """Give a claim up; nothing where it is not held, or where another has taken over meanwhile."""
        lease = self._leases.pop(key, None)
        if lease is not None and lease.is_locked:
            with suppress(OSError):
                (self._folder / f"{key}.txt").unlink(missing_ok=True)
                lease.release(force=True)
                logger.debug("claim %s given back", key)

    def is_free(self, key: str) -> bool:
        """Say whether a claim can be taken now. Ask the same object each time: else it notices no silent holder.

        Raises:
            StoreError: the store cannot be written.
        """
        if self.take(key) is not None:
            return False
        self.release(key)
        return True

    def holder(self, key: str) -> Holder | None:
        """Return the holder of a claim; None where there is none, or it was a process of this machine that is gone."""
        from filelock import SoftFileLease

        path = self._folder / f"{key}.lock"
        owner = SoftFileLease(path).owner
        if owner is None:
            return Holder(key) if path.exists() else None
        host = owner.hostname.partition("?")[0]
        if host == socket.gethostname() and not is_alive(owner.pid):
            return None
        label = since = ""
        with suppress(OSError, ValueError):
            note = path.with_suffix(".txt")
            label = read_plain(note, 1000).decode()
            since = datetime.fromtimestamp(note.stat().st_mtime, UTC).isoformat(timespec="seconds")
        return Holder(key, label, host, owner.pid, since)

    def living(self) -> tuple[Holder, ...]:
        """Return the holders of all claims on this store, the oldest first."""
        holders = (self.holder(path.stem) for path in self._folder.glob("*.lock"))
        return tuple(sorted((holder for holder in holders if holder), key=lambda holder: (holder.since, holder.label)))

    def tidy(self) -> None:
        """Remove the claims of processes that are gone, and the folder if nothing else is in it."""
        with suppress(StoreError):
            for path in list(self._folder.glob("*.lock")):
                if self.holder(path.stem) is None:
                    self.is_free(path.stem)
        self._remove_folder()

    def _remove_folder(self) -> None:
        with suppress(OSError):
            self._folder.rmdir()  # only where it is empty

    def _remove_if_forgotten(self, path: Path) -> None:
        """Remove a claim that nobody renews.

        Where a file system cannot exchange two names at one stroke (NFS), filelock leaves the claims of the dead.
        """
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > 3 * self._expiry_s:
                path.unlink()
                logger.debug("claim %s removed: nobody renewed it for %g s", path.stem, 3 * self._expiry_s)
