"""Checks of sentences against the paper's own tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

from harness.paper.claims import Check, Context, Outcome, verdict_of
from harness.paper.digits import exact, rounded
from harness.paper.model import ClaimVerdict, PublishedCell

MEAN = "Mean"


def quoted(context: Context, *, cells: Sequence[Sequence[str]]) -> Outcome:
    """The prose repeats numbers of the tables; `cells` are (table, row, column, as the prose prints it)."""
    wrong = []
    for table, row, column, said in cells:
        printed = context.published.cell(int(table), row, column).printed
        if exact(printed) != exact(said):
            wrong.append(f"Table {table}, {row}, {column} is {printed}, not {said}")
    count = f"{len(cells)} numbers" if len(cells) > 1 else "the number"
    return Outcome(verdict_of(not wrong), "; ".join(wrong) or f"{count} as in the tables")


def extreme(
    context: Context, *, row: Sequence[str], columns: Sequence[str], tables: Sequence[int], which: str
) -> Outcome:
    """One row is alone the `highest` or `lowest` in every one of `columns`, over all rows of `tables` but the means."""
    table, name = int(row[0]), row[1]
    held, evidence = [], []
    for column in columns:
        ranked = _ranked(context, tables, column, highest_first=which == "highest")
        first, second = ranked[0], ranked[1]
        holds = (first.table, first.row) == (table, name) and exact(first.printed) != exact(second.printed)
        held.append(holds)
        evidence.append(f"{column}: {', '.join(f'{cell.row} {cell.printed}' for cell in ranked[:3])}")
    holding = f"{sum(held)} of {len(columns)} columns; " if len(columns) > 1 else ""
    return Outcome(verdict_of(all(held)), f"{holding}{which} first: {'; '.join(evidence)}")


def beyond(
    context: Context, *, tables: Sequence[int], column: str, limit: str, side: str, count: int | None = None
) -> Outcome:
    """So many rows (all where `count` is absent) of `tables`, the means left out, lie `above` or `below` a limit."""
    cells = _ranked(context, tables, column, highest_first=side == "above")
    sign = 1 if side == "above" else -1
    found = [cell for cell in cells if sign * (exact(cell.printed) - exact(limit)) > 0]
    others = [cell for cell in cells if cell not in found]
    holds = len(found) == (len(cells) if count is None else count)
    listed = ", ".join(f"{cell.row} {cell.printed}" for cell in found) or "none"
    rest = f"; not: {', '.join(f'{cell.row} {cell.printed}' for cell in others[:3])}" if others else ""
    return Outcome(verdict_of(holds), f"{len(found)} of {len(cells)} {side} {limit}: {listed}{rest}")


def ranked(context: Context, *, table: int, columns: Sequence[str], rows: Sequence[str]) -> Outcome:
    """The rows of a table come in this order, highest first, in every one of `columns`."""
    orders = {
        column: [cell.row for cell in _ranked(context, [table], column, highest_first=True)] for column in columns
    }
    holds = all(order == list(rows) for order in orders.values())
    return Outcome(verdict_of(holds), "; ".join(f"{column}: {' > '.join(order)}" for column, order in orders.items()))


def changes(context: Context, *, table: int, start: str, end: str, columns: Sequence[str], direction: str) -> Outcome:
    """From one row to another every one of `columns` goes `up` or `down`."""
    sign = 1 if direction == "up" else -1
    differences = {
        column: _value(context, table, end, column) - _value(context, table, start, column) for column in columns
    }
    holds = all(sign * difference > 0 for difference in differences.values())
    evidence = ", ".join(f"{column} {_signed(difference)}" for column, difference in differences.items())
    return Outcome(verdict_of(holds), evidence)


def same_run(context: Context, *, one: Sequence[str], other: Sequence[str], because: str) -> Outcome:
    """Two rows about the same category and backbone print the same numbers; else `because` says what that decides."""
    columns = [cell.column for cell in context.published.row(int(one[0]), one[1]) if cell.metric is not None]
    pairs = {
        column: tuple(context.published.cell(int(table), row, column).printed for table, row in (one, other))
        for column in columns
    }
    differing = {column: pair for column, pair in pairs.items() if pair[0] != pair[1]}
    texts = [f"{column} {first} and {second}" for column, (first, second) in differing.items()]
    if not differing:
        return Outcome(ClaimVerdict.TRUE, "the same digits in every column")
    return Outcome(ClaimVerdict.NOT_CHECKED, f"{'; '.join(texts)}; {because}")


def widest(context: Context, *, table: int, column: str) -> Outcome:
    """The rows of a table differ most in this column."""
    columns = [name for name in context.published.table(table).value_columns if name in _metrics(context, table)]
    spans = {name: _span(_ranked(context, [table], name, highest_first=True)) for name in columns}
    ordered = sorted(spans, key=lambda name: -spans[name])
    evidence = ", ".join(f"{name} {rounded(spans[name], 4)}" for name in ordered)
    return Outcome(verdict_of(ordered[0] == column), f"largest less smallest: {evidence}")


def nearest_pair(context: Context, *, table: int, pair: Sequence[str], columns: Sequence[str]) -> Outcome:
    """Of all pairs of a table's rows this one is the nearest, in every one of `columns`."""
    rows = context.published.table(table).rows
    held, evidence = [], []
    for column in columns:
        gaps = {
            (one, other): abs(_value(context, table, one, column) - _value(context, table, other, column))
            for index, one in enumerate(rows)
            for other in rows[index + 1 :]
        }
        ordered = sorted(gaps, key=lambda names: gaps[names])
        held.append(set(ordered[0]) == set(pair))
        evidence.append(f"{column}: {', '.join(f'{a} and {b} {rounded(gaps[a, b], 4)}' for a, b in ordered)}")
    return Outcome(verdict_of(all(held)), "; ".join(evidence))


