"""Rewrite a store of an older harness: the same numbers under new keys, names and paths.

It can be interrupted at any point and started again.
Exit status: 0 all is up to date, 1 a run cannot be trusted and was not changed (each is named), 2 a wrong request.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import printable


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("store", type=Path, metavar="STORE", help="the store's folder")
    arguments = parser.parse_args(argv)
    from harness.store.upgrade import upgrade_store

    return min(upgrade_store(arguments.store, lambda line: print(printable(line))), 1)


if __name__ == "__main__":
    sys.exit(run_script(main))
