"""Two runs on the same test images, and two sets of runs by common seed: is one better than the other?"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.bootstrap import ImageHistograms, image_histograms, resampled
from harness.metrics.ranking import auroc, rank
from harness.metrics.uncertainty import placements


@dataclass(frozen=True)
class Difference:
    """B less A of one metric, with a two-sided interval."""

    value: float
    low: float | None
    high: float | None
    p: float | None
    """Two-sided; None where no test is made."""
    why: str = ""


def delong_test(labels: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray, confidence: float = 0.95) -> Difference:
    """Compare the AUROCs of two runs by DeLong's paired test.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988. The variance is that of the differences of each
    image's structural components, so what the runs share cancels out.

    Args:
        labels: (N,) int in {0, 1}.
        scores_a: (N,) float, finite, of the same images in the same order; likewise `scores_b`.
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: a class without an image.
    """
    is_positive = labels == 1
    components, areas = [], []
    for scores in (scores_a, scores_b):
        positives, negatives = scores[is_positive], scores[~is_positive]
        ranked = rank(positives, negatives)
        areas.append(auroc(ranked))
        by_positive, by_negative = placements(ranked)
        # `ranked` is sorted, and each run in its own way: back to the images' order.
        components.append((by_positive[_places(positives)], by_negative[_places(negatives)]))
    value = areas[1] - areas[0]
    if areas == [1.0, 1.0]:
        return Difference(0.0, None, None, None, "both AUROCs are 1: the difference is 0, and no test is made")
    if min(is_positive.sum(), (~is_positive).sum()) < 2:
        return Difference(value, None, None, None, "a class has one image: no test")
    differences = [b - a for a, b in zip(*components, strict=True)]
    variance = sum(float(one.var(ddof=1)) / one.size for one in differences)
    if variance == 0:
        return Difference(value, None, None, None, "the variance of the difference is 0: no test")
    error = math.sqrt(variance)
    normal = statistics.NormalDist()
    reach = normal.inv_cdf((1 + confidence) / 2) * error
    return Difference(value, value - reach, value + reach, math.erfc(abs(value) / error / math.sqrt(2)))


def _places(scores: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(scores, kind="stable"), kind="stable")


def bootstrap_differences(
    a: ImageHistograms, b: ImageHistograms, draws: np.ndarray, confidence: float = 0.95, fpr_limit: float | None = None
) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of B less A, by the names of `resampled`: both runs on the same resampled images.

    Args:
        a: histograms of run A, from `image_histograms` or `pixel_histograms`; likewise `b`, of the same images.
        draws: (B, N) from `draw`.
        confidence: in (0, 1).
        fpr_limit: of AUPRO; None leaves AUPRO out.
    """
    tail = (1 - confidence) / 2
    of_a, of_b = (resampled(one, draws, fpr_limit=fpr_limit) for one in (a, b))
    found = {}
    for name in of_a:
        low, high = np.nanquantile(of_b[name] - of_a[name], (tail, 1 - tail))
        found[name] = (float(low), float(high))
    return found


def image_differences(
    labels: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray, draws: np.ndarray, confidence: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Return the paired bootstrap's intervals of the two image F1s, by the names of `resampled`; args as above."""
    a, b = (image_histograms(scores, labels.astype(np.intp)) for scores in (scores_a, scores_b))
    found = bootstrap_differences(a, b, draws, confidence)
    return {name: interval for name, interval in found.items() if name != "auroc"}


@dataclass(frozen=True)
class SeedDifference:
    """B less A over the seeds that both have."""

    n: int
    mean: float
    deviation: float | None
    """Of the paired differences; None with one seed."""
    low: float | None
    high: float | None
    """The t interval of the mean difference; None with one seed."""
    p: float | None
    """Of the paired t test; None with one seed, or where no difference differs from another."""


def seed_difference(a: Mapping[int, float], b: Mapping[int, float], confidence: float = 0.95) -> SeedDifference | None:
    """Compare two sets of runs by their common seeds: the paired differences with their t interval.

    Args:
        a: seed -> value; likewise `b`.
        confidence: in (0, 1).

    Returns:
        None without a common seed.
    """
    from scipy.special import stdtr, stdtrit

    differences: Sequence[float] = [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]
    n = len(differences)
    if n == 0:
        return None
    mean = statistics.fmean(differences)
    if n == 1:
        return SeedDifference(1, mean, None, None, None, None)
    deviation = statistics.stdev(differences) if len(set(differences)) > 1 else 0.0
    error = deviation / math.sqrt(n)
    reach = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
    p = float(2 * stdtr(n - 1, -abs(mean) / error)) if error else None
    return SeedDifference(n, mean, deviation, mean - reach, mean + reach, p)
