"""The streaming engine: one pass for all variants, each with the numbers it has alone."""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.execution.monitor import Monitor
from harness.models.padim import streaming
from harness.models.padim.engine import Draw, Variant, Work, draw_indices, indices_sha256
from harness.models.padim.gaussian import Moments
from harness.models.padim.plan import Task, plan_pass
from harness.models.padim.scoring import mahalanobis
from harness.models.padim.streaming import FeatureStream, run_streaming
from harness.models.weights import resolve_weights
from tests.models.conftest import load_once
from tests.models.sources import PREPROCESSING, RESNET18, random_source, spread
from tests.models.sources import run as run_engine

pytestmark = pytest.mark.usefixtures("networks_once")

VARIANTS = (Draw(42, 50, "anomalib_v2"), Draw(0, 20, "anomalib_v1"), Draw(0, 100, "anomalib_v2"))
run = partial(run_engine, run_streaming)


@pytest.fixture(scope="module")
def source():
    return random_source()


def plain_padim(source, variant, epsilon=0.01001) -> np.ndarray:
    """Return the maps (n_test, H, W) by the definition: all embeddings at once, in float64, with anomalib's blur."""
    from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.padim.torch_model import PadimModel

    model = PadimModel("resnet18", list(RESNET18.layers), pre_trained=False, n_features=variant.n_features)
    model.feature_extractor = load_once(RESNET18, resolve_weights(RESNET18))
    model.idx = torch.from_numpy(draw_indices(variant, RESNET18))

    def embed(batches: list[torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return model.generate_embedding(model.feature_extractor(torch.cat(batches))).double()

    train, test = embed(source.train), embed(source.test)
    grid = train.shape[-2:]
    train, test = (part.flatten(2).permute(2, 0, 1) for part in (train, test))
    mean = train.mean(dim=1, keepdim=True)
    covariance = (train - mean).mT @ (train - mean) / (train.shape[1] - 1) + epsilon * torch.eye(train.shape[2])
    delta = test - mean
    squares = (delta * torch.linalg.solve(covariance, delta.mT).mT).sum(dim=2)
    generator = AnomalyMapGenerator()
    maps = squares.sqrt().T.reshape(-1, 1, *grid).float()
    return generator.smooth_anomaly_map(generator.up_sample(maps, PREPROCESSING.input_size))[:, 0].numpy()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.index_sampler}-{variant.n_features}")
def test_maps_are_padims(source, variant):
    (scores,) = run(source, (variant,))
    expected = plain_padim(source, variant)
    assert scores.anomaly_maps.shape == (7, 64, 64)
    assert (scores.anomaly_maps.dtype, scores.image_scores.dtype) == (np.float32, np.float64)
    assert spread(scores.anomaly_maps, expected) < 1e-5
    assert np.array_equal(scores.image_scores, scores.anomaly_maps.max(axis=(1, 2)))
    assert scores.indices_sha256 == indices_sha256(draw_indices(variant, RESNET18))


def test_each_image_is_read_once_for_all_variants():
    source = random_source(n_train=6, n_test=2)
    run(source, VARIANTS)
    assert source.reads == {("train", 0): 1, ("train", 1): 1, ("test", 0): 1}


def test_a_variant_alone_and_beside_others_gives_the_same_bits(source):
    together = run(source, VARIANTS, groups=((0,), (1,), (2,)))
    for variant, scores in zip(VARIANTS, together, strict=True):
        (alone,) = run(source, (variant,))
        assert np.array_equal(alone.anomaly_maps, scores.anomaly_maps)
        assert np.array_equal(alone.image_scores, scores.image_scores)
        assert alone.indices_sha256 == scores.indices_sha256


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"groups": ((0, 1, 2),)}, 1e-6),
        ({"groups": ((0, 2), (1,))}, 1e-6),
        ({"test_batches_at_once": 1}, 1e-5),
        ({"decoded_ahead": 0, "workers": 1}, 1e-5),
    ],
)
def test_another_plan_changes_only_the_rounding(source, changes, most):
    for one, other in zip(run(source, VARIANTS), run(source, VARIANTS, **changes), strict=True):
        assert np.allclose(one.anomaly_maps, other.anomaly_maps, rtol=most)


