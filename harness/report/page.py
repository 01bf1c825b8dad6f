"""The report as one HTML file: pure rendering of what was judged, and the writing of it."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.errors import RequestError
from harness.paper.model import Finding, Verdict
from harness.paper.published import Published
from harness.paper.verdict import judge_rows
from harness.report.figures import FIGURES, caption, numbers
from harness.report.output import LOCAL, write_output
from harness.report.page_commands import part_commands
from harness.report.page_grid import Cell, Grid, anchor, cell, grid
from harness.report.page_runs import describe_runs, failures, run_id
from harness.report.page_summary import audit_parts, finding_id, summarise
from harness.report.tables import PAPER_FORM, VERDICTS_FORM, Table
from harness.report.words import Judged, table_title
from harness.store.fields import RUNS

if TYPE_CHECKING:
    from jinja2 import Environment

    from harness.store.record import RunRecord

TEMPLATES = Path(__file__).with_name("templates")

PAPER_TITLE = (
    "Explainable Deep Learning for Visual Anomaly Detection in Industrial Monitoring Systems: "
    "A Cross-Dataset Evaluation Using MVTec AD, VisA, and BTAD"
)

_BARS = (
    "Two bar charts of {what}: on the left image and pixel AUROC by category, on the right image and pixel F1, with "
    "whiskers, and the published values as diamonds. A category without a run has an empty, labelled place."
)

ALTERNATIVES: Mapping[int, str] = {
    1: "Drawing in two lanes. Training: normal images, preprocessing, a frozen backbone, patch embeddings, one "
    "Gaussian for each location. Inference: a test image through the same steps, then Mahalanobis distances, an "
    "anomaly map, an overlay and the image’s score.",
    2: _BARS.format(what="the MVTec AD categories"),
    3: "Bar charts of two backbones on one category: the four metrics side by side, with the published values as "
    "diamonds, and the number of parameters of each backbone.",
    4: "Two normal and two defective test images, each as image, anomaly map from blue (low) to red (high), and "
    "the map laid over the image; where there is nothing to show, a labelled empty place.",
    5: _BARS.format(what="the VisA categories"),
    6: _BARS.format(what="the BTAD categories"),
    7: "Bar chart of the four metrics’ means for three datasets, with the published values as diamonds.",
    8: "Two bar charts, image AUROC and pixel AUROC: six published methods in blue, the two PaDiM rows in red.",
    9: "Radar chart: an axis for each of the four metrics, a solid outline a dataset, dashed ones as published.",
}
"""Figure -> what is drawn, for who does not see it; its numbers follow in words."""

Line = tuple[tuple[str, str | None], ...]
"""A line of text in parts, each with the address that it links to, or None."""


@dataclass(frozen=True)
class PaperTable:
    """One of Tables 1 to 6: published beside reproduced, and as the paper lays it out."""

    number: int
    title: str
    beside: Grid
    beside_footer: tuple[Line, ...]
    laid_out: Grid
    laid_out_footer: tuple[Line, ...]


@dataclass(frozen=True)
class Picture:
    """One figure of the page."""

    identifier: str
    caption: str
    alt: str
    numbers: str
    """Every number in it, in words; empty for one without numbers."""
    table: int | None
    """The table that holds its numbers."""
    source: str
    """A data URI."""


def write_page(
    path: Path,
    judged: Judged,
    *,
    findings: Sequence[Finding],
    tables: Sequence[Table],
    figures: Iterable[Path],
    problems: Sequence[str],
) -> Path:
    """Write the report to one self-contained HTML file; the same arguments give the same bytes.

    Args:
        figures: files as `render_figures` writes them; each figure's SVG goes into the page.
        problems: lines on files of the store that are no valid record.

    Raises:
        RequestError: the file cannot be written, or a figure cannot be read.
    """
    text = render_page(
        judged, findings=findings, tables=tables, pictures=load_pictures(figures, judged), problems=problems
    )
    return write_output(path, text.encode())


def load_pictures(paths: Iterable[Path], judged: Judged) -> tuple[Picture, ...]:
    """Each figure's SVG file in the paper's order.

    What lies in the folder for pictures of real images is left out: the page may be passed on.

    Raises:
        RequestError: a file cannot be read.
    """
    files = {path.stem: path for path in paths if path.suffix == ".svg" and path.parent.name != LOCAL}
    mark = "SYNTHETIC. " if judged.edition.synthetic else ""
    pictures = []
    for figure in FIGURES:
        path = files.get(figure.stem)
        if path is None:
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RequestError(f"{path}: cannot be read ({error.strerror or error}); draw the figures again") from error
        pictures.append(
            Picture(
                identifier=anchor(figure.stem),
                caption=caption(figure, judged),
                alt=f"{mark}{ALTERNATIVES[figure.number]}",
                numbers=numbers(figure, judged),
                table=figure.table,
                source=f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}",
            )
        )
    return tuple(pictures)


def render_page(
    judged: Judged,
    *,
    findings: Sequence[Finding],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    problems: Sequence[str],
) -> str:
    """The page's HTML. Pure: every text is escaped, and nothing in it is fetched from anywhere."""
    from markupsafe import Markup

    edition, records, judgements = judged.edition, judged.records, judged.judgements
    style, script = _asset("page.css"), _asset("page.js")
    text = (
        _templates()
        .get_template("page.html.jinja")
        .render(
            edition=edition,
            paper_title=PAPER_TITLE,
            version=__version__,
            style=Markup(style),  # our own files, the only text that is not escaped
            script=Markup(script),
            policy=_policy(style, script),
            summary=summarise(judgements, judge_rows(judgements), findings, records, edition),
            tables=_paper_tables(judged, tables),
            pictures=pictures,
            audit=audit_parts(findings),
            settings=_settings(judged.published),
            runs=describe_runs(records),
            failures=failures(records),
            problems=[_below_store(line) for line in problems],
            commands=part_commands(edition, (record.spec.seed for record in records)),
            finding_id=finding_id,
            span=_span(records),
        )
    )
    return text if text.endswith("\n") else f"{text}\n"


