"""Audit of the numbers: mean rows recomputed, and image numbers against the official counts of test images.

Parts a (means and repeated rows), b (each image number alone) and c (AUROC beside F1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from harness.data.catalog import CATALOG
from harness.papers.arithmetic import (
    RADIUS,
    Classes,
    Counts,
    auroc_halves,
    auroc_limits,
    auroc_share,
    f1_counts,
    f1_share,
    least_f1_max,
    places,
    prints_as,
    readings,
    rounded,
    unit,
)
from harness.papers.model import ClaimVerdict, Finding, PublishedCell
from harness.papers.published import Published

SHOWN = 4
"""Witnesses that the evidence lists."""


def audit_means(published: Published) -> Iterator[Finding]:
    """Yield one finding for each number of a mean row, then one for each row that repeats another."""
    for cell in published.cells:
        if published.is_mean(cell):
            yield _mean(published, cell)
    for table in published.tables:
        for row in table.rows:
            if row.repeats is not None:
                yield _repeated(published, table.number, row.name, row.repeats.table, row.repeats.row)


def _mean(published: Published, cell: PublishedCell) -> Finding:
    where = (cell.table, cell.column)
    alone = [(place,) for place in cell.places]
    parts = [part for part in published.cells if (part.table, part.column) == where and part.places in alone]
    mean = sum((Fraction(part.printed) for part in parts), Fraction(0)) / len(parts)
    # Each part was rounded before it was printed, so the mean that the authors rounded is known to half a unit.
    possible = abs(mean - Fraction(cell.printed)) <= unit(cell.printed)
    if prints_as(mean, cell.printed):
        outcome = f"prints as {cell.printed}"
    elif possible:
        outcome = f"prints as {rounded(mean, places(cell.printed))}, but the parts' own rounding allows {cell.printed}"
    else:
        outcome = f"cannot print as {cell.printed}, however the parts were rounded"
    several = sum(row.mean for row in published.table(cell.table).rows) > 1
    name = cell.row.lower().replace("_", "-") if several else "mean"
    terms = " + ".join(part.printed for part in parts)
    return Finding(
        identifier=f"{name}-table{cell.table}-{cell.column.lower().replace(' ', '-')}",
        kind="mean",
        section=cell.section,
        statement=f"Table {cell.table}, {name.replace('-', ' of ')} {cell.column}: {cell.printed}",
        verdict=_verdict(possible),
        evidence=f"({terms}) / {len(parts)} = {rounded(mean, 6)}: {outcome}",
    )


def _repeated(published: Published, table: int, row: str, origin: int, origin_row: str) -> Finding:
    differing, agreed = [], []
    for cell in published.row(table, row):
        if cell.metric is None:
            continue
        there = published.cell(origin, origin_row, cell.column).printed
        agreed.append(f"{cell.column} {cell.printed}")
        if cell.printed != there:
            differing.append(f"{cell.column} {cell.printed}, there {there}")
    return Finding(
        identifier=f"repeated-table{table}-{row.split(maxsplit=1)[0].lower()}",
        kind="mean",
        section=published.table(table).section,
        statement=f"Table {table}, {row}: the numbers of Table {origin}, {origin_row}",
        verdict=_verdict(not differing),
        evidence="; ".join(differing) or f"the same digits: {', '.join(agreed)}",
    )


def _verdict(holds: bool) -> ClaimVerdict:
    return ClaimVerdict.TRUE if holds else ClaimVerdict.FALSE


@dataclass(frozen=True)
class ImageRow:
    """A published row of one category: its image-level numbers and its test images."""

    table: int
    row: str
    section: str
    auroc: str
    f1: str
    columns: tuple[str, str]
    """AUROC's and F1's, as printed."""
    classes: Classes
    n_train: int
    """Official training images."""

    @property
    def slug(self) -> str:
        """Its name in identifiers."""
        return f"table{self.table}-{self.row.split()[0].strip(',').lower()}"

    @property
    def images(self) -> str:
        """Its test images in words, for evidence."""
        return f"{self.classes.n_pos} defective and {self.classes.n_neg} normal test images"


def image_rows(published: Published) -> tuple[ImageRow, ...]:
    """Return the rows that print image AUROC and F1 of one category, with its official counts; no repeated ones."""
    rows = []
    for cell in published.cells:
        if cell.metric != "image_auroc" or len(cell.places) != 1:
            continue
        beside = [one for one in published.row(cell.table, cell.row) if (one.metric or "").startswith("image_f1")]
        if not beside or published.table(cell.table).row(cell.row).repeats is not None:
            continue
        counts = CATALOG[cell.places[0].dataset].categories[cell.places[0].category]
        classes = Classes(n_pos=counts.test_anomalous, n_neg=counts.test_normal)
        columns = (cell.column, beside[0].column)
        printed = (cell.printed, beside[0].printed)
        rows.append(ImageRow(cell.table, cell.row, cell.section, *printed, columns, classes, counts.train))
    return tuple(rows)


def audit_attainable(published: Published) -> Iterator[Finding]:
    """Check that so many test images can give each image AUROC and F1, and tell what that check is worth."""
    rows = image_rows(published)
    for row in rows:
        share = auroc_share(row.auroc, row.classes, ties=False)
        worth = f"without ties, {_percent(auroc_share(row.auroc, row.classes))} with ties"
        yield _attainable(row, row.columns[0], row.auroc, _auroc_witnesses(row), share, how=f" {worth}")
        yield _attainable(row, row.columns[1], row.f1, _f1_witnesses(row), f1_share(row.f1, row.classes))
    if rows:
        yield _all_attainable(rows, published.about.metrics_section)


def _attainable(row: ImageRow, column: str, printed: str, found: str, share: Fraction, *, how: str = "") -> Finding:
    """Tell what gives a printed value, or that nothing does; where every value near it can occur, nothing is shown."""
    verdict = _verdict(bool(found))
    if found and share == 1:
        verdict = ClaimVerdict.NOT_CHECKED
    power = f"{'no power: ' if verdict is ClaimVerdict.NOT_CHECKED else ''}{_percent(share)} of the values"
    return Finding(
        identifier=f"attainable-{row.slug}-{column.lower().replace(' ', '-')}",
        kind="attainable",
        section=row.section,
        statement=f"Table {row.table}, {row.row}: {column} {printed}",
        verdict=verdict,
        evidence=f"{row.images}: {found or 'nothing gives it'}; {power} within {RADIUS} units can occur{how}",
    )


def _auroc_witnesses(row: ImageRow) -> str:
    """List fractions of the pairs that print as the row's AUROC; empty where there are none."""
    halves, pairs = auroc_halves(row.auroc, row.classes), row.classes.pairs
    untied = [half // 2 for half in halves if half % 2 == 0]
    if halves and not untied:
        return f"{halves[0]}/{2 * pairs}, which needs a tie"
    return " or ".join(f"{k}/{pairs}" for k in untied[:SHOWN])


def _f1_witnesses(row: ImageRow) -> str:
    """List counts that give the row's F1; empty where there are none."""
    counts, n_pos = f1_counts(row.f1, row.classes), row.classes.n_pos
    more = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    shown = (
        f"TP {each.true_positives}, FP {each.false_positives} ({_fraction(each.f1(n_pos))})" for each in counts[:SHOWN]
    )
    return " or ".join(shown) + more


def _all_attainable(rows: tuple[ImageRow, ...], section: str) -> Finding:
    possible = sum(bool(auroc_halves(row.auroc, row.classes)) + bool(f1_counts(row.f1, row.classes)) for row in rows)
    shares = (auroc_share(row.auroc, row.classes, ties=False) * f1_share(row.f1, row.classes) for row in rows)
    chance = math.prod(map(float, shares))
    return Finding(
        identifier="attainable-all",
        kind="attainable",
        section=section,
        statement="The image-level numbers are of the official test sets, whole",
        verdict=_verdict(possible == 2 * len(rows)),
        evidence=(
            f"{possible} of {2 * len(rows)} values are attainable with the official counts; digits drawn at random "
            f"near them would all be so with probability {chance:.0e} (without ties)"
        ),
    )


def audit_consistency(published: Published) -> Iterator[Finding]:
    """Check each image F1 beside its AUROC: as F1-max, which the paper says, and by anomalib's strict rule."""
    section = published.about.metrics_section
    for row in image_rows(published):
        for ties in (False, True):
            claim = f"can be the largest F1 over all thresholds, {'with' if ties else 'without'} tied scores"
            found = list(readings(row.auroc, row.f1, row.classes, strict=False, ties=ties))
            evidence = _possible(row, found) or _why_no_f1_max(row, ties=ties)
            prefix = f"f1-max-{'tied-' if ties else ''}"
            yield _consistent(row, prefix, claim, evidence, holds=bool(found), section=section)
        claim = "can be what `score > threshold` gives, without tied scores"
        found = list(readings(row.auroc, row.f1, row.classes, strict=True, ties=False))
        evidence = _possible(row, found) or f"{row.images}: no threshold that maximises F1 leaves this behind it"
        yield _consistent(row, "f1-strict-", claim, evidence, holds=bool(found), section=section)


def _consistent(row: ImageRow, prefix: str, claim: str, evidence: str, *, holds: bool, section: str) -> Finding:
    statement = f"Table {row.table}, {row.row}: {row.columns[1]} {row.f1} beside {row.columns[0]} {row.auroc} {claim}"
    return Finding(f"{prefix}{row.slug}", "consistency", section, statement, _verdict(holds), evidence)


def _possible(row: ImageRow, found: list[tuple[Counts, Counts]]) -> str:
    """Tell what gives the row's F1 beside its AUROC; empty where nothing does."""
    n_pos = row.classes.n_pos
    texts = []
    for best, counts in found[:SHOWN]:
        text = (
            f"{_fraction(counts.f1(n_pos))} with {counts.true_positives} of {n_pos} defects found, "
            f"{counts.false_positives} false alarms"
        )
        if best != counts:
            text += f" (at the threshold itself {_fraction(best.f1(n_pos))})"
        texts.append(text)
    texts += [f"{len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return f"possible: {'; '.join(texts)}" if texts else ""


def _why_no_f1_max(row: ImageRow, *, ties: bool) -> str:
    impossible = f"impossible: with {row.images},"
    least = least_f1_max(row.classes)
    if Fraction(row.f1) < least:
        return f"{impossible} calling every image defective gives {_fraction(least)} already"
    pairs = row.classes.pairs
    limits = [auroc_limits(counts, row.classes, ties=ties) for counts in f1_counts(row.f1, row.classes)]
    most = max((Fraction(limit[1], 2) for limit in limits if limit is not None), default=None)
    needed = [Fraction(half, 2) for half in auroc_halves(row.auroc, row.classes) if ties or half % 2 == 0]
    if most is None or not needed:
        return f"{impossible} no ranking has both"
    if most >= needed[0]:
        return f"{impossible} every ranking with this F1 orders more of the {pairs} pairs rightly"
    return (
        f"{impossible} a ranking with this largest F1 orders at most {_pairs(most)} of {pairs} pairs "
        f"rightly; this AUROC needs {_pairs(needed[0])}"
    )


def _pairs(count: Fraction) -> str:
    return str(count) if count.denominator == 1 else rounded(count, 1)


def _fraction(value: Fraction) -> str:
    """Write a fraction as `124/125 = 0.9920`; it is reduced."""
    return f"{value.numerator}/{value.denominator} = {rounded(value, 4)}"


def _percent(share: Fraction) -> str:
    return f"{rounded(100 * share, 0)} %"
