"""A sweep that is killed again and again, then let finish: what it kept, what it did twice, what it left lying about.

Run by tests/reliability/test_killed.py with forks of a process that has imported everything already, so that a kill
costs a second.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.leftovers import is_temporary
from harness.store import Store

PATIENCE_S = 300.0
"""For a sweep that nobody kills; a quick one takes seconds."""
_LOOK_S = 0.0005


class Process(Protocol):
    """A sweep that runs, however it was started."""

    pid: int

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""


@dataclass(frozen=True)
class Sweep:
    """A command line, and the folders that it may write to."""

    arguments: tuple[str, ...]
    base: Path
    """Holds the store, the cache and the folder for temporary files."""
    n_runs: int

    @property
    def store(self) -> Store:
        return Store(self.base / "store")

    @property
    def environment(self) -> dict[str, str]:
        """Where a process of this sweep keeps what is not in the store."""
        return {"XDG_CACHE_HOME": str(self.base / "cache"), "TMPDIR": str(self.base / "tmp")}

    def prepared(self) -> Sweep:
        """The same, its folders made."""
        for name in ("cache", "tmp", "cwd"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        return self

    def command(self) -> list[str]:
        return [*self.arguments, f"store={self.store.path}"]


REAL = Sweep(
    (
        "dataset=mini_mvtec",
        "category=bottle,cable",
        "dataset.limit=4",
        "backbone=resnet18",
        "backbone.weights=random",
        "seeds=[0,1,2,3,4,5]",
        "n_features=20",
        "protocol.resize=64",
        "protocol.center_crop=null",
        "metrics.bootstrap_samples=20",
    ),
    Path(),
    12,
)
"""A sweep that also draws its images, into a cache of its own."""

Start = Callable[[Sweep], Process]


def spawn(sweep: Sweep) -> Process:
    """Start a sweep as a user does."""
    with (sweep.base / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *sweep.command()],
            cwd=sweep.base / "cwd",
            env={**os.environ, **sweep.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,  # what a terminal sends to all of them at once can be sent to these alone
        )


class _Fork:
    """A child of this process, which must have one thread only."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


