"""Figures 8 and 9: PaDiM beside published methods (ours red, theirs blue), and the radar over the four metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.paper.model import PAPER_METRICS, Edition, Judgement
from harness.paper.published import Published
from harness.report.cells import Spread, absence, by_name, choose_spread, spread
from harness.report.facts import BACKBONE_NAMES, DATASET_NAMES
from harness.report.figures_bars import CHANCE, EMPTY_SLOT, MARKER, draw_published, draw_whisker
from harness.report.figures_frame import Sheet, new_sheet, write_notes
from harness.report.figures_results import published_label
from harness.report.names import row_name
from harness.report.style import (
    BLACK,
    DATASET_COLOURS,
    INK,
    MUTED,
    OURS,
    RULE,
    THEIRS,
    WIDTH,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_METRICS = tuple(PAPER_METRICS)


def methods_figure(judgements: Sequence[Judgement], published: Published, edition: Edition) -> Sheet:
    """Figure 8: image AUROC and pixel AUROC of the literature's methods and of ours, two panels of horizontal bars."""
    layout = published.table(6)
    cells = by_name(judgements)
    ours = [cells[6, row, column] for row in layout.rows for column in layout.value_columns if layout.places[row]]
    kind = choose_spread(ours)
    sheet = new_sheet(edition, "PaDiM beside published methods on MVTec AD", height=3.4, width=WIDTH)
    floor = 0.0 if any((one.measured.declared or 1) < CHANCE for one in ours) else CHANCE
    names = [row_name(published, 6, row, edition) for row in layout.rows]
    for left, title, column in (
        (2.3, "(a) Image-level AUROC", "Img AUROC"),
        (4.86, "(b) Pixel-level AUROC", "Pix AUROC"),
    ):
        axes = sheet.axes(left, 0.86, 2.2, 2.08)
        for position, row in enumerate(layout.rows):
            _draw_method(axes, position, cells[6, row, column], kind, floor)
        axes.set_title(title, pad=5)
        axes.set_xlim(floor, 1.0)
        axes.set_ylim(len(layout.rows) - 0.45, -0.55)
        axes.set_yticks(range(len(names)), names if left < 3 else [""] * len(names))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.xaxis.set_major_formatter("{x:.1f}")
        for label, row in zip(axes.get_yticklabels(), layout.rows, strict=True):
            label.set_fontweight("bold" if layout.places[row] else "normal")
    sheet.legend(_methods_legend(ours, kind, edition), 0.6, 2)
    note = "Literature values are means over 15 categories, * a mean over 3."
    write_notes(sheet, [f"Axes begin at chance (0.5). {note}" if floor else note], 0.22)
    return sheet


def _draw_method(axes: Axes, y: int, judgement: Judgement, kind: Spread, floor: float) -> None:
    ours = bool(judgement.cell.places)
    printed = float(judgement.cell.printed)
    value = judgement.measured.declared if ours else printed
    if value is None:
        axes.barh(y, 1 - floor, 0.68, left=floor, **(EMPTY_SLOT | {"edgecolor": OURS}))
        axes.text(floor + 0.012, y, absence(judgement), va="center", fontsize=6.8, color=MUTED)
    else:
        axes.barh(y, value - floor, 0.68, left=floor, color=OURS if ours else THEIRS)
        text = f"{value:.4f}" if ours else judgement.cell.printed
        axes.text(floor + 0.012, y, text, va="center", fontsize=6.6, color="white" if value - floor > 0.1 else INK)
    if not ours:
        return
    whisker = spread(judgement, kind)
    if whisker is not None:
        draw_whisker(axes, y - 0.17, whisker, horizontal=True)
    draw_published(axes, printed, y + (0.17 if value is not None else 0))


def _methods_legend(ours: Sequence[Judgement], kind: Spread, edition: Edition) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    label = "drawn images" if edition.synthetic else "this store"
    handles: list[Artist] = [
        Patch(facecolor=OURS, label=f"PaDiM ({label})"),
        Patch(facecolor=THEIRS, label="published baselines"),
    ]
    if any(spread(one, kind) for one in ours):
        handles.append(Line2D([], [], color=INK, linewidth=0.9, marker="|", markersize=5, label=str(kind)))
    handles.append(Line2D([], [], **(MARKER | {"clip_on": True}), label=f"PaDiM, {published_label(edition)}"))
    return handles


@dataclass(frozen=True)
class _Profile:
    name: str
    colour: str
    measured: tuple[float | None, ...]
    published: tuple[float, ...]
    absent: str


