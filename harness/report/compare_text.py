"""A comparison of two stores for a person: what differs, field by field and cell by cell, then what only one has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.report.compare import Change, Comparison, changes, identity_of, tally
from harness.store.overview_text import Block, Table
from harness.terminal import printable

if TYPE_CHECKING:
    from harness.store.record import RunRecord

_DIFFERS = "yellow"
LONGEST_VALUE = 60
"""Characters of a setting's value that a row shows."""


def blocks(comparison: Comparison, name_a: str, name_b: str, *, every_run: bool = False) -> Iterator[Block]:
    """What there is to say about two stores, in the order to say it.

    Args:
        every_run: also list each run that differs, metric by metric.
    """
    yield f"A: {name_a}"
    yield f"B: {name_b}"
    differing = comparison.differing
    yield f"{_plural(len(comparison.pairs), 'run')} in both, {len(differing)} of them different"
    yield from _fields(comparison)
    found = changes(comparison)
    if found:
        yield ""
        yield f"metrics that differ{_beyond(comparison.tolerance)}, by cell:"
        yield _change_table(found)
    others = Counter(name for pair in comparison.pairs for name in pair.results(comparison.tolerance))
    if others:
        yield ""
        yield f"other results that differ{_beyond(comparison.tolerance)}:"
        yield _table(("field", "runs"), [(name, str(count)) for name, count in sorted(others.items())])
    if every_run and differing:
        yield ""
        yield "runs that differ:"
        yield _run_table(comparison)
    yield from _scores(comparison)
    for side, records in (("A", comparison.only_a), ("B", comparison.only_b)):
        if records:
            yield ""
            yield f"only in {side}: {_plural(len(records), 'run')}"
            yield _only_table(records)
    for side, problems in (("A", comparison.problems_a), ("B", comparison.problems_b)):
        yield from (f"not counted in {side}: {problem}" for problem in problems)
    yield ""
    yield "the two stores are the same" if comparison.is_same else "the two stores differ"


def _fields(comparison: Comparison) -> Iterator[Block]:
    for title, differences in (
        ("settings that differ:", [pair.settings for pair in comparison.pairs]),
        ("environments that differ (this alone makes no difference):", [p.environment for p in comparison.pairs]),
    ):
        counts = tally(differences)
        if counts:
            yield ""
            yield title
            rows = [(name, _cut(a), _cut(b), str(count)) for (name, a, b), count in counts.items()]
            yield _table(("field", "A", "B", "runs"), rows)


def _change_table(found: Sequence[Change]) -> Table:
    header = ("dataset", "category", "backbone", "variant", "metric", "runs", "mean A", "mean B", "largest B-A", "seed")
    rows = [
        (
            change.dataset,
            change.category,
            change.backbone,
            _cut(change.variant),
            change.metric,
            f"{change.n_differing} of {change.n_pairs}",
            _number(change.mean_a),
            _number(change.mean_b),
            _gap(change.largest) + (f" ({change.one_sided} in one only)" if change.one_sided else ""),
            "" if change.seed is None else str(change.seed),
        )
        for change in found
    ]
    return _table(header, rows, style=_DIFFERS)


def _run_table(comparison: Comparison) -> Table:
    rows: list[tuple[str, ...]] = []
    for pair in comparison.differing:
        dataset, category, backbone, seed = pair.identity
        name = (dataset, category, backbone, str(seed), pair.a.key, pair.b.key)
        if pair.a.status != pair.b.status:
            rows.append((*name, "status", pair.a.status, pair.b.status, ""))
        for metric in pair.metrics(comparison.tolerance):
            a, b = pair.a.values[metric], pair.b.values[metric]
            gap = _gap(b - a) if a is not None and b is not None else ""
            rows.append((*name, metric, _number(a), _number(b), gap))
        if not rows or rows[-1][4:6] != name[4:6]:
            rows.append((*name, "settings, scores or other results only", "", "", ""))
    return _table(("dataset", "category", "backbone", "seed", "key A", "key B", "what", "A", "B", "B-A"), rows)


def _scores(comparison: Comparison) -> Iterator[Block]:
    gaps = [pair.score_gap for pair in comparison.pairs if pair.score_gap]
    if gaps:
        yield f"image scores differ in {_plural(len(gaps), 'run')}, by at most {max(gaps):.3g}"
    incomparable = sum(pair.score_gap is None for pair in comparison.pairs)
    if incomparable:
        yield f"image scores cannot be held side by side in {_plural(incomparable, 'run')} (other images, or none)"


def _only_table(records: Sequence[RunRecord]) -> Table:
    rows = [(*map(str, identity_of(record)), record.protocol_name, record.status, record.key) for record in records]
    return _table(("dataset", "category", "backbone", "seed", "protocol", "status", "key"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, style: str = "") -> Table:
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    cells = tuple(tuple(printable(row[i]) for i in kept) for row in rows)
    return Table(tuple(header[i] for i in kept), cells, (style,) * len(rows))


def _beyond(tolerance: float) -> str:
    return f" by more than {tolerance:g}" if tolerance else ""


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}"


def _gap(value: float | None) -> str:
    return "" if value is None else f"{value:+.2g}" if abs(value) < 1e-6 else f"{value:+.6f}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} …"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
