"""What was measured, as JSON: every repeat with its environment; medians and ratios are derived, never stored."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import RequestError
from harness.store.files import write_atomically

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Measurement:
    """One process, once."""

    name: str
    """The contestant."""
    repeat: int
    """From 0: contestants take turns, so equal numbers were measured side by side."""
    seconds: float
    """Wall-clock of the whole process, interpreter and imports included."""
    cpu_seconds: float
    peak_rss_bytes: int
    """Of the largest single process."""
    work_seconds: float | None = None
    """Wall-clock of the work alone, everything imported before; None where that was not measured."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage, as the process itself states them."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What it computed, by the harness's names: both sides must agree."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Whatever else was counted."""


@dataclass(frozen=True)
class Results:
    """One section: its measurements, on what, and where."""

    section: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    started: str
    finished: str
    measurements: tuple[Measurement, ...]

    def of(self, name: str) -> tuple[Measurement, ...]:
        """All repeats of one contestant, in order."""
        return tuple(one for one in self.measurements if one.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The contestants, in the order of their turns."""
        return tuple(dict.fromkeys(one.name for one in self.measurements))

    def median(self, name: str, quantity: str = "seconds") -> float | None:
        """The median over the repeats of a field of `Measurement`, or of one of its `numbers`.

        None where the contestant was not measured or has no such quantity.
        """
        return median(values) if (values := self.values(name, quantity)) else None

    def values(self, name: str, quantity: str = "seconds") -> list[float]:
        """The quantity in each repeat that has it."""
        found = (getattr(one, quantity, one.numbers.get(quantity)) for one in self.of(name))
        return [float(value) for value in found if value is not None]

    def ratio(self, above: str, below: str, quantity: str = "seconds", below_quantity: str = "") -> float | None:
        """Median of one contestant divided by that of another; None where one of them was not measured."""
        top, bottom = self.median(above, quantity), self.median(below, below_quantity or quantity)
        return top / bottom if top is not None and bottom else None


def disagreements(
    measurements: Iterable[Measurement], names: Iterable[str], tolerance: float, *, group: str = ""
) -> list[str]:
    """A line for each metric in which the measured processes differ by more than `tolerance`.

    Args:
        names: metrics that must agree wherever two processes have them.
        group: what the lines begin with.
    """
    lines = []
    measured = list(measurements)
    for name in names:
        values = {f"{one.name} (repeat {one.repeat})": one.metrics[name] for one in measured if name in one.metrics}
        if not values:
            continue
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        # Not-a-number compares false with everything, and must count as a difference.
        if not values[high] - values[low] <= tolerance or any(map(math.isnan, values.values())):
            lines.append(
                f"{group}{name}: {high} gives {values[high]!r}, {low} {values[low]!r}; they may differ by {tolerance:g}"
            )
    return lines


def now() -> str:
    """UTC to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def machine(device: str | None = None) -> dict[str, Any]:
    """Where this is measured: the record's environment, and the cores and memory that this process may use.

    Args:
        device: the graphics card's name; None for the processor.
    """
    from harness.store.provenance import environment

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {**environment(threads=None, device=device).model_dump(), "cores": cores, "memory_bytes": memory}


def write_results(results: Results, folder: Path) -> Path:
    """Write FOLDER/<section>.json; the same results give the same bytes.

    Raises:
        RequestError: it cannot be written.
        ValueError: a text in it is an absolute path, or a number is not finite.
    """
    data = {"schema_version": SCHEMA_VERSION, **asdict(results)}
    for text in _texts(data):
        if re.search(r"(?<![\w.:/])/\w", text):
            raise ValueError(f"results hold an absolute path: {text}")
    path = folder / f"{results.section}.json"
    content = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.encode())
    except OSError as error:
        raise RequestError(f"{path}: cannot be written ({error.strerror}); give another folder") from error
    return path


def read_results(folder: Path) -> dict[str, Results]:
    """Every section that lies in a folder, by name; none where there is no such folder.

    Raises:
        RequestError: a file is no results of this version.
    """
    sections = {}
    for path in sorted(folder.glob("*.json")):
        try:
            sections[path.stem] = _parse(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RequestError(f"{path}: is no results of make bench ({error}); measure that section again") from error
    return sections


def _parse(data: Mapping[str, Any]) -> Results:
    fields = dict(data)
    if fields.pop("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version is not {SCHEMA_VERSION}")
    fields["measurements"] = tuple(Measurement(**one) for one in fields["measurements"])
    return Results(**fields)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return []