def fork(sweep: Sweep) -> Process:
    """Start a sweep in a copy of this process: what is imported already need not be imported again."""
    pid = os.fork()
    if pid:
        return _Fork(pid)
    status = 70
    try:
        os.setsid()
        os.environ.update(sweep.environment)
        tempfile.tempdir = None
        log = os.open(sweep.base / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(sweep.base / "cwd")
        from harness.__main__ import main

        status = main(sweep.command())
        (sweep.base / "modules").write_text("\n".join(sys.modules))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def warm_up(sweep: Sweep) -> None:
    """Import all that a sweep imports, as one of them tells; nothing of it may start a thread."""
    finish(sweep, fork)
    for name in (sweep.base / "modules").read_text().splitlines():
        if not name.startswith("__"):
            with suppress(Exception):
                importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads after the imports: a fork would copy only one of them"


def finish(sweep: Sweep, start: Start) -> None:
    """Run a sweep that nobody kills; it must do all that is left, and end with 0."""
    process = start(sweep)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    log = (sweep.base / "log").read_text(errors="replace")[-4000:]
    assert process.poll() == 0, f"exit status {process.poll()}\n{log}"


@dataclass(frozen=True)
class Reference:
    """The same sweep, never disturbed."""

    results: dict[str, tuple[Any, bytes]]
    """By key: all that a record says of its numbers, and scores.csv."""
    files: frozenset[str]
    seconds: float


def undisturbed(sweep: Sweep, start: Start) -> Reference:
    began = time.monotonic()
    finish(sweep.prepared(), start)
    seconds = time.monotonic() - began
    finish(sweep, start)
    return Reference(_results(sweep.store), frozenset(_files(sweep.base)), seconds)


def _results(store: Store) -> dict[str, tuple[Any, bytes]]:
    contents = store.records()
    assert contents.problems == ()
    return {
        record.key: (
            (record.metrics, record.intervals, record.thresholds, record.indices_sha256, record.scores_sha256),
            (store.run_folder(record.spec.model_dump()) / "scores.csv").read_bytes(),
        )
        for record in contents.records
    }


def _files(base: Path) -> Iterator[str]:
    """Everything below the folders of a sweep that can gather: but for digests, which are remembered or not by age."""
    for top in ("store", "cache", "tmp", "cwd"):
        for path in (base / top).rglob("*"):
            name = str(path.relative_to(base))
            if "digests-" not in name or is_temporary(path.name):
                yield name


@dataclass
class Report:
    """What was done to sweeps, and how they bore it."""

    seed: int
    kills: int = 0
    kills_in_a_write: int = 0
    """Of these, the ones that left a temporary file: they came between its making and its renaming."""
    kills_before_a_record: int = 0
    """The ones after which a run's folder was there and its record was not."""
    rounds: int = 0
    """Stores that were filled under kills."""
    runs: int = 0
    """Runs that these hold in the end, each compared with the undisturbed one."""
    ended_by_themselves: int = 0
    seconds: float = 0.0
    delays: list[float] = field(default_factory=list)
    """Seconds from a start to its kill."""

    def add(self, other: Report) -> None:
        """Take another lane's numbers in."""
        for name, value in asdict(other).items():
            if name not in ("seed", "seconds"):
                setattr(self, name, getattr(self, name) + value)
        self.seconds = max(self.seconds, other.seconds)

    def text(self) -> str:
        """In one line."""
        return (
            f"{self.kills} kills survived ({self.kills_in_a_write} inside a write, {self.kills_before_a_record} before "
            f"a record), {self.rounds} stores, {self.runs} runs compared, {self.ended_by_themselves} sweeps ended by "
            f"themselves, {self.seconds:.0f} s, seed {self.seed}"
        )


@dataclass
class _Victim:
    process: Process
    born: float
    dies: float | None
    """When it is killed; None: while it writes."""


class Torment:
    """Kills the sweeps of one store after the other, and looks at what is left each time."""

    def __init__(
        self, sweep: Sweep, start: Start, reference: Reference, *, kills: int, seed: int, together: int = 1
    ) -> None:
        """Begin nothing yet.

        Args:
            sweep: its base holds a folder for each round.
            kills: to be done in all.
            seed: of the moments.
            together: sweeps that run at the same time on the same store.
        """
        self._whole, self._start, self._reference = sweep, start, reference
        self._wanted, self._together = kills, together
        self._random = random.Random(seed)
        self.report = Report(seed)

    def run(self) -> Report:
        """Kill as often as was asked for; whatever is not as it must be is an AssertionError."""
        began = time.monotonic()
        while self.report.kills < self._wanted:
            self._round(
                Sweep(self._whole.arguments, self._whole.base / f"{self.report.rounds}", self._whole.n_runs).prepared()
            )
        self.report.seconds = time.monotonic() - began
        return self.report

    def _round(self, sweep: Sweep) -> None:
        kept: dict[Path, tuple[bytes, bytes]] = {}
        victims: list[_Victim] = []
        seen: set[str] = set()
        try:
            while self.report.kills < self._wanted and not self._is_complete(kept, victims):
                while len(victims) < min(self._together, self._wanted - self.report.kills):
                    victims.append(self._new_victim(sweep))
                time.sleep(_LOOK_S)
                writing = set(_being_written(sweep.store)) if any(one.dies is None for one in victims) else set()
                for victim in list(victims):
                    if victim.process.poll() is not None:
                        self.report.ended_by_themselves += 1
                        assert victim.process.poll() == 0, (sweep.base / "log").read_text(errors="replace")[-4000:]
                        victims.remove(victim)
                    elif self._is_due(victim, writing - seen):
                        self._kill(victim, sweep)
                        victims.remove(victim)
                        self._look(sweep.store, kept)
                seen |= writing
        finally:
            for victim in victims:
                _end(victim.process)
        finish(sweep, self._start)
        self._look(sweep.store, kept)
        self._compare(sweep)

    def _new_victim(self, sweep: Sweep) -> _Victim:
        now = time.monotonic()
        hunted = self._random.random() < 0.5
        return _Victim(self._start(sweep), now, None if hunted else now + self._random.random() * self._moment())

    def _moment(self) -> float:
        return 1.1 * self._reference.seconds

    def _is_due(self, victim: _Victim, new: set[str]) -> bool:
        if victim.dies is None:
            return bool(new) and self._random.random() < 0.4
        return time.monotonic() >= victim.dies

    def _kill(self, victim: _Victim, sweep: Sweep) -> None:
        os.kill(victim.process.pid, signal.SIGKILL)
        while victim.process.poll() is None:
            time.sleep(_LOOK_S)
        if victim.process.poll() != -signal.SIGKILL:
            self.report.ended_by_themselves += 1
            return
        mark = f"-{victim.process.pid}-"
        self.report.kills += 1
        self.report.delays.append(round(time.monotonic() - victim.born, 3))
        self.report.kills_in_a_write += any(mark in name for name in _being_written(sweep.store))
        self.report.kills_before_a_record += _has_run_without_record(sweep.store)

    def _is_complete(self, kept: dict[Path, tuple[bytes, bytes]], victims: Sequence[_Victim]) -> bool:
        return len(kept) == self._whole.n_runs and not victims

    def _look(self, store: Store, kept: dict[Path, tuple[bytes, bytes]]) -> None:
        """Every record is valid and counts, and those that were there are what they were."""
        contents = store.records()
        assert contents.problems == (), contents.problems
        there = {}
        for record in contents.records:
            spec = record.spec.model_dump()
            assert record.status == "ok", record.error
            assert store.done(spec) == record, "a record whose scores are another's"
            folder = store.run_folder(spec)
            there[folder] = ((folder / "record.json").read_bytes(), (folder / "scores.csv").read_bytes())
        for folder, content in kept.items():
            assert there.get(folder) == content, f"{folder.name}: an ok record vanished or changed"
        kept.update(there)

    def _compare(self, sweep: Sweep) -> None:
        """The store is complete, a further sweep does nothing, and nothing lies about that has no business there."""
        assert _results(sweep.store) == self._reference.results
        before = _stamps(sweep.store)
        assert len(self._reference.results) == sweep.n_runs
        finish(sweep, self._start)
        assert _stamps(sweep.store) == before, "a complete run was made again"
        files = frozenset(_files(sweep.base))
        assert files == self._reference.files, f"litter or loss: {sorted(files ^ self._reference.files)[:20]}"
        self.report.rounds += 1
        self.report.runs += sweep.n_runs


def _end(process: Process) -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        while process.poll() is None:
            time.sleep(_LOOK_S)


def _stamps(store: Store) -> dict[str, tuple[int, int, int]]:
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size)
        for path in (store.path / "runs").rglob("*")
        if path.is_file()
    }


