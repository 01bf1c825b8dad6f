from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score

from harness.config import MetricsConfig
from harness.errors import DataError
from harness.metrics import IMAGE_METRICS, METRICS, PIXEL_METRICS, VERSION, evaluate
from harness.metrics.region import aupro, rank_pixels
from tests.metrics.drawn import Drawn, draw_maps

CONFIG = MetricsConfig(bootstrap_samples=50)
UNDEFINED = "no metric is defined; check that image and the backbone's weights$"


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw_maps(0, n_normal=10, n_anomalous=15, lift=10)


def run(drawn: Drawn, config=CONFIG, **changes):
    given = {"scores": drawn.scores, "labels": drawn.labels, "maps": drawn.maps, "masks": drawn.masks} | changes
    return evaluate(given["scores"], given["labels"], given["maps"], given["masks"], config=config)


def scikit_learn_f1_max(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    return np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [None, 6])
def test_every_metric_equals_its_oracle(drawn, dtype, levels):
    maps = drawn.maps.astype(dtype)
    if levels:
        maps = np.round(maps / levels) * dtype(levels)
    scores = maps.max(axis=(1, 2))
    report = run(drawn, scores=scores, maps=maps)
    pixels, flat = drawn.masks.ravel(), maps.ravel()
    expected = {
        "image_auroc": roc_auc_score(drawn.labels, scores),
        "image_f1_max": scikit_learn_f1_max(drawn.labels, scores),
        "pixel_auroc": roc_auc_score(pixels, flat),
        "pixel_f1_max": scikit_learn_f1_max(pixels, flat),
        "pixel_aupro": aupro(rank_pixels(maps, drawn.masks), 0.3),
    }
    for level, labels, values in (("image", drawn.labels, scores), ("pixel", pixels, flat)):
        above = values > dtype(report.thresholds[f"{level}_f1_max"])
        expected[f"{level}_f1_adaptive"] = 2 * (above & (labels == 1)).sum() / (above.sum() + (labels == 1).sum())
    assert report.metrics == pytest.approx(expected, abs=1e-13)
    assert report.absent == {}


def test_the_report_has_the_names_of_the_contract(drawn):
    report = run(drawn)
    assert tuple(report.metrics) == METRICS == IMAGE_METRICS + PIXEL_METRICS
    assert METRICS == (
        "image_auroc",
        "image_f1_max",
        "image_f1_adaptive",
        "pixel_auroc",
        "pixel_f1_max",
        "pixel_f1_adaptive",
        "pixel_aupro",
    )
    assert set(report.intervals) == {*METRICS, "image_auroc_delong"}
    assert set(report.thresholds) == {"image_f1_max", "pixel_f1_max"}
    assert isinstance(VERSION, int)
    with pytest.raises(FrozenInstanceError):
        report.metrics = {}


def test_thresholds_are_raw_scores_and_f1_max_is_theirs(drawn):
    report = run(drawn)
    threshold = report.thresholds["pixel_f1_max"]
    assert threshold in drawn.maps
    found = drawn.maps >= np.float32(threshold)
    f1 = 2 * (found & drawn.masks).sum() / (found.sum() + drawn.masks.sum())
    assert report.metrics["pixel_f1_max"] == f1
    assert report.thresholds["image_f1_max"] in drawn.scores


