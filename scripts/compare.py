"""Compare two results stores: differences in numbers, settings and environment, and runs that only one store has.

Runs are paired by dataset, category, backbone and seed. If the two runs of a pair gave other scores to the same test
images, they are tested: for each seed image AUROC by DeLong's paired test and image F1 by a bootstrap over images; over
all common seeds each metric by a paired t test. `--a` and `--b` choose runs, for example two settings of one store:
  S=results/settings
  scripts/compare.py $S $S --a preprocessing.center_crop=[224,224] --b preprocessing.center_crop=null

Exit status: 0 the same (environment, times and memory aside), 1 different, 2 a wrong request.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script, write
from harness.errors import RequestError


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("store_a", type=Path, metavar="STORE_A")
    parser.add_argument("store_b", type=Path, metavar="STORE_B")
    for side in "ab":
        told = f"use only the runs of STORE_{side.upper()} with this setting, category or seed; repeatable"
        parser.add_argument(f"--{side}", type=_setting, action="append", default=[], metavar="NAME=VALUE", help=told)
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="X", help="differences up to X count as equal")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.tolerance < math.inf:
        raise RequestError(f"--tolerance {arguments.tolerance}: must be 0 or more")
    from harness.report.compare import blocks, compare_stores

    only = (dict(arguments.a), dict(arguments.b))
    comparison = compare_stores(arguments.store_a, arguments.store_b, tolerance=arguments.tolerance, only=only)
    write(blocks(comparison, str(arguments.store_a), str(arguments.store_b)))
    return 0 if comparison.is_same else 1


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as model.epsilon=0.1 or seed=42")
    return name, value


if __name__ == "__main__":
    sys.exit(run_script(main))
