"""The verdict rules on constructed cases, borders first, and on the committed runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.papers.arithmetic import rounded
from harness.papers.model import Judgement, Measured, Verdict
from harness.papers.ranking import by_setting, rankings
from harness.papers.selection import measure
from harness.papers.verdict import caveats, judge, judge_all, judge_rows
from harness.store import Store
from tests.papers.making import BOTTLE, PAPER, PUBLISHED, SMOKE, cell, measured, run

FIVE = {0: 0.98, 1: 0.981, 2: 0.982, 3: 0.983, 42: 0.984}
"""Mean .982, standard deviation .00158; one more seed lies in .9772 to .9868."""


def _verdict(printed: str, by_seed: dict[int, float], steps: tuple[float, float] = (0.0, 0.0)) -> Verdict:
    return judge(cell(printed), measured(by_seed, steps), PAPER).verdict


@pytest.mark.parametrize(
    ("printed", "value", "matches"),
    [
        ("0.9952", 0.9952380952380953, True),
        ("0.9952", 0.99515, True),  # halfway counts for both neighbours
        ("0.9951", 0.99515, True),
        ("0.9952", 0.99525, True),
        ("0.9952", 0.9951499, False),
        ("0.9952", 0.9952501, False),
        ("0.9730", 0.97304, True),
        ("0.9730", 0.9733, False),  # it prints as 0.973, but four digits were printed
        ("0.973", 0.9733, True),
        ("1.0000", 1.0, True),
        ("1.0000", 0.99996, True),
        ("1.0000", 0.9999, False),
    ],
)
def test_match_is_equal_at_the_printed_digits_of_the_declared_seed(printed, value, matches):
    assert _verdict(printed, {42: value}) is (Verdict.MATCH if matches else Verdict.TOO_FEW_SEEDS)
    assert _verdict(printed, {7: value}) is Verdict.TOO_FEW_SEEDS


@pytest.mark.parametrize(
    ("printed", "verdict", "reason"),
    [
        ("0.9840", "match", "seed 42 gives 0.9840; 1 of 5 seeds give exactly this"),
        ("0.9830", "consistent", "seed 42 gives 0.9840; inside 0.9772 to 0.9868, where one more seed would be; 1 of 5 "
         "seeds give exactly this"),
        ("0.9868", "consistent", None),
        ("0.9869", "differs", "seed 42 gives 0.9840; outside 0.9772 to 0.9868; 3.1 standard deviations from the mean "
         "of the seeds, p = 0.047; 0 of 5 seeds give exactly this"),
        ("0.9771", "differs", None),
    ],
)  # fmt: skip
def test_a_number_is_consistent_inside_the_prediction_interval(printed, verdict, reason):
    judgement = judge(cell(printed), measured(FIVE), PAPER)
    assert judgement.verdict == verdict
    assert reason in (None, judgement.reason)
    assert judgement.difference == pytest.approx(0.984 - float(printed))
    values = np.array(list(FIVE.values()))
    distance = abs(float(printed) - values.mean()) / (values.std(ddof=1) * np.sqrt(1.2))
    assert judgement.p == pytest.approx(2 * stats.t.sf(distance, 4))


def test_four_seeds_are_too_few_and_need_not_have_the_declared_one():
    judgement = judge(cell("0.9830"), measured({seed: FIVE[seed] for seed in (0, 1, 2, 3)}), PAPER)
    assert judgement.verdict is Verdict.TOO_FEW_SEEDS
    assert judgement.reason == ("seed 42 is not run; a prediction needs 5 seeds; 1 of 4 seeds give exactly this")
    assert (judgement.prediction, judgement.p, judgement.difference) == (None, None, None)


def test_the_interval_reaches_one_step_of_the_grid():
    assert _verdict("0.9600", FIVE) is Verdict.DIFFERS
    assert _verdict("0.9600", FIVE, (0.0221, 0.0)) is Verdict.CONSISTENT
    assert _verdict("0.9600", FIVE, (0.0, 0.0221)) is Verdict.DIFFERS


@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        ("1.0000", Verdict.MATCH),
        ("0.9992", Verdict.CONSISTENT),  # one pair of 1260 less; 1259/1260 prints so
        ("0.9991", Verdict.DIFFERS),
        ("0.9996", Verdict.DIFFERS),  # nearer, but no value of the grid
        ("0.9984", Verdict.DIFFERS),
    ],
)
def test_a_number_that_no_seed_moves_is_compared_on_the_grid(printed, verdict):
    constant = dict.fromkeys(range(38, 49), 1.0)
    judgement = judge(cell(printed), measured(constant, (1 / 1260, 0.0)), PAPER)
    assert (judgement.verdict, judgement.p) == (verdict, None)


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


def _row(*numbers: tuple[str, list[float]], steps: tuple[float, float] = (0.0, 0.0)) -> list[Judgement]:
    """A row of the paper; values are those of seeds 42, 0, 1, ..."""
    return [
        judge(
            cell(printed, "image_auroc", BOTTLE, column=column),
            measured(dict(zip((42, *range(len(values) - 1)), values, strict=True)), steps),
            PAPER,
        )
        for column, (printed, values) in zip(PUBLISHED.metrics, numbers, strict=False)
    ]


RNG = np.random.default_rng(5)
A, B = RNG.normal(0.9, 0.01, (2, 11)).round(4).tolist()


def test_a_row_matches_where_the_declared_seed_gives_it_whole():
    judgements = _row((f"{A[0]:.4f}", A), (f"{B[0]:.4f}", B))
    (row,) = judge_rows(judgements, PAPER)
    assert (row.table, row.row, row.judgements) == (1, "Bottle", tuple(judgements))
    assert (row.verdict, row.reason) == (Verdict.MATCH, "seed 42 gives it; 1 of 11 seeds give all 2 numbers")
    (row,) = judge_rows(_row((f"{A[0]:.4f}", A[:2]), (f"{B[0]:.4f}", B[:2])), PAPER)
    assert row.verdict is Verdict.MATCH  # with few seeds too


def test_a_row_is_tested_jointly_where_each_number_alone_is_consistent():
    """Two numbers that go together over seeds: one high beside one low comes from no seed."""
    values = np.column_stack([A, np.array(A) + np.array(B) * 0.05])
    high, low = values.max(axis=0)[0], values.min(axis=0)[1]
    judgements = _row((f"{high:.4f}", values[:, 0].tolist()), (f"{low:.4f}", values[:, 1].tolist()))
    assert {one.verdict for one in judgements} == {Verdict.CONSISTENT}
    (row,) = judge_rows(judgements, PAPER)
    assert row.verdict is Verdict.DIFFERS
    assert row.test.p < 1e-6
    assert row.reason.startswith(f"p = {row.test.p:#.2g}, most of it from {row.most} (without it p = ")


def test_a_number_without_variance_leaves_the_test_and_is_compared_on_the_grid():
    alone = judge_rows(_row((f"{np.mean(A):.4f}", A)), PAPER)[0]
    for printed, verdict in (("0.9992", Verdict.CONSISTENT), ("0.9984", Verdict.DIFFERS)):
        (row,) = judge_rows(_row((f"{np.mean(A):.4f}", A), (printed, [1.0] * 11), steps=(1 / 1260, 0.0)), PAPER)
        assert (row.verdict, row.test) == (verdict, alone.test)
    assert "Img F1 is the same at every seed" in row.reason
    (row,) = judge_rows(_row(("0.9992", [1.0] * 5), ("1.0000", [1.0] * 5), steps=(1 / 1260, 0.0)), PAPER)
    assert (row.verdict, row.test) == (Verdict.CONSISTENT, None)


def test_a_row_needs_three_seeds_more_than_numbers_that_vary():
    numbers = [(f"{np.mean(values):.4f}", values) for values in RNG.normal(0.9, 0.01, (4, 7)).tolist()]
    assert judge_rows(_row(*numbers), PAPER)[0].verdict is Verdict.CONSISTENT
    (row,) = judge_rows(_row(*((printed, values[:6]) for printed, values in numbers)), PAPER)
    assert (row.verdict, row.test) == (Verdict.TOO_FEW_SEEDS, None)
    assert row.reason == "a joint test of 4 numbers needs 7 seeds; 0 of 6 seeds give all 4 numbers"
    (row,) = judge_rows(_row(("0.5000", A), ("0.5000", [2 * value - 0.9 for value in A])), PAPER)
    assert row.verdict is Verdict.TOO_FEW_SEEDS
    assert "depend on one another linearly" in row.reason


def test_rows_of_the_paper(published):
    measured_ = measure([run()], PAPER, published=published)
    rows = judge_rows(judge_all(published, measured_, PAPER), PAPER)
    # Four of Tables 1, 3 and 4 each, two of Table 2, three of Table 5, two of ours in Table 6.
    assert len(rows) == 3 * 4 + 2 + 3 + 2
    by_name = {(row.table, row.row): row for row in rows}
    assert len(by_name[1, "Bottle"].judgements) == 4
    assert by_name[1, "Bottle"].verdict is Verdict.TOO_FEW_SEEDS
    assert len(by_name[6, "PaDiM-WRN-50-2 (Ours, Bottle)"].judgements) == 2
    assert by_name[5, "BTAD"].verdict is Verdict.NOT_RUN
    assert (6, "AnoGAN") not in by_name


@pytest.fixture(scope="module")
def bottle(project):
    """The committed runs of the paper's settings: bottle, ResNet-18, eleven seeds."""
    records = [one for one in Store(project / "results").records().records if one.spec.backbone.name == "resnet18"]
    assert len(records) == 11
    return records


