from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, jaccard_score, precision_recall_curve, roc_auc_score

from harness.metrics.ranking import auroc, average_precision, f1, f1_as_anomalib, iou_max, rank


def classes(elements, dtype=np.float32, most=40):
    return st.tuples(*[hnp.arrays(dtype, st.integers(1, most), elements=elements)] * 2)


tied = classes(st.sampled_from([np.float32(x) for x in (20, 25, 25.5, 31, 60)]))
raw32 = classes(st.floats(20, 60, width=32))
any32 = classes(st.floats(width=32, allow_nan=False, allow_infinity=False))
any64 = classes(st.floats(width=64, allow_nan=False, allow_infinity=False), dtype=np.float64)
neighbours = classes(st.sampled_from([np.nextafter(np.float32(1), np.float32(x)) for x in (0, 1, 2)]))
infinite = classes(st.sampled_from([-np.inf, -1.0, 1.0, np.inf]), dtype=np.float64)
one_positive = st.tuples(*(hnp.arrays(np.float32, n, elements=st.floats(0, 4, width=32)) for n in (1, 30)))
finite = st.one_of(tied, raw32, any32, any64, neighbours, one_positive)
either = finite | infinite


def pooled(positives, negatives):
    return np.repeat([1, 0], [positives.size, negatives.size]), np.concatenate([positives, negatives])


def all_f1(positives, negatives, strict=False):
    """F1 at every distinct score, counted one by one."""
    best = {}
    for threshold in np.unique(np.concatenate([positives, negatives])):
        compare = np.greater if strict else np.greater_equal
        true, false = int(compare(positives, threshold).sum()), int(compare(negatives, threshold).sum())
        best[threshold] = Fraction(2 * true, true + false + positives.size)
    return best


@settings(deadline=None)
@given(either)
def test_auroc_and_f1_max_are_their_definitions_to_the_last_bit(pair):
    positives, negatives = pair
    above = int((positives[:, None] > negatives).sum())
    same = int((positives[:, None] == negatives).sum())
    ranked = rank(positives, negatives)
    assert auroc(ranked) == float(Fraction(2 * above + same, 2 * positives.size * negatives.size))
    assert f1(ranked).maximum == float(max(all_f1(positives, negatives).values()))


@settings(deadline=None)
@given(either)
def test_average_precision_and_iou_max_are_their_definitions(pair):
    """Every distinct score is a threshold, counted one by one."""
    positives, negatives = pair
    precision_sum, found_before, iou = Fraction(0), 0, []
    for threshold in np.unique(np.concatenate([positives, negatives]))[::-1]:
        found, false = int((positives >= threshold).sum()), int((negatives >= threshold).sum())
        precision_sum += Fraction(found, found + false) * (found - found_before)
        found_before = found
        iou.append(Fraction(found, positives.size + false))
    ranked = rank(positives, negatives)
    assert average_precision(ranked) == pytest.approx(float(precision_sum / positives.size), abs=1e-15)
    assert 0 < average_precision(ranked) <= 1
    assert iou_max(ranked) == float(max(iou))


@settings(deadline=None)
@given(either)
def test_strict_f1_predicts_strictly_above_the_threshold(pair):
    positives, negatives = pair
    result = f1(rank(positives, negatives))
    at = {float(score): value for score, value in all_f1(positives, negatives).items()}
    strictly = {float(score): value for score, value in all_f1(positives, negatives, strict=True).items()}
    assert result.strict == float(strictly[result.threshold])
    assert at[result.threshold] >= max(at.values()) * (1 - Fraction(2, 10**6))


def assert_scikit_learns(positives, negatives, most):
    labels, scores = pooled(positives, negatives)
    ranked = rank(positives, negatives)
    with np.errstate(over="ignore"):
        assert auroc(ranked) == pytest.approx(roc_auc_score(labels, scores), abs=most)
        assert average_precision(ranked) == pytest.approx(average_precision_score(labels, scores), abs=most)
        precision, recall, _ = precision_recall_curve(labels, scores)
    expected = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-300))
    assert f1(ranked).maximum == pytest.approx(expected, abs=1e-14)


@settings(deadline=None)
@given(finite)
def test_auroc_average_precision_and_f1_max_equal_scikit_learn(pair):
    assert_scikit_learns(*pair, 1e-14)


