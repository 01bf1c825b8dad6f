"""Estimates: near what was measured, scaled by what this machine did, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from harness.data.download import _UNPACKED_RATIO
from harness.reproduce.costs import Work, find_pace, load_costs, processor_seconds
from harness.reproduce.presence import ImageKind
from harness.store import PassPlan
from tests.store.making import make_failed, make_ok, make_parts, make_spec

COSTS = load_costs()
CPU = make_parts()["environment"].cpu
START = datetime(2026, 11, 23, 16, 42, tzinfo=UTC)


def bottle(backbone="resnet18", n_seeds=1, **changes):
    return Work(**({"backbone": backbone, "n_train": 209, "n_test": 83, "n_seeds": n_seeds, "n_passes": 1} | changes))


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (bottle(), 19.2),
        (bottle(n_seeds=4), 25.0),
        (bottle("wide_resnet50_2"), 57.8),
        (bottle("wide_resnet50_2", 4), 72.8),
    ],
)
def test_processor_seconds_are_near_the_measured_ones(work, seconds):
    assert processor_seconds(work, COSTS) == pytest.approx(seconds, rel=0.05)


def test_more_work_never_costs_less():
    for backbone in COSTS.backbone:
        base = processor_seconds(bottle(backbone, 3), COSTS)
        for change in ({"n_train": 400}, {"n_test": 400}, {"n_seeds": 4}, {"n_passes": 2}):
            assert processor_seconds(bottle(backbone, **({"n_seeds": 3} | change)), COSTS) > base


def test_seeds_that_do_not_fit_together_take_another_pass():
    together, apart = bottle("wide_resnet50_2", 10), bottle("wide_resnet50_2", 10, n_passes=2)
    extra = processor_seconds(apart, COSTS) - processor_seconds(together, COSTS)
    assert extra == pytest.approx(292 * COSTS.backbone["wide_resnet50_2"].pass_seconds)


def test_larger_images_take_longer_and_the_measured_kind_changes_nothing():
    measured = bottle(kind=ImageKind(COSTS.megapixels, ".png"))
    assert processor_seconds(measured, COSTS) == pytest.approx(processor_seconds(bottle(), COSTS))
    large = processor_seconds(bottle(kind=ImageKind(2.56, ".png")), COSTS)
    assert large > processor_seconds(bottle(kind=ImageKind(2.56, ".bmp")), COSTS)
    assert large == processor_seconds(bottle(kind=ImageKind(2.56, ".tiff")), COSTS), "an unknown format counts as PNG"


def job(n_seeds, seconds, *, started=START, runs_together=None, plan=True, **changes):
    """Runs that began together; the last ended after so many seconds, each other one five seconds before the next."""
    made = None
    if plan:
        made = PassPlan(
            memory_budget_gib=4.0, predicted_rss_bytes=1, predicted_device_bytes=None, workers=2, judges=2,
            runs_together=runs_together or n_seeds, moments=1, test_batches_at_once=6,
        )  # fmt: skip
    spec = {key: changes.pop(key) for key in ("backbone", "n_features", "engine", "inexact") if key in changes}
    ends = [started + timedelta(seconds=seconds - 5 * after) for after in reversed(range(n_seeds))]
    return [
        make_ok(make_spec(seed=seed, **spec), plan=made, started=started, finished=end, **changes)
        for seed, end in enumerate(ends)
    ]


def pace(records, **changes):
    return find_pace(records, COSTS, **({"device": "cpu", "cpu": CPU, "n_cores": 2} | changes))


def test_the_pace_is_that_of_this_machines_jobs_each_counted_once():
    one, four = (processor_seconds(bottle(n_seeds=n), COSTS) for n in (1, 4))
    records = job(1, 2 * one) + job(4, 3 * four, started=START + timedelta(days=1))
    found = pace(records)
    assert found.factor == pytest.approx(2.5, rel=0.05), "the median of 2 and 3; records hold whole seconds"
    assert "2 jobs" in found.source


def test_the_passes_of_a_job_are_those_that_its_records_tell_of():
    for runs_together, n_passes in ((4, 1), (2, 2), (1, 4)):
        expected = processor_seconds(bottle(n_seeds=4, n_passes=n_passes), COSTS)
        found = pace(job(4, 100, runs_together=runs_together))
        assert found.factor == pytest.approx(100 / expected), runs_together


def test_a_job_of_less_than_a_second_takes_some_time():
    assert pace(job(1, 0)).factor == pytest.approx(1 / processor_seconds(bottle(), COSTS))


@pytest.mark.parametrize(
    "records",
    [
        [],
        [make_failed()],
        job(1, 1000, environment=make_parts()["environment"].model_copy(update={"cpu": "another"})),
        job(1, 1000, backbone="efficientnet_lite0"),
        job(1, 1000, engine="reference"),
        job(1, 1000, inexact="bf16"),
        job(1, 1000, plan=False),
    ],
)
def test_other_jobs_say_nothing(records):
    found = pace(records)
    assert found.factor == pytest.approx(0.5)
    assert "2 cores" in found.source


def test_many_cores_are_not_counted_on():
    assert pace([], n_cores=64).factor == pytest.approx(0.25)
    assert pace([], n_cores=1).factor == pytest.approx(1.0)


def test_what_is_not_known_of_a_graphics_card_is_said():
    assert "nothing is known of cuda" in pace(job(1, 1000), device="cuda").source


def test_unpacking_is_reckoned_as_the_download_reckons_it():
    assert dict(COSTS.unpacked_ratio) == _UNPACKED_RATIO


def test_the_made_records_are_of_the_measured_category():
    record = make_ok()
    assert (record.dataset.n_train, record.dataset.n_test_normal, record.dataset.n_test_anomalous) == (209, 20, 63)
