"""The paper's numbers and sentences against arithmetic, its own tables and public facts; no run is needed."""

from __future__ import annotations

from harness.paper.audit_claims import audit_claims
from harness.paper.audit_counts import audit_attainable, audit_consistency
from harness.paper.audit_means import audit_means
from harness.paper.model import Finding
from harness.paper.published import Published


def run_audit(published: Published) -> tuple[Finding, ...]:
    """Every finding, in a fixed order: means, attainable values, consistency, claims."""
    return (
        *audit_means(published),
        *audit_attainable(published),
        *audit_consistency(published),
        *audit_claims(published),
    )
