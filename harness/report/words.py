"""What tables, figures and page show at one place of the paper: names, a number with its spread, or why it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.config.keys import protocol_settings
from harness.data.catalog import CATALOG
from harness.papers.model import Edition, Judgement
from harness.papers.published import Published
from harness.papers.reading import load_parameters
from harness.papers.selection import read_config

if TYPE_CHECKING:
    from harness.store import RunRecord

BACKBONE_NAMES = {
    "resnet18": "ResNet-18",
    "wide_resnet50_2": "Wide-ResNet-50-2",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite2": "EfficientNet-Lite2",
}
MODEL_NAMES = {"padim": "PaDiM", "patchcore": "PatchCore", "dfm": "DFM", "dfkde": "DFKDE", "stfpm": "STFPM"}
DATASET_NAMES = {name: dataset.title.removesuffix(" (drawn)") for name, dataset in CATALOG.items()}
_SHORT = {"wide_resnet50_2": "WRN-50-2"}
"""How the paper shortens a backbone's name."""

_PLACE = re.compile(r"[^/ ]+/[^/ ]+/[^/ ]+: ")
"""How `harness.papers.selection` begins a reason: dataset/category/backbone."""

_FAILED = re.compile(r": seed [0-9, ]+ failed")
"""How `harness.papers.selection` begins a missing place's reasons where a run failed."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The paper against a store: all that tables and figures are made from."""

    published: Published
    edition: Edition
    judgements: tuple[Judgement, ...]
    """Of every published number, by `harness.papers.verdict.judge_all`."""
    records: tuple[RunRecord, ...] = ()
    """Of the store, failed ones too; those that fill a place are named in footers."""

    @cached_property
    def cells(self) -> Mapping[tuple[int, str, str], Judgement]:
        """Judgements by table, row and column."""
        return {(one.cell.table, one.cell.row, one.cell.column): one for one in self.judgements}

    def numbers(self, table: int, rows: Iterable[str]) -> list[Judgement]:
        """Return the numbers of these rows that runs give, row by row."""
        there = self.published.table(table).value_columns
        return [self.cells[table, row, column] for row in rows for column in self.published.metrics if column in there]

    def backbone(self, name: str | None = None) -> str:
        """Return what the edition has for one of the paper's backbones (None: the first), as people write it."""
        return written(self.edition.backbones[name or next(iter(self.edition.backbones))])

    def dataset(self, name: str) -> str:
        """Return what the edition has for one of the paper's datasets, as people write it."""
        return DATASET_NAMES[self.edition.datasets[name]]

    def row_name(self, table: int, row: str) -> str:
        """Return a row's name in the edition; parameters and features in it are the harness's, not the paper's."""
        shown = self.published.table(table).row(row).shown
        if shown is None:
            return in_edition(row, self.edition)
        place = self.published.places(table, row)[0]
        backbone = self.edition.backbones[place.backbone]
        return shown.format(
            backbone=written(backbone),
            parameters=f"{load_parameters()[backbone] / 1e6:.1f}",
            kept=_protocol_of(self.edition, place.model, backbone).get("model.n_features"),
        )


def table_title(published: Published, table: int, edition: Edition) -> str:
    """Return `Table n.` and the paper's title; in a table of the literature datasets keep their names."""
    literature = published.table(table).literature
    title = in_edition(published.table(table).title, edition, datasets=not literature)
    if not edition.synthetic:
        return f"Table {table}. {title}"
    drawn = f" The {model_name(published, table)} rows are of drawn images." if literature else ""
    return f"SYNTHETIC (drawn images). Table {table}. {title}{drawn}"


def model_name(published: Published, table: int) -> str:
    """Return the model of a table's runs (of the paper's, where the table has none), as people write it."""
    places = [(cell.table == table, place) for cell in published.cells for place in cell.places]
    model = max(places, key=lambda one: one[0])[1].model
    return MODEL_NAMES.get(model, model)


def in_edition(text: str, edition: Edition, *, datasets: bool = True) -> str:
    """Return the paper's words, with what the edition puts in place of the paper's datasets and backbones."""
    for ours, theirs in edition.backbones.items():
        if ours != theirs:
            text = text.replace(written(ours), written(theirs))
            text = text.replace(_SHORT.get(ours, written(ours)), written(theirs))
    for ours, theirs in edition.datasets.items() if datasets else ():
        text = text.replace(DATASET_NAMES[ours], DATASET_NAMES[theirs]) if ours != theirs else text
    return text


@dataclass(frozen=True)
class BackboneFacts:
    """One backbone as an edition uses it: channels of all layers, those kept, cells along each layer's side."""

    name: str
    n_channels: int
    n_kept: int
    grids: tuple[int, ...]


