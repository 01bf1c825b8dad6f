from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import t

from harness.metrics.bootstrap import draw, image_histograms, resampled
from harness.metrics.ranking import auroc, f1, rank
from harness.metrics.uncertainty import (
    bootstrap_intervals,
    delong_interval,
    image_intervals,
    newcombe_interval,
    separation_interval,
)

Z = NormalDist().inv_cdf(0.975)


def images(positives, negatives, n_samples=200, seed=0, confidence=0.95):
    """`image_intervals` of two lists of scores."""
    scores = np.concatenate([negatives, positives])
    labels = np.repeat([0, 1], [len(negatives), len(positives)])
    ranked = rank(np.asarray(positives, float), np.asarray(negatives, float))
    draws = draw(labels, n_samples, seed)
    return image_intervals(ranked, f1(ranked), image_histograms(scores, labels), draws, confidence)


def normal_classes(rng, area, n_positives, n_negatives):
    """Normal scores of equal variance whose AUROC in the population is `area`."""
    return rng.normal(NormalDist().inv_cdf(area) * np.sqrt(2), 1, n_positives), rng.normal(0, 1, n_negatives)


@pytest.mark.parametrize("ties", [False, True])
def test_delong_equals_its_definition(ties):
    rng = np.random.default_rng(0)
    for n_positives, n_negatives in ((63, 20), (2, 2), (5, 80)):
        positives, negatives = rng.normal(0.8, 1, n_positives), rng.normal(0, 1, n_negatives)
        if ties:
            positives, negatives = np.round(positives * 2), np.round(negatives * 2)
        kernel = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
        variance = kernel.mean(1).var(ddof=1) / n_positives + kernel.mean(0).var(ddof=1) / n_negatives
        area = kernel.mean()
        ours = delong_interval(rank(positives, negatives), 0.95)
        if variance == 0 or area in (0, 1):
            assert ours is None
            continue
        reach = t.ppf(0.975, min(n_positives, n_negatives) - 1) * np.sqrt(variance) / (area * (1 - area))
        assert ours.low == pytest.approx(expit(logit(area) - reach), abs=1e-12)
        assert ours.high == pytest.approx(expit(logit(area) + reach), abs=1e-12)


def test_delong_is_none_where_its_variance_is_nought_or_unknown():
    many = np.arange(5.0)
    assert delong_interval(rank(many + 10, many), 0.95) is None
    assert delong_interval(rank(many, many + 10), 0.95) is None
    assert delong_interval(rank(np.full(5, 3.0), np.full(4, 3.0)), 0.95) is None
    assert delong_interval(rank(np.array([2.5]), many), 0.95) is None
    assert delong_interval(rank(many, np.array([2.5])), 0.95) is None


def hanley_mcneil(x, m, n):
    """Newcombe's form of the variance, written out."""
    star = (m + n) / 2 - 1
    return x * (1 - x) * (1 + star * (1 - x) / (2 - x) + star * x / (1 + x)) / (m * n)


@pytest.mark.parametrize("area", [0.2, 0.5, 0.83, 0.995])
@pytest.mark.parametrize(("m", "n"), [(63, 20), (5, 5), (200, 30)])
def test_newcombe_solves_its_equation(area, m, n):
    ours = newcombe_interval(area, m, n, 0.95)
    assert ours.low == pytest.approx(
        brentq(lambda x: (area - x) - Z * np.sqrt(hanley_mcneil(x, m, n)), 0, area, xtol=1e-14), abs=1e-12
    )
    assert ours.high == pytest.approx(
        brentq(lambda x: (x - area) - Z * np.sqrt(hanley_mcneil(x, m, n)), area, 1, xtol=1e-14), abs=1e-12
    )


def test_newcombe_at_the_ends_has_a_width_that_shrinks_with_the_images():
    widths = []
    for n in (1, 5, 20, 100, 1000):
        at_one, at_nought = newcombe_interval(1.0, n, n, 0.95), newcombe_interval(0.0, n, n, 0.95)
        assert (at_one.high, at_nought.low) == (1.0, 0.0)
        assert at_one.low == pytest.approx(1 - at_nought.high, abs=1e-12)
        # Dividing the equation at area 1 by (1 - t) leaves this one.
        star = n - 1
        x = at_one.low
        assert 1 - x == pytest.approx(Z**2 * x * (1 + star * (1 - x) / (2 - x) + star * x / (1 + x)) / n**2, abs=1e-9)
        widths.append(1 - at_one.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > 0


def test_separation_interval_keeps_its_promise():
    """Uniform scores stand for any continuous ones: shares on the right side of the worst sample of each class."""
    rng = np.random.default_rng(0)
    for n_positives, n_negatives in ((63, 20), (3, 4), (1, 30)):
        low = separation_interval(n_positives, n_negatives, 0.95).low
        found = 1 - rng.random((20_000, n_positives)).min(axis=1)
        quiet = rng.random((20_000, n_negatives)).max(axis=1)
        truth = 2 * n_positives * found / (n_positives * found + n_negatives * (1 - quiet) + n_positives)
        assert 0.95 <= (truth >= low).mean() <= 0.999
        assert 0 < low < 1


def test_bootstrap_interval_is_the_percentiles_of_the_resamples():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=50), np.repeat([0, 1], [20, 30])
    histograms, draws = image_histograms(scores, labels), draw(labels, 1000, 3)
    values = resampled(histograms, draws)
    for name, interval in bootstrap_intervals(histograms, draws, 0.9).items():
        assert (interval.low, interval.high) == tuple(np.quantile(values[name], (0.05, 0.95)))
        assert "stratified" in interval.method
        assert "1000 resamples" in interval.method


