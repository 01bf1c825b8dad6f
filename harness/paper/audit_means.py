"""Audit, part a: every mean row recomputed from its rows, and every row that repeats another table's mean."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from harness.paper.digits import exact, prints_as, rounded, unit
from harness.paper.model import ClaimVerdict, Finding, PublishedCell
from harness.paper.published import Published

MEAN = "Mean"

REPEATED = (
    (5, "MVTec AD", 1, MEAN),
    (5, "VisA", 3, MEAN),
    (5, "BTAD", 4, MEAN),
    (6, "PaDiM-ResNet-18 (Ours)*", 1, MEAN),
    (6, "PaDiM-WRN-50-2 (Ours, Bottle)", 2, "Wide-ResNet-50-2, n = 256 (24.9 M)"),
)
"""(table, row) that prints again what stands in another (table, row)."""


def audit_means(published: Published) -> Iterator[Finding]:
    """One finding for each number of a mean row, then one for each row that repeats another."""
    for cell in published.cells:
        if cell.row == MEAN:
            yield _mean(published, cell)
    for table, row, origin, origin_row in REPEATED:
        yield _repeated(published, table, row, origin, origin_row)


def _mean(published: Published, cell: PublishedCell) -> Finding:
    parts = [
        other
        for other in published.cells
        if other.table == cell.table and other.column == cell.column and other != cell
    ]
    mean = sum((exact(part.printed) for part in parts), Fraction(0)) / len(parts)
    # Each part was rounded before it was printed, so the mean that the authors rounded is known to half a unit.
    possible = abs(mean - exact(cell.printed)) <= unit(cell.printed)
    if prints_as(mean, cell.printed):
        outcome = f"prints as {cell.printed}"
    elif possible:
        outcome = f"prints as {rounded(mean, 4)}, but the parts' own rounding allows {cell.printed}"
    else:
        outcome = f"cannot print as {cell.printed}, however the parts were rounded"
    terms = " + ".join(part.printed for part in parts)
    return Finding(
        identifier=f"mean-table{cell.table}-{cell.column.lower().replace(' ', '-')}",
        kind="mean",
        section=cell.section,
        statement=f"Table {cell.table}, mean {cell.column}: {cell.printed}",
        verdict=ClaimVerdict.TRUE if possible else ClaimVerdict.FALSE,
        evidence=f"({terms}) / {len(parts)} = {rounded(mean, 6)}: {outcome}",
    )


def _repeated(published: Published, table: int, row: str, origin: int, origin_row: str) -> Finding:
    pairs = [
        (cell.column, cell.printed, published.cell(origin, origin_row, cell.column).printed)
        for cell in published.row(table, row)
        if cell.metric is not None
    ]
    differing = [f"{column} {here}, there {there}" for column, here, there in pairs if here != there]
    agreed = ", ".join(f"{column} {here}" for column, here, _ in pairs)
    return Finding(
        identifier=f"repeated-table{table}-{row.split(maxsplit=1)[0].lower()}",
        kind="mean",
        section=published.table(table).section,
        statement=f"Table {table}, {row}: the numbers of Table {origin}, {origin_row}",
        verdict=ClaimVerdict.FALSE if differing else ClaimVerdict.TRUE,
        evidence="; ".join(differing) or f"the same digits: {agreed}",
    )
