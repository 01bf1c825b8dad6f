"""Tables 1 to 6 in two forms: as the paper lays them out, and published beside reproduced, with verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.paper.digits import places, rounded
from harness.paper.model import DECLARED_SEED, PAPER_METRICS, Edition, Judgement, RowJudgement
from harness.paper.published import N_CATEGORIES, PARAMS, Published, PublishedTable
from harness.paper.verdict import judge_rows
from harness.report.cells import absence, by_name, places_run
from harness.report.facts import protocol_facts
from harness.report.names import in_edition, row_name, table_title
from harness.report.output import write_output
from harness.report.parameters import parameter_counts
from harness.report.table import PAPER_FORM, VERDICTS_FORM, Table
from harness.report.table_text import csv_document, latex_document, markdown_document

if TYPE_CHECKING:
    from harness.store import RunRecord

NOTHING = "–"
"""Where a column cannot say anything; a value that is missing says why instead."""

_BESIDE = (
    "Metric",
    "Published",
    "Reproduced",
    "Difference",
    "Seeds",
    "Seed range",
    "95 % interval",
    "Verdict",
    "Because",
)
_AS_A_WHOLE = "row as a whole"


@dataclass(frozen=True)
class _Source:
    """What all tables are made from."""

    cells: Mapping[tuple[int, str, str], Judgement]
    joint: Mapping[tuple[int, str], RowJudgement]
    published: Published
    edition: Edition
    records: Mapping[str, RunRecord]
    """By key."""
    protocol: str
    """The protocol on one line."""


def build_tables(
    judgements: Sequence[Judgement], published: Published, edition: Edition, records: Sequence[RunRecord]
) -> tuple[Table, ...]:
    """Tables 1 to 6, each in the paper's form and then with verdicts.

    Args:
        judgements: of every published number (`harness.paper.verdict.judge_all`).
        records: of the store; only their keys, seeds and weights are used.
    """
    source = _Source(
        cells=by_name(judgements),
        joint={(one.table, one.row): one for one in judge_rows(judgements)},
        published=published,
        edition=edition,
        records={record.key: record for record in records},
        protocol=protocol_facts(edition).sentence,
    )
    return tuple(make(layout, source) for layout in published.tables for make in (_paper_form, _verdicts_form))


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write each table as .csv, .md and .tex; the same tables give the same bytes.

    Raises:
        RequestError: the folder cannot be written.
    """
    writers = {"csv": csv_document, "md": markdown_document, "tex": latex_document}
    return [
        write_output(folder / f"{table.stem}.{ending}", write(table).encode("utf-8", "backslashreplace"))
        for table in tables
        for ending, write in writers.items()
    ]


def _paper_form(layout: PublishedTable, source: _Source) -> Table:
    rows, runs = [], []
    for row in layout.rows:
        cells = [_laid_out(layout, row, column, source) for column in layout.columns[1:]]
        rows.append((row_name(source.published, layout.number, row, source.edition), *cells))
        runs.append(
            _keys([source.cells[layout.number, row, column] for column in _measured(layout)], source, all_seeds=False)
        )
    reproduced = f"Reproduced: the store's runs at seed {DECLARED_SEED}."
    return Table(
        number=layout.number,
        form=PAPER_FORM,
        title=f"{table_title(source.published, layout.number, source.edition)} {reproduced}",
        columns=layout.columns,
        rows=tuple(rows),
        runs=tuple(runs),
        footer=_footer(layout, source, PAPER_FORM),
        numeric=tuple(column in layout.value_columns for column in layout.columns),
        protocol=source.protocol,
        synthetic=source.edition.synthetic,
    )


def _measured(layout: PublishedTable) -> list[str]:
    """The columns that runs fill."""
    return [column for column in layout.value_columns if column in PAPER_METRICS]


def _laid_out(layout: PublishedTable, row: str, column: str, source: _Source) -> str:
    """One cell of the paper's form."""
    if column not in layout.value_columns:
        return in_edition(layout.texts[row, column], source.edition)
    judgement = source.cells[layout.number, row, column]
    return _reproduced(judgement, source) if layout.places[row] else judgement.cell.printed


def _reproduced(judgement: Judgement, source: _Source) -> str:
    """A cell's own value with as many digits as the paper's, or why there is none."""
    cell, measured = judgement.cell, judgement.measured
    if cell.column == PARAMS:
        return rounded(_parameters(judgement, source) / 1e6, places(cell.printed))
    if cell.column == N_CATEGORIES:
        n = places_run(source.cells[cell.table, cell.row, "Img AUROC"])
        return str(n) if n == len(cell.places) else f"{n} of {len(cell.places)}"
    if cell.metric is None:
        return "literature"
    return absence(judgement) if measured.declared is None else rounded(measured.declared, places(cell.printed))


def _parameters(judgement: Judgement, source: _Source) -> int:
    return parameter_counts()[source.edition.backbones[judgement.cell.places[0].backbone]].parameters


