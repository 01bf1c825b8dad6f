"""Patch embeddings without repeating them: the kept channels of each layer, on that layer's own grid.

anomalib's PadimModel.generate_embedding upsamples every layer to the finest grid, so most of an embedding is repeated.
Here each layer stays as it is, (cells, channels, B), and a table says which cell a location reads. Images come last, so
that taking locations and channels moves whole runs of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from harness.errors import DataError

Channels = tuple[np.ndarray, ...]
"""For each layer the numbers of its kept channels, (k,) int64, rising; a layer may keep none. An embedding stands layer
by layer, each layer's channels rising."""


def channels_by_layer(indices: np.ndarray, counts: Sequence[int]) -> Channels:
    """Return the channels that `indices`, (D,) int64 in any order, names in layers of so many channels one by one."""
    named = np.zeros(sum(counts), bool)
    named[indices] = True
    return tuple(np.flatnonzero(named[start:end]) for start, end in pairwise(np.cumsum([0, *counts])))


def places_among(own: Channels, others: Channels, device: torch.device | str) -> list[torch.Tensor]:
    """Return for each layer the places, (k,) int64, of channels among `others`, which hold them all."""
    return [_on(np.searchsorted(those, these), device) for these, those in zip(own, others, strict=True)]


@dataclass(frozen=True)
class Pair:
    """Two layers, and the pairs of their cells that some location reads together."""

    first: int
    second: int
    """Layers, `first <= second`."""
    first_cells: torch.Tensor
    second_cells: torch.Tensor
    """(U,) int64 each: the cells of pair u."""
    rows: torch.Tensor
    """(L,) int64: the pair that each location reads."""


@dataclass(frozen=True)
class Grid:
    """The locations, and what each of them reads in each layer."""

    shape: tuple[int, int]
    """(rows, columns) of the finest layer: L locations, row by row."""
    rows: tuple[torch.Tensor, ...]
    """For each layer (L,) int64: the cell that each location reads."""
    pairs: tuple[Pair, ...]
    """Every two layers, a layer with itself included."""

    @classmethod
    def of(cls, grids: Sequence[tuple[int, int]], device: str = "cpu") -> Grid:
        """Return the grid of layers of these (rows, columns), from the finest to the coarsest."""
        rows, pairs = [_nearest_cells(own, grids[0]) for own in grids], []
        for first, second in combinations_with_replacement(range(len(grids)), 2):
            # Where grids are multiples of one another, these are just the finer layer's cells.
            cells, read = np.unique(np.stack([rows[first], rows[second]]), axis=1, return_inverse=True)
            pairs.append(Pair(first, second, *(_on(one, device) for one in (*cells, read.reshape(-1)))))
        return cls(grids[0], tuple(_on(cells, device) for cells in rows), tuple(pairs))


def _nearest_cells(grid: tuple[int, int], finest: tuple[int, int]) -> np.ndarray:
    """Return the cells, row by row, that torch's nearest upsampling reads, for any two sizes; (L,) int64."""
    # float32, because torch computes the cells in the type of what it upsamples; it holds every index exactly.
    cells = torch.arange(grid[0] * grid[1], dtype=torch.float32).reshape(1, 1, *grid)
    return interpolate(cells, size=finest, mode="nearest").long().flatten().numpy()


def _on(numbers: np.ndarray, device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers)).to(device)


class FeatureReader:
    """Takes the kept channels out of what the network gives; safe to call from several threads."""

    def __init__(self, network: Any, layers: Sequence[str], channels: Channels, device: str = "cpu") -> None:
        """Read `channels` of `network`'s features.

        Args:
            network: gives features (B, C, h, w) for each of `layers`, from the finest grid to the coarsest.
            layers: their names, for errors.
        """
        self._network = network
        self._names = tuple(layers)
        self._kept = [_on(kept, device) for kept in channels]

    def __call__(self, images: torch.Tensor, what: str) -> tuple[list[torch.Tensor], list[tuple[int, int]]]:
        """Return each layer's features, (cells, k, B) float32, contiguous, and each layer's (rows, columns).

        Args:
            images: (B, 3, H, W) float32, normalised, on the network's device.
            what: the images, for an error, such as `training images 1 to 16`.

        Raises:
            DataError: a NaN or an infinity in the features; names the layer, the place and the images.
        """
        with torch.inference_mode():
            layers = list(self._network(images.contiguous(memory_format=torch.channels_last)))
            for name, layer in zip(self._names, layers, strict=True):
                _check_finite(layer, f"{name} of {what}")
            # Channels lie innermost: this view gives them three times as fast as `index_select` on (B, C, h, w).
            features = [
                layer.permute(2, 3, 1, 0).flatten(0, 1)[:, kept].float().contiguous()
                for layer, kept in zip(layers, self._kept, strict=True)
            ]
        return features, [(layer.shape[2], layer.shape[3]) for layer in layers]


def _check_finite(layer: torch.Tensor, what: str) -> None:
    """Raise DataError for a NaN or an infinity in (B, C, h, w); one pass, since minimum and maximum carry both."""
    low, high = layer.permute(0, 2, 3, 1).aminmax()  # seven times as fast where the channels lie innermost
    if low.isfinite() and high.isfinite():
        return
    image, channel, row, column = (~layer.isfinite()).nonzero()[0].tolist()
    raise DataError(
        f"the network gives {layer[image, channel, row, column].item()} in {what} (row {row}, column {column}, "
        f"channel {channel} of image {image + 1} among them): check the weights and the normalisation"
    )
