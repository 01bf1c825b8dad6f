"""Two stores side by side: which runs both have, in which numbers and settings these differ, and which only one has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.command import table_lines
from harness.config.keys import suggest
from harness.errors import RequestError, StoreError
from harness.store.fields import METRICS, RUNS, flat, settings_of, shown, varying
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.store.record import RunRecord
    from harness.store.scores import ScoreTable

Identity = tuple[str, str, str, int]
"""Dataset, category, backbone, seed: what a person calls a run."""

Filter = Mapping[str, str]
"""Setting, or dataset, category, backbone or seed -> its value as `harness.store.fields.shown` writes it."""

Unlike = Mapping[str, tuple[Any, Any]]
"""A field in which two runs differ -> its two values."""

RESULTS = {"intervals", "thresholds", "dataset", "metrics_absent", "indices_sha256", "engine_metrics", "error"}
"""What a run found besides its metrics."""

RESAMPLES = 1000
"""Of the paired bootstrap over images."""

LONGEST_VALUE = 60
"""Characters of a setting's value that a row shows."""

_CHANGES = (
    "dataset", "category", "backbone", "variant", "metric", "runs", "mean A", "mean B", "largest B-A", "seed"
)  # fmt: skip


_BY_SEED = ("seed", "image AUROC A", "B", "difference", "95 %", "p", "image F1, difference at 95 %", "note")
_OVER_SEEDS = ("metric", "seeds", "mean difference", "sd", "95 %", "p")


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
    scores: tuple[ScoreTable, ScoreTable] | None = None
    """Where both have scores of the same images."""


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


def compare_stores(
    path_a: Path, path_b: Path, *, tolerance: float = 0.0, only: tuple[Filter, Filter] = ({}, {})
) -> Comparison:
    """Read two stores and compare them.

    Args:
        only: of each store the runs that have these settings.

    Raises:
        RequestError: one of the paths is no store, or no run of it has the settings asked for.
        StoreError: a store cannot be listed.
    """
    for path in (path_a, path_b):
        if not (path / RUNS).is_dir():
            raise RequestError(f"{path}: is no store (it holds no folder {RUNS}); give the folder that holds {RUNS}/")
    stores = Store(path_a), Store(path_b)
    contents = [store.records() for store in stores]
    chosen = [
        _chosen(path, content.records, wanted)
        for path, content, wanted in zip((path_a, path_b), contents, only, strict=True)
    ]
    found, alone = pair_up(*chosen)
    problems = [list(content.problems) for content in contents]
    pairs = []
    for pair in found:
        tables = [_scores(store, record, lines) for store, record, lines in zip(stores, pair, problems, strict=True)]
        gap = _score_gap(*tables)
        pair_scores = (tables[0], tables[1]) if gap is not None and tables[0] and tables[1] else None
        pairs.append(replace(_compare(*pair, gap, tolerance), scores=pair_scores))
    return Comparison(tuple(pairs), alone, (tuple(problems[0]), tuple(problems[1])), tolerance)


def _chosen(path: Path, records: Sequence[RunRecord], wanted: Filter) -> list[RunRecord]:
    """Return the records that have the settings asked for."""
    left = list(records)
    for name, value in wanted.items():
        fields = [_everything(record) for record in left]
        if not any(name in one for one in fields):
            known = sorted({key for one in fields for key in one})
            raise RequestError(
                f"{path}: no run has a setting {name}{suggest(name, known)}; allowed: {', '.join(known)}"
            )
        left = [record for record, one in zip(left, fields, strict=True) if shown(one.get(name)) == value]
        if not left:
            there = ", ".join(sorted({shown(one.get(name)) for one in fields}))
            raise RequestError(f"{path}: holds no run with {name}={value}; its runs have {name}={there}")
    return left


def _everything(record: RunRecord) -> dict[str, Any]:
    dataset, category, backbone, seed = _identity(record)
    return settings_of(record) | {"dataset": dataset, "category": category, "backbone": backbone, "seed": seed}


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
    yield from _titled("environments that differ (this alone does not count as a difference):", fields, environments)
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
    yield from paired_blocks(comparison)
    for side, records in zip("AB", comparison.only, strict=True):
        told = [(*map(str, _identity(each)), each.protocol_name, each.status, each.key) for each in records]
        yield from _titled(f"only in {side}: {_plural(len(records), 'run')}", header, told)
    for side, problems in zip("AB", comparison.problems, strict=True):
        yield from (f"not counted in {side}: {problem}" for problem in problems)
    yield from ("", "the two stores are the same" if comparison.is_same else "the two stores differ")


