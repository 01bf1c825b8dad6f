"""Confidence intervals of the metrics, for the sampling of test images (not for the seed)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from harness.metrics.bootstrap import ImageHistograms, resampled
from harness.metrics.ranking import F1, Ranked, auroc

MOST_UNDEFINED = 0.05
"""A bootstrap interval is left out where more than this share of the resamples has no value."""


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval within [0, 1]."""

    low: float
    high: float
    method: str


def image_intervals(
    ranked: Ranked, best: F1, histograms: ImageHistograms, draws: np.ndarray, confidence: float
) -> dict[str, Interval]:
    """Return intervals of the image-level metrics.

    `image_auroc` has DeLong's, or Newcombe's where DeLong's variance is 0 or unknown (a class of one image);
    `scripts/interval_coverage.py` measures how often it covers. The F1s have the bootstrap's, and where F1-max is 1 the
    tolerance limits'. As intervals of what such a test set gives on average the F1s' 95 % intervals cover .87 to .99,
    simulated with normal scores of equal variance, 20 to 200 images a class and AUROC from .6 to .999.

    Args:
        draws: (B, N); B may be 0, which leaves the bootstrap out.
        confidence: in (0, 1).
    """
    n_positives, n_negatives = ranked.positives.size, ranked.negatives.size
    intervals: dict[str, Interval] = {}
    if min(n_positives, n_negatives) > 1:
        intervals = {f"image_{name}": x for name, x in bootstrap_intervals(histograms, draws, confidence).items()}
    delong = delong_interval(ranked, confidence)
    intervals["image_auroc"] = delong or newcombe_interval(auroc(ranked), n_positives, n_negatives, confidence)
    if best.maximum == 1:
        intervals["image_f1_max"] = separation_interval(n_positives, n_negatives, confidence)
    return intervals


def bootstrap_intervals(
    histograms: ImageHistograms, draws: np.ndarray, confidence: float, fpr_limit: float | None = None
) -> dict[str, Interval]:
    """Return percentile intervals by the names of `resampled`; none of width 0, which would say that nothing varies.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. The interval of an F1 is about
    F1 as it is reported, at a threshold tuned on as many test images; the best F1 of all possible images is lower.
    """
    if len(draws) == 0:
        return {}
    tail = (1 - confidence) / 2
    intervals = {}
    for name, values in resampled(histograms, draws, fpr_limit=fpr_limit).items():
        defined = values[~np.isnan(values)]
        if defined.size < (1 - MOST_UNDEFINED) * values.size:
            continue
        low, high = (float(x) for x in np.quantile(defined, (tail, 1 - tail)))
        if low < high:
            method = f"bootstrap over images, stratified by class, percentile, {len(draws)} resamples"
            intervals[name] = Interval(low, high, method)
    return intervals


def delong_interval(ranked: Ranked, confidence: float) -> Interval | None:
    """Return DeLong's interval for AUROC, on the logit scale; None where the variance is 0 or a class has one sample.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; the logit scale covers better near 1 (Perme and
    Manevski, Statistical Methods in Medical Research 28, 2019). The quantile is Student's, with the degrees of freedom
    of the smaller class, since the variance is estimated; the normal one covers less.
    """
    if min(ranked.positives.size, ranked.negatives.size) < 2:
        return None
    from scipy.special import stdtrit

    by_positive, by_negative = placements(ranked)
    variance = float(by_positive.var(ddof=1) / by_positive.size + by_negative.var(ddof=1) / by_negative.size)
    area = auroc(ranked)
    if variance == 0 or area in (0, 1):
        return None
    quantile = float(stdtrit(min(by_positive.size, by_negative.size) - 1, (1 + confidence) / 2))
    centre = math.log(area / (1 - area))
    reach = quantile * math.sqrt(variance) / (area * (1 - area))
    return Interval(_logistic(centre - reach), _logistic(centre + reach), "DeLong, logit scale, Student's t")


def placements(ranked: Ranked) -> tuple[np.ndarray, np.ndarray]:
    """Return DeLong's structural components: of each sample the share of the other class on its right side.

    They are mid-rank differences (Sun and Xu, IEEE Signal Processing Letters 21, 2014); ties count 1/2.

    Returns:
        (P,) float64 in the order of `ranked.positives` and (N,) float64 in that of `ranked.negatives`, in [0, 1]; the
        mean of either is the AUROC.
    """
    below = np.searchsorted(ranked.positives, ranked.negatives, side="left")
    not_above = np.searchsorted(ranked.positives, ranked.negatives, side="right")
    return (
        (ranked.below + ranked.not_above) / (2 * ranked.negatives.size),
        1 - (below + not_above) / (2 * ranked.positives.size),
    )


def newcombe_interval(area: float, n_positives: int, n_negatives: int, confidence: float) -> Interval:
    """Return a score interval for AUROC, which has a width at 0 and 1 too.

    All t with |area - t| <= z sqrt(V(t)), where V is Hanley and McNeil's variance with both class sizes less one
    replaced by their mean: method 5 of Newcombe, "Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic. Part 2", Statistics in Medicine 25, 2006, pages 559-573. It does for AUROC what Wilson's
    interval does for a proportion.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    star = (n_positives + n_negatives) / 2 - 1

    def within(t: float) -> bool:
        spread = 1 + star * (1 - t) / (2 - t) + star * t / (1 + t)
        return (area - t) ** 2 <= z * z * t * (1 - t) * spread / (n_positives * n_negatives)

    return Interval(
        low=_boundary(outside=0.0, inside=area, within=within) if area > 0 else 0.0,
        high=_boundary(outside=1.0, inside=area, within=within) if area < 1 else 1.0,
        method="Newcombe's method 5, a score interval with Hanley and McNeil's variance",
    )


def separation_interval(n_positives: int, n_negatives: int, confidence: float) -> Interval:
    """Return an interval for F1-max where it is 1: how low it may still be, since the images are few.

    With confidence 1 - a/2 at least the share (a/2)^(1/n) of a class scores on the right side of the worst of its n
    samples (Wilks, "Determination of sample sizes for setting tolerance limits", Annals of Mathematical Statistics 12,
    1941; a = 1 - confidence). The low end is F1 where both classes have these shares.
    """
    tail = (1 - confidence) / 2
    found = n_positives * tail ** (1 / n_positives)
    false_alarms = n_negatives * (1 - tail ** (1 / n_negatives))
    low = 2 * found / (found + false_alarms + n_positives)
    return Interval(low, 1.0, "tolerance limits of both classes (Wilks)")


def _boundary(outside: float, inside: float, within: Callable[[float], bool]) -> float:
    """Find where `within` turns true on the way from `outside` to `inside`, to the last digit."""
    while True:
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            return middle
        if within(middle):
            inside = middle
        else:
            outside = middle


def _logistic(x: float) -> float:
    return (1 + math.tanh(x / 2)) / 2
