"""Set two results stores side by side: what differs in numbers, settings and environment, and what only one has.

Exit status: 0 the same (environment, times and memory aside), 1 different, 2 a wrong request.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.command import Parser, one_line_errors, run_script


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 the same, 1 different, 2 a wrong request."""
    parser = Parser(prog="scripts/compare.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("store_a", type=Path, metavar="STORE_A")
    parser.add_argument("store_b", type=Path, metavar="STORE_B")
    parser.add_argument(
        "--tolerance", type=_tolerance, default=0.0, metavar="X",
        help="metrics within X of one another count as the same (default: 0, every bit)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    from harness.report.compare import blocks, compare_stores
    from harness.store.overview_text import write

    comparison = compare_stores(arguments.store_a, arguments.store_b, tolerance=arguments.tolerance)
    write(blocks(comparison, str(arguments.store_a), str(arguments.store_b)))
    return 0 if comparison.is_same else 1


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(run_script(main))
