"""The stratified bootstrap over images: every metric on every resample, from histograms by image."""

from __future__ import annotations

import numpy as np

from harness.metrics.histograms import OVERLAP_UNIT, ImageHistograms
from harness.metrics.ranking import f1_as_anomalib
from harness.metrics.region import ramp_area

CHUNK = 32
"""Resamples at a time: 1.5 MB an array with 6144 bins, which a cache holds. Moves no number."""


def draw(labels: np.ndarray, n_samples: int, seed: int) -> np.ndarray:
    """Resample normal and anomalous images apart, with replacement, keeping how many there are of each.

    Args:
        labels: (N,) int in {0, 1}.
        n_samples: number of resamples.
        seed: of a PCG64 generator; the same seed gives the same resamples.

    Returns:
        (n_samples, N) float64: how often each image was drawn.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    counts = np.zeros((n_samples, labels.size))
    for label in (0, 1):
        members = np.flatnonzero(labels == label)
        if members.size:
            drawn = generator.integers(members.size, size=(n_samples, members.size))
            cells = drawn + np.arange(n_samples)[:, None] * members.size
            counts[:, members] = np.bincount(cells.ravel(), minlength=cells.size).reshape(cells.shape)
    return counts


def resampled(
    histograms: ImageHistograms, draws: np.ndarray, *, fpr_limit: float | None = None, chunk: int = CHUNK
) -> dict[str, np.ndarray]:
    """Every metric on every resample.

    Args:
        histograms: of the images; from image scores the results are exact, from pixels as accurate as these say.
        draws: (B, N) float64, whole: how often each resample holds each image.
        fpr_limit: of AUPRO; None leaves AUPRO out.
        chunk: resamples at a time.

    Returns:
        `auroc`, `f1_max`, `f1_adaptive` and, from pixels, `aupro`: (B,) float64 each, NaN where a resample lacks one
        class.
    """
    parts = [_metrics(histograms, draws[i : i + chunk], fpr_limit) for i in range(0, len(draws), chunk)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _metrics(histograms: ImageHistograms, draws: np.ndarray, fpr_limit: float | None) -> dict[str, np.ndarray]:
    positives = draws @ histograms.positives
    negatives = draws @ histograms.negatives
    true = _from_the_top(positives)
    false = _from_the_top(negatives)
    n_positives, n_negatives = true[:, :1], false[:, :1]

    with np.errstate(divide="ignore", invalid="ignore"):
        twice_u = (positives * (2 * (n_negatives - false) + negatives)).sum(axis=1)
        result = {
            "auroc": twice_u / (2 * n_positives * n_negatives)[:, 0],
            "f1_max": (2 * true / (true + false + n_positives)).max(axis=1),
            "f1_adaptive": _adaptive(histograms.atoms, positives, negatives, true, false),
        }
        if fpr_limit is not None and histograms.overlap is not None and histograms.regions is not None:
            area = ramp_area((false - negatives) / n_negatives, false / n_negatives, fpr_limit)
            overlap = ((draws @ histograms.overlap) * area).sum(axis=1) * OVERLAP_UNIT
            result["aupro"] = overlap / (draws @ histograms.regions) / fpr_limit
    undefined = (n_positives[:, 0] == 0) | (n_negatives[:, 0] == 0)
    return {name: np.where(undefined, np.nan, values) for name, values in result.items()}


def _adaptive(
    atoms: np.ndarray, positives: np.ndarray, negatives: np.ndarray, true: np.ndarray, false: np.ndarray
) -> np.ndarray:
    """F1 where `score > threshold`, at the threshold that anomalib would pick on each resample; (B,)."""
    n_positives = true[:, :1]
    theirs = f1_as_anomalib(true, false, n_positives)
    # A score that the resample does not hold is no threshold of its.
    theirs[positives + negatives == 0] = -1
    best = theirs.argmax(axis=1)[:, None]
    true, false, positives, negatives = (
        np.take_along_axis(x, best, axis=1) for x in (true, false, positives, negatives)
    )
    # In a bin of several scores the threshold is some positive's, and takes that one along.
    alone = atoms[best]
    strict_true = true - np.where(alone, positives, np.minimum(positives, 1))
    strict_false = false - np.where(alone, negatives, 0)
    f1: np.ndarray = (2 * strict_true / (strict_true + strict_false + n_positives))[:, 0]
    return f1


def _from_the_top(counts: np.ndarray) -> np.ndarray:
    """Of (B, bins) counts: how many lie in each bin or above."""
    return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