def test_bootstrap_leaves_out_undefined_resamples_and_then_the_interval():
    scores, labels = np.arange(6.0), np.array([0, 1, 0, 1, 0, 1])
    histograms = image_histograms(scores, labels)
    draws, one_class = draw(labels, 100, 0), np.tile(1.0 - labels, (100, 1))
    whole = bootstrap_intervals(histograms, draws, 0.95)
    few = bootstrap_intervals(histograms, np.concatenate([draws, one_class[:5]]), 0.95)
    assert {name: (x.low, x.high) for name, x in few.items()} == {name: (x.low, x.high) for name, x in whole.items()}
    for n_undefined, names in ((5, set(whole)), (6, set()), (100, set())):
        mixed = np.concatenate([draws[n_undefined:], one_class[:n_undefined]])
        assert set(bootstrap_intervals(histograms, mixed, 0.95)) == names


def test_ordinary_scores_have_an_interval_of_each_metric():
    rng = np.random.default_rng(2)
    positives, negatives = normal_classes(rng, 0.8, 60, 40)
    intervals = images(positives, negatives)
    assert set(intervals) == {"image_auroc", "image_f1_max", "image_f1_strict"}
    ranked = rank(positives, negatives)
    assert intervals["image_auroc"] == delong_interval(ranked, 0.95)
    assert intervals["image_auroc"].low < auroc(ranked) < intervals["image_auroc"].high
    assert intervals["image_f1_max"].method.startswith("bootstrap")


@pytest.mark.parametrize("n_samples", [0, 200])
def test_perfect_separation_has_intervals_with_a_width(n_samples):
    intervals = images(np.linspace(20, 60, 63), np.linspace(1, 10, 20), n_samples)
    assert intervals["image_auroc"] == newcombe_interval(1.0, 63, 20, 0.95)
    assert intervals["image_f1_max"] == separation_interval(63, 20, 0.95)
    assert intervals["image_auroc"].low < 0.95 < intervals["image_auroc"].high == 1
    assert ("image_f1_strict" in intervals) == (n_samples > 0)


def test_one_pair_in_the_wrong_order_has_an_interval_below_one_and_its_mirror():
    positives, negatives = np.linspace(20, 60, 63), np.append(np.linspace(1, 10, 19), 20.5)
    interval = images(positives, negatives)["image_auroc"]
    area = auroc(rank(positives, negatives))
    assert 0.99 < area < 1
    assert interval.low < area < interval.high < 1
    mirrored = images(-positives, -negatives)["image_auroc"]
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((interval.low, interval.high), abs=1e-12)


@pytest.mark.parametrize(("area", "n_positives", "n_negatives"), [(0.8, 40, 40), (0.97, 63, 20), (0.999, 92, 58)])
def test_intervals_of_auroc_cover_it(area, n_positives, n_negatives):
    """500 test sets drawn from a population whose AUROC is known: the standard error of a coverage of .95 is .01."""
    rng = np.random.default_rng(0)
    covered = {"image_auroc": 0, "newcombe": 0}
    for _ in range(500):
        positives, negatives = normal_classes(rng, area, n_positives, n_negatives)
        value = auroc(rank(positives, negatives))
        for name, interval in (
            ("image_auroc", images(positives, negatives, 0)["image_auroc"]),
            ("newcombe", newcombe_interval(value, n_positives, n_negatives, 0.95)),
        ):
            covered[name] += interval.low <= area <= interval.high
    assert all(0.93 * 500 <= count <= 0.99 * 500 for count in covered.values()), covered


@pytest.mark.parametrize(("area", "n_positives", "n_negatives"), [(0.8, 40, 40), (0.97, 92, 58)])
def test_intervals_of_f1_cover_what_such_test_sets_give_on_average(area, n_positives, n_negatives):
    rng = np.random.default_rng(0)
    sets = [normal_classes(rng, area, n_positives, n_negatives) for _ in range(1000)]
    values = [f1(rank(*pair)) for pair in sets]
    average = {
        "image_f1_max": np.mean([value.maximum for value in values]),
        "image_f1_strict": np.mean([value.strict for value in values]),
    }
    covered = dict.fromkeys(average, 0)
    for i, pair in enumerate(sets[:250]):
        intervals = images(*pair, 200, seed=i)
        for name, value in average.items():
            covered[name] += intervals[name].low <= value <= intervals[name].high
    assert all(count >= 0.85 * 250 for count in covered.values()), covered
