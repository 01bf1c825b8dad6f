"""Numbers that cannot be trusted end as a failed run that says which category and where, never as a record's NaN."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from harness.__main__ import main
from harness.execution.job import plan_job, prepare, run_job
from harness.execution.monitor import Monitor
from harness.models.base import GIB, Task
from harness.models.padim.plan import plan_pass
from harness.store import Store, load_frame
from harness.store.claims import Claims
from tests.config.test_settings import job
from tests.drawing import draw_mvtec_category
from tests.models.sources import RESNET18

REQUEST = (
    "dataset=mvtec", "model.n_features=3", "device=cpu", "threads=1", "preprocessing.resize=64",
    "preprocessing.center_crop=null", "metrics.bootstrap_samples=20",
)  # fmt: skip
LITE0 = ("backbone=efficientnet_lite0", "backbone.weights=package")  # no feature of it is dead, as random ones are
RANDOM = ("backbone=resnet18", "backbone.weights=random")
CORRUPT = {"conv1.weight": float("nan"), "layer2.0.conv1.weight": float("inf")}


@pytest.fixture
def root(tmp_path):
    """Bottle is drawn; cable is two grey images again and again, but for its defects."""
    draw_mvtec_category(tmp_path / "mvtec/bottle", n_train=20)
    draw_mvtec_category(tmp_path / "mvtec/cable")
    for folder in ("train/good", "test/good"):
        for number, path in enumerate(sorted((tmp_path / "mvtec/cable" / folder).iterdir())):
            Image.fromarray(np.full((96, 96, 3), (90, 110)[number % 2], np.uint8)).save(path)
    return tmp_path / "mvtec"


@pytest.fixture
def sweep(root, tmp_path, capfd):
    """Runs what it is told; returns the exit status, the records by category, and the lines on both streams."""

    def call(*overrides: str):
        store = Store(tmp_path / "store")
        status = main([*REQUEST, f"dataset.root={root}", f"store={store.path}", *overrides])
        contents = store.records()
        assert contents.problems == ()
        for path in store.path.rglob("record.json"):
            json.loads(path.read_text(), parse_constant=refused)
        streams = capfd.readouterr()
        return status, {record.spec.category: record for record in contents.records}, streams.out + streams.err

    return call


def refused(name):
    raise AssertionError(f"a record holds {name}")


def weights_with(path, changes):
    """ResNet-18's random weights, some of them replaced."""
    from safetensors.torch import save_file

    from harness.models.backbone import load_timm
    from harness.models.weights import resolve_weights

    random = replace(RESNET18, weights="random")
    tensors = {name: tensor.clone() for name, tensor in load_timm(random, resolve_weights(random)).state_dict().items()}
    for name, value in changes.items():
        tensors[name].view(-1)[0] = value
    save_file(tensors, path)
    return "backbone=resnet18", f"backbone.weights={path}"


def test_images_too_alike_are_refused_by_category_and_place_and_the_sweep_goes_on(sweep, tmp_path):
    status, records, said = sweep("-m", "category=bottle,cable", *LITE0, "model.epsilon=1e-9")
    assert status == 1
    failed = records["cable"]
    assert failed.status == "failed"
    assert failed.metrics == {}
    assert failed.error.type == "DataError"
    assert failed.error.stage == "score"
    assert "row 0, column 0 of the 16x16 grid, and at 255 more places" in failed.error.message
    assert any("mvtec/cable" in line and "row 0, column 0 of the 16x16 grid" in line for line in said.splitlines())
    assert records["bottle"].status == "ok"
    frame = load_frame(Store(tmp_path / "store"))
    assert frame.loc[frame["category"] == "cable", "status"].tolist() == ["failed"]


def test_with_epsilon_images_that_never_vary_have_a_number(sweep, root):
    """Their covariance is epsilon alone, and normal test images lie on the mean."""
    for path in (root / "cable").glob("*/good/*"):
        Image.fromarray(np.full((96, 96, 3), 90, np.uint8)).save(path)
    status, records, _ = sweep("category=cable", *RANDOM)
    assert status == 0
    assert records["cable"].values["image_auroc"] == 1.0


