"""Figures 2, 3 and 5 to 8: bars with whiskers, published values as markers, a labelled slot where there is no run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.paper.model import PAPER_METRICS, Judgement
from harness.paper.published import load_parameters
from harness.report.style import (
    BACKBONE_COLOURS,
    DATASET_COLOURS,
    EMPTY,
    IMAGE_LEVEL,
    INK,
    MUTED,
    OURS,
    PIXEL_LEVEL,
    THEIRS,
    Sheet,
    ink_on,
    new_sheet,
    write_notes,
)
from harness.report.words import Judged, Spread, absence, choose_spread, spread, spread_words

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

CHANCE = 0.5
"""AUROC of a guess: the floor of an AUROC axis, so that a bar's length is what lies above chance."""

MARKER: dict[str, Any] = {
    "marker": "D", "markersize": 4.2, "markerfacecolor": "white", "markeredgecolor": INK, "markeredgewidth": 0.9,
    "linestyle": "none", "zorder": 4, "clip_on": False,
}  # fmt: skip
"""Of a published value."""

EMPTY_SLOT: dict[str, Any] = {"facecolor": EMPTY, "edgecolor": MUTED, "linewidth": 0.8, "linestyle": (0, (3, 2))}


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
    width = 0.84 / len(series)
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
        _draw_whisker(axes, x - 0.2 * slot.width, bar.whisker)
    if bar.published is not None:
        axes.plot(x + (0.2 * slot.width if bar.value is not None else 0), bar.published, **MARKER)


def _write_value(axes: Axes, slot: _Slot, bar: Bar, colour: str) -> None:
    """At the bar's foot, clear of whisker and marker; above all three where the bar is too short to hold it."""
    text = f"{bar.value:.4f}"
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 6.3}
    if min(_numbers(bar)) - slot.floor > 0.12 * slot.height:
        axes.text(slot.x, slot.floor + 0.02 * slot.height, text, color=ink_on(colour), **style)
    else:
        above = max(_numbers(bar)) + 0.035 * slot.height
        axes.text(slot.x, min(above, slot.floor + 0.92 * slot.height), text, color=INK, **style)


def _draw_whisker(axes: Axes, at: float, span: tuple[float, float], *, horizontal: bool = False) -> None:
    """A capped line from the lowest to the highest value, with a white rim that keeps it visible on dark bars."""
    low, high = span
    middle = (low + high) / 2
    error = [[middle - low], [high - middle]]
    for colour, line, cap in (("white", 2.0, 3.0), (INK, 0.9, 2.4)):
        style: dict[str, Any] = {"ecolor": colour, "elinewidth": line, "capsize": cap, "capthick": line}
        style |= {"fmt": "none", "zorder": 3, "clip_on": False}
        if horizontal:
            axes.errorbar(middle, at, xerr=error, **style)
        else:
            axes.errorbar(at, middle, yerr=error, **style)


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
        handles.append(_whisker_handle(whisker))
    if any(bar.published is not None for bar in bars):
        handles.append(Line2D([], [], **(MARKER | {"clip_on": True}), label=published))
    if any(bar.value is None for bar in bars):
        handles.append(Patch(**EMPTY_SLOT, label="no value"))
    return handles


def _whisker_handle(label: str) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, linewidth=0.9, marker="|", markersize=5, label=label)


_LONG = {"Img AUROC": "Image AUROC", "Img F1": "Image F1", "Pix AUROC": "Pixel AUROC", "Pix F1": "Pixel F1"}


def categories_figure(table: int, judged: Judged) -> Sheet:
    """Figures 2, 5 and 6: a dataset's categories at image and pixel level; panel (a) AUROC, panel (b) F1."""
    layout, cells = judged.published.table(table), judged.cells
    rows = [row for row in layout.rows if len(layout.places[row]) == 1]
    place = layout.places[rows[0]][0]
    shown = [cells[table, row, column] for row in rows for column in PAPER_METRICS]
    kind = choose_spread(shown)
    heading = f"PaDiM ({judged.backbone(place.backbone)}) on {judged.dataset(place.dataset)}"
    sheet = new_sheet(judged.edition, heading, height=2.95)
    everything: list[Series] = []
    for left, letter, metric in ((0.5, "a", "AUROC"), (4.1, "b", "F1")):
        series = [
            Series(f"{level} level", colour, tuple(_bar(cells[table, row, f"{short} {metric}"], kind) for row in rows))
            for level, short, colour in (("Image", "Img", IMAGE_LEVEL), ("Pixel", "Pix", PIXEL_LEVEL))
        ]
        axes = sheet.axes(left, 0.66, 2.98, 1.82)
        floor = floor_of(series) if metric == "AUROC" else 0.0
        draw_bars(axes, rows, series, floor=floor)
        axes.set_title(f"({letter}) {metric} by category", pad=7)
        axes.set_ylabel(f"{metric}, from chance (0.5)" if floor else metric)
        everything += series
    _finish(sheet, everything, shown, judged, labels=2)
    return sheet


