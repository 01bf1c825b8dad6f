"""Distances, maps and scores: anomalib's own, from what anomalib's own generator makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator

from harness.errors import RequestError
from harness.padim.gaussian import Gaussian
from harness.padim.scoring import image_scores, mahalanobis, map_maker
from harness.padim.workers import Workers


def random_gaussian(n_locations: int, n_features: int) -> Gaussian:
    generator = torch.Generator().manual_seed(n_features)
    samples = torch.randn(n_locations, 3 * n_features, n_features, generator=generator)
    covariance = samples.mT @ samples / (3 * n_features) + 0.01 * torch.eye(n_features)
    factor = torch.linalg.cholesky(covariance).mT.contiguous()
    return Gaussian(torch.randn(n_locations, n_features, generator=generator), factor)


@pytest.mark.parametrize(("n_locations", "n_images", "n_features"), [(12, 5, 100), (7, 1, 1), (1, 3, 30), (700, 2, 60)])
def test_distances_are_the_definition_and_anomalibs(n_locations, n_images, n_features):
    gaussian = random_gaussian(n_locations, n_features)
    embeddings = 2 * torch.randn(n_locations, n_features, n_images)
    with Workers("cpu") as workers:
        ours = mahalanobis(embeddings, gaussian, workers)
        inverse = gaussian.inverse_covariance(workers)
    assert ours.shape == (n_images, n_locations)
    assert ours.dtype == torch.float32
    delta = embeddings.mT.double() - gaussian.mean.double()[:, None]
    covariance = gaussian.factor.double().mT @ gaussian.factor.double()
    squares = (delta * torch.linalg.solve(covariance, delta.mT).mT).sum(dim=2)
    assert torch.allclose(ours.double(), squares.sqrt().T, rtol=1e-5)
    anomalibs = AnomalyMapGenerator.compute_distance(embeddings.permute(2, 1, 0)[..., None], [gaussian.mean.T, inverse])
    assert torch.allclose(ours, anomalibs.flatten(1), rtol=1e-4)


def test_the_mean_itself_is_at_distance_zero():
    gaussian = random_gaussian(5, 20)
    with Workers("cpu") as workers:
        assert (mahalanobis(gaussian.mean[:, :, None].clone(), gaussian, workers) == 0).all()


def test_embeddings_are_not_changed():
    gaussian, embeddings = random_gaussian(5, 20), torch.randn(5, 20, 3)
    before = embeddings.clone()
    with Workers("cpu") as workers:
        mahalanobis(embeddings, gaussian, workers)
    assert torch.equal(embeddings, before)


@pytest.mark.parametrize("sigma", [1, 2, 4, 7])
@pytest.mark.parametrize("size", [(64, 64), (60, 81)])
def test_maps_are_anomalibs(size, sigma):
    grid = torch.rand(3, size[0] // 4, size[1] // 4) * 30
    ours = map_maker(size, sigma)(grid)
    generator = AnomalyMapGenerator(sigma=sigma)
    expected = generator.smooth_anomaly_map(generator.up_sample(grid[:, None], size))[:, 0]
    assert ours.shape == (3, *size)
    assert torch.equal(ours, expected)
    assert torch.equal(image_scores(ours), torch.amax(expected, dim=(-2, -1)))


def test_the_blur_is_scipys():
    from scipy.ndimage import correlate1d

    image = np.random.default_rng(0).random((64, 70))
    taps = np.exp(-(np.arange(-16, 17) ** 2) / (2 * 4**2))
    taps /= taps.sum()
    expected = image
    for axis in (0, 1):
        expected = correlate1d(expected, taps, axis=axis, mode="mirror")
    ours = map_maker((64, 70), 4)(torch.from_numpy(image).float()[None])[0]
    assert np.allclose(ours.numpy(), expected, atol=1e-5)


def test_without_blur_the_map_is_only_upsampled():
    grid = torch.rand(2, 8, 8)
    expected = torch.nn.functional.interpolate(grid[:, None], size=(20, 20), mode="bilinear", align_corners=False)
    assert torch.equal(map_maker((20, 20), 0)(grid), expected[:, 0])


@pytest.mark.parametrize(("size", "sigma"), [((16, 64), 4), ((64, 12), 3)])
def test_a_map_smaller_than_the_blur(size, sigma):
    with pytest.raises(RequestError, match=f"blur_sigma={sigma} reaches {4 * sigma} pixels"):
        map_maker(size, sigma)
    map_maker((size[0] + 1, size[1] + 1), sigma)(torch.rand(1, 4, 4))