def paired_blocks(comparison: Comparison) -> Iterator[str]:
    """Yield the paired comparison, B minus A, of each cell whose runs scored the same images otherwise."""
    is_any = False
    for place, variant, alike in cells_of(comparison.pairs):
        pairs = [pair for pair in alike if pair.scores is not None and pair.score_gap]
        if not pairs:
            continue
        is_any = True
        title = f"paired, {'/'.join(place)}{variant and f' {_cut(variant)}'}, B minus A"
        yield from _titled(f"{title}, for each seed (DeLong's test, bootstrap over images):", _BY_SEED, _by_seed(pairs))
        rows = [row for metric in METRICS for row in _over_seeds(metric, pairs)]
        yield from _titled(f"{title}, over seeds (t test of the paired differences):", _OVER_SEEDS, rows)
    if is_any:
        yield from (
            "",
            "intervals over images are for other test images, those over seeds for other seeds; no p-value is",
        )
        yield "adjusted; a store keeps the maps of four images only, so pixel metrics are compared over seeds alone"


def _by_seed(pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    return [_paired(pair) for pair in pairs if None not in (pair.a.values["image_auroc"], pair.b.values["image_auroc"])]


def _paired(pair: Pair) -> tuple[str, ...]:
    from harness.metrics.bootstrap import draw
    from harness.metrics.comparison import delong_test, image_differences

    assert pair.scores is not None
    (a, b), labels = (table.scores for table in pair.scores), pair.scores[0].labels
    found = delong_test(labels, a, b)
    f1 = image_differences(labels, a, b, draw(labels, RESAMPLES, 0))
    told = ", ".join(f"{name} {low:+.4f} to {high:+.4f}" for name, (low, high) in f1.items())
    areas = (f"{record.values['image_auroc']:.6f}" for record in (pair.a, pair.b))
    return (
        str(pair.a.spec.seed),
        *areas,
        f"{found.value:+.6f}",
        _interval(found.low, found.high),
        _p(found.p),
        told,
        found.why,
    )


def _over_seeds(metric: str, pairs: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    from harness.metrics.comparison import seed_difference

    a, b = (
        {record.spec.seed: value for record in records if (value := record.values[metric]) is not None}
        for records in ([pair.a for pair in pairs], [pair.b for pair in pairs])
    )
    found = seed_difference(a, b)
    if found is not None:
        deviation = "" if found.deviation is None else f"{found.deviation:.6f}"
        yield metric, str(found.n), f"{found.mean:+.6f}", deviation, _interval(found.low, found.high), _p(found.p)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.6f} to {high:+.6f}"


def _p(p: float | None) -> str:
    return "" if p is None else f"{p:#.2g}"


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table below its title; nothing where there are no rows."""
    if rows:
        yield from ("", title, *table_lines(header, rows))


def _tally(differences: Iterable[Unlike]) -> list[tuple[str, ...]]:
    """Count the pairs that differ in a field in the same way, a row each, sorted."""
    counts = Counter((name, shown(a), shown(b)) for each in differences for name, (a, b) in each.items())
    return [(name, _cut(a), _cut(b), str(count)) for (name, a, b), count in sorted(counts.items())]


def _changes(pairs: Iterable[Pair]) -> Iterator[tuple[str, ...]]:
    """Yield a row for every metric of every cell in which at least one pair differs, in the order of the pairs."""
    for place, variant, alike in cells_of(pairs):
        for metric in METRICS:
            if any(metric in pair.metrics for pair in alike):
                yield (*place, _cut(variant), metric, *_change(metric, alike))


def cells_of(pairs: Iterable[Pair]) -> Iterator[tuple[tuple[str, str, str], str, list[Pair]]]:
    """Yield the seeds of one dataset, category and backbone under the same settings, with what sets them apart."""
    cells: dict[tuple[str, str, str], dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        cells[_identity(pair.a)[:3]][repr(sorted(_told(pair).items()))].append(pair)
    for place, variants in cells.items():
        names = varying([_told(alike[0]) for alike in variants.values()])
        for alike in variants.values():
            yield place, ", ".join(f"{name}={shown(_told(alike[0]).get(name))}" for name in names), alike


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
