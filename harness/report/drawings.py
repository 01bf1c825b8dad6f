"""The pipeline with the numbers of configs/, the radar, and the settings that were searched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.papers.model import Judgement
from harness.papers.published import FOUR
from harness.papers.ranking import Line, Residual
from harness.papers.sources import Cell as SourceCell
from harness.papers.sources import SourceNumber
from harness.report import style
from harness.report.bars import MARKER, count_of_datasets, published_label
from harness.report.overlays import OPACITY, blend, jet, unit_interval
from harness.report.style import Sheet, new_figure, new_sheet
from harness.report.words import Judged, ProtocolFacts, absence, model_name, protocol_facts

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 3.55
_LINE = 0.118
"""Inches from one line of small text to the next."""


def pipeline_figure(judged: Judged) -> Sheet:
    """Draw two lanes, training and inference, through the same preprocessing, backbone and embedding."""
    facts = protocol_facts(judged.published, judged.edition)
    sheet = new_sheet(judged.edition, "PaDiM: from images to anomaly maps", _HEIGHT)
    axes = sheet.axes(0, 0, style.WIDTH, _HEIGHT)
    axes.set_axis_off()
    axes.set_xlim(0, style.WIDTH)
    axes.set_ylim(0, _HEIGHT)
    _lane(axes, 1.87, 1.3, "Training", ("#E8F1F8", style.BLUE))
    _lane(axes, 0.12, 1.65, "Inference", ("#FDF3E1", style.ORANGE))
    _draw_images(axes)
    _draw_shared(axes, facts)
    _draw_statistics(axes, facts)
    _draw_maps(axes, facts)
    return sheet


def _lane(axes: Axes, bottom: float, height: float, name: str, colours: tuple[str, str]) -> None:
    """Draw a band across the sheet in the first colour, with a stripe of the second at its left."""
    from matplotlib.patches import FancyBboxPatch

    for width, colour in zip((style.WIDTH - 0.24, 0.04), colours, strict=True):
        place: dict[str, Any] = {"xy": (0.12, bottom), "width": width, "height": height}
        axes.add_patch(FancyBboxPatch(**place, boxstyle="square,pad=0", facecolor=colour, linewidth=0))
    axes.text(0.25, bottom + height - 0.08, name, fontsize=7.6, weight="bold", va="top")


def _box(axes: Axes, place: tuple[float, float, float, float], title: str, lines: Sequence[str], edge: str) -> None:
    """Draw a rounded box at (left, bottom, width, height): a bold title at its top, text lines centred in the rest."""
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = place
    look: dict[str, Any] = {"facecolor": "white", "edgecolor": edge, "linewidth": 0.9}
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.05", **look))
    axes.text(x + width / 2, y + height - 0.07, title, fontsize=7, weight="bold", ha="center", va="top")
    _write(axes, x + width / 2, y + (height - 0.2) / 2, lines)


def _write(axes: Axes, x: float, y: float, lines: Sequence[str]) -> None:
    """Write centred lines around a height."""
    for number, line in enumerate(lines):
        at = y + ((len(lines) - 1) / 2 - number) * _LINE
        axes.text(x, at, line, fontsize=6.3, ha="center", va="center_baseline")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = style.MUTED) -> None:
    look = {"arrowstyle": "-|>,head_width=0.16,head_length=0.32", "color": colour, "linewidth": 1.0}
    axes.annotate("", end, start, arrowprops={**look, "shrinkA": 0, "shrinkB": 0})


def _part(side: int, defect: float) -> np.ndarray:
    """Draw a part, seen from above: a grey ring on white, with a dark spot. (side, side, 3) uint8."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1) * 2 - 1

    def disc(edge: float) -> np.ndarray:
        return 1 / (1 + np.exp((np.hypot(x, y) - edge) * 40))

    shade = 245 - 95 * disc(0.78) + 70 * disc(0.5) - 40 * disc(0.2)
    spot = defect * np.exp(-((x - 0.42) ** 2 + (y + 0.42) ** 2) / 0.018)
    return np.repeat(np.clip(shade * (1 - spot), 0, 255)[..., None], 3, axis=-1).astype(np.uint8)


