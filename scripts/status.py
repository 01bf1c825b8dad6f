"""Print which runs of each experiment are done, failed or missing in a store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script, seeds, write
from harness.paths import PROJECT


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--store", type=Path, default=PROJECT / "results", help="the store's folder (default: results)")
    parser.add_argument("--experiment", action="append", default=[], metavar="NAME", help="repeatable; default: all")
    parser.add_argument("--seeds", type=seeds, default=(), metavar="42,0-9", help="default: each experiment's own")
    arguments = parser.parse_args(argv)
    from harness.execution.overview import lines_about
    from harness.store import Store

    write(lines_about(Store(arguments.store), arguments.experiment, arguments.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
