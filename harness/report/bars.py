"""Bar charts: bars with whiskers, published values as markers, a labelled slot where there is no run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.metrics.registry import registered
from harness.papers.model import Judgement
from harness.papers.published import FOUR, FigureEntry
from harness.papers.reading import load_parameters
from harness.report import style
from harness.report.style import Sheet, ink_on, new_sheet, write_notes
from harness.report.words import (
    DATASET_NAMES,
    Judged,
    Whisker,
    absence,
    choose_whisker,
    model_name,
    whisker,
    whisker_words,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

CHANCE = 0.5
"""AUROC of a guess: the floor of an AUROC axis, so that a bar's length is what lies above chance."""

MARKER: dict[str, Any] = {
    "marker": "D", "markersize": 4.2, "markerfacecolor": "white", "markeredgecolor": style.INK, "markeredgewidth": 0.9,
    "linestyle": "none", "zorder": 4, "clip_on": False,
}  # fmt: skip
"""Of a published value."""

EMPTY_SLOT: dict[str, Any] = {
    "facecolor": style.EMPTY,
    "edgecolor": style.MUTED,
    "linewidth": 0.8,
    "linestyle": (0, (3, 2)),
}

_LONG = {
    "image_auroc": "Image AUROC", "image_f1_strict": "Image F1",
    "pixel_auroc": "Pixel AUROC", "pixel_f1_strict": "Pixel F1",
}  # fmt: skip
"""Metrics as axes name them."""


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

    @property
    def numbers(self) -> list[float]:
        """All that is drawn of it."""
        return [number for number in (self.value, self.published, *(self.whisker or ())) if number is not None]


@dataclass(frozen=True)
class Series:
    """Bars of one colour, one a group."""

    label: str
    colour: str
    bars: tuple[Bar, ...]


def floor_of(series: Iterable[Series], floor: float = CHANCE) -> float:
    """Find where an axis begins: at chance, but at 0 as soon as anything to be drawn lies below that."""
    return floor if all(number >= floor for one in series for bar in one.bars for number in bar.numbers) else 0.0


def draw_bars(axes: Axes, groups: Sequence[str], series: Sequence[Series], *, floor: float = 0.0) -> None:
    """Draw a bar of every series for each group, on an axis from `floor` to a little above 1."""
    height = 1.0 - floor
    width = 0.84 / len(series)
    for number, one in enumerate(series):
        offset = (number - (len(series) - 1) / 2) * width
        for group, bar in enumerate(one.bars):
            _draw_bar(axes, bar, one.colour, x=group + offset, width=width * 0.92, floor=floor)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.set_ylim(floor, floor + 1.03 * height)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([floor + i * height / 5 for i in range(6)])
    axes.yaxis.set_major_formatter("{x:.1f}")


def _draw_bar(axes: Axes, bar: Bar, colour: str, *, x: float, width: float, floor: float) -> None:
    """Draw one bar around x, in the axes' own units."""
    height = 1.0 - floor
    if bar.value is None:
        axes.bar(x, height, width, bottom=floor, **(EMPTY_SLOT | {"edgecolor": colour}))
        low = bar.published is not None and bar.published < floor + height / 2
        y = floor + height * (0.74 if low else 0.26)
        axes.text(x, y, bar.absent, rotation=90, ha="center", va="center", fontsize=6.8, color=style.MUTED)
    else:
        axes.bar(x, bar.value - floor, width, bottom=floor, color=colour, linewidth=0)
        # At the bar's foot, clear of whisker and marker; above all three where the bar is too short to hold it.
        y, ink = floor + 0.02 * height, ink_on(colour)
        if min(bar.numbers) - floor <= 0.12 * height:
            y, ink = min(max(bar.numbers) + 0.035 * height, floor + 0.92 * height), style.INK
        axes.text(x, y, f"{bar.value:.4f}", color=ink, ha="center", va="bottom", fontsize=6.3)
    if bar.whisker is not None:
        _draw_whisker(axes, x - 0.2 * width, bar.whisker)
    if bar.published is not None:
        axes.plot(x + (0.2 * width if bar.value is not None else 0), bar.published, **MARKER)


