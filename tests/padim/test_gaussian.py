"""Streamed Gaussians against float64, over features that are kind and features that are not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.padim.embedding import Channels, Grid
from harness.padim.gaussian import Fitted, Moments, Statistics, check_trust
from harness.padim.scoring import mahalanobis
from harness.padim.stream import Workers

EPSILON = 0.01001
ROUNDING = float(np.finfo(np.float32).eps)
FIRST_BATCH = 16
L = 6


@dataclass(frozen=True)
class Gaussian:
    """All locations' at once, for looking at; the engine takes a chunk at a time."""

    mean: torch.Tensor
    factor: torch.Tensor
    fitted: Fitted


def plain(n_features: int) -> tuple[Grid, Channels]:
    """One layer of L locations, of which all channels are kept."""
    return Grid.of([(2, L // 2)]), Channels.of(np.arange(n_features), [n_features])


def moments_of(train: np.ndarray, batches: tuple[int, ...] | None = None) -> Moments:
    n_images, n_features = train.shape[1:]
    ends = [0, *(batches or range(FIRST_BATCH, n_images, FIRST_BATCH)), n_images]
    moments = Moments(*plain(n_features))
    with Workers("cpu", 2) as workers:
        for start, end in pairwise(ends):
            moments.update([torch.from_numpy(train[:, start:end].transpose(0, 2, 1).copy())], workers)
    return moments


def gaussian_of(statistics: Statistics, epsilon: float = EPSILON) -> Gaussian:
    with Workers("cpu", 2) as workers:
        fitted = statistics.fitted(statistics.channels, epsilon, workers)
    everywhere = slice(0, L)
    factor, trust = fitted.factor(everywhere)
    check_trust(trust.numpy(), epsilon, statistics.grid.shape)
    return Gaussian(fitted.mean(everywhere), factor, fitted)


def fit(train: np.ndarray, *, batches: tuple[int, ...] | None = None, epsilon: float = EPSILON) -> Gaussian:
    """Fit (L, N, D), in batches that end where `batches` says, all as large as the first without it."""
    return gaussian_of(moments_of(train, batches).statistics(), epsilon)


def distances(gaussian: Gaussian, test: np.ndarray) -> np.ndarray:
    channels = gaussian.fitted.channels
    with Workers("cpu", 2) as workers:
        return mahalanobis([torch.from_numpy(test).mT.contiguous()], channels, gaussian.fitted, workers)[0].T.numpy()


def inverse_of(gaussian: Gaussian) -> torch.Tensor:
    return torch.cholesky_inverse(gaussian.factor, upper=True)


class Oracle:
    """The definition, in float64."""

    def __init__(self, train: np.ndarray, epsilon: float = EPSILON) -> None:
        train = train.astype(np.float64)
        self.level = np.abs(train).max()
        self.mean = train.mean(axis=1)
        centred = train - self.mean[:, None]
        self.covariance = centred.transpose(0, 2, 1) @ centred / (train.shape[1] - 1)
        self.covariance += epsilon * np.eye(train.shape[2])
        self.lower = np.linalg.cholesky(self.covariance)
        variances = np.diagonal(self.covariance, axis1=1, axis2=2)
        self.smallest = np.linalg.eigvalsh(self.covariance)[:, 0]
        self.trust = self.smallest / (ROUNDING * variances.max(axis=1))
        offset = train[:, :FIRST_BATCH].mean(axis=1) - self.mean
        self.magnified = 1 + (offset**2 / variances).max(axis=1)

    def distances(self, test: np.ndarray) -> np.ndarray:
        delta = test.astype(np.float64) - self.mean[:, None]
        return np.linalg.norm(np.linalg.solve(self.lower, delta.transpose(0, 2, 1)), axis=1)

    def bound(self, test: np.ndarray) -> np.ndarray:
        """The stated error: of the covariance, relative; of the mean and the difference, by the level of the features.

        The first is as many times larger as the first batch is unlike the others.
        """
        level = max(self.level, np.abs(test).max())
        of_level = 4 * ROUNDING * level * np.sqrt(test.shape[2] / self.smallest)
        return (self.magnified * 20 / self.trust + 20 * ROUNDING)[:, None] * self.distances(test) + of_level[:, None]


def correlated(n_features: int, seed: int = 0):
    """Return a function that draws (L, n, n_features) with one random covariance a location."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(L, n_features, n_features)) / np.sqrt(n_features)
    return lambda n: (rng.normal(size=(L, n, n_features)) @ mixing + mixing[:, :1]).astype(np.float32)


def assert_within_bound(train: np.ndarray, test: np.ndarray, **options) -> None:
    oracle = Oracle(train)
    error = np.abs(distances(fit(train, **options), test) - oracle.distances(test))
    assert (error <= oracle.bound(test)).all(), (error / oracle.bound(test)).max()


@pytest.mark.parametrize(("n_images", "n_features"), [(200, 100), (40, 100), (101, 100), (5, 1), (2, 20), (64, 256)])
def test_mean_covariance_and_distances(n_images, n_features):
    draw = correlated(n_features)
    train, test = draw(n_images), 3 * draw(9)
    gaussian, oracle = fit(train), Oracle(train)
    factor = gaussian.factor.double()
    assert torch.equal(factor, factor.triu())
    spread = np.sqrt(np.diagonal(oracle.covariance, axis1=1, axis2=2))
    error = (factor.mT @ factor).numpy() - oracle.covariance
    assert (np.abs(error) <= 16 * ROUNDING * spread[:, :, None] * spread[:, None, :]).all()
    assert np.allclose(gaussian.mean.numpy(), oracle.mean, rtol=0, atol=4 * ROUNDING * oracle.level)
    assert_within_bound(train, test)


def hostile() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    cases = {}
    for n_images, n_features in ((150, 40), (20, 40)):
        draw = correlated(n_features, seed=1)
        for scale in (1e-6, 1e-3, 1, 10, 100, 1e3, 1e4, 1e6):
            cases[f"{n_images} images, {n_features} features, scale {scale:g}"] = (
                draw(n_images) * np.float32(scale),
                draw(8) * np.float32(scale),
            )
    draw = correlated(40, seed=2)
    for constant in (0, 7.3, 1e6 + 0.3):
        train, test = draw(150), draw(8)
        train[..., :10] = test[..., :10] = constant
        cases[f"ten channels are always {constant}"] = train, test
    train, test = draw(150), draw(8)
    train[..., 1], test[..., 1] = train[..., 0], test[..., 0]
    cases["one channel twice"] = train, test
    for offset in (10, 1e3, 1e4):
        cases[f"offset {offset:g}"] = draw(150) + np.float32(offset), draw(8) + np.float32(offset)
    train = draw(900)
    train[:, :16] += 100
    cases["the first batch is of another kind"] = train, draw(8)
    scales = np.logspace(-3, 1, 40, dtype=np.float32)
    cases["channels of many scales"] = draw(150) * scales, draw(8) * scales
    test = draw(8)
    test[:, 0] = 1e8
    cases["an outlier"] = draw(150), test
    return cases


@pytest.mark.parametrize("name", hostile())
def test_hostile_features_are_right_or_refused(name):
    train, test = hostile()[name]
    trust = Oracle(train).trust.min()
    if trust > 100:
        assert_within_bound(train, test)
        return
    try:
        assert_within_bound(train, test)
        refused = False
    except DataError:
        refused = True
    assert refused or trust > 10, "float32 cannot give these numbers, and must be refused"


@pytest.mark.parametrize("batches", [(1,), (1, 2, 3), tuple(range(1, 60)), (59,), (17, 34, 51)])
def test_batches_make_no_difference(batches):
    draw = correlated(30)
    train, test = draw(60), draw(5)
    expected = Oracle(train).distances(test)
    assert np.abs(distances(fit(train, batches=batches), test) / expected - 1).max() < 5e-6


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_make_no_difference(threads, monkeypatch):
    monkeypatch.setattr("harness.padim.stream.CHUNK_BYTES", 4 * 50 * 50)
    train, (grid, channels) = correlated(50)(45), plain(50)
    factors = []
    for n_threads in (1, threads):
        moments = Moments(grid, channels)
        with Workers("cpu", n_threads) as workers:
            moments.update([torch.from_numpy(train).mT.contiguous()], workers)
            factors.append(moments.statistics().fitted(channels, EPSILON, workers).factor(slice(0, L))[0])
    assert torch.equal(*factors)


@pytest.mark.parametrize("n_features", [256, 550])
def test_sizes_at_which_anomalibs_inverse_breaks(n_features):
    rng = np.random.default_rng(3)
    train = (rng.normal(size=(L, 209, n_features)) * rng.uniform(0.1, 2, n_features)).astype(np.float32)
    test = (2 * rng.normal(size=(L, 4, n_features))).astype(np.float32)
    assert_within_bound(train, test)
    gaussian, oracle = fit(train), Oracle(train)
    inverse = inverse_of(gaussian).double().numpy()
    assert np.abs(inverse @ oracle.covariance - np.eye(n_features)).max() < 2e-3
    assert np.allclose(inverse, inverse.transpose(0, 2, 1), rtol=1e-4, atol=1e-4)


def test_anomalibs_own_gaussian():
    from anomalib.models.components import MultiVariateGaussian

    train = correlated(60)(45)
    theirs = MultiVariateGaussian()
    theirs.fit(torch.from_numpy(train.transpose(1, 2, 0)[..., None].copy()))
    ours = fit(train)
    inverse = inverse_of(ours)
    assert torch.allclose(ours.mean.T, theirs.mean, atol=1e-6)
    assert torch.allclose(inverse, theirs.inv_covariance, rtol=1e-3, atol=2e-4 * theirs.inv_covariance.abs().max())


@pytest.mark.parametrize("epsilon", [0.0, 1e-4, 0.01, 1.0])
def test_epsilon_is_what_was_asked_for(epsilon):
    draw = correlated(20)
    train, test = draw(300), draw(5)
    expected = Oracle(train, epsilon).distances(test)
    assert np.allclose(distances(fit(train, epsilon=epsilon), test), expected, rtol=1e-4)


@pytest.mark.parametrize("n_features", [10, 30, 100])
@pytest.mark.parametrize("roundings", [3, 40])
def test_a_pivot_that_hides_how_small_an_eigenvalue_is_misleads_nobody(n_features, roundings):
    """With as many images as features, one direction has epsilon alone, and no pivot need show it."""
    train = np.random.default_rng(0).normal(size=(L, n_features, n_features)).astype(np.float32)
    epsilon = roundings * ROUNDING * float(train.var(axis=1, ddof=1).max())
    oracle = Oracle(train, epsilon)
    variances = np.diagonal(oracle.covariance, axis1=1, axis2=2).max(axis=1)
    pivots = np.diagonal(oracle.lower, axis1=1, axis2=2).min(axis=1) ** 2
    assert (pivots > 3 * oracle.smallest).all()
    assert (pivots > 30 * ROUNDING * variances).sum() >= (4 if roundings == 3 else L)
    if roundings == 3:
        with pytest.raises(DataError, match="and at 5 more places"):
            fit(train, epsilon=epsilon)
        return
    test = np.random.default_rng(1).normal(size=(L, 9, n_features)).astype(np.float32)
    error = np.abs(distances(fit(train, epsilon=epsilon), test) - oracle.distances(test))
    assert (error <= oracle.bound(test)).all()


@pytest.mark.parametrize("n_images", [0, 1])
def test_too_few_images(n_images):
    moments = Moments(*plain(4))
    if n_images:
        with Workers("cpu", 1) as workers:
            moments.update([torch.ones(L, 4, 1)], workers)
    with pytest.raises(DataError, match=f"at least 2 training images.* here is {n_images}"):
        moments.statistics()


def test_a_failed_factorisation_is_not_taken_for_a_good_one():
    """A negative pivot stays on the diagonal as it is, and its square looks fine."""
    statistics = moments_of(np.zeros((L, 3, 2), np.float32)).statistics()
    products = statistics.products[0].clone()
    products[2] = torch.tensor([[1.0, 3.0], [3.0, 1.0]])
    with pytest.raises(DataError, match="row 0, column 2"):
        gaussian_of(replace(statistics, products=(products,)))
    with Workers("cpu", 1) as workers:
        fitted = replace(statistics, products=(products,)).fitted(statistics.channels, EPSILON, workers)
    trust = fitted.factor(slice(0, L))[1]
    assert trust[2] == 0
    assert (trust[[0, 1, 3, 4, 5]] > 0).all()
