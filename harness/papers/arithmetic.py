"""What printed digits stand for, and which AUROCs and F1s so many images can give, alone and beside each other.

Everything is counted in whole numbers and fractions; nothing is rounded but where the paper printed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np

TIE = Fraction(1, 10**12)
"""A value this near to halfway between two printed ones counts as halfway: its float64 may lie on either side."""


def places(printed: str) -> int:
    """Count the digits behind the point: 4 for `0.9730`."""
    return len(printed.partition(".")[2])


def unit(printed: str) -> Fraction:
    """Return one unit of the last printed place: 1/10000 for `0.9730`."""
    return Fraction(1, 10 ** places(printed))


def prints_as(value: float | Fraction, printed: str) -> bool:
    """Tell whether a value, rounded to as many places, gives the printed digits.

    Halfway cases (0.82505 to four places) count for both neighbours: the paper does not say how it rounds, and
    formatting a binary float goes either way.
    """
    return abs(Fraction(value) - Fraction(printed)) <= unit(printed) / 2 + TIE


def rounded(value: float | Fraction, digits: int) -> str:
    """Write a value with so many places, rounded half to even on its exact value."""
    whole = round(Fraction(value) * 10**digits)
    return f"{Decimal(whole).scaleb(-digits):f}"


@dataclass(frozen=True)
class Classes:
    """The test images of one category."""

    n_pos: int
    """Defective."""
    n_neg: int
    """Normal."""

    @property
    def pairs(self) -> int:
        """(defective, normal) pairs, of which AUROC is the share in the right order."""
        return self.n_pos * self.n_neg


@dataclass(frozen=True)
class Counts:
    """What a threshold gives: true and false positives."""

    true_positives: int
    false_positives: int

    def f1(self, n_pos: int) -> Fraction:
        """Return 2 TP / (n_pos + TP + FP)."""
        return Fraction(2 * self.true_positives, n_pos + self.true_positives + self.false_positives)


def auroc_halves(printed: str, classes: Classes) -> range:
    """Find every k for which k / (2 n_pos n_neg) prints as this; an odd k needs a pair of images of one score."""
    whole = 2 * classes.pairs
    low = math.ceil((Fraction(printed) - unit(printed) / 2) * whole)
    high = math.floor((Fraction(printed) + unit(printed) / 2) * whole)
    return range(max(low, 0), min(high, whole) + 1)


def f1_counts(printed: str, classes: Classes) -> tuple[Counts, ...]:
    """Find every (TP, FP) whose F1 prints as this, most true positives first."""
    true, false = _thresholds(classes)
    found = (_f1_cells(printed, classes) == int(Fraction(printed) / unit(printed))).any(axis=0)
    pairs = zip(true[found].tolist(), false[found].tolist(), strict=True)
    return tuple(Counts(*pair) for pair in sorted(pairs, key=lambda pair: (-pair[0], pair[1])))


def auroc_step(classes: Classes) -> float:
    """Return what one (defective, normal) pair in the other order moves: 1 / (n_pos n_neg)."""
    return 1 / classes.pairs


def f1_steps(value: float, classes: Classes) -> tuple[float, float]:
    """Return how far below and above a value the next F1 lies that the images can give; 0 where there is none."""
    true, false = _thresholds(classes)
    attainable = np.unique(np.append(2 * true / (classes.n_pos + true + false), 0.0))
    lower, higher = attainable[attainable < value - float(TIE)], attainable[attainable > value + float(TIE)]
    below = value - float(lower[-1]) if lower.size else 0.0
    return below, float(higher[0]) - value if higher.size else 0.0


RADIUS = 100
"""How far `auroc_share` and `f1_share` look, in units of the last printed place."""


def auroc_share(printed: str, classes: Classes, *, ties: bool = True) -> Fraction:
    """Return the share of the printed values around this one that an AUROC can take: at 1 the check has no power.

    Args:
        printed: the value in the middle of 2 RADIUS + 1, fewer at 0 and 1.
        ties: count values that need a normal and a defective image of one score.
    """
    parts = classes.pairs * (2 if ties else 1)
    return _share(_cells(np.arange(parts + 1), np.full(parts + 1, parts), places(printed)), printed)


def f1_share(printed: str, classes: Classes) -> Fraction:
    """Return the share of the printed values around this one that an F1 can take."""
    return _share(_f1_cells(printed, classes), printed)


def _share(cells: np.ndarray, printed: str) -> Fraction:
    middle, top = int(Fraction(printed) / unit(printed)), int(1 / unit(printed))
    low, high = max(middle - RADIUS, 0), min(middle + RADIUS, top)
    inside = cells[(cells >= low) & (cells <= high)]
    return Fraction(int(np.unique(inside).size), high - low + 1)


@cache
def _thresholds(classes: Classes) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) int64 true and false positives of every threshold that finds anything."""
    true, false = np.meshgrid(np.arange(1, classes.n_pos + 1), np.arange(classes.n_neg + 1), indexing="ij")
    return true.ravel(), false.ravel()