def _draw_whisker(axes: Axes, at: float, span: tuple[float, float], *, horizontal: bool = False) -> None:
    """Draw a capped line from the lowest to the highest value, with a white rim, which is visible on dark bars."""
    low, high = span
    middle = (low + high) / 2
    error = [[middle - low], [high - middle]]
    for colour, line, cap in (("white", 2.0, 3.0), (style.INK, 0.9, 2.4)):
        look: dict[str, Any] = {"ecolor": colour, "elinewidth": line, "capsize": cap, "capthick": line}
        look |= {"fmt": "none", "zorder": 3, "clip_on": False}
        if horizontal:
            axes.errorbar(middle, at, xerr=error, **look)
        else:
            axes.errorbar(at, middle, yerr=error, **look)


def _handles(parts: Sequence[tuple[str, str]], bars: Sequence[Bar], kind: Whisker, published: str) -> list[Artist]:
    """Make legend entries: (colour, label) of the bars first, then what else they use; nothing that does not occur."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [Patch(facecolor=colour, label=label) for colour, label in parts]
    if any(bar.whisker for bar in bars):
        handles.append(Line2D([], [], color=style.INK, linewidth=0.9, marker="|", markersize=5, label=str(kind)))
    if any(bar.published is not None for bar in bars):
        handles.append(Line2D([], [], **(MARKER | {"clip_on": True}), label=published))
    return handles


def published_label(judged: Judged) -> str:
    """Return the words beside the marker."""
    return "published, on photographs" if judged.edition.synthetic else "published"


def _bar(judgement: Judgement, kind: Whisker) -> Bar:
    published = float(judgement.cell.printed)
    return Bar(judgement.measured.declared, whisker(judgement, kind), published, absence(judgement))


def _finish(sheet: Sheet, series: Sequence[Series], shown: Sequence[Judgement], judged: Judged) -> None:
    """Add the legend, which names each colour once, and the note."""
    from matplotlib.patches import Patch

    bars = [bar for one in series for bar in one.bars]
    parts = list(dict.fromkeys((one.colour, one.label) for one in series))
    handles = _handles(parts, bars, choose_whisker(shown), published_label(judged))
    if any(bar.value is None for bar in bars):
        handles.append(Patch(**EMPTY_SLOT, label="no value"))
    sheet.legend(handles, 0.44, len(handles))
    write_notes(sheet, [whisker_words(shown, judged.edition)], 0.16)


def categories_figure(table: int, judged: Judged) -> Sheet:
    """Draw a dataset's categories at image and pixel level; panel (a) AUROC, panel (b) F1."""
    layout, columns = judged.published.table(table), {name: column for column, name in judged.published.columns.items()}
    places = judged.published.places
    rows = [row for row in layout.names if len(places(table, row)) == 1]
    place = places(table, rows[0])[0]
    shown = judged.numbers(table, rows)
    kind = choose_whisker(shown)
    model = model_name(judged.published, table)
    heading = f"{model} ({judged.backbone(place.backbone)}) on {judged.dataset(place.dataset)}"
    sheet = new_sheet(judged.edition, heading, height=2.95)
    everything: list[Series] = []
    for left, letter, metric, ending in ((0.5, "a", "AUROC", "auroc"), (4.1, "b", "F1", "f1_strict")):
        series = [
            Series(
                f"{level} level",
                colour,
                tuple(_bar(judged.cells[table, row, columns[f"{level.lower()}_{ending}"]], kind) for row in rows),
            )
            for level, colour in (("Image", style.IMAGE_LEVEL), ("Pixel", style.PIXEL_LEVEL))
        ]
        axes = sheet.axes(left, 0.66, 2.98, 1.82)
        floor = floor_of(series) if metric == "AUROC" else 0.0
        draw_bars(axes, rows, series, floor=floor)
        axes.set_title(f"({letter}) {metric} by category", pad=7)
        axes.set_ylabel(f"{metric}, from chance (0.5)" if floor else metric)
        everything += series
    _finish(sheet, everything, shown, judged)
    return sheet


