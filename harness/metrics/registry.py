"""The metrics by name. Adding one costs one decorated function in a file of `harness/metrics/`, and nothing else."""

import importlib
import pkgutil
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["image", "pixel"]
Function = Callable[[Any], float]
"""Takes `harness.metrics.standard.Images` or `Pixels`, by the metric's level, and leaves its arrays as they are."""

NEEDS: dict[Level, tuple[str, ...]] = {"image": ("scores",), "pixel": ("maps", "masks", "regions")}
"""By level. An image metric can be computed from scores.csv alone; `regions` are the connected ones of the masks."""


class UndefinedError(Exception):
    """Raised by a metric that has no value for this sample; the message is the reason, a few words."""


@dataclass(frozen=True)
class Metric:
    """One function, and all that records and tables need to know of it."""

    name: str
    """In records, tables and CSV: an identifier."""
    level: Level
    label: str
    low: float
    high: float
    version: int
    """Recorded with the value. Raise it with any change that can move the value, its interval or its threshold."""
    needs: frozenset[str]
    """Of NEEDS; where one of them is missing the metric is absent, and `compute` is not called."""
    compute: Function


_METRICS: dict[str, Metric] = {}


def metric(
    *, name: str, level: Level, label: str, needs: Set[str], version: int = 1, low: float = 0.0, high: float = 1.0
) -> Callable[[Function], Function]:
    """Register the decorated function as a metric; the arguments are the fields of `Metric`.

    The function itself stays as it is, so that it can be registered for images and for pixels.

    Raises:
        ValueError: a name that is taken or is no identifier, or needs that the level does not have.
    """

    def register(compute: Function) -> Function:
        if name in _METRICS:
            raise ValueError(f"metric {name}: the name is taken by {_METRICS[name].compute.__module__}; choose another")
        if not name.isidentifier():
            raise ValueError(f"metric {name!r}: the name must be an identifier, such as pixel_auroc")
        if not needs or not needs <= set(NEEDS[level]):
            raise ValueError(f"metric {name}: needs {sorted(needs)}; of {level}s choose from {', '.join(NEEDS[level])}")
        _METRICS[name] = Metric(name, level, label, low, high, version, frozenset(needs), compute)
        return compute

    return register


def registered() -> dict[str, Metric]:
    """Return all metrics by name: those of images first; of a level first those of `standard`, as they stand there."""
    package = importlib.import_module("harness.metrics")  # imports `standard` before any other metric
    for module in pkgutil.iter_modules(package.__path__, "harness.metrics."):
        importlib.import_module(module.name)
    return {one.name: one for level in ("image", "pixel") for one in _METRICS.values() if one.level == level}
