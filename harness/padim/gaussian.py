"""A Gaussian for each location of the feature grid, from sums over a stream of images (no memory bank).

Source: Defard et al., PaDiM (ICPR 2021), section III-B: mean and unbiased covariance of the patch embeddings at each
location, plus epsilon on the diagonal. Shapes: L locations, B images in a batch, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    import torch

    from harness.padim.workers import Workers

_FLOAT_BYTES = 4
_CHUNK_COPIES = 2
"""Of each matrix in a chunk while it is factored: LAPACK's, and ours."""
_FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
_MINIMUM_TRUST = 30
"""The least that a covariance's smallest pivot may be, in float32 roundings of its largest variance.

With t such roundings, distances from the mean are off by about 0.4 / t, relatively, where there are fewer images than
features, and by less than 20 / t in the worst of the cases measured (as many images as features). ResNet-18 on a real
category has t > 5e4, EfficientNet-Lite0, whose features are larger, t > 1e3, and t > 150 with only 8 images.
"""


@dataclass(frozen=True)
class Gaussian:
    """Mean and factored covariance at each location.

    The factor stands for the inverse: `whiten` needs no more, and it works where a batched inverse does not.
    """

    mean: torch.Tensor
    """(L, D) float32."""
    factor: torch.Tensor
    """(L, D, D) float32, upper triangular U with transpose(U) @ U = covariance + epsilon I."""

    def whiten(self, locations: slice, embeddings: torch.Tensor) -> torch.Tensor:
        """Return z (l, D, B), whose norm over D is the Mahalanobis distance of `embeddings` (l, D, B)."""
        import torch

        delta = embeddings - self.mean[locations, :, None]
        return torch.linalg.solve_triangular(self.factor[locations].mT, delta, upper=False)

    def inverse_covariance(self, workers: Workers) -> torch.Tensor:
        """Return (L, D, D) float32, symmetric: what anomalib's model keeps."""
        import torch

        inverse = torch.empty_like(self.factor)

        def invert(locations: slice) -> None:
            inverse[locations] = torch.cholesky_inverse(self.factor[locations], upper=True)

        n_features = self.mean.shape[1]
        workers.for_each_chunk(invert, len(self.mean), _CHUNK_COPIES * _FLOAT_BYTES * n_features**2)
        return inverse


class Moments:
    """Sums over images of shifted embeddings and of their products, in float32, at each location.

    The shift is the first batch's mean, so the sums are of the size of the features' spread, not of their level. The
    mean of n images lies within sqrt((n - B) / B) standard deviations of it, whatever their order, so subtracting its
    square magnifies rounding at most n / B times, and hardly at all for images in no order: the error of the covariance
    of two features is of the order of 1e-7 times the product of their standard deviations.
    """

    def __init__(self, n_locations: int, n_features: int, device: str = "cpu") -> None:
        import torch

        self.n_images = 0
        self._shift: torch.Tensor | None = None
        self._sum = torch.zeros(n_locations, n_features, device=device)
        self._products = torch.zeros(n_locations, n_features, n_features, device=device)

    def update(self, embeddings: torch.Tensor) -> None:
        """Add a batch, (L, D, B) float32; it is overwritten."""
        if self._shift is None:
            self._shift = embeddings.mean(dim=2)
        embeddings -= self._shift[:, :, None]
        self._sum += embeddings.sum(dim=2)
        self._products.baddbmm_(embeddings, embeddings.mT)
        self.n_images += embeddings.shape[2]

    def gaussian(self, epsilon: float, grid: tuple[int, int], workers: Workers) -> Gaussian:
        """Return the Gaussians; the sums are factored where they lie, so this ends their use.

        Args:
            epsilon: added to the diagonal of every covariance; at least 0.
            grid: (rows, columns) of the locations, to name one in an error.
            workers: who factors.

        Raises:
            DataError: fewer than two images, or a covariance whose factor cannot be trusted.
        """
        import torch

        if self.n_images < 2 or self._shift is None:
            raise DataError(
                f"PaDiM needs at least 2 training images for a covariance, here is {self.n_images}: add normal images"
            )
        n_images, products = self.n_images, self._products
        n_locations, n_features = self._sum.shape
        mean_shifted = self._sum / n_images
        trust = torch.empty(n_locations, device=products.device)

        def factor(locations: slice) -> None:
            covariance, offset = products[locations], mean_shifted[locations]
            covariance.baddbmm_(offset[:, :, None], offset[:, None, :], alpha=-float(n_images))
            covariance /= n_images - 1
            variances = covariance.diagonal(dim1=1, dim2=2)
            variances += epsilon
            rounding = variances.amax(dim=1) * _FLOAT32_EPSILON
            lower, failed = torch.linalg.cholesky_ex(covariance)
            covariance.copy_(lower.mT)
            # What a failed factorisation leaves on the diagonal means nothing.
            trust[locations] = torch.where(failed == 0, variances.square().amin(dim=1) / rounding, 0)

        workers.for_each_chunk(factor, n_locations, _CHUNK_COPIES * _FLOAT_BYTES * n_features**2)
        _check_trust(trust.cpu().numpy(), epsilon, grid)
        return Gaussian(mean=self._shift + mean_shifted, factor=products)


def _check_trust(trust: np.ndarray, epsilon: float, grid: tuple[int, int]) -> None:
    """Refuse covariances that float32 cannot tell from singular ones."""
    bad = np.flatnonzero(~(trust >= _MINIMUM_TRUST))
    if bad.size:
        row, column = divmod(int(bad[0]), grid[1])
        raise DataError(
            f"the covariance of the features at row {row}, column {column} of the {grid[0]}x{grid[1]} grid, and at "
            f"{bad.size - 1} more places, is singular to float32 with protocol.epsilon={epsilon}: "
            "raise protocol.epsilon, add training images, or check the weights and the normalisation"
        )
