"""All records as one flat table: a pandas frame, and STORE/runs.csv."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store.fields import METRICS, RUNS_CSV
from harness.store.files import csv_text, no_formula, turn, write_atomically, writing
from harness.store.record import RunRecord
from harness.store.settings import flat
from harness.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

_TEXT, _WHOLE, _REAL, _TRUTH, _TIME = "str", "Int64", "float64", "boolean", "datetime64[us, UTC]"

_FIELDS: dict[str, tuple[str, str]] = {
    "dataset": (_TEXT, "spec.dataset"),
    "category": (_TEXT, "spec.category"),
    "backbone": (_TEXT, "spec.backbone.name"),
    "seed": ("int64", "spec.seed"),
    "n_features": ("int64", "spec.n_features"),
    "weights": (_TEXT, "weights"),
    "protocol_name": (_TEXT, "protocol_name"),
    "index_sampler": (_TEXT, "spec.protocol.index_sampler"),
    "epsilon": (_REAL, "spec.protocol.epsilon"),
    "resize": (_TEXT, "spec.protocol.resize"),
    "center_crop": (_TEXT, "spec.protocol.center_crop"),
    "batch_size": ("int64", "spec.protocol.batch_size"),
    "blur_sigma": (_REAL, "spec.protocol.blur_sigma"),
    "engine": (_TEXT, "spec.engine"),
    "device": (_TEXT, "spec.device"),
    "inexact": (_TEXT, "spec.inexact"),
    "status": (_TEXT, "status"),
    "synthetic": ("bool", "synthetic"),
    "limit": (_WHOLE, "dataset.limit"),
    "n_train": (_WHOLE, "dataset.n_train"),
    "n_test_normal": (_WHOLE, "dataset.n_test_normal"),
    "n_test_anomalous": (_WHOLE, "dataset.n_test_anomalous"),
    "has_masks": (_TRUTH, "dataset.has_masks"),
    **{f"{metric}{suffix}": (_REAL, "") for metric in METRICS for suffix in ("", "_low", "_high")},
    "seconds": (_REAL, ""),
    "images_per_second": (_REAL, "timing.images_per_second"),
    "peak_rss_bytes": (_WHOLE, "memory.peak_rss_bytes"),
    "peak_device_bytes": (_WHOLE, "memory.peak_device_bytes"),
    "error": (_TEXT, ""),
    "error_stage": (_TEXT, "error.stage"),
    "device_name": (_TEXT, "environment.device"),
    "cpu": (_TEXT, "environment.cpu"),
    "threads": (_WHOLE, "environment.threads"),
    "git_commit": (_TEXT, "environment.git.commit"),
    "git_dirty": (_TRUTH, "environment.git.dirty"),
    "started": (_TIME, "started"),
    "finished": (_TIME, "finished"),
    "fingerprint": (_TEXT, "spec.fingerprint"),
    "weights_digest": (_TEXT, "spec.backbone.weights_digest"),
    "metrics_version": ("int64", "spec.metrics.version"),
    "key": (_TEXT, "key"),
}
"""Column -> pandas dtype, and where the record has it (empty where it is put together).

After these come `<metric>_<method>_low/high` of second intervals and `seconds_<stage>`.
"""

COLUMNS = {name: dtype for name, (dtype, _) in _FIELDS.items()}

SORTED_BY = (
    *("dataset", "category", "backbone", "protocol_name", "index_sampler", "n_features", "seed"),
    *("engine", "device", "inexact", "key"),
)


def load_frame(store: Store | Path | str) -> pd.DataFrame:
    """Return all valid records of a store, a row each, sorted by what was run and never by time.

    `category` is text: 01 stays 01. A failed run has its `error` and no metrics. `attrs["problems"]` holds a line for
    each file that is no valid record, and so is in no row.

    Raises:
        StoreError: the store is a file, or cannot be listed.
    """
    import pandas as pd

    contents = (store if isinstance(store, Store) else Store(store)).records()
    names, rows = flat_table(contents.records)
    series = {}
    for i, name in enumerate(names):
        dtype = COLUMNS.get(name, _REAL)
        values = [row[i] for row in rows]
        series[name] = pd.Series(pd.to_datetime(values, utc=True) if dtype == _TIME else values, dtype=dtype)
    frame = pd.DataFrame(series)
    frame.attrs["problems"] = list(contents.problems)
    return frame


def write_runs_csv(path: Path | str) -> tuple[str, ...]:
    """Derive STORE/runs.csv, the table of `load_frame`, from the records; the same records give the same bytes.

    Also removes what killed processes left in the store.

    Returns:
        A line for each file that is no valid record, and so is not in the table.

    Raises:
        StoreError: the store cannot be read or written.
    """
    store = Store(path)
    with writing(store.path):
        store.path.mkdir(parents=True, exist_ok=True)
        store.remove_leftovers()
        with turn(store.path):  # else a slower process could put back a table without our newest record
            contents = store.records()
            write_atomically(store.path / RUNS_CSV, runs_csv(contents.records))
    return contents.problems


def runs_csv(records: Iterable[RunRecord]) -> bytes:
    """Return the content of runs.csv; what a spreadsheet would take for a formula has an apostrophe before it."""
    names, rows = flat_table(records)
    shown = ([no_formula(value) if isinstance(value, str) else value for value in row] for row in rows)
    return csv_text(names, shown).encode()


def flat_table(records: Iterable[RunRecord]) -> tuple[list[str], list[list[Any]]]:
    """Return column names and rows; None where a record has no such value."""
    rows = sorted(map(_row, records), key=lambda row: tuple((row[name] is not None, row[name]) for name in SORTED_BY))
    extra = sorted({name for row in rows for name in row}.difference(COLUMNS))
    names = [*COLUMNS, *extra]
    return names, [[row.get(name) for name in names] for row in rows]


def _row(record: RunRecord) -> dict[str, Any]:
    fields = flat(record.model_dump())
    row: dict[str, Any] = {name: fields.get(path) for name, (_, path) in _FIELDS.items()} | record.values
    for size in ("resize", "center_crop"):  # height x width
        row[size] = "x".join(map(str, row[size])) if row[size] else None
    row["inexact"] = ",".join(row["inexact"]) or None
    row["seconds"] = sum(record.timing.seconds.values())
    row["error"] = f"{record.error.type}: {record.error.message}" if record.error else None
    for name, interval in record.intervals.items():
        row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | {f"seconds_{stage}": seconds for stage, seconds in record.timing.seconds.items()}
