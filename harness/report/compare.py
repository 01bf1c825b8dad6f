"""Two stores side by side: which runs both have, in which numbers and settings these differ, and which only one has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError, StoreError
from harness.store.fields import RUNS
from harness.store.overview_text import table_lines
from harness.store.settings import flat, settings_of, shown, varying
from harness.store.store import Store

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
    score_gap: float | None
    """Largest difference of an image's score; 0.0 where both are the same file, None where they cannot be compared."""
    settings: Unlike
    """Labels included."""
    environment: Unlike
    """How the two were made otherwise: versions, machine, commit. It makes no difference."""
    metrics: tuple[str, ...]
    """Those that differ by more than the tolerance, or that only one of the two has."""
    results: tuple[str, ...]
    """What else the two found and differ in: intervals, thresholds, counts of images, channels, errors."""
    is_same: bool
    """Same status, key, metrics and other results, these to within the tolerance."""


@dataclass(frozen=True)
class Comparison:
    """Store A against store B."""

    pairs: tuple[Pair, ...]
    only: tuple[tuple[RunRecord, ...], tuple[RunRecord, ...]]
    """The runs without a partner in the other store: of A, of B."""
    problems: tuple[tuple[str, ...], tuple[str, ...]]
    """Files that cannot be read: of A, of B."""
    tolerance: float
    """Metrics nearer than this count as the same."""

    @property
    def is_same(self) -> bool:
        """Whether at most environment, times and memory differ, and neither store holds a file that cannot be read."""
        return all(pair.is_same for pair in self.pairs) and not any((*self.only, *self.problems))


def compare_stores(path_a: Path, path_b: Path, *, tolerance: float = 0.0) -> Comparison:
    """Read two stores and compare them.

    Raises:
        RequestError: one of the paths is no store.
        StoreError: a store cannot be listed.
    """
    for path in (path_a, path_b):
        if not (path / RUNS).is_dir():
            raise RequestError(f"{path}: is no store (it holds no folder {RUNS}); give the folder that holds {RUNS}/")
    stores = Store(path_a), Store(path_b)
    contents = [store.records() for store in stores]
    found, only = pair_up(contents[0].records, contents[1].records)
    problems = [list(content.problems) for content in contents]
    pairs = []
    for pair in found:
        tables = [_scores(store, record, lines) for store, record, lines in zip(stores, pair, problems, strict=True)]
        pairs.append(_compare(*pair, _score_gap(*tables), tolerance))
    return Comparison(tuple(pairs), only, (tuple(problems[0]), tuple(problems[1])), tolerance)


def pair_up(
    records_a: Iterable[RunRecord], records_b: Iterable[RunRecord]
) -> tuple[list[tuple[RunRecord, RunRecord]], tuple[tuple[RunRecord, ...], tuple[RunRecord, ...]]]:
    """Match records of the same dataset, category, backbone and seed, those with the fewest different settings first.

    Returns:
        The pairs, sorted by what was run; and the records of A, and those of B, without a partner.
    """
    groups: dict[Identity, tuple[dict[str, RunRecord], dict[str, RunRecord]]] = defaultdict(lambda: ({}, {}))
    for side, records in enumerate((records_a, records_b)):
        for record in records:
            groups[_identity(record)][side][record.key] = record
    pairs: list[tuple[RunRecord, RunRecord]] = []
    only: tuple[list[RunRecord], list[RunRecord]] = ([], [])
    for _, (left, right) in sorted(groups.items()):
        settings = [{key: settings_of(record) for key, record in side.items()} for side in (left, right)]
        candidates = sorted(
            (len(varying((a, b))), key_a, key_b) for key_a, a in settings[0].items() for key_b, b in settings[1].items()
        )
        for _, key_a, key_b in candidates:
            if key_a in left and key_b in right:
                pairs.append((left.pop(key_a), right.pop(key_b)))
        only[0].extend(left.values())
        only[1].extend(right.values())
    return pairs, (tuple(only[0]), tuple(only[1]))


def _identity(record: RunRecord) -> Identity:
    return record.spec.dataset, record.spec.category, record.spec.backbone.name, record.spec.seed


def _compare(a: RunRecord, b: RunRecord, score_gap: float | None, tolerance: float) -> Pair:
    """Compare two records.

    Thresholds and scores are raw distances, of which a tolerance above 0 does not speak: with one they may differ, but
    the scores must be of the same images.
    """
    names = dict.fromkeys((*a.values, *b.values))
    metrics = tuple(name for name in names if _differ(a.values.get(name), b.values.get(name), tolerance))
    results = tuple(
        name
        for name, values in _unlike(*(flat(record.model_dump(include=RESULTS)) for record in (a, b))).items()
        if _differ(*values, tolerance) and not (tolerance > 0 and name.startswith("thresholds."))
    )
    alike = a.status == b.status and a.key == b.key and not metrics and not results
    return Pair(
        a=a,
        b=b,
        score_gap=score_gap,
        settings=_unlike(settings_of(a), settings_of(b)),
        environment=_unlike(flat(a.environment.model_dump()), flat(b.environment.model_dump())),
        metrics=metrics,
        results=results,
        is_same=alike and (score_gap == 0 or (tolerance > 0 and score_gap is not None)),
    )


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> Unlike:
    return {name: (a.get(name), b.get(name)) for name in varying((a, b))}


