"""Whole processes, measured in turns: how long, how much memory, and what each says that it found."""

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.errors import UserError
from harness.paths import PROJECT


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


Command = Callable[[Path], Sequence[str]]
"""One way to do the work: takes an empty folder of its own, and gives the words of a process.

After the process has ended, FOLDER/out.json may hold `work_seconds`, `metrics` and further numbers, and FOLDER/store
records of the harness.
"""


def once(name: str, command: Command, repeat: int = 0) -> Measurement:
    """Run a fresh process in the project's folder, with an empty cache folder.

    The caller must be smaller than what is measured: Linux counts its size for what it starts.

    Raises:
        BenchError: it failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder, log = Path(scratch, "work"), Path(scratch, "log")
        folder.mkdir()
        fonts = str(Path(tempfile.gettempdir(), "bench-fonts"))  # matplotlib lists the fonts once, for all processes
        variables = {"XDG_CACHE_HOME": f"{scratch}/cache", "MPLCONFIGDIR": fonts, "PYTHONWARNINGS": "ignore"}
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                command(folder), cwd=PROJECT, env={**os.environ, **variables}, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            tail = " | ".join(log.read_text("utf-8", "replace").strip().splitlines()[-5:])
            raise BenchError(f"{name}: ended with status {process.returncode}: {tail}")
        said = json.loads(path.read_text("utf-8")) if (path := folder / "out.json").exists() else {}
        work, metrics = said.pop("work_seconds", None), said.pop("metrics", {})
        records = [json.loads(path.read_text("utf-8")) for path in (folder / "store").rglob("record.json")]
        if records:
            first = min(records, key=lambda record: record["spec"]["seed"])
            metrics = {metric: measured["value"] for metric, measured in first["metrics"].items()}
            said["predicted_rss_bytes"] = first["plan"]["predicted_rss_bytes"]
    return Measurement(name, repeat, seconds, usage.ru_maxrss * 1024, work, metrics, said)


def take_turns(contestants: Mapping[str, Command], repeats: int) -> tuple[Measurement, ...]:
    """Measure A B C A B C ...: what slows the machine for a while slows all of them.

    Raises:
        BenchError: one of them failed.
    """
    measured = []
    for number in range(repeats):
        for name, command in contestants.items():
            one = once(name, command, number)
            work = "" if one.work_seconds is None else f"  work {one.work_seconds:.2f} s"
            peak = one.peak_rss_bytes / 2**20
            print(f"{number + 1}/{repeats} {one.seconds:7.2f} s {peak:6.0f} MiB  {name}{work}", flush=True)
            measured.append(one)
    return tuple(measured)


def middle(measured: Iterable[Measurement], name: str, quantity: str = "seconds") -> float | None:
    """Take the median over the repeats of a field of `Measurement`, or of one of its `numbers`; None without any."""
    found = [getattr(one, quantity, one.numbers.get(quantity)) for one in measured if one.name == name]
    values = [float(value) for value in found if value is not None]
    return median(values) if values else None


def check_same(measured: Sequence[Measurement], names: Iterable[str], tolerance: float) -> None:
    """Refuse measurements whose sides found other numbers: their times would say nothing.

    Raises:
        BenchError: a metric differs by more than `tolerance`, is not a number, or only one process has it.
    """
    for name in names:
        values = {(one.name, one.repeat): one.metrics[name] for one in measured if name in one.metrics}
        if len({who for who, _ in values}) < 2:
            raise BenchError(f"{name}: only one side measured it")
        if any(map(math.isnan, values.values())) or max(values.values()) - min(values.values()) > tolerance:
            told = ", ".join(f"{who} gives {value!r}" for (who, _), value in values.items())
            raise BenchError(
                f"{name}: the sides differ by more than {tolerance:g}, so their times cannot be compared: {told}"
            )
