"""The streaming engine: PaDiM for all variants from one pass over the training images and one over the test images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.errors import DataError
from harness.models.backbone import load_timm, quickened
from harness.models.base import Scores
from harness.models.compute import Workers, exact_arithmetic, one_thread
from harness.models.padim.embedding import Channels, FeatureReader, Grid, channels_by_layer, places_among
from harness.models.padim.engine import Draw, Variant, Work, draw_indices, indices_sha256
from harness.models.padim.gaussian import Fitted, Moments, check_trust
from harness.models.padim.scoring import mahalanobis, map_maker

if TYPE_CHECKING:
    from harness.config.settings import PreprocessingConfig
    from harness.data.loader import Part, SplitSource
    from harness.execution.monitor import Monitor

IMAGES_AT_ONCE = 64
"""Training images whose products are summed together (the more, the fewer passes over the sums), and test images whose
maps are made together (only so that they are not there twice)."""
_PARTS: dict[Part, str] = {"train": "training", "test": "test"}


def run_streaming(source: SplitSource, work: Work, monitor: Monitor) -> Generator[Scores]:
    """Fit every variant on the training images and yield its scores of the test images.

    Each image is decoded and passed through the network once, for all variants together. Memory does not grow with the
    number of training images. Every operation runs on one thread, so the number of threads changes no bit.

    Stages: `load`, `fit` (features and moments, by image), `test` (features, by image), `score` (factors, distances and
    maps, by variant).

    Raises:
        DataError: the numbers cannot be trusted (a NaN in the features, a covariance without a factor); names the
            location.
    """
    backbone, plan = work.backbone, work.plan
    exact_arithmetic(work.device)
    with (
        one_thread() as threads,
        Workers(work.device, threads) as workers,
        FeatureStream(source, work.preprocessing.batch_size, work.device, plan.workers, plan.decoded_ahead) as stream,
    ):
        with monitor.stage("load"):
            draws = list(dict.fromkeys(variant.draw for variant in work.variants))
            indices = [draw_indices(draw, backbone) for draw in draws]
            network = quickened(load_timm(backbone, work.weights)).to(work.device)
        channels = [channels_by_layer(drawn, backbone.channels) for drawn in indices]
        stream.begin(network, backbone.layers, channels_by_layer(np.concatenate(indices), backbone.channels))
        groups = [
            channels_by_layer(np.concatenate([indices[n] for n in group]), backbone.channels) for group in plan.groups
        ]
        with monitor.stage("fit", source.n_train) as advance:
            fitted = fit(stream, groups, workers=workers, advance=advance)
        kept = {
            draws[n]: (moments, channels[n]) for group, moments in zip(plan.groups, fitted, strict=True) for n in group
        }
        made = score(
            stream,
            kept,
            work.variants,
            plan.test_batches_at_once,
            preprocessing=work.preprocessing,
            workers=workers,
            monitor=monitor,
        )
        digests = dict(zip(draws, map(indices_sha256, indices), strict=True))
        for variant, maps in zip(work.variants, made, strict=True):
            yield Scores(maps.max(axis=(1, 2)).astype(np.float64), maps, digests[variant.draw])


class FeatureStream:
    """First all training batches, then all test batches; entering the context begins to decode.

    Decoding overlaps with loading the network. On the CPU a worker also passes its batch through the network; for a GPU
    it copies the batch into pinned memory.
    """

    def __init__(self, source: SplitSource, batch_size: int, device: str, workers: int, decoded_ahead: int) -> None:
        """Open nothing yet.

        Args:
            batch_size: of the source, to name an image in an error.
            workers: threads; as many batches may be passed and not yet used.
            decoded_ahead: further batches that may be decoded and wait for the network.
        """
        self.source = source
        self.grid: Grid | None = None
        """What each location reads; known after the first batch."""
        self.channels: Channels = ()
        self._batch_size = batch_size
        self._device = device
        self._workers, self._ahead = workers, decoded_ahead
        self._batches = iter([(part, number) for part in _PARTS for number in range(source.n_batches(part))])
        self._decoded: deque[Future[tuple[str, torch.Tensor]]] = deque()
        self._passed: deque[Future[Any]] = deque()
        self._read: FeatureReader | None = None
        self._pool = ThreadPoolExecutor(workers, "batch", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> FeatureStream:
        self._go_on()
        return self

    def __exit__(self, *stopped: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._decoded.clear()
        self._passed.clear()
        self._read = None

    def begin(self, network: Any, layers: Sequence[str], channels: Channels) -> None:
        """Say how features are read: the network is there."""
        self.channels = channels
        self._read = FeatureReader(network, layers, channels, self._device)
        self._go_on()

    def features(self, n_batches: int, advance: Callable[[int], None]) -> Iterator[list[torch.Tensor]]:
        """Yield the features of the next batches, (cells, k, B) float32 for each layer.

        Args:
            advance: called with the number of images of each batch, after it was used.

        Raises:
            DataError: an image that cannot be read, or a NaN or an infinity in the features.
        """
        for _ in range(n_batches):
            made = self._passed.popleft().result()
            self._go_on()
            layers, grids = made()
            if self.grid is None:
                self.grid = Grid.of(grids, self._device)
            yield layers
            advance(layers[0].shape[2])

    def _go_on(self) -> None:
        """Give the workers what may be done by now.

        They take it in this order, so a batch that waits for its decoding waits for one that has begun.
        """
        while len(self._decoded) + len(self._passed) < self._workers + self._ahead:
            if (batch := next(self._batches, None)) is None:
                break
            self._decoded.append(self._pool.submit(self._decode, *batch))
        while self._read and self._decoded and len(self._passed) < self._workers:
            self._passed.append(self._pool.submit(self._pass, self._decoded.popleft(), self._read))

    def _decode(self, part: Part, number: int) -> tuple[str, torch.Tensor]:
        images = self.source.load_batch(part, number)
        first = number * self._batch_size + 1
        return f"{_PARTS[part]} images {first} to {first + len(images) - 1}", images

    def _pass(self, decoded: Future[tuple[str, torch.Tensor]], read: FeatureReader) -> Callable[[], Any]:
        """Return a function that gives the features, from the CPU's network, or by running a GPU's."""
        what, images = decoded.result()
        if self._device == "cpu":
            features = read(images, what)
            return lambda: features
        pinned = images.pin_memory()
        return lambda: read(pinned.to(self._device, non_blocking=True), what)


def fit(
    stream: FeatureStream, groups: Sequence[Channels], *, workers: Workers, advance: Callable[[int], None]
) -> list[Moments]:
    """Return the moments of each group of channels from the training images' features.

    Args:
        groups: channels that the stream gives.

    Raises:
        DataError: features that are not finite.
    """
    moments: list[Moments] = []
    places: list[list[torch.Tensor]] = []
    held: list[list[torch.Tensor]] = []

    def add() -> None:
        layers = _joined(held)
        held.clear()
        for sums, kept in zip(moments, places, strict=True):
            sums.update([layer.index_select(1, own) for layer, own in zip(layers, kept, strict=True)], workers)

    for features in stream.features(stream.source.n_batches("train"), advance):
        if not moments:
            assert stream.grid is not None
            moments = [Moments(stream.grid, group) for group in groups]
            places = [places_among(group, stream.channels, features[0].device) for group in groups]
        held.append(features)
        if sum(layers[0].shape[2] for layers in held) >= IMAGES_AT_ONCE:
            add()
    if held:
        add()
    return moments


def score(
    stream: FeatureStream,
    kept: Mapping[Draw, tuple[Moments, Channels]],
    variants: Sequence[Variant],
    at_once: int,
    *,
    preprocessing: PreprocessingConfig,
    workers: Workers,
    monitor: Monitor,
) -> Iterator[np.ndarray]:
    """Yield each variant's anomaly maps of the test images, (n_test, H, W) float32, raw.

    Features are held some test batches at a time, and the Gaussians are factored for each part. Neighbours with the
    same draw share covariances, with the same epsilon also distances.

    Args:
        kept: the moments and the channels of each draw.
        at_once: test batches whose features are held together.

    Raises:
        DataError: features or scores that are not finite, or a covariance whose factor cannot be trusted.
    """
    n_test, n_batches = stream.source.n_test, stream.source.n_batches("test")
    measured: list[list[torch.Tensor]] = [[] for _ in variants]
    for first in range(0, n_batches, at_once):
        n = min(at_once, n_batches - first)
        last = first + n == n_batches
        with monitor.stage(
            "test", min(n_test - first * preprocessing.batch_size, n * preprocessing.batch_size)
        ) as advance:
            layers = _joined(list(stream.features(n, advance)))
        fitted: Fitted | None = None
        for n, variant in enumerate(variants):
            moments, channels = kept[variant.draw]
            alike = variants[n - 1] if n else None
            with monitor.stage("score"):
                if alike is None or variant.draw != alike.draw:
                    fitted = moments.fitted(channels, variant.epsilon, workers)
                if alike is None or (variant.draw, variant.epsilon) != (alike.draw, alike.epsilon):
                    assert fitted is not None
                    of_epsilon = replace(fitted, epsilon=variant.epsilon)
                    distances, trust = mahalanobis(layers, stream.channels, of_epsilon, workers)
                    del of_epsilon
                    check_trust(trust, variant.epsilon, moments.grid.shape)
                if n + 1 == len(variants) or variants[n + 1].draw != variant.draw:
                    fitted = None  # else the next draw's covariances are made beside it
                measured[n].append(distances)
                maps = (
                    _maps(torch.cat(measured[n]), moments.grid.shape, preprocessing, variant.blur_sigma)
                    if last
                    else None
                )
            if maps is not None:
                measured[n].clear()
                yield maps


def _joined(batches: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    return [torch.cat(of_layer, dim=2) for of_layer in zip(*batches, strict=True)]


def _maps(
    distances: torch.Tensor, grid: tuple[int, int], preprocessing: PreprocessingConfig, blur_sigma: int
) -> np.ndarray:
    """Make the anomaly maps, (n_test, H, W) float32, from distances, (n_test, L)."""
    make = map_maker(grid, preprocessing.input_size, blur_sigma, distances.device)
    maps = np.empty((len(distances), *preprocessing.input_size), np.float32)
    for start in range(0, len(distances), IMAGES_AT_ONCE):
        some = distances[start : start + IMAGES_AT_ONCE].reshape(-1, *grid)
        maps[start : start + IMAGES_AT_ONCE] = make(some).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2)))
    if bad.size:
        raise DataError(f"test image {int(bad[0]) + 1} has no finite score: check the weights and the normalisation")
    return maps
