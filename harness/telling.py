"""The settings in which runs of the same dataset, category and backbone differ besides the seed, and their names."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from harness.outcome import Outcome

_SHORT = {"n_features": "features", "protocol.index_sampler": "sampler", "backbone.weights": "weights"}
_WORDS = {None: "null", True: "true", False: "false"}


def varying(outcomes: Sequence[Outcome]) -> list[str]:
    """The keys of a request in which runs of one dataset, category and backbone differ, but for the seed.

    Where the protocol does, its fields are named only if they differ within one protocol as well.
    """
    found: set[str] = set()
    for group in _groups([(_name(outcome), outcome) for outcome in outcomes]):
        found |= {key for key in _differing(group) if not key.startswith("protocol.")}
    for group in _groups([((*_name(outcome), outcome.settings["protocol"]), outcome) for outcome in outcomes]):
        found |= _differing(group)
    return [key for key in _all_settings(outcomes[0]) if key in found] if outcomes else []


def but_for_the_seed(outcome: Outcome) -> Hashable:
    """What runs share that may be averaged: everything but the seed."""
    return (*_name(outcome), *_all_settings(outcome).items())


def setting(outcome: Outcome, key: str) -> str:
    """A run's setting, as the command line takes it."""
    value = _all_settings(outcome)[key]
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return _WORDS[value] if value is None or isinstance(value, bool) else str(value)


def short_name(key: str) -> str:
    """What a column of these settings is called."""
    return _SHORT.get(key, key.rpartition(".")[2])


def _name(outcome: Outcome) -> tuple[Hashable, ...]:
    return outcome.dataset, outcome.category, outcome.backbone


def _all_settings(outcome: Outcome) -> dict[str, Any]:
    return {"n_features": outcome.n_features, **outcome.settings}


def _groups(named: Sequence[tuple[Hashable, Outcome]]) -> list[list[Outcome]]:
    groups: dict[Hashable, list[Outcome]] = {}
    for name, outcome in named:
        groups.setdefault(name, []).append(outcome)
    return list(groups.values())


def _differing(group: Sequence[Outcome]) -> set[str]:
    first, *others = map(_all_settings, group)
    return {key for key, value in first.items() if any(other[key] != value for other in others)}
