"""The train and test samples of one category, as every layout yields them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NORMAL, ANOMALOUS = 0, 1


@dataclass(frozen=True)
class Sample:
    """One image; paths are relative to the split's root, with forward slashes."""

    path: str
    label: int
    """NORMAL or ANOMALOUS."""
    defect: str
    """The defect type (the folder's name in MVTec AD), `good` for a normal image."""
    mask: str | None = None
    """The ground truth's path; None for a normal image, and for a defective one in a category without masks."""


@dataclass(frozen=True)
class Split:
    """One category's samples, each tuple sorted by path."""

    dataset: str
    category: str
    root: Path
    """The dataset's root: what the samples' paths are relative to."""
    train: tuple[Sample, ...]
    """Normal images only."""
    test: tuple[Sample, ...]
    has_masks: bool
    """Every defective test image has a mask. Without masks the run ends at image level."""
    notes: tuple[str, ...] = ()
    """What a reader of the record should know: counts that differ from the official ones, a split that was made."""

    @property
    def n_test_normal(self) -> int:
        """Normal test images."""
        return sum(sample.label == NORMAL for sample in self.test)

    @property
    def n_test_anomalous(self) -> int:
        """Defective test images."""
        return sum(sample.label == ANOMALOUS for sample in self.test)
