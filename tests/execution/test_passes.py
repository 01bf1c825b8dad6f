"""What a pass may take is known before it begins, and refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.split import Sample, Split
from harness.errors import RequestError, StoreError
from harness.execution import passes
from harness.execution.passes import plan_runs
from harness.models.base import GIB
from harness.models.weights import Weights
from tests.config.test_settings import job

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
    monkeypatch.setattr(passes, "own_memory", lambda: 0)
    with pytest.raises(RequestError, match=r"^memory: this run needs about .* and 0\.5 GiB are free"):
        plan("seed=0")
    monkeypatch.setattr(passes, "own_memory", lambda: 2**30)  # left by earlier passes, and used again
    assert len(plan("seed=0")) == 1
    monkeypatch.setattr(passes, "available_memory", lambda: None)
    assert len(plan("seed=0")) == 1


def test_a_full_disk_is_known_before(monkeypatch):
    monkeypatch.setattr(passes, "free_disk", lambda _: 10_000)
    with pytest.raises(StoreError, match=r"^store=.*: these runs need about \d+\.\d MiB and 0\.0 MiB are free"):
        plan("seed=0")
    monkeypatch.setattr(passes, "free_disk", lambda _: None)
    assert len(plan("seed=0")) == 1


def test_anomalibs_own_engine_shares_nothing_and_is_refused_where_it_takes_too_much():
    planned = plan("seeds=[0,1,2]", "engine=reference")
    assert [[run.seed for run in one.runs] for one in planned] == [[0], [1], [2]]
    wide = ("seed=0", "engine=reference", "backbone=wide_resnet50_2", "model.n_features=550")
    with pytest.raises(RequestError, match=r"^memory_budget=4: this run needs about 1\d\.\d GiB; .* engine=streaming"):
        plan(*wide)
    assert len(plan(*wide, memory_budget=20)) == 1


@pytest.fixture
def on_gpu(monkeypatch):
    """Plan for a GPU with so many GiB free."""
    monkeypatch.setattr("harness.config.resolve.resolve_device", lambda _: "cuda")

    def plan_on(free: float, *overrides: str):
        monkeypatch.setattr(passes, "free_device_memory", lambda: int(free * GIB))
        return plan(*overrides)

    return plan_on


def test_runs_that_a_gpu_has_no_room_for_together_do_not_share_a_pass(on_gpu):
    wide = ("backbone=wide_resnet50_2", "model.n_features=550", "seeds=[0,1,2,3]")
    (together,) = on_gpu(40, *wide)
    apart = on_gpu(4, *wide)
    assert together.plan.device_bytes > 4 * GIB
    assert [run.seed for one in apart for run in one.runs] == [0, 1, 2, 3]
    assert all(one.plan.device_bytes <= 4 * GIB for one in apart)


@pytest.mark.parametrize(
    ("engine", "remedy"), [("streaming", "device=cpu, or lower"), ("reference", "device=cpu, take engine=streaming")]
)
def test_a_gpu_that_is_too_small_is_refused(on_gpu, engine, remedy):
    refusal = rf"^device=cuda: this run needs about 0\.\d GiB of the GPU's memory and 0\.1 GiB are free: take {remedy}"
    with pytest.raises(RequestError, match=refusal):
        on_gpu(0.1, "seed=0", f"engine={engine}")
    assert len(on_gpu(1, "seed=0", f"engine={engine}")) == 1
