"""Figures 1 to 9: what each is called, shows and says in its caption, and the files it is written to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.papers.model import Judgement
from harness.report.bars import backbones_figure, categories_figure, datasets_figure, methods_figure
from harness.report.drawings import pipeline_figure, radar_figure
from harness.report.output import LOCAL, write_output
from harness.report.overlays import OPACITY, Exhibit, overlays_figure, placeholder_figure
from harness.report.style import Sheet, drawing, save
from harness.report.tables import markdown_text
from harness.report.words import Judged, absence, spread_words

CAPTIONS = "captions.md"


@dataclass(frozen=True)
class Figure:
    """One of the paper's figures, or its second form."""

    number: int
    stem: str
    """File name without its ending."""
    draw: Callable[[Judged, Exhibit], Sheet]
    words: str
    """The title, with `{backbone}`, `{large}` and datasets for what the edition has in their place."""
    table: int | None = None
    """The table whose numbers it shows."""

    def title(self, judged: Judged) -> str:
        """Return the title on one line, without the number."""
        datasets = {name: judged.dataset(name) for name in judged.edition.datasets}
        return self.words.format(backbone=judged.backbone(), large=judged.backbone("wide_resnet50_2"), **datasets)


def _categories(number: int, stem: str, table: int, dataset: str) -> Figure:
    words = f"PaDiM ({{backbone}}) on {{{dataset}}}: (a) AUROC, (b) F1, at image and pixel level by category"
    return Figure(number, stem, lambda judged, _: categories_figure(table, judged), words, table)


def _overlays(stem: str, scale: str, *, one_scale: bool) -> Figure:
    def draw(judged: Judged, exhibit: Exhibit) -> Sheet:
        if not judged.edition.synthetic:
            return placeholder_figure(judged, one_scale=one_scale)
        return overlays_figure(judged, exhibit, one_scale=one_scale)

    return Figure(4, stem, draw, f"Anomaly maps on {{mvtec}}, bottle, Jet laid over the image at {OPACITY:g}: {scale}")


FIGURES: tuple[Figure, ...] = (
    Figure(
        1, "fig1_pipeline", lambda judged, _: pipeline_figure(judged),
        "The pipeline: PaDiM's training on normal images, and its inference on each test image",
    ),
    _categories(2, "fig2_mvtec", 1, "mvtec"),
    Figure(
        3, "fig3_backbones", lambda judged, _: backbones_figure(judged),
        "{backbone} and {large} on {mvtec}, bottle: (a) metrics, (b) parameters up to the third layer", 2,
    ),
    _overlays("fig4_overlays", "each map between its own minimum and maximum, as in the paper", one_scale=False),
    _overlays("fig4_overlays_one_scale", "one colour scale for all of the category's test images", one_scale=True),
    _categories(5, "fig5_visa", 3, "visa"),
    _categories(6, "fig6_btad", 4, "btad"),
    Figure(
        7, "fig7_datasets", lambda judged, _: datasets_figure(judged),
        "PaDiM ({backbone}): means over the categories of three datasets", 5,
    ),
    Figure(
        8, "fig8_methods", lambda judged, _: methods_figure(judged),
        "PaDiM (red) beside published methods (blue) on MVTec AD: (a) image AUROC, (b) pixel AUROC", 6,
    ),
    Figure(
        9, "fig9_radar", lambda judged, _: radar_figure(judged),
        "PaDiM ({backbone}): four metrics on three datasets, 0 at the centre and 1 at the rim", 5,
    ),
)  # fmt: skip


def caption(figure: Figure, judged: Judged) -> str:
    """Write a figure's caption: its number and title, what bars, whiskers and markers are, and what is missing."""
    parts = ["SYNTHETIC: the images are drawn by the harness."] if judged.edition.synthetic else []
    parts.append(f"Figure {figure.number}. {figure.title(judged)}.")
    if figure.number == 4 and not judged.edition.synthetic:
        parts.append(f"Pictures of real images are drawn into {LOCAL}/ only, beside this placeholder.")
    if figure.number == 9:
        parts.append("Solid: the store's means at seed 42. Dashed: published.")
    elif figure.table is not None:
        parts += [spread_words(_shown(figure, judged)), "Diamonds: published values."]
    named = [(judged.row_name(one.cell.table, one.cell.row), absence(one)) for one in _shown(figure, judged)]
    missing = dict.fromkeys(f"{name} ({why})" for name, why in named if why)
    parts += [f"No value: {', '.join(missing)}."] if missing else []
    return " ".join(parts)


def numbers(figure: Figure, judged: Judged) -> str:
    """Put every number in a figure into words, for those who cannot see it; empty for one without numbers."""
    words = []
    for one in _shown(figure, judged):
        measured = one.measured.declared
        ours = f"{measured:.4f}" if measured is not None else absence(one)
        name = judged.row_name(one.cell.table, one.cell.row)
        words.append(f"{name}, {one.cell.column}: {ours}, published {one.cell.printed}")
    return "; ".join(words)


def _shown(figure: Figure, judged: Judged) -> list[Judgement]:
    """Return the numbers of a figure that runs give."""
    if figure.table is None:
        return []
    places = judged.published.table(figure.table).places.items()
    return judged.numbers(figure.table, [row for row, of in places if len(of) == 1 or (of and figure.number >= 7)])


def render_figures(judged: Judged, exhibit: Exhibit, folder: Path) -> list[Path]:
    """Write every figure as SVG, PDF and PNG, and captions.md beside them.

    Real images never come into `folder` itself: there Figure 4 is a placeholder; pictures go to `folder`/local.

    Raises:
        RequestError: the folder cannot be written.
    """
    parts = ["# Captions"]
    for figure in FIGURES:
        parts += [f"## {figure.stem}", markdown_text(caption(figure, judged))]
        words = numbers(figure, judged)
        parts += [markdown_text(f"In numbers: {words}.")] if words else []
    files = [write_output(folder / CAPTIONS, ("\n\n".join(parts) + "\n").encode())]
    mark = "SYNTHETIC. " if judged.edition.synthetic else ""
    with drawing():
        for figure in FIGURES:
            title = f"{mark}Figure {figure.number}. {figure.title(judged)}"
            files += save(figure.draw(judged, exhibit).figure, folder, figure.stem, title=title)
            if figure.number == 4 and not judged.edition.synthetic and exhibit.key:
                sheet = overlays_figure(judged, exhibit, one_scale=figure.stem.endswith("one_scale"))
                files += save(sheet.figure, folder / LOCAL, figure.stem, title=title)
    return files
