"""Claims: which of several sweeps on one store makes a run; they end with their holder, whatever ended it.

A claim is a file `STORE/.claims/KEY.json`. It comes into being whole and at one stroke, as a hard link to a draft
beside it: a link fails where there is one already, on NFS too. Where a file system has no hard links, O_EXCL takes
their place. Its holder touches it every `BEAT_S` seconds. A claim is over when

- its holder is of this machine and the process (number and start) is no more: at once; or
- it has not been touched for `EXPIRY_S`, both times being the file system's own: no two clocks are compared.

Each claim has a name of its own, drawn at random. Whoever wants to end it or to take its place, its holder included,
first links a file of that name: so one process alone does, and nobody ends another claim than the one it looked at.

A claim keeps work from being done twice; it does not guard the store. Where a holder was stopped for minutes and goes
on after another has taken over, both write the same record.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from harness.leftovers import is_alive, machine, temporary_name
from harness.store.files import remove_leftovers, writing

CLAIMS = ".claims"
EXPIRY_S = 120.0
"""More than the minute for which a network file system may show an old time; and eight beats."""
BEAT_S = 15.0

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_ATTEMPTS = 20
"""A claim may be released or change hands between two looks at it."""
_LARGEST = 4096
"""Bytes of a claim that are read; one with a label of `_LONGEST_LABEL` characters has fewer."""
_LONGEST_LABEL = 200


@dataclass(frozen=True)
class Holder:
    """Who has a claim, and on what."""

    key: str
    label: str
    """What a person calls the run."""
    host: str
    pid: int
    since: str
    """ISO 8601, UTC, by the holder's clock; for people only."""
    token: str
    """The claim's own name."""
    machine: str
    """Where `pid` means this process; see `harness.leftovers.machine`."""
    started: str
    """When the process started, as its kernel counts; empty where that cannot be told."""

    def __str__(self) -> str:
        """The holder as a person reads it."""
        return f"{self.host}, process {self.pid}, since {self.since}"


class Claims:
    """The claims of one process on one store; leaving the context releases what it still holds.

    Holds while the process lives, also where its main thread is busy: another thread renews the claims.
    """

    def __init__(self, store: Path, *, expiry_s: float = EXPIRY_S, beat_s: float = BEAT_S) -> None:
        self._store = Path(store)
        self._folder = self._store / CLAIMS
        self._expiry_s, self._beat_s = expiry_s, beat_s
        self._held: dict[str, Holder] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for key in list(self._held):
            self.release(key)
        with suppress(OSError):
            self._folder.rmdir()  # only where it is empty

    def take(self, key: str, label: str = "") -> Holder | None:
        """Claim a run.

        Returns:
            None where the claim is this object's now (or was before), else its living holder.

        Raises:
            StoreError: the store cannot be written.
        """
        if key in self._held:
            return None
        mine = _new_holder(key, label)
        path, content = self._path(key), json.dumps(asdict(mine)).encode()
        with writing(self._store):
            for _ in range(_ATTEMPTS):
                if self._create(path, content):
                    self._hold(mine)
                    return None
                there = self.holder(key)
                if there is not None:
                    return there
                if self._end(path, content):
                    self._hold(mine)
                    return None
        return _unknown(key, path)  # it changes hands all the time: others are at work on it

    def release(self, key: str) -> None:
        """Give a claim up; nothing where it is not held, or where another has taken over meanwhile."""
        mine = self._held.pop(key, None)
        if mine is not None:
            with suppress(OSError):
                self._end(self._path(key), None, mine.token)

    def holder(self, key: str) -> Holder | None:
        """The living holder of a claim; None where it is free, or its holder is gone."""
        there = _read(self._path(key))
        return there if there is not None and not self._is_over(there) else None

    def is_there(self, key: str) -> bool:
        """Whether there is a claim, be its holder alive or gone."""
        return _read(self._path(key)) is not None

    def living(self) -> tuple[Holder, ...]:
        """The living holders of all claims on this store, the oldest first."""
        holders = (self.holder(key) for key in self._keys())
        return tuple(sorted((holder for holder in holders if holder), key=lambda holder: (holder.since, holder.label)))

    def tidy(self) -> None:
        """Remove the claims of processes that are gone, so that nothing gathers here."""
        with suppress(OSError):
            remove_leftovers(self._folder)
            for mark in self._folder.glob("*.end"):
                self._remove_if_left(mark)
            for key in self._keys():
                if self.holder(key) is None:
                    self._end(self._path(key), None)
            self._folder.rmdir()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _keys(self) -> list[str]:
        with suppress(OSError):
            return sorted(path.stem for path in self._folder.iterdir() if path.suffix == ".json")
        return []

    def _is_over(self, holder: Holder) -> bool:
        if holder.machine == machine() and holder.started and not _lives(holder):
            return True
        return self._is_old(self._path(holder.key))

    def _is_old(self, path: Path) -> bool:
        """Whether a file was last touched longer ago than the expiry, by the file system's clock."""
        try:
            with open(path, "rb") as file:  # opening it makes a network file system ask for its time anew
                touched = os.fstat(file.fileno()).st_mtime
            with self._draft(path, b"now") as draft:
                return draft.stat().st_mtime - touched > self._expiry_s
        except OSError:  # it is gone; or the store may only be read, and nothing is taken over
            return False

    def _end(self, path: Path, successor: bytes | None, token: str | None = None) -> bool:
        """End a claim that is over, or one's own (`token`), and put a successor in its place.

        Returns:
            True where this did it; False where somebody else did, or is about to, or where it lives after all.
        """
        there = _read(path)
        if there is None or (token is not None and there.token != token):
            return False
        mark = path.with_name(f"{path.stem}.{there.token}.end")
        if not self._create(mark, _signature().encode()):
            self._remove_if_left(mark)
            return False
        try:
            now = _read(path)
            if now is None or now.token != there.token or (token is None and not self._is_over(now)):
                return False
            if successor is None:
                path.unlink()
            else:
                with self._draft(path, successor) as draft:
                    os.replace(draft, path)
            return True
        finally:
            with suppress(OSError):
                mark.unlink()

    def _remove_if_left(self, mark: Path) -> None:
        """A mark lives for a moment: one that is old, or whose process is gone, was left by a kill in that moment."""
        if _is_of_the_dead(mark) or self._is_old(mark):
            with suppress(OSError):
                mark.unlink()

    def _create(self, path: Path, content: bytes) -> bool:
        """Make a file that has its content from the start; False where there is one."""
        with self._draft(path, content) as draft:
            try:
                os.link(draft, path)
            except FileExistsError:
                return draft.stat().st_nlink == 2  # a network may lose the answer to a link that was made
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _create_exclusively(path, content)
        return True

    @contextmanager
    def _draft(self, path: Path, content: bytes) -> Iterator[Path]:
        """A file in the claims' folder with some content; gone afterwards, unless it was moved."""
        draft = path.with_name(temporary_name(path.name))
        for attempt in range(_ATTEMPTS):
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                break
            except (FileNotFoundError, FileExistsError):  # another process removed the empty folder between two looks
                if attempt == _ATTEMPTS - 1:
                    raise
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            yield draft
        finally:
            with suppress(OSError):
                draft.unlink()

    def _hold(self, mine: Holder) -> None:
        self._held[mine.key] = mine
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="claims", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(self._beat_s):
            for mine in list(self._held.values()):
                path = self._path(mine.key)
                with suppress(OSError):
                    there = _read(path)
                    if there is not None and there.token == mine.token:
                        os.utime(path)


