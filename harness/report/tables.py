"""A paper's tables: as the paper lays them out, and published beside reproduced; as CSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.papers.arithmetic import places, rounded
from harness.papers.model import Judgement, Quantity
from harness.papers.published import PublishedTable
from harness.papers.reading import load_parameters
from harness.papers.verdict import caveats, judge_rows, shown_p
from harness.report.output import write_output
from harness.report.words import Judged, absence, in_edition, places_run, protocol_facts, table_title
from harness.store.files import csv_text, no_formula

if TYPE_CHECKING:
    from harness.store import RunRecord

PAPER_FORM, VERDICTS_FORM = "paper", "verdicts"

NOTHING = "–"
"""Where a column cannot say anything; a value that is missing says why instead."""

_BESIDE = (
    "Metric", "Published", "Reproduced", "Difference", "Seeds", "One more seed", "p", "Other images", "Verdict",
    "Because",
)  # fmt: skip

_NUMERIC = (False, False, *[True] * 7, False, False)

_TEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "{}$&%#"},
    "_": r"\_\allowbreak{}",
    "/": r"/\allowbreak{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "–": "--",
    "—": "---",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "−": r"\ensuremath{-}",
}


@dataclass(frozen=True)
class Table:
    """One table in one form, as text: nothing in it depends on how it is written."""

    number: int
    form: str
    """`paper` or `verdicts`."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """A cell for each column, none of them empty."""
    runs: tuple[str, ...]
    """For each row the keys of the runs behind it, with spaces between them, or `none`."""
    footer: tuple[str, ...]
    """Lines below the table: what the values are, the protocol, the runs' keys, and what is missing and why."""
    numeric: tuple[bool, ...]
    """For each column whether it holds numbers, and so is set to the right."""
    protocol: str
    synthetic: bool

    @property
    def stem(self) -> str:
        """File name without its ending."""
        return f"table{self.number}" if self.form == PAPER_FORM else f"table{self.number}_{self.form}"


