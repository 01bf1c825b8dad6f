"""Attainable values and limits against every ranking of a few images, and against scikit-learn on many."""

from __future__ import annotations

from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_curve, roc_auc_score

from harness.papers.arithmetic import (
    TIE,
    Classes,
    Counts,
    auroc_halves,
    auroc_limits,
    auroc_share,
    f1_counts,
    f1_share,
    prints_as,
    readings,
    rounded,
)
from tests.store.making import patient

SIZES = [(3, 2), (2, 3), (3, 3), (1, 4), (4, 1)]


def _auroc(positives, negatives) -> Fraction:
    pairs = [Fraction((p > n) * 2 + (p == n), 2) for p in positives for n in negatives]
    return sum(pairs, Fraction(0)) / len(pairs)


def _best(positives, negatives) -> list[Counts]:
    """The counts at every threshold that maximises F1, by definition."""
    counts = [Counts(sum(p >= t for p in positives), sum(n >= t for n in negatives)) for t in {*positives, *negatives}]
    largest = max(each.f1(len(positives)) for each in counts)
    return [each for each in counts if each.f1(len(positives)) == largest]


@cache
def _rankings(n_pos: int, n_neg: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every ranking with ties of so many images: scores from as many levels as there are images."""
    levels = range(n_pos + n_neg)
    everything = {
        (tuple(sorted(scores[:n_pos])), tuple(sorted(scores[n_pos:])))
        for scores in product(levels, repeat=n_pos + n_neg)
    }
    return sorted(everything)


@pytest.mark.parametrize("size", SIZES)
def test_attainable_aurocs_are_those_of_all_rankings(size):
    classes = Classes(*size)
    values = {_auroc(*ranking) for ranking in _rankings(*size)}
    for printed in {rounded(Fraction(k, 50), 2) for k in range(51)} | {rounded(value, 2) for value in values}:
        halves = {Fraction(half, 2 * classes.pairs) for half in auroc_halves(printed, classes)}
        assert halves == {value for value in values if prints_as(value, printed)}


@pytest.mark.parametrize("size", SIZES)
def test_attainable_f1s_are_those_of_all_thresholds(size):
    classes = Classes(*size)
    everything = [Counts(t, f) for t in range(1, size[0] + 1) for f in range(size[1] + 1)]
    for printed in (rounded(Fraction(k, 1000), 3) for k in range(1001)):
        expected = {each for each in everything if prints_as(each.f1(size[0]), printed)}
        found = f1_counts(printed, classes)
        assert set(found) == expected
        assert len(found) == len(expected)


def _enumerated(best: Counts, size: tuple[int, int], ties: bool) -> set[int]:
    """Twice the rightly ordered pairs of every ranking whose F1 is largest at `best`, one group of images at a time."""
    n_pos, n_neg = size
    limit = best.f1(n_pos)
    reached: dict[tuple[int, int], set[tuple[int, bool]]] = {(0, 0): {(0, False)}}
    for t, f in product(range(n_pos + 1), range(n_neg + 1)):
        if (t, f) != (0, 0) and Counts(t, f).f1(n_pos) > limit:
            continue
        for t2, f2 in product(range(t, n_pos + 1), range(f, n_neg + 1)):
            step = (t2 - t) + (f2 - f)
            if step == 0 or (step > 1 and not ties) or Counts(t2, f2).f1(n_pos) > limit:
                continue
            reached.setdefault((t2, f2), set()).update(
                (halves + (f2 - f) * (t + t2), seen or (t2, f2) == (best.true_positives, best.false_positives))
                for halves, seen in reached.get((t, f), ())
            )
    return {halves for halves, seen in reached.get((n_pos, n_neg), ()) if seen}


@pytest.mark.parametrize("ties", [False, True])
def test_limits_are_those_of_all_rankings(ties):
    draw = np.random.default_rng(13)
    for _ in range(200):
        n_pos = int(draw.integers(1, 12))
        n_neg = int(draw.integers(1, 13 - n_pos))
        best = Counts(int(draw.integers(1, n_pos + 1)), int(draw.integers(0, n_neg + 1)))
        found = _enumerated(best, (n_pos, n_neg), ties)
        limits = auroc_limits(best, Classes(n_pos, n_neg), ties=ties)
        assert limits == ((min(found), max(found)) if found else None)
        if limits is not None:  # and everything between them can occur
            assert found == set(range(limits[0], limits[1] + 1, 1 if ties else 2))


@pytest.mark.parametrize("size", SIZES)
def test_no_ranking_is_called_impossible(size):
    classes = Classes(*size)
    for positives, negatives in _rankings(*size):
        auroc, best = rounded(_auroc(positives, negatives), 4), _best(positives, negatives)
        f1 = rounded(best[0].f1(size[0]), 4)
        assert any(readings(auroc, f1, classes, strict=False, ties=True))
        if len({*positives, *negatives}) == sum(size):  # the strict rule loses one image only where scores have no ties
            for each in best:
                strict = Counts(each.true_positives - 1, each.false_positives)
                if strict.true_positives:
                    assert any(readings(auroc, rounded(strict.f1(size[0]), 4), classes, strict=True, ties=False))


@patient
@given(st.integers(2, 30), st.integers(2, 30), st.floats(0, 3), st.integers(0, 2**32 - 1))
def test_what_scikit_learn_computes_is_attainable_and_possible(n_pos, n_neg, shift, seed):
    draw = np.random.default_rng(seed)
    scores = np.concatenate((draw.normal(shift, 1, n_pos), draw.normal(0, 1, n_neg)))
    labels = np.arange(n_pos + n_neg) < n_pos
    classes = Classes(n_pos, n_neg)
    auroc = rounded(roc_auc_score(labels, scores), 4)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    by_threshold = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    threshold = thresholds[np.argmax(by_threshold[:-1])]
    f1 = rounded(f1_score(labels, scores >= threshold), 4)
    assert auroc_halves(auroc, classes)
    assert f1_counts(f1, classes)
    assert any(readings(auroc, f1, classes, strict=False, ties=True))
    strict = f1_score(labels, scores > threshold)
    if strict > 0:
        assert any(readings(auroc, rounded(strict, 4), classes, strict=True, ties=False))


@pytest.mark.parametrize(("printed", "size"), [("0.9500", (63, 20)), ("0.9990", (7, 5)), ("0.0040", (9, 4))])
def test_share_by_plain_counting(printed, size):
    classes, middle = Classes(*size), round(float(printed) * 10**4)
    around = [rounded(Fraction(k, 10**4), 4) for k in range(max(middle - 100, 0), min(middle + 100, 10**4) + 1)]
    with_ties = sum(bool(auroc_halves(value, classes)) for value in around)
    without = sum(any(half % 2 == 0 for half in auroc_halves(value, classes)) for value in around)
    assert auroc_share(printed, classes) == Fraction(with_ties, len(around))
    assert auroc_share(printed, classes, ties=False) == Fraction(without, len(around))
    assert f1_share(printed, classes) == Fraction(sum(bool(f1_counts(value, classes)) for value in around), len(around))


@patient
@given(st.floats(0, 1), st.integers(1, 5))
def test_a_value_prints_as_what_decimal_rounds_it_to(value, digits):
    step = Decimal(1).scaleb(-digits)
    for rule in (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_HALF_DOWN):
        assert prints_as(value, str(Decimal(value).quantize(step, rule)))
    nearest = Decimal(value).quantize(step, ROUND_HALF_EVEN)
    assert Decimal(rounded(value, digits)) == nearest
    for other in (nearest - 2 * step, nearest + 2 * step):
        if other >= 0:
            assert not prints_as(value, str(other))


def test_halfway_counts_for_both_neighbours_and_the_tolerance_includes_its_end():
    halfway = Fraction(82505, 100000)
    for value in (0.82505, halfway, 0.82505 - 1e-13, 0.82505 + 1e-13):
        assert prints_as(value, "0.8250")
        assert prints_as(value, "0.8251")
    assert prints_as(halfway - TIE, "0.8251")
    assert not prints_as(halfway - TIE - Fraction(1, 10**20), "0.8251")


def test_rounded_keeps_its_zeros_and_has_no_exponent():
    assert rounded(1.0, 4) == "1.0000"
    assert rounded(Fraction(124, 125), 4) == "0.9920"
    assert rounded(0, 4) == "0.0000"
    assert rounded(Fraction(49), 0) == "49"
