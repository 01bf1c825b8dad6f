"""Two normal and two defective images, each as image, score map and overlay; or why there are none.

Maps are shown min-max, in Jet, laid over the image at 0.45.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.catalog import CATALOG
from harness.errors import RequestError, StoreError
from harness.execution.examples import PER_LABEL
from harness.papers.model import Judgement
from harness.papers.published import FigureEntry
from harness.report.style import EMPTY, MUTED, WIDTH, Sheet, new_sheet, write_notes
from harness.report.words import Judged, absence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harness.store import Store

Limits = tuple[float, float]
"""(lowest, highest) score of a colour scale."""

OPACITY = 0.45
"""The weight of the heatmap in the overlay; the image has the rest."""


def unit_interval(scores: np.ndarray, limits: Limits | None = None) -> np.ndarray:
    """Scale finite scores of any shape to float64 in [0, 1], all 0 where the limits are equal.

    Args:
        limits: that become 0 and 1; None for the scores' own. Scores beyond them are clipped.
    """
    scores = np.asarray(scores, np.float64)
    low, high = (scores.min(), scores.max()) if limits is None else limits
    return np.zeros_like(scores) if low == high else np.clip((scores - low) / (high - low), 0.0, 1.0)


def jet(unit: np.ndarray) -> np.ndarray:
    """Colour (H, W) values in [0, 1] with matplotlib's Jet in 256 steps: (H, W, 3) uint8 RGB."""
    import matplotlib

    colours = matplotlib.colormaps["jet"].resampled(256)  # whatever the user's own matplotlibrc says
    return np.asarray(colours(np.asarray(unit, np.float64), bytes=True))[..., :3]


def blend(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Lay a heatmap over an image, all (H, W, 3) uint8 RGB: 0.55 x image + 0.45 x heatmap, rounded to the nearest."""
    mixed = (1 - OPACITY) * image.astype(np.float64) + OPACITY * heatmap.astype(np.float64)
    return np.rint(mixed).astype(np.uint8)


_SIDE = 1.12
"""Inches: 224 pixels at 200 dpi, so that a map's pixels are the PNG's."""
_LEFTS = tuple(0.24 + _SIDE * column + (0.02 * (column % 3)) + 0.14 * (column // 3) for column in range(6))
_BOTTOMS = (2.0, 0.66)
_OWN_ENDS = ("map's lowest score", "its highest")


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What there is to show of one run."""

    arrays: Mapping[str, np.ndarray] | None
    """Of the run's examples.npz, as `harness.execution.examples` makes them."""
    absent: str
    """Why there are none, in a few words; empty where there are."""
    key: str
    """Of the run; empty where there is none."""


def _cell_of(judged: Judged, figure: FigureEntry) -> Judgement:
    if figure.table is None or figure.row is None:
        raise RequestError(f"figures.toml, figure {figure.stem}: the kind {figure.kind} needs a table and a row")
    return judged.numbers(figure.table, [figure.row])[0]


def find_exhibit(judged: Judged, store: Store, figure: FigureEntry) -> Exhibit:
    """Find the examples of the run that fills the figure's row at the declared seed."""
    cell = _cell_of(judged, figure)
    runs = {one.key: one for one in judged.records if one.spec.seed == judged.edition.declared_seed}
    record = next((runs[key] for key in cell.measured.keys if key in runs), None)
    if record is None:
        return Exhibit(None, absence(cell) or "not run", "")
    try:
        arrays = store.examples(record)
    except StoreError:
        return Exhibit(None, "examples.npz\nis damaged", record.key)
    if arrays is None:
        return Exhibit(None, "no examples.npz\nbeside the record", record.key)
    if not (
        {"paths", "labels", "images", "anomaly_maps", "map_range"} <= set(arrays)
        and arrays["images"].shape == (*arrays["anomaly_maps"].shape, 3)
        and np.isfinite(arrays["anomaly_maps"]).all()
        and np.isfinite(arrays["map_range"]).all()
    ):
        return Exhibit(None, "examples.npz is\nof another kind", record.key)
    return Exhibit(arrays, "", record.key)


def overlays_figure(judged: Judged, exhibit: Exhibit, figure: FigureEntry, *, one_scale: bool) -> Sheet:
    """Draw a run's examples; a labelled slot for each image that is not there.

    Args:
        one_scale: colour every map between the lowest and the highest score of the whole category's test images,
            instead of each by its own minimum and maximum, which makes every normal image look defective.
    """
    sheet = _layout(judged, figure)
    arrays = exhibit.arrays
    low, high = map(float, arrays["map_range"]) if arrays is not None else (0.0, 0.0)
    limits = (low, high) if arrays is not None and one_scale else None
    for label in (0, 1):
        shown: list[int] = [] if arrays is None else np.flatnonzero(arrays["labels"] == label).tolist()
        for place in range(PER_LABEL):
            if arrays is None or place >= len(shown):
                _draw_empty(sheet, label, place, exhibit.absent or "no such image")
            else:
                _draw_example(sheet, (label, place), arrays, shown[place], limits)
    _draw_scale(sheet, (f"{low:.1f}", f"{high:.1f}") if limits else _OWN_ENDS, one_scale=one_scale)
    scale = (
        "Numbers: a map's lowest and highest." if limits else "Each map fills the whole scale, a normal image's too."
    )
    outline = " White outline: ground truth." if arrays is not None and "masks" in arrays else ""
    run = f" Run {exhibit.key}, seed {judged.edition.declared_seed}." if exhibit.key else ""
    overlaid = f"Overlay at {OPACITY:g}.{outline}{run}"
    write_notes(sheet, [overlaid] if arrays is None else [scale, overlaid], 0.35)
    return sheet


def placeholder_figure(judged: Judged, figure: FigureEntry, *, one_scale: bool) -> Sheet:
    """Draw the layout without images: pictures of a dataset with a licence of its own are not passed on."""
    sheet = _layout(judged, figure)
    for label in (0, 1):
        for place in range(PER_LABEL):
            _draw_empty(sheet, label, place, "")
    shown = _cell_of(judged, figure).cell.places[0]
    dataset = CATALOG[judged.edition.datasets[shown.dataset]]
    lines = (
        f"Pictures of {dataset.title} are not passed on with this repository.",
        f"Licence: {dataset.licence}.",
        f"Run the category {shown.category} on your own copy, then `make figures`:",
        "this figure is then drawn into figures/local/, in both colour scales.",
    )
    _draw_scale(sheet, ("lowest score", "highest") if one_scale else _OWN_ENDS, one_scale=one_scale)
    paper = {"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": MUTED, "linewidth": 0.6}
    middle: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.5, "zorder": 5}
    sheet.text(WIDTH / 2, 1.9, "\n".join(lines), fontsize=8, bbox=paper, **middle)
    return sheet


