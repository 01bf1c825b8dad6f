"""A small, deterministic part of a split: `dataset.limit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from harness.data.split import ANOMALOUS, NORMAL, Sample

T = TypeVar("T")


def spread(items: Sequence[T], n: int) -> list[T]:
    """At most `n` of the items, evenly spread over the sequence, in order: the middles of n equal parts."""
    if n >= len(items):
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * n)] for i in range(n)]


def limit_test(samples: Sequence[Sample], n: int) -> list[Sample]:
    """At most `n` test samples, sorted by path: half of them normal where there are enough of both, the defective ones
    shared out among the defect types.

    With n = 1 the one sample is defective, if there is a defective one.
    """
    normal = [sample for sample in samples if sample.label == NORMAL]
    anomalous = [sample for sample in samples if sample.label == ANOMALOUS]
    n_anomalous = min(len(anomalous), n - min(len(normal), n // 2))
    n_normal = min(len(normal), n - n_anomalous)
    chosen = spread(normal, n_normal) + _spread_defects(anomalous, n_anomalous)
    return sorted(chosen, key=lambda sample: sample.path)


def _spread_defects(samples: Sequence[Sample], n: int) -> list[Sample]:
    by_defect: dict[str, list[Sample]] = {}
    for sample in samples:
        by_defect.setdefault(sample.defect, []).append(sample)
    share = dict.fromkeys(by_defect, 0)
    left = n
    while left:
        # Where fewer samples are left than types can still give one, the types that give are spread out too.
        for defect in spread([d for d in by_defect if share[d] < len(by_defect[d])], left):
            share[defect] += 1
            left -= 1
    return [sample for defect, group in by_defect.items() for sample in spread(group, share[defect])]
