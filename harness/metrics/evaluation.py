"""All metrics and intervals of one run, from what the engine gives and what the dataset knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.config import MetricsConfig
from harness.errors import DataError
from harness.metrics.bootstrap import draw, image_histograms, pixel_histograms
from harness.metrics.ranking import auroc, f1, rank
from harness.metrics.region import aupro, rank_pixels
from harness.metrics.uncertainty import Interval, bootstrap_intervals, image_intervals
from harness.store.fields import IMAGE_METRICS, PIXEL_METRICS


@dataclass(frozen=True)
class MetricReport:
    """What a run is worth, and how sure that is."""

    metrics: dict[str, float | None]
    """By `harness.store.fields.METRICS`, always all of them, in [0, 1]; None where a metric is not defined."""
    absent: dict[str, str]
    """The reason for each None."""
    intervals: dict[str, Interval]
    """By metric, and `image_auroc_delong` beside the bootstrap's `image_auroc`; without those that cannot be given."""
    thresholds: dict[str, float]
    """Raw scores: of `image_f1_max` and `pixel_f1_max`; the strict F1s use the same ones, strictly."""


def evaluate(
    image_scores: np.ndarray,
    labels: np.ndarray,
    anomaly_maps: np.ndarray,
    masks: np.ndarray | None,
    *,
    config: MetricsConfig,
) -> MetricReport:
    """Return every metric of one run, with intervals.

    Args:
        image_scores: (N,) float32 or float64, raw: any finite values, higher is more anomalous.
        labels: (N,) int in {0, 1}, 1 for anomalous.
        anomaly_maps: (N, H, W) float32 or float64, raw.
        masks: (N, H, W) bool or uint8, non-zero where defective; None for a category without masks.
        config: the limit of AUPRO (0 leaves AUPRO out), and how the intervals are drawn.

    Raises:
        DataError: a score that is not finite; names the first.
    """
    _check_finite("score", image_scores)
    _check_finite("anomaly map", anomaly_maps)
    labels = labels.astype(np.intp)
    draws = draw(labels, config.bootstrap_samples, config.bootstrap_seed)
    images = _evaluate_images(image_scores, labels, draws, config)
    pixels = _evaluate_pixels(labels, anomaly_maps, None if masks is None else masks != 0, draws, config)
    return MetricReport(
        metrics=images.metrics | pixels.metrics,
        absent=images.absent | pixels.absent,
        intervals=images.intervals | pixels.intervals,
        thresholds=images.thresholds | pixels.thresholds,
    )


def _evaluate_images(scores: np.ndarray, labels: np.ndarray, draws: np.ndarray, config: MetricsConfig) -> MetricReport:
    for label, kind in ((0, "normal"), (1, "defective")):
        if not (labels == label).any():
            return _undefined(IMAGE_METRICS, f"no {kind} test image")
    ranked = rank(scores[labels == 1], scores[labels == 0])
    best = f1(ranked)
    return MetricReport(
        metrics={"image_auroc": auroc(ranked), "image_f1_max": best.maximum, "image_f1_strict": best.strict},
        absent={},
        intervals=image_intervals(ranked, best, image_histograms(scores, labels), draws, config.confidence),
        thresholds={"image_f1_max": best.threshold},
    )


def _evaluate_pixels(
    labels: np.ndarray, anomaly_maps: np.ndarray, masks: np.ndarray | None, draws: np.ndarray, config: MetricsConfig
) -> MetricReport:
    if masks is None:
        return _undefined(PIXEL_METRICS, "no masks")
    if not masks.any():
        return _undefined(PIXEL_METRICS, "no defective pixel in any mask")
    if masks.all():
        return _undefined(PIXEL_METRICS, "no defect-free pixel in any image")
    pixels = rank_pixels(anomaly_maps, masks)
    best = f1(pixels.ranked)
    intervals: dict[str, Interval] = {}
    # A class of one image is the same on every resample: its share of the variance would be missing.
    if len(draws) and 1 not in np.bincount(labels):
        histograms = pixel_histograms(pixels, anomaly_maps, masks)
        intervals = bootstrap_intervals(histograms, draws, config.confidence, config.aupro_fpr_limit or None)
    return MetricReport(
        metrics={
            "pixel_auroc": auroc(pixels.ranked),
            "pixel_f1_max": best.maximum,
            "pixel_f1_strict": best.strict,
            "pixel_aupro": aupro(pixels, config.aupro_fpr_limit) if config.aupro_fpr_limit else None,
        },
        absent={} if config.aupro_fpr_limit else {"pixel_aupro": "metrics.aupro_fpr_limit is 0"},
        intervals={f"pixel_{name}": interval for name, interval in intervals.items()},
        thresholds={"pixel_f1_max": best.threshold},
    )


def _undefined(metrics: tuple[str, ...], reason: str) -> MetricReport:
    return MetricReport(
        metrics=dict.fromkeys(metrics), absent=dict.fromkeys(metrics, reason), intervals={}, thresholds={}
    )


def _check_finite(what: str, values: np.ndarray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        place = tuple(np.argwhere(~finite)[0].tolist())
        at = f" at row {place[1]}, column {place[2]}" if len(place) == 3 else ""
        raise DataError(
            f"the {what} of test image {place[0] + 1} of {len(values)} is {values[place]}{at}, so no metric is "
            "defined; check that image and the backbone's weights"
        )
