"""Checks of what the paper says of its method against anomalib's source, the configuration and counted parameters."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.keys import CONFIGS
from harness.paper.claims import Check, Context, Outcome, verdict_of
from harness.paper.digits import prints_as, rounded
from harness.paper.model import ClaimVerdict
from harness.paper.published import PARAMS


def source(context: Context, *, file: str, finds: Sequence[str], verdict: str, evidence: str) -> Outcome:
    """anomalib's own code does what `evidence` says, shown by every expression of `finds` matching in one of its files.

    Args:
        file: below the installed package, which is read, not imported.
        verdict: of the claim, where the code is as expected.
    """
    text = _anomalib_source(file)
    if text is None:
        return Outcome(ClaimVerdict.NOT_CHECKED, f"anomalib's {file} is not installed here")
    missing = [expression for expression in finds if re.search(expression, text) is None]
    if missing:
        return Outcome(
            ClaimVerdict.NOT_CHECKED, f"anomalib {version('anomalib')}'s {file} has no {missing[0]!r} any more"
        )
    return Outcome(ClaimVerdict(verdict), f"{evidence} (anomalib {version('anomalib')}, {Path(file).name})")


def _anomalib_source(file: str) -> str | None:
    found = importlib.util.find_spec("anomalib")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / file
    return path.read_text(encoding="utf-8") if path.is_file() else None


def grid(context: Context, *, backbone: str, side: int) -> Outcome:
    """The finest layer's grid has so many cells along a side."""
    size, reduction = _protocol("paper")["center_crop"][0], _backbone(backbone)["reductions"][0]
    return Outcome(verdict_of(size // reduction == side), f"{size} / {reduction} = {size // reduction} along a side")


def original_resolution(context: Context) -> Outcome:
    """Maps have the original images' resolution and extent; anomalib gives them the network input's."""
    resized, cropped = (_protocol("paper")[field][0] for field in ("resize", "center_crop"))
    lost = 100 * (1 - Fraction(cropped, resized) ** 2)
    return source(
        context,
        file="models/image/padim/torch_model.py",
        finds=[r"output_size = input_tensor\.shape\[-2:\]", r"image_size=output_size"],
        verdict="false",
        evidence=(
            f"in anomalib, 1.x and 2.x, maps have the size of the network's input, {cropped}×{cropped}, and section "
            f"5.3 speaks of “224×224 evaluation images”; the centre crop of 3.2 leaves {rounded(lost, 1)} % of each "
            "picture's area without a score"
        ),
    )


def parameters(context: Context, *, row: str) -> Outcome:
    """A backbone of Table 2 has as many parameters as printed."""
    cell = context.published.cell(2, row, PARAMS)
    count = context.parameters[cell.places[0].backbone]
    holds = prints_as(Fraction(count, 10**6), cell.printed)
    return Outcome(
        verdict_of(holds), f"{count:,} parameters up to layer3, counted on the network: {rounded(count / 1e6, 2)} M"
    )


def parameter_ratio(context: Context, *, larger: str, smaller: str, value: str) -> Outcome:
    """One backbone has so many times another's parameters."""
    ratio = Fraction(context.parameters[larger], context.parameters[smaller])
    evidence = f"{context.parameters[larger]:,} / {context.parameters[smaller]:,} = {rounded(ratio, 2)}"
    stored = {name: _gaussian_numbers(name) for name in (larger, smaller)}
    footprint = (
        f"this is the backbone up to layer3; the stored Gaussians are {rounded(stored[smaller] / 1e6, 1)} M against "
        f"{rounded(stored[larger] / 1e6, 1)} M numbers, {rounded(Fraction(stored[larger], stored[smaller]), 1)}-fold"
    )
    return Outcome(verdict_of(prints_as(ratio, value)), f"{evidence}; {footprint}")


def _gaussian_numbers(backbone: str) -> int:
    """Count the numbers of all means and covariances at the kept features of the paper's protocol."""
    protocol = _protocol("paper")
    side, kept = protocol["center_crop"][0] // _backbone(backbone)["reductions"][0], protocol["n_features"][backbone]
    return int(side**2 * (kept**2 + kept))


def storage(context: Context, *, backbone: str, kept: int) -> Outcome:
    """Keeping so many features makes each covariance matrix smaller."""
    total = sum(_backbone(backbone)["channels"])
    factor = Fraction(total, kept) ** 2
    return Outcome(
        verdict_of(kept < total), f"{total}² to {kept}² entries a location: {rounded(factor, 0)} times fewer"
    )


def identical_conditions(context: Context, *, backbones: Sequence[str]) -> Outcome:
    """Both backbones ran under the same conditions; the paper states n for one of them only."""
    kept = _protocol("anomalib_v2")["n_features"], _protocol("paper")["n_features"]
    defaults = ", ".join(f"{name} {kept[0][name]} of {sum(_backbone(name)['channels'])}" for name in backbones)
    evidence = (
        f"n is stated for {backbones[1]} only ({kept[1][backbones[1]]}); anomalib's defaults are {defaults}, so that "
        "the two rows differ in kept features too unless ResNet-18 ran with 256"
    )
    return Outcome(ClaimVerdict.NOT_CHECKED, evidence)


@cache
def _protocol(name: str) -> Mapping[str, Any]:
    return _yaml(CONFIGS / "protocol" / f"{name}.yaml")


@cache
def _backbone(name: str) -> Mapping[str, Any]:
    return _yaml(CONFIGS / "backbone" / f"{name}.yaml")


def _yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    return MappingProxyType(yaml.safe_load(path.read_text(encoding="utf-8")))


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            source,
            grid,
            original_resolution,
            parameters,
            parameter_ratio,
            storage,
            identical_conditions,
        )
    }
)