def test_features_that_overflow_name_layer_images_and_place(sweep, tmp_path):
    weights = weights_with(tmp_path / "huge.safetensors", {"layer2.0.conv1.weight": 3e38, "layer2.0.bn1.weight": 3e38})
    status, records, said = sweep("category=bottle", *weights)
    assert status == 1
    assert records["bottle"].status == "failed"
    assert records["bottle"].error.stage == "fit"
    (line,) = [
        line for line in said.splitlines() if "mvtec/bottle" in line and "layer2 of training images 1 to " in line
    ]
    assert "(row " in line


@pytest.mark.parametrize("name", CORRUPT)
def test_weights_that_are_no_numbers_are_a_wrong_request(sweep, tmp_path, name):
    status, records, said = sweep("category=bottle", *weights_with(tmp_path / "nan.safetensors", {name: CORRUPT[name]}))
    assert status == 2
    assert records == {}
    assert any("mvtec/bottle" in line and name in line for line in said.splitlines()), said


@pytest.fixture
def few_and_many(root, tmp_path):
    """Two runs of one job: 3 features of 20 images are trusted without an epsilon, and 60 are not."""
    store = tmp_path / "store"
    alone = job_of(root, store, "model.n_features=3", "model.epsilon=1e-12")
    many = job_of(root, store, "model.n_features=60", "model.epsilon=1e-12")
    return store, replace(alone, runs=(*alone.runs, *many.runs))


def job_of(root, store, *overrides):
    names = [part for part in REQUEST if not part.startswith("model.n_features")]
    return job(*names, *LITE0, f"dataset.root={root}", "category=bottle", f"store={store}", *overrides)


@pytest.mark.parametrize("order", [1, -1])
def test_a_run_that_cannot_be_trusted_takes_no_other_of_its_pass_with_it(few_and_many, order):
    store, both = few_and_many
    ended = list(run_job(replace(both, runs=both.runs[::order])))
    assert [(one.settings["model.n_features"], one.status) for one in ended] == [(3, "ok"), (60, "failed")][::order]
    by_key = {record.key: record for record in Store(store).records().records}
    assert [by_key[one.key].status for one in ended] == ["ok", "failed"][::order]
    assert not (store / ".claims").exists()
    # Once more: what is there stays, and what failed is tried again.
    again = {one.settings["model.n_features"]: one.status for one in run_job(both)}
    assert again == {3: "done", 60: "failed"}


def test_where_test_images_come_in_parts_the_guilty_run_is_found_all_the_same(few_and_many, monkeypatch):
    """The first part stops at the second run, before any map of the first is there."""
    from harness.models.padim import plan as padim_plan

    _, both = few_and_many
    plan = padim_plan.plan_passes

    def in_parts(*given, **draws):
        return [(place, replace(one, test_batches_at_once=1)) for place, one in plan(*given, **draws)]

    monkeypatch.setattr(padim_plan, "plan_passes", in_parts)
    small = replace(
        both, runs=tuple(replace(run, preprocessing=replace(run.preprocessing, batch_size=4)) for run in both.runs)
    )
    assert [(one.settings["model.n_features"], one.status) for one in run_job(small)] == [(3, "ok"), (60, "failed")]


def test_a_failure_is_written_down_only_for_runs_that_were_tried(root, tmp_path, monkeypatch):
    """The second run has a pass of its own, and another process is at it."""
    from harness.execution import job as run_module

    store, plan = tmp_path / "store", run_module.plan_runs
    apart = lambda runs, *rest: [single for run in runs for single in plan([run], *rest)]  # noqa: E731
    monkeypatch.setattr(run_module, "plan_runs", apart)
    for path in sorted((root / "bottle/train/good").iterdir())[1:]:
        path.unlink()
    both = job_of(root, store, "model.n_features=3", "seeds=[0,1]")
    second = plan_job(both)[1]
    with Claims(store) as others:
        others.take(second.key)
        assert [(one.seed, one.status) for one in run_job(both)] == [(0, "failed"), (1, "claimed")]
    (record,) = Store(store).records().records
    assert record.spec.seed == 0
    assert "at least 2" in record.error.message, "one training image is too few"


