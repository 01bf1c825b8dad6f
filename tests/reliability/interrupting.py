"""Sweeps that are interrupted as a person or a scheduler does it: how they end, what they say, what they leave."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.leftovers import is_temporary
from tests.reliability.killing import Process, Start, Sweep, fork, undisturbed, warm_up

ENDINGS = {
    signal.SIGINT: (130, "interrupted: finished runs are kept; the same command goes on with the rest"),
    signal.SIGTERM: (143, "terminated: finished runs are kept; the same command goes on with the rest"),
}
SEND = {signal.SIGINT: os.killpg, signal.SIGTERM: os.kill}
"""A terminal's Ctrl-C comes to a sweep and to all that it has started; a scheduler's SIGTERM, to the sweep."""
PATIENCE_S = 60.0


@dataclass
class Report:
    """How interrupted sweeps ended."""

    seed: int
    interrupted: int = 0
    ended_by_themselves: int = 0
    slowest_s: float = 0.0
    """From the signal to the end of the process."""

    def text(self) -> str:
        """In one line."""
        return (
            f"{self.interrupted} interruptions ({self.ended_by_themselves} more came too late), the slowest took "
            f"{self.slowest_s:.1f} s, seed {self.seed}"
        )


def interrupt(sweep: Sweep, start: Start, *, times: int, seed: int, earliest_s: float, latest_s: float) -> Report:
    """Interrupt a sweep at random moments, in turn by each signal; whatever is not as it must be is an AssertionError.

    Args:
        earliest_s, latest_s: seconds between which the moments lie, from when the sweep looks after its signals.
    """
    chance, report = random.Random(seed), Report(seed)
    for number in range(times):
        one = Sweep(sweep.arguments, sweep.base / str(number), sweep.n_runs).prepared()
        kind = (signal.SIGINT, signal.SIGTERM)[number % 2]
        process = start(one)
        _wait_for_the_beginning(process)
        time.sleep(chance.uniform(earliest_s, latest_s))
        if (seconds := interrupt_once(one, process, kind)) is None:
            report.ended_by_themselves += 1
        else:
            report.interrupted += 1
            report.slowest_s = max(report.slowest_s, seconds)
    return report


def interrupt_once(sweep: Sweep, process: Process, kind: signal.Signals) -> float | None:
    """Interrupt a sweep now; returns how many seconds it took to end, None if it had come to its own end before."""
    family = {process.pid, *descendants(process.pid)}
    if process.poll() is None:
        SEND[kind](process.pid, kind)
    sent = time.monotonic()
    while process.poll() is None and time.monotonic() - sent < PATIENCE_S:
        time.sleep(0.01)
    seconds = time.monotonic() - sent
    if process.poll() == 0:
        return None
    _wait_for_the_end(family)
    log = (sweep.base / "log").read_text(errors="replace")
    status, line = ENDINGS[kind]
    assert process.poll() == status, f"exit status {process.poll()} instead of {status}\n{log}"
    said = [text for text in log.splitlines() if not text.startswith(("ok ", "note: "))]
    assert said[-1:] == [line], log
    # Or it came when every run had ended and the table of them stood there already.
    assert len(said) == 1 or said[0].split()[:2] == ["image", "image"], log
    contents = sweep.store.records()
    assert contents.problems == ()
    assert all(sweep.store.done(record.spec.model_dump()) for record in contents.records)
    litter = [str(path) for path in sweep.base.rglob("*") if is_temporary(path.name) or ".claims" in path.parts]
    assert not litter, litter
    return seconds


def _wait_for_the_beginning(process: Process) -> None:
    """Until SIGTERM has a handler: before, nothing can be promised, and nothing has been done."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and not _catches(process.pid, signal.SIGTERM):
        assert time.monotonic() < deadline, "the sweep never began"
        time.sleep(0.001)


def _catches(pid: int, kind: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(mask, 16) >> (kind - 1) & 1)


def descendants(pid: int) -> set[int]:
    """All processes that a process has started, and those that they have."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}


def _wait_for_the_end(family: set[int]) -> None:
    """No process of the sweep may outlive it for more than a moment."""
    deadline = time.monotonic() + 20.0
    while alive := [pid for pid in family if os.path.exists(f"/proc/{pid}") and not _is_zombie(pid)]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def main(argv: Sequence[str]) -> int:
    """`BASE TIMES SEED N_RUNS ARGUMENT...`: with forks of a warm process; prints the report as JSON."""
    base, times, seed, n_runs, *arguments = argv
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    warm = Sweep(tuple(arguments), Path(base) / "warm", int(n_runs)).prepared()
    warm_up(warm)
    seconds = undisturbed(Sweep(warm.arguments, Path(base) / "reference", warm.n_runs), fork).seconds
    sweep = Sweep(warm.arguments, Path(base) / "interrupted", warm.n_runs)
    report = interrupt(sweep, fork, times=int(times), seed=int(seed), earliest_s=0.0, latest_s=0.9 * seconds)
    print(json.dumps(vars(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
