"""Rank the runs of experiment=settings_bottle by how near they come to the paper's bottle rows.

By digits first; then by pixel F1 given pixel AUROC: a line over the runs of each preprocessing, and each published
row's distance from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.command import Parser, one_line_errors, run_script
from harness.errors import RequestError, StoreError
from harness.keys import PROJECT
from harness.paper.published import load_published
from harness.paper.ranking import Line, Residual, agreements, comparable, lines, residuals, spreads
from harness.report.checkup import check_store
from harness.report.output import write_output
from harness.report.style import FORMATS
from harness.store import Store
from harness.terminal import printable


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, or 2 where there is no store of such runs."""
    parser = Parser(allow_abbrev=False, prog="scripts/settings.py", description=__doc__)
    parser.add_argument("--store", type=Path, default=PROJECT / "results" / "settings")
    parser.add_argument("--top", type=int, default=8, help="best runs to show for each table (default: 8)")
    parser.add_argument("--figure", type=Path, help="draw pixel F1 over pixel AUROC into this file (.svg, .png, .pdf)")
    arguments = parser.parse_args(argv)
    checkup = check_store(Store(arguments.store))
    for fault in checkup.faults:
        print(f"not counted: {printable(fault)}", file=sys.stderr)
    if arguments.figure is not None and arguments.figure.suffix[1:] not in FORMATS:
        raise RequestError(f"--figure={arguments.figure}: its name must end in .{', .'.join(FORMATS)}")
    records, published = comparable(checkup.records), load_published()
    ranked = agreements(records, published)
    if not ranked:
        raise StoreError(f"{arguments.store}: holds no run of the real bottle; run experiment=settings_bottle first")
    fitted = lines(records)
    found = residuals(fitted, published)
    if arguments.figure is not None:
        _draw(fitted, found, arguments.figure)
    for table in (1, 2):
        print(f"Table {table}, bottle: the nearest of {len(records)} runs (difference = run less paper)")
        for one in [one for one in ranked if one.table == table][: arguments.top]:
            cells = "  ".join(f"{column} {value:+z.4f}" for column, value in one.differences.items())
            print(f"  {len(one.exact)} of {len(one.differences)} exact  {cells}  seed {one.seed:<3} {one.setting}")
        print()
    _print_lines(fitted, found)
    print("Range over seeds, by setting")
    for spread in spreads(records):
        cells = "  ".join(f"{column} {low:.4f}..{high:.4f}" for column, (low, high) in spread.ranges.items())
        print(f"  {cells}  {spread.n_runs:>3} runs  {spread.setting}")
    return 0


def _print_lines(fitted: Sequence[Line], found: Sequence[Residual]) -> None:
    """Print the lines, then the published rows against each, the nearest first."""
    print("Pixel F1 on pixel AUROC: the least-squares line over the runs of each preprocessing")
    for line in fitted:
        low, high = min(line.points)[0], max(line.points)[0]
        print(
            f"  F1 = {line.intercept:+.3f} {line.slope:+.3f} AUROC  sd {line.deviation:.4f}  "
            f"AUROC {low:.4f}..{high:.4f}  {len(line.points):>3} runs  {line.preprocessing}"
        )
    print()
    for name in dict.fromkeys((each.table, each.row) for each in found):
        rows = [each for each in found if (each.table, each.row) == name]
        print(f"Table {name[0]}, {name[1]}: pixel AUROC {rows[0].auroc:.4f}, pixel F1 {rows[0].f1:.4f}")
        for each in rows:
            beyond = "" if each.line.reaches(each.auroc) else "  (extrapolated)"
            print(
                f"  {each.deviations:+6.1f} sd  predicted {each.predicted:.4f} (error {each.error:.4f})  "
                f"{each.line.preprocessing}{beyond}"
            )
        print()


def _draw(fitted: Sequence[Line], found: Sequence[Residual], path: Path) -> None:
    from harness.report.drawings import settings_figure
    from harness.report.style import drawing, encode

    title = "Pixel F1 over pixel AUROC, bottle"
    with drawing():
        write_output(path, encode(settings_figure(fitted, found), path.suffix[1:], title=title))


if __name__ == "__main__":
    sys.exit(run_script(main))
