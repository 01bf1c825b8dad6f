"""Published against reproduced: the rules by which a number, and a row as a whole, gets its verdict.

Of one number, the first rule that holds:

1. `not comparable`: no run gives such a number; the images are drawn; or runs that contradict one another were refused.
2. `not run`: there is no run that counts (for a mean: not of every category).
3. `match`: the declared seed gives the printed digits.
4. `too few seeds`: fewer than `LEAST_SEEDS`.
5. `consistent`: the printed number lies in the 95 % prediction interval for one more seed, which reaches at least one
   step of the metric's grid. Where no seed differs from another: it is their value, or the next one on the grid.
6. `differs`.

A row is judged jointly, since its numbers must come from one run: see `judge_rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import groupby

import numpy as np

from harness.papers.arithmetic import places, prints_as, rounded
from harness.papers.model import Edition, Judgement, Measured, PublishedCell, RowJudgement, Verdict
from harness.papers.prediction import LEAST_SEEDS, LEVEL, Prediction, RowTest, least_seeds, predict, row_test
from harness.papers.published import Published

_CAVEATS = (
    "Verdicts ask whether the published number, or row, can be one more seed's: 95 % prediction interval for a number, "
    "Hotelling's prediction test at 5 % for a row. Both assume that values over seeds are normal.",
    "p-values are not adjusted: of 20 numbers that do reproduce, one differs by chance.",
    "Seeds vary only what the seed moves, for PaDiM the draw of the kept channels. Images, weights, versions and "
    "preprocessing are the same at every seed, so `differs` means that more than the seed does.",
)


def caveats(published: Published) -> tuple[str, ...]:
    """Return what a reader must know beside every verdict, a sentence or two each."""
    search = published.about.search
    if search is None:
        return _CAVEATS
    tried = (
        f"{search.tried} settings of {search.dataset}/{search.category} with {search.backbone} were tried "
        f"(results/{search.store}). A ranking of settings is exploration, not a test: the largest of many p-values is "
        "no evidence by itself."
    )
    return *_CAVEATS[:-1], tried, _CAVEATS[-1]


def judge(cell: PublishedCell, measured: Measured, edition: Edition) -> Judgement:
    """Judge one published number against what the store has for it."""
    incomparable = _incomparable(cell, measured, edition)
    if incomparable is not None:
        return Judgement(cell, measured, Verdict.NOT_COMPARABLE, incomparable, None)
    if not measured.by_seed:
        return Judgement(cell, measured, Verdict.NOT_RUN, "; ".join(measured.missing) or "not run", None)
    declared, n = measured.declared, len(measured.by_seed)
    difference = None if declared is None else declared - float(cell.printed)
    seeds_exact = tuple(seed for seed, value in measured.by_seed.items() if prints_as(value, cell.printed))
    prediction = predict(tuple(measured.by_seed.values()), measured.steps) if n >= LEAST_SEEDS else None
    p = prediction.p_value(float(cell.printed)) if prediction and prediction.deviation else None
    verdict, reason = _compare(cell.printed, measured, prediction, p, edition.declared_seed)
    reason = f"{reason}; {len(seeds_exact)} of {_seeds(n)} give exactly this"
    return Judgement(cell, measured, verdict, reason, difference, seeds_exact, prediction, p)


def judge_all(
    published: Published, measured: Mapping[PublishedCell, Measured], edition: Edition
) -> tuple[Judgement, ...]:
    """Judge every published number, in the order of `published.cells`."""
    return tuple(judge(cell, measured[cell], edition) for cell in published.cells)


def judge_rows(judgements: Iterable[Judgement], edition: Edition) -> tuple[RowJudgement, ...]:
    """Judge each published row as a whole, by those numbers that a run gives; leave out rows without such numbers.

    `match`: the declared seed gives every number of the row. `too few seeds`: fewer than 5, or than the numbers that
    vary plus 3. `differs`: Hotelling's prediction test rejects at 5 %, or a number that no seed moves is off by more
    than a step of its grid. `consistent`: anything else. `not run` and `not comparable`: where that is any number's
    verdict.

    Args:
        judgements: of this edition; those of a row stand together, as `judge_all` gives them.
    """
    ours = (judgement for judgement in judgements if judgement.cell.metric is not None)
    grouped = groupby(ours, key=lambda judgement: (judgement.cell.table, judgement.cell.row))
    return tuple(_judge_row(table, row, tuple(group), edition.declared_seed) for (table, row), group in grouped)


def _incomparable(cell: PublishedCell, measured: Measured, edition: Edition) -> str | None:
    if cell.not_comparable:
        return cell.not_comparable
    if edition.synthetic:
        return "SYNTHETIC: the images are drawn, the paper's are photographs"
    return "; ".join(measured.refused) or None


def _compare(
    printed: str, measured: Measured, prediction: Prediction | None, p: float | None, seed: int
) -> tuple[Verdict, str]:
    """Apply rules 3 to 6 to a number with at least one value."""
    declared, digits = measured.declared, places(printed)
    told = f"seed {seed} {'is not run' if declared is None else f'gives {rounded(declared, digits)}'}"
    if declared is not None and prints_as(declared, printed):
        return Verdict.MATCH, told
    if prediction is None:
        return Verdict.TOO_FEW_SEEDS, f"{told}; a prediction needs {LEAST_SEEDS} seeds"
    if not prediction.deviation:
        verdict = Verdict.CONSISTENT if _on_grid(printed, measured) else Verdict.DIFFERS
        return verdict, f"{told}, and so does every other"
    low, high = rounded(prediction.low, digits), rounded(prediction.high, digits)
    if Fraction(low) <= Fraction(printed) <= Fraction(high):
        return Verdict.CONSISTENT, f"{told}; inside {low} to {high}, where one more seed would be"
    distance = f"{abs(prediction.distance(float(printed))):.1f} standard deviations from the mean of the seeds"
    return Verdict.DIFFERS, f"{told}; outside {low} to {high}; {distance}, p = {shown_p(p)}"


def _on_grid(printed: str, measured: Measured) -> bool:
    """Tell whether a number that no seed moves prints as this, or one of its neighbours on the metric's grid does."""
    value = next(iter(measured.by_seed.values()))
    below, above = measured.steps
    return any(prints_as(near, printed) for near in (value - below, value, value + above))


