"""`python -m harness.papers`: print the audit of the paper, or write it into a document."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import RequestError
from harness.papers.audit import audit_markdown, replace_audit, run_audit
from harness.papers.published import load_published


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, or 2 where the document cannot be read or written."""
    parser = Parser(prog="python -m harness.papers", description="Audit the paper by arithmetic.")
    parser.add_argument("--write", metavar="FILE", type=Path, help="replace the audit in this document")
    path: Path | None = parser.parse_args(argv).write
    findings = run_audit(load_published())
    if path is None:
        print(audit_markdown(findings))
        return 0
    try:
        path.write_text(replace_audit(path.read_text(encoding="utf-8"), findings), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: {error}") from error
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
