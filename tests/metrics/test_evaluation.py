from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from harness.config.settings import MetricsConfig
from harness.errors import DataError
from harness.metrics import MetricReport, evaluate, evaluate_images, registered
from harness.metrics.bootstrap import draw, pixel_histograms, resampled
from harness.metrics.region import aupro, rank_pixels
from tests.metrics.drawn import Drawn, draw_maps

METRICS = tuple(registered())
IMAGE_METRICS = tuple(name for name in METRICS if name.startswith("image_"))
PIXEL_METRICS = METRICS[len(IMAGE_METRICS) :]
NO_INTERVAL = {"image_ap", "pixel_ap"}
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


def values(report: MetricReport) -> dict[str, float]:
    return {name: measured.value for name, measured in report.metrics.items()}


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
        "image_ap": average_precision_score(drawn.labels, scores),
        "image_f1_max": scikit_learn_f1_max(drawn.labels, scores),
        "pixel_auroc": roc_auc_score(pixels, flat),
        "pixel_f1_max": scikit_learn_f1_max(pixels, flat),
        "pixel_ap": average_precision_score(pixels, flat),
        "pixel_aupro": aupro(rank_pixels(maps, drawn.masks), 0.3),
    }
    expected["pixel_iou_max"] = expected["pixel_f1_max"] / (2 - expected["pixel_f1_max"])
    for level, labels, raw in (("image", drawn.labels, scores), ("pixel", pixels, flat)):
        above = raw > dtype(report.thresholds[f"{level}_f1_max"])
        expected[f"{level}_f1_strict"] = 2 * (above & (labels == 1)).sum() / (above.sum() + (labels == 1).sum())
    assert values(report) == pytest.approx(expected, abs=1e-13)
    assert report.absent == {}


def test_the_report_has_all_names(drawn):
    report = run(drawn)
    assert tuple(report.metrics) == METRICS
    assert {name: measured.version for name, measured in report.metrics.items()} == {
        name: metric.version for name, metric in registered().items()
    }
    assert set(report.intervals) == set(METRICS) - NO_INTERVAL
    assert set(report.thresholds) == {"image_f1_max", "pixel_f1_max"}


def test_scores_alone_give_the_same_image_metrics_also_in_float64(drawn):
    whole = run(drawn)
    for dtype in (np.float32, np.float64):
        alone = evaluate_images(drawn.scores.astype(dtype), drawn.labels, CONFIG)
        assert alone.metrics == {name: whole.metrics[name] for name in IMAGE_METRICS}
        assert alone.intervals == {name: one for name, one in whole.intervals.items() if name.startswith("image_")}
        assert alone.thresholds == {"image_f1_max": whole.thresholds["image_f1_max"]}
    apart = drawn.scores.astype(float) + 1e-12 * np.arange(25)  # which float32 would round away
    report = evaluate_images(apart, drawn.labels, CONFIG)
    assert report.metrics["image_auroc"].value == roc_auc_score(drawn.labels, apart)


def test_the_interval_of_iou_max_is_the_one_of_its_resamples(drawn):
    histograms = pixel_histograms(rank_pixels(drawn.maps, drawn.masks), drawn.maps, drawn.masks)
    f1 = resampled(histograms, draw(drawn.labels, 50, 0))["f1_max"]
    interval = run(drawn).intervals["pixel_iou_max"]
    expected = np.quantile(f1 / (2 - f1), (0.025, 0.975)).tolist()
    assert [interval.low, interval.high] == pytest.approx(expected, abs=1e-4)  # between two resamples it is not linear


@pytest.mark.parametrize("masks", ["masks", None])
def test_a_model_without_maps_has_image_metrics_alone(drawn, masks):
    reason = "dfkde gives no anomaly map"
    report = evaluate(drawn.scores, drawn.labels, None, masks and drawn.masks, config=CONFIG, no_maps=reason)
    whole = run(drawn)
    assert report.absent == dict.fromkeys(PIXEL_METRICS, reason)
    assert report.metrics == {name: whole.metrics[name] for name in IMAGE_METRICS}
    assert report.intervals == {name: one for name, one in whole.intervals.items() if name.startswith("image_")}
    assert set(report.thresholds) == {"image_f1_max"}


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
    assert no_limit.metrics == {name: one for name, one in whole.metrics.items() if name != "pixel_aupro"}
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
    assert report.metrics == {name: whole.metrics[name] for name in IMAGE_METRICS}
    assert set(report.intervals) == set(IMAGE_METRICS) - NO_INTERVAL
    assert set(report.thresholds) == {"image_f1_max"}


def test_normal_images_alone_have_no_metric_and_defective_ones_those_of_pixels(drawn):
    normal, defective = run(drawn, images=slice(0, 10)), run(drawn, images=slice(10, None))
    assert normal.metrics == {}
    assert {normal.absent[name] for name in IMAGE_METRICS} == {"no defective test image"}
    assert {normal.absent[name] for name in PIXEL_METRICS} == {"no defective pixel in any mask"}
    assert normal.intervals == normal.thresholds == {}
    assert defective.absent == dict.fromkeys(IMAGE_METRICS, "no normal test image")
    assert set(defective.intervals) == set(PIXEL_METRICS) - NO_INTERVAL
    expected = roc_auc_score(drawn.masks[10:].ravel(), drawn.maps[10:].ravel())
    assert defective.metrics["pixel_auroc"].value == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("images", [[0, 10, 11, 12], [0, 1, 2, 10]])
def test_a_class_of_one_image_has_no_bootstrap(drawn, images):
    report = run(drawn, images=images)
    assert tuple(report.metrics) == METRICS
    assert set(report.intervals) <= {"image_auroc", "image_f1_max"}
    assert "Newcombe" in report.intervals["image_auroc"].method


def test_constant_maps(drawn):
    report = run(drawn, scores=np.full(25, 33, np.float32), maps=np.full_like(drawn.maps, 33))
    found, defective = values(report), drawn.masks.mean()
    assert found["image_auroc"] == found["pixel_auroc"] == 0.5
    assert found["pixel_aupro"] == pytest.approx(0.15)
    assert found["image_f1_strict"] == found["pixel_f1_strict"] == 0
    assert found["image_ap"] == 15 / 25
    assert found["pixel_ap"] == found["pixel_iou_max"] == pytest.approx(defective, abs=1e-15)
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
