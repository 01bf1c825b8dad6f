"""`python -m harness.papers`: list the papers, audit one by arithmetic, check its files, write their schemas."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script, table_lines, write
from harness.errors import RequestError
from harness.papers import sources
from harness.papers.audit import BEGIN, END, audit_markdown, replace_between, run_audit
from harness.papers.reading import PAPERS, load_published, paper_ids, schemas
from harness.papers.sources import all_papers, numbers_markdown
from harness.paths import PROJECT
from harness.store import Store

STORES = (PROJECT / "results", PROJECT / "results" / "references")
"""Whose runs the published numbers are held against."""
_ID = "a folder of results/papers (default: the one that says so)"


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, or 2 where a paper's file is wrong or a document cannot be read or written."""
    parser = Parser(prog="python -m harness.papers", description="Papers of results/papers: list, audit, verify.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    commands.add_parser("list", help="one line for each paper")
    audit = commands.add_parser("audit", help="check a paper's numbers and sentences; no run is needed")
    audit.add_argument("paper", nargs="?", metavar="ID", help=_ID)
    audit.add_argument("--write", metavar="FILE", type=Path, help="replace the audit in this document")
    verify = commands.add_parser("verify", help="check that a paper's files can be read and fit one another")
    verify.add_argument("paper", nargs="?", metavar="ID", help=_ID)
    numbers = commands.add_parser("numbers", help="write all sources, what was measured, and how far they differ")
    numbers.add_argument("--write", metavar="FILE", type=Path, help="replace the numbers in this document")
    schema = commands.add_parser("schema", help="write the files' JSON schemas, for editors")
    schema.add_argument("--folder", type=Path, default=PAPERS / "schema", help="default: results/papers/schema")
    arguments = parser.parse_args(argv)
    actions = {"list": _list, "verify": _verify, "schema": _schema, "audit": _audit, "numbers": _numbers}
    actions[arguments.command](arguments)
    return 0


def _list(_arguments: Namespace) -> None:
    rows = []
    for name in paper_ids():
        paper = load_published(name)
        runs = sum(cell.metric is not None for cell in paper.cells)
        year = str(paper.about.year or "")
        rows.append((name, ", ".join(paper.about.authors), year, str(len(paper.cells)), str(runs), paper.about.title))
    write(table_lines(("paper", "authors", "year", "numbers", "comparable", "title"), rows))


def _verify(arguments: Namespace) -> None:
    paper = load_published(arguments.paper)
    run_audit(paper)  # refuses a claim whose check is not there or cannot run
    parts = f"{len(paper.cells)} numbers, {len(paper.tables)} tables, {len(paper.figures)} figures"
    print(f"{paper.id}: {parts}, {len(paper.claims)} claims: every file can be read and fits the others")


def _schema(arguments: Namespace) -> None:
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (arguments.folder / name).write_text(text, encoding="utf-8")
    print(f"{len(schemas())} schemas written to {arguments.folder}")


def _audit(arguments: Namespace) -> None:
    _show(audit_markdown(run_audit(load_published(arguments.paper))), arguments.write, BEGIN, END)


def _numbers(arguments: Namespace) -> None:
    records = [record for store in STORES for record in Store(store).records().records]
    _show(numbers_markdown(all_papers(), records), arguments.write, sources.BEGIN, sources.END)


def _show(text: str, path: Path | None, begin: str, end: str) -> None:
    """Print a text, or put it between two lines of a document."""
    if path is None:
        print(text)
        return
    try:
        document = path.read_text(encoding="utf-8")
        path.write_text(replace_between(document, begin, end, text), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: {error}") from error


if __name__ == "__main__":
    sys.exit(run_script(main))
