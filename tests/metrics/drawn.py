"""Drawn anomaly maps that behave like PaDiM's: smooth, raw, and higher, with noise, where a mask has a defect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Drawn:
    scores: np.ndarray
    labels: np.ndarray
    maps: np.ndarray
    masks: np.ndarray


def draw_maps(
    seed: int,
    *,
    n_normal: int = 8,
    n_anomalous: int = 12,
    size: int = 48,
    radius: tuple[float, float] = (2.0, 8.0),
    lift: float = 6.0,
) -> Drawn:
    """The `n_anomalous` last images have one to three discs, lifted by about `lift`; `radius` is in pixels."""
    rng = np.random.default_rng(seed)
    n = n_normal + n_anomalous
    labels = np.repeat([0, 1], [n_normal, n_anomalous])
    rows, columns = np.mgrid[:size, :size]
    masks = np.zeros((n, size, size), dtype=bool)
    for i in range(n_normal, n):
        for _ in range(rng.integers(1, 4)):
            centre = rng.uniform(0, size, 2)
            masks[i] |= np.hypot(rows - centre[0], columns - centre[1]) <= rng.uniform(*radius)
    noise = gaussian_filter(rng.normal(size=masks.shape), (0, 2, 2)) * 7
    strength = rng.uniform(0.2, 1.5, size=(n, 1, 1)) * lift
    maps = (14 + noise * 2 + strength * gaussian_filter(masks.astype(float), (0, 2, 2))).astype(np.float32)
    return Drawn(scores=maps.max(axis=(1, 2)), labels=labels, maps=maps, masks=masks)
