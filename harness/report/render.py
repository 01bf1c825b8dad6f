"""Tables, figures and page from a store, without torch; and what was made from it once against what it gives now."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import RequestError
from harness.papers.model import Edition
from harness.papers.published import Published
from harness.papers.selection import measure
from harness.papers.verdict import judge_all
from harness.report.checkup import Verification, check_store, first_difference, verify_stores
from harness.report.output import LOCAL, write_output
from harness.report.tables import build_tables, write_tables
from harness.report.words import Judged
from harness.store import Store
from harness.store.fields import RUNS


@dataclass(frozen=True)
class Rendered:
    """What was written, and what a reader should know of the store."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...]
    summary: str


def find_edition(published: Published, name: str) -> Edition:
    """Return an edition of a paper by its name.

    Raises:
        RequestError: the paper has none of this name.
    """
    if name not in published.editions:
        raise RequestError(f"edition {name}: paper {published.id} has only {', '.join(published.editions)}")
    return published.editions[name]


def render(
    store: Path,
    published: Published,
    edition: Edition,
    *,
    tables: Path | None = None,
    figures: Path | None = None,
    report: Path | None = None,
) -> Rendered:
    """Write what is asked for; the same store gives the same bytes.

    Args:
        store: the results store's folder.
        edition: of this paper.
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
    checkup = check_store(Store(store))
    problems = (*checkup.faults, *checkup.astray)
    judgements = judge_all(published, measure(checkup.records, edition, published=published), edition)
    judged = Judged(published, edition, judgements, checkup.records)
    built = build_tables(judged)
    files = write_tables(built, tables) if tables is not None else []
    if figures is not None:
        from harness.report.figures import render_figures

        drawn = render_figures(judged, Store(store), figures)
        files += drawn
        if report is not None:
            from harness.papers.audit import run_audit
            from harness.report.page import Extras, render_page

            extras = Extras(problems, settings_plot(store, judged), *others_of(store, judged))
            page = render_page(judged, findings=run_audit(published), tables=built, figures=drawn, extras=extras)
            files.append(write_output(report, page.encode()))
    ours = [one for one in judgements if one.cell.metric is not None]
    filled = sum(bool(one.measured.by_seed) for one in ours)
    warnings = [f"warning: {problem}" for problem in problems]
    if not filled:
        names = ", ".join(sorted({record.spec.dataset for record in judged.records}))
        why = (
            f"none of its {len(judged.records)} runs (on {names}) fills a place of the edition {edition.name}; "
            "every value is `not run`, and the tables say why"
        )
        warnings.append(f"warning: store {store}: {why if names else 'holds no runs; every value is `not run`'}")
    summary = f"{filled} of {len(ours)} numbers have runs, out of {len(judged.records)} records"
    return Rendered(tuple(files), tuple(warnings), summary)


def others_of(store: Path, judged: Judged) -> tuple[tuple[tuple[str, ...], ...], bytes | None]:
    """Hold every paper's numbers for this store's cells against its runs and those of its store of references.

    Returns:
        A row for each number: cell, metric, source, published, ours, prediction, p, verdict, protocol; and the numbers
        of cells with several sources as a forest plot, an SVG. Nothing of drawn images.
    """
    from harness.papers.sources import REFERENCES, all_papers, compared_by_several, numbers_by_cell, place_of, rows_of
    from harness.report.drawings import forest_figure
    from harness.report.style import drawing, encode

    if judged.edition.synthetic:
        return (), None
    referenced = store / REFERENCES
    more = check_store(Store(referenced)).records if (referenced / RUNS).is_dir() else ()
    records = [*judged.records, *more]
    there = {place_of(record) for record in records}
    cells = {cell: found for cell, found in numbers_by_cell(all_papers(), records).items() if cell.place in there}
    several = compared_by_several(cells)
    if not several:
        return tuple(rows_of(cells)), None
    with drawing():
        return tuple(rows_of(cells)), encode(forest_figure(several), "svg", title="Other people's numbers")


def settings_plot(store: Path, judged: Judged) -> bytes | None:
    """Draw the settings that were searched, as an SVG: from the store of settings in a store, else from its own runs.

    Returns:
        None where the paper says of no search, or no preprocessing has runs enough for a line.
    """
    from harness.papers.ranking import labels_of, lines, residuals
    from harness.report.drawings import settings_figure
    from harness.report.style import drawing, encode

    published = judged.published
    search = published.about.search
    if search is None or judged.edition.synthetic:
        return None
    searched = store / search.store
    records = check_store(Store(searched)).records if (searched / RUNS).is_dir() else judged.records
    fitted = lines(records, published)
    if not fitted:
        return None
    labels = labels_of(published)
    with drawing():
        figure = settings_figure(fitted, residuals(fitted, published), labels)
        return encode(figure, "svg", title=f"{labels[1]} on {labels[0]}, {search.category}")


def verify(store: Path, published: Published, edition: Edition, *, tables: Path, figures: Path) -> Verification:
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
        render(store, published, edition, tables=again[tables], figures=again[figures])
        for kept, made in again.items():
            faults += compare_folders(kept, made)
        n_files = sum(len(_files(made)) for made in again.values())
    return Verification(stores.n_records, n_files, tuple(faults))


def compare_folders(kept: Path, made: Path) -> list[str]:
    """List files of two folders that are in one only, or not the same bytes in both: a line each, sorted by name."""
    names = _files(kept), _files(made)
    faults = dict.fromkeys(names[1] - names[0], "is missing: the store gives it; render it again")
    faults |= dict.fromkeys(names[0] - names[1], "is not what the store gives at all; delete it")
    for name in names[0] & names[1]:
        theirs, ours = (kept / name).read_bytes(), (made / name).read_bytes()
        if theirs != ours:
            faults[name] = f"is not what the store gives ({first_difference(theirs, ours)}); render it again"
    return [f"{kept / name}: {what}" for name, what in sorted(faults.items())]


def _files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not any(part == LOCAL or part.startswith(".") for part in path.relative_to(folder).parts)
    }
