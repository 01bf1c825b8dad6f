"""Check every run of a store and, where tables and figures exist, that the store gives them byte for byte.

Exit status: 0 no fault, 1 faults (each file is named), 2 a wrong request.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import printable
from harness.paths import PROJECT


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--store", type=Path, default=PROJECT / "results", help="the store's folder (default: results)")
    parser.add_argument("--paper", metavar="ID", help="a folder of results/papers (default: the one that says so)")
    parser.add_argument("--edition", choices=("paper", "smoke"), default="paper", help="default: paper")
    parser.add_argument("--tables", type=Path, metavar="DIR", help="default: STORE/tables")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="default: figures; for another store STORE/figures")
    arguments = parser.parse_args(argv)
    from harness.papers.reading import load_published
    from harness.report.checkup import verify_stores
    from harness.report.output import RESULTS, outputs_of
    from harness.report.render import find_edition, verify

    usual = outputs_of(arguments.store)
    tables, figures = arguments.tables or usual.tables, arguments.figures or usual.figures
    rendered = (tables.exists() and figures.exists()) or arguments.store.resolve() == RESULTS
    if rendered or arguments.tables or arguments.figures:
        published = load_published(arguments.paper)
        edition = find_edition(published, arguments.edition)
        verification = verify(arguments.store, published, edition, tables=tables, figures=figures)
    else:
        verification = verify_stores(arguments.store)
        if tables.exists() or figures.exists():
            print("note: of tables and figures only one is there, so neither is compared", file=sys.stderr)
    for fault in verification.faults:
        print(printable(fault), file=sys.stderr)
    looked_at = f"{verification.n_records} runs, {verification.n_files} files of tables and figures"
    n_faults = len(verification.faults)
    if n_faults:
        print(f"not verified: {n_faults} fault{'s' if n_faults > 1 else ''} ({looked_at})")
        return 1
    print(f"verified: {looked_at}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
