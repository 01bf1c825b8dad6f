"""Tables, figures and page from a store: the way from records to files, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from harness.errors import RequestError
from harness.paper.model import PAPER, SMOKE, Edition, Judgement
from harness.paper.published import Published, load_published
from harness.paper.selection import measure
from harness.paper.verdict import judge_all, judge_rows
from harness.report.checkup import check_store
from harness.report.tables import build_tables, write_tables
from harness.store import Store
from harness.store.fields import RUNS

if TYPE_CHECKING:
    from harness.store import RunRecord

EDITIONS: Mapping[str, Edition] = MappingProxyType({edition.name: edition for edition in (PAPER, SMOKE)})


@dataclass(frozen=True)
class Rendered:
    """What was written, and what a reader should know of the store."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...]
    summary: str


@dataclass(frozen=True, eq=False)
class _Judged:
    published: Published
    records: tuple[RunRecord, ...]
    problems: tuple[str, ...]
    judgements: tuple[Judgement, ...]


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
    judged = _judge(Store(store), edition)
    built = build_tables(judged.judgements, judged.published, edition, judged.records)
    files = write_tables(built, tables) if tables is not None else []
    drawn = _draw(judged, edition, Store(store), figures) if figures is not None else []
    files += drawn
    if report is not None:
        from harness.paper.audit import run_audit
        from harness.report.page import write_page

        page = write_page(
            report,
            edition=edition,
            published=judged.published,
            judgements=judged.judgements,
            row_judgements=judge_rows(judged.judgements),
            findings=run_audit(judged.published),
            tables=built,
            figure_paths=drawn,
            records=judged.records,
            problems=judged.problems,
        )
        files.append(page)
    return Rendered(tuple(files), _warnings(judged, store, edition), _summary(judged))


def _judge(store: Store, edition: Edition) -> _Judged:
    published = load_published()
    checkup = check_store(store)
    judgements = judge_all(published, measure(checkup.records, edition, published=published), edition)
    return _Judged(published, checkup.records, (*checkup.faults, *checkup.astray), judgements)


def _draw(judged: _Judged, edition: Edition, store: Store, folder: Path) -> list[Path]:
    from harness.report.figures import Inputs, render_figures
    from harness.report.figures_overlays import find_exhibit

    exhibit = find_exhibit(judged.judgements, judged.records, judged.published, edition, store)
    return render_figures(Inputs(judged.judgements, judged.published, edition, exhibit), folder)


def _filled(judged: _Judged) -> tuple[int, int]:
    """Of the numbers that a run gives: how many have one, and how many there are."""
    ours = [one for one in judged.judgements if one.cell.metric is not None]
    return sum(bool(one.measured.by_seed) for one in ours), len(ours)


def _warnings(judged: _Judged, store: Path, edition: Edition) -> tuple[str, ...]:
    lines = [f"warning: {problem}" for problem in judged.problems]
    if not judged.records:
        lines.append(f"warning: store {store}: holds no runs; every value is `not run`")
    elif not _filled(judged)[0]:
        names = ", ".join(sorted({record.spec.dataset for record in judged.records}))
        lines.append(
            f"warning: store {store}: none of its {len(judged.records)} runs (on {names}) fills a place of the edition "
            f"{edition.name}; every value is `not run`, and the tables say why"
        )
    return tuple(lines)


def _summary(judged: _Judged) -> str:
    filled, total = _filled(judged)
    return f"{filled} of {total} numbers have runs, out of {len(judged.records)} records"