def test_threads_change_no_bit(source):
    (expected,) = run(source, VARIANTS[:1], workers=1)
    torch.set_num_threads(3)
    try:
        (scores,) = run(source, VARIANTS[:1], workers=3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert np.array_equal(scores.anomaly_maps, expected.anomaly_maps)


def test_epsilon_and_blur_are_the_protocols(source):
    (expected,) = run(source, VARIANTS[:1])
    (regular,) = run(source, VARIANTS[:1], epsilon=1.0)
    (sharp,) = run(source, VARIANTS[:1], blur_sigma=0)
    assert (regular.anomaly_maps < expected.anomaly_maps).all()
    assert (sharp.image_scores > expected.image_scores).all()
    assert np.allclose(regular.anomaly_maps, plain_padim(source, VARIANTS[0], epsilon=1.0), rtol=1e-5)


@pytest.mark.parametrize("at_once", [2, 1])
def test_epsilons_and_blurs_share_a_draws_moments_and_change_no_bit(source, monkeypatch, at_once):
    draws = (Draw(1, 20, "anomalib_v1"), Draw(2, 20, "anomalib_v1"))
    grid = [Variant(draw, epsilon, sigma) for draw in draws for epsilon in (0.01, 0.1) for sigma in (0, 4)]
    task = Task(RESNET18, PREPROCESSING, source.n_train, source.n_test, None, "cpu", 2, 2)
    plan = replace(plan_pass(task, [20, 20], 2**40, n_runs=8), groups=((0,), (1,)), test_batches_at_once=at_once)
    factored = []
    monkeypatch.setattr(streaming, "mahalanobis", lambda *given: factored.append(1) or mahalanobis(*given))
    work = Work(RESNET18, resolve_weights(RESNET18), PREPROCESSING, tuple(grid), "cpu", plan)
    together = tuple(run_streaming(source, work, Monitor()))
    assert len(factored) == len(grid) // 2 * (2 if at_once == 1 else 1), "one factor for each draw and epsilon"
    for variant, scores in zip(grid, together, strict=True):
        own = {"epsilon": variant.epsilon, "blur_sigma": variant.blur_sigma}
        (alone,) = run(source, (variant.draw,), **own, test_batches_at_once=at_once)
        assert np.array_equal(scores.anomaly_maps, alone.anomaly_maps)
        assert scores.indices_sha256 == alone.indices_sha256


def test_the_stages_and_their_progress():
    stages, done = [], {}

    @contextmanager
    def display(stage, total):
        stages.append((stage, total))
        done[stage] = 0

        def advance(n):
            done[stage] += n

        yield advance

    monitor = Monitor(display)
    run(random_source(n_train=6, n_test=3, batch=4), VARIANTS[:1], monitor=monitor)
    assert stages == [("load", None), ("fit", 6), ("test", 3), ("score", None)]
    assert done == {"load": 0, "fit": 6, "test": 3, "score": 0}
    assert set(monitor.seconds) == {"load", "fit", "test", "score"}


def test_too_few_images():
    with pytest.raises(DataError, match="at least 2 training images"):
        run(random_source(n_train=1, n_test=2), VARIANTS[:1])


def test_images_that_are_not_numbers():
    source = random_source(n_train=12, n_test=2)
    source.train[1][2, 0, 3, 3] = float("nan")
    monitor = Monitor()
    with pytest.raises(DataError, match=r"gives nan in layer1 of training images 6 to 10 .* of image 3 among them"):
        run(source, VARIANTS[:1], monitor=monitor)
    assert monitor.current == "fit"


def test_one_variants_covariances_are_gone_before_the_nexts_are_made(monkeypatch):
    made, fitted = [], Moments.fitted

    def watched(*given):
        assert [one() for one in made] == [None] * len(made)
        one = fitted(*given)
        made.append(weakref.ref(one))
        return one

    monkeypatch.setattr(Moments, "fitted", watched)
    run(random_source(), tuple(Draw(seed, 10, "anomalib_v1") for seed in range(3)))
    assert len(made) == 3


class Source:
    """Six training and two test batches of one image, whose numbers are their places; it notes what is decoded."""

    n_train, n_test = 6, 2

    def __init__(self, bad: int | None = None) -> None:
        self.bad = bad
        self.decoded: list[int] = []
        self.threads: set[int] = set()

    def n_batches(self, part: str) -> int:
        return self.n_train if part == "train" else self.n_test

    def load_batch(self, part: str, number: int) -> torch.Tensor:
        place = number if part == "train" else self.n_train + number
        time.sleep(0.002 * (place % 3))
        self.decoded.append(place)
        self.threads.add(torch.get_num_threads())
        if place == self.bad:
            raise ArithmeticError(place)
        return torch.full((1, 3, 4, 4), float(place))


def stream_of(source: Source, workers: int = 2, decoded_ahead: int = 2) -> FeatureStream:
    return FeatureStream(source, 1, "cpu", workers, decoded_ahead)


def begin(stream: FeatureStream) -> None:
    """A network of one layer, whose only feature is the image's number."""
    stream.begin(lambda images: [images[:, :1]], ["layer"], (torch.arange(1).numpy(),))


def numbers(stream: FeatureStream, n_batches: int) -> list[int]:
    return [int(features[0][0, 0, 0]) for features in stream.features(n_batches, lambda _: None)]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 1, 100])
def test_in_order_and_once_on_one_thread_each(workers, ahead):
    source = Source()
    torch.set_num_threads(2)
    try:
        with stream_of(source, workers, ahead) as stream:
            begin(stream)
            assert numbers(stream, 6) == list(range(6))
            assert numbers(stream, 2) == [6, 7]
    finally:
        torch.set_num_threads(1)
    assert sorted(source.decoded) == list(range(8))
    assert source.threads == {1}


def test_decoding_begins_before_the_network_is_there_and_stays_within_its_bound():
    source = Source()
    with stream_of(source, workers=2, decoded_ahead=1) as stream:
        time.sleep(0.2)
        assert sorted(source.decoded) == [0, 1, 2]
        begin(stream)
        time.sleep(0.2)
        assert sorted(source.decoded) == [0, 1, 2]
        assert numbers(stream, 6) == list(range(6))


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_an_exception_comes_at_its_batchs_turn(bad):
    with stream_of(Source(bad), workers=3, decoded_ahead=10) as stream:
        begin(stream)
        taken = stream.features(8, lambda _: None)
        assert [int(next(taken)[0][0, 0, 0]) for _ in range(bad)] == list(range(bad))
        with pytest.raises(ArithmeticError, match=str(bad)):
            next(taken)


@pytest.mark.parametrize("begun", [True, False])
def test_leaving_early_ends_the_threads(begun):
    before = threading.active_count()
    with stream_of(Source()) as stream:
        if begun:
            begin(stream)
            next(stream.features(8, lambda _: None))
    assert threading.active_count() == before
