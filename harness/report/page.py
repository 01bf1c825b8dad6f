"""The report as one HTML page: the rendering of what was judged."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.papers.model import Finding, Verdict
from harness.papers.published import Published
from harness.papers.verdict import judge_rows
from harness.report import page_runs
from harness.report.figures import caption, numbers
from harness.report.output import LOCAL
from harness.report.page_commands import part_commands, run_command
from harness.report.page_grid import Cell, Grid, anchor, cell, grid
from harness.report.page_summary import audit_parts, finding_id, summarise
from harness.report.tables import VERDICTS_FORM, Table
from harness.report.words import Judged, table_title
from harness.store.fields import RUNS

if TYPE_CHECKING:
    from jinja2 import Environment

    from harness.store.record import RunRecord

TEMPLATES = Path(__file__).with_name("templates")

Line = tuple[tuple[str, str | None], ...]
"""A line of text in parts, each with the address that it links to, or None."""


@dataclass(frozen=True)
class Extras:
    """What the page shows beside the paper's own tables and figures."""

    problems: tuple[str, ...] = ()
    """Lines on files of the store that are no valid record."""
    settings: bytes | None = None
    """One metric on another of the settings that were searched, an SVG; None where there is none."""
    others: tuple[tuple[str, ...], ...] = ()
    """Every paper's numbers for the store's cells, as `harness.papers.sources.rows_of` gives them."""
    forest: bytes | None = None
    """Those of cells with several sources, an SVG; None where there is no such cell."""


def load_pictures(paths: Iterable[Path]) -> dict[str, str]:
    """Return each figure's SVG file as a data URI, by its stem.

    What lies in the folder for pictures of real images is left out: the page may be passed on.
    """
    files = [path for path in paths if path.suffix == ".svg" and path.parent.name != LOCAL]
    return {path.stem: _svg_uri(path.read_bytes()) for path in files}


def _svg_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{_base64(svg)}"


def render_page(
    judged: Judged,
    *,
    findings: Sequence[Finding],
    tables: Sequence[Table],
    figures: Iterable[Path],
    extras: Extras,
) -> str:
    """Return the report as one self-contained HTML page; the same arguments give the same text.

    Every text is escaped, and nothing in it is fetched from anywhere.

    Args:
        tables: as `build_tables` makes them, the paper's form of each first.
        figures: files as `render_figures` writes them; each figure's SVG goes into the page.
    """
    from markupsafe import Markup

    published, edition, records, judgements = judged.published, judged.edition, judged.records, judged.judgements
    keys = {record.key for record in records}
    style, script = _asset("page.css"), _asset("page.js")
    text = (
        _templates()
        .get_template("page.html.jinja")
        .render(
            edition=edition,
            about=published.about,
            version=__version__,
            style=Markup(style),  # our own files, the only text that is not escaped
            script=Markup(script),
            policy=_policy(style, script),
            summary=summarise(judged, judge_rows(judgements, edition), findings),
            tables=[[one for one in tables if one.number == layout.number] for layout in published.tables],
            title_of=lambda number: table_title(published, number, edition),
            grid_of=_grid,
            link=lambda line: link_keys(line, keys),
            figures=published.figures,
            pictures=load_pictures(figures),
            plot=None if extras.settings is None else _svg_uri(extras.settings),
            others=_others(extras.others),
            forest=None if extras.forest is None else _svg_uri(extras.forest),
            anchor=anchor,
            cell=cell,
            caption=lambda figure: caption(figure, judged),
            numbers=lambda figure: numbers(figure, judged),
            audit=audit_parts(findings),
            settings=_settings(published),
            runs=page_runs.describe_runs(records),
            page_runs=page_runs,
            run_command=run_command,
            failures=page_runs.failures(records),
            problems=[_below_store(line) for line in extras.problems],
            commands=part_commands(published, edition, (record.spec.seed for record in records)),
            finding_id=finding_id,
            span=_span(records),
        )
    )
    return text if text.endswith("\n") else f"{text}\n"


