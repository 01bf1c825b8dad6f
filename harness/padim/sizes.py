"""What a pass over a category's images has to do, as far as its memory depends on it, and the sizes that follow."""

from __future__ import annotations

from dataclasses import dataclass

from harness.config import BackboneConfig, ProtocolConfig

FLOAT = 4
"""Bytes."""
GIB = 2**30
_STEM_CHANNELS = 96
"""Of the widest layer at half the input's resolution, before the first that is read: 64 in ResNets, 96 in Lites."""
_UNKNOWN_NETWORK_BYTES = 100 * 2**20
"""Of weights that are in no file."""
_METRIC_BYTES = 11
"""By pixel of all anomaly maps, while their metrics are computed."""


@dataclass(frozen=True)
class Task:
    """A category, a backbone and a protocol."""

    backbone: BackboneConfig
    protocol: ProtocolConfig
    n_train: int
    n_test: int
    weights_bytes: int | None
    """Of the weights' file; None where there is none."""
    device: str
    threads: int
    decoders: int
    """Threads that decode for a GPU."""

    @property
    def network_bytes(self) -> int:
        """Of the network's weights."""
        return self.weights_bytes if self.weights_bytes is not None else _UNKNOWN_NETWORK_BYTES

    @property
    def pixels(self) -> int:
        """Of one image, as the network sees it."""
        height, width = self.protocol.input_size
        return height * width

    @property
    def maps_bytes(self) -> int:
        """Of one run's anomaly maps."""
        return self.n_test * self.pixels * FLOAT

    def judging_bytes(self, judges: int) -> int:
        """Of so many runs' maps while their metrics are computed beside one another, and of the masks."""
        pixels = self.n_test * self.pixels
        return judges * pixels * (FLOAT + _METRIC_BYTES) + pixels

    @property
    def cells(self) -> list[int]:
        """Of each layer's grid, the finest first."""
        height, width = self.protocol.input_size
        return [-(-height // stride) * -(-width // stride) for stride in self.backbone.reductions]

    @property
    def largest_layer(self) -> int:
        """Floats of one image in the network's largest layer."""
        height, width = self.protocol.input_size
        stem = _STEM_CHANNELS * -(-height // 2) * -(-width // 2)
        return max(stem, *(count * cells for count, cells in zip(self.backbone.channels, self.cells, strict=True)))
