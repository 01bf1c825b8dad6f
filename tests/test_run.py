"""The way of one job: which runs share a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.run import passes
from tests.test_config import job

ONE = 3136 * 100 * 100 * 4
"""Bytes of covariances of one run of the paper's protocol."""


def test_runs_share_a_pass_as_long_as_their_covariances_fit():
    runs = job("seeds=[0,1,2,3,4]").runs
    assert passes(runs, budget=10 * ONE) == [runs]
    assert passes(runs, budget=2 * ONE) == [runs[:2], runs[2:4], runs[4:]]
    assert passes((), budget=ONE) == []


@pytest.mark.parametrize("budget", [0, ONE // 2])
def test_a_run_that_does_not_fit_runs_alone(budget):
    runs = job("seeds=[0,1]").runs
    assert passes(runs, budget=budget) == [runs[:1], runs[1:]]


def test_the_grid_is_counted_as_the_network_makes_it():
    (run,) = job("seed=0", "protocol.center_crop=null").runs  # 256 -> 64x64
    assert passes((run, run), budget=2 * 4096 * 100 * 100 * 4) == [(run, run)]
    assert len(passes((run, run), budget=2 * 4096 * 100 * 100 * 4 - 1)) == 2
    assert len(passes((run, replace(run, n_features=200)), budget=4 * 4096 * 100 * 100 * 4)) == 2
