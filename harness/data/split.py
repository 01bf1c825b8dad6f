"""The train and test samples of one category, as every layout yields them, and a small part of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

NORMAL, ANOMALOUS = 0, 1


@dataclass(frozen=True)
class Sample:
    """One image; paths are relative to the split's root, with forward slashes."""

    path: str
    label: int
    defect: str
    mask: str | None = None
    """The ground truth's path; None for a normal image, and for a defective one in a category without masks."""


@dataclass(frozen=True)
class Reading:
    """How the files of a folder of one's own become pixels (`harness.data.pixels`)."""

    white_level: float | None = None
    """The value that becomes 255 in images of more than 8 bits; None for the type's own range."""
    background: float = 0.0
    """The value of masks that means not defective."""
    unusual: tuple[tuple[str, str], ...] = ()
    """Files, sorted, that are read otherwise than anomalib would read them, each with how: part of the fingerprint."""


@dataclass(frozen=True)
class Split:
    """One category's samples, each tuple sorted by path."""

    dataset: str
    category: str
    root: Path
    """The dataset's root: what the samples' paths are relative to."""
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    has_masks: bool
    """Every defective test image has a mask; without masks there are no pixel metrics."""
    notes: tuple[str, ...] = ()
    reading: Reading | None = None
    """None for anomalib's own way."""

    @property
    def n_test_normal(self) -> int:
        """Normal test images."""
        return sum(sample.label == NORMAL for sample in self.test)

    @property
    def n_test_anomalous(self) -> int:
        """Defective test images."""
        return sum(sample.label == ANOMALOUS for sample in self.test)


def by_path(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Sort as every split is sorted: by path, in code-point order."""
    return tuple(sorted(samples, key=lambda sample: sample.path))


def spread(items: Sequence[T], n: int) -> list[T]:
    """Return at most `n` of the items, evenly spread over the sequence, in order: the middles of n equal parts."""
    if n >= len(items):
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * n)] for i in range(n)]


def limit_test(samples: Sequence[Sample], n: int) -> list[Sample]:
    """Return at most `n` test samples, sorted by path: half of them normal where there are enough (of one, none).

    The defective ones are shared out among the defect types.
    """
    normal = [sample for sample in samples if sample.label == NORMAL]
    anomalous = [sample for sample in samples if sample.label == ANOMALOUS]
    n_anomalous = min(len(anomalous), n - min(len(normal), n // 2))
    n_normal = min(len(normal), n - n_anomalous)
    return list(by_path(spread(normal, n_normal) + _spread_defects(anomalous, n_anomalous)))


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
