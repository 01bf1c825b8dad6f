"""Rank the settings of experiment=settings_bottle by how well the paper's bottle rows fit their seeds.

The rank is the joint p-value of Hotelling's prediction test over the four numbers of a row. A second column has the
distance of the published pixel F1 from its line: a fit of pixel F1 on pixel AUROC over the runs with the setting's
preprocessing. A ranking is exploration, not a test: with so many settings the largest p-value says little by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import RequestError, StoreError, printable
from harness.papers.model import PAPER_METRICS
from harness.papers.published import load_published
from harness.papers.ranking import Line, Ranking, Residual, comparable, lines, rankings, residuals, spreads
from harness.papers.verdict import shown_p
from harness.paths import PROJECT
from harness.report.checkup import check_store
from harness.report.output import write_output
from harness.report.style import FORMATS
from harness.store import Store


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--store", type=Path, default=PROJECT / "results" / "settings", help="default: results/settings"
    )
    parser.add_argument("--top", type=int, default=8, help="settings shown for each row of the paper (default: 8)")
    parser.add_argument("--figure", type=Path, help="draw pixel F1 over pixel AUROC: .svg, .png or .pdf")
    arguments = parser.parse_args(argv)
    figure: Path | None = arguments.figure
    if figure is not None and figure.suffix[1:] not in FORMATS:
        raise RequestError(f"--figure={figure}: its name must end in .{', .'.join(FORMATS)}")
    checkup = check_store(Store(arguments.store))
    for fault in checkup.faults:
        print(f"not counted: {printable(fault)}", file=sys.stderr)
    records, published = comparable(checkup.records), load_published()
    ranked = rankings(records, published)
    if not ranked:
        raise StoreError(f"{arguments.store}: has no run of the real bottle; run experiment=settings_bottle first")
    fitted = lines(records)
    found = residuals(fitted, published)
    if figure is not None:
        _draw(fitted, found, figure)
    print("p: joint p-value. most: the number that lowers p most. se: standard errors of the line's prediction.")
    print("Signed numbers: mean over the seeds minus the paper's number.\n")
    for (table, row), of_row in groupby(ranked, lambda one: (one.row.table, one.row.row)):
        print(f"Table {table}, {row}: largest joint p first")
        print("\n".join([_ranked(one) for one in of_row][: arguments.top]), end="\n\n")
    print("\n".join(_fits(fitted, found)))
    print("Range over seeds, by setting")
    for spread in spreads(records):
        cells = "  ".join(f"{column} {low:.4f}..{high:.4f}" for column, (low, high) in spread.ranges.items())
        print(f"  {cells}  {spread.n_runs:>3} runs  {spread.setting}")
    return 0


def _ranked(one: Ranking) -> str:
    cells = "  ".join(f"{column} {one.differences[column]:+z.4f}" for column in PAPER_METRICS)
    residual = "no line" if one.residual is None else f"{one.residual.deviations:+.1f} se"
    p = f"p {shown_p(one.p):<8} most {one.row.most or '-':<9}"
    return f"  {p}  Pix F1 given Pix AUROC {residual:>8}  {cells}  {one.n_runs:>3} runs  {one.setting}"


def _fits(fitted: Sequence[Line], found: Sequence[Residual]) -> Iterator[str]:
    """Yield the lines, then each published row with its distance from them, the nearest first."""
    yield "Pixel F1 as a line of pixel AUROC, fitted to the runs of each preprocessing (sd: scatter around it)"
    for line in fitted:
        fit = f"F1 = {line.intercept:+.3f} {line.slope:+.3f} AUROC  sd {line.deviation:.4f}"
        reach = f"AUROC {min(line.points)[0]:.4f}..{max(line.points)[0]:.4f}  {len(line.points):>3} runs"
        yield f"  {fit}  {reach}  {line.preprocessing}"
    yield ""
    for (table, row, auroc, f1), rows in groupby(found, lambda each: (each.table, each.row, each.auroc, each.f1)):
        yield f"Table {table}, {row}: pixel AUROC {auroc:.4f}, pixel F1 {f1:.4f}"
        for each in rows:
            beyond = "" if each.line.reaches(each.auroc) else "  (extrapolated)"
            error = f"predicted {each.predicted:.4f} (error {each.error:.4f})"
            yield f"  {each.deviations:+6.1f} se  {error}  {each.line.preprocessing}{beyond}"
        yield ""


def _draw(fitted: Sequence[Line], found: Sequence[Residual], path: Path) -> None:
    from harness.report.drawings import settings_figure
    from harness.report.style import drawing, encode

    with drawing():
        figure = encode(settings_figure(fitted, found), path.suffix[1:], title="Pixel F1 over pixel AUROC, bottle")
    write_output(path, figure)


if __name__ == "__main__":
    sys.exit(run_script(main))
