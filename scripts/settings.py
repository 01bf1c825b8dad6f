"""Rank the runs of experiment=settings_bottle by how near they come to the paper's bottle rows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.arguments import Parser
from harness.errors import StoreError, UserError
from harness.keys import PROJECT
from harness.paper.published import load_published
from harness.paper.ranking import agreements, comparable, spreads
from harness.report.checkup import check_store
from harness.store import Store
from harness.streams import run_script
from harness.terminal import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, or 2 where there is no store of such runs."""
    parser = Parser(allow_abbrev=False, prog="scripts/settings.py", description=__doc__)
    parser.add_argument("--store", type=Path, default=PROJECT / "results" / "settings")
    parser.add_argument("--top", type=int, default=8, help="best runs to show for each table (default: 8)")
    try:
        arguments = parser.parse_args(argv)
        checkup = check_store(Store(arguments.store))
        for fault in checkup.faults:
            print(f"not counted: {printable(fault)}", file=sys.stderr)
        records = comparable(checkup.records)
        ranked = agreements(records, load_published())
        if not ranked:
            raise StoreError(
                f"{arguments.store}: holds no run of the real bottle; run experiment=settings_bottle first"
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for table in (1, 2):
        print(f"Table {table}, bottle: the nearest of {len(records)} runs (difference = run less paper)")
        for one in [one for one in ranked if one.table == table][: arguments.top]:
            cells = "  ".join(f"{column} {value:+.4f}" for column, value in one.differences.items())
            print(f"  {len(one.exact)} of {len(one.differences)} exact  {cells}  seed {one.seed:<3} {one.setting}")
        print()
    print("Range over seeds, by setting")
    for spread in spreads(records):
        cells = "  ".join(f"{column} {low:.4f}..{high:.4f}" for column, (low, high) in spread.ranges.items())
        print(f"  {cells}  {spread.n_runs:>3} runs  {spread.setting}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
