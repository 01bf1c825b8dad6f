"""The paper's sentences as data, what checks one, and the checks against the paper's own tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from harness.paper.arithmetic import exact, rounded
from harness.paper.model import ClaimVerdict, PublishedCell
from harness.paper.published import FOLDER, MEAN, Published, load_parameters, read_toml


@dataclass(frozen=True)
class Claim:
    """One checkable sentence."""

    identifier: str
    section: str
    says: str
    """What the paper says, in its own words where they matter."""
    check: str
    """The name of the function that checks it (`CHECKS`)."""
    arguments: Mapping[str, Any]
    """Its keyword arguments."""


@dataclass(frozen=True)
class Context:
    """What claims are held against."""

    published: Published
    facts: Mapping[str, Any]
    """results/paper/facts.toml: public facts with their sources."""
    subjects: Mapping[int, tuple[str, ...]]
    """Number in the reference list -> what a citation of it can mean."""
    names: Mapping[int, str]
    """Number in the reference list -> authors as printed there."""
    citations: tuple[tuple[str, str, int], ...]
    """(section, what is named, cited number) of every citation in the prose that names what it cites."""
    parameters: Mapping[str, int]
    """Backbone -> parameters up to the last layer read, counted on the network itself."""


@dataclass(frozen=True)
class Outcome:
    """What a check finds."""

    verdict: ClaimVerdict
    evidence: str


Check = Callable[..., Outcome]
"""`check(context, **arguments) -> Outcome`."""

CHECKS: dict[str, Check] = {}
"""By the name that claims.toml gives."""


def check(function: Check) -> Check:
    """Register a check under its name."""
    CHECKS[function.__name__] = function
    return function


def verdict_of(holds: bool) -> ClaimVerdict:
    """TRUE or FALSE."""
    return ClaimVerdict.TRUE if holds else ClaimVerdict.FALSE


def load_claims() -> tuple[Claim, ...]:
    """Read claims.toml, in its order.

    Raises:
        OSError, ValueError, KeyError: the file is not there or is no such list: a defect of the checkout.
    """
    entries = read_toml(FOLDER / "claims.toml")["claims"]
    return tuple(
        Claim(
            identifier=entry["id"],
            section=entry["section"],
            says=entry["says"],
            check=entry["check"],
            arguments=MappingProxyType(entry.get("with", {})),
        )
        for entry in entries
    )


def load_context(published: Published) -> Context:
    """Read facts.toml, references.toml and the counted parameters.

    Raises:
        OSError, ValueError, KeyError: a file is not there or is not what it should be: a defect of the checkout.
    """
    references = read_toml(FOLDER / "references.toml")
    listed = references["references"]
    return Context(
        published=published,
        facts=MappingProxyType(read_toml(FOLDER / "facts.toml")),
        subjects=MappingProxyType({entry["number"]: tuple(entry["subjects"]) for entry in listed}),
        names=MappingProxyType({entry["number"]: entry["printed"] for entry in listed}),
        citations=tuple((entry["section"], entry["subject"], entry["number"]) for entry in references["citations"]),
        parameters=load_parameters(),
    )


@check
def quoted(context: Context, *, cells: Sequence[Sequence[str]]) -> Outcome:
    """The prose repeats numbers of the tables; `cells` are (table, row, column, as the prose prints it)."""
    wrong = []
    for table, row, column, said in cells:
        printed = context.published.cell(int(table), row, column).printed
        if exact(printed) != exact(said):
            wrong.append(f"Table {table}, {row}, {column} is {printed}, not {said}")
    count = f"{len(cells)} numbers" if len(cells) > 1 else "the number"
    return Outcome(verdict_of(not wrong), "; ".join(wrong) or f"{count} as in the tables")


@check
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


@check
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


@check
def ranked(context: Context, *, table: int, columns: Sequence[str], rows: Sequence[str]) -> Outcome:
    """The rows of a table come in this order, highest first, in every one of `columns`."""
    orders = {
        column: [cell.row for cell in _ranked(context, [table], column, highest_first=True)] for column in columns
    }
    holds = all(order == list(rows) for order in orders.values())
    return Outcome(verdict_of(holds), "; ".join(f"{column}: {' > '.join(order)}" for column, order in orders.items()))


@check
def changes(context: Context, *, table: int, start: str, end: str, columns: Sequence[str], direction: str) -> Outcome:
    """From one row to another every one of `columns` goes `up` or `down`."""
    sign = 1 if direction == "up" else -1
    differences = {
        column: _value(context, table, end, column) - _value(context, table, start, column) for column in columns
    }
    holds = all(sign * difference > 0 for difference in differences.values())
    evidence = ", ".join(f"{column} {_signed(difference)}" for column, difference in differences.items())
    return Outcome(verdict_of(holds), evidence)


@check
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


@check
def widest(context: Context, *, table: int, column: str) -> Outcome:
    """The rows of a table differ most in this column."""
    columns = [name for name in context.published.table(table).value_columns if name in _metrics(context, table)]
    spans = {name: _span(_ranked(context, [table], name, highest_first=True)) for name in columns}
    ordered = sorted(spans, key=lambda name: -spans[name])
    evidence = ", ".join(f"{name} {rounded(spans[name], 4)}" for name in ordered)
    return Outcome(verdict_of(ordered[0] == column), f"largest less smallest: {evidence}")


@check
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


@check
def beats(context: Context, *, table: int, row: str, over: Sequence[str], column: str, note: str) -> Outcome:
    """One row is above each of the others in a column."""
    ours = _value(context, table, row, column)
    margins = {other: ours - _value(context, table, other, column) for other in over}
    evidence = ", ".join(f"{other} {_signed(margin)}" for other, margin in margins.items())
    return Outcome(verdict_of(all(margin > 0 for margin in margins.values())), f"{row} against {evidence}; {note}")


@check
def compared(context: Context, *, table: int, row: str, others: Sequence[str], column: str, because: str) -> Outcome:
    """The differences that a comparison rests on, where they decide nothing, and why."""
    ours = _value(context, table, row, column)
    margins = ", ".join(f"{other} {_signed(ours - _value(context, table, other, column))}" for other in others)
    return Outcome(ClaimVerdict.NOT_CHECKED, f"{column} against {margins}; {because}")


@check
def baselines(context: Context, *, count: int) -> Outcome:
    """Table 6 lists so many methods from the literature."""
    table = context.published.table(6)
    methods = [row for row in table.rows if not table.places[row]]
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
