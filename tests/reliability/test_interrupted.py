"""Ctrl-C and SIGTERM at any moment: one line, the right status, state kept, nobody left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.drawing import draw_mvtec_category
from tests.reliability.failing import QUICK
from tests.reliability.interrupting import Report


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
