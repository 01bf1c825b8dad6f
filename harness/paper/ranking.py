"""Rank the settings of `settings_bottle` by the paper's bottle rows: by digits, and by pixel F1 given pixel AUROC."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.paper.arithmetic import prints_as
from harness.paper.model import PAPER_METRICS, Place
from harness.paper.published import Published
from harness.paper.selection import read_config, required_settings
from harness.store.settings import settings_of, varying

if TYPE_CHECKING:
    from harness.store import RunRecord

PLACE = Place("mvtec", "bottle", "resnet18")
FIRST = ("index_sampler", "epsilon", "center_crop", "blur_sigma", "interpolation", "antialias")
"""What a setting's name says first; any other field of the protocol that is not the paper's follows."""


@dataclass(frozen=True)
class Agreement:
    """One run against one published row."""

    table: int
    setting: str
    """What is not as in configs/protocol/paper.yaml, or `paper`; the weights' label where they are others."""
    seed: int
    exact: tuple[str, ...]
    """Columns whose printed digits this run gives."""
    differences: dict[str, float]
    """Column -> reproduced less published."""
    key: str

    @property
    def distance(self) -> float:
        """Mean absolute difference over the row's columns."""
        return sum(map(abs, self.differences.values())) / len(self.differences)


def agreements(records: Iterable[RunRecord], published: Published) -> list[Agreement]:
    """Every run that `comparable` takes, against Table 1's and Table 2's row, the best of each table first.

    Ranked by how many of the row's four numbers a run gives to the printed digit, then by the mean absolute difference.
    """
    rows = {(cell.table, cell.row) for cell in published.cells if cell.places == (PLACE,) and cell.table in (1, 2)}
    taken = comparable(records)
    usual = usual_weights(taken)
    found = []
    for record in taken:
        found += [_agreement(record, table, row, published, usual) for table, row in rows]
    return sorted(found, key=lambda one: (one.table, -len(one.exact), one.distance, one.setting, one.seed))


def comparable(records: Iterable[RunRecord]) -> list[RunRecord]:
    """The ok and exact runs of the whole real bottle with ResNet-18 that have all of the paper's metrics."""
    return [
        record
        for record in records
        if (record.spec.dataset, record.spec.category, record.spec.backbone.name)
        == (PLACE.dataset, PLACE.category, PLACE.backbone)
        and record.status == "ok"
        and record.dataset.limit is None
        and not record.spec.inexact
        and all(record.values[metric] is not None for metric in PAPER_METRICS.values())
    ]


def usual_weights(records: Sequence[RunRecord]) -> str | None:
    """The digest of the weights that most runs have, of which a setting's name says nothing."""
    counts = Counter(record.spec.backbone.weights_digest for record in records)
    return max(counts, key=lambda digest: (counts[digest], digest)) if counts else None


def _agreement(record: RunRecord, table: int, row: str, published: Published, usual: str | None) -> Agreement:
    exact, differences = [], {}
    for column, metric in PAPER_METRICS.items():
        printed = published.cell(table, row, column).printed
        value = record.values[metric]
        assert value is not None, "a comparable run has it"
        differences[column] = value - float(printed)
        if prints_as(value, printed):
            exact.append(column)
    return Agreement(table, setting_of(record, usual), record.spec.seed, tuple(exact), differences, record.key)


