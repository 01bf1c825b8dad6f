"""Tables 1 to 6 in two forms: as the paper lays them out, and published beside reproduced, with verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.paper.arithmetic import places, rounded
from harness.paper.model import DECLARED_SEED, PAPER_METRICS, Judgement
from harness.paper.published import N_CATEGORIES, PARAMS, PublishedTable, load_parameters
from harness.paper.verdict import judge_rows
from harness.report.output import write_output
from harness.report.table_text import (
    PAPER_FORM,
    VERDICTS_FORM,
    Table,
    csv_document,
    latex_document,
    markdown_document,
)
from harness.report.words import Judged, absence, in_edition, places_run, protocol_facts, table_title

if TYPE_CHECKING:
    from harness.store import RunRecord

NOTHING = "–"
"""Where a column cannot say anything; a value that is missing says why instead."""

_BESIDE = (
    "Metric", "Published", "Reproduced", "Difference", "Seeds", "Seed range", "95 % interval", "Verdict", "Because"
)  # fmt: skip

_NUMERIC = (False, False, *[True] * 6, False, False)


def build_tables(judged: Judged) -> tuple[Table, ...]:
    """Tables 1 to 6, each in the paper's form and then with verdicts."""
    maker = _Maker(judged)
    return tuple(make(layout) for layout in judged.published.tables for make in (maker.paper_form, maker.verdicts_form))


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