def radar_figure(judgements: Sequence[Judgement], published: Published, edition: Edition) -> Sheet:
    """Figure 9: each dataset's means on four axes from 0 at the centre to 1 at the rim; published profiles dashed."""
    layout = published.table(5)
    cells = by_name(judgements)
    profiles = []
    for row in layout.rows:
        dataset = layout.places[row][0].dataset
        row_cells = [cells[5, row, column] for column in _METRICS]
        measured = tuple(one.measured.declared for one in row_cells)
        absent = next(filter(None, map(absence, row_cells)), "")
        name = DATASET_NAMES[edition.datasets[dataset]]
        printed = tuple(float(one.cell.printed) for one in row_cells)
        profiles.append(_Profile(name, DATASET_COLOURS[dataset], measured, printed, absent))
    backbone = BACKBONE_NAMES[edition.backbones["resnet18"]]
    sheet = new_sheet(edition, f"PaDiM ({backbone}), three datasets", height=3.75, width=4.9)
    axes = sheet.axes(0.2, 0.72, 4.5, 2.7)
    _draw_web(axes)
    for profile in profiles:
        _draw_profile(axes, profile)
    sheet.legend(_radar_legend(profiles, edition), 0.6, 2)
    return sheet


def _point(axis: int, radius: float) -> tuple[float, float]:
    """Axes clockwise from the top."""
    angle = math.pi / 2 - axis * math.pi / 2
    return radius * math.cos(angle), radius * math.sin(angle)


def _draw_web(axes: Axes) -> None:
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.9, 1.9)
    axes.set_ylim(-1.16, 1.16)
    for level in (0.2, 0.4, 0.6, 0.8, 1.0):
        corners = [_point(axis, level) for axis in range(5)]
        axes.plot(
            *zip(*corners, strict=True), color=MUTED if level == 1 else RULE, linewidth=0.9 if level == 1 else 0.5
        )
        paper = {"boxstyle": "square,pad=0.08", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        at = (-level / 2, -level / 2)
        axes.text(*at, f"{level:.1f}", fontsize=6, color=MUTED, ha="center", va="center", zorder=5, bbox=paper)
    for axis in range(4):
        axes.plot(*zip((0, 0), _point(axis, 1), strict=True), color=RULE, linewidth=0.5)
    names = ("Image AUROC", "Image F1", "Pixel AUROC", "Pixel F1")
    anchors = (("center", "bottom"), ("left", "center"), ("center", "top"), ("right", "center"))
    for axis, (name, (across, up)) in enumerate(zip(names, anchors, strict=True)):
        axes.text(*_point(axis, 1.05), name, ha=across, va=up, fontsize=7.5, weight="bold")


def _draw_profile(axes: Axes, profile: _Profile) -> None:
    printed = [_point(axis, value) for axis, value in enumerate(profile.published)]
    outline = list(zip(*[*printed, printed[0]], strict=True))
    axes.plot(*outline, color=profile.colour, linewidth=1.0, linestyle=(0, (3, 2)))
    axes.plot(*zip(*printed, strict=True), **(MARKER | {"markersize": 3, "markeredgecolor": profile.colour}))
    found = [_point(axis, value) for axis, value in enumerate(profile.measured) if value is not None]
    if len(found) == len(profile.measured):
        closed = list(zip(*[*found, found[0]], strict=True))
        axes.fill(*closed, color=profile.colour, alpha=0.07, linewidth=0)
        axes.plot(*closed, color=profile.colour, linewidth=1.6)
    if found:
        axes.plot(*zip(*found, strict=True), marker="o", markersize=4, linestyle="none", color=profile.colour)


def _radar_legend(profiles: Sequence[_Profile], edition: Edition) -> list[Artist]:
    from matplotlib.lines import Line2D

    handles: list[Artist] = []
    for profile in profiles:
        label = f"{profile.name}: {profile.absent}" if profile.absent else profile.name
        width = 0 if profile.absent else 1.6
        handles.append(Line2D([], [], color=profile.colour, marker="o", markersize=4, label=label, linewidth=width))
    dashed: dict[str, Any] = {
        "linestyle": (0, (3, 2)),
        "linewidth": 1.0,
        "marker": "D",
        "markersize": 3,
        "markerfacecolor": "white",
    }
    handles.append(Line2D([], [], color=BLACK, label=published_label(edition), **dashed))
    return handles
