"""Every mean row recomputed here in another way, and mean rows that are wrong."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal

import pytest

from harness.paper.audit_means import MEAN, REPEATED, audit_means
from harness.paper.model import ClaimVerdict


def _changed(published, table, row, column, printed):
    """The published values with one number printed otherwise."""
    cells = tuple(
        replace(cell, printed=printed) if (cell.table, cell.row, cell.column) == (table, row, column) else cell
        for cell in published.cells
    )
    assert cells != published.cells
    return replace(published, cells=cells)


def _finding(published, identifier):
    (finding,) = (finding for finding in audit_means(published) if finding.identifier == identifier)
    return finding


@pytest.mark.parametrize("table", [1, 3, 4])
@pytest.mark.parametrize("column", ["Img AUROC", "Img F1", "Pix AUROC", "Pix F1"])
def test_each_mean_row_is_the_mean_of_its_rows(published, table, column):
    rows = [row for row in published.table(table).rows if row != MEAN]
    values = [Decimal(published.cell(table, row, column).printed) for row in rows]
    mean = (sum(values) / 3).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert str(mean) == published.cell(table, MEAN, column).printed
    finding = _finding(published, f"mean-table{table}-{column.lower().replace(' ', '-')}")
    assert finding.verdict is ClaimVerdict.TRUE
    assert f"prints as {mean}" in finding.evidence


def test_all_agree(published):
    findings = list(audit_means(published))
    assert len(findings) == 3 * 4 + len(REPEATED) == 17
    assert {finding.verdict for finding in findings} == {ClaimVerdict.TRUE}


def test_a_mean_off_by_more_than_the_parts_rounding_is_false(published):
    wrong = _changed(published, 1, MEAN, "Img AUROC", "0.8690")
    finding = _finding(wrong, "mean-table1-img-auroc")
    assert finding.verdict is ClaimVerdict.FALSE
    assert "cannot print as 0.8690" in finding.evidence


def test_a_mean_off_by_no_more_than_the_parts_rounding_may_be_right(published):
    # (0.9952 + 0.8370 + 0.7743) / 3 = 0.868833; with every part up to 0.00005 larger it prints as 0.8689.
    finding = _finding(_changed(published, 1, MEAN, "Img AUROC", "0.8689"), "mean-table1-img-auroc")
    assert finding.verdict is ClaimVerdict.TRUE
    assert "allows 0.8689" in finding.evidence


def test_a_repeated_mean_with_another_digit_is_false(published):
    wrong = _changed(published, 5, "VisA", "Pix F1", "0.3516")
    finding = _finding(wrong, "repeated-table5-visa")
    assert finding.verdict is ClaimVerdict.FALSE
    assert finding.evidence == "Pix F1 0.3516, there 0.3515"
