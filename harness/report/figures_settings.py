"""Draw pixel F1 over pixel AUROC of the bottle: a colour and a line for each preprocessing, marks for the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.paper.ranking import Line, Residual
from harness.report.style import BLACK, BLUE, GREEN, INK, ORANGE, OURS, PURPLE, SKY, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (GREEN, PURPLE, ORANGE, SKY, OURS, BLUE)
MARKS = ("*", "s", "D")


def draw_settings(fitted: Sequence[Line], rows: Sequence[Residual]) -> Figure:
    """Draw every run as a point; lines are dotted where they are extrapolated to reach a published row."""
    published = {(each.table, each.row): (each.auroc, each.f1) for each in rows}
    targets = [auroc for auroc, _ in published.values()]
    figure = new_figure(4.2)
    axes = figure.add_axes((0.08, 0.11, 0.55, 0.86))
    for index, line in enumerate(fitted):
        colour = COLOURS[index % len(COLOURS)]
        x, y = zip(*line.points, strict=True)
        label = f"{line.preprocessing} ({len(x)} runs)"
        axes.scatter(x, y, s=7, color=colour, alpha=0.45, linewidths=0)
        inside = (min(x), max(x))
        axes.plot(inside, [line.predict(each)[0] for each in inside], color=colour, linewidth=1.3, label=label)
        for end, beyond in ((min(x), min(targets)), (max(x), max(targets))):
            if not line.reaches(beyond):
                axes.plot((end, beyond), [line.predict(each)[0] for each in (end, beyond)], ":", color=colour)
    for mark, ((table, row), (auroc, f1)) in zip(MARKS, published.items(), strict=True):
        name = row.split(" (")[0].split(",")[0]
        axes.plot(auroc, f1, mark, color=BLACK, markersize=8 if mark == "*" else 5, zorder=5)
        axes.annotate(
            f"Table {table}, {name}", (auroc, f1), xytext=(7, -3), textcoords="offset points", ha="left", color=INK
        )
    axes.set_xlabel("pixel AUROC")
    axes.set_ylabel("pixel F1 (anomalib's)")
    axes.grid(True, axis="both")
    figure.legend(*axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.645, 0.97))
    return figure
