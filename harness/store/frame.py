"""All records as one flat table: a pandas frame, and STORE/runs.csv."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store.fields import METRICS, RUNS_CSV, flat, shown
from harness.store.files import csv_text, no_formula, turn, write_atomically, writing
from harness.store.record import PreprocessingSpec, RunRecord
from harness.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

_MODEL = "model."
_TEXT, _WHOLE, _REAL, _TRUTH, _TIME = "str", "Int64", "float64", "boolean", "datetime64[us, UTC]"
_NARROWEST = (({bool}, _TRUTH), ({int}, _WHOLE), ({int, float}, _REAL))

_OF_TYPE: dict[Any, str] = {bool: "bool", int: "int64"}

_SPEC: dict[str, tuple[str, str]] = {
    "dataset": (_TEXT, "spec.dataset"),
    "category": (_TEXT, "spec.category"),
    "model": (_TEXT, "spec.model.name"),
    "backbone": (_TEXT, "spec.backbone.name"),
    "seed": ("int64", "spec.seed"),
}
_FIELDS: dict[str, tuple[str, str]] = {
    **{
        f"preprocessing.{name}": (_OF_TYPE.get(field.annotation, _TEXT), f"spec.preprocessing.{name}")
        for name, field in PreprocessingSpec.model_fields.items()
    },
    "engine": (_TEXT, "spec.engine"),
    "device": (_TEXT, "spec.device"),
    "weights": (_TEXT, "weights"),
    "protocol_name": (_TEXT, "protocol_name"),
    "status": (_TEXT, "status"),
    "synthetic": ("bool", "synthetic"),
    "limit": (_WHOLE, "dataset.limit"),
    "n_train": (_WHOLE, "dataset.n_train"),
    "n_test_normal": (_WHOLE, "dataset.n_test_normal"),
    "n_test_anomalous": (_WHOLE, "dataset.n_test_anomalous"),
    "has_masks": (_TRUTH, "dataset.has_masks"),
}
_COST: dict[str, tuple[str, str]] = {
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
    "key": (_TEXT, "key"),
}
"""Column -> pandas dtype, and where the record has it (empty where it is put together).

Between the first and the second come `model.<setting>`; between the second and the third `<metric>`, `<metric>_low`,
`<metric>_high` and `<metric>_version` of each metric that any record has; at the end second intervals and
`seconds_<stage>`. A list is written as the command line takes it.
"""

COLUMNS = {name: dtype for name, (dtype, _) in (_SPEC | _FIELDS | _COST).items()}

_SORTED_BY = ("dataset", "category", "model", "backbone", "protocol_name", "seed", "engine", "device", "key")


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
        values = [row[i] for row in rows]
        dtype = _dtype(name, values)
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
    records = list(records)
    rows = sorted(map(_row, records), key=_order)
    settings = sorted({name for row in rows for name in row if name.startswith(_MODEL)})
    measured = {name for record in records for name in record.metrics}
    metrics = [*(name for name in METRICS if name in measured), *sorted(measured.difference(METRICS))]
    of_metrics = [f"{name}{suffix}" for name in metrics for suffix in ("", "_low", "_high", "_version")]
    names = list(dict.fromkeys([*_SPEC, *settings, *_FIELDS, *of_metrics, *_COST]))
    names += sorted({name for row in rows for name in row}.difference(names))
    return names, [[row.get(name) for name in names] for row in rows]


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort by what was run; the settings of models, which may be of any type, by their text."""
    settings = sorted((name, _sortable(value)) for name, value in row.items() if name.startswith(_MODEL))
    return *(row[name] for name in _SORTED_BY[:5]), settings, *(row[name] for name in _SORTED_BY[5:])


def _sortable(value: Any) -> tuple[float, str]:
    return (value, "") if isinstance(value, int | float) else (math.inf, shown(value))


def _row(record: RunRecord) -> dict[str, Any]:
    fields = flat(record.model_dump())
    row: dict[str, Any] = {name: fields.get(path) for name, (_, path) in (_SPEC | _FIELDS | _COST).items()}
    row |= {f"{_MODEL}{name}": value for name, value in flat(record.spec.model).items() if name != "name"}
    row = {name: shown(value) if isinstance(value, list) else value for name, value in row.items()}
    for name, metric in record.metrics.items():
        row |= {name: metric.value, f"{name}_version": metric.version}
    row["seconds"] = sum(record.timing.seconds.values())
    row["error"] = f"{record.error.type}: {record.error.message}" if record.error else None
    for name, interval in record.intervals.items():
        row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | {f"seconds_{stage}": seconds for stage, seconds in record.timing.seconds.items()}


def _dtype(name: str, values: Sequence[Any]) -> str:
    """Return a column's type; that of a model's setting is the narrowest that holds all its values."""
    if name in COLUMNS:
        return COLUMNS[name]
    if not name.startswith(_MODEL):
        return _WHOLE if name.endswith("_version") else _REAL
    kinds = {type(value) for value in values if value is not None}
    return next((dtype for types, dtype in _NARROWEST if kinds <= types), _TEXT)
