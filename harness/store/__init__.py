"""The results store: one immutable, validated record a run."""

from harness.store.frame import load_frame, write_runs_csv
from harness.store.record import Failure, Interval, MetricValue, RunRecord, failure_of
from harness.store.scores import ScoreTable
from harness.store.store import Store

__all__ = [
    "Failure",
    "Interval",
    "MetricValue",
    "RunRecord",
    "ScoreTable",
    "Store",
    "failure_of",
    "load_frame",
    "write_runs_csv",
]
