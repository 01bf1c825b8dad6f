"""scripts/gpu.py, as far as it can be tried without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts import gpu
from scripts.gpu import NOT_RUN, Outcome, difference, main


def outcome(shift: float = 0.0) -> Outcome:
    maps = np.random.default_rng(0).uniform(1, 2, (2, 4, 4)).astype(np.float32)
    return Outcome(maps * np.float32(1 + shift), maps.max(axis=(1, 2)).astype(float))


def test_difference_is_relative():
    assert difference(outcome(), outcome()) == 0
    assert difference(outcome(1e-3), outcome()) == pytest.approx(1e-3, rel=1e-2)
    assert difference(Outcome(np.ones((3, 4, 4), np.float32), outcome().scores), outcome()) == np.inf


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_runs_nothing(capsys):
    assert main([]) == NOT_RUN
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("gpu: not run")


@pytest.mark.parametrize(("shift", "status"), [(1e-5, 0), (1e-3, 1), (np.nan, 1)])
def test_the_outcomes_are_compared(monkeypatch, capsys, shift, status):
    found = [outcome(), outcome(shift)]
    monkeypatch.setattr(gpu, "whole_run", lambda *_: found.pop(0))
    monkeypatch.setattr(gpu.Bench, "setup", lambda bench: gpu.Setup(bench.root, 2, 4, "resnet18", bench.root))
    assert main(["--device", "cpu", "--limit", "2"]) == status
    told = capsys.readouterr()
    assert "Largest relative difference from the CPU's maps and scores" in told.out
    assert told.err.count("\n") == status


@pytest.mark.slow
def test_a_whole_run_on_a_cpu(tmp_path, capsys):
    found = gpu.whole_run(gpu.Bench(tmp_path, None, None, limit=2).setup(), tmp_path / "run", "cpu")
    assert len(found.scores) == 4
    assert found.maps.ndim == 3
    assert capsys.readouterr().out.startswith("| cpu |")
