"""Grouped bars of measured values: whisker, published value as a marker, and a labelled slot where there is no run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.style import EMPTY, INK, MUTED, ink_on

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

CHANCE = 0.5
"""AUROC of a guess: the floor of an AUROC axis, so that a bar's length is what lies above chance."""

_GROUP_WIDTH = 0.84
_VALUE_SIZE = 6.3


@dataclass(frozen=True)
class Bar:
    """One bar, or the slot where it would stand."""

    value: float | None
    """None where there is no run to show; then `absent` says why."""
    whisker: tuple[float, float] | None = None
    """Lowest and highest value of what the figure's whiskers show."""
    published: float | None = None
    absent: str = ""
    """Two or three words, for example `not run`."""


@dataclass(frozen=True)
class Series:
    """Bars of one colour, one a group."""

    label: str
    colour: str
    bars: tuple[Bar, ...]


def floor_of(series: Iterable[Series], floor: float = CHANCE) -> float:
    """Where an axis begins: at chance, but at 0 as soon as anything to be drawn lies below that."""
    numbers = [number for one in series for bar in one.bars for number in _numbers(bar)]
    return floor if all(number >= floor for number in numbers) else 0.0


def _numbers(bar: Bar) -> list[float]:
    return [number for number in (bar.value, bar.published, *(bar.whisker or ())) if number is not None]


@dataclass(frozen=True)
class _Slot:
    """Where one bar stands, in the axes' own units."""

    x: float
    """Its middle."""
    width: float
    floor: float
    height: float
    """Of the whole axis."""


def draw_bars(axes: Axes, groups: Sequence[str], series: Sequence[Series], *, floor: float = 0.0) -> None:
    """Draw vertical bars group by group, each with its value at its foot.

    Args:
        groups: names below the axis; every series has one bar for each.
        floor: where the axis begins; it ends a little above 1.
    """
    height = 1.0 - floor
    width = _GROUP_WIDTH / len(series)
    for number, one in enumerate(series):
        offset = (number - (len(series) - 1) / 2) * width
        for group, bar in enumerate(one.bars):
            _draw_bar(axes, _Slot(group + offset, width * 0.92, floor, height), bar, one.colour)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.set_ylim(floor, floor + 1.03 * height)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([floor + i * height / 5 for i in range(6)])
    axes.yaxis.set_major_formatter("{x:.1f}")


def _draw_bar(axes: Axes, slot: _Slot, bar: Bar, colour: str) -> None:
    x, floor = slot.x, slot.floor
    if bar.value is None:
        axes.bar(x, slot.height, slot.width, bottom=floor, **(EMPTY_SLOT | {"edgecolor": colour}))
        low = bar.published is not None and bar.published < floor + slot.height / 2
        y = floor + slot.height * (0.74 if low else 0.26)
        axes.text(x, y, bar.absent, rotation=90, ha="center", va="center", fontsize=6.8, color=MUTED)
    else:
        axes.bar(x, bar.value - floor, slot.width, bottom=floor, color=colour, linewidth=0)
        _write_value(axes, slot, bar, colour)
    if bar.whisker is not None:
        draw_whisker(axes, x - 0.2 * slot.width, bar.whisker)
    if bar.published is not None:
        draw_published(axes, x + (0.2 * slot.width if bar.value is not None else 0), bar.published)


def _write_value(axes: Axes, slot: _Slot, bar: Bar, colour: str) -> None:
    """At the bar's foot, clear of whisker and marker; above the bar where that is too short to hold it."""
    text = f"{bar.value:.4f}"
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": _VALUE_SIZE}
    if min(_numbers(bar)) - slot.floor > 0.12 * slot.height:
        axes.text(slot.x, slot.floor + 0.02 * slot.height, text, color=ink_on(colour), **style)
    else:
        axes.text(slot.x, _room_above(slot, bar), text, color=INK, **style)


def _room_above(slot: _Slot, bar: Bar) -> float:
    """The lowest place above a short bar where its value touches neither whisker nor marker, as far as there is one."""
    assert bar.value is not None
    gap, line = 0.035 * slot.height, 0.07 * slot.height
    obstacles = [(bar.value, bar.value), *([bar.whisker] if bar.whisker else [])]
    obstacles += [(bar.published, bar.published)] if bar.published is not None else []
    y = slot.floor
    for low, high in sorted(obstacles):
        if low - gap < y + line:
            y = max(y, high + gap)
    return min(y, slot.floor + 0.92 * slot.height)


def draw_whisker(axes: Axes, at: float, span: tuple[float, float], *, horizontal: bool = False) -> None:
    """A capped line from the lowest to the highest value, with a white rim that keeps it visible on dark bars."""
    low, high = span
    middle = (low + high) / 2
    error = [[middle - low], [high - middle]]
    for colour, line, cap in (("white", 2.0, 3.0), (INK, 0.9, 2.4)):
        position = (middle, at) if horizontal else (at, middle)
        axes.errorbar(
            *position,
            xerr=error if horizontal else None,
            yerr=None if horizontal else error,
            fmt="none",
            ecolor=colour,
            elinewidth=line,
            capsize=cap,
            capthick=line,
            zorder=3,
            clip_on=False,
        )


def draw_published(axes: Axes, x: float, y: float) -> None:
    """The marker of a published value."""
    axes.plot(x, y, **MARKER)


MARKER: dict[str, Any] = {
    "marker": "D",
    "markersize": 4.2,
    "markerfacecolor": "white",
    "markeredgecolor": INK,
    "markeredgewidth": 0.9,
    "linestyle": "none",
    "zorder": 4,
    "clip_on": False,
}

EMPTY_SLOT: dict[str, Any] = {"facecolor": EMPTY, "edgecolor": MUTED, "linewidth": 0.8, "linestyle": (0, (3, 2))}


def legend_handles(series: Sequence[Series], whisker: str, published: str) -> list[Artist]:
    """What the drawn bars use, each with its words; nothing that does not occur.

    Args:
        whisker: what whiskers show, for example `range over the seeds run`.
        published: what the marker shows.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bars = [bar for one in series for bar in one.bars]
    handles: list[Artist] = [Patch(facecolor=one.colour, label=one.label) for one in series]
    if any(bar.whisker for bar in bars):
        handles.append(Line2D([], [], color=INK, linewidth=0.9, marker="|", markersize=5, label=whisker))
    if any(bar.published is not None for bar in bars):
        handles.append(Line2D([], [], **(MARKER | {"clip_on": True}), label=published))
    if any(bar.value is None for bar in bars):
        handles.append(Patch(**EMPTY_SLOT, label="no value"))
    return handles
