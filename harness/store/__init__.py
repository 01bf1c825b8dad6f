"""The results store: one immutable, validated record a run. Importing it loads neither pandas, pydantic nor torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.store.fields import METRICS
    from harness.store.frame import load_frame, write_runs_csv
    from harness.store.provenance import environment, peak_rss_bytes
    from harness.store.record import (
        DatasetInfo,
        Environment,
        Failure,
        Interval,
        Memory,
        Metrics,
        PassPlan,
        RunRecord,
        Timing,
        failure_of,
        new_record,
    )
    from harness.store.scores import ScoreTable
    from harness.store.store import Contents, Store

_HOMES = {
    "fields": ("METRICS",),
    "frame": ("load_frame", "write_runs_csv"),
    "provenance": ("environment", "peak_rss_bytes"),
    "record": (
        *("DatasetInfo", "Environment", "Failure", "Interval", "Memory", "Metrics", "PassPlan", "RunRecord", "Timing"),
        *("failure_of", "new_record"),
    ),
    "scores": ("ScoreTable",),
    "store": ("Contents", "Store"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "METRICS",
    "Contents",
    "DatasetInfo",
    "Environment",
    "Failure",
    "Interval",
    "Memory",
    "Metrics",
    "PassPlan",
    "RunRecord",
    "ScoreTable",
    "Store",
    "Timing",
    "environment",
    "failure_of",
    "load_frame",
    "new_record",
    "peak_rss_bytes",
    "write_runs_csv",
]


def __getattr__(name: str) -> object:
    """Load a public name's module when the name is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
