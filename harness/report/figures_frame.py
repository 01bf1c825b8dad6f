"""What every figure has around its drawing: a heading, notes at the foot, and SYNTHETIC where the images are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.paper.model import Edition
from harness.report.style import MUTED, WARNING, new_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 0.12
"""Inches on the left and right of headings and notes."""


@dataclass(frozen=True)
class Sheet:
    """A figure with sizes in inches, which journals speak."""

    figure: Figure
    width: float
    height: float

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes at a place in inches from the lower left corner."""
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, text: str, **options: object) -> None:
        """Text at a place in inches from the lower left corner."""
        self.figure.text(x / self.width, y / self.height, text, **options)  # type: ignore[arg-type]

    def legend(self, handles: Sequence[Artist], y: float, columns: int) -> None:
        """One legend for all panels, centred, its upper edge at a height in inches."""
        self.figure.legend(
            handles=list(handles),
            loc="upper center",
            bbox_to_anchor=(0.5, y / self.height),
            ncols=columns,
            columnspacing=1.6,
            handlelength=1.4,
            handletextpad=0.5,
            borderaxespad=0,
        )


def new_sheet(edition: Edition, heading: str, height: float, width: float) -> Sheet:
    """A figure with its heading; in an edition of drawn images, with SYNTHETIC beside it and across the sheet."""
    sheet = Sheet(new_figure(height, width), width, height)
    sheet.text(MARGIN, height - 0.09, heading, weight="bold", fontsize=8.5, va="top")
    if edition.synthetic:
        tag = "SYNTHETIC: drawn images"
        sheet.text(width - MARGIN, height - 0.09, tag, weight="bold", fontsize=8, va="top", ha="right", color=WARNING)
        sheet.text(
            width / 2,
            height / 2,
            "SYNTHETIC",
            fontsize=56,
            weight="bold",
            rotation=20,
            ha="center",
            va="center",
            color=WARNING,
            alpha=0.07,
            zorder=10,
        )
    return sheet


def write_notes(sheet: Sheet, lines: Sequence[str], y: float) -> None:
    """Small print at the foot, its first line's top at a height in inches."""
    for number, line in enumerate(lines):
        sheet.text(MARGIN, y - 0.125 * number, line, fontsize=6.5, va="top", color=MUTED)
