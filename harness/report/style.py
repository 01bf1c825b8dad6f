"""One look for every figure, the sheet around its drawing, and files that are the same bytes on every machine."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.papers.model import Edition
from harness.report.output import write_output

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf", "png")
WIDTH = 7.2
"""Inches: the full text width of a two-column journal page."""

# Okabe and Ito's palette: its colours differ for readers with every common form of colour blindness, and in print.
BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000"
IMAGE_LEVEL, PIXEL_LEVEL = BLUE, ORANGE
DATASET_COLOURS = {"mvtec": GREEN, "visa": PURPLE, "btad": SKY}
BACKBONE_COLOURS = {"resnet18": SKY, "wide_resnet50_2": "#4D4D4D"}
SPARE_COLOURS = (ORANGE, BLUE, BLACK, "#A61C00")
"""By place in a figure, for datasets and backbones without a colour of their own."""
OURS, THEIRS = "#C62828", "#1565C0"
"""Of our own methods and of others; each bar is labelled too."""
INK, MUTED, RULE, EMPTY, WARNING = "#1A1A1A", "#555555", "#D0D0D0", "#F3F3F3", "#A61C00"

_FAMILY = "Harness DejaVu"
_TICKS = {"color": MUTED, "labelcolor": INK, "labelsize": 7.5, "major.width": 0.6, "major.size": 2.5}
_STYLE: dict[Any, Any] = {
    "font.family": _FAMILY,
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in _TICKS.items()},
    "ytick.labelsize": 7,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "hatch.linewidth": 0.5,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "svg.hashsalt": "vad-harness",  # else element names are drawn at random
    "svg.fonttype": "path",  # glyphs travel with the file; what they spell stands beside them as a comment
    "pdf.fonttype": 42,  # TrueType, which journals accept where they refuse Type 3
    "pdf.compression": 6,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Make matplotlib draw in the harness's style in here, whatever the user's own matplotlibrc says."""
    import matplotlib

    _register_fonts()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@cache
def _register_fonts() -> tempfile.TemporaryDirectory[str]:
    """Give matplotlib's own DejaVu files a name of their own, since a `DejaVu Sans` of the system has other bytes.

    They come without OpenType's layout tables: with them the PDF backend takes three times as long to cut out the
    glyphs that it embeds. Kerning stays, ligatures go.

    Returns:
        The folder of the files, which lasts as long as the process.
    """
    from fontTools.ttLib import TTFont
    from matplotlib import cbook, font_manager

    folder = tempfile.TemporaryDirectory(prefix="harness-fonts-")
    for file, weight in (("DejaVuSans.ttf", 400), ("DejaVuSans-Bold.ttf", 700)):
        source = str(cbook._get_data_path("fonts/ttf", file))
        font = TTFont(source, recalcTimestamp=False, recalcBBoxes=False, lazy=True)
        for table in {"GSUB", "GPOS", "GDEF"} & set(font.keys()):
            del font[table]
        path = Path(folder.name, file)
        font.save(path)
        entry = font_manager.FontEntry(fname=str(path), name=_FAMILY, weight=weight, size="scalable")
        font_manager.fontManager.ttflist.append(entry)
    return folder


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure, sizes in inches. No pyplot: nothing global, no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def save(figure: Figure, folder: Path, stem: str, *, title: str) -> list[Path]:
    """Write a figure as SVG, PDF and PNG."""
    return [write_output(folder / f"{stem}.{ending}", encode(figure, ending, title=title)) for ending in FORMATS]


def encode(figure: Figure, extension: str, *, title: str) -> bytes:
    """Return a figure as the bytes of an `svg`, `pdf` or `png`, without date or version in it."""
    metadata: dict[str, dict[str, str | None]] = {
        "svg": {"Date": None, "Creator": "vad-harness"},
        "pdf": {"CreationDate": None, "Creator": "vad-harness", "Producer": None},
        "png": {"Software": None},
    }
    buffer = io.BytesIO()
    figure.savefig(buffer, format=extension, metadata={"Title": title} | metadata[extension])
    return buffer.getvalue()


def pick_colours(known: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Return each name's own colour, or a spare one."""
    return [known.get(name, SPARE_COLOURS[place % len(SPARE_COLOURS)]) for place, name in enumerate(names)]


def ink_on(colour: str) -> str:
    """Choose black or white, whichever reads better on a colour `#RRGGBB` (WCAG relative luminance)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#FFFFFF"


MARGIN = 0.12
"""Inches on the left and right of headings and notes."""


@dataclass(frozen=True)
class Sheet:
    """A figure with sizes in inches, as journals give them."""

    figure: Figure
    width: float
    height: float

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Add axes at a place in inches from the lower left corner."""
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, text: str, **options: Any) -> None:
        """Write text at a place in inches from the lower left corner."""
        self.figure.text(x / self.width, y / self.height, text, **options)

    def legend(self, handles: Sequence[Artist], y: float, columns: int) -> None:
        """Add one legend for all panels, centred, its upper edge at a height in inches."""
        spaces: dict[str, Any] = {"columnspacing": 1.6, "handlelength": 1.4, "handletextpad": 0.5, "borderaxespad": 0}
        place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, y / self.height), "ncols": columns}
        self.figure.legend(handles=list(handles), **place, **spaces)


def new_sheet(edition: Edition, heading: str, height: float, width: float = WIDTH) -> Sheet:
    """Make a figure with its heading; in an edition of drawn images, with SYNTHETIC beside it and across the sheet."""
    sheet = Sheet(new_figure(height, width), width, height)
    sheet.text(MARGIN, height - 0.09, heading, weight="bold", fontsize=8.5, va="top")
    if edition.synthetic:
        tag = "SYNTHETIC: drawn images"
        sheet.text(width - MARGIN, height - 0.09, tag, weight="bold", fontsize=8, va="top", ha="right", color=WARNING)
        across: dict[str, Any] = {"fontsize": 56, "weight": "bold", "rotation": 20, "alpha": 0.07, "zorder": 10}
        sheet.text(width / 2, height / 2, "SYNTHETIC", ha="center", va="center", color=WARNING, **across)
    return sheet


def write_notes(sheet: Sheet, lines: Sequence[str], y: float) -> None:
    """Write small print at the foot, its first line's top at a height in inches."""
    for number, line in enumerate(lines):
        sheet.text(MARGIN, y - 0.125 * number, line, fontsize=6.5, va="top", color=MUTED)
