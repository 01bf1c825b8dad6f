"""Checks of a paper's sentences: against its own tables, official counts, its reference list, and anomalib's source.

claims.toml names them and gives their arguments: `check(published, **arguments) -> Checked`. What only one paper needs
is in the module that is named as its folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import distribution, version
from itertools import combinations
from pathlib import Path
from typing import Literal

from harness.data.catalog import CATALOG
from harness.papers.arithmetic import rounded
from harness.papers.model import Checked, PublishedCell
from harness.papers.published import Published


def quoted(published: Published, *, cells: Sequence[Sequence[str]]) -> Checked:
    """Check that the prose repeats numbers of the tables; `cells` are (table, row, column, as the prose prints it)."""
    wrong = []
    for table, row, column, said in cells:
        printed = published.cell(int(table), row, column).printed
        if Fraction(printed) != Fraction(said):
            wrong.append(f"Table {table}, {row}, {column} is {printed}, not {said}")
    count = f"{len(cells)} numbers" if len(cells) > 1 else "the number"
    return not wrong, "; ".join(wrong) or f"{count} as in the tables"


def extreme(
    published: Published,
    *,
    row: Sequence[str],
    columns: Sequence[str],
    tables: Sequence[int],
    which: Literal["highest", "lowest"],
) -> Checked:
    """Check that one row alone is `highest` or `lowest` in each of `columns`, among rows of `tables` but the means."""
    held, evidence = 0, []
    for column in columns:
        first, second, *others = _ranked(published, tables, column, highest_first=which == "highest")
        held += [str(first.table), first.row] == row and Fraction(first.printed) != Fraction(second.printed)
        evidence.append(f"{column}: {_listed([first, second, *others[:1]])}")
    holding = f"{held} of {len(columns)} columns; " if len(columns) > 1 else ""
    return held == len(columns), f"{holding}{which} first: {'; '.join(evidence)}"


def beyond(
    published: Published,
    *,
    tables: Sequence[int],
    column: str,
    limit: str,
    side: Literal["above", "below"],
    count: int | None = None,
) -> Checked:
    """Check that so many rows (all without `count`) of `tables`, the means left out, lie `above` or `below` a limit."""
    cells = _ranked(published, tables, column, highest_first=side == "above")
    sign = 1 if side == "above" else -1
    found = [cell for cell in cells if sign * (Fraction(cell.printed) - Fraction(limit)) > 0]
    others = cells[len(found) :]
    rest = f"; not: {_listed(others[:3])}" if others else ""
    holds = len(found) == (len(cells) if count is None else count)
    return holds, f"{len(found)} of {len(cells)} {side} {limit}: {_listed(found) or 'none'}{rest}"


def ranked(published: Published, *, table: int, columns: Sequence[str], rows: Sequence[str]) -> Checked:
    """Check that the rows of a table come in this order, highest first, in every one of `columns`."""
    orders = [[cell.row for cell in _ranked(published, [table], column, highest_first=True)] for column in columns]
    evidence = (f"{column}: {' > '.join(order)}" for column, order in zip(columns, orders, strict=True))
    return all(order == rows for order in orders), "; ".join(evidence)


def changes(
    published: Published, *, table: int, start: str, end: str, columns: Sequence[str], direction: Literal["up", "down"]
) -> Checked:
    """Check that every one of `columns` goes `up` or `down` from one row to another."""
    sign = 1 if direction == "up" else -1
    gaps = {
        column: _value(published, table, end, column) - _value(published, table, start, column) for column in columns
    }
    evidence = ", ".join(f"{column} {_signed(gap)}" for column, gap in gaps.items())
    return all(sign * gap > 0 for gap in gaps.values()), evidence


def same_run(published: Published, *, one: Sequence[str], other: Sequence[str], because: str) -> Checked:
    """Check that two rows of one category and backbone print the same; else `because` says what that decides."""
    differing, cells = [], published.row(int(one[0]), one[1])
    if not cells:
        raise ValueError(f"there is no row {one}")
    for cell in cells:
        there = published.cell(int(other[0]), other[1], cell.column).printed
        if there != cell.printed:
            differing.append(f"{cell.column} {cell.printed} and {there}")
    if not differing:
        return True, "the same digits in every column"
    return None, f"{'; '.join(differing)}; {because}"


def widest(published: Published, *, table: int, column: str) -> Checked:
    """Check that the rows of a table differ most in this column."""
    spans = {}
    for name in dict.fromkeys(cell.column for cell in published.cells if cell.table == table and cell.metric):
        values = [Fraction(cell.printed) for cell in _ranked(published, [table], name, highest_first=True)]
        spans[name] = values[0] - values[-1]
    ordered = sorted(spans, key=lambda name: -spans[name])
    evidence = ", ".join(f"{name} {rounded(spans[name], 4)}" for name in ordered)
    if column not in spans:
        raise ValueError(f"table {table} has no column {column!r}")
    return ordered[0] == column, f"largest less smallest: {evidence}"


def nearest_pair(published: Published, *, table: int, pair: Sequence[str], columns: Sequence[str]) -> Checked:
    """Check that this is the nearest of all pairs of a table's rows, in every one of `columns`."""
    holds, evidence = True, []
    for column in columns:
        gaps = {
            (one, other): abs(_value(published, table, one, column) - _value(published, table, other, column))
            for one, other in combinations(published.table(table).names, 2)
        }
        ordered = sorted(gaps, key=lambda names: gaps[names])
        holds &= set(ordered[0]) == set(pair)
        evidence.append(f"{column}: {', '.join(f'{a} and {b} {rounded(gaps[a, b], 4)}' for a, b in ordered)}")
    return holds, "; ".join(evidence)


