"""All records as one flat table: a pandas frame, and STORE/runs.csv."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store.fields import METRICS, RUNS_CSV
from harness.store.files import turn, write_atomically, writing
from harness.store.store import Store
from harness.store.table import csv_text, no_formula

if TYPE_CHECKING:
    import pandas as pd

    from harness.store.record import RunRecord

_TEXT, _WHOLE, _REAL, _TRUTH, _TIME = "str", "Int64", "float64", "boolean", "datetime64[us, UTC]"

COLUMNS: dict[str, str] = {
    "dataset": _TEXT,
    "category": _TEXT,
    "backbone": _TEXT,
    "seed": "int64",
    "n_features": "int64",
    "weights": _TEXT,
    "protocol_name": _TEXT,
    "index_sampler": _TEXT,
    "epsilon": _REAL,
    "resize": _TEXT,
    "center_crop": _TEXT,
    "batch_size": "int64",
    "blur_sigma": _REAL,
    "engine": _TEXT,
    "device": _TEXT,
    "inexact": _TEXT,
    "status": _TEXT,
    "synthetic": "bool",
    "limit": _WHOLE,
    "n_train": _WHOLE,
    "n_test_normal": _WHOLE,
    "n_test_anomalous": _WHOLE,
    "has_masks": _TRUTH,
    **{f"{metric}{suffix}": _REAL for metric in METRICS for suffix in ("", "_low", "_high")},
    "seconds": _REAL,
    "images_per_second": _REAL,
    "peak_rss_bytes": _WHOLE,
    "peak_device_bytes": _WHOLE,
    "error": _TEXT,
    "error_stage": _TEXT,
    "device_name": _TEXT,
    "cpu": _TEXT,
    "threads": _WHOLE,
    "git_commit": _TEXT,
    "git_dirty": _TRUTH,
    "started": _TIME,
    "finished": _TIME,
    "fingerprint": _TEXT,
    "weights_digest": _TEXT,
    "metrics_version": "int64",
    "key": _TEXT,
}
"""Column -> pandas dtype. After these come `<metric>_<method>_low/high` of second intervals and `seconds_<stage>`."""

SORTED_BY = (
    "dataset",
    "category",
    "backbone",
    "protocol_name",
    "index_sampler",
    "n_features",
    "seed",
    "engine",
    "device",
    "inexact",
    "key",
)


def load_frame(store: Store | Path | str) -> pd.DataFrame:
    """All valid records of a store, a row each, sorted by what was run and never by time.

    `category` is text: 01 stays 01. A failed run has its `error` and no metrics. `attrs["problems"]` holds a line for
    each file that is no valid record, and so is in no row.

    Raises:
        StoreError: the store is a file, or cannot be listed.
    """
    import pandas as pd

    contents = (store if isinstance(store, Store) else Store(store)).records()
    names, rows = flat_table(contents.records)
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    series = {}
    for name, values in zip(names, columns, strict=True):
        dtype = COLUMNS.get(name, _REAL)
        if dtype == _TIME:
            series[name] = pd.Series(pd.to_datetime(list(values), utc=True), dtype=dtype)
        else:
            series[name] = pd.Series(list(values), dtype=dtype)
    frame = pd.DataFrame(series)
    frame.attrs["problems"] = list(contents.problems)
    return frame


def write_runs_csv(store: Store | Path | str) -> tuple[str, ...]:
    """Derive STORE/runs.csv, the table of `load_frame`, from the records; the same records give the same bytes.

    A text that a spreadsheet would take for a formula has an apostrophe before it there.
    Also removes what killed processes left in the store.

    Returns:
        A line for each file that is no valid record, and so is not in the table.

    Raises:
        StoreError: the store cannot be read or written.
    """
    store = store if isinstance(store, Store) else Store(store)
    with writing(store.path):
        store.path.mkdir(parents=True, exist_ok=True)
        store.remove_leftovers()
        with turn(store.path):  # else a slower process could put back a table without our newest record
            contents = store.records()
            write_atomically(store.path / RUNS_CSV, runs_csv(contents.records))
    return contents.problems


def runs_csv(records: Iterable[RunRecord]) -> bytes:
    """The content of runs.csv: a text that a spreadsheet would take for a formula has an apostrophe before it."""
    names, rows = flat_table(records)
    shown = ([no_formula(value) if isinstance(value, str) else value for value in row] for row in rows)
    return csv_text(names, shown).encode()


def flat_table(records: Iterable[RunRecord]) -> tuple[list[str], list[list[Any]]]:
    """Column names and rows; None where a record has no such value."""
    rows = sorted(map(_row, records), key=lambda row: tuple((row[name] is not None, row[name]) for name in SORTED_BY))
    extra = sorted({name for row in rows for name in row}.difference(COLUMNS))
    names = [*COLUMNS, *extra]
    return names, [[row.get(name) for name in names] for row in rows]


def _row(record: RunRecord) -> dict[str, Any]:
    spec, dataset, environment = record.spec, record.dataset, record.environment
    protocol = spec.protocol
    row: dict[str, Any] = {
        "dataset": spec.dataset,
        "category": spec.category,
        "backbone": spec.backbone.name,
        "seed": spec.seed,
        "n_features": spec.n_features,
        "weights": record.weights,
        "protocol_name": record.protocol_name,
        "index_sampler": protocol.index_sampler,
        "epsilon": protocol.epsilon,
        "resize": _size(protocol.resize),
        "center_crop": _size(protocol.center_crop),
        "batch_size": protocol.batch_size,
        "blur_sigma": protocol.blur_sigma,
        "engine": spec.engine,
        "device": spec.device,
        "inexact": ",".join(spec.inexact) or None,
        "status": record.status,
        "synthetic": record.synthetic,
        "limit": dataset.limit,
        "n_train": dataset.n_train,
        "n_test_normal": dataset.n_test_normal,
        "n_test_anomalous": dataset.n_test_anomalous,
        "has_masks": dataset.has_masks,
        **record.values,
        "seconds": sum(record.timing.seconds.values()),
        "images_per_second": record.timing.images_per_second,
        "peak_rss_bytes": record.memory.peak_rss_bytes if record.memory else None,
        "peak_device_bytes": record.memory.peak_device_bytes if record.memory else None,
        "error": f"{record.error.type}: {record.error.message}" if record.error else None,
        "error_stage": record.error.stage if record.error else None,
        "device_name": environment.device,
        "cpu": environment.cpu,
        "threads": environment.threads,
        "git_commit": environment.git.commit if environment.git else None,
        "git_dirty": environment.git.dirty if environment.git else None,
        "started": record.started,
        "finished": record.finished,
        "fingerprint": spec.fingerprint,
        "weights_digest": spec.backbone.weights_digest,
        "metrics_version": spec.metrics.version,
        "key": record.key,
    }
    for name, interval in record.intervals.items():
        row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | {f"seconds_{stage}": seconds for stage, seconds in record.timing.seconds.items()}


def _size(size: list[int] | None) -> str | None:
    """Height x width, as it is usually written."""
    return f"{size[0]}x{size[1]}" if size else None
