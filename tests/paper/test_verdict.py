"""The verdict rules on constructed cases, borders first."""

from __future__ import annotations

import pytest

from harness.paper.model import PAPER, SMOKE, Judgement, Measured, Verdict
from harness.paper.selection import measure
from harness.paper.verdict import judge, judge_all, judge_rows
from tests.paper.making import BOTTLE, cell, measured, run


def _verdict(printed: str, by_seed: dict[int, float], half_width: float | None = None) -> Verdict:
    return judge(cell(printed), measured(by_seed, half_width), PAPER).verdict


@pytest.mark.parametrize(
    ("printed", "value", "expected"),
    [
        ("0.9952", 0.9952380952380953, Verdict.MATCH),
        ("0.9952", 0.99515, Verdict.MATCH),  # halfway counts for both neighbours
        ("0.9951", 0.99515, Verdict.MATCH),
        ("0.9952", 0.99525, Verdict.MATCH),
        ("0.9952", 0.9951499, Verdict.DIFFERS),
        ("0.9952", 0.9952501, Verdict.DIFFERS),
        ("0.9730", 0.97304, Verdict.MATCH),
        ("0.9730", 0.9733, Verdict.DIFFERS),  # it prints as 0.973, but four digits were printed
        ("0.973", 0.9733, Verdict.MATCH),
        ("1.0000", 1.0, Verdict.MATCH),
        ("1.0000", 0.99996, Verdict.MATCH),
        ("1.0000", 0.9999, Verdict.DIFFERS),
    ],
)
def test_match_is_equal_at_the_printed_digits(printed, value, expected):
    assert _verdict(printed, {42: value}) is expected


@pytest.mark.parametrize(
    ("printed", "by_seed", "verdict", "seeds_exact", "difference", "reason"),
    [
        ("0.9952", {0: 0.9960, 1: 0.9952, 42: 0.9952}, "match", (1, 42), 0.0,
         "seed 42 gives 0.9952; 2 of 3 seeds give exactly this"),
        ("0.9952", {0: 0.9952, 42: 0.9960}, "within seeds", (0,), 0.0008,
         "seed 42 gives 0.9960; 2 seeds from 0.9952 to 0.9960; 1 of 2 seeds give exactly this"),
        ("0.9955", {0: 0.9952, 42: 0.9960}, "within seeds", (), 0.0005,
         "seed 42 gives 0.9960; 2 seeds from 0.9952 to 0.9960; 0 of 2 seeds give exactly this"),
        ("0.9952", {1: 0.9952}, "within seeds", (1,), None,
         "seed 42 is not run; 1 seed from 0.9952 to 0.9952; 1 of 1 seed give exactly this"),
        ("0.9999", {1: 0.9952}, "differs", (), None, "seed 42 is not run; outside 1 seed from 0.9952 to 0.9952"),
    ],
)  # fmt: skip
def test_the_declared_seed_decides_a_match_and_the_range_over_seeds_comes_next(
    printed, by_seed, verdict, seeds_exact, difference, reason
):
    judgement = judge(cell(printed), measured(by_seed, half_width=0.1 if difference is None else None), PAPER)
    assert (judgement.verdict, judgement.seeds_exact, judgement.reason) == (verdict, seeds_exact, reason)
    assert judgement.difference == (None if difference is None else pytest.approx(difference))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("0.9951", Verdict.DIFFERS),
        ("0.9952", Verdict.WITHIN_SEEDS),  # 0.99524 prints so
        ("0.9960", Verdict.WITHIN_SEEDS),
        ("0.9961", Verdict.DIFFERS),
    ],
)
def test_the_ends_of_the_range_are_rounded_as_printed(printed, expected):
    assert _verdict(printed, {0: 0.99524, 1: 0.99596, 42: 0.9955}) is expected


@pytest.mark.parametrize(
    ("half_width", "expected"),
    [
        (0.0101, Verdict.BELOW_SAMPLING_ERROR),
        (0.0099, Verdict.DIFFERS),
        (0.0, Verdict.DIFFERS),
        (None, Verdict.DIFFERS),
    ],
)
def test_below_sampling_error_is_nearer_than_half_the_interval(half_width, expected):
    judgement = judge(cell("0.9800"), measured({0: 0.9899, 42: 0.9900}, half_width), PAPER)
    assert judgement.verdict is expected
    assert judgement.difference == pytest.approx(0.01)


def test_the_distance_is_to_the_declared_seed_not_to_the_range():
    # 0.9800 is 0.001 from seed 0, but 0.011 from seed 42.
    assert _verdict("0.9800", {0: 0.9810, 42: 0.9910}, 0.010) is Verdict.DIFFERS


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"missing": ("mvtec/bottle/resnet18: seed 42 failed at features (DataError: x)",)}, Verdict.NOT_RUN),
        ({"refused": ("mvtec/bottle/resnet18: runs of different weights (a, b): keep one",)}, Verdict.NOT_COMPARABLE),
    ],
)
def test_no_runs_and_refused_runs_keep_their_reasons(changes, verdict):
    nothing = Measured({}, None, (), **changes)
    judgement = judge(cell("0.9952"), nothing, PAPER)
    assert (judgement.verdict, judgement.difference, judgement.measured) == (verdict, None, nothing)
    assert (judgement.reason,) == next(iter(changes.values()))


