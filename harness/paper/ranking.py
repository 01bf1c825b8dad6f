"""Which settings come nearest to the paper's bottle rows: every run of `settings_bottle`, ranked by joint agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from harness.keys import CONFIGS
from harness.paper.digits import prints_as
from harness.paper.model import PAPER_METRICS, Place
from harness.paper.published import Published

if TYPE_CHECKING:
    from harness.store import RunRecord

PLACE = Place("mvtec", "bottle", "resnet18")
PAPER = CONFIGS / "protocol" / "paper.yaml"
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
    paper, protocol = _paper_protocol(), record.spec.protocol.model_dump()
    names = [*FIRST, *(name for name in protocol if name not in FIRST)]
    parts = [f"{name}={_plain(protocol[name])}" for name in names if protocol[name] != paper[name]]
    n_features = paper["n_features"][PLACE.backbone]
    parts += [f"n_features={record.spec.n_features}"] if record.spec.n_features != n_features else []
    parts += [f"engine={record.spec.engine}"] if record.spec.engine != "streaming" else []
    parts += [f"device={record.spec.device}"] if record.spec.device != "cpu" else []
    digest = record.spec.backbone.weights_digest
    parts += [f"weights={record.weights} ({digest[:8]})"] if usual not in (None, digest) else []
    return " ".join(parts) or "paper"


@cache
def _paper_protocol() -> Mapping[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(PAPER))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


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