def _differ(a: Any, b: Any, tolerance: float) -> bool:
    """Tell whether two floats differ by more than the tolerance, or anything else at all."""
    return abs(a - b) > tolerance if isinstance(a, float) and isinstance(b, float) else bool(a != b)


def _scores(store: Store, record: RunRecord, problems: list[str]) -> ScoreTable | None:
    """Read a run's scores; None for a failed run, and where they cannot be read, which is then one of the problems."""
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


def blocks(comparison: Comparison, name_a: str, name_b: str) -> Iterator[str]:
    """Yield what there is to say about two stores to a person, in the order to say it."""
    pairs = comparison.pairs
    beyond = f" by more than {comparison.tolerance:g}" if comparison.tolerance else ""
    yield from (f"A: {name_a}", f"B: {name_b}")
    yield f"{_plural(len(pairs), 'run')} in both, {sum(not pair.is_same for pair in pairs)} of them different"
    fields = ("field", "A", "B", "runs")
    yield from _titled("settings that differ:", fields, _tally(pair.settings for pair in pairs))
    environments = _tally(pair.environment for pair in pairs)
    yield from _titled("environments that differ (this alone makes no difference):", fields, environments)
    yield from _titled(f"metrics that differ{beyond}, by cell:", _CHANGES, list(_changes(pairs)))
    others = Counter(name for pair in pairs for name in pair.results)
    counted = [(name, str(count)) for name, count in sorted(others.items())]
    yield from _titled(f"other results that differ{beyond}:", ("field", "runs"), counted)
    gaps = [pair.score_gap for pair in pairs if pair.score_gap]
    if gaps:
        yield f"image scores differ in {_plural(len(gaps), 'run')}, by at most {max(gaps):.3g}"
    if incomparable := sum(pair.score_gap is None for pair in pairs):
        yield f"image scores cannot be held side by side in {_plural(incomparable, 'run')} (other images, or none)"
    header = ("dataset", "category", "backbone", "seed", "protocol", "status", "key")
    for side, records in zip("AB", comparison.only, strict=True):
        told = [(*map(str, _identity(each)), each.protocol_name, each.status, each.key) for each in records]
        yield from _titled(f"only in {side}: {_plural(len(records), 'run')}", header, told)
    for side, problems in zip("AB", comparison.problems, strict=True):
        yield from (f"not counted in {side}: {problem}" for problem in problems)
    yield from ("", "the two stores are the same" if comparison.is_same else "the two stores differ")


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table below its title; nothing where there are no rows."""
    if rows:
        yield from ("", title, *table_lines(header, rows))


def _tally(differences: Iterable[Unlike]) -> list[tuple[str, ...]]:
    """Count the pairs that differ in a field in the same way, a row each, sorted."""
    counts = Counter((name, shown(a), shown(b)) for each in differences for name, (a, b) in each.items())
    return [(name, _cut(a), _cut(b), str(count)) for (name, a, b), count in sorted(counts.items())]


def _changes(pairs: Iterable[Pair]) -> Iterator[tuple[str, ...]]:
    """Yield a row for every metric of every cell in which at least one pair differs, in the order of the pairs.

    A cell is the seeds of one dataset, category and backbone under the same settings.
    """
    cells: dict[tuple[str, str, str], dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        cells[_identity(pair.a)[:3]][repr(sorted(_told(pair).items()))].append(pair)
    for place, variants in cells.items():
        names = varying([_told(alike[0]) for alike in variants.values()])
        for alike in variants.values():
            variant = ", ".join(f"{name}={shown(_told(alike[0]).get(name))}" for name in names)
            for metric in dict.fromkeys(metric for pair in alike for metric in pair.metrics):
                yield (*place, _cut(variant), metric, *_change(metric, alike))


def _told(pair: Pair) -> dict[str, str]:
    """Return all settings as text; both values of one in which the two differ."""
    both = {**settings_of(pair.a), **settings_of(pair.b)}
    return {name: " | ".join(map(shown, pair.settings.get(name, (value,)))) for name, value in both.items()}


def _change(metric: str, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Tell how many pairs differ in a metric, and over the pairs that both have the means, largest gap and its seed."""
    differing = sum(metric in pair.metrics for pair in pairs)
    values = [(pair.a.values.get(metric), pair.b.values.get(metric), pair.a.spec.seed) for pair in pairs]
    both = [(a, b, seed) for a, b, seed in values if a is not None and b is not None]
    one_sided = sum((a is None) != (b is None) for a, b, _ in values)
    beside = f" ({one_sided} in one only)" if one_sided else ""
    runs = f"{differing} of {len(pairs)}"
    if not both:
        return runs, "none", "none", beside, ""
    gap, seed = max(((b - a, seed) for a, b, seed in both), key=lambda each: abs(each[0]))
    means = (f"{sum(each) / len(both):.6f}" for each in ([a for a, _, _ in both], [b for _, b, _ in both]))
    return runs, *means, f"{gap:+.2g}{beside}" if abs(gap) < 1e-6 else f"{gap:+.6f}{beside}", str(seed)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} …"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