@dataclass(frozen=True, eq=False)
class _Maker:
    judged: Judged

    @cached_property
    def records(self) -> dict[str, RunRecord]:
        return {record.key: record for record in self.judged.records}

    @cached_property
    def protocol(self) -> str:
        return protocol_facts(self.judged.edition).sentence

    def paper_form(self, layout: PublishedTable) -> Table:
        rows = []
        for row in layout.rows:
            cells = (self._laid_out(layout, row, column) for column in layout.columns[1:])
            keys = self._keys(self._measured(layout, [row]), all_seeds=False)
            rows.append(((self.judged.row_name(layout.number, row), *cells), keys))
        return self._table(layout, PAPER_FORM, rows)

    def verdicts_form(self, layout: PublishedTable) -> Table:
        rows = []
        joint = {(one.table, one.row): one for one in judge_rows(self.judged.judgements)}
        for row in layout.rows:
            name = self.judged.row_name(layout.number, row)
            for cell in self.judged.published.row(layout.number, row):
                judgement = self.judged.cells[layout.number, row, cell.column]
                cells = (name, cell.column, *self._beside(judgement))
                rows.append((cells, self._keys([judgement], all_seeds=True)))
            whole = joint.get((layout.number, row))
            if whole is not None:
                cells = (name, "row as a whole", *[NOTHING] * 6, str(whole.verdict), whole.reason)
                rows.append((cells, self._keys(whole.judgements, all_seeds=True)))
        return self._table(layout, VERDICTS_FORM, rows)

    def _table(self, layout: PublishedTable, form: str, rows: Sequence[tuple[tuple[str, ...], str]]) -> Table:
        shown = "Published beside reproduced."
        columns: tuple[str, ...] = (layout.columns[0], *_BESIDE)
        numeric: tuple[bool, ...] = _NUMERIC
        if form == PAPER_FORM:
            shown, columns = f"Reproduced: the store's runs at seed {DECLARED_SEED}.", layout.columns
            numeric = tuple(column in layout.value_columns for column in columns)
        return Table(
            number=layout.number,
            form=form,
            title=f"{table_title(self.judged.published, layout.number, self.judged.edition)} {shown}",
            columns=columns,
            rows=tuple(cells for cells, _ in rows),
            runs=tuple(keys for _, keys in rows),
            footer=self._footer(layout, form),
            numeric=numeric,
            protocol=self.protocol,
            synthetic=self.judged.edition.synthetic,
        )

    def _measured(self, layout: PublishedTable, rows: Sequence[str]) -> list[Judgement]:
        """The numbers of these rows that runs fill."""
        columns = [column for column in layout.value_columns if column in PAPER_METRICS]
        return [self.judged.cells[layout.number, row, column] for row in rows for column in columns]

    def _laid_out(self, layout: PublishedTable, row: str, column: str) -> str:
        """One cell of the paper's form."""
        if column not in layout.value_columns:
            return in_edition(layout.texts[row, column], self.judged.edition)
        judgement = self.judged.cells[layout.number, row, column]
        return self._reproduced(judgement) if layout.places[row] else judgement.cell.printed

    def _reproduced(self, judgement: Judgement) -> str:
        """A cell's own value with as many digits as the paper's, or why there is none."""
        cell, measured = judgement.cell, judgement.measured
        if cell.column == PARAMS:
            return rounded(self._parameters(judgement) / 1e6, places(cell.printed))
        if cell.column == N_CATEGORIES:
            n = places_run(self.judged.cells[cell.table, cell.row, "Img AUROC"])
            return str(n) if n == len(cell.places) else f"{n} of {len(cell.places)}"
        if cell.metric is None:
            return "literature"
        return absence(judgement) if measured.declared is None else rounded(measured.declared, places(cell.printed))

    def _parameters(self, judgement: Judgement) -> int:
        return load_parameters()[self.judged.edition.backbones[judgement.cell.places[0].backbone]]

    def _beside(self, judgement: Judgement) -> tuple[str, ...]:
        """One published number: published, reproduced, difference, seeds, their range, interval, verdict, why."""
        cell, measured = judgement.cell, judgement.measured
        digits, n_seeds, gap = places(cell.printed), len(measured.by_seed), judgement.difference
        interval = _span(measured.interval, digits)
        if measured.interval is None and measured.half_width is not None:  # of a mean: it combines its categories'
            interval = f"± {rounded(measured.half_width, digits)}"
        return (
            cell.printed,
            self._reproduced(judgement),
            NOTHING if gap is None else f"{gap:+.{digits}f}",
            str(n_seeds or NOTHING),
            _span(measured.seed_range if n_seeds > 1 else None, digits),
            interval,
            str(judgement.verdict),
            judgement.reason,
        )

    def _keys(self, judgements: Sequence[Judgement], *, all_seeds: bool) -> str:
        keys = dict.fromkeys(key for one in judgements for key in one.measured.keys)
        chosen = [key for key in keys if all_seeds or self.records[key].spec.seed == DECLARED_SEED]
        return " ".join(chosen) or "none"

    def _footer(self, layout: PublishedTable, form: str) -> tuple[str, ...]:
        shown = self._measured(layout, layout.rows)
        rule = " F1 is what anomalib's strict threshold gives (image_f1_adaptive, pixel_f1_adaptive)."
        f1 = rule if "Img F1" in layout.columns else ""
        beside = (
            f"Reproduced: seed {DECLARED_SEED}.{f1} Interval: 95 % bootstrap over the test images; ± of a mean "
            "combines its categories' half-widths. The verdicts' rules: docs/findings.md."
        )
        lines = [f"Values are rounded to the paper's digits.{f1}" if form == PAPER_FORM else beside, self.protocol]
        if layout.number == 2:
            small, large = (self._parameters(self.judged.cells[2, row, PARAMS]) for row in layout.rows)
            lines.append(
                f"Parameters up to the third layer, counted: {small:,} and {large:,}, ratio {large / small:.1f} "
                "(results/paper/parameters.csv)."
            )
        if layout.number == 5:
            lines.append("A mean is given only where every one of its N categories has a run that counts.")
        lines += self._run_lines(self._keys(shown, all_seeds=form == VERDICTS_FORM))
        measured = [one.measured for one in shown]
        lines += dict.fromkeys(f"No value: {text}." for one in measured for text in (*one.missing, *one.refused))
        lines += dict.fromkeys(f"Left out: {text}." for one in measured for text in one.notes)
        if form == VERDICTS_FORM or layout.number == 6:
            lines += [f"The paper notes: {note}" for note in layout.notes]
        return tuple(lines)

    def _run_lines(self, keys: str) -> list[str]:
        """A line for each place: its runs' keys by seed, and the weights they share."""
        by_place: dict[str, list[str]] = {}
        for key in keys.split() if keys != "none" else ():
            record = self.records[key]
            spec = record.spec
            place = f"{spec.dataset}/{spec.category}/{spec.backbone.name} (weights {record.weights})"
            by_place.setdefault(place, []).append(f"seed {spec.seed} {key}")
        return [f"Runs of {place}: {', '.join(runs)}." for place, runs in by_place.items()] or ["Runs: none."]


def _span(span: tuple[float, float] | None, digits: int) -> str:
    return NOTHING if span is None else f"{rounded(span[0], digits)} to {rounded(span[1], digits)}"
