"""A table as CSV, Markdown and LaTeX text, whatever letters stand in its cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.store.files import csv_text, no_formula

PAPER_FORM, VERDICTS_FORM = "paper", "verdicts"

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
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


def csv_document(table: Table) -> str:
    """The table as CSV: a header, then a line a row with the runs it comes from; nothing else, so that readers agree.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay numbers.
    """
    header = (*table.columns, "Runs", "Protocol", "Synthetic")
    last = (table.protocol, "yes" if table.synthetic else "no")
    rows = [(*row, runs, *last) for row, runs in zip(table.rows, table.runs, strict=True)]
    return csv_text([no_formula(cell) for cell in header], [[no_formula(cell) for cell in row] for row in rows])


def markdown_document(table: Table) -> str:
    """The table in GitHub's Markdown: title, table, footer."""
    lines = [f"**{markdown_text(table.title)}**", "", _markdown_row(table.columns)]
    lines.append("|" + "|".join("---:" if right else "---" for right in table.numeric) + "|")
    lines += [_markdown_row(row) for row in table.rows]
    lines += ["", *(f"- {markdown_text(line)}" for line in table.footer)]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def markdown_text(text: str) -> str:
    """Text on one line in which nothing is markup."""
    escaped = re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", _one_line(text))
    return re.sub(r"^(\d*)([#+.)-])(?=[#-]*(?: |$))", r"\1\\\2", escaped)


def latex_document(table: Table) -> str:
    """The table as a LaTeX float over both columns, with booktabs: title as caption, footer below the rules.

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
    """Text on one line in which nothing is a command; a letter that pdfLaTeX lacks is written as [U+30C7]."""
    line = _one_line(text)
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", line):
        return line.replace("-", r"\ensuremath{-}")
    letters = (_TEX.get(letter) or (letter if _tex_has(letter) else f"[U+{ord(letter):04X}]") for letter in line)
    return "".join(letters)


def _tex_has(letter: str) -> bool:
    """Whether pdfLaTeX has it, at least in its default encoding: Latin letters up to U+017F but for some."""
    return ord(letter) < 0x180 and letter not in "«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"


def _one_line(text: str) -> str:
    """Without line breaks and other control characters."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())
