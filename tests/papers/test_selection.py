"""Which runs fill a place, which do not and why, and what is refused instead of averaged."""

from __future__ import annotations

import math
import random

import pytest

from harness.config.settings import run_key
from harness.papers.model import Measured, Place
from harness.papers.selection import measure, required_settings
from harness.store import Interval
from harness.store.fields import flat
from harness.store.record import MetricsSettings
from tests.papers.making import BOTTLE, PAPER, PUBLISHED, SMOKE, failed, run
from tests.store.making import METRICS_SETTINGS, VALUES, make_metrics

CABLE, HAZELNUT = Place("mvtec", "cable", "padim", "resnet18"), Place("mvtec", "hazelnut", "padim", "resnet18")
WIDE = Place("mvtec", "bottle", "padim", "wide_resnet50_2")


def _bottle(published, records, edition=PAPER):
    return measure(records, edition, published=published)[published.cell(1, "Bottle", "Img AUROC")]


def test_every_cell_gets_a_measured_and_an_empty_store_says_not_run(published):
    measured = measure([], PAPER, published=published)
    assert set(measured) == set(published.cells)
    for cell, each in measured.items():
        assert each == Measured({}, None, (), missing=each.missing)
        assert len(each.missing) == (len(cell.places) if cell.metric else 0)
        assert all(text.endswith(": not run") for text in each.missing)


def test_a_run_fills_its_place_with_values_interval_and_key(published):
    record = run(values={"image_auroc": 0.9952, "pixel_f1_strict": 0.69})
    measured = measure([record], PAPER, published=published)
    image, pixel = (measured[published.cell(1, "Bottle", column)] for column in ("Img AUROC", "Pix F1"))
    assert dict(image.by_seed) == {42: 0.9952}
    assert dict(pixel.by_seed) == {42: 0.69}
    low, high = record.intervals["image_auroc"].low, record.intervals["image_auroc"].high
    assert image.interval == (low, high)
    assert image.half_width == pytest.approx((high - low) / 2)
    assert image.keys == (record.key,)
    assert image.declared == 0.9952
    # Table 2's first row is about the same place, its second is not.
    assert measured[published.row(2, "ResNet-18 (2.8 M params)")[1]].keys == (record.key,)
    assert measured[published.cell(2, "Wide-ResNet-50-2, n = 256 (24.9 M)", "Img F1")].missing


def test_seeds_are_sorted_whatever_the_order_of_the_records(published):
    records = [run(seed=seed, values={"image_auroc": seed / 100}) for seed in (42, 0, 7, 3)]
    random.Random(1).shuffle(records)
    measured = _bottle(published, records)
    assert list(measured.by_seed.items()) == [(0, 0.0), (3, 0.03), (7, 0.07), (42, 0.42)]
    assert measured.seed_range == (0.0, 0.42)


def test_the_interval_is_the_declared_seeds(published):
    other = run(seed=1, record={"intervals": {"image_auroc": Interval(low=0.1, high=0.2, method="x")}})
    assert _bottle(published, [other]).interval is None
    assert _bottle(published, [other, run()]).interval == (run().intervals["image_auroc"].low, 1.0)


def _other_spec(record, **changes):
    """The same run with other fields of its spec, and the key that follows."""
    spec = record.spec.model_dump()
    for field, value in changes.items():
        spec[field] = spec[field] | value if isinstance(value, dict) else value
    return record.model_copy(update={"spec": type(record.spec).model_validate(spec), "key": run_key(spec)})


def test_an_interval_at_another_level_is_not_used(published):
    measured = _bottle(
        published, [run(record={"metrics_settings": MetricsSettings(**(METRICS_SETTINGS | {"confidence": 0.9}))})]
    )
    assert measured.declared is not None
    assert measured.interval is None
    assert measured.half_width is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epsilon": 0.01001}, "model.epsilon=0.01001, the protocol says 0.01"),
        ({"index_sampler": "anomalib_v2"}, "model.index_sampler=anomalib_v2"),
        ({"center_crop": None}, "preprocessing.center_crop=None, the protocol says [224, 224]"),
        ({"antialias": False}, "preprocessing.antialias=False"),
        ({"mean": (0.5, 0.5, 0.5)}, "preprocessing.mean="),
        ({"blur_sigma": 0}, "model.blur_sigma=0"),
        ({"n_features": 256}, "model.n_features=256, the protocol says 100"),
        ({"engine": "reference"}, "engine=reference"),
        ({"counts": {"limit": 8}}, "dataset.limit=8"),
        ({"counts": {"n_train": 208}}, "count (208/20/63 train/normal/defective images, officially 209/20/63)"),
        ({"counts": {"n_test_anomalous": 62}}, "209/20/62 train/normal/defective images"),
        ({"engine": "streaming+tf32"}, "count (engine=streaming+tf32)"),
        ({"record": {"weights": "random"}}, "count (random weights)"),
        ({"record": {"synthetic": True}}, "drawn images"),
    ],
)
def test_a_run_of_other_settings_does_not_count_and_says_why(published, changes, reason):
    measured = _bottle(published, [run(**changes)])
    (text,) = measured.missing
    assert measured == Measured({}, None, (), missing=(text,))
    assert text.startswith("mvtec/bottle/resnet18: seed 42 does not count (")
    assert reason in text


