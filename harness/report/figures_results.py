"""Figures 2, 3, 5, 6 and 7: bars of the paper's tables. Bars from the store, the published values as markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.paper.model import PAPER_METRICS, Edition, Judgement
from harness.paper.published import Published
from harness.report.cells import Spread, absence, by_name, choose_spread, spread, spread_words
from harness.report.facts import BACKBONE_NAMES, DATASET_NAMES
from harness.report.figures_bars import Bar, Series, draw_bars, floor_of, legend_handles
from harness.report.figures_frame import Sheet, new_sheet, write_notes
from harness.report.parameters import parameter_counts
from harness.report.style import (
    BACKBONE_COLOURS,
    DATASET_COLOURS,
    IMAGE_LEVEL,
    MUTED,
    PIXEL_LEVEL,
    WIDTH,
)

_LONG = {"Img AUROC": "Image AUROC", "Img F1": "Image F1", "Pix AUROC": "Pixel AUROC", "Pix F1": "Pixel F1"}
_METRICS = tuple(PAPER_METRICS)

_Cells = Mapping[tuple[int, str, str], Judgement]


def categories_figure(table: int, judgements: Sequence[Judgement], published: Published, edition: Edition) -> Sheet:
    """Figures 2, 5 and 6: a dataset's categories at image and pixel level; panel (a) AUROC, panel (b) F1."""
    layout = published.table(table)
    rows = [row for row in layout.rows if len(layout.places[row]) == 1]
    place = layout.places[rows[0]][0]
    cells = by_name(judgements)
    shown = [cells[table, row, column] for row in rows for column in _METRICS]
    kind = choose_spread(shown)
    backbone, dataset = edition.backbones[place.backbone], edition.datasets[place.dataset]
    heading = f"PaDiM ({BACKBONE_NAMES[backbone]}) on {DATASET_NAMES[dataset]}"
    sheet = new_sheet(edition, heading, height=2.95, width=WIDTH)
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
    _legend(sheet, everything, kind, edition, labels=2)
    write_notes(sheet, [spread_words(shown, kind)], 0.16)
    return sheet


def backbones_figure(judgements: Sequence[Judgement], published: Published, edition: Edition) -> Sheet:
    """Figure 3: two backbones on one category; panel (a) four metrics, panel (b) parameters up to the third layer."""
    layout = published.table(2)
    cells = by_name(judgements)
    shown = [cells[2, row, column] for row in layout.rows for column in _METRICS]
    kind = choose_spread(shown)
    backbones = [layout.places[row][0].backbone for row in layout.rows]
    category = f"{DATASET_NAMES[edition.datasets['mvtec']]}, {layout.places[layout.rows[0]][0].category}"
    sheet = new_sheet(edition, f"Two backbones on {category}", height=2.95, width=WIDTH)
    series = [
        Series(
            BACKBONE_NAMES[edition.backbones[name]],
            BACKBONE_COLOURS[name],
            tuple(_bar(cells[2, row, column], kind) for column in _METRICS),
        )
        for name, row in zip(backbones, layout.rows, strict=True)
    ]
    axes = sheet.axes(0.5, 0.66, 4.55, 1.82)
    draw_bars(axes, [_LONG[column] for column in _METRICS], series)
    axes.set_title("(a) Metrics", pad=7)
    axes.set_ylabel("AUROC or F1")
    _draw_parameters(sheet, backbones, edition)
    _legend(sheet, series, kind, edition, labels=2)
    write_notes(sheet, [spread_words(shown, kind)], 0.16)
    return sheet


def _draw_parameters(sheet: Sheet, backbones: Sequence[str], edition: Edition) -> None:
    counts = [parameter_counts()[edition.backbones[name]].parameters / 1e6 for name in backbones]
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


def datasets_figure(judgements: Sequence[Judgement], published: Published, edition: Edition) -> Sheet:
    """Figure 7: means over each dataset's categories, by metric."""
    layout = published.table(5)
    cells = by_name(judgements)
    shown = [cells[5, row, column] for row in layout.rows for column in _METRICS]
    kind = choose_spread(shown)
    backbone = BACKBONE_NAMES[edition.backbones["resnet18"]]
    sheet = new_sheet(edition, f"PaDiM ({backbone}): means over the categories of three datasets", 2.95, WIDTH)
    series = []
    for row in layout.rows:
        places = layout.places[row]
        bars = tuple(_bar(cells[5, row, column], kind) for column in _METRICS)
        name = DATASET_NAMES[edition.datasets[places[0].dataset]]
        series.append(Series(f"{name} ({len(places)})", DATASET_COLOURS[places[0].dataset], bars))
    axes = sheet.axes(0.5, 0.66, 6.58, 1.94)
    draw_bars(axes, [_LONG[column] for column in _METRICS], series)
    axes.set_ylabel("mean AUROC or F1")
    _legend(sheet, series, kind, edition, labels=3)
    write_notes(sheet, [spread_words(shown, kind)], 0.16)
    return sheet


def _bar(judgement: Judgement, kind: Spread) -> Bar:
    return Bar(
        value=judgement.measured.declared,
        whisker=spread(judgement, kind),
        published=float(judgement.cell.printed),
        absent=absence(judgement),
    )


def published_label(edition: Edition) -> str:
    """The words beside the marker."""
    return "published, on photographs" if edition.synthetic else "published"


def _legend(sheet: Sheet, series: Sequence[Series], kind: Spread, edition: Edition, *, labels: int) -> None:
    handles = legend_handles(series, str(kind), published_label(edition))
    named = handles[:labels] + handles[len(series) :]
    sheet.legend(named, 0.44, len(named))
