"""A paper's numbers and sentences against arithmetic, its own tables and public facts; no run is needed.

Also the audit as Markdown, and its place in a document.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pydantic import ValidationError, validate_call

from harness.config.keys import suggest
from harness.errors import RequestError
from harness.papers import checks
from harness.papers.audit_numbers import audit_attainable, audit_consistency, audit_means
from harness.papers.model import Checked, ClaimVerdict, Finding
from harness.papers.published import Published
from harness.papers.reading import find_line, own_module

BEGIN = "<!-- audit: written by `python -m harness.papers audit --write docs/findings.md`; do not edit by hand -->"
END = "<!-- end of audit -->"

KINDS = {
    "mean": "mean rows and repeated numbers",
    "attainable": "attainable values",
    "consistency": "AUROC beside F1",
    "claim": "claims of the prose",
}
ORDER = (ClaimVerdict.FALSE, ClaimVerdict.NOT_CHECKED, ClaimVerdict.TRUE)
VERDICTS = {True: ClaimVerdict.TRUE, False: ClaimVerdict.FALSE, None: ClaimVerdict.NOT_CHECKED}


def checks_of(published: Published) -> dict[str, Callable[..., Checked]]:
    """Return the checks that a claim of a paper can name: the general ones, and those of its own module."""
    modules = [module for module in (checks, own_module(published.id)) if module is not None]
    return {
        name: function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def run_audit(published: Published) -> tuple[Finding, ...]:
    """Return every finding, in a fixed order: means, attainable values, consistency, claims."""
    return (
        *audit_means(published),
        *audit_attainable(published),
        *audit_consistency(published),
        *audit_claims(published),
    )


def audit_claims(published: Published) -> Iterator[Finding]:
    """Yield one finding for each claim, in the order of claims.toml, which is the paper's."""
    allowed = checks_of(published)
    for index, claim in enumerate(published.claims):
        where = f"{find_line(published.folder / 'claims.toml', 'claims', index, claim.id)}, claim {claim.id}"
        if claim.check not in allowed:
            known = f"{suggest(claim.check, allowed)}; allowed: {', '.join(sorted(allowed))}"
            raise RequestError(f"{where}: check {claim.check} is not there{known}")
        try:
            if [] in claim.arguments.values():
                raise ValueError("an empty list checks nothing")
            holds, evidence = validate_call(partial(allowed[claim.check], published))(**claim.arguments)
        except ValidationError as error:
            first = min(error.errors(), key=lambda one: one["type"].startswith("missing"))
            why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise RequestError(f"{where}: check {claim.check} cannot run ({why})") from error
        except (LookupError, ArithmeticError, TypeError, ValueError, StopIteration, RuntimeError, re.error) as error:
            raise RequestError(f"{where}: check {claim.check} cannot run ({error!r})") from error
        yield Finding(claim.id, "claim", claim.section, claim.says, VERDICTS[holds], evidence)


def audit_markdown(findings: Sequence[Finding]) -> str:
    """Write a summary by kind and verdict, then everything that is false, then every claim by verdict."""
    claims = {verdict: [one for one in findings if (one.kind, one.verdict) == ("claim", verdict)] for verdict in ORDER}
    wrong = [one for one in findings if one.kind != "claim" and one.verdict is ClaimVerdict.FALSE]
    parts = [
        _summary(findings),
        _table("Arithmetic: false", wrong),
        *(_table(f"Claims: {verdict}", listed) for verdict, listed in claims.items()),
    ]
    return "\n\n".join(parts)


def replace_between(document: str, begin: str, end: str, text: str) -> str:
    """Return a document with a new text between two lines.

    Raises:
        ValueError: the document has not exactly one such place.
    """
    before, first, rest = document.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last or begin in rest or end in after:
        raise ValueError(f"the document needs exactly one line {begin!r} and after it one {end!r}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter((finding.kind, finding.verdict) for finding in findings)
    lines = ["| | false | not checked here | true |", "|---|---:|---:|---:|"]
    for kind, title in KINDS.items():
        cells = " | ".join(str(counts[kind, verdict]) for verdict in ORDER)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def _table(title: str, findings: Sequence[Finding]) -> str:
    rows = (f"| {one.section} | {_cell(one.statement)} | {_cell(one.evidence)} |" for one in findings)
    return "\n".join((f"### {title} ({len(findings)})", "", "| § | the paper | evidence |", "|---|---|---|", *rows))


def _cell(text: str) -> str:
    """Escape what Markdown would take for the end of a cell (a bar) or for emphasis (an asterisk or underscore)."""
    for mark in "\\|*_":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("<", "&lt;")
