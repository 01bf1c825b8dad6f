"""Exact metrics of raw scores, with intervals: pure functions of arrays."""

from harness.metrics.evaluation import MetricReport, evaluate
from harness.metrics.uncertainty import Interval

VERSION = 1
"""In every run's key. Raise it with any change that can move a metric, an interval or a threshold."""

__all__ = ["VERSION", "Interval", "MetricReport", "evaluate"]
