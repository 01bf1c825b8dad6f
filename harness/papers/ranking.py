"""Rank the settings that were searched by the paper's rows: jointly, and by one column given another.

Which runs and which rows is in paper.toml, `[search]`; the columns of the line are there too, such as pixel F1 on pixel
AUROC.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import RequestError
from harness.metrics.registry import registered
from harness.papers.model import Measured, Place, RowJudgement
from harness.papers.published import Published, RowName, Search
from harness.papers.selection import grid_steps, required_settings
from harness.papers.verdict import judge, judge_rows
from harness.store.fields import settings_of, varying

if TYPE_CHECKING:
    from harness.store import RunRecord

FIRST = ("index_sampler", "epsilon", "center_crop", "blur_sigma", "interpolation", "antialias")
"""What a setting's name says first; any other field of the protocol that is not the paper's follows."""


def search_of(published: Published) -> Search:
    """Return what was searched.

    Raises:
        RequestError: the paper says of no search.
    """
    if published.about.search is None:
        raise RequestError(f"paper {published.id}: its paper.toml has no [search], so there are no settings to rank")
    return published.about.search


def labels_of(published: Published) -> tuple[str, str]:
    """Return for readers what the line of the search has on its x and y axis, such as `Pixel AUROC`."""
    line, metrics = search_of(published).line, registered()
    return metrics[published.columns[line.x]].label, metrics[published.columns[line.y]].label


def comparable(records: Iterable[RunRecord], published: Published) -> list[RunRecord]:
    """Return the ok and exact runs of the searched place, on all images, that have all of the paper's metrics."""
    place = search_of(published).place
    return [
        record
        for record in records
        if Place(record.spec.dataset, record.spec.category, str(record.spec.model["name"]), record.spec.backbone.name)
        == place
        and record.status == "ok"
        and record.dataset.limit is None
        and "+" not in record.spec.engine
        and len(_paper_values(record, published)) == len(published.metrics)
    ]


def _paper_values(record: RunRecord, published: Published) -> dict[str, float]:
    """Return column -> value, of those that the run has."""
    values = {column: record.values[metric] for column, metric in published.metrics.items()}
    return {column: value for column, value in values.items() if value is not None}


def usual_weights(records: Sequence[RunRecord]) -> str | None:
    """Return the digest of the weights that most runs have, which a setting's name does not mention."""
    counts = Counter(record.spec.backbone.weights_digest for record in records)
    return max(counts, key=lambda digest: (counts[digest], digest)) if counts else None