def _spot_map(side: int) -> np.ndarray:
    """Make the anomaly map that the drawn part would give: (side, side) float64."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1) * 2 - 1
    spot = np.exp(-((x - 0.42) ** 2 + (y + 0.42) ** 2) / 0.07)
    return unit_interval(spot + 0.12 * np.cos(3 * x) * np.cos(2 * y + 1) - 0.1 * np.hypot(x, y))


def _picture(axes: Axes, image: np.ndarray, corner: tuple[float, float], side: float, level: int = 2) -> None:
    x, y = corner
    axes.imshow(image, extent=(x, x + side, y, y + side), interpolation="nearest", aspect="auto", zorder=level)
    axes.plot(
        [x, x + side, x + side, x, x], [y, y, y + side, y + side, y], color=style.MUTED, linewidth=0.5, zorder=level
    )


def _draw_images(axes: Axes) -> None:
    normal, defective = _part(96, 0), _part(96, 0.95)
    for level, step in enumerate((2, 1, 0)):
        _picture(axes, normal, (0.28 + 0.06 * step, 2.2 + 0.06 * step), 0.5, 2 + level)
    for y, words in ((2.14, "normal images"), (2.03, "only")):
        axes.text(0.59, y, words, fontsize=6.3, ha="center", va="top")
    _picture(axes, defective, (0.34, 0.68), 0.5)
    axes.text(0.59, 0.62, "test image", fontsize=6.3, ha="center", va="top")
    for y in (2.45, 0.93):
        _arrow(axes, (0.95, y), (1.12, y))


def _draw_shared(axes: Axes, facts: ProtocolFacts) -> None:
    bottom, height = 0.4, 2.5
    middle = bottom + height / 2
    small, *others = facts.backbones
    lines = [
        "resize to", facts.resize, "bilinear", "", "centre crop to", facts.input_size, "",
        "ImageNet mean", "and deviation", "",
        f"batches of {facts.settings['preprocessing.batch_size']},", "no augmentation",
    ]  # fmt: skip
    _box(axes, (1.14, bottom, 1.02, height), "Preprocessing", lines, style.GREEN)
    _box(axes, (2.36, bottom, 1.2, height), "Frozen backbone", [], style.GREEN)
    _write(axes, 2.96, 2.4, [small.name, *(f"or {one.name}" for one in others), "ImageNet-1K weights"])
    _draw_layers(axes, 2.5, 1.28)
    _write(axes, 2.96, 0.85, ["three layers on grids of", ", ".join(f"{side}×{side}" for side in small.grids)])
    lines = [
        "upsample to", f"{facts.grid}×{facts.grid} (nearest)", "", "concatenate", "",
        f"keep {small.n_kept} of {small.n_channels},", *(f"or {one.n_kept} of {one.n_channels}," for one in others),
        "channels that the", "seed draws once", "", "a vector x at each", f"of {facts.grid**2} locations",
    ]  # fmt: skip
    _box(axes, (3.76, bottom, 1.12, height), "Patch embedding", lines, style.GREEN)
    for x in (2.16, 3.56):
        _arrow(axes, (x, middle), (x + 0.19, middle))


def _draw_layers(axes: Axes, x: float, y: float) -> None:
    """Draw three stacks, each with half the cells along a side and more channels."""
    from matplotlib.patches import Polygon, Rectangle

    depth = 0.06
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.4}
    stacks = ((0.0, 0.56, 0.1, style.SKY), (0.3, 0.38, 0.16, "#3E9BD0"), (0.58, 0.24, 0.24, style.BLUE))
    for offset, side, thick, shade in stacks:
        left, low = x + offset, y + (0.6 - side) / 2
        right, top = left + thick, low + side
        front, lid_end = (left + depth, top + depth), (right + depth, top + depth)
        axes.add_patch(Rectangle((left, low), thick, side, facecolor=shade, **edge))
        axes.add_patch(Polygon([(left, top), front, lid_end, (right, top)], facecolor=shade, alpha=0.6, **edge))
        flank = [(right, low), (right + depth, low + depth), lid_end, (right, top)]
        axes.add_patch(Polygon(flank, facecolor=shade, alpha=0.8, **edge))


def _draw_statistics(axes: Axes, facts: ProtocolFacts) -> None:
    from matplotlib.patches import Ellipse

    epsilon = f"over all normal images, ε = {facts.settings['model.epsilon']:g}"
    lines = ["mean μᵢⱼ, covariance Σᵢⱼ + εI", epsilon, "", ""]
    _box(axes, (5.1, 2.06, 1.92, 0.88), "One Gaussian per location", lines, style.BLUE)
    ring: dict[str, Any] = {"angle": 18, "facecolor": "none", "edgecolor": style.BLUE, "linewidth": 0.8}
    for scale in (0.46, 0.3, 0.14):
        axes.add_patch(Ellipse((6.06, 2.21), scale, scale * 0.4, **ring))
    _arrow(axes, (4.88, 2.5), (5.09, 2.5))
    lines = ["√[(x − μᵢⱼ)ᵀ (Σᵢⱼ + εI)⁻¹ (x − μᵢⱼ)]"]
    _box(axes, (5.1, 1.18, 1.92, 0.48), "Mahalanobis distance M(i, j)", lines, style.ORANGE)
    _arrow(axes, (4.88, 1.42), (5.09, 1.42))
    _arrow(axes, (6.06, 2.06), (6.06, 1.67), style.BLUE)


def _draw_maps(axes: Axes, facts: ProtocolFacts) -> None:
    """Draw what leads from the distances to the overlay, below them."""
    heatmap = jet(_spot_map(96))
    smoothing = f"blur σ = {facts.settings['model.blur_sigma']}" if facts.settings["model.blur_sigma"] else "no blur"
    axes.text(5.12, 0.95, "Anomaly map", fontsize=7, weight="bold", va="top")
    lines = (f"at {facts.input_size},", f"{smoothing};", "its maximum is", "the score")
    for number, line in enumerate(lines):
        axes.text(5.12, 0.79 - _LINE * number, line, fontsize=6.3, va="top")
    _arrow(axes, (6.16, 1.18), (6.16, 0.93))
    _picture(axes, heatmap, (5.93, 0.42), 0.48)
    _arrow(axes, (6.41, 0.66), (6.55, 0.66))
    _picture(axes, blend(_part(96, 0.95), heatmap), (6.56, 0.42), 0.48)
    for x, words in ((6.17, ("min-max,", "Jet")), (6.8, ("overlay", f"at {OPACITY:g}"))):
        for number, line in enumerate(words):
            axes.text(x, 0.38 - 0.1 * number, line, fontsize=6, ha="center", va="top")


def radar_figure(table: int, judged: Judged) -> Sheet:
    """Draw each dataset's means on four axes, 0 at the centre, 1 at the rim; published profiles dashed."""
    from matplotlib.lines import Line2D

    columns = {name: column for column, name in judged.published.columns.items()}
    rows = judged.published.table(table).names
    places = [judged.published.places(table, row)[0] for row in rows]
    method = f"{model_name(judged.published, table)} ({judged.backbone(places[0].backbone)})"
    sheet = new_sheet(judged.edition, f"{method}, {count_of_datasets(len(rows))}", height=3.75, width=4.9)
    axes = sheet.axes(0.2, 0.72, 4.5, 2.7)
    _draw_web(axes)
    handles: list[Artist] = []
    datasets = [place.dataset for place in places]
    for row, dataset, colour in zip(rows, datasets, style.pick_colours(style.DATASET_COLOURS, datasets), strict=True):
        cells = [judged.cells[table, row, columns[metric]] for metric in FOUR]
        _draw_profile(axes, cells, colour)
        absent = next(filter(None, map(absence, cells)), "")
        label = f"{judged.dataset(dataset)}: {absent}" if absent else judged.dataset(dataset)
        width = 0 if absent else 1.6
        handles.append(Line2D([], [], color=colour, label=label, marker="o", markersize=4, linewidth=width))
    dashed: dict[str, Any] = {"linestyle": (0, (3, 2)), "linewidth": 1.0, "marker": "D", "markersize": 3}
    published = published_label(judged)
    handles.append(Line2D([], [], color=style.BLACK, label=published, markerfacecolor="white", **dashed))
    sheet.legend(handles, 0.6, 2)
    return sheet


