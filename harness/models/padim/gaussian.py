"""A Gaussian for each location of the feature grid, from sums over a stream of images (no memory bank).

Source: Defard et al., PaDiM (ICPR 2021), section III-B: mean and unbiased covariance of the patch embeddings at each
location, plus epsilon on the diagonal. Shapes: L locations, B images in a batch, D features.

A covariance is made of blocks, one for each pair of layers, and the sums are kept by the pairs of cells that locations
read together: ResNet-18's 100 features take 28 MB instead of 125 MB. Each covariance is put together, factored and used
a chunk of locations at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.errors import DataError
from harness.models.compute import Workers
from harness.models.padim.embedding import Channels, Grid, Pair, places_among

_FLOAT_BYTES = 4
_FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
_MINIMUM_TRUST = 30
"""The least that a covariance's smallest eigenvalue may be, in float32 roundings of its largest variance.

With t such roundings, distances from the mean are off by less than 20 / t, relatively, in the worst of the cases
measured, and by about 0.4 / t where there are fewer images than features. With epsilon=0.01 ResNet-18 on a real
category has t > 5e4, EfficientNet-Lite0, whose features are larger, t > 1e3, and t > 150 with only 8 images.
"""


class Moments:
    """Sums over images of shifted features and of their products, in float32, for each pair of cells read together.

    The shift is the first group's mean, so the sums are of the size of the features' spread. The error of a covariance
    is about 1e-7 times the product of the standard deviations, for images in no special order.
    """

    def __init__(self, grid: Grid, channels: Channels) -> None:
        self.n_images = 0
        self.grid = grid
        self.channels = channels
        self._shift: list[torch.Tensor] = []
        self._sums: list[torch.Tensor] = []
        self._products: list[torch.Tensor] = []

    def update(self, layers: Sequence[torch.Tensor], workers: Workers) -> None:
        """Add images: each layer's features of these channels, (cells, k, B) float32; they are overwritten."""
        if not self._shift:
            self._shift = [layer.mean(dim=2) for layer in layers]
            self._sums = [torch.zeros_like(shift) for shift in self._shift]
            counts = [layer.shape[1] for layer in layers]
            self._products = [
                layers[0].new_zeros(len(pair.first_cells), counts[pair.first], counts[pair.second])
                for pair in self.grid.pairs
            ]
        for layer, shift, total in zip(layers, self._shift, self._sums, strict=True):
            layer.sub_(shift[:, :, None])
            total.add_(layer.sum(dim=2))
        for pair, products in zip(self.grid.pairs, self._products, strict=True):
            if products.numel():
                _add_products(products, pair, layers[pair.first], layers[pair.second], workers)
        self.n_images += layers[0].shape[2]

    def fitted(self, channels: Channels, epsilon: float, workers: Workers) -> Fitted:
        """Return the Gaussians of some of the channels.

        Args:
            epsilon: added to the diagonal of every covariance; at least 0.

        Raises:
            DataError: fewer than two images.
        """
        if self.n_images < 2:
            raise DataError(
                f"PaDiM needs at least 2 training images for a covariance, and there is {self.n_images}: add more"
            )
        places = places_among(channels, self.channels, self._sums[0].device)
        means, offsets = [], []
        for shift, total, kept in zip(self._shift, self._sums, places, strict=True):
            offsets.append((total / self.n_images).index_select(1, kept))
            means.append(shift.index_select(1, kept) + offsets[-1])
        blocks = [
            _covariances(
                products,
                pair,
                self.n_images,
                (offsets[pair.first], offsets[pair.second]),
                (places[pair.first], places[pair.second]),
                workers=workers,
            )
            for pair, products in zip(self.grid.pairs, self._products, strict=True)
        ]
        return Fitted(self.grid, channels, means, blocks, epsilon)


def _add_products(
    products: torch.Tensor, pair: Pair, first: torch.Tensor, second: torch.Tensor, workers: Workers
) -> None:
    """Add to (U, k, m) the products, summed over images, of (cells, k, B) and (cells, m, B) at a pair's cells."""

    def add(chunk: slice) -> None:
        left = first.index_select(0, pair.first_cells[chunk])
        right = second.index_select(0, pair.second_cells[chunk])
        torch.baddbmm(products[chunk], left, right.mT, out=products[chunk])

    sides = (first.shape[1] + second.shape[1]) * first.shape[2]
    workers.for_each_chunk(add, len(products), _FLOAT_BYTES * (products[0].numel() + sides))


