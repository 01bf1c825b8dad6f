"""A sweep killed at any moment: what was complete stays, what was not is made again, and nothing gathers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.drawing import draw_mvtec_category

QUICK = ("backbone=resnet18", "backbone.weights=random", "n_features=10", "protocol.resize=64",
         "protocol.center_crop=null", "metrics.bootstrap_samples=20", "threads=1")  # fmt: skip


@pytest.mark.timeout(600)
def test_a_sweep_killed_at_random_moments_ends_as_if_it_never_was(tmp_path, project):
    """Ten kills of a sweep, and ten where two sweeps share each store."""
    for category in ("bottle", "cable"):
        draw_mvtec_category(tmp_path / "mvtec" / category)
    seed = int.from_bytes(os.urandom(4), "big")
    root = f"dataset.root={tmp_path / 'mvtec'}"
    arguments = ("dataset=mvtec", root, "category=bottle,cable", "seeds=[0,1,2]", *QUICK)
    words = [str(tmp_path), str(seed), "6", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.killing", *words], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
