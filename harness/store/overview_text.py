"""An overview as lines of text, for a terminal, a pipe or a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from harness.errors import printable
from harness.store.claims import Claims
from harness.store.overview import RunState, State, identity_of, survey
from harness.store.store import Store

LONGEST_DETAIL = 160
"""Characters of an error that a row shows; its record has all of it."""


def lines_about(store: Store, names: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[str]:
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
        header = ("dataset", "category", "backbone", "seed", "variant", "state", "detail")
        yield from table_lines(header, [_cells(run) for run in runs])
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


def _cells(one: RunState) -> tuple[str, ...]:
    detail = one.detail if len(one.detail) <= LONGEST_DETAIL else f"{one.detail[:LONGEST_DETAIL]} …"
    return (*map(str, one.run.identity), one.variant, str(one.state), detail)


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table with aligned columns, without those in which no row has anything."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    cells = [[printable(row[i]) for i in kept] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield f"  {'  '.join(padded)}".rstrip()


def write(lines: Iterable[str]) -> None:
    """Print lines, in which no name from data can steer the terminal."""
    for line in lines:
        print(printable(line))