def _covariances(
    products: torch.Tensor,
    pair: Pair,
    n_images: int,
    offsets: Sequence[torch.Tensor],
    places: Sequence[torch.Tensor],
    *,
    workers: Workers,
) -> torch.Tensor:
    """Return (U, k, m) unbiased covariances at `places` of both layers, from sums of products about a shift.

    Args:
        offsets: of both layers' means from that shift, (cells, k) float32, at the same places.
    """
    first, second = places
    block = products.new_empty(len(products), len(first), len(second))
    flat = (first[:, None] * products.shape[2] + second).flatten()

    def take(chunk: slice) -> None:
        kept = products[chunk].flatten(1).index_select(1, flat).view_as(block[chunk])
        left = offsets[0].index_select(0, pair.first_cells[chunk])
        right = offsets[1].index_select(0, pair.second_cells[chunk])
        kept.baddbmm_(left[:, :, None], right[:, None, :], alpha=-float(n_images))
        torch.div(kept, n_images - 1, out=block[chunk])

    if block.numel():
        workers.for_each_chunk(take, len(products), 2 * _FLOAT_BYTES * len(flat))
    return block


@dataclass(frozen=True)
class Fitted:
    """Mean and covariance at each location, in blocks. Features stand layer by layer, each layer's channels rising."""

    grid: Grid
    channels: Channels
    means: Sequence[torch.Tensor]
    """For each layer (cells, k) float32."""
    blocks: Sequence[torch.Tensor]
    """For each pair of layers (U, k of the first, k of the second) float32: covariances, without epsilon."""
    epsilon: float

    @property
    def starts(self) -> list[int]:
        """Where each layer's features begin in an embedding, and its length D at the end."""
        return [0, *np.cumsum([len(kept) for kept in self.channels]).tolist()]

    def factor(self, locations: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return U (l, D, D) float32, upper triangular, with transpose(U) @ U = covariance + epsilon I; and its trust.

        The factor stands for the inverse, which loses digits, can give a negative square, and fails in oneMKL's batched
        routine from 192 features on. The trust, (l,) float32, is at least _MINIMUM_TRUST only where the smallest
        eigenvalue has that many float32 roundings of the largest variance, 0 where there is no factor.
        """
        starts = self.starts
        # Only the upper triangle is read.
        covariance = self.means[0].new_empty(len(self.grid.rows[0][locations]), starts[-1], starts[-1])
        for pair, block in zip(self.grid.pairs, self.blocks, strict=True):
            rows, columns = (slice(*starts[layer : layer + 2]) for layer in (pair.first, pair.second))
            covariance[:, rows, columns] = block.index_select(0, pair.rows[locations])
        variances = covariance.diagonal(dim1=1, dim2=2)
        variances += self.epsilon
        rounding = variances.amax(dim=1) * _FLOAT32_EPSILON
        upper, failed = torch.linalg.cholesky_ex(covariance, upper=True)
        pivots = upper.diagonal(dim1=1, dim2=2).square().amin(dim=1)
        # What a failed factorisation leaves on the diagonal means nothing.
        trust = torch.where(failed == 0, pivots / rounding, 0)
        # A pivot may be as many times the smallest eigenvalue as there are features. No eigenvalue is below epsilon,
        # which nearly always is enough; they take longer than the factor.
        doubtful = (trust >= _MINIMUM_TRUST) & (self.epsilon < _MINIMUM_TRUST * rounding)
        if doubtful.any():
            factors = upper[doubtful].double()
            smallest = torch.linalg.eigvalsh(factors.mT @ factors)[:, 0]
            trust[doubtful] = smallest.float() / rounding[doubtful]
        return upper, trust


def check_trust(trust: np.ndarray, epsilon: float, grid: tuple[int, int]) -> None:
    """Refuse covariances that float32 cannot tell from singular ones.

    Args:
        trust: (L,), as `Fitted.factor` gives it.
        grid: (rows, columns) of the locations.

    Raises:
        DataError: names the first such location, and how many there are.
    """
    bad = np.flatnonzero(~(trust >= _MINIMUM_TRUST))
    if bad.size:
        row, column = divmod(int(bad[0]), grid[1])
        raise DataError(
            f"the covariance of the features at row {row}, column {column} of the {grid[0]}x{grid[1]} grid, and at "
            f"{bad.size - 1} more places, is singular to float32 with model.epsilon={epsilon}: "
            "raise model.epsilon, add training images, or check the weights and the normalisation"
        )
