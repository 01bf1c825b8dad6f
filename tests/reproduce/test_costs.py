"""Estimates: near what was measured, scaled by what this machine did, and by nothing else."""

from __future__ import annotations

import pytest

from harness.data.download import _UNPACKED_RATIO
from harness.keys import PROJECT
from harness.reproduce.costs import Work, find_pace, load_costs, peak_bytes, processor_seconds
from harness.reproduce.presence import ImageKind
from harness.store import Memory, Store, Timing
from tests.store.making import make_failed, make_ok, make_parts, make_spec

COSTS = load_costs()
CPU = make_parts()["environment"].cpu


def bottle(backbone="resnet18", n_seeds=1, **changes):
    return Work(
        **({"backbone": backbone, "n_train": 209, "n_test": 83, "n_seeds": n_seeds, "seeds_at_once": 99} | changes)
    )


@pytest.mark.parametrize(
    ("work", "gigabytes"),
    [
        # Peaks of processes as GNU time stated them; the last is a run of the committed store.
        (bottle(), 1.611),
        (bottle(n_seeds=4), 2.030),
        (bottle("wide_resnet50_2"), 2.789),
        (bottle("wide_resnet50_2", 4), 5.322),
        (bottle(n_train=24, n_test=498), 1.945),
        (bottle(n_seeds=4, n_train=24, n_test=498), 2.190),
        (bottle(n_seeds=11), 3.076),
    ],
)
def test_peaks_are_near_the_measured_ones(work, gigabytes):
    assert peak_bytes(work, COSTS) / 1e9 == pytest.approx(gigabytes, rel=0.05)


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (bottle(), 35.9),
        (bottle(n_seeds=4), 49.8),
        (bottle("wide_resnet50_2"), 90.9),
        (bottle("wide_resnet50_2", 4), 117.6),
    ],
)
def test_processor_seconds_are_near_the_measured_ones(work, seconds):
    assert processor_seconds(work, COSTS) == pytest.approx(seconds, rel=0.05)


def test_the_committed_records_peak_where_the_estimate_says():
    groups = {}
    for record in Store(PROJECT / "results").records().records:
        if record.spec.backbone.name in COSTS.backbone and record.status == "ok":
            groups.setdefault((record.spec.backbone.name, record.started), []).append(record)
    assert groups
    for (name, _), group in groups.items():
        dataset = group[0].dataset
        work = Work(name, dataset.n_train, dataset.n_test_normal + dataset.n_test_anomalous, len(group), len(group))
        assert peak_bytes(work, COSTS) == pytest.approx(max(r.memory.peak_rss_bytes for r in group), rel=0.15)


def test_more_work_never_costs_less():
    for backbone in COSTS.backbone:
        base = bottle(backbone, 3)
        for change in ({"n_train": 400}, {"n_test": 400}, {"n_seeds": 4}):
            more = bottle(backbone, **({"n_seeds": 3} | change))
            assert processor_seconds(more, COSTS) > processor_seconds(base, COSTS)
            assert peak_bytes(more, COSTS) >= peak_bytes(base, COSTS)


def test_seeds_that_do_not_fit_together_take_another_pass_and_no_more_memory():
    together, apart = bottle("wide_resnet50_2", 10, seeds_at_once=10), bottle("wide_resnet50_2", 10, seeds_at_once=5)
    extra = processor_seconds(apart, COSTS) - processor_seconds(together, COSTS)
    assert extra == pytest.approx(292 * COSTS.backbone["wide_resnet50_2"].pass_seconds)
    assert peak_bytes(apart, COSTS) == peak_bytes(bottle("wide_resnet50_2", 5), COSTS)


def test_larger_images_take_longer_and_the_measured_kind_changes_nothing():
    measured = bottle(kind=ImageKind(COSTS.megapixels, ".png"))
    assert processor_seconds(measured, COSTS) == pytest.approx(processor_seconds(bottle(), COSTS))
    large = processor_seconds(bottle(kind=ImageKind(2.56, ".png")), COSTS)
    assert large > processor_seconds(bottle(kind=ImageKind(2.56, ".bmp")), COSTS)
    assert large == processor_seconds(bottle(kind=ImageKind(2.56, ".tiff")), COSTS), "an unknown format counts as PNG"


def job(n_seeds, seconds, *, started="2026-11-23T16:42:00Z", **changes):
    """Runs that began together and took so long in all: half a second of metrics each, the rest shared."""
    timing = Timing(seconds={"fit": seconds - 0.5 * n_seeds, "metrics": 0.5}, images_per_second=1.0)
    spec = {key: changes.pop(key) for key in ("backbone", "n_features", "engine") if key in changes}
    records = [make_ok(make_spec(seed=seed, **spec), timing=timing, **changes) for seed in range(n_seeds)]
    return [record.model_copy(update={"started": started}) for record in records]


def pace(records, **changes):
    return find_pace(records, COSTS, **({"device": "cpu", "cpu": CPU, "n_cores": 2} | changes))


def test_the_pace_is_that_of_this_machines_jobs_each_counted_once():
    one, four = (processor_seconds(bottle(n_seeds=n), COSTS) for n in (1, 4))
    records = job(1, 2 * one) + job(4, 3 * four, started="2026-11-24T00:00:00Z")
    found = pace(records)
    assert found.factor == pytest.approx(2.5), "the median of 2 and 3"
    assert "2 jobs" in found.source


def test_a_job_in_several_passes_counts_what_its_last_run_says_was_shared():
    first, second = job(1, 10.5), job(2, 30.5)[1:]
    assert pace(first + second).factor == pytest.approx(30.5 / processor_seconds(bottle(n_seeds=2), COSTS))


@pytest.mark.parametrize(
    "records",
    [
        [],
        [make_failed()],
        job(1, 1000, environment=make_parts()["environment"].model_copy(update={"cpu": "another"})),
        job(1, 1000, backbone="efficientnet_lite0"),
        job(1, 1000, engine="reference"),
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
    record = make_ok(memory=Memory(peak_rss_bytes=1, peak_device_bytes=None))
    assert (record.dataset.n_train, record.dataset.n_test_normal, record.dataset.n_test_anomalous) == (209, 20, 63)
