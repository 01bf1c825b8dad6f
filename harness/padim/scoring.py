"""Mahalanobis distances on the feature grid, and the anomaly maps and image scores made from them.

Source: anomalib 2.7's AnomalyMapGenerator, whose upsampling and blur these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import RequestError

if TYPE_CHECKING:
    import torch

    from harness.padim.gaussian import Gaussian
    from harness.padim.workers import Workers

_FLOAT_BYTES = 4


def mahalanobis(embeddings: torch.Tensor, gaussian: Gaussian, workers: Workers) -> torch.Tensor:
    """Return each embedding's Mahalanobis distance, (B, L) float32, at least 0.

    It is the norm of a triangular solve, which needs no inverse: the factor's inverse would take a pass to make and is
    no faster to apply, and the covariance's inverse loses digits and can give a negative square.

    Args:
        embeddings: (L, D, B) float32.
    """
    import torch

    n_locations, n_features, n_images = embeddings.shape
    distances = torch.empty(n_locations, n_images, device=embeddings.device)

    def measure(locations: slice) -> None:
        distances[locations] = torch.linalg.vector_norm(gaussian.whiten(locations, embeddings[locations]), dim=1)

    workers.for_each_chunk(measure, n_locations, _FLOAT_BYTES * n_features * (n_features + n_images))
    return distances.T


def map_maker(size: tuple[int, int], blur_sigma: int, device: str = "cpu") -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from distances (B, rows, columns) to anomaly maps (B, height, width), both float32.

    Bilinear upsampling (align_corners=False), then a Gaussian blur whose kernel has 2 int(4 sigma + 0.5) + 1 pixels a
    side and whose border reflects.

    Args:
        size: (height, width) in pixels.
        blur_sigma: in pixels; 0 for no blur.

    Raises:
        RequestError: the map is too small for the blur's border to be reflected.
    """
    from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator

    if not blur_sigma:
        return lambda distances: AnomalyMapGenerator.up_sample(distances[:, None], size)[:, 0]
    generator = AnomalyMapGenerator(sigma=blur_sigma).to(device)
    reach = generator.blur.kernel.shape[-1] // 2
    if min(size) <= reach:
        raise RequestError(
            f"protocol.blur_sigma={blur_sigma} reaches {reach} pixels and needs an input larger than that on each "
            f"side, here it is {size[0]}x{size[1]}: lower protocol.blur_sigma or enlarge protocol.center_crop"
        )

    def make(distances: torch.Tensor) -> torch.Tensor:
        upsampled = generator.up_sample(distances[:, None], size)
        return generator.smooth_anomaly_map(upsampled)[:, 0]

    return make


def image_scores(maps: torch.Tensor) -> torch.Tensor:
    """Return the maximum of each map (B, height, width), (B,)."""
    return maps.amax(dim=(1, 2))
