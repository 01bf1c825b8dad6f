"""Streamed Gaussians of several layers on grids of their own, with hostile features, against float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from harness.models.compute import Workers
from harness.models.padim.embedding import Grid, channels_by_layer
from harness.models.padim.gaussian import Moments, check_trust
from harness.models.padim.scoring import mahalanobis
from tests.models.test_gaussian import EPSILON, FIRST_BATCH, ROUNDING, Oracle

GRIDS = ([(4, 4), (2, 2), (1, 1)], [(3, 5), (2, 3)], [(4, 3), (4, 3)], [(2, 2)])
SIZES = (4, 6, 9)
N_TEST = 5


@dataclass(frozen=True)
class Case:
    """Features of each layer, (cells, k, images) float32, and what is asked of them."""

    grids: list[tuple[int, int]]
    train: list[np.ndarray]
    test: list[np.ndarray]
    kept: np.ndarray
    """The variant's channels, of all that the moments hold."""
    epsilon: float = EPSILON

    @property
    def channels(self) -> list[int]:
        return [layer.shape[1] for layer in self.train]

    def embeddings(self, layers: Sequence[np.ndarray]) -> np.ndarray:
        """(L, n, D) float32 of the kept channels, each layer repeated by nearest upsampling."""
        rows, columns = self.grids[0]
        repeated = []
        for layer, (height, width) in zip(layers, self.grids, strict=True):
            places = [np.arange(n) * cells // n for n, cells in ((rows, height), (columns, width))]
            repeated.append(layer.reshape(height, width, *layer.shape[1:])[np.ix_(*places)])
        whole = np.concatenate(repeated, axis=2).reshape(rows * columns, -1, layers[0].shape[2])
        return whole[:, np.sort(self.kept)].transpose(0, 2, 1)


def draw_case(
    grids: list[tuple[int, int]],
    n_images: int,
    *,
    scales: Sequence[float] = (1, 1, 1),
    levels: Sequence[float] = (0, 0, 0),
    n_kept: int | None = None,
    epsilon: float = EPSILON,
    seed: int = 0,
) -> Case:
    """Features that move together within a cell and across layers, of a scale and about a level by layer."""
    rng = np.random.default_rng(seed)
    sizes = SIZES[: len(grids)]
    common = rng.normal(size=(5, n_images + N_TEST))
    layers = []
    for (height, width), size, scale, level in zip(grids, sizes, scales, levels, strict=False):
        own = rng.normal(size=(height * width, size, 5)) @ common
        own += rng.normal(size=(height * width, size, n_images + N_TEST))
        layers.append((scale * (own + level)).astype(np.float32))
    kept = rng.permutation(sum(sizes))[: n_kept or sum(sizes)]
    return Case(
        grids, [layer[..., :-N_TEST] for layer in layers], [layer[..., -N_TEST:] for layer in layers], kept, epsilon
    )


def measure(case: Case, chunk_bytes: int = 8 << 20) -> tuple[np.ndarray, np.ndarray]:
    """Distances (L, n_test), and trust, through moments of all channels summed in several parts."""
    everything = channels_by_layer(np.arange(sum(case.channels)), case.channels)
    grid, n_images = Grid.of(case.grids), case.train[0].shape[2]
    with pytest.MonkeyPatch.context() as patch, Workers("cpu", 2) as workers:
        patch.setattr("harness.models.compute.CHUNK_BYTES", chunk_bytes)
        moments = Moments(grid, everything)
        for start, end in pairwise([*range(0, n_images, FIRST_BATCH), n_images]):
            moments.update([torch.from_numpy(layer[..., start:end].copy()) for layer in case.train], workers)
        fitted = moments.fitted(channels_by_layer(case.kept, case.channels), case.epsilon, workers)
        tests = [torch.from_numpy(layer.copy()) for layer in case.test]
        distances, trust = mahalanobis(tests, everything, fitted, workers)
    return distances.T.numpy(), trust


def bound(case: Case, oracle: Oracle, expected: np.ndarray) -> np.ndarray:
    """The stated error, (L, n): as in test_gaussian, but each feature's level weighs with that feature's own spread."""
    both = [np.concatenate(parts, axis=2) for parts in zip(case.train, case.test, strict=True)]
    levels = np.abs(case.embeddings(both)).max(axis=1).astype(np.float64)
    of_level = 4 * ROUNDING * np.linalg.norm(np.linalg.inv(oracle.lower) * levels[:, None], axis=(1, 2))
    return (oracle.magnified * 20 / oracle.trust + 20 * ROUNDING)[:, None] * expected + of_level[:, None]


def assert_right_or_refused(case: Case, chunk_bytes: int = 8 << 20) -> str:
    """Return `right` or `refused`; a number that is neither, or a refusal without need, is an AssertionError."""
    distances, trust = measure(case, chunk_bytes)
    oracle = oracle_of(case)
    least = oracle.trust.min() if oracle else 0.0
    try:
        check_trust(trust, case.epsilon, case.grids[0])
    except DataError:
        assert least <= 100, f"refused, with a trust of {least}"
        return "refused"
    assert least > 10, "float32 cannot give these numbers, and must be refused"
    assert oracle is not None
    expected = oracle.distances(case.embeddings(case.test))
    error = np.abs(distances - expected)
    assert (error <= bound(case, oracle, expected)).all(), (error / bound(case, oracle, expected)).max()
    return "right"


def oracle_of(case: Case) -> Oracle | None:
    """None where float64 itself finds no factor."""
    try:
        return Oracle(case.embeddings(case.train), case.epsilon)
    except np.linalg.LinAlgError:
        return None


@pytest.mark.parametrize("scales", [(1e4, 1e4, 1), (1e-6, 1, 1e3), (1e6, 1e-6, 1), (1, 1e18, 1), (1, 1, 1e25)])
@pytest.mark.parametrize("n_images", [9, 60])
def test_a_layer_that_is_lost_in_the_rounding_of_another_is_refused(scales, n_images):
    assert assert_right_or_refused(draw_case(GRIDS[0], n_images, scales=scales)) == "refused"


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_without_epsilon_a_constant_channel_names_the_first_place_that_reads_it(layer):
    """A cell of the coarse layers stands in four locations, or in all sixteen."""
    case = draw_case(GRIDS[0], 60, epsilon=0.0)
    case.train[layer][-1, 2] = 0.5
    trust = measure(case)[1].reshape(4, 4)
    first, others = {0: ("row 3, column 3", 0), 1: ("row 2, column 2", 3), 2: ("row 0, column 0", 15)}[layer]
    with pytest.raises(DataError, match=rf"{first} of the 4x4 grid, and at {others} more places"):
        check_trust(trust.ravel(), 0.0, (4, 4))


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_what_is_not_finite_in_one_layer_spoils_the_places_that_read_it_and_no_other(layer, value):
    case = draw_case(GRIDS[0], 60)
    good, trust = measure(case)
    case.train[layer][-1, 2, 40] = value
    spoiled, spoiled_trust = measure(case)
    hit = {0: np.arange(16) == 15, 1: np.isin(np.arange(16), [10, 11, 14, 15]), 2: np.full(16, True)}[layer]
    assert np.array_equal(~(spoiled_trust >= 30), hit)
    assert np.array_equal(spoiled[~hit], good[~hit])
    assert (trust >= 30).all()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    grids=st.sampled_from(GRIDS),
    n_images=st.integers(2, 50),
    scales=st.lists(st.sampled_from([0, 1e-8, 1e-4, 0.1, 1, 10, 1e3, 1e6, 1e12]), min_size=3, max_size=3),
    levels=st.lists(st.sampled_from([0, 1, -30, 1e3]), min_size=3, max_size=3),
    n_kept=st.integers(1, 10),
    epsilon=st.sampled_from([0.0, 1e-6, 0.01, EPSILON, 1.0]),
    chunk_bytes=st.sampled_from([1, 999, 8 << 20]),
    seed=st.integers(0, 2**20),
)
@example(  # its pivots are 270 times its smallest eigenvalue
    grids=[(4, 3), (4, 3)], n_images=3, scales=[0, 0.1, 0], levels=[0, 1, 0], n_kept=3, epsilon=1e-6, chunk_bytes=1,
    seed=2,
)  # fmt: skip
def test_whatever_the_features_are_a_distance_is_right_or_refused(grids, chunk_bytes, n_kept, **how):
    n_kept = min(n_kept, sum(SIZES[: len(grids)]))
    assert_right_or_refused(draw_case(grids, n_kept=n_kept, **how), chunk_bytes)
