"""Anomaly maps as the paper shows them: min-max, Jet, laid over the image at 0.45 (its section 3.4). Plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OPACITY = 0.45
"""The weight of the heatmap in the overlay; the image has the rest."""

_JET_NODES = (
    ((0.0, 0.35, 0.66, 0.89, 1.0), (0.0, 0.0, 1.0, 1.0, 0.5)),
    ((0.0, 0.125, 0.375, 0.64, 0.91, 1.0), (0.0, 0.0, 1.0, 1.0, 0.0, 0.0)),
    ((0.0, 0.11, 0.34, 0.65, 1.0), (0.5, 1.0, 1.0, 0.0, 0.0)),
)
"""Red, green, blue: where Jet's straight pieces meet. Written down here so that no user's matplotlibrc changes it."""

_JET = np.stack([np.interp(np.linspace(0, 1, 256), at, level) for at, level in _JET_NODES], axis=-1)
_JET = (_JET * 255).astype(np.uint8)  # cut off, not rounded, as matplotlib does it


@dataclass(frozen=True, eq=False)
class Overlay:
    """One row of Figure 4."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    heatmap: np.ndarray
    """(H, W, 3) uint8 RGB: the score map in Jet."""
    overlay: np.ndarray
    """(H, W, 3) uint8 RGB."""


def unit_interval(scores: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Scale scores to [0, 1] by a minimum and a maximum.

    Args:
        scores: any shape, finite, raw.
        limits: (lowest, highest) that become 0 and 1; None for the scores' own. Scores beyond them are clipped.

    Returns:
        float64 of the same shape; all 0 where the limits are equal.

    Raises:
        ValueError: a score or a limit is NaN or infinite, or the limits are out of order.
    """
    scores = np.asarray(scores, np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("a score is NaN or infinite")
    low, high = (float(scores.min()), float(scores.max())) if limits is None else limits
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"limits {low} and {high} are no range")
    if low == high:
        return np.zeros_like(scores)
    # Halves, since the distance between two finite numbers may itself be too large for a float.
    return np.clip((scores / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0)


def jet(unit: np.ndarray) -> np.ndarray:
    """Colour values in [0, 1] with the Jet colour map in 256 steps, to the digit as matplotlib has it.

    Args:
        unit: (H, W) float in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.
    """
    steps = len(_JET)
    return _JET[np.minimum((np.asarray(unit, np.float64) * steps).astype(np.int64), steps - 1)]


def blend(image: np.ndarray, heatmap: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """Lay a heatmap over an image: (1 - opacity) x image + opacity x heatmap, rounded to the nearest.

    Args:
        image, heatmap: (H, W, 3) uint8 RGB.
        opacity: in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the shapes differ.
    """
    if image.shape != heatmap.shape:
        raise ValueError(f"an image of shape {image.shape} and a heatmap of shape {heatmap.shape}")
    mixed = (1 - opacity) * image.astype(np.float64) + opacity * heatmap.astype(np.float64)
    return np.rint(mixed).astype(np.uint8)


def overlay(image: np.ndarray, scores: np.ndarray, limits: tuple[float, float] | None = None) -> Overlay:
    """Image, score map and overlay of one test image.

    Args:
        image: (H, W, 3) uint8 RGB, as the network sees it.
        scores: (H, W) raw anomaly map.
        limits: of the colour scale; None for this map's own minimum and maximum, as in the paper.
    """
    heatmap = jet(unit_interval(scores, limits))
    return Overlay(image, heatmap, blend(image, heatmap))
