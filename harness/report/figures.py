"""Figures 1 to 9: what each is called, shows and says in its caption, and the files it is written to."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.paper.model import PAPER_METRICS, Edition, Judgement
from harness.paper.published import Published
from harness.report.cells import absence, by_name, choose_spread, spread_words
from harness.report.facts import BACKBONE_NAMES, DATASET_NAMES
from harness.report.figures_comparison import methods_figure, radar_figure
from harness.report.figures_frame import Sheet
from harness.report.figures_overlays import Exhibit, overlays_figure, placeholder_figure
from harness.report.figures_pipeline import pipeline_figure
from harness.report.figures_results import backbones_figure, categories_figure, datasets_figure
from harness.report.names import row_name
from harness.report.output import write_output
from harness.report.overlays import OPACITY
from harness.report.style import FORMATS, drawing, save
from harness.report.table_text import markdown_text

LOCAL = "local"
"""The folder, below that of the figures, for pictures of real images; never committed."""

CAPTIONS = "captions.md"


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that the figures are drawn from."""

    judgements: tuple[Judgement, ...]
    published: Published
    edition: Edition
    exhibit: Exhibit


@dataclass(frozen=True)
class Figure:
    """One of the paper's figures, or its second form."""

    number: int
    stem: str
    """File name without its ending."""
    draw: Callable[[Inputs], Sheet]
    title: Callable[[Inputs], str]
    """One line, without the number."""
    table: int | None
    """The table whose numbers it shows."""


def _name(inputs: Inputs, dataset: str) -> str:
    return DATASET_NAMES[inputs.edition.datasets[dataset]]


def _backbone(inputs: Inputs, backbone: str = "resnet18") -> str:
    return BACKBONE_NAMES[inputs.edition.backbones[backbone]]


def _categories(number: int, stem: str, table: int, dataset: str) -> Figure:
    return Figure(
        number,
        stem,
        lambda i: categories_figure(table, i.judgements, i.published, i.edition),
        lambda i: (
            f"PaDiM ({_backbone(i)}) on {_name(i, dataset)}: (a) AUROC, (b) F1, at image and pixel level by category"
        ),
        table,
    )


def _overlays(stem: str, scale: str, *, one_scale: bool) -> Figure:
    def draw(inputs: Inputs) -> Sheet:
        if not inputs.exhibit.synthetic:
            return placeholder_figure(inputs.published, inputs.edition, one_scale=one_scale)
        return overlays_figure(inputs.exhibit, inputs.published, inputs.edition, one_scale=one_scale)

    def title(inputs: Inputs) -> str:
        return f"Anomaly maps on {_name(inputs, 'mvtec')}, bottle, Jet laid over the image at {OPACITY:g}: {scale}"

    return Figure(4, stem, draw, title, None)


FIGURES: tuple[Figure, ...] = (
    Figure(
        1,
        "fig1_pipeline",
        lambda i: pipeline_figure(i.edition),
        lambda i: "The pipeline: PaDiM's training on normal images, and its inference on each test image",
        None,
    ),
    _categories(2, "fig2_mvtec", 1, "mvtec"),
    Figure(
        3,
        "fig3_backbones",
        lambda i: backbones_figure(i.judgements, i.published, i.edition),
        lambda i: (
            f"{_backbone(i)} and {_backbone(i, 'wide_resnet50_2')} on {_name(i, 'mvtec')}, bottle: (a) metrics, (b) "
            "parameters up to the third layer"
        ),
        2,
    ),
    _overlays("fig4_overlays", "each map between its own minimum and maximum, as in the paper", one_scale=False),
    _overlays("fig4_overlays_one_scale", "one colour scale for all of the category's test images", one_scale=True),
    _categories(5, "fig5_visa", 3, "visa"),
    _categories(6, "fig6_btad", 4, "btad"),
    Figure(
        7,
        "fig7_datasets",
        lambda i: datasets_figure(i.judgements, i.published, i.edition),
        lambda i: f"PaDiM ({_backbone(i)}): means over the categories of three datasets",
        5,
    ),
    Figure(
        8,
        "fig8_methods",
        lambda i: methods_figure(i.judgements, i.published, i.edition),
        lambda i: "PaDiM (red) beside published methods (blue) on MVTec AD: (a) image AUROC, (b) pixel AUROC",
        6,
    ),
    Figure(
        9,
        "fig9_radar",
        lambda i: radar_figure(i.judgements, i.published, i.edition),
        lambda i: f"PaDiM ({_backbone(i)}): four metrics on three datasets, 0 at the centre and 1 at the rim",
        5,
    ),
)


