"""The figure of docs/benchmarks.md: where each second goes, ours beside anomalib, from one section's measurements."""

from __future__ import annotations

import io
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.bench.results import Results
from harness.report.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RULE,
    SKY,
    drawing,
    ink_on,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = {
    "start and imports": "#8C8C8C",
    "training images": BLUE,
    "Gaussians": PURPLE,
    "test images, for validation": SKY,
    "test images": GREEN,
    "factors and maps": "#F0E442",
    "metrics": ORANGE,
    "all else": RULE,
}
"""What a bar consists of, in the order in which it happens, with its colour."""

_PART_OF = {
    # ours: stages of the record
    "import": "start and imports",
    "fit": "training images",
    "test": "test images",
    "score": "factors and maps",
    "metrics": "metrics",
}
_ANOMALIBS_PART_OF = {
    # stages of harness.bench.children.anomalib_engine
    "import": "start and imports",
    "train pass": "training images",
    "fit": "Gaussians",
    "validation pass": "test images, for validation",
    "test pass": "test images",
    "metrics": "metrics",
}

BARS = {
    "anomalib": "anomalib as it comes",
    "anomalib-lean": "anomalib, lean",
    "ours": "ours",
    "floor": "floor",
}
_NARROW = 0.034
"""Share of the axis below which a part is too narrow for its seconds."""


def parts_of(results: Results, name: str) -> dict[str, float]:
    """Mean seconds of each part of one contestant, which add up to its mean whole process.

    What no stage covers is the interpreter's start and end: it counts as `start and imports` in ours, whose record
    begins after the interpreter and Hydra have started, and in the floor, which is all start but for its one stage.
    """
    runs = results.of(name)
    sums = dict.fromkeys(PARTS, 0.0)
    for run in runs:
        stages: Mapping[str, float] = run.stages
        if name == "floor":
            stages = {"floor": run.work_seconds or 0.0}
        for stage, seconds in stages.items():
            sums[_part(name, stage)] += seconds / len(runs)
    whole = fmean(run.seconds for run in runs)
    sums["start and imports"] += max(whole - sum(sums.values()), 0.0)
    return sums


def _part(name: str, stage: str) -> str:
    if name == "floor":
        return "training images"
    return (_ANOMALIBS_PART_OF if name.startswith("anomalib") else _PART_OF).get(stage, "all else")


def draw(results: Results) -> Figure:
    """One stacked bar a contestant."""
    names = [name for name in BARS if results.of(name)]
    figure = new_figure(0.42 * len(names) + 1.15)
    axes = figure.add_axes((0.17, 0.34 if len(names) < 4 else 0.30, 0.80, 0.60))
    longest = max(sum(parts_of(results, name).values()) for name in names)
    for row, name in enumerate(reversed(names)):
        _bar(axes, row, name, parts_of(results, name), longest)
    axes.set_yticks(range(len(names)), [BARS[name] for name in reversed(names)])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, longest * 1.09)
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("seconds, whole process" + ("; SYNTHETIC images" if results.settings.get("synthetic") else ""))
    _legend(figure)
    return figure


def _bar(axes: Axes, row: int, name: str, parts: Mapping[str, float], longest: float) -> None:
    left = 0.0
    for part, seconds in parts.items():
        colour = PARTS[part]
        hatch: dict[str, Any] = (
            {"hatch": "///", "edgecolor": GREEN} if name == "floor" and part == "training images" else {}
        )
        axes.barh(row, seconds, height=0.62, left=left, color=colour, linewidth=0, **hatch)
        if seconds > _NARROW * longest:
            style: dict[str, Any] = {"bbox": {"facecolor": colour, "linewidth": 0, "pad": 1.0}} if hatch else {}
            axes.text(
                left + seconds / 2, row, f"{seconds:.1f}", ha="center", va="center", fontsize=6.5,
                color=ink_on(colour), **style,
            )  # fmt: skip
        left += seconds
    axes.text(
        left + 0.008 * longest, row, f"{left:.1f} s", ha="left", va="center", fontsize=7, color=INK, weight="bold"
    )


def _legend(figure: Figure) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor=MUTED, linewidth=0.3, label=part) for part, colour in PARTS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=4, bbox_to_anchor=(0.5, 0.0), columnspacing=1.4)


def figure_bytes(results: Results) -> bytes:
    """The figure as SVG: the same results give the same bytes."""
    buffer = io.BytesIO()
    with drawing():
        draw(results).savefig(
            buffer,
            format="svg",
            metadata={"Title": "Where each second goes", "Date": None, "Creator": "vad-harness"},
        )
    return buffer.getvalue()