def table_metrics(table: int, judged: Judged) -> dict[str, str]:
    """Return column -> metric of a table, in the paper's order."""
    there = judged.published.table(table).value_columns
    return {column: name for column, name in judged.published.metrics.items() if column in there}


def _name_metrics(axes: Axes, metrics: Iterable[str]) -> list[str]:
    """Label the axis of values; return the metrics as axes name them."""
    names = list(metrics)
    axes.set_ylabel("AUROC or F1" if set(names) <= set(FOUR) else "value")
    return [_LONG.get(name) or registered()[name].label for name in names]


def _row_series(table: int, judged: Judged, names: Sequence[tuple[str, str]]) -> tuple[list[Series], list[Judgement]]:
    """Make a series of all metrics for each row of a table, with its (label, colour); return the numbers, too."""
    rows = judged.published.table(table).names
    shown = judged.numbers(table, rows)
    kind = choose_whisker(shown)
    series = [
        Series(
            label,
            colour,
            tuple(_bar(judged.cells[table, row, column], kind) for column in table_metrics(table, judged)),
        )
        for row, (label, colour) in zip(rows, names, strict=True)
    ]
    return series, shown


def backbones_figure(table: int, judged: Judged) -> Sheet:
    """Draw two backbones on one category; (a) metrics, (b) parameters up to the last layer that is read."""
    places = [judged.published.places(table, row)[0] for row in judged.published.table(table).names]
    category = f"{judged.dataset(places[0].dataset)}, {places[0].category}"
    sheet = new_sheet(
        judged.edition, f"{'Two' if len(places) == 2 else len(places)} backbones on {category}", height=2.95
    )
    colours = style.pick_colours(style.BACKBONE_COLOURS, [place.backbone for place in places])
    backbones = [(judged.backbone(place.backbone), colour) for place, colour in zip(places, colours, strict=True)]
    series, shown = _row_series(table, judged, backbones)
    axes = sheet.axes(0.5, 0.66, 4.55, 1.82)
    draw_bars(axes, _name_metrics(axes, table_metrics(table, judged).values()), series)
    axes.set_title("(a) Metrics", pad=7)
    counts = [load_parameters()[judged.edition.backbones[place.backbone]] / 1e6 for place in places]
    _draw_parameters(sheet.axes(5.7, 0.66, 1.38, 1.82), counts, [colour for _, colour in backbones])
    _finish(sheet, series, shown, judged)
    return sheet


def _draw_parameters(axes: Axes, counts: Sequence[float], colours: Sequence[str]) -> None:
    axes.bar(range(len(counts)), counts, 0.62, color=colours)
    for x, count in enumerate(counts):
        axes.text(x, count + max(counts) * 0.02, f"{count:.1f} M", ha="center", va="bottom", fontsize=6.8)
    axes.set_xlim(-0.6, len(counts) - 0.4)
    axes.set_ylim(0, max(counts) * 1.16)
    axes.set_xticks([])
    axes.set_xlabel(f"ratio {max(counts) / min(counts):.1f}", color=style.MUTED)
    axes.set_title("(b) Parameters", pad=7)
    axes.set_ylabel("millions, up to layer 3")


def datasets_figure(table: int, judged: Judged) -> Sheet:
    """Draw means over each dataset's categories, by metric."""
    places = [judged.published.places(table, row) for row in judged.published.table(table).names]
    method = f"{model_name(judged.published, table)} ({judged.backbone(places[0][0].backbone)})"
    heading = f"{method}: means over the categories of {count_of_datasets(len(places))}"
    sheet = new_sheet(judged.edition, heading, height=2.95)
    colours = style.pick_colours(style.DATASET_COLOURS, [of[0].dataset for of in places])
    names = [(f"{judged.dataset(of[0].dataset)} ({len(of)})", one) for of, one in zip(places, colours, strict=True)]
    series, shown = _row_series(table, judged, names)
    axes = sheet.axes(0.5, 0.66, 6.58, 1.94)
    draw_bars(axes, _name_metrics(axes, table_metrics(table, judged).values()), series)
    axes.set_ylabel(f"mean {axes.get_ylabel()}")
    _finish(sheet, series, shown, judged)
    return sheet


