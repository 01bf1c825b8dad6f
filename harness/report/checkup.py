"""What is wrong with a store: a line for each file that cannot be trusted, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import RequestError, StoreError
from harness.store.fields import OK, RECORD, RUNS, RUNS_CSV, SCORES, key_of_folder
from harness.store.files import read_plain
from harness.store.frame import runs_csv
from harness.store.scores import LARGEST, ScoreTable
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.store.record import RunRecord

REMEDY = "restore both (git checkout), or move the folder out of the store and run again"


@dataclass(frozen=True)
class Checkup:
    """The runs of a store that can be trusted, and why the others cannot."""

    records: tuple[RunRecord, ...]
    faults: tuple[str, ...]
    """A line each, beginning with the file; these runs fill no table."""
    astray: tuple[str, ...]
    """A line for each file that nobody reads where it lies: a run may be missing there, but no number is wrong."""


def check_store(store: Store) -> Checkup:
    """Read every record, and compare each with the scores beside it.

    Raises:
        StoreError: the store is there and is no folder, or cannot be listed.
    """
    contents = store.records()
    records, faults = [], list(contents.problems)
    for record in contents.records:
        found = []
        if record.status == OK:
            path = store.folder_of(record) / SCORES
            try:
                found = [f"{path}: {what}; {REMEDY}" for what in _contradictions(record, store.scores(record))]
            except StoreError as error:
                found = [str(error)]
        faults += found
        records += [] if found else [record]
    return Checkup(tuple(records), tuple(faults), tuple(_astray(store)))


def _contradictions(record: RunRecord, scores: ScoreTable) -> Iterator[str]:
    """Yield what a record says that its own scores deny: this finds a changed number even beside a new digest."""
    from harness.config.settings import MetricsConfig
    from harness.metrics import evaluate_images, registered

    versions = {metric.name: metric.version for metric in registered().values() if metric.level == "image"}
    today = {name: one.value for name, one in record.metrics.items() if versions.get(name) == one.version}
    if not today:
        return  # computed in another way
    n_anomalous = int(scores.labels.sum())
    normal, defective = counts = (len(scores.labels) - n_anomalous, n_anomalous)
    stated = (record.dataset.n_test_normal, record.dataset.n_test_anomalous)
    if counts != stated:
        yield f"has {normal} normal and {defective} defective images, and its record says {stated[0]} and {stated[1]}"
    if not all(counts):
        return
    settings = record.metrics_settings.model_dump() | {"bootstrap_samples": 0}
    ours = evaluate_images(scores.scores, scores.labels, MetricsConfig(**settings)).metrics
    for name, value in today.items():
        if name in ours and ours[name].value != value:
            yield f"gives {name} {ours[name].value!r}, and its record says {value!r}"


def _astray(store: Store) -> Iterator[str]:
    """Yield records where no run's folder is, and runs' folders that have files and no record."""
    runs = store.path / RUNS
    for path in sorted(runs.rglob(RECORD)):
        parts = path.relative_to(runs).parts
        if len(parts) != 5 or any(part.startswith(".") for part in parts):
            yield f"{path}: lies where no run's folder can be, and does not count; move it back, or out of the store"
    for folder in sorted(runs.glob("*/*/*/*")):
        if not key_of_folder(folder.name) or not folder.is_dir():
            continue
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        if names and RECORD not in names:
            what = f"has no {RECORD}: its run was cut off, or the record was deleted"
            yield f"{folder}: {what}; restore it (git checkout) or run it again"


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is not as it must be."""

    n_records: int
    """That can be trusted."""
    n_files: int
    """Of tables and figures that were made again."""
    faults: tuple[str, ...]
    """A line each, beginning with the file."""


def verify_stores(store: Path) -> Verification:
    """Read a whole store, and every store that lies in a folder of it; without tables and figures.

    Raises:
        RequestError: there is no such store.
        StoreError: one cannot be listed.
    """
    if not (store / RUNS).is_dir():
        raise RequestError(f"{store / RUNS}: no such folder; give the one that holds the runs of a store")
    n_records, faults = 0, []
    for one in (store, *sorted(runs.parent for runs in store.glob(f"*/{RUNS}"))):
        checkup = check_store(Store(one))
        n_records += len(checkup.records)
        faults += [*checkup.faults, *checkup.astray, *_runs_csv_faults(one, Store(one).records().records)]
    return Verification(n_records, 0, tuple(faults))


def _runs_csv_faults(store: Path, records: Iterable[RunRecord]) -> Iterator[str]:
    path, expected = store / RUNS_CSV, runs_csv(records)
    try:
        found = read_plain(path, LARGEST)
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror or error}); the next sweep writes it"
        return
    if found != expected:
        place = first_difference(found, expected)
        yield f"{path}: is not the table of the records ({place}); the next sweep writes it"


def first_difference(one: bytes, other: bytes) -> str:
    """Say where two files begin to differ: the line of a text, the byte of anything else."""
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if b"\0" in one[:8192]:
        return f"from byte {place} on"
    line = one.count(b"\n", 0, place) + 1
    return f"from line {line} on"
