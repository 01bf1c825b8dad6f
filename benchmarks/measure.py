"""Whole processes, measured in turns: how long, how much memory, and what each says that it found."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.errors import UserError
from harness.keys import PROJECT

_KEPT_LINES = 5
"""Of what a failed process said."""


class BenchError(UserError):
    """A measurement that cannot be trusted: a process failed, or two sides gave different numbers."""


@dataclass(frozen=True)
class Measurement:
    """One process, once."""

    name: str
    repeat: int
    """From 0: contestants take turns, so equal numbers were measured side by side."""
    seconds: float
    """Wall-clock of the whole process, interpreter and imports included."""
    peak_rss_bytes: int
    """Of the largest single process among it and those that it started: not their sum."""
    work_seconds: float | None = None
    """Wall-clock of the work alone, everything imported before; None where that was not measured."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What it computed, by the harness's names: both sides must agree."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Whatever else was counted."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    After its process has ended, FOLDER/out.json may hold `work_seconds`, `metrics` and further numbers.
    """

    name: str
    command: Callable[[Path], Sequence[str]]
    """Takes an empty folder of its own."""
    seeds: tuple[int, ...] = ()
    """Of the runs that must lie in FOLDER/store afterwards."""
    full: bool = False
    """Whether these runs hold AUPRO."""
    status: int = 0
    """How it must end."""


def once(contestant: Contestant, repeat: int = 0, keep: Callable[[Path], None] = lambda _: None) -> Measurement:
    """Run a contestant in a fresh process, in the project's folder, with an empty cache folder.

    Linux counts a process's own size for what it starts, so the caller must be smaller than what is measured.

    Args:
        keep: is called with the contestant's folder before that is removed.

    Raises:
        BenchError: it failed, or its store does not hold what was asked for.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch, "work")
        folder.mkdir()
        fonts = Path(tempfile.gettempdir(), "bench-fonts")  # matplotlib lists the fonts once, for all processes
        variables = {"XDG_CACHE_HOME": f"{scratch}/cache", "MPLCONFIGDIR": str(fonts), "PYTHONWARNINGS": "ignore"}
        seconds, peak = _run(contestant, folder, Path(scratch, "log"), {**os.environ, **variables})
        said = json.loads(path.read_text("utf-8")) if (path := folder / "out.json").exists() else {}
        work, metrics = said.pop("work_seconds", None), said.pop("metrics", {})
        if contestant.seeds:
            metrics, predicted = read_store(folder / "store", contestant.seeds, full=contestant.full)
            said["predicted_rss_bytes"] = predicted
        keep(folder)
    return Measurement(contestant.name, repeat, seconds, peak, work, metrics, said)


def _run(contestant: Contestant, folder: Path, log: Path, environment: Mapping[str, str]) -> tuple[float, int]:
    """Seconds and the peak in bytes."""
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            contestant.command(folder),
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that whatever it starts can be ended with it
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != contestant.status:
        said = " | ".join(log.read_text("utf-8", "replace").strip().splitlines()[-_KEPT_LINES:])
        raise BenchError(f"{contestant.name}: ended with status {process.returncode}, not {contestant.status}: {said}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def read_store(store: Path, seeds: Sequence[int], *, full: bool) -> tuple[dict[str, float], int]:
    """The first seed's metrics and its predicted peak memory in bytes.

    Raises:
        BenchError: there are other seeds than were asked for, a run failed, or it computed more or less than it should.
    """
    records = [json.loads(path.read_text("utf-8")) for path in store.rglob("record.json")]
    by_seed = {record["spec"]["seed"]: record for record in records if record["status"] == "ok"}
    if sorted(by_seed) != sorted(seeds):
        raise BenchError(f"the store holds complete runs of the seeds {sorted(by_seed)}, not {sorted(seeds)}")
    first = by_seed[seeds[0]]
    metrics = {name: value for name, value in first["metrics"].items() if value is not None}
    if ("pixel_aupro" in metrics) != full:
        raise BenchError(f"the run computed {', '.join(metrics)}; AUPRO was {'' if full else 'not '}asked for")
    return metrics, first["plan"]["predicted_rss_bytes"]


def take_turns(contestants: Sequence[Contestant], repeats: int) -> tuple[Measurement, ...]:
    """A B C A B C ...: what slows the machine for a while slows all of them.

    Raises:
        BenchError: one of them failed.
    """
    measured = []
    for repeat in range(repeats):
        for contestant in contestants:
            one = once(contestant, repeat)
            work = "" if one.work_seconds is None else f"  work {one.work_seconds:.2f} s"
            peak = one.peak_rss_bytes / 2**20
            print(f"{repeat + 1}/{repeats} {one.seconds:7.2f} s {peak:6.0f} MiB  {one.name}{work}", flush=True)
            measured.append(one)
    return tuple(measured)


def middle(measured: Iterable[Measurement], name: str, quantity: str = "seconds") -> float | None:
    """The median over the repeats of a field of `Measurement`, or of one of its `numbers`; None where there is none."""
    found = [getattr(one, quantity, one.numbers.get(quantity)) for one in measured if one.name == name]
    values = [float(value) for value in found if value is not None]
    return median(values) if values else None


def check_same(measured: Sequence[Measurement], names: Iterable[str], tolerance: float) -> None:
    """Refuse measurements whose sides found other numbers: their times would say nothing.

    Raises:
        BenchError: a metric differs by more than `tolerance`, is not a number, or only one process has it.
    """
    for name in names:
        values = {one.name: one.metrics[name] for one in measured if name in one.metrics}
        if len(values) < 2:
            raise BenchError(f"{name}: nobody to compare with")
        every = [one.metrics[name] for one in measured if name in one.metrics]
        if any(map(math.isnan, every)) or max(every) - min(every) > tolerance:
            told = ", ".join(f"{who} gives {value!r}" for who, value in values.items())
            raise BenchError(f"{name}: the sides differ by more than {tolerance:g}, so their times say nothing: {told}")
