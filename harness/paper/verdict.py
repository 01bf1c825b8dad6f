"""Published against reproduced: the rules by which a number, and a row as a whole, gets its verdict.

Of one number, the first rule that holds:

1. `not comparable`: no run gives such a number; the images are drawn; or runs that contradict one another were refused.
2. `not run`: there is no run that counts (for a mean: not of every category).
3. `match`: the declared seed gives the printed digits.
4. `within seeds`: the printed number lies in the range over the seeds run, both ends rounded as the paper prints.
5. `below sampling error`: it lies outside, yet nearer to the declared seed's value than half the width of the 95 %
   interval. No reproduction, since both sides use the same test images, but too little to say anything of the method.
6. `differs`.

A row is judged jointly, since its numbers must come from one run: see `judge_rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import groupby

from harness.paper.arithmetic import places, prints_as, rounded
from harness.paper.model import DECLARED_SEED, Edition, Judgement, Measured, PublishedCell, RowJudgement, Verdict
from harness.paper.published import N_CATEGORIES, PARAMS, Published


def judge(cell: PublishedCell, measured: Measured, edition: Edition) -> Judgement:
    """Judge one published number against what the store has for it."""
    incomparable = _incomparable(cell, measured, edition)
    if incomparable is not None:
        return Judgement(cell, measured, Verdict.NOT_COMPARABLE, incomparable, None)
    if not measured.by_seed:
        return Judgement(cell, measured, Verdict.NOT_RUN, "; ".join(measured.missing) or "not run", None)
    declared = measured.declared
    difference = None if declared is None else declared - float(cell.printed)
    seeds_exact = tuple(seed for seed, value in measured.by_seed.items() if prints_as(value, cell.printed))
    verdict, reason = _compare(cell.printed, measured, seeds_exact)
    return Judgement(cell, measured, verdict, reason, difference, seeds_exact)


def judge_all(
    published: Published, measured: Mapping[PublishedCell, Measured], edition: Edition
) -> tuple[Judgement, ...]:
    """Judge every published number, in the order of `published.cells`."""
    return tuple(judge(cell, measured[cell], edition) for cell in published.cells)


def judge_rows(judgements: Iterable[Judgement]) -> tuple[RowJudgement, ...]:
    """Judge each published row as a whole, by those numbers that a run gives; leave out rows without such numbers.

    `match`: the declared seed gives every number of the row. `within seeds`: another seed does, one and the same for
    all. `below sampling error`: no seed does, yet at the declared seed each number matches or is nearer than half the
    width of its 95 % interval. `differs`: anything else, even where each number by itself lies within the seeds'
    range. `not run` and `not comparable`: where that is any number's verdict.

    Args:
        judgements: of one edition; those of a row stand together, as `judge_all` gives them.
    """
    ours = (judgement for judgement in judgements if judgement.cell.metric is not None)
    grouped = groupby(ours, key=lambda judgement: (judgement.cell.table, judgement.cell.row))
    return tuple(_judge_row(table, row, tuple(group)) for (table, row), group in grouped)


def _incomparable(cell: PublishedCell, measured: Measured, edition: Edition) -> str | None:
    if cell.column == N_CATEGORIES:
        return "a count of categories, not a result"
    if cell.column == PARAMS:
        return "a count of parameters, which no run gives: see the audit"
    if cell.metric is None:
        return "a literature value: its method is not run here"
    if edition.synthetic:
        return "SYNTHETIC: the images are drawn, the paper's are photographs"
    return "; ".join(measured.refused) or None


def _compare(printed: str, measured: Measured, seeds_exact: Sequence[int]) -> tuple[Verdict, str]:
    """Apply rules 3 to 6 to a number with at least one value."""
    share = f"{len(seeds_exact)} of {_seeds(len(measured.by_seed))} give exactly this"
    if DECLARED_SEED in seeds_exact:
        return Verdict.MATCH, f"seed {DECLARED_SEED} gives {printed}; {share}"
    declared, digits = measured.declared, places(printed)
    low, high = min(measured.by_seed.values()), max(measured.by_seed.values())
    span = f"{_seeds(len(measured.by_seed))} from {rounded(low, digits)} to {rounded(high, digits)}"
    at_declared = "is not run" if declared is None else f"gives {rounded(declared, digits)}"
    told = f"seed {DECLARED_SEED} {at_declared}"
    if low <= Fraction(printed) <= high or prints_as(low, printed) or prints_as(high, printed):
        return Verdict.WITHIN_SEEDS, f"{told}; {span}; {share}"
    if declared is None:
        return Verdict.DIFFERS, f"{told}; outside {span}"
    if measured.half_width is None:
        return Verdict.DIFFERS, f"{told}; outside {span}; no 95 % interval"
    distance = abs(declared - float(printed))
    against = f"{distance:.4f} away, half-width of the 95 % interval {measured.half_width:.4f}"
    verdict = Verdict.BELOW_SAMPLING_ERROR if distance < measured.half_width else Verdict.DIFFERS
    return verdict, f"{told}; outside {span}; {against}"


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


def _judge_row(table: int, row: str, judgements: tuple[Judgement, ...]) -> RowJudgement:
    for verdict in (Verdict.NOT_COMPARABLE, Verdict.NOT_RUN):
        reasons = dict.fromkeys(judgement.reason for judgement in judgements if judgement.verdict == verdict)
        if reasons:
            return RowJudgement(table, row, judgements, verdict, "; ".join(reasons))
    seeds = sorted(set.intersection(*(set(judgement.measured.by_seed) for judgement in judgements)))
    exact_seeds = [seed for seed in seeds if all(seed in judgement.seeds_exact for judgement in judgements)]
    n = len(judgements)
    share = f"{len(exact_seeds)} of {_seeds(len(seeds))} give all {n} numbers"
    if exact_seeds:
        verdict = Verdict.MATCH if DECLARED_SEED in exact_seeds else Verdict.WITHIN_SEEDS
        return RowJudgement(table, row, judgements, verdict, share)
    reason = f"no seed of {len(seeds)} gives all {n} numbers; {_best(seeds, judgements)}"
    near = all(_near_at_declared(judgement) for judgement in judgements)
    return RowJudgement(table, row, judgements, Verdict.BELOW_SAMPLING_ERROR if near else Verdict.DIFFERS, reason)


def _near_at_declared(judgement: Judgement) -> bool:
    if judgement.verdict == Verdict.MATCH:
        return True
    width = judgement.measured.half_width
    return judgement.difference is not None and width is not None and abs(judgement.difference) < width


def _best(seeds: Sequence[int], judgements: Sequence[Judgement]) -> str:
    """Say which seed gives most of a row; the declared one, then the smallest, among equals."""
    counts = {seed: sum(seed in judgement.seeds_exact for judgement in judgements) for seed in seeds}
    if not any(counts.values()):
        return "none gives any of them"
    best = max(seeds, key=lambda seed: (counts[seed], seed == DECLARED_SEED, -seed))
    columns = [judgement.cell.column for judgement in judgements if best in judgement.seeds_exact]
    return f"at best {counts[best]}, at seed {best} ({', '.join(columns)})"