def test_every_field_of_the_protocol_is_required():
    settings = flat(run().spec.model_dump(include={"preprocessing", "model"}))
    assert required_settings("paper", "padim", "resnet18").keys() == settings.keys() - {"model.name"} | {"model"}


def test_runs_that_do_not_count_leave_those_that_do(published):
    measured = _bottle(published, [run(), run(seed=42, engine="reference"), run(seed=3, blur_sigma=0)])
    assert list(measured.by_seed) == [42]
    assert measured.notes == ("mvtec/bottle/resnet18: seed 3 does not count (model.blur_sigma=0, the protocol says 4)",)


def test_a_failed_run_says_so_until_a_later_run_put_it_right(published):
    (text,) = _bottle(published, [failed()]).missing
    assert text == "mvtec/bottle/resnet18: seed 42 failed at features (DataError: bottle/x.png: is truncated)"
    assert not _bottle(published, [failed(fingerprint=None), run()]).notes


def test_reasons_are_told_once_with_their_seeds_failures_first(published):
    records = [run(seed=seed, blur_sigma=0) for seed in (0, 1)] + [failed(seed=2)]
    (text,) = _bottle(published, records).missing
    assert text.index("seed 2 failed") < text.index("seed 0, 1 does not count")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"seed": 1, "fingerprint": "77" * 32}, "different fingerprints of the images (5e5e5e5e5e5e, 777777777777)"),
        ({"seed": 1, "weights_digest": "cd" * 32}, "different weights (abababababab, cdcdcdcdcdcd)"),
        ({"fingerprint": "77" * 32}, "different fingerprints"),
    ],
)
def test_runs_that_contradict_one_another_are_refused_together(published, other, reason):
    measured = _bottle(published, [run(), run(**other)])
    (text,) = measured.refused
    assert measured == Measured({}, None, (), refused=(text,))
    assert text.startswith("mvtec/bottle/resnet18: ")
    assert reason in text


def test_two_keys_of_one_seed_are_refused_and_the_difference_named(published):
    on_cpu = run(values={"image_auroc": 0.9})
    on_gpu = _other_spec(on_cpu, device="cuda")
    measured = _bottle(published, [on_cpu, on_gpu, run(seed=1)])
    assert not measured.by_seed
    keys = ", ".join(sorted((on_cpu.key, on_gpu.key)))
    assert measured.refused == (f"mvtec/bottle/resnet18: 2 runs of seed 42 ({keys}) that differ in device: keep one",)


def test_two_versions_of_the_metrics_are_refused(published):
    refused = _bottle(published, [run(), run(seed=1, record={"metrics": make_metrics(version=2)})]).refused
    assert "different versions of the metrics (0, 2)" in refused[0]


def test_a_metric_without_a_value_says_why(published):
    values = dict.fromkeys(name for name in VALUES if name.startswith("pixel_"))
    record = run(
        values=values,
        counts={"has_masks": False},
        record={"metrics_absent": dict.fromkeys(values, "no masks"), "intervals": {}},
    )
    measured = measure([record], PAPER, published=published)
    assert measured[published.cell(1, "Bottle", "Img AUROC")].declared is not None
    assert measured[published.cell(1, "Bottle", "Pix AUROC")] == Measured(
        {}, None, (), missing=("mvtec/bottle/resnet18: pixel_auroc is absent (no masks)",)
    )


def _table1(seeds=(42,), **changes):
    return [
        run(place, seed=seed, values={"image_auroc": value + seed / 1000}, **changes)
        for place, value in ((BOTTLE, 0.9), (CABLE, 0.8), (HAZELNUT, 0.5))
        for seed in seeds
    ]


