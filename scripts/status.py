"""Print the results store against the experiments: what is done, failed or missing, and means over the seeds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.arguments import Parser
from harness.errors import RequestError
from harness.keys import PROJECT
from harness.streams import one_line_errors, run_script


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise RequestError(f"--seeds {text}: is not a list of whole numbers such as 0,1,2") from None


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 whatever the store's state, 2 where the request is wrong."""
    parser = Parser(prog="scripts/status.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--store", type=Path, default=PROJECT / "results", help="the store's folder (default: results)")
    parser.add_argument(
        "--experiment", action="append", default=[], metavar="NAME", help="repeatable; default: all of them"
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=(), metavar="0,1,2", help="seeds to expect (default: each experiment's own)"
    )
    arguments = parser.parse_args(argv)
    from harness.store import Store
    from harness.store.overview_text import blocks, write

    write(blocks(Store(arguments.store), arguments.experiment, arguments.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
