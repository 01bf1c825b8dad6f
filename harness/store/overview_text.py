"""An overview for a person: rich tables on a terminal, plain aligned text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.store.overview import Overview, State, Survey
from harness.terminal import printable

STYLES = {State.DONE: "green", State.FAILED: "bold red", State.OTHER: "yellow", State.MISSING: "dim"}

LONGEST_DETAIL = 160
"""Characters of an error that a row shows; its record has all of it."""


@dataclass(frozen=True)
class Table:
    """Cells of text; the first row is the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    styles: tuple[str, ...] = ()
    """rich's style of each row, where rows differ."""


Block = str | Table


def blocks(survey: Survey, store: str) -> Iterator[Block]:
    """What there is to say about a store, in the order to say it."""
    if not survey.exists:
        yield f"{store} is not there yet, so everything is missing"
    for overview in survey.overviews:
        yield f"{overview.title} ({overview.name})"
        yield _run_table(overview)
        yield _totals(overview)
        yield ""
    for holder in survey.claims:
        yield f"running now: {holder.label or holder.key} ({holder})"
    if survey.unexpected:
        yield f"{_plural(survey.unexpected, 'other record')} in {store}, expected by none of these experiments"
    for problem in survey.problems:
        yield f"not counted: {problem}"


def _run_table(overview: Overview) -> Table:
    header = ("dataset", "category", "backbone", "seed", "variant", "state", "detail")
    rows = [
        (run.dataset, run.category, run.backbone, str(run.seed), state.variant, str(state.state), _cut(state.detail))
        for state in overview.runs
        for run in [state.run]
    ]
    return _without_empty(Table(header, tuple(rows), tuple(STYLES[state.state] for state in overview.runs)))


def _cut(detail: str) -> str:
    return detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]} …"


def _totals(overview: Overview) -> str:
    totals = overview.totals
    parts = [f"{totals[state]} {state}" for state in State if state in totals]
    return f"{_plural(len(overview.runs), 'run')} expected: {', '.join(parts) or 'none'}"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _without_empty(table: Table) -> Table:
    """Leave out the columns in which no row has anything."""
    kept = [i for i in range(len(table.header)) if any(row[i] for row in table.rows)]
    rows = tuple(tuple(printable(row[i]) for i in kept) for row in table.rows)
    return Table(tuple(table.header[i] for i in kept), rows, table.styles)


def plain(content: Iterable[Block]) -> str:
    """Text with aligned columns, for a pipe or a file."""
    lines: list[str] = []
    for block in content:
        lines += _aligned(block) if isinstance(block, Table) else [printable(block)]
    return "\n".join(lines) + "\n"


def _aligned(table: Table) -> Sequence[str]:
    cells = [table.header, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.header))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


def write(content: Iterable[Block]) -> None:
    """Print to standard output: in colour on a terminal, plain elsewhere."""
    if sys.stdout.isatty():
        show(content)
    else:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.stdout.write(plain(content))


def show(content: Iterable[Block]) -> None:
    """Print to a terminal, in colour."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for block in content:
        if not isinstance(block, Table):
            console.print(Text(printable(block)))
            continue
        drawn = RichTable()
        for name in block.header:
            drawn.add_column(Text(name))
        for i, row in enumerate(block.rows):
            drawn.add_row(*(Text(cell) for cell in row), style=block.styles[i] if block.styles else None)
        console.print(drawn)