def _point(axis: int, radius: float) -> tuple[float, float]:
    """Return the point on an axis at a radius; the axes follow one another clockwise from the top."""
    angle = math.pi / 2 - axis * math.pi / 2
    return radius * math.cos(angle), radius * math.sin(angle)


def _draw_web(axes: Axes) -> None:
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.9, 1.9)
    axes.set_ylim(-1.16, 1.16)
    paper = {"boxstyle": "square,pad=0.08", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
    small: dict[str, Any] = {"fontsize": 6, "color": style.MUTED, "ha": "center", "va": "center"}
    for level in (0.2, 0.4, 0.6, 0.8, 1.0):
        corners = [_point(axis, level) for axis in range(5)]
        colour, width = (style.MUTED, 0.9) if level == 1 else (style.RULE, 0.5)
        axes.plot(*zip(*corners, strict=True), color=colour, linewidth=width)
        axes.text(-level / 2, -level / 2, f"{level:.1f}", zorder=5, bbox=paper, **small)
    for axis in range(4):
        axes.plot(*zip((0, 0), _point(axis, 1), strict=True), color=style.RULE, linewidth=0.5)
    names = ("Image AUROC", "Image F1", "Pixel AUROC", "Pixel F1")
    anchors = (("center", "bottom"), ("left", "center"), ("center", "top"), ("right", "center"))
    for axis, (name, (across, up)) in enumerate(zip(names, anchors, strict=True)):
        axes.text(*_point(axis, 1.05), name, ha=across, va=up, fontsize=7.5, weight="bold")


def _draw_profile(axes: Axes, cells: Sequence[Judgement], colour: str) -> None:
    printed = [_point(axis, float(one.cell.printed)) for axis, one in enumerate(cells)]
    axes.plot(*zip(*printed, printed[0], strict=True), color=colour, linewidth=1.0, linestyle=(0, (3, 2)))
    axes.plot(*zip(*printed, strict=True), **(MARKER | {"markersize": 3, "markeredgecolor": colour}))
    values = [(axis, one.measured.declared) for axis, one in enumerate(cells)]
    found = [_point(axis, value) for axis, value in values if value is not None]
    if len(found) == len(cells):
        closed = list(zip(*found, found[0], strict=True))
        axes.fill(*closed, color=colour, alpha=0.07, linewidth=0)
        axes.plot(*closed, color=colour, linewidth=1.6)
    if found:
        axes.plot(*zip(*found, strict=True), marker="o", markersize=4, linestyle="none", color=colour)


def settings_figure(fitted: Sequence[Line], rows: Sequence[Residual], labels: tuple[str, str]) -> Figure:
    """Draw one metric over another: a colour and a line for each preprocessing, marks for the paper.

    `labels` are the x axis's and the y axis's.

    Every run is a point; lines are dotted where they are extrapolated to reach a published row.
    """
    colours = (style.GREEN, style.PURPLE, style.ORANGE, style.SKY, style.OURS, style.BLUE)
    published = {(each.table, each.row): (each.x, each.y) for each in rows}
    targets = [x for x, _ in published.values()]
    figure = new_figure(4.2)
    axes = figure.add_axes((0.08, 0.11, 0.52, 0.86))
    for index, line in enumerate(fitted):
        colour = colours[index % len(colours)]
        x, y = zip(*line.points, strict=True)
        label = f"{line.preprocessing} ({len(x)} runs)"
        axes.scatter(x, y, s=7, color=colour, alpha=0.45, linewidths=0)
        inside = (min(x), max(x))
        axes.plot(inside, [line.predict(each)[0] for each in inside], color=colour, linewidth=1.3, label=label)
        for end, beyond in ((min(x), min(targets)), (max(x), max(targets))):
            if not line.reaches(beyond):
                axes.plot((end, beyond), [line.predict(each)[0] for each in (end, beyond)], ":", color=colour)
    for mark, ((table, row), place) in zip(cycle("*sD"), published.items(), strict=False):
        name = row.split(" (")[0].split(",")[0]
        axes.plot(*place, mark, color=style.BLACK, markersize=8 if mark == "*" else 5, zorder=5)
        axes.annotate(
            f"Table {table}, {name}",
            place,
            xytext=(7, -3),
            textcoords="offset points",
            ha="left",
            color=style.INK,
        )
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.grid(True, axis="both")
    figure.legend(*axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.605, 0.97))
    return figure


