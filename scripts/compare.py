"""Set two results stores side by side: what differs in numbers, settings and environment, and what only one has.

Exit status: 0 the same (environment, times and memory aside), 1 different, 2 a wrong request.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.command import Parser, one_line_errors, run_script
from harness.errors import RequestError


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("store_a", type=Path, metavar="STORE_A")
    parser.add_argument("store_b", type=Path, metavar="STORE_B")
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="X", help="within X is the same (default: 0)")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.tolerance < math.inf:
        raise RequestError(f"--tolerance {arguments.tolerance}: must be 0 or more")
    from harness.report.compare import blocks, compare_stores
    from harness.store.overview_text import write

    comparison = compare_stores(arguments.store_a, arguments.store_b, tolerance=arguments.tolerance)
    write(blocks(comparison, str(arguments.store_a), str(arguments.store_b)))
    return 0 if comparison.is_same else 1


if __name__ == "__main__":
    sys.exit(run_script(main))