@pytest.mark.parametrize(("dtype", "separation"), [(np.float32, 1.5), (np.float64, 4.0)])
def test_a_million_scores_equal_scikit_learn(dtype, separation):
    rng = np.random.default_rng(0)
    positives = (40 + 5 * (rng.normal(size=60_000) + separation)).astype(dtype)
    negatives = (40 + 5 * rng.normal(size=1_000_000)).astype(dtype)
    assert_scikit_learns(positives, negatives, 1e-13)


@pytest.mark.parametrize("levels", [None, 4])
def test_iou_max_equals_scikit_learns_jaccard_index(levels):
    rng = np.random.default_rng(1)
    positives, negatives = rng.normal(1, 1, 40), rng.normal(0, 1, 90)
    if levels:
        positives, negatives = np.round(positives * levels), np.round(negatives * levels)
    labels, scores = pooled(positives, negatives)
    expected = max(jaccard_score(labels, scores >= threshold) for threshold in scores)
    assert iou_max(rank(positives, negatives)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("positives", "negatives", "ap", "iou"), [
    ([2, 2, 2], [2, 2, 2, 2, 2], 3 / 8, 3 / 8),
    ([5, 6], [1, 2], 1, 1),
    ([1, 2], [5, 6, 7], (1 / 4 + 2 / 5) / 2, 2 / 5),
    ([3], [9, 3, 3], 1 / 4, 1 / 4),
    ([np.inf], [np.inf, -np.inf], 1 / 2, 1 / 2),
])  # fmt: skip
def test_average_precision_and_iou_max_worked_by_hand(positives, negatives, ap, iou):
    ranked = rank(np.array(positives, float), np.array(negatives, float))
    assert average_precision(ranked) == pytest.approx(ap, abs=1e-16)
    assert iou_max(ranked) == iou


def anomalib_f1(positives, negatives):
    """anomalib's F1Max value, F1Max threshold, adaptive threshold, and F1 of `score > adaptive threshold`."""
    from anomalib.metrics.f1_score import _F1Max
    from anomalib.metrics.threshold.f1_adaptive_threshold import _F1AdaptiveThreshold
    from torchmetrics.functional.classification import binary_f1_score

    labels, scores = (torch.from_numpy(x) for x in pooled(positives, negatives))
    f1_max, adaptive = _F1Max(), _F1AdaptiveThreshold()
    f1_max.update(scores, labels)
    adaptive.update(scores, labels)
    threshold = adaptive.compute()
    strict = binary_f1_score((scores > threshold).int(), labels)
    return float(f1_max.compute()), float(f1_max.threshold), float(threshold), float(strict)


@settings(deadline=None, max_examples=60)
@given(finite)
def test_threshold_and_both_f1s_are_anomalibs(pair):
    value, threshold, adaptive_threshold, strict = anomalib_f1(*pair)
    ours = f1(rank(*pair))
    assert ours.threshold == threshold == adaptive_threshold
    assert ours.maximum == pytest.approx(value, abs=1e-6)
    assert ours.strict == pytest.approx(strict, abs=1e-6)


def test_threshold_is_anomalibs_on_so_many_scores_that_float32_blurs_them():
    rng = np.random.default_rng(0)
    positives = rng.normal(size=700_000).astype(np.float32) + np.float32(1)
    negatives = rng.normal(size=1_500_000).astype(np.float32)
    value, threshold, adaptive_threshold, strict = anomalib_f1(positives, negatives)
    ours = f1(rank(positives, negatives))
    assert ours.threshold == threshold == adaptive_threshold
    assert ours.maximum == pytest.approx(value, abs=2e-7)
    assert ours.strict == pytest.approx(strict, abs=2e-7)


@pytest.mark.parametrize(("lower", "expected"), [([4, 3], 4.0), ([4, 4, 3], 5.0)])
def test_threshold_is_anomalibs_where_that_can_be_a_negatives(lower, expected):
    """Beside four million false positives one more is no change in float32, and the lowest score wins; two are one."""
    positives = np.full(10_000, 5, np.float32)
    negatives = np.concatenate([np.full(4_000_330, 10, np.float32), np.array(lower, np.float32)])
    _, threshold, adaptive_threshold, strict = anomalib_f1(positives, negatives)
    assert threshold == adaptive_threshold == expected
    ours = f1(rank(positives, negatives))
    assert ours.threshold == expected
    assert ours.maximum == 2 * 10_000 / (10_000 + 4_000_330 + 10_000)
    assert ours.strict == pytest.approx(strict, abs=1e-7)
    assert ours.strict == (ours.maximum if expected == 4 else 0)


