"""A paper's figures, which figures.toml lists: what each shows, its caption, and the files it is written to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.errors import RequestError
from harness.papers.model import Judgement
from harness.papers.published import FigureEntry
from harness.report.bars import backbones_figure, categories_figure, datasets_figure, methods_figure
from harness.report.drawings import pipeline_figure, radar_figure
from harness.report.output import LOCAL, write_output
from harness.report.overlays import Exhibit, find_exhibit, overlays_figure, placeholder_figure
from harness.report.style import Sheet, drawing, save
from harness.report.tables import markdown_text
from harness.report.words import Judged, absence, whisker_words
from harness.store import Store

CAPTIONS = "captions.md"


Drawing = Callable[[FigureEntry, Judged, Exhibit], Sheet]


def _overlays(judged: Judged, exhibit: Exhibit, figure: FigureEntry, *, one_scale: bool) -> Sheet:
    if not judged.edition.synthetic:
        return placeholder_figure(judged, figure, one_scale=one_scale)
    return overlays_figure(judged, exhibit, figure, one_scale=one_scale)


DRAWINGS: dict[str, Drawing] = {
    "pipeline": lambda _figure, judged, _exhibit: pipeline_figure(judged),
    "categories": lambda figure, judged, _exhibit: categories_figure(_table(figure), judged),
    "backbones": lambda figure, judged, _exhibit: backbones_figure(_table(figure), judged),
    "datasets": lambda figure, judged, _exhibit: datasets_figure(_table(figure), judged),
    "methods": lambda figure, judged, _exhibit: methods_figure(figure, _table(figure), judged),
    "radar": lambda figure, judged, _exhibit: radar_figure(_table(figure), judged),
    "overlays": lambda figure, judged, exhibit: _overlays(judged, exhibit, figure, one_scale=False),
    "overlays_one_scale": lambda figure, judged, exhibit: _overlays(judged, exhibit, figure, one_scale=True),
}
"""How each kind of `harness.papers.reading.FIGURE_KINDS` is drawn."""


def _table(figure: FigureEntry) -> int:
    if figure.table is None:
        raise RequestError(f"figures.toml, figure {figure.stem}: the kind {figure.kind} needs a table")
    return figure.table


def title(figure: FigureEntry, judged: Judged) -> str:
    """Return a figure's title on one line, without the number."""
    datasets = {name: judged.dataset(name) for name in judged.edition.datasets}
    first, *others = judged.edition.backbones
    large = judged.backbone(others[0]) if others else ""
    return figure.title.format(backbone=judged.backbone(first), large=large, **datasets)


def caption(figure: FigureEntry, judged: Judged) -> str:
    """Write a figure's caption: its number and title, what bars, whiskers and markers are, and what is missing."""
    parts = ["SYNTHETIC: the images are drawn by the harness."] if judged.edition.synthetic else []
    parts.append(f"Figure {figure.number}. {title(figure, judged)}.")
    if _is_of_images(figure) and not judged.edition.synthetic:
        parts.append(f"Pictures of real images are drawn into {LOCAL}/ only, beside this placeholder.")
    if figure.kind == "radar":
        parts.append(f"Solid: the store's means at seed {judged.edition.declared_seed}. Dashed: published.")
    elif figure.table is not None and not _is_of_images(figure):
        parts += [whisker_words(_shown(figure, judged), judged.edition), "Diamonds: published values."]
    named = [(judged.row_name(one.cell.table, one.cell.row), absence(one)) for one in _shown(figure, judged)]
    missing = dict.fromkeys(f"{name} ({why})" for name, why in named if why)
    parts += [f"No value: {', '.join(missing)}."] if missing else []
    return " ".join(parts)


def numbers(figure: FigureEntry, judged: Judged) -> str:
    """Put every number in a figure into words, for those who cannot see it; empty for one without numbers."""
    words = []
    for one in _shown(figure, judged):
        measured = one.measured.declared
        ours = f"{measured:.4f}" if measured is not None else absence(one)
        name = judged.row_name(one.cell.table, one.cell.row)
        words.append(f"{name}, {one.cell.column}: {ours}, published {one.cell.printed}")
    return "; ".join(words)


def _shown(figure: FigureEntry, judged: Judged) -> list[Judgement]:
    """Return the numbers of a figure that runs give."""
    if figure.table is None or _is_of_images(figure):
        return []
    rows = {row: judged.published.places(figure.table, row) for row in judged.published.table(figure.table).names}
    means = figure.kind in ("datasets", "methods", "radar")
    return judged.numbers(figure.table, [row for row, of in rows.items() if len(of) == 1 or (of and means)])


def _is_of_images(figure: FigureEntry) -> bool:
    return figure.kind.startswith("overlays")


def render_figures(judged: Judged, store: Store, folder: Path) -> list[Path]:
    """Write every figure as SVG, PDF and PNG, and captions.md beside them.

    Real images never come into `folder` itself: there a placeholder stands; pictures go to `folder`/local.

    Raises:
        RequestError: the folder cannot be written.
    """
    parts = ["# Captions"]
    for figure in judged.published.figures:
        parts += [f"## {figure.stem}", markdown_text(caption(figure, judged))]
        words = numbers(figure, judged)
        parts += [markdown_text(f"In numbers: {words}.")] if words else []
    files = [write_output(folder / CAPTIONS, ("\n\n".join(parts) + "\n").encode())]
    mark = "SYNTHETIC. " if judged.edition.synthetic else ""
    with drawing():
        for figure in judged.published.figures:
            name = f"{mark}Figure {figure.number}. {title(figure, judged)}"
            exhibit = find_exhibit(judged, store, figure) if _is_of_images(figure) else Exhibit(None, "", "")
            files += save(DRAWINGS[figure.kind](figure, judged, exhibit).figure, folder, figure.stem, title=name)
            if _is_of_images(figure) and not judged.edition.synthetic and exhibit.key:
                sheet = overlays_figure(judged, exhibit, figure, one_scale=figure.kind == "overlays_one_scale")
                files += save(sheet.figure, folder / LOCAL, figure.stem, title=name)
    return files