def _being_written(store: Store) -> Iterator[str]:
    """Names of temporary files in the store's own folder and in the runs'."""
    level = [str(store.path)]
    for depth in range(6):
        inner = []
        for folder in level:
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if is_temporary(entry.name):
                        yield entry.name
                    elif depth < 5 and "." not in entry.name:
                        inner.append(entry.path)
        level = inner


def _has_run_without_record(store: Store) -> bool:
    folders = {path.parent for path in store.path.glob("runs/*/*/*/*/*")}
    return any(not (folder / "record.json").exists() for folder in folders)


def main(argv: Sequence[str]) -> int:
    """`BASE KILLS SEED TOGETHER N_RUNS ARGUMENT...`: warm up, then a lane for each entry of TOGETHER, as `1,2`."""
    base, kills, seed, together, n_runs, *arguments = argv
    os.environ["OMP_NUM_THREADS"] = "1"
    sweep = Sweep(tuple(arguments), Path(base) / "warm", int(n_runs)).prepared()
    warm_up(sweep)
    reference = undisturbed(Sweep(sweep.arguments, Path(base) / "reference", sweep.n_runs), fork)
    lanes = []
    for lane, n_together in enumerate(map(int, together.split(","))):
        pid = os.fork()
        if not pid:
            _lane(Sweep(sweep.arguments, Path(base) / f"lane{lane}", sweep.n_runs), reference, int(kills),
                  int(seed) + lane, n_together)  # fmt: skip
        lanes.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in lanes]
    return max(map(abs, statuses))


def _lane(sweep: Sweep, reference: Reference, kills: int, seed: int, together: int) -> None:
    status = 1
    try:
        sweep.base.mkdir(parents=True)
        report = Torment(sweep, fork, reference, kills=kills, seed=seed, together=together).run()
        (sweep.base / "report.json").write_text(json.dumps(asdict(report)))
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
