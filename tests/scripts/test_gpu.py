"""scripts/gpu.py, as far as it can be tried without a GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scripts import gpu
from scripts.gpu import Outcome, difference, failures

RECORD = {
    "spec": {"device": "cuda"},
    "memory": {"peak_device_bytes": 1000, "peak_rss_bytes": 2000},
    "plan": {"predicted_device_bytes": 1100, "predicted_rss_bytes": 1900},
}


def outcome(shift: float = 0.0) -> Outcome:
    maps = np.random.default_rng(0).uniform(1, 2, (2, 4, 4)).astype(np.float32)
    return Outcome(maps.max(axis=(1, 2)).astype(float), maps * np.float32(1 + shift), RECORD)


def test_difference_is_relative():
    assert difference(outcome(), outcome()) == 0
    assert difference(outcome(1e-3), outcome()) == pytest.approx(1e-3, rel=1e-2)
    assert difference(replace(outcome(), maps=np.ones((3, 4, 4), np.float32)), outcome()) == np.inf


def test_each_check_can_fail():
    good = outcome(1e-5)
    assert failures(outcome(), good, good, "cuda") == []
    on_cpu = replace(good, record={**RECORD, "spec": {"device": "cpu"}})
    wrong = replace(good, record={**RECORD, "plan": {"predicted_device_bytes": 1300, "predicted_rss_bytes": 1000}})
    for cpu, device, auto, said in (
        (outcome(1e-3), good, good, ["differ from the CPU's"]),
        (replace(outcome(), maps=outcome().maps * np.nan), good, good, ["differ from the CPU's"]),
        (outcome(), good, outcome(2e-5), ["other bits"]),
        (outcome(), good, on_cpu, ["device=auto took cpu"]),
        (outcome(), wrong, wrong, ["peak memory (device)", "peak memory (rss)"]),
    ):
        lines = failures(cpu, device, auto, "cuda")
        assert len(lines) == len(said), lines
        assert all(part in line for part, line in zip(said, lines, strict=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_runs_nothing(capsys):
    assert gpu.main([]) == gpu.NOT_RUN
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("gpu: not run")


@pytest.mark.slow
def test_the_whole_script_on_a_cpu(capsys):
    """Memory is not judged: so few images take less than is predicted for whatever is loaded."""
    gpu.main(["--device", "cpu", "--limit", "4", "--batches", "1"])
    told = capsys.readouterr()
    assert "| device=auto |" in told.out
    assert "maps and scores: 0.0e+00." in told.out
    assert all("peak memory" in line for line in told.err.splitlines() if line.startswith("does not hold"))
    assert len([line for line in told.out.splitlines() if line.startswith(("| 1 |", "| 16 |", "| 64 |"))]) == 3
