"""A sweep killed at any moment: what was complete stays, what was not is made again, and nothing gathers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.drawing import draw_mvtec_category
from tests.reliability.killing import Report

QUICK = ("backbone=resnet18", "backbone.weights=random", "n_features=10", "protocol.resize=64",
         "protocol.center_crop=null", "metrics.bootstrap_samples=20", "threads=1")  # fmt: skip
KILLS = 16
"""Of each lane."""


@pytest.mark.timeout(600)
def test_a_sweep_killed_at_random_moments_ends_as_if_it_never_was(tmp_path, project):
    """Two lanes of stores: in one a sweep at a time, in the other two sweeps share each store."""
    categories = ("bottle", "cable")
    for category in categories:
        draw_mvtec_category(tmp_path / "mvtec" / category)
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed of the kills: {seed}")
    arguments = ("dataset=mvtec", f"dataset.root={tmp_path / 'mvtec'}", f"category={','.join(categories)}",
                 "seeds=[0,1,2,3,4,5]", *QUICK)  # fmt: skip
    words = [str(tmp_path), str(KILLS), str(seed), "1,2", "12", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.killing", *words], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    report = Report(seed)
    for path in sorted(tmp_path.glob("lane*/report.json")):
        report.add(Report(**json.loads(path.read_text())))
    print(report.text())
    assert report.kills >= 2 * KILLS
    assert report.runs >= 2 * 12