def setting_of(record: RunRecord, published: Published, usual: str | None = None) -> str:
    """Put into words what is not the paper's protocol.

    Args:
        usual: the digest of the weights that need no mention; None where no weights are mentioned.
    """
    usually = {"engine": "streaming", "device": "cpu"}
    search = search_of(published)
    required = required_settings(published.about.protocol, search.model, search.backbone)
    paper, own = required | usually, settings_of(record)
    unlike = {_last(name): own.get(name) for name in varying([paper, {name: own.get(name) for name in paper}])}
    parts = [
        f"{name}={_plain(unlike[name])}"
        for name in sorted(unlike, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    ]
    digest = record.spec.backbone.weights_digest
    parts += [f"weights={record.weights} ({digest[:8]})"] if usual not in (None, digest) else []
    return " ".join(parts) or "paper"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _plain(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def by_setting(records: Sequence[RunRecord], published: Published) -> dict[str, list[RunRecord]]:
    """Return the comparable runs of each setting, in the order of its name, `paper` first."""
    taken = comparable(records, published)
    usual = usual_weights(taken)
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in taken:
        groups[setting_of(record, published, usual)].append(record)
    return {name: groups[name] for name in sorted(groups, key=lambda name: (name != "paper", name))}


@dataclass(frozen=True)
class SeedRange:
    """All seeds of one setting: lowest and highest value of each of the paper's columns."""

    setting: str
    n_runs: int
    ranges: dict[str, tuple[float, float]]


def seed_ranges(records: Sequence[RunRecord], published: Published) -> list[SeedRange]:
    """Return the range over seeds for each setting, in the order of its name, `paper` first."""
    result = []
    for setting, runs in by_setting(records, published).items():
        values = [_paper_values(record, published) for record in runs]
        ranges = {name: (min(v[name] for v in values), max(v[name] for v in values)) for name in published.metrics}
        result.append(SeedRange(setting, len(runs), ranges))
    return result


@dataclass(frozen=True)
class Line:
    """The least-squares line of one metric (y) on another (x) over all runs of one preprocessing."""

    preprocessing: str
    points: tuple[tuple[float, float], ...]
    """(x, y) of each run."""
    slope: float
    intercept: float
    deviation: float
    """Standard deviation of the runs about the line, with n - 2 degrees of freedom."""

    def predict(self, at: float) -> tuple[float, float]:
        """Return y at an x, and the standard error of predicting one more run there."""
        values = [x for x, _ in self.points]
        n, mean = len(values), math.fsum(values) / len(values)
        spread = math.fsum((x - mean) ** 2 for x in values)
        error = self.deviation * math.sqrt(1 + 1 / n + (at - mean) ** 2 / spread)
        return self.intercept + self.slope * at, error

    def reaches(self, at: float) -> bool:
        """Tell whether runs lie on both sides of an x; beyond them the line is extrapolated."""
        values = [x for x, _ in self.points]
        return min(values) <= at <= max(values)


def lines(records: Sequence[RunRecord], published: Published) -> list[Line]:
    """Fit a line for each preprocessing (resize, crop, filter) with at least three different runs, in order of name."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    axes = search_of(published).line
    for record in comparable(records, published):
        values = _paper_values(record, published)
        groups[_preprocessing_of(record)].append((values[axes.x], values[axes.y]))
    return [_fit(name, sorted(points)) for name, points in sorted(groups.items()) if len({x for x, _ in points}) > 2]


def _preprocessing_of(record: RunRecord) -> str:
    """Name resize, crop and filter of a run, for example `256x256, crop 224x224`."""
    spec = record.spec.preprocessing
    parts = [_plain(spec.resize), f"crop {_plain(spec.center_crop)}" if spec.center_crop else "no crop"]
    parts += [spec.interpolation] if spec.interpolation != "bilinear" else []
    parts += ["no antialias"] if not spec.antialias else []
    return ", ".join(parts)


def _fit(name: str, points: Sequence[tuple[float, float]]) -> Line:
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    squares = math.fsum((y - intercept - slope * x) ** 2 for x, y in points)
    return Line(name, tuple(points), slope, intercept, math.sqrt(squares / (len(points) - 2)))


@dataclass(frozen=True)
class Residual:
    """A published row against one preprocessing's line."""

    table: int
    row: str
    line: Line
    x: float
    y: float
    """The printed numbers."""
    predicted: float
    """The line's y at the printed x."""
    error: float
    """Standard error of that prediction for one run."""

    @property
    def deviations(self) -> float:
        """Printed less predicted y, in standard errors of the prediction; infinite where that is 0."""
        gap = self.y - self.predicted
        return gap / self.error if self.error else math.copysign(math.inf, gap)


def residuals(fitted: Sequence[Line], published: Published) -> list[Residual]:
    """Compare each published row of the search with each line: by table and row, the nearest line first."""
    search, found = search_of(published), []
    for name in search.plotted:
        x, y = (
            float(published.cell(name.table, name.row, column).printed) for column in (search.line.x, search.line.y)
        )
        of_row = [Residual(name.table, name.row, line, x, y, *line.predict(x)) for line in fitted]
        found += sorted(of_row, key=lambda each: abs(each.deviations))
    return found


@dataclass(frozen=True)
class Ranking:
    """One setting against one published row."""

    setting: str
    n_runs: int
    row: RowJudgement
    """The joint test of the row against this setting's seeds."""
    differences: dict[str, float]
    """Column -> mean over the seeds less published."""
    residual: Residual | None
    """The row against the line of the setting's preprocessing; None where that has too few runs for a line."""

    @property
    def p(self) -> float | None:
        """The joint p-value; None where there was no test."""
        return self.row.test.p if self.row.test else None


def rankings(records: Sequence[RunRecord], published: Published) -> list[Ranking]:
    """Rank every setting by the joint p-value of each row of the search, the largest of each row first.

    A ranking is exploration: with so many settings the largest p-value says little by itself.
    """
    found = residuals(lines(records, published), published)
    result = [
        _rank(setting, runs, name, found, published)
        for name in search_of(published).ranked_by
        for setting, runs in by_setting(records, published).items()
    ]
    return sorted(result, key=lambda one: (one.row.table, one.p is None, -(one.p or 0.0), one.setting))


def _rank(
    setting: str, runs: Sequence[RunRecord], name: RowName, found: Sequence[Residual], published: Published
) -> Ranking:
    judgements, differences, edition = [], {}, published.editions["paper"]
    for column in published.metrics:
        cell = published.cell(name.table, name.row, column)
        by_seed = {record.spec.seed: _paper_values(record, published)[cell.column] for record in runs}
        mean = math.fsum(by_seed.values()) / len(by_seed)
        steps = grid_steps(published.metrics[cell.column], mean, runs[0])
        keys, declared = tuple(record.key for record in runs), by_seed.get(edition.declared_seed)
        measured = Measured(by_seed, None, keys, steps=steps, declared=declared)
        judgements.append(judge(cell, measured, edition))
        differences[cell.column] = mean - float(cell.printed)
    (row,) = judge_rows(judgements, edition)
    of_row = [one for one in found if (one.table, one.row) == (row.table, row.row)]
    residual = next((one for one in of_row if one.line.preprocessing == _preprocessing_of(runs[0])), None)
    return Ranking(setting, len(runs), row, differences, residual)