def setting_of(record: RunRecord, usual: str | None = None) -> str:
    """What is not the paper's protocol, in words.

    Args:
        usual: the digest of the weights that need no mention; None where no weights are mentioned.
    """
    usually = {"engine": "streaming", "device": "cpu"}
    paper, own = required_settings(read_config("protocol/paper"), PLACE.backbone) | usually, settings_of(record)
    unlike = [name.removeprefix("protocol.") for name in varying([paper, {name: own[name] for name in paper}])]
    parts = [
        f"{name}={_plain(own.get(f'protocol.{name}', own.get(name)))}"
        for name in sorted(unlike, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    ]
    digest = record.spec.backbone.weights_digest
    parts += [f"weights={record.weights} ({digest[:8]})"] if usual not in (None, digest) else []
    return " ".join(parts) or "paper"


def _plain(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Spread:
    """All seeds of one setting: lowest and highest value of each of the paper's columns."""

    setting: str
    n_runs: int
    ranges: dict[str, tuple[float, float]]


def spreads(records: Sequence[RunRecord]) -> list[Spread]:
    """The range over seeds for each setting, in the order of its name, `paper` first."""
    groups: dict[str, list[RunRecord]] = {}
    taken = comparable(records)
    for record in taken:
        groups.setdefault(setting_of(record, usual_weights(taken)), []).append(record)
    result = []
    for setting in sorted(groups, key=lambda name: (name != "paper", name)):
        values = {
            column: [value for record in groups[setting] if (value := record.values[metric]) is not None]
            for column, metric in PAPER_METRICS.items()
        }
        ranges = {column: (min(each), max(each)) for column, each in values.items() if each}
        result.append(Spread(setting, len(groups[setting]), ranges))
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
        mean, spread = self._moments
        n = len(self.points)
        error = self.deviation * math.sqrt(1 + 1 / n + (auroc - mean) ** 2 / spread)
        return self.intercept + self.slope * auroc, error

    def reaches(self, auroc: float) -> bool:
        """Whether runs lie on both sides of a pixel AUROC; beyond them the line is extrapolated."""
        values = [x for x, _ in self.points]
        return min(values) <= auroc <= max(values)

    @property
    def _moments(self) -> tuple[float, float]:
        values = [x for x, _ in self.points]
        mean = math.fsum(values) / len(values)
        return mean, math.fsum((x - mean) ** 2 for x in values)


def lines(records: Sequence[RunRecord]) -> list[Line]:
    """Fit a line for each preprocessing (resize, crop, filter) with at least three different runs, in order of name."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for record in comparable(records):
        auroc, f1 = (record.values[PAPER_METRICS[column]] for column in ("Pix AUROC", "Pix F1"))
        if auroc is not None and f1 is not None:
            groups.setdefault(preprocessing_of(record), []).append((auroc, f1))
    return [_fit(name, points) for name, points in sorted(groups.items()) if len({x for x, _ in points}) > 2]


def preprocessing_of(record: RunRecord) -> str:
    """Name resize, crop and filter of a run, for example `256x256, crop 224x224`."""
    protocol = record.spec.protocol
    crop = f"crop {_plain(list(protocol.center_crop))}" if protocol.center_crop else "no crop"
    parts = [_plain(list(protocol.resize)), crop]
    parts += [protocol.interpolation] if protocol.interpolation != "bilinear" else []
    parts += ["no antialias"] if not protocol.antialias else []
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

    @property
    def predicted(self) -> float:
        """Pixel F1 of the line at the printed pixel AUROC."""
        return self.line.predict(self.auroc)[0]

    @property
    def error(self) -> float:
        """Standard error of that prediction for one run."""
        return self.line.predict(self.auroc)[1]

    @property
    def deviations(self) -> float:
        """Printed less predicted pixel F1, in standard errors of the prediction."""
        return (self.f1 - self.predicted) / self.error


def residuals(fitted: Sequence[Line], published: Published) -> list[Residual]:
    """Hold each published row of the bottle against each line: by table and row, the nearest line first."""
    rows = {
        (cell.table, cell.row): None
        for cell in published.cells
        if cell.table in (1, 2) and [place.category for place in cell.places] == [PLACE.category]
    }
    found = []
    for table, row in rows:
        auroc, f1 = (float(published.cell(table, row, column).printed) for column in ("Pix AUROC", "Pix F1"))
        found += sorted(
            (Residual(table, row, line, auroc, f1) for line in fitted), key=lambda each: abs(each.deviations)
        )
    return found
