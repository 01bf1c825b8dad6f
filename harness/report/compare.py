"""Two stores side by side: which runs both have, in which numbers and settings these differ, and which only one has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError, StoreError
from harness.store.fields import METRICS, RUNS
from harness.store.settings import flat, settings_of, shown, varying
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.store.record import RunRecord
    from harness.store.scores import ScoreTable

Identity = tuple[str, str, str, int]
"""Dataset, category, backbone, seed: what a person calls a run."""


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
    def settings(self) -> Mapping[str, tuple[Any, Any]]:
        """The settings in which the two differ, labels included: field -> its two values."""
        return _unlike(settings_of(self.a), settings_of(self.b))

    @cached_property
    def environment(self) -> Mapping[str, tuple[Any, Any]]:
        """Where the two were made in different ways that are no settings: versions, machine, commit."""
        return _unlike(environment_of(self.a), environment_of(self.b))

    def metrics(self, tolerance: float) -> tuple[str, ...]:
        """The metrics in which the two differ by more than `tolerance`, or which only one of them has."""
        a, b = self.a.values, self.b.values
        return tuple(name for name in METRICS if _differ(a[name], b[name], tolerance))

    def results(self, tolerance: float) -> tuple[str, ...]:
        """What else the two found and differ in: intervals, thresholds, counts of images, channels, errors.

        Thresholds are raw scores, of which a tolerance above 0 does not speak.
        """
        a, b = results_of(self.a), results_of(self.b)
        return tuple(
            name
            for name in dict.fromkeys([*a, *b])
            if _unequal(a.get(name), b.get(name), tolerance) and not (tolerance > 0 and name.startswith("thresholds."))
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

    dataset: str
    category: str
    backbone: str
    variant: str
    """What tells this cell from others of the same category and backbone; mostly empty."""
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
    groups: dict[Identity, tuple[list[RunRecord], list[RunRecord]]] = defaultdict(lambda: ([], []))
    for side, records in enumerate((records_a, records_b)):
        for record in records:
            groups[identity_of(record)][side].append(record)
    pairs: list[tuple[RunRecord, RunRecord]] = []
    only: tuple[list[RunRecord], list[RunRecord]] = ([], [])
    for identity in sorted(groups):
        left, right = ({record.key: record for record in side} for side in groups[identity])
        settings_a, settings_b = ({key: settings_of(record) for key, record in side.items()} for side in (left, right))
        candidates = sorted(
            (len(_unlike(a, b)), key_a, key_b) for key_a, a in settings_a.items() for key_b, b in settings_b.items()
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


def results_of(record: RunRecord) -> dict[str, Any]:
    """What a run found besides its metrics; flat, as `intervals.image_auroc.low`."""
    fields = {"intervals", "thresholds", "dataset", "metrics_absent", "indices_sha256", "engine_metrics", "error"}
    return flat(record.model_dump(include=fields))


def environment_of(record: RunRecord) -> dict[str, Any]:
    """Where and with what a run was made; flat, as `packages.torch`."""
    return flat(record.environment.model_dump())


def changes(comparison: Comparison) -> tuple[Change, ...]:
    """Every metric of every cell in which at least one pair differs, in the order of the pairs."""
    cells: dict[tuple[Any, ...], list[Pair]] = defaultdict(list)
    for pair in comparison.pairs:
        cells[(*pair.identity[:3], _frozen(settings_of(pair.a)), _frozen(settings_of(pair.b)))].append(pair)
    variants = _variants(cells)
    found = []
    for where, pairs in cells.items():
        for metric in METRICS:
            change = _change(metric, pairs, comparison.tolerance, where, variants[where])
            found += [change] if change else []
    return tuple(found)


def tally(differences: Iterable[Mapping[str, tuple[Any, Any]]]) -> dict[tuple[str, str, str], int]:
    """How many pairs differ in a field in the same way: (field, value in A, value in B) -> pairs, sorted."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for unlike in differences:
        for name, (a, b) in unlike.items():
            counts[(name, shown(a), shown(b))] += 1
    return dict(sorted(counts.items()))


def _change(
    metric: str, pairs: Sequence[Pair], tolerance: float, where: tuple[Any, ...], variant: str
) -> Change | None:
    values = [(pair.a.values[metric], pair.b.values[metric], pair.identity[3]) for pair in pairs]
    differing = sum(_differ(a, b, tolerance) for a, b, _ in values)
    if not differing:
        return None
    both = [(a, b, seed) for a, b, seed in values if a is not None and b is not None]
    largest, seed = max(((b - a, seed) for a, b, seed in both), key=lambda gap: abs(gap[0]), default=(None, None))
    return Change(
        dataset=where[0],
        category=where[1],
        backbone=where[2],
        variant=variant,
        metric=metric,
        n_differing=differing,
        n_pairs=len(pairs),
        mean_a=sum(a for a, _, _ in both) / len(both) if both else None,
        mean_b=sum(b for _, b, _ in both) / len(both) if both else None,
        largest=largest,
        seed=seed,
        one_sided=sum((a is None) != (b is None) for a, b, _ in values),
    )


def _variants(cells: Mapping[tuple[Any, ...], Sequence[Pair]]) -> dict[tuple[Any, ...], str]:
    """For each cell the settings that tell it from the others with the same dataset, category and backbone."""
    by_name: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for where in cells:
        by_name[where[:3]].append(where)
    texts = {}
    for group in by_name.values():
        sides = [(settings_of(cells[where][0].a), settings_of(cells[where][0].b)) for where in group]
        both = [{name: _both(a.get(name), b.get(name)) for name in {**a, **b}} for a, b in sides]
        names = varying(both)
        for where, one in zip(group, both, strict=True):
            texts[where] = ", ".join(f"{name}={shown(one.get(name))}" for name in names)
    return texts


def _both(a: Any, b: Any) -> str:
    return shown(a) if a == b else f"{shown(a)} | {shown(b)}"


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


def _differ(a: float | None, b: float | None, tolerance: float) -> bool:
    return a != b if a is None or b is None else abs(a - b) > tolerance


def _unequal(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return _differ(a, b, tolerance)
    return bool(a != b)


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*a, *b])
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _frozen(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, shown(value)) for name, value in settings.items()))
