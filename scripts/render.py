"""Make the paper's tables, figures and page from a results store; the same store gives the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import RequestError
from harness.paths import PROJECT


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--store", type=Path, default=PROJECT / "results", help="the store's folder (default: results)")
    parser.add_argument("--edition", choices=("paper", "smoke"), default="paper", help="which runs (default: paper)")
    parser.add_argument("--tables", type=Path, metavar="DIR", help="write Tables 1 to 6 to DIR: CSV, Markdown, LaTeX")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write Figures 1 to 9 to DIR as SVG, PDF and PNG")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the page to FILE; needs --figures")
    arguments = parser.parse_args(argv)
    outputs = {name: getattr(arguments, name) for name in ("tables", "figures", "report")}
    if not any(outputs.values()):
        raise RequestError("nothing to do: give --tables, --figures or --report")
    from harness.report.render import EDITIONS, render

    rendered = render(arguments.store, EDITIONS[arguments.edition], **outputs)
    for line in rendered.warnings:
        print(line, file=sys.stderr)
    print(f"{len(rendered.files)} files written; {rendered.summary}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
