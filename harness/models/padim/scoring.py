"""Mahalanobis distances on the feature grid, and the anomaly maps and image scores made from them.

Source: PaDiM (Defard et al., ICPR 2021), section III-C. The maps are those of anomalib 2.7's AnomalyMapGenerator to
float32 rounding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from harness.models.compute import Workers
from harness.models.padim.embedding import Channels, places_among
from harness.models.padim.engine import blur_reach, check_blur
from harness.models.padim.gaussian import Fitted

_FLOAT_BYTES = 4
_CHUNK_COPIES = 3
"""Of each covariance in a chunk while it is put together and factored."""


def mahalanobis(
    layers: Sequence[torch.Tensor], channels: Channels, fitted: Fitted, workers: Workers
) -> tuple[torch.Tensor, np.ndarray]:
    """Return each image's distance at each location, (n, L) float32, at least 0; and each factor's trust, (L,) float32.

    A distance is the norm of a triangular solve, a chunk of locations at a time.

    Args:
        layers: each layer's features of `channels`, (cells, k, n) float32.
        channels: at least those of `fitted`.
    """
    grid, starts, device = fitted.grid, fitted.starts, layers[0].device
    n_locations, n_features, n_images = len(grid.rows[0]), starts[-1], layers[0].shape[2]
    centred = [
        layer.index_select(1, kept) - mean[:, :, None]
        for layer, kept, mean in zip(layers, places_among(fitted.channels, channels, device), fitted.means, strict=True)
    ]
    distances = torch.empty(n_locations, n_images, device=device)
    trust = torch.empty(n_locations, device=device)

    def measure(locations: slice) -> None:
        upper, trust[locations] = fitted.factor(locations)
        delta = upper.new_empty(len(upper), n_features, n_images)
        for layer, rows, start in zip(centred, grid.rows, starts, strict=False):
            delta[:, start : start + layer.shape[1]] = layer.index_select(0, rows[locations])
        whitened = torch.linalg.solve_triangular(upper.mT, delta, upper=False)
        torch.linalg.vector_norm(whitened, dim=1, out=distances[locations])

    per_location = _FLOAT_BYTES * n_features * (_CHUNK_COPIES * n_features + 2 * n_images)
    workers.for_each_chunk(measure, n_locations, per_location)
    return distances.T, trust.cpu().numpy()


def map_maker(
    grid: tuple[int, int], size: tuple[int, int], blur_sigma: int, device: torch.device | str = "cpu"
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from distances (B, rows, columns) to anomaly maps (B, height, width), both float32.

    Bilinear upsampling (align_corners=False), then a Gaussian blur whose kernel has 2 int(4 sigma + 0.5) + 1 pixels a
    side and whose border reflects. Both are linear and act on rows and columns apart, so each side takes one matrix.

    Args:
        grid: (rows, columns) of the distances.
        size: (height, width) in pixels.
        blur_sigma: in pixels; 0 for no blur.

    Raises:
        RequestError: the map is too small for the blur's border to be reflected.
    """
    check_blur(blur_sigma, size)
    # Computed in float64: the products then err by no more than the two separate steps in float32.
    down, across = (
        torch.from_numpy((blur_matrix(pixels, blur_sigma) @ upsampling_matrix(cells, pixels)).astype(np.float32)).to(
            device
        )
        for cells, pixels in zip(grid, size, strict=True)
    )
    return lambda distances: down @ (distances @ across.T)


def upsampling_matrix(cells: int, pixels: int) -> np.ndarray:
    """Return (pixels, cells) float64: bilinear interpolation along one side, with align_corners=False."""
    place = np.maximum((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0)
    left = np.minimum(np.floor(place).astype(int), cells - 1)
    share = place - left
    matrix = np.zeros((pixels, cells))
    np.add.at(matrix, (np.arange(pixels), left), 1 - share)
    np.add.at(matrix, (np.arange(pixels), np.minimum(left + 1, cells - 1)), share)
    return matrix


def blur_matrix(pixels: int, sigma: int) -> np.ndarray:
    """Return (pixels, pixels) float64: a Gaussian blur along one side, its border reflected without the edge."""
    if not sigma:
        return np.eye(pixels)
    reach = blur_reach(sigma)
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-(offsets**2) / (2.0 * sigma**2))
    taps /= taps.sum()
    sources = np.abs(np.arange(pixels)[:, None] + offsets)
    sources = np.where(sources >= pixels, 2 * (pixels - 1) - sources, sources)
    matrix = np.zeros((pixels, pixels))
    np.add.at(matrix, (np.arange(pixels)[:, None], sources), np.broadcast_to(taps, sources.shape))
    return matrix