@dataclass(frozen=True)
class ProtocolFacts:
    """What configs/ says of an edition's protocol, for the pipeline's drawing and the tables' footers."""

    name: str
    settings: Mapping[str, Any]
    """By a request's keys."""
    resize: str
    input_size: str
    """Height × width in pixels, after the crop."""
    backbones: tuple[BackboneFacts, ...]
    """In the order of `Edition.backbones`."""
    grid: int
    """Cells along one side of the finest layer's grid."""

    @property
    def sentence(self) -> str:
        """The whole protocol on one line."""
        kept = ", ".join(f"{one.n_kept} of {one.n_channels} channels ({one.name})" for one in self.backbones)
        own = {
            "epsilon": f"epsilon {self.settings.get('model.epsilon')}",
            "blur_sigma": f"Gaussian sigma {self.settings.get('model.blur_sigma')}",
            "index_sampler": f"index sampler {self.settings.get('model.index_sampler')}",
        }
        parts = [f"resize {self.resize}, centre crop {self.input_size}, {self.grid}×{self.grid} grid, {kept}"]
        parts += [text for name, text in own.items() if f"model.{name}" in self.settings]
        parts.insert(2, f"batch {self.settings['preprocessing.batch_size']}")
        return f"Protocol {self.name}: {', '.join(parts)}."


def written(backbone: str) -> str:
    """Return a backbone's name as people write it."""
    return BACKBONE_NAMES.get(backbone, backbone)


def _protocol_of(edition: Edition, model: str, backbone: str = "") -> Mapping[str, Any]:
    return protocol_settings(edition.protocol, model=model, backbone=backbone)


def protocol_facts(published: Published, edition: Edition) -> ProtocolFacts:
    """Read configs/protocol and configs/backbone for an edition, and the model of the paper's first row of runs."""
    model = next(cell.places[0].model for cell in published.cells if cell.places)
    protocol = _protocol_of(edition, model)
    side = protocol["preprocessing.center_crop"] or protocol["preprocessing.resize"]
    backbones = []
    for name in edition.backbones.values():
        backbone = read_config(f"backbone/{name}")
        kept = int(_protocol_of(edition, model, name).get("model.n_features") or sum(backbone["channels"]))
        grids = tuple(side[0] // reduction for reduction in backbone["reductions"])
        backbones.append(BackboneFacts(written(name), sum(backbone["channels"]), kept, grids))
    resize, input_size = (f"{height}×{width}" for height, width in (protocol["preprocessing.resize"], side))
    return ProtocolFacts(edition.protocol, protocol, resize, input_size, tuple(backbones), backbones[0].grids[0])


class Whisker(StrEnum):
    """What the whiskers of a figure show."""

    SEEDS = "range over the seeds run"
    INTERVAL = "95 % interval over the test images"
    NONE = ""


def absence(judgement: Judgement) -> str:
    """Say why there is no number at the declared seed, in a few words; empty where there is one or no run can give it.

    `not run (1 of 3)` is a mean that is refused because it would be over fewer categories than it says.
    """
    measured, n = judgement.measured, len(judgement.cell.places)
    if judgement.cell.metric is None or measured.declared is not None:
        return ""
    if measured.by_seed:
        return "no declared seed"
    reasons = " ".join((*measured.missing, *measured.refused))
    if _FAILED.search(reasons):
        word = "failed"
    elif measured.refused:
        word = "runs contradict"
    elif " is absent (" in reasons:
        word = "no metric"
    else:
        word = "none counts" if "does not count" in reasons else "not run"
    found = places_run(judgement)
    if n == 1 or not found:
        return word
    return f"{word} ({found} of {n})" if found < n else "no common runs"


def places_run(judgement: Judgement) -> int:
    """Count how many of the places that a mean is over have runs that count."""
    measured = judgement.measured
    return len(judgement.cell.places) - sum(bool(_PLACE.match(text)) for text in (*measured.missing, *measured.refused))


def choose_whisker(judgements: Iterable[Judgement]) -> Whisker:
    """Choose one kind of whisker for a whole figure: the seeds' range where every measured cell has two seeds or more.

    Else intervals, where any cell has one, so that two kinds never stand side by side.
    """
    measured = [one.measured for one in judgements if one.measured.by_seed]
    if measured and all(len(one.by_seed) > 1 for one in measured):
        return Whisker.SEEDS
    return Whisker.INTERVAL if any(one.half_width is not None for one in measured) else Whisker.NONE


def whisker(judgement: Judgement, kind: Whisker) -> tuple[float, float] | None:
    """Return both ends of a cell's whisker; None where it has none of this kind.

    A mean over categories has no interval of its own: its half-width combines the categories'.
    """
    measured = judgement.measured
    middle, width = measured.declared, measured.half_width
    if kind is Whisker.SEEDS:
        return measured.seed_range
    if kind is Whisker.NONE or middle is None or width is None:
        return None
    return measured.interval or (max(middle - width, 0.0), min(middle + width, 1.0))


def whisker_words(judgements: Sequence[Judgement], edition: Edition) -> str:
    """Say what a figure's bars and whiskers are, in one sentence, with how many seeds there are."""
    measured, kind = [one.measured for one in judgements if one.measured.by_seed], choose_whisker(judgements)
    if not measured:
        return "No run fills a place of this figure: the published values stand alone."
    if kind is Whisker.SEEDS:
        counts = sorted({len(one.by_seed) for one in measured})
        number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        whiskers = f"Whiskers: lowest to highest of the {number} seeds run."
    elif kind is Whisker.NONE:
        whiskers = "No whiskers: one seed, and no intervals in the records."
    else:
        combined = any(one.interval is None and one.half_width is not None for one in measured)
        how = ", combined for a mean from its categories' half-widths" if combined else ""
        whiskers = f"Whiskers: 95 % interval over the test images{how}."
    return f"Bars: the store's runs at seed {edition.declared_seed}. {whiskers}"
