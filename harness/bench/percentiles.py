"""Percentiles of measured times."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated linearly between the two nearest.

    The same as NumPy's default.

    Args:
        values: at least one, in any order.
        percent: from 0 to 100.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(values)} values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def latency(seconds: Sequence[float], batch_size: int) -> dict[str, float]:
    """What a list of times, one for each batch, says: p50, p95 and p99 in milliseconds, and images a second."""
    return {
        "batch_size": float(batch_size),
        "batches": float(len(seconds)),
        **{f"p{percent}_ms": 1000 * percentile(seconds, percent) for percent in (50, 95, 99)},
        "images_per_second": batch_size * len(seconds) / sum(seconds),
    }
