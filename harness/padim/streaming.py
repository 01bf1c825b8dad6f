"""The streaming engine: PaDiM for all variants from one pass over the training images and one over the test images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError
from harness.padim.backbone import load_network
from harness.padim.embedding import FeatureReader, Selection
from harness.padim.engine import Scores
from harness.padim.gaussian import Moments
from harness.padim.indices import draw_indices, indices_sha256
from harness.padim.isolation import exact_arithmetic
from harness.padim.model import FittedPadim
from harness.padim.scoring import image_scores, mahalanobis, map_maker
from harness.padim.workers import Workers

if TYPE_CHECKING:
    from harness.config import BackboneConfig, ProtocolConfig
    from harness.monitor import Monitor
    from harness.padim.backbone import Weights
    from harness.padim.engine import ImageSource, Variant


def run_streaming(
    source: ImageSource,
    *,
    backbone: BackboneConfig,
    weights: Weights,
    protocol: ProtocolConfig,
    variants: tuple[Variant, ...],
    device: str,
    monitor: Monitor,
) -> tuple[Scores, ...]:
    """Fit every variant and score the test images; see `harness.padim.engine.Engine`.

    Each image is decoded and passed through the network once, for all variants together. A variant's numbers are the
    same, bit for bit, alone and beside others. Memory grows with the number of variants and, for the maps, of test
    images, not with that of training images. torch's switches and all random generators are left as they were.

    Stages: `load`, `fit` (features and moments, by image), `factor`, `score` (by image).
    """
    with exact_arithmetic(device), Workers(device) as workers:
        with monitor.stage("load"):
            reader = FeatureReader(load_network(backbone, weights), device)
            indices = [draw_indices(variant, backbone) for variant in variants]
        fitted = fit_variants(
            source, reader, indices, epsilon=protocol.epsilon, device=device, workers=workers, monitor=monitor
        )
        return score_variants(
            source, reader, fitted, protocol=protocol, device=device, workers=workers, monitor=monitor
        )


def fit_variants(
    source: ImageSource,
    reader: FeatureReader,
    indices: Sequence[np.ndarray],
    *,
    epsilon: float,
    device: str,
    workers: Workers,
    monitor: Monitor,
) -> tuple[FittedPadim, ...]:
    """Fit PaDiM on the training images, once for each of `indices`, the channels that a variant keeps.

    Raises:
        DataError: fewer than two images, features that are not finite, or a covariance without a factor.
    """
    selections = [Selection(kept, reader.channels, device) for kept in indices]
    moments: list[Moments] = []
    with monitor.stage("fit", source.n_train) as advance:
        for images in source.train_batches():
            layers = reader.read(images, "training")
            if not moments:
                moments = [Moments(reader.n_locations, len(kept), device) for kept in indices]
            for selection, sums in zip(selections, moments, strict=True):
                sums.update(selection(layers, reader.rows))
            advance(len(images))
    n_seen = moments[0].n_images if moments else 0
    if n_seen != source.n_train:
        raise RuntimeError(f"the source gave {n_seen} training images, not {source.n_train}")
    if not moments:
        raise DataError("there are no training images: PaDiM needs at least 2 normal ones")
    with monitor.stage("factor"):
        return tuple(
            FittedPadim(kept, reader.grid, sums.gaussian(epsilon, reader.grid, workers))
            for kept, sums in zip(indices, moments, strict=True)
        )


def score_variants(
    source: ImageSource,
    reader: FeatureReader,
    fitted: Sequence[FittedPadim],
    *,
    protocol: ProtocolConfig,
    device: str,
    workers: Workers,
    monitor: Monitor,
) -> tuple[Scores, ...]:
    """Score the test images by each fitted variant.

    Raises:
        DataError: features or scores that are not finite.
    """
    size = protocol.input_size
    selections = [Selection(one.indices, reader.channels, device) for one in fitted]
    maps = [np.empty((source.n_test, *size), np.float32) for _ in fitted]
    scores = [np.empty(source.n_test, np.float32) for _ in fitted]
    done = 0
    with monitor.stage("score", source.n_test) as advance:
        make_maps = map_maker(size, protocol.blur_sigma, device)
        for images in source.test_batches():
            layers = reader.read(images, "test")
            batch = slice(done, done + len(images))
            for selection, one, map_out, score_out in zip(selections, fitted, maps, scores, strict=True):
                distances = mahalanobis(selection(layers, reader.rows), one.gaussian, workers)
                batch_maps = make_maps(distances.reshape(-1, *reader.grid))
                map_out[batch] = batch_maps.cpu().numpy()
                score_out[batch] = image_scores(batch_maps).cpu().numpy()
                _check_scores(score_out[batch], done)
            done = batch.stop
            advance(len(images))
    if done != source.n_test:
        raise RuntimeError(f"the source gave {done} test images, not {source.n_test}")
    return tuple(
        Scores(image_scores=score_out, anomaly_maps=map_out, indices_sha256=indices_sha256(one.indices))
        for one, map_out, score_out in zip(fitted, maps, scores, strict=True)
    )


def _check_scores(scores: np.ndarray, first: int) -> None:
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise DataError(
            f"test image {first + int(bad[0]) + 1} has no finite score ({scores[bad[0]]}): "
            "check the weights and the normalisation"
        )
