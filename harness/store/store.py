"""The results store: a folder for each run, its record written last; any number of processes may share it."""

import logging
import os
import re
import shlex
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.settings import run_key
from harness.errors import StoreError
from harness.leftovers import temporary_name
from harness.store.fields import EXAMPLES, FAILED, OK, RECORD, REMEDY, RUNS, SCORES, old_run_path, run_path
from harness.store.files import read_plain, remove_leftovers, turn, write_atomically, writing
from harness.store.record import LARGEST, RunRecord, dump_record, load_record
from harness.store.scores import ScoreTable, examples_bytes, read_examples, read_scores, sha256_of

logger = logging.getLogger(__name__)

_OLD_SCHEMA = re.compile(rb'^  "schema_version": [12],$', re.MULTILINE)
"""As an older harness wrote it; inside a text of a record there is no line break."""


@dataclass(frozen=True)
class Contents:
    """What a store holds."""

    records: tuple[RunRecord, ...]
    problems: tuple[str, ...]
    """A line for each file that is no valid record; it counts for nothing."""


class Store:
    """The results store at a folder, which need not be there until something is written."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def run_folder(self, spec: Mapping[str, Any]) -> Path:
        """Return where the run of a spec lies."""
        return self.path / run_path(spec)

    def folder_of(self, record: RunRecord) -> Path:
        """Return where a record's run lies: in a store that was not upgraded yet under its old key."""
        folder = self.run_folder(record.spec.model_dump())
        if record.upgraded_from and not (folder / RECORD).exists():
            return self._old_folder(record)
        return folder

    def _old_folder(self, record: RunRecord) -> Path:
        assert record.upgraded_from is not None
        return self.path / old_run_path(record.spec.model_dump(), record.upgraded_from["key"])

    def find(self, spec: Mapping[str, Any]) -> RunRecord | None:
        """Return the record of a spec, ok or failed; None where there is none.

        Raises:
            StoreError: there is one that cannot be trusted.
        """
        folder = self.run_folder(spec)
        record = _load(folder)
        if record is not None and record.key != run_key(spec):
            raise StoreError(f"{folder / RECORD}: is the record of another run ({record.key}); {REMEDY}")
        return record

    def done(self, spec: Mapping[str, Any]) -> RunRecord | None:
        """Return the record of a spec if its run is ok and complete, so that it need not run again.

        A record whose scores.csv is missing or is another run's does not count: whoever wrote it was cut off.

        Raises:
            StoreError: there is a record that cannot be trusted.
        """
        record = self.find(spec)
        if record is None or is_complete(record, self.folder_of(record)):
            return record
        logger.debug("%s: %s, or without its own scores.csv; to be made again", self.folder_of(record), record.status)
        return None

    def scores(self, record: RunRecord) -> ScoreTable:
        """Return the scores of a run.

        Raises:
            StoreError: they are missing, damaged or not this record's.
        """
        path = self.folder_of(record) / SCORES
        table = read_scores(path)
        if sha256_of(path) != record.scores_sha256:
            raise StoreError(f"{path}: is not what its record was made from; restore it (git checkout), or run again")
        return table

    def examples(self, record: RunRecord) -> dict[str, np.ndarray] | None:
        """Return the arrays that the overlays show; None where they were not kept.

        Raises:
            StoreError: they are damaged.
        """
        return read_examples(self.folder_of(record) / EXAMPLES)

    def write(
        self,
        record: RunRecord,
        scores: ScoreTable | None = None,
        examples: Mapping[str, np.ndarray] | None = None,
        *,
        replace: bool = False,
    ) -> RunRecord:
        """Write a run: scores and examples first, the record last, each file atomically.

        Of two ok records of one key the first stays, and a failed record never replaces an ok one. An ok record also
        removes the failed one that the same run left before its split had a fingerprint.

        Args:
            replace: let a new ok record take the place of an ok one, with its scores and examples.

        Returns:
            The record that the store now holds: possibly the ok one that was there.

        Raises:
            StoreError: the store cannot be written, or a failed run meets a record that cannot be trusted.
            ValueError: an ok record without its scores, or with those of another run.
        """
        if (scores.sha256 if scores else None) != record.scores_sha256:
            raise ValueError("the record's scores_sha256 is not that of the scores")
        spec = record.spec.model_dump()
        folder = self.run_folder(spec)
        files = {SCORES: scores.to_csv() if scores else None, EXAMPLES: examples_bytes(examples) if examples else None}
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with turn(self.path):
                folder.mkdir(parents=True, exist_ok=True)
                kept = _write_run(folder, record, files, replace=replace)
                if kept.status == OK:
                    _forget_failure(self.run_folder({**spec, "fingerprint": None}))
        return kept

    def amend(self, record: RunRecord) -> None:
        """Replace the record of a run whose scores and examples stay, for metrics that were computed from them again.

        Raises:
            StoreError: the store cannot be written, or the run is not there with these scores.
        """
        folder = self.run_folder(record.spec.model_dump())
        with writing(self.path), turn(self.path):
            if not is_complete(record, folder):
                raise StoreError(f"{folder / SCORES}: is not what the record was made from; run again")
            write_atomically(folder / RECORD, dump_record(record))

    def check_current(self) -> None:
        """Make sure that no run is of an older schema: it would be made again, under its new key.

        Raises:
            StoreError: one line that names the script that upgrades the store.
        """
        if old := sum(_is_old(folder) for folder in self.folders()):
            runs = "a run" if old == 1 else f"{old} runs"
            raise StoreError(
                f"store {self.path}: holds {runs} of an older harness; .venv/bin/python scripts/upgrade.py "
                f"{shlex.quote(str(self.path))} gives them their new keys and changes no number"
            )

    def check_writable(self) -> None:
        """Make the store's folder and write a little into it, so that a run is not lost at its end.

        Raises:
            StoreError: one line that names the store and why it cannot be written, or that it must be upgraded first.
        """
        with writing(self.path):
            for folder in (self.path, self.path / RUNS):
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / temporary_name("probe")
                write_atomically(probe, bytes(8192))
                probe.unlink()
        self.check_current()

    def records(self) -> Contents:
        """Read every record; what is no valid record, or lies in the wrong folder, becomes a problem.

        Raises:
            StoreError: the store is there and is no folder, or cannot be listed.
        """
        found: dict[str, list[tuple[bool, Path, RunRecord]]] = {}
        problems = []
        for folder in self.folders():
            try:
                record = _load(folder)
                if record is not None:
                    run = self.is_in_place(record, folder), folder, record
                    found.setdefault(record.key, []).append(run)
            except StoreError as error:
                problems.append(str(error))
        chosen = []
        for alike in found.values():
            _, place, best = max(alike, key=lambda one: (one[0], *rank(one[2])))
            chosen.append((place, best))
            problems += [
                f"{folder / RECORD}: is the same run as {place}, except for its metrics.*; only that one counts"
                for _, folder, record in alike
                if record.upgraded_from != best.upgraded_from
            ]
        for problem in problems:
            logger.debug("left out: %s", problem)
        return Contents(tuple(record for _, record in sorted(chosen, key=lambda one: one[0])), tuple(problems))

    def is_in_place(self, record: RunRecord, folder: Path) -> bool:
        """Say whether a record lies where its run belongs; False where only an older harness looks for it.

        Raises:
            StoreError: it lies elsewhere.
        """
        if _is_same(folder, self.run_folder(record.spec.model_dump())):
            return True
        if record.upgraded_from and _is_same(folder, self._old_folder(record)):
            return False
        raise StoreError(f"{folder / RECORD}: lies in the wrong folder (a copy?); move it out of the store")

    def remove_leftovers(self) -> None:
        """Remove temporary files that killed processes left, in the whole store."""
        for folder in (self.path, self.path / RUNS, *self.folders()):
            remove_leftovers(folder)

    def folders(self) -> list[Path]:
        """Return every run's folder, sorted."""
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise StoreError(f"store {self.path}: is a file, not a folder; give the folder that holds {RUNS}/")
        level = [self.path / RUNS]
        for _ in range(4):
            level = [child for folder in level for child in _subfolders(folder)]
        return level


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            # A link in a circle is no folder; DirEntry.is_dir would raise for one.
            names = sorted(e.name for e in entries if not e.name.startswith(".") and os.path.isdir(e.path))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder}: cannot be listed ({error.strerror or error}); check its permissions") from error
    return [folder / name for name in names]