def _create_exclusively(path: Path, content: bytes) -> bool:
    """As a link does it, but for a moment without its content: whoever reads it then takes it for a living one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with open(descriptor, "wb") as file:
        file.write(content)
    return True


def _new_holder(key: str, label: str) -> Holder:
    return Holder(
        key=key,
        label=label[:_LONGEST_LABEL],
        host=platform.node(),
        pid=os.getpid(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=secrets.token_hex(8),
        machine=machine(),
        started=_start_of(os.getpid()),
    )


def _read(path: Path) -> Holder | None:
    """Who holds a claim, alive or not; None where there is no such claim."""
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read(_LARGEST))
        holder = Holder(**{field.name: data[field.name] for field in fields(Holder)})
        if holder.key == path.stem and holder.token.isalnum() and all(isinstance(v, str | int) for v in data.values()):
            return holder
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return _unknown(path.stem, path)


def _unknown(key: str, path: Path) -> Holder:
    """The holder of a claim that cannot be read (yet): it is over when it is old."""
    try:
        token = f"x{path.stat().st_ino}"
    except OSError:
        token = "x"
    return Holder(key, "", "an unknown machine", 0, "an unknown time", token, "", "")


def _signature() -> str:
    """This process, as what it leaves behind tells it."""
    return f"{machine()} {os.getpid()} {_start_of(os.getpid())}"


def _is_of_the_dead(mark: Path) -> bool:
    """Whether a process of this machine that is no more signed a file."""
    try:
        where, pid, started = mark.read_text()[:_LARGEST].split()
        return where == machine() and not _is_there(int(pid), started)
    except (OSError, ValueError):  # it is gone, or not (yet) signed
        return False


def _lives(holder: Holder) -> bool:
    """Whether the process of a holder on this machine is there; it may hang, or be stopped."""
    return _is_there(holder.pid, holder.started)


def _is_there(pid: int, started: str) -> bool:
    """Whether a process of this machine with that number is the one that started then."""
    return is_alive(pid) and _start_of(pid) in (started, "")


def _start_of(pid: int) -> str:
    """When a process started, in the kernel's ticks since it booted; empty where that cannot be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