def bottle_row(records, published, printed=None):
    """The joint judgement of Table 1's bottle; `printed` replaces the paper's numbers, by column."""
    measured_ = measure(records, PAPER, published=published)
    cells = [published.cell(1, "Bottle", column) for column in PUBLISHED.metrics]
    shown = [replace(one, printed=printed[one.column]) if printed else one for one in cells]
    (row,) = judge_rows([judge(new, measured_[old], PAPER) for new, old in zip(shown, cells, strict=True)], PAPER)
    return row


def as_printed(record):
    return {column: rounded(record.values[metric], 4) for column, metric in PUBLISHED.metrics.items()}


def test_a_seed_that_plays_the_paper_is_reproduced_by_the_others(project, bottle, published):
    """Leave one seed out: the rules must call a faithful reproduction one."""
    verdicts = [
        bottle_row([one for one in bottle if one is not left_out], published, as_printed(left_out)).verdict
        for left_out in bottle
    ]
    faithful = sum(verdict in (Verdict.CONSISTENT, Verdict.MATCH) for verdict in verdicts)
    assert faithful >= 9
    text = (project / "docs" / "findings.md").read_text(encoding="utf-8")
    assert f"against the other ten: {faithful} of 11 rows are `consistent`" in text


def test_the_power_that_the_findings_state(project, bottle, published):
    """Seeds of other settings in the paper's place; how many of the eleven the row test rejects."""
    groups = by_setting(Store(project / "results" / "settings").records().records, PUBLISHED)
    assert len(groups) == PUBLISHED.about.search.tried
    assert any(str(len(groups)) in caveat for caveat in caveats(PUBLISHED))
    words = {
        "center_crop=null": "without a centre crop",
        "epsilon=0.1": "at epsilon 0.1",
        "n_features=50": "with 50 features",
        "n_features=200": "with 200 features",
        "interpolation=bicubic": "with a bicubic resize",
    }
    rejected = {
        setting: sum(bottle_row(bottle, published, as_printed(one)).test.p < 0.05 for one in groups[setting])
        for setting in words
    }
    assert all(len(groups[setting]) == 11 for setting in words)
    assert rejected["center_crop=null"] >= 10
    assert rejected["epsilon=0.1"] >= 5
    assert max(rejected[setting] for setting in ("n_features=50", "n_features=200", "interpolation=bicubic")) <= 2
    text = (project / "docs" / "findings.md").read_text(encoding="utf-8")
    for setting, name in words.items():
        assert f"| {name} | {rejected[setting]} of 11 |" in text


def test_p_values_of_the_papers_rows_are_those_of_an_independent_computation(bottle, published):
    judged = judge_all(published, measure(bottle, PAPER, published=published), PAPER)
    rows = [row for row in judge_rows(judged, PAPER) if row.test]
    assert [(row.table, row.verdict) for row in rows] == [(1, Verdict.DIFFERS), (2, Verdict.DIFFERS)]
    for row in rows:
        names = [one.cell.metric for one in row.judgements]
        values = np.array([[record.values[name] for name in names] for record in bottle])
        distance = np.array([float(one.cell.printed) for one in row.judgements]) - values.mean(axis=0)
        statistic = distance @ np.linalg.inv(np.cov(values.T)) @ distance / (1 + 1 / 11)
        assert row.test.p == pytest.approx(stats.f.sf(statistic * 7 / 40, 4, 7), rel=1e-6)
    assert rows[0].test.p <= 0.0011
    ranked = rankings(bottle, published)
    assert [one.p for one in ranked] == pytest.approx([row.test.p for row in rows])