def test_images_that_change_while_they_are_read_are_in_no_record(root, tmp_path, monkeypatch):
    from harness.execution import job as run_module

    plan = run_module.plan_runs

    def change(*given):
        """After the fingerprint was taken, before anything is decoded."""
        for path in (root / "bottle/test/blot").iterdir():
            Image.fromarray(np.full((96, 96, 3), 250, np.uint8)).save(path)
        return plan(*given)

    monkeypatch.setattr(run_module, "plan_runs", change)
    (ended,) = run_job(job_of(root, tmp_path / "store", "model.n_features=3"))
    assert ended.status == "failed"
    assert ended.error.startswith("data: the images or masks changed while they were read: run again")
    (record,) = Store(tmp_path / "store").records().records
    assert (record.status, record.error.stage) == ("failed", "data")


def test_a_defect_in_the_metrics_is_recorded_with_its_stage(root, tmp_path, monkeypatch, capfd):
    def fail(*_, **__):
        raise ValueError("boom")

    monkeypatch.setattr("harness.metrics.evaluate", fail)
    ended = list(run_job(job_of(root, tmp_path / "store", "model.n_features=3", "seeds=[0,1]")))
    assert [(one.status, one.error) for one in ended] == [("failed", "metrics: ValueError: boom")] * 2
    assert {record.error.stage for record in Store(tmp_path / "store").records().records} == {"metrics"}
    assert "boom" in capfd.readouterr().err


def test_what_an_engine_had_in_memory_when_it_failed_is_gone_before_the_next_pass(root, tmp_path, monkeypatch, capfd):
    """Without the collector of circles: gigabytes cannot wait for it."""
    from harness.models.padim import streaming

    class Large:
        pass

    kept = []

    def engine(source, work, monitor):
        assert [one() for one in kept] == [None] * len(kept)
        large = Large()
        kept.append(weakref.ref(large))
        with monitor.stage("score"):
            raise ValueError("boom")
        yield

    monkeypatch.setattr(streaming, "run_streaming", engine)
    gc.collect()
    gc.disable()
    try:
        ended = list(run_job(job_of(root, tmp_path / "store", "model.n_features=3", "seeds=[0,1]")))
    finally:
        gc.enable()
    assert len(kept) == 3  # both together, then each alone
    assert [(one.status, one.error) for one in ended] == [("failed", "score: ValueError: boom")] * 2


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "score: the GPU's memory ran out: end",
        ),
        (MemoryError(), "score: the memory ran out: end other programs, lower jobs"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "score: the memory ran out: end"),
    ],
)
def test_memory_that_runs_out_is_one_line_and_no_traceback(root, tmp_path, monkeypatch, capfd, error, line):
    from harness.models.padim import streaming

    def engine(source, work, monitor):
        with monitor.stage("score"):
            raise error
        yield

    monkeypatch.setattr(streaming, "run_streaming", engine)
    (ended,) = run_job(job_of(root, tmp_path / "store", "model.n_features=3", "seeds=[0]"))
    assert ended.status == "failed"
    assert ended.error.startswith(line)
    assert "Traceback" not in capfd.readouterr().err
    (record,) = Store(tmp_path / "store").records().records
    assert (record.error.type, record.error.stage) == ("OutOfMemoryError", "score")


def test_a_run_that_takes_too_much_memory_refuses_no_other_of_its_job(root, tmp_path):
    one = job_of(root, tmp_path / "store", "model.n_features=[3,170]", "seeds=[0,1]")
    few, many = (_least_memory(replace(one, runs=(run,))) for run in one.runs[:2])
    one = replace(one, execution=replace(one.execution, memory_budget=(few + many) / 2))
    ended = {(run.settings["model.n_features"], run.seed): (run.status, run.error) for run in run_job(one)}
    assert {key for key, (status, _) in ended.items() if status == "ok"} == {(3, 0), (3, 1)}
    assert {status for key, (status, _) in ended.items() if key[0] == 170} == {"refused"}
    assert all("this run needs about" in error for status, error in ended.values() if status == "refused")


def _least_memory(one) -> float:
    """GiB that a job's run takes when it is planned for the smallest budget."""
    prepared, (run,) = prepare(one, Monitor()), one.runs
    n_train, n_test = len(prepared.split.train), len(prepared.split.test)
    task = Task(run.backbone, run.preprocessing, n_train, n_test, prepared.weights.path.stat().st_size, "cpu", 1, 1)
    return plan_pass(task, [run.model.n_features], 0).host_bytes / GIB