def _grid(table: Table) -> Grid:
    paper_form = "as the paper lays it out, reproduced values"
    form = "published beside reproduced" if table.form == VERDICTS_FORM else paper_form
    mark = "SYNTHETIC. " if table.synthetic else ""
    caption = f"{mark}Table {table.number}: {form}"
    columns, numeric = list(table.columns), list(table.numeric)
    rows = [[cell(text) for text in row] for row in table.rows]
    if table.form == VERDICTS_FORM:
        columns, rows, numeric = _verdict_first(columns, rows, numeric)
    return grid(anchor("table", table.number, table.form), caption, columns, rows, numeric=numeric)


def _verdict_first(
    columns: list[str], rows: list[list[Cell]], numeric: list[bool]
) -> tuple[list[str], list[list[Cell]], list[bool]]:
    """Put the verdict beside the values, where a narrow screen shows it, and its reason below it, not far right.

    The reason is left out where nothing was run, which the lines below the table say once, and where it is that of the
    row above.
    """
    verdict, because, after = (columns.index(name) for name in ("Verdict", "Because", "Reproduced"))
    order = [i for i in range(len(columns)) if i not in (verdict, because)]
    order.insert(order.index(after) + 1, verdict)
    last = ""
    made = []
    for row in rows:
        reason = row[because].text
        is_said = reason == last or row[verdict].text == Verdict.NOT_RUN
        made.append([replace(row[i], note="" if is_said else reason) if i == verdict else row[i] for i in order])
        last = reason
    return [columns[i] for i in order], made, [numeric[i] for i in order]


def link_keys(line: str, keys: Collection[str]) -> Line:
    """Split a line into parts, in which the keys of runs that are on the page link to these."""
    parts = re.split(r"\b([0-9a-f]{12})\b", line)
    return tuple((part, f"#{page_runs.run_id(part)}" if part in keys else None) for part in parts if part)


def _settings(published: Published) -> Grid:
    rows = [
        (Cell(one.name), Cell(one.section), Cell(one.says), cell(one.value or "not stated"), cell(one.choice or ""))
        for one in published.about.settings
    ]
    caption = (
        "Settings: what the paper states and leaves open, and what the harness does where it leaves something open"
    )
    return grid("settings-all", caption, ("Setting", "Section", "The paper says", "Value", "Choice"), rows)


def _others(rows: Sequence[tuple[str, ...]]) -> Grid | None:
    if not rows:
        return None
    columns = ("Cell", "Metric", "Source and protocol", "Published", "Ours", "One more seed", "p", "Verdict")
    made = []
    for row in rows:
        verdict, _, why = row[7].partition(": ")
        source = Cell(row[2], note=row[8])
        made.append([cell(row[0]), cell(row[1]), source, *map(cell, row[3:7]), replace(cell(verdict), note=why)])
    numeric = (False, False, False, True, True, True, True, False)
    return grid("others-all", "Published numbers for the cells of this store", columns, made, numeric=numeric)


def _below_store(line: str) -> str:
    """Return a problem's line without what lies above the store: the page is read on other machines."""
    path, separator, rest = line.partition(": ")
    head, runs, tail = path.rpartition(f"/{RUNS}/")
    return f"{RUNS}/{tail}{separator}{rest}" if runs and head else line


def _span(records: Sequence[RunRecord]) -> str:
    """Say from when to when the runs were made; the page itself has no date, so that it stays the same bytes."""
    days = sorted(record.finished[:10] for record in records)
    if not days:
        return ""
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def _policy(style: str, script: str) -> str:
    """Write a content security policy under which nothing runs but our script, and nothing at all is fetched."""
    hashes = [_base64(hashlib.sha256(text.encode()).digest()) for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8").strip()


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )


def _clean(value: Any) -> Any:
    """Show control characters, lone surrogates and marks that reorder text as escapes; HTML escaping comes after."""
    if type(value) is not str:  # markup of our own, and numbers
        return value
    return "".join(char if _is_shown(char) else f"\\u{ord(char):04x}" for char in value)


def _is_shown(char: str) -> bool:
    return char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
