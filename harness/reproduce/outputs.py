"""Where tables, figures and page of a store belong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.keys import PROJECT

RESULTS = PROJECT / "results"


@dataclass(frozen=True)
class Outputs:
    """What is rendered from one store."""

    tables: Path
    figures: Path
    report: Path


def outputs_of(store: Path) -> Outputs:
    """The places of a store's output: the committed ones for the committed store, inside the store for any other."""
    figures = PROJECT / "figures" if store.resolve() == RESULTS.resolve() else store / "figures"
    return Outputs(store / "tables", figures, store / "report.html")
