"""AUROC, average precision, F1 and IoU from raw scores, exactly: both classes sorted, then searched in one another.

Every count is an integer and every score keeps its dtype, so nothing is rounded before the last division.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ranked:
    """The scores of both classes, sorted, and where each positive stands among the negatives."""

    positives: np.ndarray
    """(P,) float32 or float64, ascending; P >= 1."""
    negatives: np.ndarray
    """(N,) of the same dtype, ascending; N >= 1."""
    below: np.ndarray
    """(P,) int64: how many negatives score lower than each positive."""
    not_above: np.ndarray
    """(P,) int64: how many negatives score lower than each positive or the same."""

    @classmethod
    def of_sorted(cls, positives: np.ndarray, negatives: np.ndarray) -> Ranked:
        """Rank as `rank` does, from (P,) and (N,) scores of one floating dtype, ascending already and kept uncopied."""
        for name, scores in (("positive", positives), ("negative", negatives)):
            if scores.size == 0:
                raise ValueError(f"no {name} score: a ranking needs both classes")
            if np.isnan(scores[-1]):
                raise ValueError(f"NaN among the {name} scores")
        return cls(
            positives=positives,
            negatives=negatives,
            below=np.searchsorted(negatives, positives, side="left"),
            not_above=np.searchsorted(negatives, positives, side="right"),
        )


def rank(positives: np.ndarray, negatives: np.ndarray) -> Ranked:
    """Sort the scores of both classes, any shape, float32 or float64, once for all metrics of this module.

    Where one is float32 and the other float64 both become float64, which is exact; infinities are fine.

    Raises:
        ValueError: a class without a score, or a NaN.
    """
    dtype = np.result_type(positives, negatives)
    sorted_positives, sorted_negatives = (
        np.sort(x.astype(dtype, copy=False), axis=None) for x in (positives, negatives)
    )
    return Ranked.of_sorted(sorted_positives, sorted_negatives)


def auroc(ranked: Ranked) -> float:
    """Return the area under the ROC curve, in [0, 1]: P(positive > negative) + P(positive = negative) / 2."""
    twice_u = int(ranked.below.sum()) + int(ranked.not_above.sum())
    return twice_u / (2 * ranked.positives.size * ranked.negatives.size)


def average_precision(ranked: Ranked) -> float:
    """Return the precision at each threshold, weighted by the recall that the threshold adds; in (0, 1]."""
    first, true_positives, false_positives = _at_each_positive(ranked)
    gained = np.diff(first, append=ranked.positives.size)
    return float((gained * (true_positives / (true_positives + false_positives))).sum()) / ranked.positives.size


def iou_max(ranked: Ranked) -> float:
    """Return the largest TP / (TP + FP + FN) over all thresholds, in (0, 1]."""
    _, true_positives, false_positives = _at_each_positive(ranked)
    return float((true_positives / (false_positives + ranked.positives.size)).max())


def _at_each_positive(ranked: Ranked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count at each distinct positive's score, ascending, where `score >= threshold`; (D,) int64 each.

    Returns:
        The index of the first of each group of equal positives, the true positives and the false positives.
    """
    first = np.flatnonzero(np.concatenate(([True], ranked.positives[1:] != ranked.positives[:-1])))
    return first, ranked.positives.size - first, ranked.negatives.size - ranked.below[first]


@dataclass(frozen=True)
class F1:
    """F1 = 2 TP / (2 TP + FP + FN) at the threshold that maximises it."""

    maximum: float
    """F1-max, in (0, 1]: the largest F1 over all thresholds, predicting anomalous where `score >= threshold`."""
    strict: float
    """anomalib's F1Score, in [0, 1]: predicting anomalous where `score > threshold`."""
    threshold: float
    """A raw score: anomalib's choice among the thresholds that maximise F1."""


def f1(ranked: Ranked) -> F1:
    """Return F1-max, and F1 by anomalib's strict rule at the threshold that anomalib picks.

    F1-max is exact. It always sits at a positive's score: lowering a threshold down to the next positive adds a true
    positive, lowering it onto a negative only a false one.

    The threshold is the one of anomalib 2.7's F1Max and F1AdaptiveThreshold: the lowest score at which *their* F1 is
    largest, where theirs is 2 p r / (p + r + 1e-10) in float32 with p and r rounded to float32. Among scores whose F1
    is equal, or differs by less than about 1e-6, rounding decides, so it is repeated here; the exact F1 at the
    threshold lies at most that much below `maximum`. Above some hundred thousand pixels the threshold can be a
    negative's score for the same reason.
    """
    n_positives = ranked.positives.size
    first, true_positives, false_positives = _at_each_positive(ranked)
    values = 2 * true_positives / (true_positives + false_positives + n_positives)
    maximum = float(values.max())

    threshold = _anomalib_threshold(ranked, first, values)
    strict_true = n_positives - int(np.searchsorted(ranked.positives, threshold, side="right"))
    strict_false = ranked.negatives.size - int(np.searchsorted(ranked.negatives, threshold, side="right"))
    strict = 2 * strict_true / (strict_true + strict_false + n_positives)
    return F1(maximum=maximum, strict=strict, threshold=float(threshold))


def f1_as_anomalib(
    true_positives: np.ndarray, false_positives: np.ndarray, n_positives: np.ndarray | int
) -> np.ndarray:
    """Return F1 with the roundings of anomalib 2.7 (torch divides int64 tensors in float32); broadcasts, float32."""
    true = np.asarray(true_positives).astype(np.float32)
    precision = true / np.asarray(true_positives + false_positives).astype(np.float32)
    recall = true / np.asarray(n_positives).astype(np.float32)
    result: np.ndarray = (2 * precision * recall) / (precision + recall + np.float32(1e-10))
    return result


def _anomalib_threshold(ranked: Ranked, first: np.ndarray, values: np.ndarray) -> np.floating:
    """Return the lowest of all scores at which `f1_as_anomalib` is largest.

    Args:
        first: (D,) index of the first of each group of equal positives.
        values: (D,) exact F1 at these positives' scores.

    Only scores whose exact F1 is within float32's roundings of the maximum can win: the near-best positives, and the
    negatives right below each.
    """
    n_positives, n_negatives = ranked.positives.size, ranked.negatives.size
    maximum = values.max()
    # About 13 roundings of 2^-24 on either side of a comparison, and the 1e-10, which weighs when p + r is small.
    least = maximum * (1 - 2e-6 - 1e-10 / maximum)
    near = np.flatnonzero(values >= least)
    first = first[near]
    true_positives = n_positives - first

    most_false = np.floor(2 * true_positives / least).astype(np.int64) - true_positives - n_positives
    start = np.maximum(n_negatives - most_false, 0)
    length = np.maximum(ranked.below[first] - start, 0)
    owner = np.repeat(np.arange(near.size), length)
    index = start[owner] + np.arange(owner.size) - np.repeat(np.cumsum(length) - length, length)
    distinct = (index == 0) | (ranked.negatives[index] != ranked.negatives[index - 1])
    owner, index = owner[distinct], index[distinct]

    thresholds = np.concatenate((ranked.positives[first], ranked.negatives[index]))
    theirs = f1_as_anomalib(
        np.concatenate((true_positives, true_positives[owner])),
        np.concatenate((n_negatives - ranked.below[first], n_negatives - index)),
        n_positives,
    )
    lowest_best: np.floating = thresholds[theirs == theirs.max()].min()
    return lowest_best