def build_tables(judged: Judged) -> tuple[Table, ...]:
    """Build a paper's tables, each in the paper's form and then with verdicts."""
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
        if not any(one.cell.metric for one in self.judged.judgements):
            return "No protocol: none of this paper's numbers is compared with a run."
        return protocol_facts(self.judged.published, self.judged.edition).sentence

    @cached_property
    def seed(self) -> int:
        return self.judged.edition.declared_seed

    def paper_form(self, layout: PublishedTable) -> Table:
        rows = []
        for row in layout.names:
            cells = (self._laid_out(layout, row, column) for column in layout.columns[1:])
            keys = self._keys(self.judged.numbers(layout.number, [row]), all_seeds=False)
            rows.append(((self.judged.row_name(layout.number, row), *cells), keys))
        return self._table(layout, PAPER_FORM, rows)

    def verdicts_form(self, layout: PublishedTable) -> Table:
        rows = []
        joint = {(one.table, one.row): one for one in judge_rows(self.judged.judgements, self.judged.edition)}
        for row in layout.names:
            name = self.judged.row_name(layout.number, row)
            for cell in self.judged.published.row(layout.number, row):
                judgement = self.judged.cells[layout.number, row, cell.column]
                cells = (name, cell.column, *self._beside(judgement))
                rows.append((cells, self._keys([judgement], all_seeds=True)))
            whole = joint.get((layout.number, row))
            if whole is not None:
                n = str(whole.test.n) if whole.test else NOTHING
                p = shown_p(whole.test.p) if whole.test else NOTHING
                cells = (
                    name,
                    "row as a whole",
                    *[NOTHING] * 3,
                    n,
                    NOTHING,
                    p,
                    NOTHING,
                    str(whole.verdict),
                    whole.reason,
                )
                rows.append((cells, self._keys(whole.judgements, all_seeds=True)))
        return self._table(layout, VERDICTS_FORM, rows)

    def _table(self, layout: PublishedTable, form: str, rows: Sequence[tuple[tuple[str, ...], str]]) -> Table:
        shown = "Published beside reproduced."
        columns: tuple[str, ...] = (layout.columns[0], *_BESIDE)
        numeric: tuple[bool, ...] = _NUMERIC
        if form == PAPER_FORM:
            shown, columns = f"Reproduced: the store's runs at seed {self.seed}.", layout.columns
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

    def _laid_out(self, layout: PublishedTable, row: str, column: str) -> str:
        """Fill one cell of the paper's form."""
        if column not in layout.value_columns:
            return in_edition(layout.row(row).texts[column], self.judged.edition)
        judgement = self.judged.cells[layout.number, row, column]
        return self._reproduced(judgement) if judgement.cell.places else judgement.cell.printed

    def _reproduced(self, judgement: Judgement) -> str:
        """Write a cell's own value with as many digits as the paper's, or why there is none."""
        cell, measured = judgement.cell, judgement.measured
        if cell.quantity is Quantity.PARAMETERS:
            return rounded(self._parameters(judgement) / 1e6, places(cell.printed))
        if cell.quantity is Quantity.CATEGORIES:
            n = places_run(self.judged.numbers(cell.table, [cell.row])[0])
            return str(n) if n == len(cell.places) else f"{n} of {len(cell.places)}"
        if cell.metric is None:
            return "literature"
        return absence(judgement) if measured.declared is None else rounded(measured.declared, places(cell.printed))

    def _parameters(self, judgement: Judgement) -> int:
        return load_parameters()[self.judged.edition.backbones[judgement.cell.places[0].backbone]]

    def _beside(self, judgement: Judgement) -> tuple[str, ...]:
        """Fill one number's row: published, reproduced, difference, seeds, both 95 % intervals, verdict and why."""
        cell, measured = judgement.cell, judgement.measured
        digits, n_seeds, gap = places(cell.printed), len(measured.by_seed), judgement.difference
        prediction = judgement.prediction
        interval = _span(measured.interval, digits)
        if measured.interval is None and measured.half_width is not None:  # of a mean: it combines its categories'
            interval = f"± {rounded(measured.half_width, digits)}"
        return (
            cell.printed,
            self._reproduced(judgement),
            NOTHING if gap is None else f"{gap:+.{digits}f}",
            str(n_seeds or NOTHING),
            _span((prediction.low, prediction.high) if prediction else None, digits),
            NOTHING if judgement.p is None else shown_p(judgement.p),
            interval,
            str(judgement.verdict),
            judgement.reason,
        )

    def _keys(self, judgements: Sequence[Judgement], *, all_seeds: bool) -> str:
        keys = dict.fromkeys(key for one in judgements for key in one.measured.keys)
        chosen = [key for key in keys if all_seeds or self.records[key].spec.seed == self.seed]
        return " ".join(chosen) or "none"

    def _footer(self, layout: PublishedTable, form: str) -> tuple[str, ...]:
        shown = self.judged.numbers(layout.number, layout.names)
        rule = " F1 is what anomalib's strict threshold gives (image_f1_strict, pixel_f1_strict)."
        f1 = rule if any((one.cell.metric or "").endswith("f1_strict") for one in shown) else ""
        beside = (
            f"Reproduced: seed {self.seed}.{f1} One more seed: where its number would lie, 95 %; p is the "
            "published number's as one more seed's. Other images: 95 % interval for other test images, which no "
            "verdict uses; ± of a mean combines its categories' half-widths. The verdicts' rules: docs/findings.md."
        )
        lines = [f"Values are rounded to the paper's digits.{f1}" if form == PAPER_FORM else beside, self.protocol]
        quantities = [one for one in self.judged.judgements if one.cell.table == layout.number and one.cell.quantity]
        counted = [self._parameters(one) for one in quantities if one.cell.quantity is Quantity.PARAMETERS]
        if counted:
            listed = " and ".join(f"{count:,}" for count in counted)
            lines.append(
                f"Parameters up to the last layer that is read, counted: {listed}, ratio "
                f"{max(counted) / min(counted):.1f} (results/parameters.csv)."
            )
        if any(one.cell.quantity is Quantity.CATEGORIES for one in quantities):
            lines.append("A mean is given only where every one of its N categories has a run that counts.")
        lines += self._run_lines(self._keys(shown, all_seeds=form == VERDICTS_FORM))
        measured = [one.measured for one in shown]
        lines += dict.fromkeys(f"No value: {text}." for one in measured for text in (*one.missing, *one.refused))
        lines += dict.fromkeys(f"Left out: {text}." for one in measured for text in one.notes)
        if form == VERDICTS_FORM and not self.judged.edition.synthetic:
            lines += caveats(self.judged.published)
        if form == VERDICTS_FORM or layout.notes_below:
            lines += [f"The paper notes: {note}" for note in layout.notes]
        return tuple(lines)

    def _run_lines(self, keys: str) -> list[str]:
        """Write a line for each place: its runs' keys by seed, and the weights they share."""
        by_place: dict[str, list[str]] = {}
        for key in keys.split() if keys != "none" else ():
            record = self.records[key]
            spec = record.spec
            place = f"{spec.dataset}/{spec.category}/{spec.backbone.name} (weights {record.weights})"
            by_place.setdefault(place, []).append(f"seed {spec.seed} {key}")
        return [f"Runs of {place}: {', '.join(runs)}." for place, runs in by_place.items()] or ["Runs: none."]


