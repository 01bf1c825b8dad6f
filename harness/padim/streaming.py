"""The streaming engine: PaDiM for all variants from one pass over the training images and one over the test images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.errors import DataError
from harness.padim.backbone import load_timm, quickened
from harness.padim.embedding import Channels, FeatureReader
from harness.padim.engine import Scores
from harness.padim.gaussian import Moments, Statistics, check_trust
from harness.padim.indices import draw_indices, indices_sha256
from harness.padim.isolation import exact_arithmetic, one_thread
from harness.padim.scoring import mahalanobis, map_maker
from harness.padim.stream import FeatureStream, Workers

if TYPE_CHECKING:
    from harness.config import BackboneConfig, ProtocolConfig
    from harness.monitor import Monitor
    from harness.padim.engine import ImageSource, Variant
    from harness.padim.plan import Plan
    from harness.padim.weights import Weights

IMAGES_AT_ONCE = 64
"""Training images whose products are summed together (the more, the fewer passes over the sums), and test images whose
maps are made together (only so that they are not there twice)."""


def run_streaming(
    source: ImageSource,
    *,
    backbone: BackboneConfig,
    weights: Weights,
    protocol: ProtocolConfig,
    variants: tuple[Variant, ...],
    device: str,
    monitor: Monitor,
    plan: Plan,
) -> Generator[Scores]:
    """Fit every variant and score the test images; see `harness.padim.engine.Engine`.

    Each image is decoded and passed through the network once, for all variants together, and decoding begins before the
    network is there. Memory does not grow with the number of training images. Every operation runs on one thread, and
    several run beside one another, so the number of threads changes no bit. torch's switches and all random generators
    are left as they were.

    Stages: `load`, `fit` (features and moments, by image), `test` (features, by image), `score` (factors, distances and
    maps, by variant).
    """
    with (
        exact_arithmetic(device),
        one_thread() as threads,
        Workers(device, threads) as workers,
        FeatureStream(
            source,
            batch_size=protocol.batch_size,
            device=device,
            workers=plan.workers,
            decoded_ahead=plan.decoded_ahead,
        ) as stream,
    ):
        with monitor.stage("load"):
            indices = [draw_indices(variant, backbone) for variant in variants]
            network = quickened(load_timm(backbone, weights)).to(device)
        together = Channels.of(np.concatenate(indices), backbone.channels)
        stream.begin(FeatureReader(network, backbone.layers, together, device))
        groups = [Channels.of(np.concatenate([indices[n] for n in group]), backbone.channels) for group in plan.groups]
        with monitor.stage("fit", source.n_train) as advance:
            fitted = fit(stream, together, groups, workers=workers, device=device, advance=advance)
        group_of = {n: statistics for group, statistics in zip(plan.groups, fitted, strict=True) for n in group}
        made = score(
            stream,
            together,
            [(group_of[n], Channels.of(drawn, backbone.channels)) for n, drawn in enumerate(indices)],
            plan.test_batches_at_once,
            protocol=protocol,
            workers=workers,
            device=device,
            monitor=monitor,
        )
        for drawn, maps in zip(indices, made, strict=True):
            yield Scores(image_scores=maps.max(axis=(1, 2)), anomaly_maps=maps, indices_sha256=indices_sha256(drawn))


def fit(
    stream: FeatureStream,
    together: Channels,
    groups: Sequence[Channels],
    *,
    workers: Workers,
    device: str,
    advance: Callable[[int], None],
) -> list[Statistics]:
    """Return statistics for each group of channels from the training images' features.

    Args:
        together: the channels that the stream gives; they hold every group's.

    Raises:
        DataError: fewer than two images, or features that are not finite.
    """
    moments: list[Moments] = []
    places = [[torch.from_numpy(kept).to(device) for kept in group.within(together)] for group in groups]
    held: list[list[torch.Tensor]] = []
    n_held = n_seen = 0

    def add() -> None:
        layers = [torch.cat(parts, dim=2) for parts in zip(*held, strict=True)]
        held.clear()
        for sums, kept in zip(moments, places, strict=True):
            sums.update([layer.index_select(1, own) for layer, own in zip(layers, kept, strict=True)], workers)

    for features in stream.features(stream.source.n_batches("train"), advance):
        if not moments:
            assert stream.grid is not None
            moments = [Moments(stream.grid, group, device) for group in groups]
        held.append(features)
        n_held += features[0].shape[2]
        if n_held >= IMAGES_AT_ONCE:
            add()
            n_seen, n_held = n_seen + n_held, 0
    if held:
        add()
        n_seen += n_held
    if n_seen != stream.source.n_train:
        raise RuntimeError(f"the source gave {n_seen} training images, not {stream.source.n_train}")
    if not moments:
        raise DataError("there are no training images: PaDiM needs at least 2 normal ones")
    return [sums.statistics() for sums in moments]


def score(
    stream: FeatureStream,
    together: Channels,
    variants: Sequence[tuple[Statistics, Channels]],
    at_once: int,
    *,
    protocol: ProtocolConfig,
    workers: Workers,
    device: str,
    monitor: Monitor,
) -> Iterator[np.ndarray]:
    """Yield each variant's anomaly maps of the test images, (n_test, H, W) float32, raw.

    The test images' features are held, some batches at a time, and each variant's Gaussians are factored anew for them:
    the factors of all locations would take more memory than the features, and all test images together are the rule.

    Args:
        at_once: test batches whose features are held together.

    Raises:
        DataError: features or scores that are not finite, or a covariance whose factor cannot be trusted.
    """
    n_test, n_batches = stream.source.n_test, stream.source.n_batches("test")
    if not n_batches:
        raise DataError("there are no test images: add normal and defective ones")
    measured: list[list[torch.Tensor]] = [[] for _ in variants]
    n_seen = 0
    for first in range(0, n_batches, at_once):
        n = min(at_once, n_batches - first)
        with monitor.stage("test", min(n_test - n_seen, n * protocol.batch_size)) as advance:
            parts = list(stream.features(n, advance))
            layers = [torch.cat(of_layer, dim=2) for of_layer in zip(*parts, strict=True)]
            del parts
        n_seen += layers[0].shape[2]
        last = first + n == n_batches
        if last and n_seen != n_test:
            raise RuntimeError(f"the source gave {n_seen} test images, not {n_test}")
        for own, (statistics, channels) in zip(measured, variants, strict=True):
            with monitor.stage("score"):
                fitted = statistics.fitted(channels, protocol.epsilon, workers)
                distances, trust = mahalanobis(layers, together, fitted, workers)
                del fitted  # else the next variant's covariances are made beside it
                check_trust(trust, protocol.epsilon, statistics.grid.shape)
                own.append(distances)
                maps = _maps(torch.cat(own), statistics.grid.shape, protocol, device) if last else None
            if maps is not None:
                own.clear()
                yield maps


def _maps(distances: torch.Tensor, grid: tuple[int, int], protocol: ProtocolConfig, device: str) -> np.ndarray:
    """(n_test, H, W) float32 from (n_test, L)."""
    make = map_maker(grid, protocol.input_size, protocol.blur_sigma, device)
    maps = np.empty((len(distances), *protocol.input_size), np.float32)
    for start in range(0, len(distances), IMAGES_AT_ONCE):
        some = distances[start : start + IMAGES_AT_ONCE].reshape(-1, *grid)
        maps[start : start + IMAGES_AT_ONCE] = make(some).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2)))
    if bad.size:
        raise DataError(f"test image {int(bad[0]) + 1} has no finite score: check the weights and the normalisation")
    return maps
