"""Tables, figures and page from a store: the way from records to files, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from harness.errors import RequestError
from harness.paper.model import PAPER, SMOKE, Edition
from harness.paper.published import load_published
from harness.paper.selection import measure
from harness.paper.verdict import judge_all, judge_rows
from harness.report.checkup import check_store
from harness.report.tables import build_tables, write_tables
from harness.report.words import Judged
from harness.store import Store
from harness.store.fields import RUNS

EDITIONS: Mapping[str, Edition] = MappingProxyType({edition.name: edition for edition in (PAPER, SMOKE)})


@dataclass(frozen=True)
class Rendered:
    """What was written, and what a reader should know of the store."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...]
    summary: str


def render(
    store: Path,
    edition: Edition,
    *,
    tables: Path | None = None,
    figures: Path | None = None,
    report: Path | None = None,
) -> Rendered:
    """Write what is asked for; the same store gives the same bytes.

    Args:
        store: the results store's folder.
        tables: the folder for tables; None for no tables. Likewise the others.
        report: the page, a file; its figures are those of `figures`, which then must be given.

    Raises:
        RequestError: there is no such store, or something cannot be written.
        StoreError: the store cannot be read.
    """
    if not (store / RUNS).is_dir():
        raise RequestError(
            f"store {store}: is no store (it holds no folder {RUNS}); give the folder that holds {RUNS}/"
        )
    if report is not None and figures is None:
        raise RequestError("the page shows the figures: give their folder too (--figures)")
    published, checkup = load_published(), check_store(Store(store))
    problems = (*checkup.faults, *checkup.astray)
    judgements = judge_all(published, measure(checkup.records, edition, published=published), edition)
    judged = Judged(published, edition, judgements, checkup.records)
    built = build_tables(judged)
    files = write_tables(built, tables) if tables is not None else []
    drawn: list[Path] = []
    if figures is not None:
        from harness.report.figures import render_figures
        from harness.report.overlays import find_exhibit

        drawn = render_figures(judged, find_exhibit(judged, Store(store)), figures)
        files += drawn
    if report is not None:
        from harness.paper.audit import run_audit
        from harness.report.page import write_page

        page = write_page(
            report,
            edition=edition,
            published=published,
            judgements=judgements,
            row_judgements=judge_rows(judgements),
            findings=run_audit(published),
            tables=built,
            figure_paths=drawn,
            records=judged.records,
            problems=problems,
        )
        files.append(page)
    ours = [one for one in judgements if one.cell.metric is not None]
    filled = sum(bool(one.measured.by_seed) for one in ours)
    warnings = [f"warning: {problem}" for problem in problems]
    if not filled:
        warnings.append(f"warning: store {store}: {_nothing(judged)}")
    summary = f"{filled} of {len(ours)} numbers have runs, out of {len(judged.records)} records"
    return Rendered(tuple(files), tuple(warnings), summary)


def _nothing(judged: Judged) -> str:
    """Why no place of the edition has a run."""
    if not judged.records:
        return "holds no runs; every value is `not run`"
    names = ", ".join(sorted({record.spec.dataset for record in judged.records}))
    return (
        f"none of its {len(judged.records)} runs (on {names}) fills a place of the edition {judged.edition.name}; "
        "every value is `not run`, and the tables say why"
    )
