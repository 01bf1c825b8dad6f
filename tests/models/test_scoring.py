"""Distances, maps and scores: anomalib's own, from what anomalib's own generator makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator

from harness.errors import RequestError
from harness.models.compute import Workers
from harness.models.padim.embedding import Grid
from harness.models.padim.gaussian import Fitted
from harness.models.padim.scoring import mahalanobis, map_maker


def random_fit(grid: tuple[int, int], n_features: int) -> Fitted:
    rng = torch.Generator().manual_seed(n_features)
    n_locations = grid[0] * grid[1]
    samples = torch.randn(n_locations, 3 * n_features, n_features, generator=rng)
    covariance = samples.mT @ samples / (3 * n_features)
    mean = torch.randn(n_locations, n_features, generator=rng)
    return Fitted(Grid.of([grid]), (np.arange(n_features),), (mean,), (covariance,), 0.01)


def measure(fitted: Fitted, embeddings: torch.Tensor) -> torch.Tensor:
    with Workers("cpu", 2) as workers:
        return mahalanobis([embeddings], fitted.channels, fitted, workers)[0]


@pytest.mark.parametrize(
    ("grid", "n_images", "n_features"), [((3, 4), 5, 100), ((7, 1), 1, 1), ((1, 1), 3, 30), ((70, 10), 2, 60)]
)
def test_distances_are_the_definition_and_anomalibs(grid, n_images, n_features):
    fitted = random_fit(grid, n_features)
    (mean,), (block,) = fitted.means, fitted.blocks
    embeddings = 2 * torch.randn(len(mean), n_features, n_images)
    ours = measure(fitted, embeddings)
    assert ours.shape == (n_images, len(mean))
    assert ours.dtype == torch.float32
    delta = embeddings.mT.double() - mean.double()[:, None]
    covariance = block.double() + 0.01 * torch.eye(n_features)
    squares = (delta * torch.linalg.solve(covariance, delta.mT).mT).sum(dim=2)
    assert torch.allclose(ours.double(), squares.sqrt().T, rtol=1e-5)
    inverse = torch.linalg.inv(covariance).float()
    anomalibs = AnomalyMapGenerator.compute_distance(embeddings.permute(2, 1, 0)[..., None], [mean.T, inverse])
    assert torch.allclose(ours, anomalibs.flatten(1), rtol=1e-4)


@pytest.mark.parametrize("sigma", [1, 4])
@pytest.mark.parametrize("size", [(64, 64), (60, 81)])
def test_maps_are_anomalibs(size, sigma):
    grid = torch.rand(3, size[0] // 4, size[1] // 4) * 30
    ours = map_maker(grid.shape[1:], size, sigma)(grid)
    generator = AnomalyMapGenerator(sigma=sigma)
    expected = generator.smooth_anomaly_map(generator.up_sample(grid[:, None], size))[:, 0]
    assert ours.shape == (3, *size)
    # In float32 anomalib's kernel and its places between cells are rounded, ours are not.
    assert torch.allclose(ours, expected, rtol=3e-5)


def test_the_blur_is_scipys():
    from scipy.ndimage import correlate1d

    image = np.random.default_rng(0).random((64, 70))
    taps = np.exp(-(np.arange(-16, 17) ** 2) / (2 * 4**2))
    taps /= taps.sum()
    expected = image
    for axis in (0, 1):
        expected = correlate1d(expected, taps, axis=axis, mode="mirror")
    ours = map_maker((64, 70), (64, 70), 4)(torch.from_numpy(image).float()[None])[0]
    assert np.allclose(ours.numpy(), expected, atol=1e-5)


def test_without_blur_the_map_is_only_upsampled():
    grid = torch.rand(2, 8, 8)
    expected = torch.nn.functional.interpolate(grid[:, None], size=(20, 20), mode="bilinear", align_corners=False)
    assert torch.allclose(map_maker((8, 8), (20, 20), 0)(grid), expected[:, 0], atol=1e-6)


@pytest.mark.parametrize(("size", "sigma"), [((16, 64), 4), ((64, 12), 3)])
def test_a_map_smaller_than_the_blur(size, sigma):
    with pytest.raises(RequestError, match=f"blur_sigma={sigma} reaches {4 * sigma} pixels"):
        map_maker((4, 4), size, sigma)
    map_maker((4, 4), (size[0] + 1, size[1] + 1), sigma)(torch.rand(1, 4, 4))