def beats(context: Context, *, table: int, row: str, over: Sequence[str], column: str, note: str) -> Outcome:
    """One row is above each of the others in a column."""
    ours = _value(context, table, row, column)
    margins = {other: ours - _value(context, table, other, column) for other in over}
    evidence = ", ".join(f"{other} {_signed(margin)}" for other, margin in margins.items())
    return Outcome(verdict_of(all(margin > 0 for margin in margins.values())), f"{row} against {evidence}; {note}")


def compared(context: Context, *, table: int, row: str, others: Sequence[str], column: str, because: str) -> Outcome:
    """The differences that a comparison rests on, where they decide nothing, and why."""
    ours = _value(context, table, row, column)
    margins = ", ".join(f"{other} {_signed(ours - _value(context, table, other, column))}" for other in others)
    return Outcome(ClaimVerdict.NOT_CHECKED, f"{column} against {margins}; {because}")


def baselines(context: Context, *, count: int) -> Outcome:
    """Table 6 lists so many methods from the literature."""
    methods = [baseline.method for baseline in context.published.baselines]
    return Outcome(verdict_of(len(methods) == count), f"{len(methods)}: {', '.join(methods)}")


def _metrics(context: Context, table: int) -> set[str]:
    return {cell.column for cell in context.published.cells if cell.table == table and cell.metric is not None}


def _ranked(context: Context, tables: Sequence[int], column: str, *, highest_first: bool) -> list[PublishedCell]:
    cells = [
        cell for cell in context.published.cells if cell.table in tables and cell.column == column and cell.row != MEAN
    ]
    return sorted(cells, key=lambda cell: exact(cell.printed), reverse=highest_first)


def _span(cells: Sequence[PublishedCell]) -> Fraction:
    return exact(cells[0].printed) - exact(cells[-1].printed)


def _value(context: Context, table: int, row: str, column: str) -> Fraction:
    return exact(context.published.cell(table, row, column).printed)


def _signed(difference: Fraction) -> str:
    return f"{'−' if difference < 0 else '+'}{rounded(abs(difference), 4)}"


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            quoted,
            extreme,
            beyond,
            ranked,
            changes,
            same_run,
            widest,
            nearest_pair,
            beats,
            compared,
            baselines,
        )
    }
)
