"""Rank the settings that were searched for a paper's rows by how well these rows fit their seeds.

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
from harness.papers.published import Published
from harness.papers.ranking import (
    Line,
    Ranking,
    Residual,
    comparable,
    labels_of,
    lines,
    rankings,
    residuals,
    search_of,
    seed_ranges,
)
from harness.papers.reading import load_published
from harness.papers.verdict import shown_p
from harness.paths import PROJECT
from harness.report.checkup import check_store
from harness.report.output import write_output
from harness.report.style import FORMATS
from harness.store import Store


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--paper", metavar="ID", help="a folder of results/papers (default: the one that says so)")
    parser.add_argument("--store", type=Path, help="default: what paper.toml names, below results/")
    parser.add_argument("--top", type=int, default=8, help="settings shown for each row of the paper (default: 8)")
    parser.add_argument("--figure", type=Path, help="draw the lines into this file (.svg, .png, .pdf)")
    arguments = parser.parse_args(argv)
    figure: Path | None = arguments.figure
    if figure is not None and figure.suffix[1:] not in FORMATS:
        raise RequestError(f"--figure={figure}: its name must end in .{', .'.join(FORMATS)}")
    published = load_published(arguments.paper)
    search = search_of(published)
    store = arguments.store or PROJECT / "results" / search.store
    checkup = check_store(Store(store))
    for fault in checkup.faults:
        print(f"not counted: {printable(fault)}", file=sys.stderr)
    records = comparable(checkup.records, published)
    ranked = rankings(records, published)
    if not ranked:
        place = f"{search.dataset}/{search.category}"
        raise StoreError(f"{store}: holds no run of {place} that counts; run experiment={search.experiment} first")
    fitted = lines(records, published)
    found = residuals(fitted, published)
    if figure is not None:
        _draw(fitted, found, published, figure)
    print("p: joint p-value. most: the number that lowers p most. se: standard errors of the line's prediction.")
    print("Signed numbers: mean over the seeds minus the paper's number.\n")
    for (table, row), of_row in groupby(ranked, lambda one: (one.row.table, one.row.row)):
        print(f"Table {table}, {row}: largest joint p first")
        print("\n".join([_ranked(one) for one in of_row][: arguments.top]), end="\n\n")
    print("\n".join(_fits(fitted, found)))
    print("Range over seeds, by setting")
    for one in seed_ranges(records, published):
        cells = "  ".join(f"{column} {low:.4f}..{high:.4f}" for column, (low, high) in one.ranges.items())
        print(f"  {cells}  {one.n_runs:>3} runs  {one.setting}")
    return 0


def _ranked(one: Ranking) -> str:
    cells = "  ".join(f"{column} {gap:+z.4f}" for column, gap in one.differences.items())
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
    for (table, row, x, y), rows in groupby(found, lambda each: (each.table, each.row, each.x, each.y)):
        yield f"Table {table}, {row}: pixel AUROC {x:.4f}, pixel F1 {y:.4f}"
        for each in rows:
            beyond = "" if each.line.reaches(each.x) else "  (extrapolated)"
            error = f"predicted {each.predicted:.4f} (error {each.error:.4f})"
            yield f"  {each.deviations:+6.1f} se  {error}  {each.line.preprocessing}{beyond}"
        yield ""


def _draw(fitted: Sequence[Line], found: Sequence[Residual], published: Published, path: Path) -> None:
    from harness.report.drawings import settings_figure
    from harness.report.style import drawing, encode

    with drawing():
        search = search_of(published)
        labels = labels_of(published)
        title = f"{labels[1]} on {labels[0]}, {search.category}"
        figure = encode(settings_figure(fitted, found, labels), path.suffix[1:], title=title)
    write_output(path, figure)


if __name__ == "__main__":
    sys.exit(run_script(main))