def count_of_datasets(n: int) -> str:
    """Write how many datasets a figure has."""
    return {1: "one dataset", 2: "two datasets", 3: "three datasets"}.get(n, f"{n} datasets")


def methods_figure(figure: FigureEntry, table: int, judged: Judged) -> Sheet:
    """Draw image and pixel AUROC of the literature's methods (blue) and of ours (red), horizontal bars."""
    layout, cells = judged.published.table(table), judged.cells
    columns = {name: column for column, name in judged.published.columns.items()}
    is_ours = {row: bool(judged.published.places(table, row)) for row in layout.names}
    ours = judged.numbers(table, [row for row, own in is_ours.items() if own])
    kind = choose_whisker(ours)
    model = model_name(judged.published, table)
    dataset = DATASET_NAMES[ours[0].cell.places[0].dataset]
    sheet = new_sheet(judged.edition, f"{model} beside published methods on {dataset}", height=3.4)
    drawn = [cells[table, row, columns[metric]] for row in layout.names for metric in ("image_auroc", "pixel_auroc")]
    numbers = [float(one.cell.printed) for one in drawn] + [one.measured.declared for one in drawn]
    floor = 0.0 if any(number is not None and number < CHANCE for number in numbers) else CHANCE
    names = [judged.row_name(table, row) for row in layout.names]
    panels = ((2.3, "(a) Image-level AUROC", "image_auroc"), (4.86, "(b) Pixel-level AUROC", "pixel_auroc"))
    for left, title, metric in panels:
        axes = sheet.axes(left, 0.86, 2.2, 2.08)
        for position, row in enumerate(layout.names):
            _draw_method(axes, position, cells[table, row, columns[metric]], kind, floor)
        axes.set_title(title, pad=5)
        axes.set_xlim(floor, 1.0)
        axes.set_ylim(len(layout.rows) - 0.45, -0.55)
        axes.set_yticks(range(len(names)), names if left < 3 else [""] * len(names))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.xaxis.set_major_formatter("{x:.1f}")
        for label, row in zip(axes.get_yticklabels(), layout.names, strict=True):
            label.set_fontweight("bold" if is_ours[row] else "normal")
    store = "drawn images" if judged.edition.synthetic else "this store"
    parts = [(style.OURS, f"{model} ({store})"), (style.THEIRS, "published baselines")]
    bars = [_bar(one, kind) for one in ours]
    sheet.legend(_handles(parts, bars, kind, f"{model}, {published_label(judged)}"), 0.6, 2)
    write_notes(sheet, [" ".join(filter(None, ("Axes begin at chance (0.5)." if floor else "", figure.note)))], 0.22)
    return sheet


def _draw_method(axes: Axes, y: int, judgement: Judgement, kind: Whisker, floor: float) -> None:
    printed = float(judgement.cell.printed)
    if not judgement.cell.places:
        axes.barh(y, printed - floor, 0.68, left=floor, color=style.THEIRS)
        _write_method(axes, y, judgement.cell.printed, printed, floor)
        return
    bar = _bar(judgement, kind)
    if bar.value is None:
        axes.barh(y, 1 - floor, 0.68, left=floor, **(EMPTY_SLOT | {"edgecolor": style.OURS}))
        axes.text(floor + 0.012, y, bar.absent, va="center", fontsize=6.8, color=style.MUTED)
    else:
        axes.barh(y, bar.value - floor, 0.68, left=floor, color=style.OURS)
        _write_method(axes, y, f"{bar.value:.4f}", bar.value, floor)
    if bar.whisker is not None:
        _draw_whisker(axes, y - 0.17, bar.whisker, horizontal=True)
    axes.plot(printed, y + (0.17 if bar.value is not None else 0), **MARKER)


def _write_method(axes: Axes, y: int, text: str, value: float, floor: float) -> None:
    colour = "white" if value - floor > 0.1 else style.INK
    axes.text(floor + 0.012, y, text, va="center", fontsize=6.6, color=colour)