def beats(published: Published, *, table: int, row: str, over: Sequence[str], column: str, note: str) -> Checked:
    """Check that one row is above each of the others in a column."""
    holds = all(_value(published, table, row, column) > _value(published, table, other, column) for other in over)
    return holds, f"{row} against {_margins(published, table, row, over, column)}; {note}"


def compared(
    published: Published, *, table: int, row: str, others: Sequence[str], column: str, because: str
) -> Checked:
    """List the differences that a comparison rests on; they decide nothing, and `because` says why."""
    return None, f"{column} against {_margins(published, table, row, others, column)}; {because}"


def images(published: Published, *, dataset: str, part: str, value: int, note: str = "") -> Checked:
    """Check that a dataset has so many images in `train`, `test`, `all`, or with a mask (`annotated`)."""
    counts = CATALOG[dataset].categories.values()
    train = sum(each.train for each in counts)
    normal = sum(each.test_normal for each in counts)
    annotated = sum(each.test_anomalous for each in counts)
    found = {"train": train, "test": normal + annotated, "all": train + normal + annotated, "annotated": annotated}
    official = f"{train} train; {normal} normal and {annotated} defective test; {found['all']} in all"
    evidence = f"{found[part]}; official counts: {official}"
    return found[part] == value, f"{evidence}; {note}" if note else evidence


def categories(published: Published, *, dataset: str, value: int) -> Checked:
    """Check that a dataset has so many categories."""
    names = list(CATALOG[dataset].categories)
    return len(names) == value, f"{len(names)}: {', '.join(names)}"


def introduced(published: Published, *, dataset: str, by: str, year: int) -> Checked:
    """Check that a dataset was published by someone in a year."""
    citation = CATALOG[dataset].citation
    return by in citation and str(year) in citation, citation


def evaluated(published: Published, *, dataset: str, count: int, of: int) -> Checked:
    """Check that the tables evaluate so many of a dataset's so many categories."""
    places = {place.category for cell in published.cells for place in cell.places if place.dataset == dataset}
    total = len(CATALOG[dataset].categories)
    return (len(places), total) == (count, of), f"{len(places)} of {total}: {', '.join(sorted(places))}"


def prose_citations(published: Published) -> Checked:
    """Check that every citation in the prose that names what it cites leads to that entry of the reference list."""
    wrong = [
        f"{section} cites [{number}], {' or '.join(published.subjects[number])}, for {subject}"
        for section, subject, number in published.citations
        if subject not in published.subjects[number]
    ]
    total = len(published.citations)
    return not wrong, "; ".join([f"{total - len(wrong)} of {total} lead to what they name", *wrong])


def author(published: Published, *, number: int, printed: str, dataset: str) -> Checked:
    """Check that a name of the reference list is spelt as the dataset's own publication spells it."""
    citation, listed = CATALOG[dataset].citation, published.names[number]
    evidence = f"the list prints “{listed}”; the publication’s authors: {citation.partition(':')[0]}"
    return printed in citation and printed in listed, evidence


def not_checked(published: Published, *, because: str) -> Checked:
    """Leave a claim open: nothing at hand decides it."""
    return None, because


def source(published: Published, *, file: str, finds: Sequence[str], verdict: str, evidence: str) -> Checked:
    """Check that anomalib's own code does what `evidence` says: each expression of `finds` matches in one of its files.

    Args:
        file: below the installed package, which is read, not imported.
        verdict: of the claim, where the code is as expected: `true`, `false` or anything else.
    """
    text = _anomalib_source(file)
    missing = [expression for expression in finds if re.search(expression, text) is None]
    if missing:
        return None, f"anomalib {version('anomalib')}'s {file} has no {missing[0]!r} any more"
    holds = {"true": True, "false": False}.get(verdict)
    return holds, f"{evidence} (anomalib {version('anomalib')}, {Path(file).name})"


def _ranked(published: Published, tables: Sequence[int], column: str, *, highest_first: bool) -> list[PublishedCell]:
    cells = [
        cell
        for cell in published.cells
        if cell.table in tables and cell.column == column and not published.is_mean(cell)
    ]
    for table in tables:
        if table not in {cell.table for cell in cells}:
            raise ValueError(f"table {table} has no number of {column!r}")
    return sorted(cells, key=lambda cell: Fraction(cell.printed), reverse=highest_first)


def _listed(cells: Sequence[PublishedCell]) -> str:
    return ", ".join(f"{cell.row} {cell.printed}" for cell in cells)


def _margins(published: Published, table: int, row: str, others: Sequence[str], column: str) -> str:
    """List how far a row is above each of the others."""
    ours = _value(published, table, row, column)
    return ", ".join(f"{other} {_signed(ours - _value(published, table, other, column))}" for other in others)


def _value(published: Published, table: int, row: str, column: str) -> Fraction:
    return Fraction(published.cell(table, row, column).printed)


def _signed(difference: Fraction) -> str:
    return f"{'−' if difference < 0 else '+'}{rounded(abs(difference), 4)}"


def _anomalib_source(file: str) -> str:
    path = Path(str(distribution("anomalib").locate_file("anomalib"))) / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""
