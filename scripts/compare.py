"""Compare two results stores: differences in numbers, settings and environment, and runs that only one store has.

Runs are paired by dataset, category, backbone and seed. If the two runs of a pair gave other scores to the same test
images, they are tested: for each seed image AUROC by DeLong's paired test and image F1 by a bootstrap over images; over
all common seeds each metric by a paired t test. `--a` and `--b` choose runs, for example two settings of one store:
  S=results/settings
  scripts/compare.py $S $S --a preprocessing.center_crop=[224,224] --b preprocessing.center_crop=null

With --with-published it lists instead what each paper of results/papers published for the cells that the stores have,
beside the runs made with that paper's protocol. With --explain it lists the settings in which two protocols differ, and
how much each moves each metric where the stores have runs that change it alone:
  scripts/compare.py --with-published results results/references
  scripts/compare.py --explain paper anomalib_2021 $S

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
    parser.add_argument(
        "stores", type=Path, metavar="STORE", nargs="+", help="two; any number for the next two options"
    )
    parser.add_argument("--with-published", action="store_true", help="list everybody's published numbers beside ours")
    parser.add_argument("--explain", nargs=2, metavar="PROTOCOL", help="list what the difference of two protocols does")
    for side, which in (("a", "first"), ("b", "second")):
        told = f"use only the runs of the {which} store with this setting, category or seed; repeatable"
        parser.add_argument(f"--{side}", type=_setting, action="append", default=[], metavar="NAME=VALUE", help=told)
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="X", help="differences up to X count as equal")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.tolerance < math.inf:
        raise RequestError(f"--tolerance {arguments.tolerance}: must be 0 or more")
    if arguments.with_published or arguments.explain:
        return _published(arguments.stores, arguments.explain)
    if len(arguments.stores) != 2:
        raise RequestError(f"a comparison takes two stores, not {len(arguments.stores)}")
    from harness.report.compare import blocks, compare_stores

    store_a, store_b = arguments.stores
    only = (dict(arguments.a), dict(arguments.b))
    comparison = compare_stores(store_a, store_b, tolerance=arguments.tolerance, only=only)
    write(blocks(comparison, str(store_a), str(store_b)))
    return 0 if comparison.is_same else 1


def _published(paths: Sequence[Path], protocols: Sequence[str] | None) -> int:
    from harness.papers.sources import all_papers, cell_lines, explanation_lines, numbers_by_cell, place_of
    from harness.store import Store
    from harness.store.fields import RUNS

    for path in paths:
        if not (path / RUNS).is_dir():
            raise RequestError(f"{path}: is no store (it holds no folder {RUNS})")
    records = [record for path in paths for record in Store(path).records().records]
    places = dict.fromkeys(place_of(record) for record in records)
    if protocols:
        for place in places:
            write(explanation_lines(protocols[0], protocols[1], place, records))
        return 0
    cells = numbers_by_cell(all_papers(), records)
    write(cell_lines({cell: numbers for cell, numbers in cells.items() if cell.place in places}))
    return 0


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as model.epsilon=0.1 or seed=42")
    return name, value


if __name__ == "__main__":
    sys.exit(run_script(main))