def _verdicts_form(layout: PublishedTable, source: _Source) -> Table:
    rows, runs = [], []
    for row in layout.rows:
        name = row_name(source.published, layout.number, row, source.edition)
        for cell in source.published.row(layout.number, row):
            judgement = source.cells[layout.number, row, cell.column]
            rows.append((name, cell.column, *_beside(judgement, source)))
            runs.append(_keys([judgement], source, all_seeds=True))
        joint = source.joint.get((layout.number, row))
        if joint is not None:
            rows.append((name, _AS_A_WHOLE, *[NOTHING] * 6, str(joint.verdict), joint.reason))
            runs.append(_keys(joint.judgements, source, all_seeds=True))
    return Table(
        number=layout.number,
        form=VERDICTS_FORM,
        title=f"{table_title(source.published, layout.number, source.edition)} Published beside reproduced.",
        columns=(layout.columns[0], *_BESIDE),
        rows=tuple(rows),
        runs=tuple(runs),
        footer=_footer(layout, source, VERDICTS_FORM),
        numeric=(False, False, True, True, True, True, True, True, False, False),
        protocol=source.protocol,
        synthetic=source.edition.synthetic,
    )


def _beside(judgement: Judgement, source: _Source) -> tuple[str, ...]:
    """One published number: published, reproduced, difference, seeds, their range, interval, verdict, why."""
    cell, measured = judgement.cell, judgement.measured
    digits = places(cell.printed)
    spread = measured.seed_range
    return (
        cell.printed,
        _reproduced(judgement, source),
        NOTHING if judgement.difference is None else f"{judgement.difference:+.{digits}f}",
        str(len(measured.by_seed)) if measured.by_seed else NOTHING,
        f"{rounded(spread[0], digits)} to {rounded(spread[1], digits)}"
        if spread and len(measured.by_seed) > 1
        else NOTHING,
        _interval(judgement),
        str(judgement.verdict),
        judgement.reason,
    )


def _interval(judgement: Judgement) -> str:
    """At the declared seed; of a mean the half-width, which combines its categories'."""
    measured, digits = judgement.measured, places(judgement.cell.printed)
    if measured.interval is not None:
        return f"{rounded(measured.interval[0], digits)} to {rounded(measured.interval[1], digits)}"
    return NOTHING if measured.half_width is None else f"± {rounded(measured.half_width, digits)}"


def _keys(judgements: Sequence[Judgement], source: _Source, *, all_seeds: bool) -> str:
    keys = dict.fromkeys(key for one in judgements for key in one.measured.keys)
    chosen = [key for key in keys if all_seeds or source.records[key].spec.seed == DECLARED_SEED]
    return " ".join(chosen) or "none"


def _footer(layout: PublishedTable, source: _Source, form: str) -> tuple[str, ...]:
    shown = [source.cells[layout.number, row, column] for row in layout.rows for column in _measured(layout)]
    lines = [_what(form, f1="Img F1" in layout.columns), source.protocol]
    if layout.number == 2:
        lines.append(_parameters_line(layout, source))
    if layout.number == 5:
        lines.append("A mean is given only where every one of its N categories has a run that counts.")
    lines += _run_lines(shown, source, all_seeds=form == VERDICTS_FORM)
    lines += list(
        dict.fromkeys(f"No value: {text}." for one in shown for text in (*one.measured.missing, *one.measured.refused))
    )
    lines += list(dict.fromkeys(f"Left out: {text}." for one in shown for text in one.measured.notes))
    if form == VERDICTS_FORM or layout.number == 6:
        lines += [f"The paper notes: {note}" for note in layout.notes]
    return tuple(lines)


def _what(form: str, *, f1: bool) -> str:
    rule = " F1 is what anomalib's strict threshold gives (image_f1_adaptive, pixel_f1_adaptive)." if f1 else ""
    if form == PAPER_FORM:
        return f"Values are rounded to the paper's digits.{rule}"
    return (
        f"Reproduced: seed {DECLARED_SEED}.{rule} Interval: 95 % bootstrap over the test images; ± of a mean combines "
        "its categories' half-widths. The verdicts' rules: docs/findings.md."
    )


def _parameters_line(layout: PublishedTable, source: _Source) -> str:
    counts = [_parameters(source.cells[2, row, PARAMS], source) for row in layout.rows]
    ratio = f"{counts[1] / counts[0]:.1f}"
    return (
        f"Parameters up to the third layer, counted: {counts[0]:,} and {counts[1]:,}, ratio {ratio} "
        "(results/paper/parameters.csv)."
    )


def _run_lines(judgements: Sequence[Judgement], source: _Source, *, all_seeds: bool) -> list[str]:
    """A line for each place: its runs' keys by seed, and the weights they share."""
    keys = _keys(judgements, source, all_seeds=all_seeds).split()
    by_place: dict[str, list[RunRecord]] = {}
    for key in keys if keys != ["none"] else ():
        record = source.records[key]
        spec = record.spec
        place = f"{spec.dataset}/{spec.category}/{spec.backbone.name} (weights {record.weights})"
        by_place.setdefault(place, []).append(record)
    if not by_place:
        return ["Runs: none."]
    return [
        f"Runs of {place}: {', '.join(f'seed {one.spec.seed} {one.key}' for one in runs)}."
        for place, runs in by_place.items()
    ]