def _layout(judged: Judged, figure: FigureEntry) -> Sheet:
    place = _cell_of(judged, figure).cell.places[0]
    heading = f"Anomaly maps on {judged.dataset(place.dataset)}, {place.category} ({judged.backbone(place.backbone)})"
    sheet = new_sheet(judged.edition, heading, 3.66)
    for column, left in enumerate(_LEFTS):
        title = ("image", "score map", "overlay")[column % 3]
        sheet.text(left + _SIDE / 2, _BOTTOMS[0] + _SIDE + 0.05, title, ha="center", fontsize=7.2)
    for name, bottom in zip(("normal", "defective"), _BOTTOMS, strict=True):
        middle = bottom + _SIDE / 2
        sheet.text(0.13, middle, name, rotation=90, ha="center", va="center", fontsize=7.5, weight="bold")
    return sheet


def _panel(sheet: Sheet, label: int, place: int, column: int) -> Axes:
    axes = sheet.axes(_LEFTS[3 * place + column], _BOTTOMS[label], _SIDE, _SIDE)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _draw_empty(sheet: Sheet, label: int, place: int, text: str) -> None:
    for column in range(3):
        axes = _panel(sheet, label, place, column)
        axes.set_facecolor(EMPTY)
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=6.8, color=MUTED)


def _draw_example(
    sheet: Sheet, position: tuple[int, int], arrays: Mapping[str, np.ndarray], index: int, limits: Limits | None
) -> None:
    """Draw one image's three panels at (row, left or right)."""
    label, place = position
    scores = arrays["anomaly_maps"][index]
    image, heatmap = arrays["images"][index], jet(unit_interval(scores, limits))
    # The last two parts of the path name the kind of defect; cut to what fits under an image.
    name = "/".join(str(arrays["paths"][index]).split("/")[-2:])
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    under = (name if len(name) <= 24 else "…" + name[-23:], f"{scores.min():.1f} to {scores.max():.1f}", "")
    for column, picture in enumerate((image, heatmap, blend(image, heatmap))):
        axes = _panel(sheet, label, place, column)
        axes.imshow(picture, interpolation="none", aspect="auto")
        left = _LEFTS[3 * place + column] + _SIDE / 2
        sheet.text(left, _BOTTOMS[label] - 0.04, under[column], ha="center", va="top", fontsize=6.3, color=MUTED)
        if column == 1 and "masks" in arrays and arrays["masks"][index].any():
            axes.contour(arrays["masks"][index], levels=[0.5], colors="white", linewidths=0.8)


def _draw_scale(sheet: Sheet, ends: tuple[str, str], *, one_scale: bool) -> None:
    left, width = 4.6, 1.3
    axes = sheet.axes(left, 0.2, width, 0.11)
    axes.imshow(jet(np.linspace(0, 1, 256)[None]), interpolation="none", aspect="auto", extent=(0, 1, 0, 1))
    axes.set_axis_off()
    small: dict[str, Any] = {"fontsize": 6.5, "color": MUTED}
    sheet.text(left - 0.05, 0.255, ends[0], ha="right", va="center", **small)
    sheet.text(left + width + 0.05, 0.255, ends[1], ha="left", va="center", **small)
    meaning = "one scale for all test images" if one_scale else "each map on its own scale"
    sheet.text(left + width / 2, 0.33, meaning, ha="center", va="bottom", **small)
