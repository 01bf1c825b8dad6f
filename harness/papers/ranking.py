"""Rank the settings of `settings_bottle` by the paper's bottle rows: jointly, and by pixel F1 given pixel AUROC."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.papers.model import PAPER, PAPER_METRICS, Measured, Place, PublishedCell, RowJudgement
from harness.papers.published import Published
from harness.papers.selection import grid_steps, required_settings
from harness.papers.verdict import judge, judge_rows
from harness.store.fields import settings_of, varying

if TYPE_CHECKING:
    from harness.store import RunRecord

PLACE = Place("mvtec", "bottle", "resnet18")
FIRST = ("index_sampler", "epsilon", "center_crop", "blur_sigma", "interpolation", "antialias")
"""What a setting's name says first; any other field of the protocol that is not the paper's follows."""


def comparable(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the ok and exact runs of the whole real bottle with ResNet-18 that have all of the paper's metrics."""
    return [
        record
        for record in records
        if (record.spec.dataset, record.spec.category, record.spec.backbone.name)
        == (PLACE.dataset, PLACE.category, PLACE.backbone)
        and record.status == "ok"
        and record.dataset.limit is None
        and "+" not in record.spec.engine
        and len(_paper_values(record)) == len(PAPER_METRICS)
    ]


def _paper_values(record: RunRecord) -> dict[str, float]:
    """Return column -> value, of those that the run has."""
    values = {column: record.values[metric] for column, metric in PAPER_METRICS.items()}
    return {column: value for column, value in values.items() if value is not None}


def usual_weights(records: Sequence[RunRecord]) -> str | None:
    """Return the digest of the weights that most runs have, which a setting's name does not mention."""
    counts = Counter(record.spec.backbone.weights_digest for record in records)
    return max(counts, key=lambda digest: (counts[digest], digest)) if counts else None


def setting_of(record: RunRecord, usual: str | None = None) -> str:
    """Put into words what is not the paper's protocol.

    Args:
        usual: the digest of the weights that need no mention; None where no weights are mentioned.
    """
    usually = {"engine": "streaming", "device": "cpu"}
    paper, own = required_settings("paper", PLACE.backbone) | usually, settings_of(record)
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


def by_setting(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the comparable runs of each setting, in the order of its name, `paper` first."""
    taken = comparable(records)
    usual = usual_weights(taken)
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in taken:
        groups[setting_of(record, usual)].append(record)
    return {name: groups[name] for name in sorted(groups, key=lambda name: (name != "paper", name))}


@dataclass(frozen=True)
class Spread:
    """All seeds of one setting: lowest and highest value of each of the paper's columns."""

    setting: str
    n_runs: int
    ranges: dict[str, tuple[float, float]]


def spreads(records: Sequence[RunRecord]) -> list[Spread]:
    """Return the range over seeds for each setting, in the order of its name, `paper` first."""
    result = []
    for setting, runs in by_setting(records).items():
        values = [_paper_values(record) for record in runs]
        ranges = {column: (min(v[column] for v in values), max(v[column] for v in values)) for column in PAPER_METRICS}
        result.append(Spread(setting, len(runs), ranges))
    return result


@dataclass(frozen=True)
class Line:
    """The least-squares line of pixel F1 on pixel AUROC over all runs of one preprocessing."""

    preprocessing: str
    points: tuple[tuple[float, float], ...]
    """(pixel AUROC, pixel F1) of each run."""
    slope: float
    intercept: float
    deviation: float
    """Standard deviation of the runs about the line, with n - 2 degrees of freedom."""

    def predict(self, auroc: float) -> tuple[float, float]:
        """Return pixel F1 at a pixel AUROC, and the standard error of predicting one more run there."""
        values = [x for x, _ in self.points]
        n, mean = len(values), math.fsum(values) / len(values)
        spread = math.fsum((x - mean) ** 2 for x in values)
        error = self.deviation * math.sqrt(1 + 1 / n + (auroc - mean) ** 2 / spread)
        return self.intercept + self.slope * auroc, error

    def reaches(self, auroc: float) -> bool:
        """Tell whether runs lie on both sides of a pixel AUROC; beyond them the line is extrapolated."""
        values = [x for x, _ in self.points]
        return min(values) <= auroc <= max(values)


def lines(records: Sequence[RunRecord]) -> list[Line]:
    """Fit a line for each preprocessing (resize, crop, filter) with at least three different runs, in order of name."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in comparable(records):
        values = _paper_values(record)
        groups[_preprocessing_of(record)].append((values["Pix AUROC"], values["Pix F1"]))
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
    auroc: float
    f1: float
    """The printed pixel AUROC and pixel F1."""
    predicted: float
    """Pixel F1 of the line at the printed pixel AUROC."""
    error: float
    """Standard error of that prediction for one run."""

    @property
    def deviations(self) -> float:
        """Printed less predicted pixel F1, in standard errors of the prediction; infinite where that is 0."""
        gap = self.f1 - self.predicted
        return gap / self.error if self.error else math.copysign(math.inf, gap)


def residuals(fitted: Sequence[Line], published: Published) -> list[Residual]:
    """Compare each published row of the bottle with each line: by table and row, the nearest line first."""
    found = []
    for cell in published.cells:
        if cell.table in (1, 2) and cell.column == "Pix AUROC" and [one.category for one in cell.places] == ["bottle"]:
            auroc, f1 = float(cell.printed), float(published.cell(cell.table, cell.row, "Pix F1").printed)
            of_row = [Residual(cell.table, cell.row, line, auroc, f1, *line.predict(auroc)) for line in fitted]
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
    """Rank every setting by the joint p-value of Table 1's and Table 2's row, the largest of each table first.

    A ranking is exploration: with so many settings the largest p-value says little by itself.
    """
    found = residuals(lines(records), published)
    rows = dict.fromkeys(
        (cell.table, cell.row) for cell in published.cells if cell.places == (PLACE,) and cell.table < 3
    )
    result = [
        _rank(setting, runs, [published.cell(*row, column) for column in PAPER_METRICS], found)
        for row in rows
        for setting, runs in by_setting(records).items()
    ]
    return sorted(result, key=lambda one: (one.row.table, one.p is None, -(one.p or 0.0), one.setting))


def _rank(
    setting: str, runs: Sequence[RunRecord], cells: Sequence[PublishedCell], found: Sequence[Residual]
) -> Ranking:
    judgements, differences = [], {}
    for cell in cells:
        by_seed = {record.spec.seed: _paper_values(record)[cell.column] for record in runs}
        mean = math.fsum(by_seed.values()) / len(by_seed)
        steps = grid_steps(PAPER_METRICS[cell.column], mean, runs[0])
        measured = Measured(by_seed, None, tuple(record.key for record in runs), steps=steps)
        judgements.append(judge(cell, measured, PAPER))
        differences[cell.column] = mean - float(cell.printed)
    (row,) = judge_rows(judgements)
    of_row = [one for one in found if (one.table, one.row) == (row.table, row.row)]
    residual = next((one for one in of_row if one.line.preprocessing == _preprocessing_of(runs[0])), None)
    return Ranking(setting, len(runs), row, differences, residual)
