import numpy as np
import pytest

from harness.data.split import ANOMALOUS, NORMAL, Sample, limit_test, spread


def samples(normal, **defects):
    found = [Sample(f"good/{i:03d}", NORMAL, "good") for i in range(normal)]
    for defect, count in defects.items():
        found += [Sample(f"{defect}/{i:03d}", ANOMALOUS, defect, f"m/{defect}/{i:03d}") for i in range(count)]
    return sorted(found, key=lambda sample: sample.path)


def tally(chosen):
    counts = {}
    for sample in chosen:
        counts[sample.defect] = counts.get(sample.defect, 0) + 1
    return counts


def test_spread_takes_the_middles_of_equal_parts():
    assert spread(range(9), 3) == [1, 4, 7]
    assert spread(range(10), 2) == [2, 7]
    assert spread(range(5), 1) == [2]
    assert spread(range(3), 3) == spread(range(3), 8) == [0, 1, 2]
    assert spread([], 4) == spread([1, 2], 0) == []


def test_spread_is_even_for_every_size():
    for n_items in range(1, 60):
        for n in range(1, n_items + 1):
            chosen = spread(range(n_items), n)
            assert len(set(chosen)) == n
            gaps = np.diff(chosen)
            assert n == 1 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, {"dent": 1}),
        (2, {"dent": 1, "good": 1}),
        (12, {"good": 6, "cut": 2, "dent": 2, "hole": 2}),
        (60, {"good": 20, "cut": 18, "dent": 2, "hole": 20}),
        (99, {"good": 20, "cut": 18, "dent": 2, "hole": 40}),
    ],
)
def test_both_classes_and_all_defect_types_are_kept(n, expected):
    assert tally(limit_test(samples(20, cut=18, dent=2, hole=40), n)) == expected


def test_one_class_alone_fills_the_limit():
    assert tally(limit_test(samples(9), 4)) == {"good": 4}
    assert tally(limit_test(samples(0, cut=9), 4)) == {"cut": 4}
    assert tally(limit_test(samples(1, cut=9), 6)) == {"good": 1, "cut": 5}
    assert tally(limit_test(samples(9, cut=1), 6)) == {"good": 5, "cut": 1}


def test_the_choice_is_sorted_deterministic_and_a_subset():
    rng = np.random.default_rng(1)
    for _ in range(50):
        every = samples(int(rng.integers(0, 9)), a=int(rng.integers(1, 9)), b=int(rng.integers(0, 5)))
        n = int(rng.integers(1, 25))
        chosen = limit_test(every, n)
        assert chosen == limit_test(list(every), n)
        assert chosen == [sample for sample in every if sample in set(chosen)]
        assert len(chosen) == min(n, len(every))
