"""Streamed Gaussians against float64, over features that are kind and features that are not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.models.compute import Workers
from harness.models.padim.embedding import Grid
from harness.models.padim.gaussian import Fitted, Moments, check_trust
from harness.models.padim.scoring import mahalanobis

EPSILON = 0.01001
ROUNDING = float(np.finfo(np.float32).eps)
FIRST_BATCH = 16
L = 6
GRID = Grid.of([(2, L // 2)])
"""One layer of L locations, of which all channels are kept."""
EVERYWHERE = slice(0, L)


def fit(train: np.ndarray, *, batches: tuple[int, ...] | None = None, epsilon: float = EPSILON) -> Fitted:
    """Fit (L, N, D), in batches that end where `batches` says, all as large as the first without it."""
    n_images, n_features = train.shape[1:]
    moments = Moments(GRID, (np.arange(n_features),))
    with Workers("cpu", 2) as workers:
        for start, end in pairwise([0, *(batches or range(FIRST_BATCH, n_images, FIRST_BATCH)), n_images]):
            moments.update([torch.from_numpy(train[:, start:end].transpose(0, 2, 1).copy())], workers)
        fitted = moments.fitted(moments.channels, epsilon, workers)
    check(fitted)
    return fitted


def check(fitted: Fitted) -> None:
    check_trust(fitted.factor(EVERYWHERE)[1].numpy(), fitted.epsilon, GRID.shape)


def distances(fitted: Fitted, test: np.ndarray) -> np.ndarray:
    with Workers("cpu", 2) as workers:
        return mahalanobis([torch.from_numpy(test).mT.contiguous()], fitted.channels, fitted, workers)[0].T.numpy()


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


def assert_within_bound(train: np.ndarray, test: np.ndarray, epsilon: float = EPSILON) -> None:
    oracle = Oracle(train, epsilon)
    error = np.abs(distances(fit(train, epsilon=epsilon), test) - oracle.distances(test))
    assert (error <= oracle.bound(test)).all(), (error / oracle.bound(test)).max()


@pytest.mark.parametrize(("n_images", "n_features"), [(200, 100), (40, 100), (101, 100), (5, 1), (2, 20), (209, 256)])
def test_mean_covariance_and_distances(n_images, n_features):
    """At 256 features anomalib's own inverse breaks on several threads."""
    draw = correlated(n_features)
    train, test = draw(n_images), 3 * draw(9)
    fitted, oracle = fit(train), Oracle(train)
    factor = fitted.factor(EVERYWHERE)[0].double()
    assert torch.equal(factor, factor.triu())
    spread = np.sqrt(np.diagonal(oracle.covariance, axis1=1, axis2=2))
    error = (factor.mT @ factor).numpy() - oracle.covariance
    assert (np.abs(error) <= 16 * ROUNDING * spread[:, :, None] * spread[:, None, :]).all()
    assert np.allclose(fitted.means[0].numpy(), oracle.mean, rtol=0, atol=4 * ROUNDING * oracle.level)
    assert_within_bound(train, test)


def hostile() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    cases = {}
    draw = correlated(40, seed=1)
    for scale in (1e-6, 1, 100, 1e4, 1e6):
        cases[f"20 images, scale {scale:g}"] = draw(20) * np.float32(scale), draw(8) * np.float32(scale)
    train, test = draw(150), draw(8)
    train[..., :10] = test[..., :10] = 1e6 + 0.3
    cases["ten constant channels"] = train, test
    train, test = draw(150), draw(8)
    train[..., 1], test[..., 1] = train[..., 0], test[..., 0]
    cases["one channel twice"] = train, test
    cases["a large offset"] = draw(150) + np.float32(1e4), draw(8) + np.float32(1e4)
    train = draw(900)
    train[:, :16] += 100
    cases["the first batch is of another kind"] = train, draw(8)
    scales = np.logspace(-3, 1, 40, dtype=np.float32)
    cases["channels of many scales"] = draw(150) * scales, draw(8) * scales
    test = draw(8)
    test[:, 0] = 1e8
    cases["an outlier"] = draw(150), test
    return cases


HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_features_are_right_or_refused(name):
    train, test = HOSTILE[name]
    trust = Oracle(train).trust.min()
    try:
        assert_within_bound(train, test)
    except DataError:
        assert trust <= 100, "refused without need"
    else:
        assert trust > 10, "float32 cannot give these numbers, and must be refused"


@pytest.mark.parametrize("batches", [(1,), (1, 2, 3), tuple(range(1, 60)), (17, 34, 51)])
def test_batches_make_no_difference(batches):
    draw = correlated(30)
    train, test = draw(60), draw(5)
    expected = Oracle(train).distances(test)
    assert np.abs(distances(fit(train, batches=batches), test) / expected - 1).max() < 5e-6


def test_anomalibs_own_gaussian():
    from anomalib.models.components import MultiVariateGaussian

    train = correlated(60)(45)
    theirs = MultiVariateGaussian()
    theirs.fit(torch.from_numpy(train.transpose(1, 2, 0)[..., None].copy()))
    ours = fit(train)
    inverse = torch.cholesky_inverse(ours.factor(EVERYWHERE)[0], upper=True)
    assert torch.allclose(ours.means[0].T, theirs.mean, atol=1e-6)
    assert torch.allclose(inverse, theirs.inv_covariance, rtol=1e-3, atol=2e-4 * theirs.inv_covariance.abs().max())


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
    assert_within_bound(train, np.random.default_rng(1).normal(size=(L, 9, n_features)).astype(np.float32), epsilon)


def test_a_failed_factorisation_is_not_taken_for_a_good_one():
    """A negative pivot stays on the diagonal as it is, and its square looks fine."""
    fitted = fit(np.zeros((L, 3, 2), np.float32))
    block = fitted.blocks[0].clone()
    block[2] = torch.tensor([[1.0, 3.0], [3.0, 1.0]])
    spoiled = replace(fitted, blocks=(block,))
    with pytest.raises(DataError, match="row 0, column 2"):
        check(spoiled)
    assert ((spoiled.factor(EVERYWHERE)[1] > 0) == (torch.arange(L) != 2)).all()