def _f1_cells(printed: str, classes: Classes) -> np.ndarray:
    true, false = _thresholds(classes)
    return _cells(2 * true, classes.n_pos + true + false, places(printed))


def _cells(numerators: np.ndarray, denominators: np.ndarray, digits: int) -> np.ndarray:
    """Round each quotient to so many places, as a whole number of units: up and down where halfway; (2, n) int64."""
    doubled = 2 * numerators * 10**digits
    up = (doubled + denominators) // (2 * denominators)
    halfway = (doubled + denominators) % (2 * denominators) == 0
    return np.stack((up, up - halfway))


def readings(auroc: str, f1: str, classes: Classes, *, strict: bool, ties: bool) -> Iterator[tuple[Counts, Counts]]:
    """Yield every way in which the two printed numbers can come from one ranking of the images.

    Each is the counts at the threshold that maximises F1, `score >= threshold`, and those that the printed F1 was
    computed from: the same, or by anomalib's strict rule one true positive less.

    Args:
        strict: read F1 as anomalib's, `score > threshold` at the threshold that maximises F1, which sits on the
            score of a defective image and so loses it (and only it, among scores without ties). Else as F1-max.
        ties: images may have the same score.
    """
    for counts in f1_counts(f1, classes):
        best = Counts(counts.true_positives + strict, counts.false_positives)
        if best.true_positives > classes.n_pos:
            continue
        limits = auroc_limits(best, classes, ties=ties)
        if limits is not None and any(
            limits[0] <= half <= limits[1] for half in auroc_halves(auroc, classes) if ties or half % 2 == 0
        ):
            yield best, counts


def least_f1_max(classes: Classes) -> Fraction:
    """Return the F1 of calling every image defective; F1-max is never less."""
    return Counts(classes.n_pos, classes.n_neg).f1(classes.n_pos)


def auroc_limits(best: Counts, classes: Classes, *, ties: bool) -> tuple[int, int] | None:
    """Find the smallest and largest AUROC of a ranking whose F1 is largest at these counts, exactly.

    A ranking is a path of whole points (false positives, true positives) from (0, 0) to (n_neg, n_pos), and no point
    may have a larger F1 than `best`. For each number of false positives this caps the true positives.
    - Without ties the path takes one image at a step. The largest count of rightly ordered pairs is the sum of the
      caps over the normal images.
    - With ties the path may go straight from one point to another. Every such path lies under the concave hull of the
      capped points, and the hull itself is such a path.
    The smallest: no defective image before the false positives of `best`, and no other one until the last normal image.

    Returns:
        Rightly ordered pairs, each counted twice (a tie counts once); None where no ranking has its largest F1 here.
    """
    v = best.f1(classes.n_pos)
    if v < least_f1_max(classes):
        return None
    caps = [min(classes.n_pos, math.floor(v * (classes.n_pos + f) / (2 - v))) for f in range(classes.n_neg + 1)]
    least = 2 * best.true_positives * (classes.n_neg - best.false_positives)
    if not ties:
        return least, 2 * sum(caps[:-1])
    hull: list[tuple[int, int]] = []
    for point in enumerate(caps):
        while len(hull) > 1 and not _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return least, sum((b[0] - a[0]) * (a[1] + b[1]) for a, b in pairwise(hull))


def _turns_right(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) < (b[1] - a[1]) * (c[0] - b[0])