def anomalib_auroc(positives, negatives):
    from anomalib.metrics.auroc import _AUROC

    labels, scores = (torch.from_numpy(x) for x in pooled(positives, negatives))
    metric = _AUROC()
    metric.update(scores, labels)
    return float(metric.compute())


@pytest.mark.parametrize("ties", [None, 20])
def test_auroc_equals_anomalibs_on_scores_in_the_unit_interval(ties):
    rng = np.random.default_rng(3)
    positives, negatives = rng.beta(4, 2, 3000).astype(np.float32), rng.beta(2, 4, 9000).astype(np.float32)
    if ties:
        positives, negatives = (
            np.round(positives * ties) / np.float32(ties),
            np.round(negatives * ties) / np.float32(ties),
        )
    assert auroc(rank(positives, negatives)) == pytest.approx(anomalib_auroc(positives, negatives), abs=2e-6)


def test_strict_f1_is_what_anomalibs_post_processor_leads_to():
    """anomalib finds its threshold on raw scores, normalises around it in float32, clamps, and labels `> 0.5`."""
    from anomalib.post_processing import PostProcessor
    from torchmetrics.functional.classification import binary_f1_score

    rng = np.random.default_rng(5)
    for n_positives, n_negatives in ((63, 20), (49, 21), (5000, 40_000)):
        positives = (18 + 6 * rng.normal(size=n_positives)).astype(np.float32)
        negatives = (11 + 3 * rng.normal(size=n_negatives)).astype(np.float32)
        labels, scores = (torch.from_numpy(x) for x in pooled(positives, negatives))
        threshold = torch.tensor(anomalib_f1(positives, negatives)[2])
        normalised = PostProcessor._normalize(scores, scores.min(), scores.max(), threshold)
        predicted = PostProcessor._apply_threshold(normalised, torch.tensor(0.5))
        ours = f1(rank(positives, negatives))
        assert ours.strict == pytest.approx(float(binary_f1_score(predicted.int(), labels)), abs=1e-6)
        assert ours.strict < ours.maximum


@pytest.mark.parametrize(("n", "printed"), [(63, 0.9920), (49, 0.9897)])
def test_perfect_separation_costs_the_strict_rule_one_image(n, printed):
    ours = f1(rank(np.linspace(20, 60, n), np.linspace(1, 10, 20)))
    assert ours.maximum == 1
    assert ours.strict == pytest.approx(printed, abs=5e-5)
    assert ours.threshold == 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbouring_and_extreme_scores_stay_apart(dtype):
    limits, one = np.finfo(dtype), dtype(1)
    tiny = limits.smallest_subnormal
    for pair in ((tiny, 2 * tiny), (one, np.nextafter(one, 2 * one)), (limits.max, np.inf), (-limits.max, tiny)):
        low, high = np.array(pair, dtype)[:, None]
        assert auroc(rank(high, low)) == f1(rank(high, low)).maximum == 1.0
        assert auroc(rank(low, high)) == 0.0


def test_counts_of_millions_do_not_overflow():
    positives, negatives = np.arange(3_000_000, dtype=np.float32) + 1, np.zeros(3_000_000, np.float32)
    ranked = rank(positives, negatives)
    assert auroc(ranked) == 1.0
    assert int(ranked.below.sum()) == 3_000_000**2
    assert auroc(rank(negatives, positives)) == 0.0


def test_a_missing_class_and_a_nan_are_refused():
    some, none, nan = np.array([1.0]), np.array([]), np.array([1.0, np.nan])
    with pytest.raises(ValueError, match="no positive score"):
        rank(none, some)
    with pytest.raises(ValueError, match="no negative score"):
        rank(some, none)
    with pytest.raises(ValueError, match="NaN among the positive"):
        rank(nan, some)
    with pytest.raises(ValueError, match="NaN among the negative"):
        rank(some, nan)


def test_f1_has_anomalibs_rounding_also_where_the_little_term_weighs():
    """Precision and recall of about 1e-9: 1e-10 is a twentieth of their sum."""
    true, false = torch.tensor([1, 3, 10**6]), torch.tensor([10**9, 10, 1])
    precision, recall = true / (true + false), true / 10**9
    theirs = (2 * precision * recall) / (precision + recall + 1e-10)
    ours = f1_as_anomalib(true.numpy(), false.numpy(), 10**9)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert ours[0] < 0.96e-9
