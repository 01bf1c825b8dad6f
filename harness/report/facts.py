"""What configs/ says of an edition's protocol and backbones, for captions, footers and the drawn pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from harness.data.catalog import CATALOG
from harness.keys import CONFIGS
from harness.paper.model import Edition

BACKBONE_NAMES = {
    "resnet18": "ResNet-18",
    "wide_resnet50_2": "Wide-ResNet-50-2",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite2": "EfficientNet-Lite2",
}
DATASET_NAMES = {name: dataset.title.removesuffix(" (drawn)") for name, dataset in CATALOG.items()}


@dataclass(frozen=True)
class BackboneFacts:
    """One backbone as an edition uses it."""

    name: str
    """As people write it."""
    n_channels: int
    """Of the three layers together."""
    n_features: int
    """Channels that are kept."""
    grids: tuple[int, ...]
    """Cells along one side of each layer's grid, finest first."""


@dataclass(frozen=True)
class ProtocolFacts:
    """The protocol's numbers that the pipeline's drawing and the tables' footers show."""

    name: str
    resize: tuple[int, int]
    """(height, width) in pixels."""
    input_size: tuple[int, int]
    """(height, width) in pixels, after the crop."""
    epsilon: float
    blur_sigma: int
    batch_size: int
    index_sampler: str
    backbones: tuple[BackboneFacts, ...]
    """In the order of `Edition.backbones`."""

    @property
    def grid(self) -> int:
        """Cells along one side of the finest layer's grid."""
        return self.backbones[0].grids[0]

    @property
    def sentence(self) -> str:
        """The whole protocol on one line."""
        kept = ", ".join(f"{one.n_features} of {one.n_channels} channels ({one.name})" for one in self.backbones)
        return (
            f"Protocol {self.name}: resize {size(self.resize)}, centre crop {size(self.input_size)}, "
            f"{self.grid}×{self.grid} grid, {kept}, epsilon {self.epsilon:g}, batch {self.batch_size}, "
            f"Gaussian sigma {self.blur_sigma}, index sampler {self.index_sampler}."
        )


def size(pixels: tuple[int, int]) -> str:
    """Height × width, as it is usually written."""
    return f"{pixels[0]}×{pixels[1]}"


def protocol_facts(edition: Edition) -> ProtocolFacts:
    """Read configs/protocol and configs/backbone for an edition."""
    protocol = _load(f"protocol/{edition.protocol}.yaml")
    resize = (protocol["resize"][0], protocol["resize"][1])
    crop = protocol["center_crop"]
    input_size = (crop[0], crop[1]) if crop else resize
    return ProtocolFacts(
        name=edition.protocol,
        resize=resize,
        input_size=input_size,
        epsilon=protocol["epsilon"],
        blur_sigma=protocol["blur_sigma"],
        batch_size=protocol["batch_size"],
        index_sampler=protocol["index_sampler"],
        backbones=tuple(_backbone(name, protocol, input_size[0]) for name in edition.backbones.values()),
    )


def _backbone(name: str, protocol: Mapping[str, Any], side: int) -> BackboneFacts:
    backbone = _load(f"backbone/{name}.yaml")
    return BackboneFacts(
        name=BACKBONE_NAMES.get(name, name),
        n_channels=sum(backbone["channels"]),
        n_features=protocol["n_features"][name],
        grids=tuple(side // reduction for reduction in backbone["reductions"]),
    )


@cache
def _load(path: str) -> Mapping[str, Any]:
    import yaml

    return MappingProxyType(yaml.safe_load((CONFIGS / path).read_text(encoding="utf-8")))
