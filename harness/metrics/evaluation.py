"""All metrics and intervals of one run, from what the engine gives and what the dataset knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from harness.errors import DataError
from harness.metrics.bootstrap import draw, image_histograms, pixel_histograms
from harness.metrics.registry import Level, UndefinedError, registered
from harness.metrics.standard import Images, Pixels  # also registers the metrics of every run before any other
from harness.metrics.uncertainty import Interval, bootstrap_intervals, image_intervals

if TYPE_CHECKING:
    from harness.config.settings import MetricsConfig


@dataclass(frozen=True)
class Measured:
    """A metric's value, and the version of the function that gave it."""

    value: float
    version: int


@dataclass(frozen=True)
class MetricReport:
    """What a run is worth, and how sure that is; each metric of the level is in `metrics` or in `absent`."""

    metrics: dict[str, Measured]
    """By name, in the registry's order; without those that are not defined."""
    absent: dict[str, str]
    """Why the others are not."""
    intervals: dict[str, Interval]
    """By metric; without those that cannot be given."""
    thresholds: dict[str, float]
    """Raw scores: of `image_f1_max` and `pixel_f1_max`; the strict F1s use the same ones, strictly."""


def evaluate(
    image_scores: np.ndarray,
    labels: np.ndarray,
    anomaly_maps: np.ndarray | None,
    masks: np.ndarray | None,
    *,
    config: MetricsConfig,
    no_maps: str = "the model gives no anomaly map",
) -> MetricReport:
    """Return every registered metric of one run, with intervals.

    A metric that is not defined raises `UndefinedError`; any other error stops the evaluation, so that no defect passes
    for an undefined metric.

    Args:
        image_scores: (N,) float32 or float64, raw: any finite values, higher is more anomalous.
        labels: (N,) int in {0, 1}, 1 for anomalous.
        anomaly_maps: (N, H, W) float32 or float64, raw; None for a model without maps.
        masks: (N, H, W) bool or uint8, non-zero where defective; None for a category without masks.
        config: the limit of AUPRO (0 leaves AUPRO out), and how the intervals are drawn.
        no_maps: the reason for `absent` where there are no maps.

    Raises:
        DataError: a score that is not finite; names the first.
        ValueError: a metric's value is outside its range.
    """
    labels = labels.astype(np.intp)
    images = evaluate_images(image_scores, labels, config)
    pixels = _evaluate_pixels(labels, anomaly_maps, None if masks is None else masks != 0, config, no_maps)
    return MetricReport(
        metrics=images.metrics | pixels.metrics,
        absent=images.absent | pixels.absent,
        intervals=images.intervals | pixels.intervals,
        thresholds=images.thresholds | pixels.thresholds,
    )


def evaluate_images(scores: np.ndarray, labels: np.ndarray, config: MetricsConfig) -> MetricReport:
    """Return the metrics of the image level alone, with intervals: all that a scores.csv suffices for.

    Arguments and errors are those of `evaluate`, which gives the same numbers.
    """
    _check_finite("score", scores)
    labels = labels.astype(np.intp)
    sample = Images(scores, labels)
    for label, kind in ((0, "normal"), (1, "defective")):
        if not (labels == label).any():
            return _measure("image", sample, {"scores": f"no {kind} test image"})
    draws = draw(labels, config.bootstrap_samples, config.bootstrap_seed)
    histograms = image_histograms(scores, labels)
    intervals = image_intervals(sample.ranked, sample.best, histograms, draws, config.confidence)
    return _measure("image", sample, {}, intervals)


def _evaluate_pixels(
    labels: np.ndarray, maps: np.ndarray | None, masks: np.ndarray | None, config: MetricsConfig, no_maps: str
) -> MetricReport:
    lacking = {}
    if maps is None:
        lacking["maps"] = no_maps
    else:
        _check_finite("anomaly map", maps)
    reason = None
    if masks is None:
        reason = "no masks"
    elif not masks.any():
        reason = "no defective pixel in any mask"
    elif masks.all():
        reason = "no defect-free pixel in any image"
    if reason:
        lacking |= {"masks": reason, "regions": reason}
    # None reaches no metric: one that needs it is absent.
    sample = Pixels(cast(np.ndarray, maps), cast(np.ndarray, masks), config.aupro_fpr_limit)
    intervals: dict[str, Interval] = {}
    # A class of one image is the same on every resample: its share of the variance would be missing.
    if not lacking and config.bootstrap_samples and 1 not in np.bincount(labels):
        histograms = pixel_histograms(sample.regions, sample.maps, sample.masks)
        draws = draw(labels, config.bootstrap_samples, config.bootstrap_seed)
        drawn = bootstrap_intervals(histograms, draws, config.confidence, config.aupro_fpr_limit or None)
        intervals = {f"pixel_{name}": interval for name, interval in drawn.items()}
        if best := intervals.get("pixel_f1_max"):
            # IoU rises with F1, so its percentiles are those of F1.
            low, high = (f1 / (2 - f1) for f1 in (best.low, best.high))
            intervals["pixel_iou_max"] = Interval(low, high, best.method)
    return _measure("pixel", sample, lacking, intervals)


def _measure(
    level: Level, sample: Images | Pixels, lacking: Mapping[str, str], intervals: dict[str, Interval] | None = None
) -> MetricReport:
    """Compute a level's metrics."""
    metrics, absent = {}, {}
    for name, metric in registered().items():
        if metric.level != level:
            continue
        reasons = [reason for need, reason in lacking.items() if need in metric.needs]
        if reasons:
            absent[name] = reasons[0]
            continue
        try:
            value = float(metric.compute(sample))
        except UndefinedError as undefined:
            absent[name] = str(undefined)
            continue
        if not metric.low <= value <= metric.high:
            raise ValueError(f"metric {name} gave {value}, which is not from {metric.low:g} to {metric.high:g}")
        metrics[name] = Measured(value, metric.version)
    f1_max = f"{level}_f1_max"
    thresholds = {f1_max: sample.best.threshold} if f1_max in metrics else {}
    return MetricReport(metrics, absent, intervals or {}, thresholds)


def _check_finite(what: str, values: np.ndarray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        place = tuple(np.argwhere(~finite)[0].tolist())
        at = f" at row {place[1]}, column {place[2]}" if len(place) == 3 else ""
        raise DataError(
            f"the {what} of test image {place[0] + 1} of {len(values)} is {values[place]}{at}, so no metric is "
            "defined; check that image and the backbone's weights"
        )