def _span(span: tuple[float, float] | None, digits: int) -> str:
    return NOTHING if span is None else f"{rounded(span[0], digits)} to {rounded(span[1], digits)}"


def csv_document(table: Table) -> str:
    """Write the table as CSV: a header, then a line for each row with its runs; nothing else, so that readers agree.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay numbers.
    """
    header = (*table.columns, "Runs", "Protocol", "Synthetic")
    last = (table.protocol, "yes" if table.synthetic else "no")
    rows = [(*row, runs, *last) for row, runs in zip(table.rows, table.runs, strict=True)]
    return csv_text([no_formula(cell) for cell in header], [[no_formula(cell) for cell in row] for row in rows])


def markdown_document(table: Table) -> str:
    """Write the table in GitHub's Markdown: title, table, footer."""
    lines = [f"**{markdown_text(table.title)}**", "", _markdown_row(table.columns)]
    lines.append("|" + "|".join("---:" if right else "---" for right in table.numeric) + "|")
    lines += [_markdown_row(row) for row in table.rows]
    lines += ["", *(f"- {markdown_text(line)}" for line in table.footer)]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def markdown_text(text: str) -> str:
    """Put a text on one line in which nothing is markup."""
    escaped = re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", _one_line(text))
    return re.sub(r"^(\d*)([#+.)-])(?=[#-]*(?: |$))", r"\1\\\2", escaped)


def latex_document(table: Table) -> str:
    """Write the table as a LaTeX float over both columns, with booktabs: title as caption, footer below the rules.

    Where a table has several rows of one name, the name becomes a line of its own above them.
    """
    grouped = table.form == VERDICTS_FORM
    first = 1 if grouped else 0
    # For a document that counts its own tables.
    caption = table.title.replace(f"Table {table.number}. ", f"Table {table.number} of the paper. ", 1)
    columns = "".join("r" if right else "l" for right in table.numeric[first:])
    columns = f"{columns[:-1]}>{{\\raggedright\\arraybackslash}}p{{0.2\\textwidth}}" if grouped else columns
    lines: list[str] = []
    for number, row in enumerate(table.rows):
        if grouped and (number == 0 or row[0] != table.rows[number - 1][0]):
            lines += [r"\addlinespace"] if number else []
            lines.append(rf"\multicolumn{{{len(row) - 1}}}{{l}}{{\textbf{{{latex_text(row[0])}}}}} \\")
        lines.append(_latex_row(row[first:]))
    return "\n".join(
        [
            "% Needs \\usepackage{array,booktabs}.",
            *(["% SYNTHETIC: the images are drawn by the harness."] if table.synthetic else []),
            r"\begin{table*}[t]",
            r"\centering\scriptsize" if grouped else r"\centering\footnotesize",
            *([r"\setlength{\tabcolsep}{2.4pt}"] if grouped else []),
            rf"\caption{{{latex_text(caption)}}}",
            rf"\label{{tab:{table.stem.replace('_', '-')}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row(table.columns[first:]),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip\begin{minipage}{\textwidth}\scriptsize\raggedright",
            *(rf"\par {latex_text(line)}" for line in table.footer),
            r"\end{minipage}",
            r"\end{table*}",
            "",
        ]
    )


def _latex_row(cells: Sequence[str]) -> str:
    # The braces keep a cell that begins with a bracket from being the optional argument of the line break before it.
    return " & ".join(f"{{{latex_text(cell)}}}" for cell in cells) + r" \\"


def latex_text(text: str) -> str:
    """Put a text on one line in which nothing is a command; a letter that pdfLaTeX lacks is written as [U+30C7]."""
    line = _one_line(text)
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", line):
        return line.replace("-", r"\ensuremath{-}")
    letters = (_TEX.get(letter) or (letter if _tex_has(letter) else f"[U+{ord(letter):04X}]") for letter in line)
    return "".join(letters)


def _tex_has(letter: str) -> bool:
    """Tell whether pdfLaTeX has a letter, at least in its default encoding: Latin ones up to U+017F but for some."""
    return ord(letter) < 0x180 and letter not in "«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"


def _one_line(text: str) -> str:
    """Take line breaks and other control characters out of a text."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())
