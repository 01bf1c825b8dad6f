"""scores.csv and examples.npz: what a run leaves beside its record."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from harness.errors import StoreError
from harness.store.files import csv_rows, csv_text, is_formula, read_plain

HEADER = ("path", "label", "defect_type", "score")
OLD_HEADER = ("path", "label", "score")
"""Of stores of schema 1 and 2, where a defect type is the name of the folder."""
GOOD = "good"
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
    defect_types: tuple[str, ...]
    """`good` for a normal image."""
    scores: np.ndarray
    """(n_test,) float64: the very values of what was given, float32 or float64; finite."""

    def __post_init__(self) -> None:
        labels, scores = np.asarray(self.labels), np.asarray(self.scores)
        counts = {len(self.paths), len(self.defect_types), len(labels), len(scores)}
        if len(counts) > 1 or labels.ndim != 1 or scores.ndim != 1:
            raise ValueError(
                f"{len(self.paths)} paths, labels {labels.shape}, {len(self.defect_types)} defect types, "
                f"scores {scores.shape}: their numbers differ"
            )
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

        Scores keep all digits of their values, file names their bytes. A name that a spreadsheet would take for a
        formula begins with `./`.
        """
        columns = (_cells(self.paths), self.labels.tolist(), _cells(self.defect_types), self.scores.tolist())
        rows = zip(*columns, strict=True)
        return csv_text(HEADER, rows).encode("utf-8", "surrogateescape")

    @property
    def sha256(self) -> str:
        """The digest of `to_csv()`, which the record states."""
        return hashlib.sha256(self.to_csv()).hexdigest()


def _cells(names: tuple[str, ...]) -> list[str]:
    return [f"{_HERE}{name}" if is_formula(name) or name.startswith(_HERE) else name for name in names]


def _names(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(cell.removeprefix(_HERE) for cell in cells)


def read_scores(path: Path) -> ScoreTable:
    """Read a scores.csv, an old one too: its defect types are the folders of the defective images.

    Raises:
        StoreError: it is missing, or not what `ScoreTable.to_csv` writes.
    """
    try:
        rows = csv_rows(read_plain(path, LARGEST).decode("utf-8", "surrogateescape"))
        header = tuple(rows[0]) if rows else ()
        if header not in (HEADER, OLD_HEADER):
            raise ValueError(f"its first line is not {','.join(HEADER)}")
        columns = dict(zip(header, zip(*rows[1:], strict=True) if len(rows) > 1 else [()] * len(header), strict=True))
        paths, labels = _names(columns["path"]), np.array(columns["label"], np.int64)
        if header == HEADER:
            defect_types = _names(columns["defect_type"])
        else:
            defect_types = tuple(
                PurePosixPath(path).parent.name if label else GOOD for path, label in zip(paths, labels, strict=True)
            )
        return ScoreTable(paths, labels, defect_types, np.array(columns["score"], np.float64))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}); run again to create it") from error
    except (csv.Error, ValueError, OverflowError) as error:
        raise StoreError(
            f"{path}: is not a table of scores ({error}); restore it (git checkout), or run again"
        ) from None


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
