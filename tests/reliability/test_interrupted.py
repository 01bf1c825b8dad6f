"""Ctrl-C and SIGTERM at any moment: one line, the right status, state kept, nobody left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.drawing import draw_mvtec_category
from tests.reliability.failing import QUICK
from tests.reliability.interrupting import PATIENCE_S, Report, descendants, interrupt_once
from tests.reliability.killing import Sweep, spawn


@pytest.mark.timeout(600)
def test_an_interrupted_sweep_ends_in_one_line_at_any_moment(tmp_path, project):
    draw_mvtec_category(tmp_path / "mvtec" / "bottle")
    seed = int.from_bytes(os.urandom(4), "big")
    arguments = [*QUICK, f"dataset.root={tmp_path / 'mvtec'}", "category=bottle", "seeds=[0,1,2,3]", "workers=4"]
    words = [str(tmp_path), "8", str(seed), "4", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.interrupting", *words], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stderr[-4000:]}"
    report = Report(**json.loads(done.stdout.splitlines()[-1]))
    print(report.text())
    assert report.interrupted >= 3


@pytest.mark.slow
def test_joblibs_processes_say_nothing_while_they_start(tmp_path):
    """Ctrl-C comes to them too, and Python's answer would be a traceback of each."""
    draw_mvtec_category(tmp_path / "mvtec" / "bottle")
    arguments = (*QUICK, f"dataset.root={tmp_path / 'mvtec'}", "category=bottle", "protocol.batch_size=2,3", "jobs=2")
    sweep = Sweep(arguments, tmp_path / "sweep", 2).prepared()
    process = spawn(sweep)
    deadline = time.monotonic() + PATIENCE_S
    while len(descendants(process.pid)) < 4 and process.poll() is None:  # with the two that keep account of resources
        assert time.monotonic() < deadline, (sweep.base / "log").read_text()
        time.sleep(0.002)
    time.sleep(0.15)  # they import
    assert interrupt_once(sweep, process, signal.SIGINT) is not None
