"""scores.csv and examples.npz: what a run leaves beside its record."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import StoreError
from harness.store.files import csv_rows, csv_text, is_formula, read_plain

HEADER = ("path", "label", "score")
LARGEST = 2**28
"""Bytes of a scores.csv, and of what an examples.npz unpacks to."""
_HERE = "./"


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The raw image score of each test image, in the split's order."""

    paths: tuple[str, ...]
    """Relative to the dataset's root, with forward slashes."""
    labels: np.ndarray
    """(n_test,) int64: 0 normal, 1 anomalous."""
    scores: np.ndarray
    """(n_test,) float64: the very values of what was given, float32 or float64; finite."""

    def __post_init__(self) -> None:
        labels, scores = np.asarray(self.labels), np.asarray(self.scores)
        if not len(self.paths) == len(labels) == len(scores) or labels.ndim != 1 or scores.ndim != 1:
            raise ValueError(f"{len(self.paths)} paths, labels {labels.shape}, scores {scores.shape}: not one each")
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("a label is neither 0 nor 1")
        if not np.isfinite(scores).all():
            raise ValueError("a score is NaN or infinite")
        absolute = next((path for path in self.paths if path.startswith("/")), None)
        if absolute is not None:
            raise ValueError(f"{absolute}: is an absolute path; scores hold paths relative to the dataset's root")
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "scores", scores.astype(np.float64))

    def to_csv(self) -> bytes:
        """Return the table as scores.csv.

        A float32 score is written with all digits of its value: read as float64, it is the number that the metrics were
        computed from. A file name that is not valid UTF-8 keeps its bytes. A path that a spreadsheet would take for a
        formula begins with `./`.
        """
        names = [f"{_HERE}{path}" if is_formula(path) or path.startswith(_HERE) else path for path in self.paths]
        rows = zip(names, self.labels.tolist(), self.scores.tolist(), strict=True)
        return csv_text(HEADER, rows).encode("utf-8", "surrogateescape")

    @property
    def sha256(self) -> str:
        """The digest of `to_csv()`, which the record states."""
        return hashlib.sha256(self.to_csv()).hexdigest()


def read_scores(path: Path) -> ScoreTable:
    """Read a scores.csv.

    Raises:
        StoreError: it is missing, or not what `ScoreTable.to_csv` writes.
    """
    try:
        rows = csv_rows(read_plain(path, LARGEST).decode("utf-8", "surrogateescape"))
        if not rows or tuple(rows[0]) != HEADER:
            raise ValueError(f"its first line is not {','.join(HEADER)}")
        paths, labels, scores = zip(*rows[1:], strict=True) if len(rows) > 1 else ((), (), ())
        names = tuple(name.removeprefix(_HERE) for name in paths)
        return ScoreTable(names, np.array(labels, np.int64), np.array(scores, np.float64))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}); run again to have it") from error
    except (csv.Error, ValueError, OverflowError) as error:
        raise StoreError(f"{path}: is no table of scores ({error}); restore it (git checkout), or run again") from None


def sha256_of(path: Path) -> str | None:
    """Return the sha256 of a small file, None where there is none.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        return hashlib.sha256(read_plain(path, LARGEST)).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None


def examples_bytes(examples: Mapping[str, np.ndarray]) -> bytes:
    """Return named arrays of numbers or text as a compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **examples)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_examples(path: Path) -> dict[str, np.ndarray] | None:
    """Read an examples.npz; None where there is none, since it is not committed.

    Raises:
        StoreError: it is there and damaged.
    """
    try:
        content = io.BytesIO(read_plain(path, LARGEST))
        with zipfile.ZipFile(content) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise ValueError(f"unpacks to more than {LARGEST} bytes")
        with np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # whatever a damaged or hostile file makes of the readers
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise StoreError(f"{path}: cannot be read ({reason}); move its folder out of the store and run again") from None
