"""The paper's numbers and sentences against arithmetic, its own tables and public facts; no run is needed.

Also the audit as Markdown, and its place in docs/findings.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from harness.paper import checks  # noqa: F401  which registers its checks
from harness.paper.audit_numbers import audit_attainable, audit_consistency, audit_means
from harness.paper.claims import CHECKS, load_claims, load_context
from harness.paper.model import ClaimVerdict, Finding
from harness.paper.published import Published

BEGIN = "<!-- audit: written by `python -m harness.paper --write docs/findings.md`; do not edit by hand -->"
END = "<!-- end of audit -->"

KINDS = {
    "mean": "mean rows and repeated numbers",
    "attainable": "attainable values",
    "consistency": "AUROC beside F1",
    "claim": "claims of the prose",
}
ORDER = (ClaimVerdict.FALSE, ClaimVerdict.NOT_CHECKED, ClaimVerdict.TRUE)


def run_audit(published: Published) -> tuple[Finding, ...]:
    """Every finding, in a fixed order: means, attainable values, consistency, claims."""
    return (
        *audit_means(published),
        *audit_attainable(published),
        *audit_consistency(published),
        *audit_claims(published),
    )


def audit_claims(published: Published) -> Iterator[Finding]:
    """One finding for each claim, in the order of claims.toml, which is the paper's.

    Raises:
        KeyError, TypeError: a claim names no check or wrong arguments: a defect of the checkout.
    """
    context = load_context(published)
    for claim in load_claims():
        outcome = CHECKS[claim.check](context, **claim.arguments)
        yield Finding(claim.identifier, "claim", claim.section, claim.says, outcome.verdict, outcome.evidence)


def audit_markdown(findings: Sequence[Finding]) -> str:
    """A summary by kind and verdict, then everything that is false, then every claim by verdict."""
    arithmetic = [finding for finding in findings if finding.kind != "claim"]
    claims = [finding for finding in findings if finding.kind == "claim"]
    parts = [
        _summary(findings),
        _table("Arithmetic: false", _only(arithmetic, ClaimVerdict.FALSE)),
        *(_table(f"Claims: {verdict}", _only(claims, verdict)) for verdict in ORDER),
    ]
    return "\n\n".join(parts)


def replace_audit(document: str, findings: Sequence[Finding]) -> str:
    """A document with its audit between BEGIN and END written anew.

    Raises:
        ValueError: the document has not exactly one such place.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the document needs exactly one line {BEGIN!r} and after it one {END!r}")
    return f"{before}{BEGIN}\n\n{audit_markdown(findings)}\n\n{END}{after}"


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter((finding.kind, finding.verdict) for finding in findings)
    lines = ["| | false | not checked here | true |", "|---|---:|---:|---:|"]
    for kind, title in KINDS.items():
        cells = " | ".join(str(counts[kind, verdict]) for verdict in ORDER)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def _only(findings: Iterable[Finding], verdict: ClaimVerdict) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is verdict]


def _table(title: str, findings: Sequence[Finding]) -> str:
    return "\n".join((f"### {title} ({len(findings)})", "", *_rows(findings)))


def _rows(findings: Sequence[Finding]) -> Iterator[str]:
    yield "| § | the paper | evidence |"
    yield "|---|---|---|"
    for finding in findings:
        yield f"| {finding.section} | {_cell(finding.statement)} | {_cell(finding.evidence)} |"


def _cell(text: str) -> str:
    """Markdown would take a bar for the end of a cell, and an asterisk or underscore for emphasis."""
    for mark in "\\|*_":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("<", "&lt;")
