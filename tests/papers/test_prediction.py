"""Prediction intervals and Hotelling's prediction test against scipy, and how often they reject what is true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.papers.arithmetic import Classes, auroc_step, f1_steps
from harness.papers.prediction import least_seeds, predict, row_test


def oracle(values: np.ndarray, row: np.ndarray) -> float:
    """The p-value of Hotelling's prediction test, by a general inverse and scipy's F."""
    n, p = values.shape
    distance = row - values.mean(axis=0)
    statistic = distance @ np.linalg.inv(np.atleast_2d(np.cov(values, rowvar=False))) @ distance / (1 + 1 / n)
    return float(stats.f.sf(statistic * (n - p) / (p * (n - 1)), p, n - p))


@pytest.mark.parametrize("n", [2, 5, 11, 40])
def test_the_prediction_interval_is_the_t_interval_of_one_more_value(n):
    rng = np.random.default_rng(n)
    values = rng.normal(0.8, 0.01, n)
    found = predict(values)
    spread = values.std(ddof=1) * np.sqrt(1 + 1 / n)
    expected = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=spread)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)
    for value in (*rng.normal(0.8, 0.03, 5), *expected):
        p = 2 * stats.t.sf(abs(value - values.mean()) / spread, n - 1)
        assert found.p_value(value) == pytest.approx(p, rel=1e-9)
    assert found.p_value(found.high) == pytest.approx(0.05)
    assert found.distance(values.mean() + values.std(ddof=1)) == pytest.approx(1)


def test_the_interval_reaches_a_step_of_the_grid_and_stays_between_0_and_1():
    near = predict([0.5, 0.5, 0.5, 0.5, 0.5001], steps=(0.1, 0.2))
    assert (near.mean - near.low, near.high - near.mean) == pytest.approx((0.1, 0.2))
    far = predict([0.02, 0.98, 0.5, 0.3, 0.9], steps=(0.1, 0.2))
    assert (far.low, far.high) == (0, 1)
    same = predict([0.1 + 0.2] * 11)
    assert (same.deviation, same.low, same.high) == (0, pytest.approx(0.3), pytest.approx(0.3))


@pytest.mark.parametrize(("n_pos", "n_neg"), [(63, 20), (1, 1), (3, 7)])
def test_the_next_attainable_f1_is_found_by_listing_all(n_pos, n_neg):
    classes = Classes(n_pos, n_neg)
    assert auroc_step(classes) == 1 / (n_pos * n_neg)
    every = sorted({2 * tp / (n_pos + tp + fp) for tp in range(n_pos + 1) for fp in range(n_neg + 1)})
    for value in (0.0, 1.0, every[len(every) // 2], 0.61803, 0.97):
        below, above = f1_steps(value, classes)
        lower, higher = [x for x in every if x < value - 1e-9], [x for x in every if x > value + 1e-9]
        assert below == pytest.approx(value - lower[-1] if lower else 0, abs=1e-12)
        assert above == pytest.approx(higher[0] - value if higher else 0, abs=1e-12)


@pytest.mark.parametrize("n_columns", [1, 2, 4])
def test_the_row_test_is_hotellings(n_columns):
    rng = np.random.default_rng(n_columns)
    for n in (least_seeds(n_columns), 11, 30):
        scales = 10.0 ** rng.integers(-6, 2, n_columns)
        values = (rng.normal(size=(n, n_columns)) @ rng.normal(size=(n_columns, n_columns))) * scales + scales
        row = values[0] + rng.normal(size=n_columns) * scales
        found = row_test(values, row)
        assert found.p == pytest.approx(oracle(values, row), rel=1e-6)
        rest = [oracle(np.delete(values, i, 1), np.delete(row, i)) for i in range(n_columns)] if n_columns > 2 else []
        if rest:
            assert found.p_without == pytest.approx(max(rest), rel=1e-6)
            assert found.most == int(np.argmax(rest))
    if n_columns == 1:  # then it is the t test of one number
        assert found.p == pytest.approx(predict(values[:, 0]).p_value(row[0]))
        assert found.p_without is None


def test_columns_that_depend_on_one_another_and_too_few_seeds_have_no_test():
    values = np.random.default_rng(0).normal(size=(11, 2))
    dependent = np.column_stack([values, values @ [1e-6, 2e-6]])
    assert row_test(dependent, np.zeros(3)) is None
    with pytest.raises(ValueError, match="4 seeds are too few for 2 columns"):
        row_test(values[:4], np.zeros(2))


def test_the_row_test_rejects_5_in_100_true_rows():
    """2,000 rows of four numbers, each against eleven others of the same multivariate normal distribution."""
    rng = np.random.default_rng(17)
    mixing = rng.normal(size=(4, 4))
    draws = rng.normal(size=(2000, 12, 4)) @ mixing
    rejected = np.mean([row_test(one[:11], one[11]).p < 0.05 for one in draws])
    assert 0.04 <= rejected <= 0.06
