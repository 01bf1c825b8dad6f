"""The few test images that overlays show: which they are, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.data.loader import SplitSource

PER_LABEL = 2
"""Images kept of each label: two normal and two defective ones."""


def choose_examples(labels: np.ndarray) -> np.ndarray:
    """Return the places of the example images, (k,) int64: up to PER_LABEL normal, then as many defective ones.

    They are evenly spread over the split's order, so every seed and backbone shows the same images.

    Args:
        labels: (n_test,) int in {0, 1}.
    """
    chosen = []
    for label in (0, 1):
        indices = np.flatnonzero(labels == label)
        count = min(PER_LABEL, len(indices))
        places = ((np.arange(count) + 0.5) * len(indices) / max(count, 1)).astype(int)
        chosen.append(indices[places])
    return np.concatenate(chosen).astype(np.int64)


@dataclass(frozen=True)
class Examples:
    """What the overlays of every run of a job have in common."""

    indices: np.ndarray
    """(k,) int64, into the split's test images."""
    shared: dict[str, np.ndarray]
    """`paths`; `labels` (k,) int64 in {0, 1}; `images` (k, H, W, 3) uint8 RGB, as the network sees them; `masks`
    (k, H, W) uint8 in {0, 1}, only where the category has any."""

    def arrays(self, anomaly_maps: np.ndarray) -> dict[str, np.ndarray]:
        """Return named arrays for one run's examples.npz.

        Args:
            anomaly_maps: (n_test, H, W) float32, raw.

        Returns:
            What is shared, and `anomaly_maps` (k, H, W) float32, and `map_range` (2,) float32: the lowest and highest
            value of all test images, for one colour scale.
        """
        span = np.array([anomaly_maps.min(), anomaly_maps.max()], np.float32)
        return {**self.shared, "anomaly_maps": anomaly_maps[self.indices], "map_range": span}


def gather_examples(source: SplitSource, labels: np.ndarray, masks: np.ndarray | None) -> Examples:
    """Decode the example images of a split.

    Args:
        labels: (n_test,) int in {0, 1}.
        masks: (n_test, H, W) uint8 in {0, 1}, or None.
    """
    indices = choose_examples(labels)
    samples = [source.split.test[index] for index in indices]
    shared = {
        "paths": np.array([sample.path for sample in samples]),
        "labels": np.array([sample.label for sample in samples], np.int64),
        "images": source.pixels(samples),
    }
    return Examples(indices, shared if masks is None else {**shared, "masks": masks[indices]})
