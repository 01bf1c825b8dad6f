"""Claims: which of several sweeps on one store makes a run.

A claim is a lease of the filelock package on `STORE/.claims/KEY.lock`; `KEY.txt` beside it says what the run is. Its
holder renews it every `EXPIRY_S / 3`. Another process takes it over

- at once where the holder was a process of this machine and is no more;
- after `EXPIRY_S` in which it saw no renewal, by its own clock: the holder was stopped, or was on another machine.

A claim keeps work from being done twice; it does not guard the store. Where a holder was stopped for minutes and goes
on after another has taken over, both make the same run, and the first record stays.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from harness.errors import StoreError
from harness.leftovers import LEFTOVER_AGE_S, is_alive
from harness.store.files import writing

if TYPE_CHECKING:
    from filelock import SoftFileLease

CLAIMS = ".claims"
EXPIRY_S = 120.0
"""More than the minute for which a network file system may show an old time, and a renewal."""
_ATTEMPTS = 20
"""Another process may remove the empty folder between two steps."""


@dataclass(frozen=True)
class Holder:
    """Who has a claim, and on what."""

    key: str
    label: str
    """What a person calls the run; may be empty."""
    host: str
    pid: int
    since: str
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        """Return the holder as a person reads it."""
        return f"{self.host}, process {self.pid}, since {self.since}"


class Claims:
    """The claims of one process on one store; leaving the context releases what it still holds.

    They hold while the process lives, also where its main thread is busy: other threads renew them.
    """

    def __init__(self, store: Path, *, expiry_s: float = EXPIRY_S) -> None:
        self._store, self._expiry_s = Path(store), expiry_s
        self._folder = self._store / CLAIMS
        self._leases: dict[str, SoftFileLease] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        """Claims of others: the last renewal, and when this object first saw it."""

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

        if key not in self._leases:
            path = self._path(key)
            self._leases[key] = SoftFileLease(path, lease_duration=self._expiry_s, blocking=False, thread_local=False)
        lease = self._leases[key]
        with writing(self._store):
            for _ in range(_ATTEMPTS):
                if lease.is_locked:
                    return None
                try:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    lease.acquire()
                    self._path(key, "txt").write_text(label, encoding="utf-8", errors="backslashreplace")
                except FileNotFoundError:
                    lease.release()
                except Timeout:
                    if self._is_stuck(key):
                        lease.force_break()
                    elif there := self._read(key):
                        return there
        return Holder(key, label, "an unknown machine", 0, "an unknown time")  # it changes hands all the time

    def release(self, key: str) -> None:
        """Give a claim up; nothing where it is not held, or where another has taken over meanwhile."""
        lease = self._leases.pop(key, None)
        if lease is not None and lease.is_locked:
            with suppress(OSError):
                if lease.owner is not None and lease.owner.token == lease.token:
                    self._path(key, "txt").unlink(missing_ok=True)
            with suppress(OSError):
                lease.release()

    def is_free(self, key: str) -> bool:
        """Say whether a claim can be taken now. Ask the same object again: only so does it notice a silent holder.

        Raises:
            StoreError: the store cannot be written.
        """
        if self.take(key) is not None:
            return False
        self.release(key)
        return True

    def holder(self, key: str) -> Holder | None:
        """Return the holder of a claim; None where there is none, or it was a process of this machine that is gone."""
        there = self._read(key)
        gone = there is not None and there.host == socket.gethostname() and not is_alive(there.pid)
        return None if gone else there

    def living(self) -> tuple[Holder, ...]:
        """Return the holders of all claims on this store, the oldest first."""
        holders = (self.holder(path.stem) for path in self._folder.glob("*.lock"))
        return tuple(sorted((holder for holder in holders if holder), key=lambda holder: (holder.since, holder.label)))

    def tidy(self) -> None:
        """Remove the claims of processes that are gone, and the folder if nothing else is in it."""
        with suppress(OSError, StoreError):
            for path in list(self._folder.glob("*.lock")):
                if self.holder(path.stem) is None:
                    self.is_free(path.stem)
            for path in self._folder.iterdir():
                if time.time() - path.lstat().st_mtime > LEFTOVER_AGE_S:
                    path.unlink()
        self._remove_folder()

    def _remove_folder(self) -> None:
        with suppress(OSError):
            self._folder.rmdir()  # only where it is empty

    def _path(self, key: str, ending: str = "lock") -> Path:
        return self._folder / f"{key}.{ending}"

    def _read(self, key: str) -> Holder | None:
        """Return what a claim says, be its holder alive or gone; None where there is none."""
        from filelock import SoftFileLease

        path, note = self._path(key), self._path(key, "txt")
        owner = SoftFileLease(path).owner
        label, since = "", "an unknown time"
        with suppress(OSError, ValueError):
            label = note.read_text(encoding="utf-8")[:200]
            since = datetime.fromtimestamp(note.stat().st_mtime, UTC).isoformat(timespec="seconds")
        if owner is not None:
            return Holder(key, label, owner.hostname.partition("?")[0], owner.pid, since)
        return Holder(key, label, "an unknown machine", 0, since) if path.exists() else None

    def _is_stuck(self, key: str) -> bool:
        """Say whether a claim should have been taken over long ago.

        Where a file system cannot exchange two names at one stroke (NFS), filelock leaves the claims of the dead. Two
        processes that end one at the same moment may both make the run.
        """
        with suppress(OSError):
            renewed, now = self._path(key).stat().st_mtime_ns, time.monotonic()
            if self._seen.get(key, (0, 0.0))[0] != renewed:
                self._seen[key] = renewed, now
            return now - self._seen[key][1] > 1.5 * self._expiry_s
        return False
