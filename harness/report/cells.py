"""What one place of a table or a figure shows: a number with its spread, or two or three words on why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from harness.paper.model import DECLARED_SEED, Judgement

_PLACE = re.compile(r"[^/ ]+/[^/ ]+/[^/ ]+: ")
"""How `harness.paper.selection` begins a reason: dataset/category/backbone."""

_FAILED = re.compile(r": seed [0-9, ]+ failed")
"""How `harness.paper.selection` begins a missing place's reasons where a run failed."""


class Spread(StrEnum):
    """What whiskers show."""

    SEEDS = "range over the seeds run"
    INTERVAL = f"95 % interval of seed {DECLARED_SEED}"
    NONE = ""


def by_name(judgements: Iterable[Judgement]) -> Mapping[tuple[int, str, str], Judgement]:
    """Judgements by table, row and column."""
    return {(one.cell.table, one.cell.row, one.cell.column): one for one in judgements}


def absence(judgement: Judgement) -> str:
    """Why there is no number at the declared seed, in a few words; empty where there is one, or no run could give one.

    `not run (1 of 3)` is a mean that is refused because it would be over fewer categories than it says.
    """
    measured, n = judgement.measured, len(judgement.cell.places)
    if judgement.cell.metric is None or measured.declared is not None:
        return ""
    if measured.by_seed:
        return f"no seed {DECLARED_SEED}"
    lacking = lacking_places(judgement)
    word = _why(" ".join(lacking), refused=bool(measured.refused))
    if n == 1 or len(lacking) == n:
        return word
    return f"{word} ({n - len(lacking)} of {n})" if lacking else "no common runs"


def _why(reasons: str, *, refused: bool) -> str:
    if _FAILED.search(reasons):
        return "failed"
    if refused:
        return "runs contradict"
    if " is absent (" in reasons:
        return "no metric"
    return "none counts" if "does not count" in reasons else "not run"


def choose_spread(judgements: Iterable[Judgement]) -> Spread:
    """One kind of whisker for a whole figure: the seeds' range where every measured cell has two seeds or more.

    Else intervals, where any cell has one, so that two kinds never stand side by side.
    """
    measured = [one.measured for one in judgements if one.measured.by_seed]
    if measured and all(len(one.by_seed) > 1 for one in measured):
        return Spread.SEEDS
    return Spread.INTERVAL if any(one.half_width is not None for one in measured) else Spread.NONE


def spread(judgement: Judgement, kind: Spread) -> tuple[float, float] | None:
    """Both ends of a cell's whisker; None where it has none of this kind.

    A mean over categories has no bootstrap interval of its own: its half-width combines the categories'.
    """
    measured = judgement.measured
    if kind is Spread.SEEDS:
        return measured.seed_range
    if kind is Spread.NONE or measured.declared is None:
        return None
    if measured.interval is not None:
        return measured.interval
    if measured.half_width is None:
        return None
    return max(measured.declared - measured.half_width, 0.0), min(measured.declared + measured.half_width, 1.0)


def spread_words(judgements: Iterable[Judgement], kind: Spread) -> str:
    """What a figure's bars and whiskers are, in one sentence, with how many seeds there are."""
    measured = [one.measured for one in judgements if one.measured.by_seed]
    if not measured:
        return "No run fills a place of this figure: the published values stand alone."
    text = f"Bars: the store's runs at seed {DECLARED_SEED}."
    if kind is Spread.SEEDS:
        counts = sorted({len(one.by_seed) for one in measured})
        number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f"{text} Whiskers: lowest to highest of the {number} seeds run."
    if kind is Spread.NONE:
        return f"{text} No whiskers: one seed, and no intervals in the records."
    text += " Whiskers: 95 % bootstrap interval over the test images"
    combined = any(one.interval is None and one.half_width is not None for one in measured)
    return f"{text}, combined for a mean from its categories' half-widths." if combined else f"{text}."


def places_run(judgement: Judgement) -> int:
    """How many of the places that a mean is over have runs that count."""
    measured, places = judgement.measured, judgement.cell.places
    return len(places) if measured.by_seed else len(places) - len(lacking_places(judgement))


def lacking_places(judgement: Judgement) -> list[str]:
    """Why a place has no runs that count, for each that has none."""
    measured = judgement.measured
    return [text for text in (*measured.missing, *measured.refused) if _PLACE.match(text)]
