"""Parameter counts of the backbones, cut behind the last layer that PaDiM reads; measured once and kept as data."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from harness.keys import PROJECT

FILE = PROJECT / "results" / "paper" / "parameters.csv"


@dataclass(frozen=True)
class ParameterCount:
    """One backbone."""

    parameters: int
    """Trainable parameters of the network up to its third layer; statistics of batch normalisation are not counted."""
    how: str
    """With which versions it was counted."""


@cache
def parameter_counts() -> Mapping[str, ParameterCount]:
    """By the store's backbone names.

    Raises:
        OSError, KeyError, ValueError: the file is not there or is no such table: a defect of the checkout.
    """
    with open(FILE, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    counts = {line["backbone"]: ParameterCount(int(line["parameters"]), line["how"]) for line in lines}
    return MappingProxyType(counts)
