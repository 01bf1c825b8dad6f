"""Patch embeddings: the kept channels of each layer on the finest layer's grid.

Source: anomalib's PadimModel.generate_embedding, whose values these are, bit for bit. It upsamples every channel and
then drops most of them; here the channels are taken first, and all variants share the features. Locations come first
and images last, (L, D, B): taking locations and channels then moves whole runs of images (twice as fast as with the
channels last), and the products over images need no other order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    import torch
    from anomalib.models.components import TimmFeatureExtractor


class FeatureReader:
    """The network on its device, and the grids that its layers turned out to have."""

    grid: tuple[int, int]
    """(rows, columns) of the finest layer: the locations, row by row."""
    rows: list[torch.Tensor]
    """For each layer, (L,) int64: the cell that each location reads."""

    def __init__(self, network: TimmFeatureExtractor, device: str = "cpu") -> None:
        self.network = network.to(device)
        self.channels = tuple(network.out_dims)
        self._device = device
        self._n_read: dict[str, int] = {}

    @property
    def n_locations(self) -> int:
        """Locations of the grid, known after the first batch."""
        return self.grid[0] * self.grid[1]

    def read(self, images: torch.Tensor, part: str) -> list[torch.Tensor]:
        """Return each layer's features as (cells, channels, B) float32, contiguous.

        Args:
            images: (B, 3, H, W) float32, normalised.
            part: of the split, `training` or `test`, to name the images in an error.

        Raises:
            DataError: a NaN or an infinity in the features; names the layer, the place and the batch of images.
        """
        import torch

        with torch.inference_mode():
            features = self.network(images.to(self._device))
        first = self._n_read.get(part, 0) + 1
        self._n_read[part] = first + len(images) - 1
        for name, layer in features.items():
            _check_finite(layer, f"{name} of {part} images {first} to {self._n_read[part]}")
        layers = list(features.values())
        grids = [(layer.shape[2], layer.shape[3]) for layer in layers]
        if not hasattr(self, "grid"):
            self.grid, self.rows = grids[0], nearest_rows(grids, self._device)
        elif self.grid != grids[0]:
            raise RuntimeError(f"the images changed in size: a grid of {grids[0]} after {self.grid}")
        return [layer.flatten(2).permute(2, 1, 0).contiguous() for layer in layers]


class Selection:
    """The channels that one variant keeps."""

    def __init__(self, indices: np.ndarray, channels: Sequence[int], device: str = "cpu") -> None:
        """Take `indices` (D,), int64, into the concatenation of layers of `channels` channels each."""
        import torch

        self._n_features = len(indices)
        starts = np.cumsum([0, *channels])
        self._parts: list[tuple[torch.Tensor, torch.Tensor]] = []
        for start, end in pairwise(starts):
            positions = np.flatnonzero((start <= indices) & (indices < end))
            sources = indices[positions] - start
            self._parts.append((torch.from_numpy(sources).to(device), torch.from_numpy(positions).to(device)))

    def __call__(self, layers: Sequence[torch.Tensor], rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return embeddings (L, D, B), float32, in the order of the indices.

        Args:
            layers: (cells, channels, B) each, from the finest grid to the coarsest.
            rows: for each layer the cell that each location reads, (L,) int64.
        """
        embeddings = layers[0].new_empty(len(rows[0]), self._n_features, layers[0].shape[2])
        for layer, cells, (sources, positions) in zip(layers, rows, self._parts, strict=True):
            kept = layer.index_select(1, sources)
            embeddings.index_copy_(1, positions, kept if len(kept) == len(cells) else kept.index_select(0, cells))
        return embeddings


def nearest_rows(grids: Sequence[tuple[int, int]], device: str = "cpu") -> list[torch.Tensor]:
    """Return for each grid the cells (row by row) that nearest upsampling to the first grid reads, (L,) int64 each.

    They are the cells that torch itself chooses, also where one grid is no multiple of the other.
    """
    import torch
    from torch.nn.functional import interpolate

    rows = []
    for height, width in grids:
        # float32, because torch computes the cells in the type of what it upsamples; it holds every index exactly.
        cells = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
        rows.append(interpolate(cells, size=grids[0], mode="nearest").long().flatten().to(device))
    return rows


def _check_finite(layer: torch.Tensor, what: str) -> None:
    """Raise DataError for a NaN or an infinity in (B, C, h, w); one pass, since minimum and maximum carry both."""
    low, high = layer.aminmax()
    if low.isfinite() and high.isfinite():
        return
    image, channel, row, column = (~layer.isfinite()).nonzero()[0].tolist()
    raise DataError(
        f"the network gives {layer[image, channel, row, column].item()} in {what} (row {row}, column {column}, "
        f"channel {channel} of image {image + 1} among them): check the weights and the normalisation"
    )
