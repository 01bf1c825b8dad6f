"""Tables of the page as data: cells with what they show, how they sort, where they link and which badge they wear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.papers.model import ClaimVerdict, Verdict

BADGES: Mapping[str, str] = {
    Verdict.MATCH: "match",
    Verdict.CONSISTENT: "consistent",
    Verdict.DIFFERS: "differs",
    Verdict.TOO_FEW_SEEDS: "toofew",
    Verdict.NOT_RUN: "notrun",
    Verdict.NOT_COMPARABLE: "notcomparable",
    ClaimVerdict.TRUE: "match",
    ClaimVerdict.FALSE: "differs",
    ClaimVerdict.NOT_CHECKED: "notrun",
    "ok": "match",
    "failed": "differs",
}
"""Words that are outcomes -> the style they wear. The word itself is always shown, so colour says nothing alone."""

NOTHING = "–"
"""Shown where there is no value."""

TOTALS = ("Mean", "All tables")
"""Names of rows that sum up the others, and stay below them."""

_SENTENCE = 48
"""Characters from which on a text is no name."""
_NUMBER = re.compile(r"(?:± ?)?([+\-−]?\d+(?:\.\d+)?(?:[eE][+\-]?\d+)?)(?: (?:to [+\-−]?\d+(?:\.\d+)?|%))?")


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    value: float | None = None
    """What a numeric column sorts by; None sorts last."""
    badge: str | None = None
    """One of the values of `BADGES`."""
    href: str | None = None
    """`#` and an id of this page."""
    identifier: str | None = None
    """An id that links point to."""
    note: str = ""
    """Small print below the text."""


@dataclass(frozen=True)
class Grid:
    """One table of the page, made by `grid`."""

    identifier: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kinds: tuple[str, ...]
    """For each column: `number` sorts and stands as numbers, `words` holds sentences and needs room, `list`
    breaks at its commas, else `name`."""
    pinned: frozenset[int]
    """Rows that stay below the others whatever the table is sorted by: its means."""
    row_headers: bool = True
    """The first column names the row."""


def grid(
    identifier: str,
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    row_headers: bool = True,
    numeric: Sequence[bool] | None = None,
) -> Grid:
    """Make a table from texts and cells; an outcome's word gets its badge (not among numbers), a number its value.

    Args:
        numeric: for each column whether it holds numbers; default: those in which every cell has one, or nothing.
    """
    cells = tuple(tuple(part if isinstance(part, Cell) else cell(part) for part in row) for row in rows)
    by_column = [[row[i] for row in cells] for i in range(len(columns))]
    numbers = [_holds_numbers(column) for column in by_column] if numeric is None else numeric
    kinds = tuple(
        "number" if is_number else _kind(column) for is_number, column in zip(numbers, by_column, strict=True)
    )
    cells = tuple(
        tuple(replace(one, badge=None) if is_number else one for one, is_number in zip(row, numbers, strict=True))
        for row in cells
    )
    names = [row[0].text for row in cells]
    pinned = frozenset(i for i, name in enumerate(names) if name in TOTALS and names.count(name) == 1)
    return Grid(identifier, caption, tuple(columns), cells, kinds, pinned, row_headers)


def cell(text: str) -> Cell:
    """Make a cell that shows a text, with the badge and the number that are in it."""
    text = text.strip()
    number = number_in(text)
    shown = text if number is None else text.replace(" to ", "\N{NO-BREAK SPACE}to ")
    return Cell(shown or NOTHING, number, BADGES.get(text))


def amount(value: float | None, digits: int = 4, unit: str = "") -> Cell:
    """Make a cell that shows a number rounded and sorts by all of it."""
    return Cell(NOTHING) if value is None else Cell(f"{value:.{digits}f}{unit}", float(value))


def number_in(text: str) -> float | None:
    """Return the number that a text is, the lower end of a range that it is, or None where it is anything else.

    The sign may be the typographic minus. `1 of 3` is no number: it says that there is none.
    """
    match = _NUMBER.fullmatch(text)
    return float(match[1].replace("−", "-")) if match else None


def anchor(*parts: object) -> str:
    """Make an id for the page: ASCII letters, digits and hyphens; ` ._/` become hyphens, anything else its code."""
    text = "-".join(str(part) for part in parts)
    return re.sub(r"[^A-Za-z0-9-]", lambda match: "-" if match[0] in " ._/" else f"-{ord(match[0]):x}-", text)


def _holds_numbers(column: Sequence[Cell]) -> bool:
    values = [one.value is not None for one in column]
    return any(values) and all(there or one.text == NOTHING for there, one in zip(values, column, strict=True))


def _kind(column: Sequence[Cell]) -> str:
    if max((len(one.text + one.note) for one in column), default=0) > _SENTENCE:
        return "words"
    return "list" if any(", " in one.text for one in column) else "name"
