"""A store and what was rendered from it against one another: every file that is not what the store gives is named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import RequestError
from harness.paper.model import Edition
from harness.report.checkup import check_store
from harness.report.figures import LOCAL
from harness.report.render import render
from harness.store.fields import RUNS, RUNS_CSV
from harness.store.files import read_plain
from harness.store.frame import runs_csv
from harness.store.scores import LARGEST
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.store.record import RunRecord


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is not as it must be."""

    n_records: int
    """That can be trusted."""
    n_files: int
    """Of tables and figures that were made again."""
    faults: tuple[str, ...]
    """A line each, beginning with the file."""


def verify(store: Path, edition: Edition, *, tables: Path, figures: Path) -> Verification:
    """Read the whole store, make tables and figures again in a folder of their own, and compare byte for byte.

    Stores that lie in folders of this one are read too. What lies in a folder for pictures of real images, and hidden
    files, are nobody's business here.

    Raises:
        RequestError: there is no such store, table folder or figure folder.
        StoreError: the store cannot be listed.
    """
    for folder, what in ((tables, "tables"), (figures, "figures")):
        if not folder.is_dir():
            raise RequestError(f"{folder}: no such folder; give the one that holds the {what}")
    stores = verify_stores(store)
    faults = list(stores.faults)
    with tempfile.TemporaryDirectory(prefix="verify-") as fresh:
        again = {tables: Path(fresh, "tables"), figures: Path(fresh, "figures")}
        render(store, edition, tables=again[tables], figures=again[figures])
        for kept, made in again.items():
            faults += compare_folders(kept, made)
        n_files = sum(len(_files(made)) for made in again.values())
    return Verification(stores.n_records, n_files, tuple(faults))


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


def compare_folders(kept: Path, made: Path) -> list[str]:
    """A line for each file of two folders that is in one only, or not the same bytes in both; sorted by name."""
    names = _files(kept), _files(made)
    faults = dict.fromkeys(names[1] - names[0], "is missing: the store gives it; render it again")
    faults |= dict.fromkeys(names[0] - names[1], "is not what the store gives at all; delete it")
    for name in names[0] & names[1]:
        theirs, ours = (kept / name).read_bytes(), (made / name).read_bytes()
        if theirs != ours:
            faults[name] = f"is not what the store gives ({_first_difference(theirs, ours)}); render it again"
    return [f"{kept / name}: {what}" for name, what in sorted(faults.items())]


def _first_difference(one: bytes, other: bytes) -> str:
    """Where two files part: the line of a text, the byte of anything else."""
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if b"\0" in one[:8192]:
        return f"from byte {place} on"
    line = one.count(b"\n", 0, place) + 1
    return f"from line {line} on"


def _files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not any(part == LOCAL or part.startswith(".") for part in path.relative_to(folder).parts)
    }


def _runs_csv_faults(store: Path, records: Iterable[RunRecord]) -> list[str]:
    path = store / RUNS_CSV
    expected = runs_csv(records)
    try:
        found = read_plain(path, LARGEST)
    except OSError as error:
        return [f"{path}: cannot be read ({error.strerror or error}); the next sweep writes it"]
    if found == expected:
        return []
    return [f"{path}: is not the table of the records ({_first_difference(found, expected)}); the next sweep writes it"]
