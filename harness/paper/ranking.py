"""Which settings come nearest to the paper's bottle rows: every run of `settings_bottle`, ranked by joint agreement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.paper.digits import prints_as
from harness.paper.model import PAPER_METRICS, Place
from harness.paper.published import Published

if TYPE_CHECKING:
    from harness.store import RunRecord

PLACE = Place("mvtec", "bottle", "resnet18")
DEFAULTS = {"index_sampler": "anomalib_v1", "epsilon": 0.01, "center_crop": [224, 224], "blur_sigma": 4}
"""The paper's protocol, which a setting's name need not repeat."""


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
    """Every ok run of the real bottle with ResNet-18 against Table 1's and Table 2's row, the best of each table first.

    Ranked by how many of the row's four numbers a run gives to the printed digit, then by the mean absolute difference.
    """
    rows = {(cell.table, cell.row) for cell in published.cells if cell.places == (PLACE,) and cell.table in (1, 2)}
    found = []
    for record in _of_the_place(records):
        found += [_agreement(record, table, row, published) for table, row in rows]
    return sorted(found, key=lambda one: (one.table, -len(one.exact), one.distance, one.setting, one.seed))


def _of_the_place(records: Iterable[RunRecord]) -> list[RunRecord]:
    return [
        record
        for record in records
        if (record.spec.dataset, record.spec.category, record.spec.backbone.name)
        == (PLACE.dataset, PLACE.category, PLACE.backbone)
        and record.status == "ok"
        and record.dataset.limit is None
    ]


def _agreement(record: RunRecord, table: int, row: str, published: Published) -> Agreement:
    exact, differences = [], {}
    for column, metric in PAPER_METRICS.items():
        printed = published.cell(table, row, column).printed
        value = record.values[metric]
        assert value is not None, "the bottle has masks and both classes"
        differences[column] = value - float(printed)
        if prints_as(value, printed):
            exact.append(column)
    return Agreement(table, setting_of(record), record.spec.seed, tuple(exact), differences, record.key)


def setting_of(record: RunRecord) -> str:
    """What is not the paper's protocol, in words."""
    protocol = record.spec.protocol
    parts = [
        f"{name}={_plain(getattr(protocol, name))}"
        for name, value in DEFAULTS.items()
        if getattr(protocol, name) != value
    ]
    parts += [f"interpolation={protocol.interpolation}"] if protocol.interpolation != "bilinear" else []
    parts += [] if protocol.antialias else ["antialias=false"]
    parts += [f"n_features={record.spec.n_features}"] if record.spec.n_features != 100 else []
    parts += [f"engine={record.spec.engine}"] if record.spec.engine != "streaming" else []
    return " ".join(parts) or "paper"


def _plain(value: object) -> str:
    return "null" if value is None else "x".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Spread:
    """All seeds of one setting: lowest and highest value of each of the paper's columns."""

    setting: str
    n_runs: int
    ranges: dict[str, tuple[float, float]]


def spreads(records: Sequence[RunRecord]) -> list[Spread]:
    """The range over seeds for each setting, in the order of its name, `paper` first."""
    groups: dict[str, list[RunRecord]] = {}
    for record in _of_the_place(records):
        groups.setdefault(setting_of(record), []).append(record)
    result = []
    for setting in sorted(groups, key=lambda name: (name != "paper", name)):
        values = {
            column: [value for record in groups[setting] if (value := record.values[metric]) is not None]
            for column, metric in PAPER_METRICS.items()
        }
        ranges = {column: (min(each), max(each)) for column, each in values.items() if each}
        result.append(Spread(setting, len(groups[setting]), ranges))
    return result
