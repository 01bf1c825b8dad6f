"""What a metric is computed from: the arrays of one run, and what several metrics share, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.metrics.ranking import F1, Ranked, f1, rank
from harness.metrics.region import RankedPixels, rank_pixels


@dataclass(frozen=True, eq=False)
class Images:
    """The test images, with one score each."""

    scores: np.ndarray
    """(N,) float32 or float64, raw, finite."""
    labels: np.ndarray
    """(N,) int in {0, 1}, 1 for anomalous; both occur."""

    @cached_property
    def ranked(self) -> Ranked:
        """The anomalous images' scores against the normal ones'."""
        return rank(self.scores[self.labels == 1], self.scores[self.labels == 0])

    @cached_property
    def best(self) -> F1:
        """The F1s at the threshold that maximises F1, and that threshold."""
        return f1(self.ranked)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of the test images."""

    maps: np.ndarray
    """(N, H, W) float32 or float64, raw, finite."""
    masks: np.ndarray
    """(N, H, W) bool, True where defective; both occur."""
    fpr_limit: float
    """AUPRO integrates up to this false-positive rate, in [0, 1]; 0: no AUPRO."""

    @cached_property
    def regions(self) -> RankedPixels:
        """The pixels, ranked, with the image and the region of each defective one."""
        return rank_pixels(self.maps, self.masks)

    @cached_property
    def ranked(self) -> Ranked:
        """The defective pixels' scores against all others'."""
        return self.regions.ranked

    @cached_property
    def best(self) -> F1:
        """The F1s at the threshold that maximises F1, and that threshold."""
        return f1(self.ranked)
