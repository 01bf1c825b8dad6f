"""Exact metrics of raw scores, with intervals: pure functions of arrays."""

from harness.metrics.evaluation import Measured, MetricReport, evaluate, evaluate_images
from harness.metrics.registry import Metric, UndefinedError, metric, registered
from harness.metrics.standard import Images, Pixels
from harness.metrics.uncertainty import Interval

__all__ = [
    "Images", "Interval", "Measured", "Metric", "MetricReport", "Pixels", "UndefinedError", "evaluate",
    "evaluate_images", "metric", "registered",
]  # fmt: skip
