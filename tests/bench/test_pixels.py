"""The metrics alone: the same numbers from both sides, on the same pixels."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.bench.children import pixels


def test_maps_are_the_same_each_time_and_need_no_sigmoid():
    maps, masks = pixels.draw_maps(8, 32)
    again, _ = pixels.draw_maps(8, 32)
    assert maps.tobytes() == again.tobytes()
    assert maps.dtype == np.float32
    assert 0 <= maps.min() < maps.max() <= 1
    assert [bool(mask.any()) for mask in masks] == [False, True, True, True] * 2
    assert pixels.ours(maps, masks, "auroc_f1")["pixel_auroc"] == pytest.approx(
        roc_auc_score(masks.ravel(), maps.ravel())
    )
    assert 0.6 < pixels.ours(maps, masks, "auroc_f1")["pixel_auroc"] < 0.95


def test_both_sides_agree():
    maps, masks = pixels.draw_maps(8, 48)
    for what in ("auroc_f1", "aupro"):
        ours, theirs = pixels.ours(maps, masks, what), pixels.anomalib(maps, masks, what)
        assert set(theirs) <= set(ours)
        assert theirs == pytest.approx({name: ours[name] for name in theirs}, abs=1e-6)


def test_extra_memory_is_beyond_what_was_held(tmp_path):
    # A process of its own: its peak is the highest that it ever had.
    out = str(tmp_path / "out.json")
    subprocess.run([sys.executable, "-m", "harness.bench.children.pixels", out, "ours", "auroc_f1", "40"], check=True)
    said = json.loads((tmp_path / "out.json").read_text())
    assert said["pixels"] == 40 * 224 * 224
    assert said["pixels"] < said["extra_bytes"] < 20 * said["pixels"]
    assert 0 < said["work_seconds"] < 60