def _is_same(folder: Path, other: Path) -> bool:
    """Compare without case: some file systems keep that of whoever made a folder first."""
    return str(folder).casefold() == str(other).casefold()


def rank(record: RunRecord) -> tuple[Any, ...]:
    """Return what is larger for the better of two older records of one run: ok, with more metrics, newer."""
    return record.status == OK, len(record.metrics), len(record.intervals), record.finished, str(record.upgraded_from)


def _is_old(folder: Path) -> bool:
    try:
        return bool(_OLD_SCHEMA.search(read_plain(folder / RECORD, LARGEST)))
    except OSError:
        return False


def _load(folder: Path) -> RunRecord | None:
    try:
        return load_record(folder / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_complete(record: RunRecord, folder: Path) -> bool:
    """Say whether a record is ok and the scores beside it are its own."""
    path = folder / SCORES
    try:
        return record.status == OK and sha256_of(path) == record.scores_sha256
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error


def _write_run(folder: Path, record: RunRecord, files: Mapping[str, bytes | None], *, replace: bool) -> RunRecord:
    remove_leftovers(folder)
    # What cannot be trusted gives way to an ok record, but a failed one may not wipe it out.
    with suppress(StoreError) if record.status == OK else nullcontext():
        there = _load(folder)
        if (
            there is not None
            and there.status == OK
            and (record.status == FAILED or (not replace and there.key == record.key and is_complete(there, folder)))
        ):
            logger.debug("%s: keeps the record that is there", folder)
            return there
    for name, data in files.items():
        if data is not None:
            write_atomically(folder / name, data)
        else:
            (folder / name).unlink(missing_ok=True)
    write_atomically(folder / RECORD, dump_record(record))
    logger.debug("%s: written, %s", folder, record.status)
    return record


def _forget_failure(folder: Path) -> None:
    """Remove the failure of a run from before its split could be read, now that it has been put right."""
    with suppress(OSError, StoreError):  # it is only tidying: the run itself is stored by now
        record = _load(folder)
        if record is not None and record.status == FAILED:
            (folder / RECORD).unlink()
            folder.rmdir()
