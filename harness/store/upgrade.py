"""A store of schema 1 or 2 rewritten as one of today: the same numbers under new keys, names and paths."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness.errors import RequestError, StoreError
from harness.store.fields import OK, RECORD, RUNS, SCORES
from harness.store.files import turn, write_atomically, writing
from harness.store.frame import write_runs_csv
from harness.store.record import RunRecord, dump_record, load_record
from harness.store.scores import read_scores
from harness.store.store import Store, is_complete, rank

SET_ASIDE = "set_aside"
"""The store within a store that keeps runs which have no place of their own any more."""


def upgrade_store(path: Path, say: Callable[[str], None]) -> int:
    """Give every run of an older schema its new key, names and folder; say what there is to say, the counts last.

    It can be interrupted at any point and started again. Files beside a record, such as examples.npz, move along. Of
    runs that differ only in `metrics.*`, which no key covers any more, the best by `rank` takes the place; the others
    move to STORE/set_aside, a store like any other. A run that cannot be trusted stays as it is.

    Returns:
        How many runs stay as they are.

    Raises:
        RequestError: there is no such store.
        StoreError: it cannot be read or written.
    """
    store, done = Store(path), Counter[str]()
    if not (path / RUNS).is_dir():
        raise RequestError(f"{path / RUNS}: no such folder; give the one that holds the runs of a store")
    groups: dict[str, list[tuple[Path, RunRecord]]] = {}
    for folder in store.folders():
        try:
            record = load_record(folder / RECORD)
            is_old = _is_to_do(store, record, folder)
        except FileNotFoundError:
            continue
        except StoreError as error:
            done["left as they are"] += 1
            say(str(error))
            continue
        if is_old:
            groups.setdefault(record.key, []).append((folder, record))
        else:
            done["up to date before"] += 1
    for runs in groups.values():
        for folder, record in sorted(runs, key=lambda run: rank(run[1]), reverse=True):
            try:
                with writing(path), turn(path):
                    aside = _upgrade(store, record, folder)
            except StoreError as error:
                done["left as they are"] += 1
                say(str(error))
                continue
            done["set aside" if aside else "upgraded"] += 1
            if aside:
                say(f"{folder}: differs from run {record.key} only in metrics.*; it is kept in {aside}")
    for written in (path, path / SET_ASIDE) if (path / SET_ASIDE).is_dir() else (path,):
        write_runs_csv(written)
    counts = ", ".join(f"{done[what]} {what}" for what in ("upgraded", "up to date before", "set aside"))
    say(f"{path}: {counts}, {done['left as they are']} left as they are")
    return done["left as they are"]


def _is_to_do(store: Store, record: RunRecord, folder: Path) -> bool:
    """Say whether a run lies where only an older harness looks for it."""
    if store.is_in_place(record, folder):
        return False
    if record.status == OK and not is_complete(record, folder) and not _is_moved(store, record):
        raise StoreError(f"{folder / SCORES}: is not what its record was made from; restore both (git checkout)")
    return True


def _is_moved(store: Store, record: RunRecord) -> bool:
    """Say whether an old run's new folder is complete: whoever moved it was stopped before the old one was gone."""
    target = store.run_folder(record.spec.model_dump())
    if not (target / RECORD).exists():
        return False
    there = load_record(target / RECORD)
    return there.upgraded_from == record.upgraded_from and (there.status != OK or is_complete(there, target))


def _upgrade(store: Store, record: RunRecord, folder: Path) -> Path | None:
    """Move a run to its new folder; where another has that, set it aside and return where it is now."""
    target = store.run_folder(record.spec.model_dump())
    if not _is_moved(store, record):
        if (target / RECORD).exists() and load_record(target / RECORD).upgraded_from != record.upgraded_from:
            return _set_aside(store, folder)
        target.mkdir(parents=True, exist_ok=True)
        if record.status == OK:
            scores = read_scores(folder / SCORES)
            write_atomically(target / SCORES, scores.to_csv())
            record = record.model_copy(update={"scores_sha256": scores.sha256})
        for path in _beside(folder):
            write_atomically(target / path.name, path.read_bytes())
        write_atomically(target / RECORD, dump_record(record))
    for path in (folder / SCORES, *_beside(folder), folder / RECORD):  # the record last: it says that there is more
        path.unlink(missing_ok=True)
    with suppress(OSError):  # what is no plain file, or another run, keeps its folder
        folder.rmdir()
        folder.parent.rmdir()
    return None


def _beside(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.is_file() and path.name not in (RECORD, SCORES) and path.name[0] != "."
    ]


def _set_aside(store: Store, folder: Path) -> Path:
    place = store.path / SET_ASIDE / folder.relative_to(store.path)
    if place.exists():
        raise StoreError(f"{folder}: is set aside already, in {place}; move one of the two out of the store")
    place.parent.mkdir(parents=True, exist_ok=True)
    return folder.rename(place)