def _paper_tables(judged: Judged, tables: Sequence[Table]) -> tuple[PaperTable, ...]:
    keys = {record.key for record in judged.records}
    by_form = {(table.number, table.form): table for table in tables}
    made = []
    for one in judged.published.tables:
        beside, laid_out = by_form[one.number, VERDICTS_FORM], by_form[one.number, PAPER_FORM]
        made.append(
            PaperTable(
                number=one.number,
                title=table_title(judged.published, one.number, judged.edition),
                beside=_grid(beside, "published beside reproduced"),
                beside_footer=tuple(link_keys(line, keys) for line in beside.footer),
                laid_out=_grid(laid_out, "as the paper lays it out, reproduced values"),
                laid_out_footer=tuple(link_keys(line, keys) for line in laid_out.footer),
            )
        )
    return tuple(made)


def _grid(table: Table, form: str) -> Grid:
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
    """The verdict beside the values, where a narrow screen shows it, and its reason below it instead of far right.

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
    """A line in parts, in which the keys of runs that are on the page link to these."""
    parts = re.split(r"\b([0-9a-f]{12})\b", line)
    return tuple((part, f"#{run_id(part)}" if part in keys else None) for part in parts if part)


def _settings(published: Published) -> Grid:
    rows = [
        (Cell(one.name), Cell(one.section), Cell(one.says), cell(one.value or "not stated"), cell(one.choice or ""))
        for one in published.settings
    ]
    caption = (
        "Settings: what the paper states and leaves open, and what the harness does where it leaves something open"
    )
    return grid("settings-all", caption, ("Setting", "Section", "The paper says", "Value", "Choice"), rows)


def _below_store(line: str) -> str:
    """A problem's line without what lies above the store: the page is read on other machines."""
    path, separator, rest = line.partition(": ")
    head, runs, tail = path.rpartition(f"/{RUNS}/")
    return f"{RUNS}/{tail}{separator}{rest}" if runs and head else line


def _span(records: Sequence[RunRecord]) -> str:
    """From when to when the runs were made; the page itself is dated by nothing, so that it stays the same bytes."""
    days = sorted(record.finished[:10] for record in records)
    if not days:
        return ""
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def _policy(style: str, script: str) -> str:
    """A content security policy under which nothing runs but our script, and nothing at all is fetched."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


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
    """Control characters, lone surrogates and marks that reorder text are shown as escapes; escaping comes after."""
    if type(value) is not str:  # markup of our own, and numbers
        return value
    return "".join(char if _is_shown(char) else f"\\u{ord(char):04x}" for char in value)


def _is_shown(char: str) -> bool:
    return char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
