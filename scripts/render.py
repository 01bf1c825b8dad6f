"""Regenerate the paper's tables, figures and page from a results store; the same store gives the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.command import Parser, one_line_errors, run_script
from harness.errors import RequestError
from harness.keys import PROJECT


def _parser() -> Parser:
    parser = Parser(prog="scripts/render.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--store", type=Path, default=PROJECT / "results", help="the store's folder (default: results)")
    parser.add_argument(
        "--edition",
        choices=("paper", "smoke"),
        default="paper",
        help="whose runs fill the paper's places (default: paper)",
    )
    parser.add_argument(
        "--tables", type=Path, metavar="DIR", help="write Tables 1 to 6 there, as CSV, Markdown and LaTeX"
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write Figures 1 to 9 there, as SVG, PDF and PNG")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the page there; needs --figures")
    return parser


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, or 2 where the request is wrong or the store cannot be read."""
    arguments = _parser().parse_args(argv)
    if not (arguments.tables or arguments.figures or arguments.report):
        raise RequestError("nothing to do: give --tables, --figures or --report")
    from harness.report.render import EDITIONS, render

    edition = EDITIONS[arguments.edition]
    rendered = render(
        arguments.store, edition, tables=arguments.tables, figures=arguments.figures, report=arguments.report
    )
    for line in rendered.warnings:
        print(line, file=sys.stderr)
    print(f"{len(rendered.files)} files written; {rendered.summary}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