def test_a_mean_is_over_all_its_categories_at_common_seeds(published):
    records = [*_table1((1, 42)), run(BOTTLE, seed=7)]
    mean = measure(records, PAPER, published=published)[published.cell(1, "Mean", "Img AUROC")]
    assert list(mean.by_seed) == [1, 42]
    assert mean.declared == pytest.approx((0.9 + 0.8 + 0.5) / 3 + 0.042)
    assert mean.interval is None
    intervals = [record.intervals["image_auroc"] for record in records[:6] if record.spec.seed == 42]
    assert len(intervals) == 3
    widths = [(interval.high - interval.low) / 2 for interval in intervals]
    assert mean.half_width == pytest.approx(math.sqrt(sum(width**2 for width in widths)) / 3)
    assert len(mean.keys) == 6
    assert mean.notes == ()


def test_a_mean_without_every_interval_has_no_width_and_keeps_its_parts_notes(published):
    records = [*_table1()[:2], run(HAZELNUT, record={"intervals": {}}), failed(seed=1), failed(CABLE, seed=2)]
    mean = measure(records, PAPER, published=published)[published.cell(1, "Mean", "Img AUROC")]
    assert mean.declared is not None
    assert mean.half_width is None
    assert [note.partition(" failed")[0] for note in mean.notes] == [
        "mvtec/bottle/resnet18: seed 1",
        "mvtec/cable/resnet18: seed 2",
    ]


def test_a_mean_without_one_category_or_a_common_seed_is_none_and_says_why(published):
    for records, why in (
        (_table1()[:2], "mvtec/hazelnut/resnet18: not run"),
        ([run(BOTTLE, seed=0), run(CABLE, seed=1), run(HAZELNUT, seed=2)],
         "no seed that every category of the mean has"),
    ):  # fmt: skip
        mean = measure(records, PAPER, published=published)[published.cell(5, "MVTec AD", "Img AUROC")]
        assert mean == Measured({}, None, (), missing=(why,))


def test_a_mean_over_different_weights_is_refused_its_categories_are_not(published):
    records = [*_table1()[:2], run(HAZELNUT, weights_digest="cd" * 32)]
    measured = measure(records, PAPER, published=published)
    mean = measured[published.cell(1, "Mean", "Img AUROC")]
    assert not mean.by_seed
    assert "different weights (abababababab, cdcdcdcdcdcd)" in mean.refused[0]
    assert measured[published.cell(1, "Hazelnut", "Img AUROC")].declared is not None


def test_wide_resnet_needs_its_256_features(published):
    cell = published.cell(2, "Wide-ResNet-50-2, n = 256 (24.9 M)", "Img AUROC")
    assert measure([run(WIDE)], PAPER, published=published)[cell].declared is not None
    assert measure([run(WIDE, n_features=550)], PAPER, published=published)[cell].missing


def test_the_smoke_edition_takes_its_own_datasets_and_backbones(published):
    drawn, real = run(edition=SMOKE), run()
    assert drawn.spec.dataset == "mini_mvtec"
    assert _bottle(published, [drawn, real], SMOKE).keys == (drawn.key,)
    assert _bottle(published, [drawn, real], PAPER).keys == (real.key,)
    photographs = run(edition=SMOKE, record={"synthetic": False})
    assert "does not count (real images)" in _bottle(published, [photographs], SMOKE).missing[0]


def test_the_steps_of_the_grid_are_those_of_the_test_images(published):
    """The bottle's 63 and 20; MVTec AD's cable has 92 and 58, its hazelnut 70 and 40."""
    measured = measure(_table1((42,)), PAPER, published=published)
    steps = {column: measured[published.cell(1, "Bottle", column)].steps for column in PUBLISHED.metrics}
    assert steps["Img AUROC"] == pytest.approx((1 / 1260, 1 / 1260))
    value = run().values[PUBLISHED.metrics["Img F1"]]
    f1 = sorted({2 * tp / (63 + tp + fp) for tp in range(64) for fp in range(21)})
    lower, higher = (max(x for x in f1 if x < value - 1e-12), min(x for x in f1 if x > value + 1e-12))
    assert steps["Img F1"] == pytest.approx((value - lower, higher - value))
    assert steps["Pix AUROC"] == steps["Pix F1"] == (0, 0)
    assert measured[published.cell(1, "Mean", "Img AUROC")].steps == pytest.approx((1 / 1260 / 3, 1 / 1260 / 3))
