"""The figures inside the page: each file as a data URI, with caption, alternative text and its numbers in words."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from harness.errors import RequestError
from harness.paper.model import Edition, Judgement
from harness.paper.published import Published
from harness.report.figures import FIGURES, LOCAL, Figure, caption, numbers
from harness.report.page_grid import anchor
from harness.report.words import Judged

MEDIA_TYPES: Mapping[str, str] = MappingProxyType({".svg": "image/svg+xml", ".png": "image/png"})
"""What a browser shows, the sharper first."""

_BARS = (
    "Two bar charts of {what}: on the left image and pixel AUROC by category, on the right image and pixel F1, with "
    "whiskers, and the published values as diamonds. A category without a run has an empty, labelled place."
)

ALTERNATIVES: Mapping[int, str] = MappingProxyType(
    {
        1: "Drawing in two lanes. Training: normal images, preprocessing, a frozen backbone, patch embeddings, one "
        "Gaussian for each location. Inference: a test image through the same steps, then Mahalanobis distances, an "
        "anomaly map, an overlay and the image’s score.",
        2: _BARS.format(what="the MVTec AD categories"),
        3: "Bar charts of two backbones on one category: the four metrics side by side, with the published values as "
        "diamonds, and the number of parameters of each backbone.",
        4: "Two normal and two defective test images, each as image, anomaly map from blue (low) to red (high), and "
        "the map laid over the image; where there is nothing to show, a labelled empty place.",
        5: _BARS.format(what="the VisA categories"),
        6: _BARS.format(what="the BTAD categories"),
        7: "Bar chart of the four metrics’ means for three datasets, with the published values as diamonds.",
        8: "Two bar charts, image AUROC and pixel AUROC: six published methods in blue, the two PaDiM rows in red.",
        9: "Radar chart: an axis for each of the four metrics, a solid outline a dataset, dashed ones as published.",
    }
)
"""Figure -> what is drawn, for who does not see it; its numbers follow in words."""


@dataclass(frozen=True)
class Picture:
    """One figure of the page."""

    identifier: str
    caption: str
    alt: str
    numbers: str
    """Every number in it, in words; empty for one without numbers."""
    table: int | None
    """The table that holds its numbers."""
    source: str
    """A data URI."""


def load_pictures(
    paths: Iterable[Path], judgements: Sequence[Judgement], published: Published, edition: Edition
) -> tuple[Picture, ...]:
    """Each figure's SVG file (its PNG where there is no SVG) in the paper's order.

    What lies in the folder for pictures of real images is left out: the page may be passed on.

    Raises:
        RequestError: a file cannot be read.
    """
    files: dict[tuple[str, str], Path] = {
        (path.stem, path.suffix): path for path in paths if path.suffix in MEDIA_TYPES and path.parent.name != LOCAL
    }
    judged = Judged(published, edition, tuple(judgements))
    pictures = []
    for figure in FIGURES:
        path = next((files[figure.stem, suffix] for suffix in MEDIA_TYPES if (figure.stem, suffix) in files), None)
        pictures += [_picture(figure, path, judged)] if path else []
    return tuple(pictures)


def _picture(figure: Figure, path: Path, judged: Judged) -> Picture:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror or error}); draw the figures again") from error
    mark = "SYNTHETIC. " if judged.edition.synthetic else ""
    return Picture(
        identifier=anchor(figure.stem),
        caption=caption(figure, judged),
        alt=f"{mark}{ALTERNATIVES[figure.number]}",
        numbers=numbers(figure, judged),
        table=figure.table,
        source=f"data:{MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(data).decode()}",
    )