@pytest.mark.parametrize("by_seed", [{42: 0.9952}, {}])
def test_drawn_images_are_never_compared(by_seed):
    judgement = judge(cell("0.9952"), measured(by_seed), SMOKE)
    assert judgement.verdict is Verdict.NOT_COMPARABLE
    assert judgement.reason == "SYNTHETIC: the images are drawn, the paper's are photographs"
    assert judgement.difference is None


def test_all_cells_are_judged_and_what_was_not_measured_is_not_run(published):
    judgements = judge_all(published, measure([], PAPER, published=published), PAPER)
    assert [judgement.cell for judgement in judgements] == list(published.cells)
    for judgement in judgements:
        expected = Verdict.NOT_RUN if judgement.cell.metric else Verdict.NOT_COMPARABLE
        assert judgement.verdict is expected


def _row(*numbers: tuple[str, dict[int, float], float | None]) -> list[Judgement]:
    columns = ("Img AUROC", "Img F1", "Pix AUROC", "Pix F1")
    return [
        judge(cell(printed, "image_auroc", BOTTLE, column=column), measured(by_seed, width), PAPER)
        for column, (printed, by_seed, width) in zip(columns, numbers, strict=False)
    ]


@pytest.mark.parametrize(("seed", "verdict"), [(42, Verdict.MATCH), (7, Verdict.WITHIN_SEEDS)])
def test_a_row_is_what_one_seed_gives_whole(seed, verdict):
    """The declared seed, or another; then the declared one may give a part of it."""
    by_seed = ({7: 0.9, 42: 0.9} | {seed: 0.9952}, {7: 0.9, 42: 0.9764} | {seed: 0.9764})
    judgements = _row(("0.9952", by_seed[0], None), ("0.9764", by_seed[1], None))
    (row,) = judge_rows(judgements)
    assert (row.table, row.row, row.judgements) == (1, "Bottle", tuple(judgements))
    assert (row.verdict, row.reason) == (verdict, "1 of 2 seeds give all 2 numbers")


def test_numbers_from_different_seeds_do_not_make_a_row():
    judgements = _row(("0.9952", {7: 0.9952, 42: 0.9}, 0.01), ("0.9764", {7: 0.9, 42: 0.9764}, 0.01))
    assert [judgement.verdict for judgement in judgements] == [Verdict.WITHIN_SEEDS, Verdict.MATCH]
    (row,) = judge_rows(judgements)
    assert row.verdict is Verdict.DIFFERS
    assert row.reason == "no seed of 2 gives all 2 numbers; at best 1, at seed 42 (Img F1)"


def test_a_row_is_below_sampling_error_when_each_number_is_at_the_declared_seed():
    near = ("0.9952", {0: 0.9952, 42: 0.99}, 0.01), ("0.9764", {0: 0.9, 42: 0.9764}, None)
    (row,) = judge_rows(_row(*near))
    assert row.verdict is Verdict.BELOW_SAMPLING_ERROR
    far = ("0.9952", {0: 0.9952, 42: 0.98}, 0.01), ("0.9764", {0: 0.9, 42: 0.9764}, None)
    (row,) = judge_rows(_row(*far))
    assert row.verdict is Verdict.DIFFERS


def _best_of(*exact_seeds: tuple[int, ...]) -> str:
    """The end of the reason for a row whose numbers are given by these of the seeds 1, 2, 3, 42 each."""
    numbers = [
        ("0.5000", {seed: 0.5 if seed in exact else 0.9 for seed in (1, 2, 3, 42)}, None) for exact in exact_seeds
    ]
    (row,) = judge_rows(_row(*numbers))
    return row.reason.partition("; ")[2]


def test_a_row_that_differs_names_the_seed_that_gives_most_of_it():
    assert _best_of((2, 3), (2,), (1, 42)) == "at best 2, at seed 2 (Img AUROC, Img F1)"
    assert _best_of((2, 42), (1, 3)) == "at best 1, at seed 42 (Img AUROC)"  # the declared one among equals
    assert _best_of((2, 3), (1,), (3, 2)) == "at best 2, at seed 2 (Img AUROC, Pix AUROC)"  # else the smallest
    assert _best_of((), ()) == "none gives any of them"


def test_rows_of_the_paper(published):
    measured_ = measure([run(record={"intervals": {}})], PAPER, published=published)
    rows = judge_rows(judge_all(published, measured_, PAPER))
    # Four of Tables 1, 3 and 4 each, two of Table 2, three of Table 5, two of ours in Table 6.
    assert len(rows) == 3 * 4 + 2 + 3 + 2
    by_name = {(row.table, row.row): row for row in rows}
    assert len(by_name[1, "Bottle"].judgements) == 4
    assert by_name[1, "Bottle"].verdict is Verdict.DIFFERS
    assert len(by_name[6, "PaDiM-WRN-50-2 (Ours, Bottle)"].judgements) == 2
    assert by_name[5, "BTAD"].verdict is Verdict.NOT_RUN
    assert (6, "AnoGAN") not in by_name
