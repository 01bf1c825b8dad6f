"""CSV as others write it, and cells that a spreadsheet would run."""

from __future__ import annotations

import csv

import pytest

from harness.store.files import csv_rows, is_formula, no_formula


@pytest.mark.parametrize(
    "text", ["=1", "+a", "-a", "@x", "\tx", "\rx", "\nx", " =1", "\u3000=1", "＝1", "－1a", "-", "+1e5"]
)
def test_formulas(text):
    assert is_formula(text)
    assert no_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a", "Xa", "a=1", "-1", "+1.5", "-0.25", "1", " x", "'=1"])
def test_what_no_spreadsheet_runs(text):
    assert not is_formula(text)
    assert no_formula(text) == text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_may_end_as_on_any_system(end):
    assert csv_rows(f"a,b{end}c,d{end}") == [["a", "b"], ["c", "d"]]


def test_a_quoted_field_keeps_its_line_ends():
    assert csv_rows('a,"b\rc\r\nd\ne"\n') == [["a", "b\rc\r\nd\ne"]]


def test_a_quote_that_never_ends_is_no_csv():
    with pytest.raises(csv.Error):
        csv_rows('a,"b')
