"""Tables of the page: what sorts as a number, what wears a badge, what stays at the foot."""

from __future__ import annotations

import pytest

from harness.papers.model import ClaimVerdict, Verdict
from harness.report.page_grid import BADGES, Cell, amount, anchor, cell, grid, number_in


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.9952", 0.9952),
        ("−0.0077", -0.0077),
        ("+0.0452", 0.0452),
        ("± 0.0123", 0.0123),
        ("0.9251 to 0.9997", 0.9251),
        ("1e-05", 1e-5),
        ("none counts (1 of 3)", None),
        ("–", None),
        ("", None),
        ("2026-11-23", None),
    ],
)
def test_only_a_number_or_a_range_has_a_value(text, number):
    assert number_in(text) == number


def test_a_column_is_numeric_where_every_cell_is_a_number_or_nothing():
    table = grid("t", "T", ("a", "b", "c"), [("x", "1", "1"), ("y", "–", "not run"), ("z", "3", "2")])
    assert table.kinds == ("name", "number", "name")
    told = grid("t", "T", ("a", "b"), [("x", "not run"), ("y", "0.5")], numeric=(False, True))
    assert told.kinds == ("name", "number")
    assert told.rows[0][1] == Cell("not run"), "among numbers a word wears no badge"


def test_an_outcome_wears_its_badge_and_keeps_its_word():
    for outcome in (*Verdict, *ClaimVerdict):
        assert cell(outcome.value) == Cell(outcome.value, badge=BADGES[outcome])
    assert len({BADGES[verdict] for verdict in Verdict}) == len(Verdict), "no two verdicts look alike"


def test_the_mean_stays_at_the_foot_only_where_it_is_one_row():
    assert grid("t", "T", ("a",), [("Bottle",), ("Mean",)]).pinned == {1}
    assert grid("t", "T", ("a",), [("Mean",), ("Mean",)]).pinned == frozenset()


def test_a_cell_is_never_a_blank_and_sorts_by_its_whole_number():
    assert cell("  ").text == amount(None).text == "–"
    assert amount(0.99996, 4) == Cell("1.0000", 0.99996)


def test_ids_are_plain_and_different_names_keep_apart():
    names = ["run x", "a/b", "a'b", "ä", "a<b", "a>b", "01", "𝔘"]
    anchors = [anchor("n", name) for name in names]
    assert len(set(anchors)) == len(names)
    assert all(one.replace("-", "").isascii() and one.replace("-", "").isalnum() for one in anchors)
