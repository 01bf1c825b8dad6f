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


def test_the_declared_seed_decides_a_match():
    judgement = judge(cell("0.9952"), measured({0: 0.9960, 1: 0.9952, 42: 0.9952}), PAPER)
    assert judgement.verdict is Verdict.MATCH
    assert judgement.seeds_exact == (1, 42)
    assert judgement.reason == "seed 42 gives 0.9952; 2 of 3 seeds give exactly this"
    assert judgement.difference == pytest.approx(0.0)


def test_another_seed_that_gives_it_is_within_seeds():
    judgement = judge(cell("0.9952"), measured({0: 0.9952, 42: 0.9960}), PAPER)
    assert judgement.verdict is Verdict.WITHIN_SEEDS
    assert judgement.seeds_exact == (0,)
    assert "1 of 2 seeds give exactly this" in judgement.reason
    assert judgement.difference == pytest.approx(0.0008)


def test_between_two_seeds_is_within_seeds_even_where_none_gives_it():
    judgement = judge(cell("0.9955"), measured({0: 0.9952, 42: 0.9960}), PAPER)
    assert judgement.verdict is Verdict.WITHIN_SEEDS
    assert judgement.reason == ("seed 42 gives 0.9960; 2 seeds from 0.9952 to 0.9960; 0 of 2 seeds give exactly this")


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


def test_without_the_declared_seed_a_number_can_only_be_within_or_outside():
    inside = judge(cell("0.9952"), measured({1: 0.9952}), PAPER)
    assert inside.verdict is Verdict.WITHIN_SEEDS
    assert inside.difference is None
    assert "seed 42 is not run" in inside.reason
    outside = judge(cell("0.9999"), measured({1: 0.9952}, half_width=0.1), PAPER)
    assert outside.verdict is Verdict.DIFFERS
    assert "seed 42 is not run" in outside.reason


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


def test_no_run_is_not_run_with_the_reasons():
    nothing = Measured({}, None, (), missing=("mvtec/bottle/resnet18: seed 42 failed at features (DataError: x)",))
    judgement = judge(cell("0.9952"), nothing, PAPER)
    assert judgement.verdict is Verdict.NOT_RUN
    assert "failed at features" in judgement.reason
    assert judgement.difference is None
    assert judgement.measured is nothing


def test_refused_runs_are_not_comparable_with_the_reason():
    refused = Measured(
        {}, None, (), refused=("mvtec/bottle/resnet18: runs of different weights (a, b): keep one kind",)
    )
    judgement = judge(cell("0.9952"), refused, PAPER)
    assert judgement.verdict is Verdict.NOT_COMPARABLE
    assert "different weights" in judgement.reason
    assert judgement.measured is refused


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


def test_a_row_matches_when_the_declared_seed_gives_all_of_it():
    judgements = _row(("0.9952", {0: 0.9, 42: 0.9952}, None), ("0.9764", {0: 0.9, 42: 0.9764}, None))
    (row,) = judge_rows(judgements)
    assert (row.table, row.row, row.judgements) == (1, "Bottle", tuple(judgements))
    assert row.verdict is Verdict.MATCH
    assert row.reason == "1 of 2 seeds give all 2 numbers"


def test_a_row_is_within_seeds_when_one_other_seed_gives_all_of_it():
    judgements = _row(("0.9952", {7: 0.9952, 42: 0.9}, None), ("0.9764", {7: 0.9764, 42: 0.9764}, None))
    (row,) = judge_rows(judgements)
    assert (row.table, row.row, row.judgements) == (1, "Bottle", tuple(judgements))
    assert row.verdict is Verdict.WITHIN_SEEDS
    assert row.reason == "1 of 2 seeds give all 2 numbers"


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
