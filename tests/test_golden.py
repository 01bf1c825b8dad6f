"""The golden numbers of the mini benchmark: they hold, and they move when anything that matters does."""

from __future__ import annotations

import json
import math

import pytest

from harness.__main__ import main
from harness.data.mini.counts import COUNTS
from harness.errors import RequestError
from harness.smoke import RAW_TOLERANCES, TOLERANCES, deviations, load_golden, real_request, to_golden
from harness.store import Store
from tests.drawing import draw_mvtec_category


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One category of the smoke experiment with some overrides; returns its records."""

    def call(*overrides: str) -> tuple:
        store = tmp_path_factory.mktemp("store")
        request = ["experiment=smoke", "dataset=mini_btad", "category=01", f"store={store}", *overrides]
        assert main([*request, "metrics.bootstrap_samples=0"]) == 0
        return Store(store).records().records

    return call


@pytest.fixture
def golden():
    """The golden numbers of the category that `run` runs."""
    full = load_golden()
    return {**full, "metrics": {place: values for place, values in full["metrics"].items() if "mini_btad/01" in place}}


def test_golden_holds_the_ten_runs_of_the_smoke_experiment():
    metrics = load_golden()["metrics"]
    assert len(metrics) == 10
    for dataset, categories in COUNTS.items():
        for category in categories:
            assert f"{dataset}/{category} efficientnet_lite0 seed 42" in metrics
    aurocs = [values["image_auroc"] for place, values in metrics.items() if "lite0" in place]
    assert 0.75 <= sum(aurocs) / len(aurocs) <= 0.99
    assert max(aurocs) - min(aurocs) > 0.1
    assert len(set(aurocs)) >= 8


@pytest.fixture(scope="module")
def records(run):
    return run()


def test_a_fresh_run_has_the_golden_numbers(records, golden):
    assert deviations(records, golden) == []
    again = to_golden(records)["metrics"]
    assert again.keys() == golden["metrics"].keys()
    assert deviations(records, to_golden(records)) == [], "what --update-golden writes is what a smoke compares"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["model.epsilon=0.02", "model.index_sampler=anomalib_v2"])
def test_a_changed_protocol_moves_them(run, golden, change):
    assert deviations(run(change), golden)


def test_a_number_just_inside_its_tolerance_is_fine_and_one_just_outside_is_not(records, golden):
    (place,) = golden["metrics"]
    moves = {name: (records[0].values[name], tolerance) for name, tolerance in TOLERANCES.items()}
    for name, tolerance in RAW_TOLERANCES.items():
        threshold = records[0].thresholds[name.removeprefix("threshold_")]
        moves[name] = (threshold, tolerance * threshold)
    for name, (value, tolerance) in moves.items():
        for factor, moved in ((0.9, False), (1.1, True)):
            shifted = json.loads(json.dumps(golden))
            shifted["metrics"][place][name] = value + factor * tolerance
            assert bool(deviations(records, shifted)) is moved, name


def test_a_missing_run_or_metric_is_a_deviation(golden):
    (line,) = deviations((), golden)
    assert line.endswith("there is no run")
    assert math.isfinite(sum(TOLERANCES.values()))


def test_golden_numbers_of_another_version_are_refused(tmp_path):
    (tmp_path / "g.json").write_text('{"mini_version": -1, "metrics": {}}')
    with pytest.raises(RequestError, match="version -1"):
        load_golden(tmp_path / "g.json")


def test_real_categories_that_are_there_are_asked_for(tmp_path):
    draw_mvtec_category(tmp_path / "mvtec/cable", n_train=2, n_good=1, n_bad=1, size=32)
    (tmp_path / "btad/02").mkdir(parents=True)
    request = real_request(tmp_path, 3)
    assert "dataset=mvtec,btad" in request
    assert "category=cable,02" in request
    assert "dataset.limit=3" in request
    with pytest.raises(RequestError, match="has none of mvtec/bottle"):
        real_request(tmp_path / "nowhere", 3)
