"""An overview for a person: rich tables on a terminal, plain aligned text everywhere else."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.errors import printable
from harness.store.claims import Claims
from harness.store.overview import RunState, State, identity_of, survey
from harness.store.store import Store

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


def blocks(store: Store, names: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[Block]:
    """Yield what there is to say about a store, in the order to say it; the arguments are those of `survey`.

    Raises:
        RequestError: as `survey`.
        StoreError: the store is no folder, or cannot be listed.
    """
    contents = store.records()
    experiments = survey(contents.records, names, seeds)
    if not store.path.is_dir():
        yield f"{store.path} is not there yet, so everything is missing"
    for title, runs in experiments.items():
        counts = Counter(run.state for run in runs)
        parts = [f"{counts[state]} {state}" for state in State if counts[state]]
        yield title
        yield _run_table(runs)
        yield f"{_plural(len(runs), 'run')} expected: {', '.join(parts) or 'none'}"
        yield ""
    for holder in Claims(store.path).living():
        yield f"running now: {holder.label or holder.key} ({holder})"
    expected = {one.run.identity for runs in experiments.values() for one in runs}
    unexpected = sum(identity_of(record) not in expected for record in contents.records)
    if unexpected:
        yield f"{_plural(unexpected, 'other record')} in {store.path}, expected by none of these experiments"
    for problem in contents.problems:
        yield f"not counted: {problem}"


def _run_table(runs: Sequence[RunState]) -> Table:
    """Return a row for each run, without the columns in which no row has anything."""
    header = ("dataset", "category", "backbone", "seed", "variant", "state", "detail")
    rows = []
    for one in runs:
        detail = one.detail if len(one.detail) <= LONGEST_DETAIL else f"{one.detail[:LONGEST_DETAIL]} …"
        rows.append((*map(str, one.run.identity), one.variant, str(one.state), detail))
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return Table(
        tuple(header[i] for i in kept),
        tuple(tuple(printable(row[i]) for i in kept) for row in rows),
        tuple(STYLES[one.state] for one in runs),
    )


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def plain(content: Iterable[Block]) -> str:
    """Return text with aligned columns, for a pipe or a file."""
    lines: list[str] = []
    for block in content:
        if not isinstance(block, Table):
            lines.append(printable(block))
            continue
        cells = (block.header, *block.rows)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append(f"  {'  '.join(padded)}".rstrip())
    return "\n".join(lines) + "\n"


def write(content: Iterable[Block]) -> None:
    """Print to standard output: in colour on a terminal, plain elsewhere."""
    if not sys.stdout.isatty():
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.stdout.write(plain(content))
        return
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
            drawn.add_row(*map(Text, row), style=block.styles[i] if block.styles else None)
        console.print(drawn)
