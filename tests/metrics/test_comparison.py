"""Paired comparison against plain definitions: all pairs of images, images drawn one by one, scipy's t test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.metrics.bootstrap import draw, pixel_histograms
from harness.metrics.comparison import bootstrap_differences, delong_test, image_differences, seed_difference
from harness.metrics.ranking import auroc, f1, rank
from harness.metrics.region import rank_pixels
from tests.metrics.drawn import draw_maps


def pair_of_runs(rng, n_positives, n_negatives, *, ties=False, gain=0.3):
    """Labels in any order, and the scores of two runs that agree for the most part."""
    labels = rng.permutation(np.repeat([0, 1], [n_negatives, n_positives]))
    shared = rng.normal(labels * 1.2, 1)
    a, b = shared + rng.normal(0, 0.5, labels.size), shared + rng.normal(labels * gain, 0.5)
    return (labels, np.round(a * 2), np.round(b * 2)) if ties else (labels, a, b)


def kernel(labels, scores):
    positives, negatives = scores[labels == 1], scores[labels == 0]
    return (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sizes", [(63, 20), (2, 2), (5, 80)])
def test_delong_is_the_covariance_of_both_runs_over_all_pairs(sizes, ties):
    rng = np.random.default_rng(sum(sizes))
    for _ in range(20):
        labels, a, b = pair_of_runs(rng, *sizes, ties=ties)
        of_a, of_b = kernel(labels, a), kernel(labels, b)
        covariance = np.cov(of_a.mean(1), of_b.mean(1)) / sizes[0] + np.cov(of_a.mean(0), of_b.mean(0)) / sizes[1]
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        found = delong_test(labels, a, b)
        assert found.value == pytest.approx(of_b.mean() - of_a.mean(), abs=1e-12)
        if variance < 1e-15:
            assert found.p is None
            continue
        assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.value) / np.sqrt(variance)), abs=1e-9)
        expected = stats.norm.interval(0.95, loc=found.value, scale=np.sqrt(variance))
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


def test_two_runs_of_the_same_worth_are_rejected_5_times_in_100():
    rng = np.random.default_rng(0)
    p = [delong_test(*pair_of_runs(rng, 60, 40, gain=0)).p for _ in range(1000)]
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07
    better = [delong_test(*pair_of_runs(rng, 60, 40, gain=1)).p for _ in range(50)]
    assert np.mean(np.array(better) < 0.05) > 0.8


def test_two_perfect_runs_differ_by_0_without_a_test_and_say_so():
    labels = np.repeat([0, 1], [5, 9])
    found = delong_test(labels, labels * 2.0, labels * 3.0 + np.arange(14) / 100)
    assert (found.value, found.low, found.high, found.p) == (0, None, None, None)
    assert found.why == "both AUROCs are 1: the difference is 0, and no test is made"
    wrong = delong_test(labels, labels * 2.0, -labels * 2.0)
    assert (wrong.value, wrong.p, wrong.why) == (-1, None, "the variance of the difference is 0: no test")
    alone = delong_test(labels[4:], labels[4:] * 2.0, -labels[4:] * 2.0)
    assert (alone.p, alone.why) == (None, "a class has one image: no test")


def test_the_paired_bootstrap_draws_the_same_images_for_both_runs():
    labels, a, b = pair_of_runs(np.random.default_rng(1), 12, 9)
    draws = draw(labels, 300, 7)
    differences = {"f1_max": [], "f1_strict": []}
    for counts in draws.astype(int):
        drawn = np.repeat(np.arange(labels.size), counts)
        best = [f1(rank(one[drawn][labels[drawn] == 1], one[drawn][labels[drawn] == 0])) for one in (a, b)]
        differences["f1_max"].append(best[1].maximum - best[0].maximum)
        differences["f1_strict"].append(best[1].strict - best[0].strict)
    found = image_differences(labels, a, b, draws)
    assert found.keys() == differences.keys()
    for name, values in differences.items():
        assert found[name] == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=1e-12)
    assert image_differences(labels, a, a, draws) == dict.fromkeys(differences, (0, 0))


def test_pixel_metrics_are_compared_where_both_runs_have_their_maps():
    drawn = draw_maps(0)
    other = drawn.maps + np.random.default_rng(2).normal(0, 0.2, drawn.maps.shape).astype(drawn.maps.dtype)
    masks, draws = drawn.masks != 0, draw(drawn.labels, 60, 3)
    histograms = [pixel_histograms(rank_pixels(maps, masks), maps, masks) for maps in (drawn.maps, other)]
    found = bootstrap_differences(*histograms, draws, fpr_limit=0.3)
    assert found.keys() == {"auroc", "f1_max", "f1_strict", "aupro"}
    values = []
    for counts in draws.astype(int):
        chosen = np.repeat(np.arange(len(masks)), counts)
        areas = [auroc(rank(maps[chosen][masks[chosen]], maps[chosen][~masks[chosen]])) for maps in (drawn.maps, other)]
        values.append(areas[1] - areas[0])
    assert found["auroc"] == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=2e-5)


def test_seeds_are_compared_by_the_paired_t_test():
    rng = np.random.default_rng(4)
    for n in (2, 5, 11):
        a = dict(enumerate(rng.normal(0.9, 0.01, n).tolist()))
        b = {seed: value + move for (seed, value), move in zip(a.items(), rng.normal(0.01, 0.004, n), strict=True)}
        found = seed_difference(a | {99: 0.5}, b | {77: 0.5})
        expected = stats.ttest_rel(list(b.values()), list(a.values()))
        assert (found.n, found.p) == (n, pytest.approx(expected.pvalue, rel=1e-9))
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-9)
    assert seed_difference({1: 0.5}, {2: 0.5}) is None
    assert (seed_difference({1: 0.5}, {1: 0.75}).mean, seed_difference({1: 0.5}, {1: 0.75}).low) == (0.25, None)
    same = seed_difference({1: 0.5, 2: 0.25}, {1: 0.75, 2: 0.5})
    assert (same.low, same.high, same.p) == (0.25, 0.25, None)


def test_the_order_of_the_images_moves_nothing():
    labels, a, b = pair_of_runs(np.random.default_rng(9), 20, 20)
    order = np.random.default_rng(1).permutation(40)
    assert delong_test(labels, a, b).p == pytest.approx(delong_test(labels[order], a[order], b[order]).p, rel=1e-9)
