"""Make a paper's tables, figures and page from a results store; the same store gives the same bytes."""

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
    parser.add_argument("--paper", metavar="ID", help="a folder of results/papers (default: the one that says so)")
    parser.add_argument("--edition", choices=("paper", "smoke"), default="paper", help="which runs (default: paper)")
    parser.add_argument("--tables", type=Path, metavar="DIR", help="write the tables there: CSV, Markdown, LaTeX")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write the figures there, as SVG, PDF and PNG")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the page there; needs --figures")
    arguments = parser.parse_args(argv)
    outputs = {name: getattr(arguments, name) for name in ("tables", "figures", "report")}
    if not any(outputs.values()):
        raise RequestError("nothing to do: give --tables, --figures or --report")
    from harness.papers.reading import load_published
    from harness.report.render import find_edition, render

    published = load_published(arguments.paper)
    rendered = render(arguments.store, published, find_edition(published, arguments.edition), **outputs)
    for line in rendered.warnings:
        print(line, file=sys.stderr)
    print(f"{len(rendered.files)} files written; {rendered.summary}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