def caption(figure: Figure, inputs: Inputs) -> str:
    """A figure's caption: its number and title, what bars, whiskers and markers are, and what is missing."""
    parts = [f"Figure {figure.number}. {figure.title(inputs)}."]
    if inputs.edition.synthetic:
        parts.insert(0, "SYNTHETIC: the images are drawn by the harness.")
    if figure.table is None:
        if figure.number == 4 and not inputs.exhibit.synthetic:
            parts.append(f"Pictures of real images are drawn into {LOCAL}/ only, beside this placeholder.")
        return " ".join(parts)
    shown = _shown(figure, inputs)
    kind = choose_spread(shown)
    if figure.number == 9:
        parts.append("Solid: the store's means at seed 42. Dashed: published.")
    else:
        parts.append(spread_words(shown, kind))
        parts.append("Diamonds: published values.")
    missing = dict.fromkeys(f"{_row(one, inputs)} ({absence(one)})" for one in shown if absence(one))
    if missing:
        parts.append(f"No value: {', '.join(missing)}.")
    return " ".join(parts)


def numbers(figure: Figure, inputs: Inputs) -> str:
    """Every number in a figure in words, for those who cannot see it; empty for one without numbers."""
    words = []
    for one in _shown(figure, inputs) if figure.table else ():
        measured = one.measured.declared
        ours = f"{measured:.4f}" if measured is not None else absence(one)
        words.append(f"{_row(one, inputs)}, {one.cell.column}: {ours}, published {one.cell.printed}")
    return "; ".join(words)


def _shown(figure: Figure, inputs: Inputs) -> list[Judgement]:
    """The numbers of a figure that runs give."""
    assert figure.table is not None
    layout = inputs.published.table(figure.table)
    cells = by_name(inputs.judgements)
    rows = [row for row in layout.rows if layout.places[row] and (len(layout.places[row]) == 1 or figure.number >= 7)]
    columns = [column for column in PAPER_METRICS if column in layout.value_columns]
    return [cells[figure.table, row, column] for row in rows for column in columns]


def _row(judgement: Judgement, inputs: Inputs) -> str:
    return row_name(inputs.published, judgement.cell.table, judgement.cell.row, inputs.edition)


def render_figures(inputs: Inputs, out_dir: Path) -> list[Path]:
    """Write every figure as SVG, PDF and PNG, and captions.md beside them.

    Real images never come into `out_dir` itself: there Figure 4 is a placeholder; pictures go to `out_dir`/local.

    Returns:
        The files, in the figures' order.

    Raises:
        RequestError: the folder cannot be written.
    """
    tasks = _tasks(inputs, out_dir)
    _in_two_processes(list(tasks.values()))
    write_output(out_dir / CAPTIONS, _captions(inputs).encode())
    return [out_dir / CAPTIONS, *(path for paths in tasks for path in paths)]


def _captions(inputs: Inputs) -> str:
    """captions.md."""
    parts = ["# Captions"]
    for figure in FIGURES:
        parts += [f"## {figure.stem}", markdown_text(caption(figure, inputs))]
        words = numbers(figure, inputs)
        parts += [markdown_text(f"In numbers: {words}.")] if words else []
    return "\n\n".join(parts) + "\n"


_Task = Callable[[], list[Path]]


def _tasks(inputs: Inputs, out_dir: Path) -> Mapping[tuple[Path, ...], _Task]:
    """What is to be drawn, by the files it leaves."""
    tasks: dict[tuple[Path, ...], _Task] = {}

    def add(folder: Path, figure: Figure, draw: Callable[[], Sheet]) -> None:
        title = f"Figure {figure.number}. {figure.title(inputs)}"
        title = f"SYNTHETIC. {title}" if inputs.edition.synthetic else title
        files = tuple(folder / f"{figure.stem}.{extension}" for extension in FORMATS)
        tasks[files] = lambda: save(draw().figure, folder, figure.stem, title=title)

    for figure in FIGURES:
        add(out_dir, figure, lambda figure=figure: figure.draw(inputs))  # type: ignore[misc]
        if figure.number == 4 and not inputs.exhibit.synthetic and inputs.exhibit.key:
            scale = figure.stem.endswith("one_scale")
            draw = lambda scale=scale: overlays_figure(  # noqa: E731
                inputs.exhibit, inputs.published, inputs.edition, one_scale=scale
            )
            add(out_dir / LOCAL, figure, draw)
    return tasks


def _in_two_processes(tasks: Sequence[_Task]) -> None:
    """Do half of the tasks in a forked process where there is a second core; all of them here where that fails."""
    with drawing():
        if len(tasks) < 2 or not sys.platform.startswith("linux") or len(os.sched_getaffinity(0)) < 2:
            _do(tasks)
            return
        import matplotlib.figure  # noqa: F401  before the fork, so that both have it

        helper = multiprocessing.get_context("fork").Process(target=_do_quietly, args=(tasks[1::2],))
        helper.start()
        try:
            _do(tasks[0::2])
        finally:
            helper.join()
        if helper.exitcode != 0:
            _do(tasks[1::2])


def _do(tasks: Sequence[_Task]) -> None:
    for task in tasks:
        task()


def _do_quietly(tasks: Sequence[_Task]) -> None:
    """In the helper: the main process does it again and shows what went wrong."""
    try:
        _do(tasks)
    except BaseException:
        os._exit(1)