def forest_figure(cells: Mapping[SourceCell, Sequence[SourceNumber]]) -> Figure:
    """Draw published numbers beside ours: a panel for each cell, a row for each number, grouped by protocol.

    A line is the 95 % prediction interval of one more seed with that row's protocol. The dot is the mean over the
    seeds, the diamond the published number.
    """
    rows = [len(numbers) for numbers in cells.values()]
    heights = [0.62 + 0.24 * n for n in rows]
    figure = new_figure(sum(heights) + 0.1)
    top = sum(heights)
    for (cell, numbers), height in zip(cells.items(), heights, strict=True):
        top -= height
        axes = figure.add_axes((0.36, (top + 0.42) / sum(heights), 0.6, (height - 0.66) / sum(heights)))
        ordered = sorted(numbers, key=lambda one: (one.source.about.protocol, one.source.id))
        for y, one in enumerate(reversed(ordered)):
            prediction = one.judgement.prediction
            if prediction is not None:
                axes.plot((prediction.low, prediction.high), (y, y), color=style.BLUE, linewidth=1.6)
                axes.plot(prediction.mean, y, "o", color=style.BLUE, markersize=4)
            axes.plot(float(one.judgement.cell.printed), y, **MARKER)
        names = [f"{one.source.id} ({one.source.about.protocol})" for one in reversed(ordered)]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        place = cell.place
        axes.set_title(f"{cell.metric}: {place.dataset}/{place.category}, {place.model}, {place.backbone}", loc="left")
        axes.grid(visible=True, axis="x")
    return figure
