"""Ctrl-C and SIGTERM at any moment: one line, the right status, state kept, nobody left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.sweeps import draw, ended, litter, results, start, undisturbed, wait

ENDINGS = {
    signal.SIGINT: (130, "interrupted: finished runs are kept; the same command goes on with the rest"),
    signal.SIGTERM: (143, "terminated: finished runs are kept; the same command goes on with the rest"),
}
SEND = {signal.SIGINT: os.killpg, signal.SIGTERM: os.kill}
"""A terminal's Ctrl-C comes to a sweep and to all that it has started; a scheduler's SIGTERM, to the sweep."""


def catches_signals(pid):
    """Say whether SIGTERM has a handler: before, nothing can be promised, and nothing has been done."""
    (mask,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return int(mask.split()[1], 16) >> (signal.SIGTERM - 1) & 1


def members(group):
    """The living processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += [path] if int(its_group) == group and state != "Z" else []
    return found


def interrupt(sweep, kind, base):
    """Interrupt a sweep now; False where it had come to its own end before."""
    with suppress(ProcessLookupError):
        SEND[kind](sweep.pid, kind)
    status = sweep.wait(60) if isinstance(sweep, subprocess.Popen) else ended(sweep)
    if status == 0:
        return False
    log = (base / "log").read_text()
    assert (status, log.splitlines()[-1:]) == (ENDINGS[kind][0], [ENDINGS[kind][1]]), log
    assert "Traceback" not in log
    results(base)
    assert litter(base) == []
    wait(20, lambda: not members(sweep.pid))
    assert members(sweep.pid) == []
    return True


@pytest.mark.timeout(600)
def test_an_interrupted_sweep_ends_in_one_line_at_any_moment(tmp_path):
    words = [*draw(tmp_path / "mvtec", "bottle"), "seeds=[0,1,2,3]", "workers=4"]
    seconds = undisturbed(words, tmp_path / "reference")
    seed = int.from_bytes(os.urandom(4), "big")
    chance, interrupted = random.Random(seed), 0
    for number in range(8):
        base = tmp_path / str(number)
        sweep = start(words, base)
        wait(60, lambda sweep=sweep: catches_signals(sweep.pid))
        time.sleep(chance.uniform(0, 0.8 * seconds))
        interrupted += interrupt(sweep, list(ENDINGS)[number % 2], base)
    assert interrupted >= 3, f"seed {seed}"


@pytest.mark.slow
def test_joblibs_processes_say_nothing_while_they_start(tmp_path):
    """Ctrl-C comes to them too, and Python's answer would be a traceback of each."""
    words = [*draw(tmp_path / "mvtec", "bottle"), "preprocessing.batch_size=2,3", "launcher=joblib", "jobs=2"]
    command = [sys.executable, "-m", "harness", *words, f"store={tmp_path / 'store'}"]
    with (tmp_path / "log").open("wb") as log:
        sweep = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    wait(60, lambda: len(members(sweep.pid)) >= 5 or sweep.poll() is not None)  # two keep account of resources
    time.sleep(0.15)  # they import
    assert interrupt(sweep, signal.SIGINT, tmp_path)