def test_the_same_arrays_give_the_same_report_and_stay_as_they_are(drawn):
    before = [array.copy() for array in (drawn.scores, drawn.labels, drawn.maps, drawn.masks)]
    assert run(drawn) == run(drawn)
    for array, copy in zip((drawn.scores, drawn.labels, drawn.maps, drawn.masks), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_seed_moves_intervals_only(drawn):
    one, other = run(drawn), run(drawn, replace(CONFIG, bootstrap_seed=1))
    assert one.metrics == other.metrics
    assert one.intervals["pixel_auroc"] != other.intervals["pixel_auroc"]


def test_a_limit_of_nought_leaves_aupro_out(drawn):
    report, whole = run(drawn, replace(CONFIG, aupro_fpr_limit=0)), run(drawn)
    assert report.metrics == whole.metrics | {"pixel_aupro": None}
    assert report.absent == {"pixel_aupro": "metrics.aupro_fpr_limit is 0"}
    assert report.intervals == {name: interval for name, interval in whole.intervals.items() if name != "pixel_aupro"}


def test_no_resamples_leave_delong_alone(drawn):
    report = run(drawn, replace(CONFIG, bootstrap_samples=0))
    assert report.metrics == run(drawn).metrics
    assert set(report.intervals) == {"image_auroc_delong"}


def test_a_category_without_masks_ends_at_image_level(drawn):
    report = run(drawn, masks=None)
    assert tuple(report.metrics) == METRICS
    assert report.absent == dict.fromkeys(PIXEL_METRICS, "no masks")
    assert all(report.metrics[name] is None for name in PIXEL_METRICS)
    assert all(report.metrics[name] == run(drawn).metrics[name] for name in IMAGE_METRICS)
    assert set(report.intervals) == {*IMAGE_METRICS, "image_auroc_delong"}
    assert set(report.thresholds) == {"image_f1_max"}


def test_normal_images_alone_have_no_metric(drawn):
    normal = slice(0, 10)
    report = run(
        drawn,
        scores=drawn.scores[normal],
        labels=drawn.labels[normal],
        maps=drawn.maps[normal],
        masks=drawn.masks[normal],
    )
    assert set(report.metrics.values()) == {None}
    assert set(report.absent) == set(METRICS)
    assert report.absent["image_auroc"] == "no defective test image"
    assert report.absent["pixel_aupro"] == "no defective pixel in any mask"
    assert report.intervals == report.thresholds == {}


def test_defective_images_alone_have_pixel_metrics(drawn):
    defective = slice(10, None)
    report = run(
        drawn,
        scores=drawn.scores[defective],
        labels=drawn.labels[defective],
        maps=drawn.maps[defective],
        masks=drawn.masks[defective],
    )
    assert report.absent == dict.fromkeys(IMAGE_METRICS, "no normal test image")
    assert report.metrics["pixel_auroc"] == pytest.approx(
        roc_auc_score(drawn.masks[defective].ravel(), drawn.maps[defective].ravel()), abs=1e-13
    )
    assert set(report.intervals) == set(PIXEL_METRICS)


def test_masks_without_a_defect_or_with_nothing_else(drawn):
    empty = run(drawn, masks=np.zeros_like(drawn.masks))
    assert empty.absent == dict.fromkeys(PIXEL_METRICS, "no defective pixel in any mask")
    full = run(drawn, masks=np.ones_like(drawn.masks))
    assert full.absent == dict.fromkeys(PIXEL_METRICS, "no defect-free pixel in any image")


@pytest.mark.parametrize("images", [[0, 10, 11, 12], [0, 1, 2, 10]])
def test_a_class_of_one_image_has_no_bootstrap(drawn, images):
    report = run(
        drawn,
        scores=drawn.scores[images],
        labels=drawn.labels[images],
        maps=drawn.maps[images],
        masks=drawn.masks[images],
    )
    assert None not in report.metrics.values()
    assert set(report.intervals) <= {"image_auroc", "image_f1_max"}
    assert "Newcombe" in report.intervals["image_auroc"].method


def test_constant_maps(drawn):
    report = run(drawn, scores=np.full(25, 33, np.float32), maps=np.full_like(drawn.maps, 33))
    assert report.metrics["image_auroc"] == report.metrics["pixel_auroc"] == 0.5
    assert report.metrics["pixel_aupro"] == pytest.approx(0.15)
    assert report.metrics["image_f1_adaptive"] == report.metrics["pixel_f1_adaptive"] == 0
    assert "Newcombe" in report.intervals["image_auroc"].method


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
def test_metrics_depend_on_the_order_of_scores_alone(drawn, scale):
    """Powers of two, so that no score is rounded on the way; the smallest leads into the subnormals."""
    steps = np.round(drawn.maps * 50)
    factor = np.float32(2.0 ** np.round(np.log2(scale)))
    maps = steps.astype(np.float32) * factor
    assert np.unique(maps).size == np.unique(steps).size
    report = run(drawn, scores=maps.max(axis=(1, 2)), maps=maps)
    assert report.metrics == run(drawn, scores=steps.max(axis=(1, 2)), maps=steps).metrics


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_named(drawn, bad):
    scores = drawn.scores.copy()
    scores[16] = bad
    with pytest.raises(DataError, match=rf"the score of test image 17 of 25 is {bad}, so {UNDEFINED}"):
        run(drawn, scores=scores)
    maps = drawn.maps.copy()
    maps[3, 40, 7] = bad
    with pytest.raises(
        DataError, match=rf"the anomaly map of test image 4 of 25 is {bad} at row 40, column 7, so {UNDEFINED}"
    ):
        run(drawn, maps=maps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scores": np.zeros(24, np.float32)},
            r"scores \(24,\), labels \(25,\) and maps \(25, 48, 48\) are not \(N,\), \(N,\) and \(N, H, W\)$",
        ),
        ({"labels": np.zeros(3, int)}, r"labels \(3,\)"),
        ({"maps": np.zeros((25, 48), np.float32)}, r"maps \(25, 48\)"),
        ({"masks": np.zeros((25, 1, 48, 48), bool)}, r"masks \(25, 1, 48, 48\) do not match maps"),
        ({"labels": np.arange(25) % 3}, r"labels must be 0 or 1, not \[0, 1, 2\]$"),
    ],
)
def test_arrays_that_do_not_belong_together(drawn, changes, message):
    with pytest.raises(ValueError, match=message):
        run(drawn, **changes)
