"""One more seed: the interval in which its number would lie, and the joint test of a row of numbers.

Both assume that values over seeds are normal. Neither needs the published number to come from these seeds, only from
one more draw of the same kind.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit

LEVEL = 0.05
"""Of every test; intervals are at 1 - LEVEL."""
LEAST_SEEDS = 5
"""With fewer there is no prediction: t with 3 degrees of freedom is 3.2 already."""


@dataclass(frozen=True)
class Prediction:
    """What n seeds say of one more."""

    n: int
    mean: float
    deviation: float
    """Standard deviation over the seeds, with n - 1; exactly 0.0 where all values are equal."""
    low: float
    high: float
    """The two-sided 95 % prediction interval."""

    def distance(self, value: float) -> float:
        """Return how many standard deviations a value lies from the mean; needs a deviation above 0."""
        return (value - self.mean) / self.deviation

    def p_value(self, value: float) -> float:
        """Return the two-sided p-value of a value as one more seed's; needs a deviation above 0."""
        return float(2 * stdtr(self.n - 1, -abs(self.distance(value)) / math.sqrt(1 + 1 / self.n)))


def predict(values: Sequence[float], steps: tuple[float, float] = (0.0, 0.0)) -> Prediction:
    """Return the prediction interval for one more seed, mean ± t s sqrt(1 + 1/n), cut to [0, 1].

    Source: Hahn and Meeker, "Statistical Intervals", 1991, section 4.7 (one future observation).

    Args:
        values: one for each seed, at least two, in [0, 1].
        steps: the least that the interval reaches below and above the mean: a step of the metric's grid.
    """
    n, mean = len(values), statistics.fmean(values)
    deviation = statistics.stdev(values) if len(set(values)) > 1 else 0.0
    reach = float(stdtrit(n - 1, 1 - LEVEL / 2)) * deviation * math.sqrt(1 + 1 / n)
    below, above = (max(reach, step) for step in steps)
    return Prediction(n, mean, deviation, max(mean - below, 0.0), min(mean + above, 1.0))


@dataclass(frozen=True)
class RowTest:
    """Hotelling's prediction test of one more row."""

    n: int
    statistic: float
    """T²."""
    p: float
    most: int
    """The column whose removal lowers T² most."""
    p_without: float | None
    """The p-value of the row without that column; None for a row of one column."""


def least_seeds(n_columns: int) -> int:
    """Return how many seeds the joint test of so many columns needs."""
    return max(LEAST_SEEDS, n_columns + 3)


def row_test(values: np.ndarray, row: np.ndarray) -> RowTest | None:
    """Test whether a row can be one more seed's: T² = d' S⁻¹ d / (1 + 1/n), exact by F(p, n - p).

    Source: Hotelling, "The generalization of Student's ratio", Annals of Mathematical Statistics 2, 1931; for one
    future observation Chew, "Confidence, prediction, and tolerance regions for the multivariate normal distribution",
    Journal of the American Statistical Association 61, 1966. The covariance is the seeds' own, without shrinkage.

    Args:
        values: (n, p) float64, a row for each seed; every column varies.
        row: (p,) float64.

    Returns:
        None where the columns depend on one another linearly over the seeds, so that S has no inverse.

    Raises:
        ValueError: fewer seeds than `least_seeds`.
    """
    n, n_columns = values.shape
    if n < least_seeds(n_columns):
        raise ValueError(f"{n} seeds are too few for {n_columns} columns")
    statistic = _t_squared(values, row)
    if statistic is None:
        return None
    without = [_t_squared(np.delete(values, column, 1), np.delete(row, column)) or 0.0 for column in range(n_columns)]
    most = int(np.argmin(without))
    rest = n_columns - 1
    p_without = _p_value(without[most], n, rest) if rest else None
    return RowTest(n, statistic, _p_value(statistic, n, n_columns), most, p_without)


def _t_squared(values: np.ndarray, row: np.ndarray) -> float | None:
    n, n_columns = values.shape
    if n_columns == 0:
        return 0.0
    # In units of each column's deviation, which changes nothing but the condition of the matrix.
    deviations = values.std(axis=0, ddof=1)
    centred = (values - values.mean(axis=0)) / deviations
    if np.linalg.matrix_rank(centred, rtol=1e-9) < n_columns:
        return None
    distance = (row - values.mean(axis=0)) / deviations
    return float(distance @ np.linalg.solve(centred.T @ centred / (n - 1), distance) / (1 + 1 / n))


def _p_value(statistic: float, n: int, n_columns: int) -> float:
    return float(fdtrc(n_columns, n - n_columns, statistic * (n - n_columns) / (n_columns * (n - 1))))
