"""The paper's sentences as data, and what a check of one is given and gives back."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.paper.model import ClaimVerdict
from harness.paper.published import FOLDER, Published, load_parameters


@dataclass(frozen=True)
class Claim:
    """One checkable sentence."""

    identifier: str
    section: str
    says: str
    """What the paper says, in its own words where they matter."""
    check: str
    """The name of the function that checks it (`harness.paper.audit_claims.CHECKS`)."""
    arguments: Mapping[str, Any]
    """Its keyword arguments."""


@dataclass(frozen=True)
class Context:
    """What claims are held against."""

    published: Published
    facts: Mapping[str, Any]
    """results/paper/facts.toml: public facts with their sources."""
    subjects: Mapping[int, tuple[str, ...]]
    """Number in the reference list -> what a citation of it can mean."""
    names: Mapping[int, str]
    """Number in the reference list -> authors as printed there."""
    citations: tuple[tuple[str, str, int], ...]
    """(section, what is named, cited number) of every citation in the prose that names what it cites."""
    parameters: Mapping[str, int]
    """Backbone -> parameters up to the last layer read, counted on the network itself."""


@dataclass(frozen=True)
class Outcome:
    """What a check finds."""

    verdict: ClaimVerdict
    evidence: str


Check = Callable[..., Outcome]
"""`check(context, **arguments) -> Outcome`."""


def verdict_of(holds: bool) -> ClaimVerdict:
    """TRUE or FALSE."""
    return ClaimVerdict.TRUE if holds else ClaimVerdict.FALSE


def load_claims(folder: Path = FOLDER) -> tuple[Claim, ...]:
    """Read claims.toml, in its order.

    Raises:
        OSError, ValueError, KeyError: the file is not there or is no such list: a defect of the checkout.
    """
    entries = _toml(folder / "claims.toml")["claims"]
    return tuple(
        Claim(
            identifier=entry["id"],
            section=entry["section"],
            says=entry["says"],
            check=entry["check"],
            arguments=MappingProxyType(entry.get("with", {})),
        )
        for entry in entries
    )


def load_context(published: Published, folder: Path = FOLDER) -> Context:
    """Read facts.toml, references.toml and the counted parameters.

    Raises:
        OSError, ValueError, KeyError: a file is not there or is not what it should be: a defect of the checkout.
    """
    references = _toml(folder / "references.toml")
    listed = references["references"]
    return Context(
        published=published,
        facts=MappingProxyType(_toml(folder / "facts.toml")),
        subjects=MappingProxyType({entry["number"]: tuple(entry["subjects"]) for entry in listed}),
        names=MappingProxyType({entry["number"]: entry["printed"] for entry in listed}),
        citations=tuple((entry["section"], entry["subject"], entry["number"]) for entry in references["citations"]),
        parameters=load_parameters(),
    )


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