def shown_p(p: float | None) -> str:
    """Write a p-value with two significant digits."""
    return "none" if p is None else f"{p:#.2g}"


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


def _judge_row(table: int, row: str, judgements: tuple[Judgement, ...], declared_seed: int) -> RowJudgement:
    for verdict in (Verdict.NOT_COMPARABLE, Verdict.NOT_RUN):
        reasons = dict.fromkeys(judgement.reason for judgement in judgements if judgement.verdict == verdict)
        if reasons:
            return RowJudgement(table, row, judgements, verdict, "; ".join(reasons))
    seeds = sorted(set.intersection(*(set(judgement.measured.by_seed) for judgement in judgements)))
    exact = [seed for seed in seeds if all(seed in judgement.seeds_exact for judgement in judgements)]
    test, most = _joint(seeds, judgements)
    verdict, told = _test_row(seeds, judgements, test, most)
    if declared_seed in exact:
        verdict, told = Verdict.MATCH, f"seed {declared_seed} gives it"
    share = f"{len(exact)} of {_seeds(len(seeds))} give all {len(judgements)} numbers"
    return RowJudgement(table, row, judgements, verdict, f"{told}; {share}", test, most)


def _test_row(
    seeds: Sequence[int], judgements: Sequence[Judgement], test: RowTest | None, most: str | None
) -> tuple[Verdict, str]:
    """Give a row that the declared seed does not match its verdict, and what it rests on."""
    constant = [one for one in judgements if len(_values(one, seeds)) == 1]
    n_varying = len(judgements) - len(constant)
    if len(seeds) < least_seeds(n_varying):
        return Verdict.TOO_FEW_SEEDS, f"a joint test of {n_varying} numbers needs {least_seeds(n_varying)} seeds"
    if n_varying and test is None:
        return Verdict.TOO_FEW_SEEDS, "over these seeds the numbers depend on one another linearly: no joint test"
    told = _told(test, most) if test else "no number varies over the seeds"
    off = [one.cell.column for one in constant if not _on_grid(one.cell.printed, one.measured)]
    if off:
        return (
            Verdict.DIFFERS,
            f"{told}; {', '.join(off)} is the same at every seed, and another than the published one",
        )
    return Verdict.DIFFERS if test and test.p < LEVEL else Verdict.CONSISTENT, told


def _values(judgement: Judgement, seeds: Iterable[int]) -> set[float]:
    return {judgement.measured.by_seed[seed] for seed in seeds}


def _joint(seeds: Sequence[int], judgements: Sequence[Judgement]) -> tuple[RowTest | None, str | None]:
    """Test a row's numbers that vary over the seeds; return also the column that contributes most."""
    varying = [one for one in judgements if len(_values(one, seeds)) > 1]
    if not varying or len(seeds) < least_seeds(len(varying)):
        return None, None
    values = np.array([[one.measured.by_seed[seed] for one in varying] for seed in seeds])
    test = row_test(values, np.array([float(one.cell.printed) for one in varying]))
    return test, varying[test.most].cell.column if test else None


def _told(test: RowTest, most: str | None) -> str:
    without = "" if test.p_without is None else f", most of it from {most} (without it p = {shown_p(test.p_without)})"
    return f"p = {shown_p(test.p)}{without}"
