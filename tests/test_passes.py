"""What a pass may take is known before it begins, and refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import passes
from harness.data.split import Sample, Split
from harness.errors import RequestError, StoreError
from harness.padim.plan import GIB
from harness.padim.weights import Weights
from harness.passes import check_device_memory, plan_runs
from tests.test_config import job

WEIGHTS = Weights("random", "0" * 64, None, "random")


def split_of(n_train: int = 20, n_test: int = 10) -> Split:
    return Split(
        dataset="mvtec",
        root=Path("nowhere"),
        category="bottle",
        train=tuple(Sample(f"train/{n}.png", 0, None) for n in range(n_train)),
        test=tuple(Sample(f"test/{n}.png", n % 2, None) for n in range(n_test)),
        has_masks=False,
    )


def plan(*overrides: str, **execution):
    made = job(*overrides)
    return plan_runs(made.runs, split_of(), WEIGHTS, replace(made.execution, **execution))


def test_runs_of_a_job_share_a_pass_where_they_fit():
    (one,) = plan("seeds=[0,1,2,3,4]")
    assert [run.seed for run in one.runs] == [0, 1, 2, 3, 4]
    assert plan_runs([], split_of(), WEIGHTS, job("seed=0").execution) == []


def test_a_run_beyond_the_budget_is_refused_with_the_budget_it_needs():
    with pytest.raises(RequestError, match=r"^memory_budget=0\.5: this run needs about 1\.\d GiB; give memory_b") as no:
        plan("seed=0", memory_budget=0.5)
    enough = float(str(no.value).split("give memory_budget=")[1].split(",")[0])
    assert len(plan("seed=0", memory_budget=enough)) == 1


def test_a_run_beyond_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr(passes, "available_memory", lambda: 2**29)
    with pytest.raises(RequestError, match=r"^memory: this run needs about .* and 0\.5 GiB are free"):
        plan("seed=0")
    monkeypatch.setattr(passes, "available_memory", lambda: None)
    assert len(plan("seed=0")) == 1


def test_a_full_disk_is_known_before(monkeypatch):
    monkeypatch.setattr(passes, "free_disk", lambda _: 10_000)
    with pytest.raises(StoreError, match=r"^store=.*: these runs need about \d+\.\d MiB and 0\.0 MiB are free"):
        plan("seed=0")
    monkeypatch.setattr(passes, "free_disk", lambda _: None)
    assert len(plan("seed=0")) == 1


def test_anomalibs_own_engine_is_not_held_to_our_prediction():
    assert len(plan("seed=0", "engine=reference", memory_budget=0.5)) == 1


def test_a_gpu_that_is_too_small_is_refused():
    (one,) = plan("seed=0")
    check_device_memory(one.plan, 0)  # the processor's plan takes none
    on_gpu = replace(one.plan, device_bytes=3 * GIB)
    check_device_memory(on_gpu, 3 * GIB)
    with pytest.raises(RequestError, match=r"^device=cuda: this run needs about 3\.0 GiB .* and 2\.0 GiB are free"):
        check_device_memory(on_gpu, 2 * GIB)
