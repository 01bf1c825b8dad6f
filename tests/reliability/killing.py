"""A sweep that is killed again and again, then let finish: what it kept, what it did twice, what it left lying about.

Run by tests/reliability/test_killed.py with forks of a process that has imported everything already, so that a kill
costs a second.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.leftovers import is_temporary
from harness.store import Store

PATIENCE_S = 300.0
"""For a sweep that nobody kills; a quick one takes seconds."""


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
    return Reference(_results(sweep.store), _files(sweep.base), seconds)


def _results(store: Store) -> dict[str, tuple[Any, bytes]]:
    """Every record is valid, ok and complete."""
    contents = store.records()
    assert contents.problems == ()
    for record in contents.records:
        assert store.done(record.spec.model_dump()) == record, record.error
    return {
        record.key: (
            (record.metrics, record.intervals, record.thresholds, record.indices_sha256, record.scores_sha256),
            (store.run_folder(record.spec.model_dump()) / "scores.csv").read_bytes(),
        )
        for record in contents.records
    }


def _files(base: Path) -> frozenset[str]:
    """Everything below the folders of a sweep that can gather: but for digests, which are remembered or not by age."""
    paths = [path for top in ("store", "cache", "tmp", "cwd") for path in (base / top).rglob("*")]
    kept = [path for path in paths if "digests-" not in path.name or is_temporary(path.name)]
    return frozenset(str(path.relative_to(base)) for path in kept)


def _records(store: Store) -> dict[str, tuple[bytes, int]]:
    """By place: a record's bytes, and its file's number, so that one that was written again is noticed."""
    return {str(path): (path.read_bytes(), path.stat().st_ino) for path in store.path.glob("runs/**/record.json")}


def kill(sweep: Sweep, reference: Reference, *, kills: int, together: int, chance: random.Random) -> None:
    """Kill sweeps on one store after the other, each at a random moment or while something is written.

    Args:
        together: sweeps that run at the same time on the same store.
    """
    done = round_ = 0
    while done < kills:
        one, kept = Sweep(sweep.arguments, sweep.base / str(round_), sweep.n_runs).prepared(), {}
        while done < kills and len(kept) < sweep.n_runs:
            processes = [fork(one) for _ in range(together)]
            dies, hunted = time.monotonic() + chance.uniform(0, 1.1) * reference.seconds, chance.random() < 0.5
            while time.monotonic() < dies and not (hunted and any(one.store.path.glob("runs/*/*/*/*/.*.tmp"))):
                time.sleep(0.001)
            for process in processes[: max(1, together - chance.randrange(2))]:
                os.kill(process.pid, signal.SIGKILL)
            statuses = [_wait(process) for process in processes]
            assert set(statuses) <= {0, -signal.SIGKILL}, (one.base / "log").read_text(errors="replace")[-4000:]
            done += statuses.count(-signal.SIGKILL)
            _results(one.store)
            there = _records(one.store)
            assert kept.items() <= there.items(), "an ok record vanished, changed or was written again"
            kept = there
        finish(one, fork)
        assert _results(one.store) == reference.results
        before = _records(one.store)
        finish(one, fork)
        assert kept.items() <= before.items() == _records(one.store).items(), "a complete run was made again"
        assert _files(one.base) == reference.files, f"litter or loss: {sorted(_files(one.base) ^ reference.files)[:20]}"
        round_ += 1


def _wait(process: Process) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while (status := process.poll()) is None:
        assert time.monotonic() < deadline, "a sweep never ends"
        time.sleep(0.005)
    return status


def main(argv: Sequence[str]) -> int:
    """`BASE SEED N_RUNS ARGUMENT...`: ten kills of a sweep, then ten where two sweeps share a store."""
    base, seed, n_runs, *arguments = argv
    os.environ["OMP_NUM_THREADS"] = "1"
    sweep = Sweep(tuple(arguments), Path(base) / "warm", int(n_runs)).prepared()
    warm_up(sweep)
    reference = undisturbed(Sweep(sweep.arguments, Path(base) / "reference", sweep.n_runs), fork)
    assert len(reference.results) == sweep.n_runs
    for together in (1, 2):
        lane = Sweep(sweep.arguments, Path(base) / str(together), sweep.n_runs)
        kill(lane, reference, kills=10, together=together, chance=random.Random(f"{seed} {together}"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
