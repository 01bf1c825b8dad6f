"""Audit, part d: every checkable sentence of the paper, each a line of data and a check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.paper import checks_data, checks_method, checks_tables
from harness.paper.claims import Check, Context, load_claims, load_context
from harness.paper.model import Finding
from harness.paper.published import Published

CHECKS: Mapping[str, Check] = MappingProxyType({**checks_tables.CHECKS, **checks_data.CHECKS, **checks_method.CHECKS})
"""By the name that claims.toml gives."""


def audit_claims(published: Published) -> Iterator[Finding]:
    """One finding for each claim, in the order of claims.toml, which is the paper's.

    Raises:
        KeyError, TypeError: a claim names no check or wrong arguments: a defect of the checkout.
    """
    context: Context = load_context(published)
    for claim in load_claims():
        outcome = CHECKS[claim.check](context, **claim.arguments)
        yield Finding(
            identifier=claim.identifier,
            kind="claim",
            section=claim.section,
            statement=claim.says,
            verdict=outcome.verdict,
            evidence=outcome.evidence,
        )
