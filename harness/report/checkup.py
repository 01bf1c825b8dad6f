"""What is wrong with a store: a line for each file that cannot be trusted, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import StoreError
from harness.store.fields import OK, RECORD, RUNS, SCORES, key_of_folder
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.store.record import RunRecord
    from harness.store.scores import ScoreTable

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
    """Read every record, and hold each against the scores beside it.

    Raises:
        StoreError: the store is there and is no folder, or cannot be listed.
    """
    contents = store.records()
    records, faults = [], list(contents.problems)
    for record in contents.records:
        found = _run_faults(store, record) if record.status == OK else []
        faults += found
        if not found:
            records.append(record)
    return Checkup(tuple(records), tuple(faults), tuple(_astray(store)))


def _run_faults(store: Store, record: RunRecord) -> list[str]:
    try:
        scores = store.scores(record)
    except StoreError as error:
        return [str(error)]
    path = store.run_folder(record.spec.model_dump()) / SCORES
    return [f"{path}: {what}; {REMEDY}" for what in _contradictions(record, scores)]


def _contradictions(record: RunRecord, scores: ScoreTable) -> Iterator[str]:
    """What a record says that its own scores deny: whoever changes a number and its digest must change both."""
    from harness.metrics import VERSION
    from harness.metrics.ranking import auroc, f1, rank

    if record.spec.metrics.version != VERSION or record.metrics is None:
        return  # computed in another way than today's
    n_anomalous = int(scores.labels.sum())
    counts = (len(scores.labels) - n_anomalous, n_anomalous)
    stated = (record.dataset.n_test_normal, record.dataset.n_test_anomalous)
    if counts != stated:
        yield (
            f"has {counts[0]} normal and {counts[1]} defective images, and its record says {stated[0]} and {stated[1]}"
        )
    if not all(counts):
        return
    ranked = rank(scores.scores[scores.labels == 1], scores.scores[scores.labels == 0])
    best = f1(ranked)
    ours = {"image_auroc": auroc(ranked), "image_f1_max": best.maximum, "image_f1_adaptive": best.adaptive}
    for name, value in ours.items():
        told = getattr(record.metrics, name)
        if told is not None and told != value:
            yield f"gives {name} {value!r}, and its record says {told!r}"


def _astray(store: Store) -> Iterator[str]:
    """Records where no run's folder is, and runs' folders that have files and no record."""
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
            yield (
                f"{folder}: has no {RECORD}: its run was cut off, or the record was deleted; restore it (git checkout) "
                "or run it again"
            )