def backbones_figure(judged: Judged) -> Sheet:
    """Figure 3: two backbones on one category; panel (a) four metrics, panel (b) parameters up to the third layer."""
    layout, cells = judged.published.table(2), judged.cells
    shown = [cells[2, row, column] for row in layout.rows for column in PAPER_METRICS]
    kind = choose_spread(shown)
    backbones = [layout.places[row][0].backbone for row in layout.rows]
    category = f"{judged.dataset('mvtec')}, {layout.places[layout.rows[0]][0].category}"
    sheet = new_sheet(judged.edition, f"Two backbones on {category}", height=2.95)
    series = [
        Series(
            judged.backbone(name),
            BACKBONE_COLOURS[name],
            tuple(_bar(cells[2, row, column], kind) for column in PAPER_METRICS),
        )
        for name, row in zip(backbones, layout.rows, strict=True)
    ]
    axes = sheet.axes(0.5, 0.66, 4.55, 1.82)
    draw_bars(axes, list(_LONG.values()), series)
    axes.set_title("(a) Metrics", pad=7)
    axes.set_ylabel("AUROC or F1")
    _draw_parameters(sheet, backbones, judged)
    _finish(sheet, series, shown, judged, labels=2)
    return sheet


def _draw_parameters(sheet: Sheet, backbones: Sequence[str], judged: Judged) -> None:
    counts = [load_parameters()[judged.edition.backbones[name]] / 1e6 for name in backbones]
    axes = sheet.axes(5.7, 0.66, 1.38, 1.82)
    axes.bar(range(len(counts)), counts, 0.62, color=[BACKBONE_COLOURS[name] for name in backbones])
    for x, count in enumerate(counts):
        axes.text(x, count + max(counts) * 0.02, f"{count:.1f} M", ha="center", va="bottom", fontsize=6.8)
    axes.set_xlim(-0.6, len(counts) - 0.4)
    axes.set_ylim(0, max(counts) * 1.16)
    axes.set_xticks([])
    axes.set_xlabel(f"ratio {max(counts) / min(counts):.1f}", color=MUTED)
    axes.set_title("(b) Parameters", pad=7)
    axes.set_ylabel("millions, up to layer 3")


def datasets_figure(judged: Judged) -> Sheet:
    """Figure 7: means over each dataset's categories, by metric."""
    layout, cells = judged.published.table(5), judged.cells
    shown = [cells[5, row, column] for row in layout.rows for column in PAPER_METRICS]
    kind = choose_spread(shown)
    heading = f"PaDiM ({judged.backbone()}): means over the categories of three datasets"
    sheet = new_sheet(judged.edition, heading, height=2.95)
    series = []
    for row in layout.rows:
        places = layout.places[row]
        bars = tuple(_bar(cells[5, row, column], kind) for column in PAPER_METRICS)
        name = f"{judged.dataset(places[0].dataset)} ({len(places)})"
        series.append(Series(name, DATASET_COLOURS[places[0].dataset], bars))
    axes = sheet.axes(0.5, 0.66, 6.58, 1.94)
    draw_bars(axes, list(_LONG.values()), series)
    axes.set_ylabel("mean AUROC or F1")
    _finish(sheet, series, shown, judged, labels=3)
    return sheet


def _bar(judgement: Judgement, kind: Spread) -> Bar:
    published = float(judgement.cell.printed)
    return Bar(judgement.measured.declared, spread(judgement, kind), published, absence(judgement))


def published_label(judged: Judged) -> str:
    """The words beside the marker."""
    return "published, on photographs" if judged.edition.synthetic else "published"


def _finish(sheet: Sheet, series: Sequence[Series], shown: Sequence[Judgement], judged: Judged, *, labels: int) -> None:
    """Add the legend and the note; the first `labels` series are named."""
    handles = legend_handles(series, str(choose_spread(shown)), published_label(judged))
    named = handles[:labels] + handles[len(series) :]
    sheet.legend(named, 0.44, len(named))
    write_notes(sheet, [spread_words(shown)], 0.16)


def methods_figure(judged: Judged) -> Sheet:
    """Figure 8: image AUROC and pixel AUROC of the literature's methods (blue) and of ours (red), horizontal bars."""
    layout, cells = judged.published.table(6), judged.cells
    ours = [cells[6, row, column] for row in layout.rows for column in layout.value_columns if layout.places[row]]
    kind = choose_spread(ours)
    sheet = new_sheet(judged.edition, "PaDiM beside published methods on MVTec AD", height=3.4)
    floor = 0.0 if any((one.measured.declared or 1) < CHANCE for one in ours) else CHANCE
    names = [judged.row_name(6, row) for row in layout.rows]
    panels = ((2.3, "(a) Image-level AUROC", "Img AUROC"), (4.86, "(b) Pixel-level AUROC", "Pix AUROC"))
    for left, title, column in panels:
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
    sheet.legend(_methods_legend(ours, kind, judged), 0.6, 2)
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
        _draw_whisker(axes, y - 0.17, whisker, horizontal=True)
    axes.plot(printed, y + (0.17 if value is not None else 0), **MARKER)


def _methods_legend(ours: Sequence[Judgement], kind: Spread, judged: Judged) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    label = "drawn images" if judged.edition.synthetic else "this store"
    handles: list[Artist] = [Patch(facecolor=OURS, label=f"PaDiM ({label})")]
    handles.append(Patch(facecolor=THEIRS, label="published baselines"))
    if any(spread(one, kind) for one in ours):
        handles.append(_whisker_handle(str(kind)))
    handles.append(Line2D([], [], **(MARKER | {"clip_on": True}), label=f"PaDiM, {published_label(judged)}"))
    return handles
