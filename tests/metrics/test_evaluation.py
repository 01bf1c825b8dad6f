from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score

from harness.config import MetricsConfig
from harness.errors import DataError
from harness.metrics import evaluate
from harness.metrics.region import aupro, rank_pixels
from harness.store.fields import IMAGE_METRICS, METRICS, PIXEL_METRICS
from tests.metrics.drawn import Drawn, draw_maps

CONFIG = MetricsConfig(bootstrap_samples=50)
UNDEFINED = "no metric is defined; check that image and the backbone's weights$"


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw_maps(0, n_normal=10, n_anomalous=15, lift=10)


def run(drawn: Drawn, config=CONFIG, images=None, **changes):
    given = {"scores": drawn.scores, "labels": drawn.labels, "maps": drawn.maps, "masks": drawn.masks} | changes
    if images is not None:
        given = {name: array[images] for name, array in given.items()}
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


def test_the_report_has_all_names(drawn):
    report = run(drawn)
    assert tuple(report.metrics) == METRICS
    assert set(report.intervals) == set(METRICS)
    assert set(report.thresholds) == {"image_f1_max", "pixel_f1_max"}


def test_the_same_arrays_give_the_same_report_and_stay_as_they_are(drawn):
    before = [array.copy() for array in (drawn.scores, drawn.labels, drawn.maps, drawn.masks)]
    assert run(drawn) == run(drawn)
    for array, copy in zip((drawn.scores, drawn.labels, drawn.maps, drawn.masks), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_configuration_moves_what_it_names_and_nothing_else(drawn):
    whole, other_seed, no_limit, no_samples = (
        run(drawn, replace(CONFIG, **change))
        for change in ({}, {"bootstrap_seed": 1}, {"aupro_fpr_limit": 0}, {"bootstrap_samples": 0})
    )
    assert whole.metrics == other_seed.metrics == no_samples.metrics
    assert whole.intervals["pixel_auroc"] != other_seed.intervals["pixel_auroc"]
    assert set(no_samples.intervals) == {"image_auroc"}
    assert no_limit.metrics == whole.metrics | {"pixel_aupro": None}
    assert no_limit.absent == {"pixel_aupro": "metrics.aupro_fpr_limit is 0"}
    assert no_limit.intervals == {name: one for name, one in whole.intervals.items() if name != "pixel_aupro"}


NO_PIXELS = {
    "no masks": lambda masks: None,
    "no defective pixel in any mask": np.zeros_like,
    "no defect-free pixel in any image": np.ones_like,
}


@pytest.mark.parametrize("reason", NO_PIXELS)
def test_masks_that_define_no_pixel_metric_leave_the_images(drawn, reason):
    report, whole = run(drawn, masks=NO_PIXELS[reason](drawn.masks)), run(drawn)
    assert report.absent == dict.fromkeys(PIXEL_METRICS, reason)
    assert report.metrics == {name: whole.metrics[name] if name in IMAGE_METRICS else None for name in METRICS}
    assert set(report.intervals) == set(IMAGE_METRICS)
    assert set(report.thresholds) == {"image_f1_max"}


def test_normal_images_alone_have_no_metric_and_defective_ones_those_of_pixels(drawn):
    normal, defective = run(drawn, images=slice(0, 10)), run(drawn, images=slice(10, None))
    assert set(normal.metrics.values()) == {None}
    assert {normal.absent[name] for name in IMAGE_METRICS} == {"no defective test image"}
    assert {normal.absent[name] for name in PIXEL_METRICS} == {"no defective pixel in any mask"}
    assert normal.intervals == normal.thresholds == {}
    assert defective.absent == dict.fromkeys(IMAGE_METRICS, "no normal test image")
    assert set(defective.intervals) == set(PIXEL_METRICS)
    expected = roc_auc_score(drawn.masks[10:].ravel(), drawn.maps[10:].ravel())
    assert defective.metrics["pixel_auroc"] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("images", [[0, 10, 11, 12], [0, 1, 2, 10]])
def test_a_class_of_one_image_has_no_bootstrap(drawn, images):
    report = run(drawn, images=images)
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
