"""Where tables, figures and page of a store belong, and how their files are written: each whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import RequestError
from harness.paths import PROJECT
from harness.store.files import write_atomically


def write_output(path: Path, data: bytes) -> Path:
    """Write one file of the report, its folder too.

    Raises:
        RequestError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be written ({error.strerror or error}); give a folder that can be"
        ) from error
    return path


RESULTS = PROJECT / "results"

LOCAL = "local"
"""The folder, below that of the figures, for pictures of real images; never committed."""


@dataclass(frozen=True)
class Outputs:
    """What is rendered from one store."""

    tables: Path
    figures: Path
    report: Path


def outputs_of(store: Path) -> Outputs:
    """Find the places of a store's output: the committed ones for the committed store, else inside the store."""
    figures = PROJECT / "figures" if store.resolve() == RESULTS.resolve() else store / "figures"
    return Outputs(store / "tables", figures, store / "report.html")
