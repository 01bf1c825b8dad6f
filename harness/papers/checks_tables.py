"""Checks of the paper's sentences against its own tables; claims.toml names them and gives their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

from harness.papers.arithmetic import rounded
from harness.papers.model import Outcome, PublishedCell
from harness.papers.published import MEAN, Context


def quoted(context: Context, *, cells: Sequence[Sequence[str]]) -> Outcome:
    """Check that the prose repeats numbers of the tables; `cells` are (table, row, column, as the prose prints it)."""
    wrong = []
    for table, row, column, said in cells:
        printed = context.published.cell(int(table), row, column).printed
        if Fraction(printed) != Fraction(said):
            wrong.append(f"Table {table}, {row}, {column} is {printed}, not {said}")
    count = f"{len(cells)} numbers" if len(cells) > 1 else "the number"
    return not wrong, "; ".join(wrong) or f"{count} as in the tables"


def extreme(
    context: Context, *, row: Sequence[str], columns: Sequence[str], tables: Sequence[int], which: str
) -> Outcome:
    """Check that one row alone is `highest` or `lowest` in each of `columns`, among rows of `tables` but the means."""
    held, evidence = 0, []
    for column in columns:
        first, second, *others = _ranked(context, tables, column, highest_first=which == "highest")
        held += [str(first.table), first.row] == row and Fraction(first.printed) != Fraction(second.printed)
        evidence.append(f"{column}: {_listed([first, second, *others[:1]])}")
    holding = f"{held} of {len(columns)} columns; " if len(columns) > 1 else ""
    return held == len(columns), f"{holding}{which} first: {'; '.join(evidence)}"


def beyond(
    context: Context, *, tables: Sequence[int], column: str, limit: str, side: str, count: int | None = None
) -> Outcome:
    """Check that so many rows (all without `count`) of `tables`, the means left out, lie `above` or `below` a limit."""
    cells = _ranked(context, tables, column, highest_first=side == "above")
    sign = 1 if side == "above" else -1
    found = [cell for cell in cells if sign * (Fraction(cell.printed) - Fraction(limit)) > 0]
    others = cells[len(found) :]
    rest = f"; not: {_listed(others[:3])}" if others else ""
    holds = len(found) == (len(cells) if count is None else count)
    return holds, f"{len(found)} of {len(cells)} {side} {limit}: {_listed(found) or 'none'}{rest}"


def ranked(context: Context, *, table: int, columns: Sequence[str], rows: Sequence[str]) -> Outcome:
    """Check that the rows of a table come in this order, highest first, in every one of `columns`."""
    orders = [[cell.row for cell in _ranked(context, [table], column, highest_first=True)] for column in columns]
    evidence = (f"{column}: {' > '.join(order)}" for column, order in zip(columns, orders, strict=True))
    return all(order == rows for order in orders), "; ".join(evidence)


def changes(context: Context, *, table: int, start: str, end: str, columns: Sequence[str], direction: str) -> Outcome:
    """Check that every one of `columns` goes `up` or `down` from one row to another."""
    sign = 1 if direction == "up" else -1
    gaps = {column: _value(context, table, end, column) - _value(context, table, start, column) for column in columns}
    evidence = ", ".join(f"{column} {_signed(gap)}" for column, gap in gaps.items())
    return all(sign * gap > 0 for gap in gaps.values()), evidence


def same_run(context: Context, *, one: Sequence[str], other: Sequence[str], because: str) -> Outcome:
    """Check that two rows of one category and backbone print the same; else `because` says what that decides."""
    differing = []
    for cell in context.published.row(int(one[0]), one[1]):
        there = context.published.cell(int(other[0]), other[1], cell.column).printed
        if there != cell.printed:
            differing.append(f"{cell.column} {cell.printed} and {there}")
    if not differing:
        return True, "the same digits in every column"
    return None, f"{'; '.join(differing)}; {because}"


def widest(context: Context, *, table: int, column: str) -> Outcome:
    """Check that the rows of a table differ most in this column."""
    spans = {}
    for name in dict.fromkeys(cell.column for cell in context.published.cells if cell.table == table and cell.metric):
        values = [Fraction(cell.printed) for cell in _ranked(context, [table], name, highest_first=True)]
        spans[name] = values[0] - values[-1]
    ordered = sorted(spans, key=lambda name: -spans[name])
    evidence = ", ".join(f"{name} {rounded(spans[name], 4)}" for name in ordered)
    return ordered[0] == column, f"largest less smallest: {evidence}"


def nearest_pair(context: Context, *, table: int, pair: Sequence[str], columns: Sequence[str]) -> Outcome:
    """Check that this is the nearest of all pairs of a table's rows, in every one of `columns`."""
    holds, evidence = True, []
    for column in columns:
        gaps = {
            (one, other): abs(_value(context, table, one, column) - _value(context, table, other, column))
            for one, other in combinations(context.published.table(table).rows, 2)
        }
        ordered = sorted(gaps, key=lambda names: gaps[names])
        holds &= set(ordered[0]) == set(pair)
        evidence.append(f"{column}: {', '.join(f'{a} and {b} {rounded(gaps[a, b], 4)}' for a, b in ordered)}")
    return holds, "; ".join(evidence)


def beats(context: Context, *, table: int, row: str, over: Sequence[str], column: str, note: str) -> Outcome:
    """Check that one row is above each of the others in a column."""
    holds = all(_value(context, table, row, column) > _value(context, table, other, column) for other in over)
    return holds, f"{row} against {_margins(context, table, row, over, column)}; {note}"


def compared(context: Context, *, table: int, row: str, others: Sequence[str], column: str, because: str) -> Outcome:
    """List the differences that a comparison rests on; they decide nothing, and `because` says why."""
    return None, f"{column} against {_margins(context, table, row, others, column)}; {because}"


def baselines(context: Context, *, count: int) -> Outcome:
    """Check that Table 6 lists so many methods from the literature."""
    table = context.published.table(6)
    methods = [row for row in table.rows if not table.places[row]]
    return len(methods) == count, f"{len(methods)}: {', '.join(methods)}"


def _ranked(context: Context, tables: Sequence[int], column: str, *, highest_first: bool) -> list[PublishedCell]:
    cells = [
        cell for cell in context.published.cells if cell.table in tables and cell.column == column and cell.row != MEAN
    ]
    return sorted(cells, key=lambda cell: Fraction(cell.printed), reverse=highest_first)


def _listed(cells: Sequence[PublishedCell]) -> str:
    return ", ".join(f"{cell.row} {cell.printed}" for cell in cells)


def _margins(context: Context, table: int, row: str, others: Sequence[str], column: str) -> str:
    """List how far a row is above each of the others."""
    ours = _value(context, table, row, column)
    return ", ".join(f"{other} {_signed(ours - _value(context, table, other, column))}" for other in others)


def _value(context: Context, table: int, row: str, column: str) -> Fraction:
    return Fraction(context.published.cell(table, row, column).printed)


def _signed(difference: Fraction) -> str:
    return f"{'−' if difference < 0 else '+'}{rounded(abs(difference), 4)}"
