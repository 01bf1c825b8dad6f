"""Two stores side by side: which runs both have, in which numbers and settings these differ, and which only one has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError, StoreError
from harness.store.fields import METRICS, RUNS
from harness.store.overview_text import Block, Table
from harness.store.settings import flat, settings_of, shown, varying
from harness.store.store import Store
from harness.terminal import printable

if TYPE_CHECKING:
    from harness.store.record import RunRecord
    from harness.store.scores import ScoreTable

Identity = tuple[str, str, str, int]
"""Dataset, category, backbone, seed: what a person calls a run."""

Unlike = Mapping[str, tuple[Any, Any]]
"""A field in which two runs differ -> its two values."""

RESULTS = {"intervals", "thresholds", "dataset", "metrics_absent", "indices_sha256", "engine_metrics", "error"}
"""What a run found besides its metrics."""

LONGEST_VALUE = 60
"""Characters of a setting's value that a row shows."""

_CHANGES = (
    "dataset", "category", "backbone", "variant", "metric", "runs", "mean A", "mean B", "largest B-A", "seed"
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One run as each of the two stores has it."""

    a: RunRecord
    b: RunRecord
    score_gap: float | None = None
    """Largest difference of an image's score; 0.0 where both are the same file, None where they cannot be compared."""

    @property
    def identity(self) -> Identity:
        """What the run is called."""
        return identity_of(self.a)

    @cached_property
    def settings(self) -> Unlike:
        """The settings in which the two differ, labels included."""
        return unlike(settings_of(self.a), settings_of(self.b))

    @cached_property
    def environment(self) -> Unlike:
        """Where the two were made in different ways that are no settings: versions, machine, commit."""
        return unlike(flat(self.a.environment.model_dump()), flat(self.b.environment.model_dump()))

    @cached_property
    def told(self) -> Mapping[str, str]:
        """All settings as text; both values of one in which the two differ."""
        both = {**settings_of(self.a), **settings_of(self.b)}
        return {name: " | ".join(map(shown, self.settings.get(name, (value,)))) for name, value in both.items()}

    def metrics(self, tolerance: float) -> tuple[str, ...]:
        """The metrics in which the two differ by more than `tolerance`, or which only one of them has."""
        a, b = self.a.values, self.b.values
        return tuple(name for name in METRICS if _differ(a[name], b[name], tolerance))

    def results(self, tolerance: float) -> tuple[str, ...]:
        """What else the two found and differ in: intervals, thresholds, counts of images, channels, errors.

        Thresholds are raw scores, of which a tolerance above 0 does not speak.
        """
        a, b = (flat(record.model_dump(include=RESULTS)) for record in (self.a, self.b))
        return tuple(
            name
            for name, (one, other) in unlike(a, b).items()
            if _differ(one, other, tolerance) and not (tolerance > 0 and name.startswith("thresholds."))
        )

    def is_same(self, tolerance: float) -> bool:
        """Same status, key, metrics and other results, these to within `tolerance`; no environment and no label counts.

        The scores of the images must be equal where the tolerance is 0. Where it is not they may differ, since they are
        raw distances and it speaks of metrics, but they must be of the same images.
        """
        scores = self.score_gap == 0 or (tolerance > 0 and self.score_gap is not None)
        alike = self.a.status == self.b.status and self.a.key == self.b.key
        return alike and scores and not self.metrics(tolerance) and not self.results(tolerance)


@dataclass(frozen=True)
class Comparison:
    """Store A against store B."""

    pairs: tuple[Pair, ...]
    only_a: tuple[RunRecord, ...]
    only_b: tuple[RunRecord, ...]
    problems_a: tuple[str, ...]
    problems_b: tuple[str, ...]
    tolerance: float
    """Metrics nearer than this count as the same."""

    @property
    def differing(self) -> tuple[Pair, ...]:
        """Pairs that are not the same."""
        return tuple(pair for pair in self.pairs if not pair.is_same(self.tolerance))

    @property
    def is_same(self) -> bool:
        """Nothing differs but environment, times and memory, and neither store holds a file that cannot be read."""
        return not (self.differing or self.only_a or self.only_b or self.problems_a or self.problems_b)


@dataclass(frozen=True)
class Change:
    """One metric of one cell over the seeds that both stores have."""

    place: tuple[str, str, str]
    """Dataset, category, backbone."""
    variant: str
    """What tells this cell from others of the same place; mostly empty."""
    metric: str
    n_differing: int
    n_pairs: int
    mean_a: float | None
    """Over the pairs in which both have a value, like `mean_b`; None where there is no such pair."""
    mean_b: float | None
    largest: float | None
    """The difference B less A that is largest in size."""
    seed: int | None
    """Whose difference that is."""
    one_sided: int
    """Pairs in which only one of the two has a value."""


def compare_stores(path_a: Path, path_b: Path, *, tolerance: float = 0.0) -> Comparison:
    """Read two stores and hold them against one another.

    Raises:
        RequestError: one of the paths is no store.
        StoreError: a store cannot be listed.
    """
    for path in (path_a, path_b):
        if not (path / RUNS).is_dir():
            raise RequestError(f"{path}: is no store (it holds no folder {RUNS}); give the folder that holds {RUNS}/")
    stores = Store(path_a), Store(path_b)
    contents = [store.records() for store in stores]
    pairs, only_a, only_b = pair_up(contents[0].records, contents[1].records)
    problems = [list(content.problems) for content in contents]
    measured = []
    for pair in pairs:
        tables = [_scores(store, record, found) for store, record, found in zip(stores, pair, problems, strict=True)]
        measured.append(Pair(*pair, score_gap=_score_gap(*tables)))
    return Comparison(tuple(measured), only_a, only_b, tuple(problems[0]), tuple(problems[1]), tolerance)


def pair_up(
    records_a: Iterable[RunRecord], records_b: Iterable[RunRecord]
) -> tuple[list[tuple[RunRecord, RunRecord]], tuple[RunRecord, ...], tuple[RunRecord, ...]]:
    """Match records of the same dataset, category, backbone and seed, those with the fewest different settings first.

    Returns:
        The pairs, sorted by what was run; the records of A without a partner, and those of B.
    """
    groups: dict[Identity, tuple[dict[str, RunRecord], dict[str, RunRecord]]] = defaultdict(lambda: ({}, {}))
    for side, records in enumerate((records_a, records_b)):
        for record in records:
            groups[identity_of(record)][side][record.key] = record
    pairs: list[tuple[RunRecord, RunRecord]] = []
    only: tuple[list[RunRecord], list[RunRecord]] = ([], [])
    for _, (left, right) in sorted(groups.items()):
        settings = [{key: settings_of(record) for key, record in side.items()} for side in (left, right)]
        candidates = sorted(
            (len(unlike(a, b)), key_a, key_b) for key_a, a in settings[0].items() for key_b, b in settings[1].items()
        )
        for _, key_a, key_b in candidates:
            if key_a in left and key_b in right:
                pairs.append((left.pop(key_a), right.pop(key_b)))
        only[0].extend(left.values())
        only[1].extend(right.values())
    return pairs, tuple(only[0]), tuple(only[1])


def identity_of(record: RunRecord) -> Identity:
    """Dataset, category, backbone and seed of a record."""
    return record.spec.dataset, record.spec.category, record.spec.backbone.name, record.spec.seed


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> Unlike:
    """The fields in which two runs differ, or which only one has."""
    return {name: (a.get(name), b.get(name)) for name in varying((a, b))}


def changes(comparison: Comparison) -> tuple[Change, ...]:
    """Every metric of every cell in which at least one pair differs, in the order of the pairs."""
    cells: dict[tuple[str, str, str], dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in comparison.pairs:
        cells[pair.identity[:3]][repr(sorted(pair.told.items()))].append(pair)
    found = []
    for place, variants in cells.items():
        names = varying([pairs[0].told for pairs in variants.values()])
        for pairs in variants.values():
            variant = ", ".join(f"{name}={shown(pairs[0].told.get(name))}" for name in names)
            made = (_change(place, variant, metric, pairs, comparison.tolerance) for metric in METRICS)
            found += [change for change in made if change.n_differing]
    return tuple(found)


def _change(place: tuple[str, str, str], variant: str, metric: str, pairs: Sequence[Pair], tolerance: float) -> Change:
    values = [(pair.a.values[metric], pair.b.values[metric], pair.identity[3]) for pair in pairs]
    both = [(a, b, seed) for a, b, seed in values if a is not None and b is not None]
    largest, seed = max(((b - a, seed) for a, b, seed in both), key=lambda gap: abs(gap[0]), default=(None, None))
    return Change(
        place=place,
        variant=variant,
        metric=metric,
        n_differing=sum(_differ(a, b, tolerance) for a, b, _ in values),
        n_pairs=len(pairs),
        mean_a=sum(a for a, _, _ in both) / len(both) if both else None,
        mean_b=sum(b for _, b, _ in both) / len(both) if both else None,
        largest=largest,
        seed=seed,
        one_sided=sum((a is None) != (b is None) for a, b, _ in values),
    )


def tally(differences: Iterable[Unlike]) -> dict[tuple[str, str, str], int]:
    """How many pairs differ in a field in the same way: (field, value in A, value in B) -> pairs, sorted."""
    counts = Counter((name, shown(a), shown(b)) for each in differences for name, (a, b) in each.items())
    return dict(sorted(counts.items()))


def _scores(store: Store, record: RunRecord, problems: list[str]) -> ScoreTable | None:
    """A run's scores; None for a failed run, and where they cannot be read, which is then one of the problems."""
    if record.scores_sha256 is None:
        return None
    try:
        return store.scores(record)
    except StoreError as error:
        problems.append(str(error))
        return None


def _score_gap(a: ScoreTable | None, b: ScoreTable | None) -> float | None:
    if a is None and b is None:
        return 0.0
    if a is None or b is None or a.paths != b.paths or (a.labels != b.labels).any():
        return None
    return float(abs(a.scores - b.scores).max(initial=0.0))


def _differ(a: Any, b: Any, tolerance: float) -> bool:
    """Two floats by more than the tolerance, anything else at all."""
    return abs(a - b) > tolerance if isinstance(a, float) and isinstance(b, float) else bool(a != b)


def blocks(comparison: Comparison, name_a: str, name_b: str) -> Iterator[Block]:
    """What there is to say about two stores to a person, in the order to say it."""
    beyond = f" by more than {comparison.tolerance:g}" if comparison.tolerance else ""
    yield from (f"A: {name_a}", f"B: {name_b}")
    yield f"{_plural(len(comparison.pairs), 'run')} in both, {len(comparison.differing)} of them different"
    fields = ("field", "A", "B", "runs")
    for title, differences in (
        ("settings that differ:", [pair.settings for pair in comparison.pairs]),
        ("environments that differ (this alone makes no difference):", [p.environment for p in comparison.pairs]),
    ):
        rows = [(name, _cut(a), _cut(b), str(count)) for (name, a, b), count in tally(differences).items()]
        yield from _titled(title, fields, rows)
    yield from _titled(f"metrics that differ{beyond}, by cell:", _CHANGES, list(map(_change_row, changes(comparison))))
    others = Counter(name for pair in comparison.pairs for name in pair.results(comparison.tolerance))
    counted = [(name, str(count)) for name, count in sorted(others.items())]
    yield from _titled(f"other results that differ{beyond}:", ("field", "runs"), counted)
    yield from _score_lines(comparison)
    header = ("dataset", "category", "backbone", "seed", "protocol", "status", "key")
    for side, records in (("A", comparison.only_a), ("B", comparison.only_b)):
        told = [(*map(str, identity_of(each)), each.protocol_name, each.status, each.key) for each in records]
        yield from _titled(f"only in {side}: {_plural(len(records), 'run')}", header, told)
    for side, problems in (("A", comparison.problems_a), ("B", comparison.problems_b)):
        yield from (f"not counted in {side}: {problem}" for problem in problems)
    yield from ("", "the two stores are the same" if comparison.is_same else "the two stores differ")


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Block]:
    """A table below its title, without the columns in which no row has anything; nothing where there are no rows."""
    if rows:
        kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
        cells = tuple(tuple(printable(row[i]) for i in kept) for row in rows)
        yield from ("", title, Table(tuple(header[i] for i in kept), cells))


def _change_row(change: Change) -> tuple[str, ...]:
    beside = f" ({change.one_sided} in one only)" if change.one_sided else ""
    return (
        *change.place,
        _cut(change.variant),
        change.metric,
        f"{change.n_differing} of {change.n_pairs}",
        _number(change.mean_a),
        _number(change.mean_b),
        _gap(change.largest) + beside,
        "" if change.seed is None else str(change.seed),
    )


def _score_lines(comparison: Comparison) -> Iterator[str]:
    gaps = [pair.score_gap for pair in comparison.pairs if pair.score_gap]
    if gaps:
        yield f"image scores differ in {_plural(len(gaps), 'run')}, by at most {max(gaps):.3g}"
    incomparable = sum(pair.score_gap is None for pair in comparison.pairs)
    if incomparable:
        yield f"image scores cannot be held side by side in {_plural(incomparable, 'run')} (other images, or none)"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}"


def _gap(value: float | None) -> str:
    return "" if value is None else f"{value:+.2g}" if abs(value) < 1e-6 else f"{value:+.6f}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} …"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
