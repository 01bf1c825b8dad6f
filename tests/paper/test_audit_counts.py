"""What the audit finds in the image-level numbers, and that it would find it in wrong ones."""

from __future__ import annotations

from fractions import Fraction

import pytest

from harness.paper.audit_counts import audit_attainable, audit_consistency, image_rows
from harness.paper.model import ClaimVerdict
from tests.paper.test_audit_means import _changed

WIDE = "Wide-ResNet-50-2, n = 256 (24.9 M)"


def _by_name(findings):
    found = {finding.identifier: finding for finding in findings}
    assert found
    return found


def test_rows_have_the_official_counts(published):
    rows = {(row.table, row.row): row for row in image_rows(published)}
    assert len(rows) == 11
    assert (rows[1, "Bottle"].classes.n_pos, rows[1, "Bottle"].classes.n_neg) == (63, 20)
    assert (rows[4, "03"].classes.n_pos, rows[4, "03"].classes.n_neg) == (41, 400)
    assert (rows[3, "PCB1"].classes.n_pos, rows[3, "PCB1"].classes.n_neg) == (100, 100)


def test_every_published_image_value_is_attainable(published):
    found = _by_name(audit_attainable(published))
    assert len(found) == 2 * 11 + 1
    assert ClaimVerdict.FALSE not in {finding.verdict for finding in found.values()}
    assert found["attainable-all"].verdict is ClaimVerdict.TRUE
    assert found["attainable-all"].evidence.startswith("22 of 22")


@pytest.mark.parametrize(
    ("identifier", "witness"),
    [
        ("attainable-table1-bottle-img-auroc", "1254/1260"),
        ("attainable-table1-bottle-img-f1", "TP 62, FP 2 (124/127"),
        ("attainable-table2-wide-resnet-50-2-img-f1", "TP 62, FP 0 (124/125"),
        ("attainable-table4-01-img-f1", "TP 48, FP 0 (96/97"),
        ("attainable-table3-cashew-img-auroc", "4011/5000"),
    ],
)
def test_witnesses(published, identifier, witness):
    finding = _by_name(audit_attainable(published))[identifier]
    assert finding.verdict is ClaimVerdict.TRUE
    assert witness in finding.evidence


@pytest.mark.parametrize("row", ["table3-candle", "table3-pcb1", "table4-03"])
def test_where_every_value_can_occur_nothing_is_claimed(published, row):
    finding = _by_name(audit_attainable(published))[f"attainable-{row}-img-auroc"]
    assert finding.verdict is ClaimVerdict.NOT_CHECKED
    assert "no power" in finding.evidence


@pytest.mark.parametrize(
    ("column", "printed", "identifier"),
    [
        ("Img AUROC", "0.9953", "attainable-table1-bottle-img-auroc"),
        ("Img F1", "0.9765", "attainable-table1-bottle-img-f1"),
    ],
)
def test_a_value_that_no_counts_give_is_found(published, column, printed, identifier):
    found = _by_name(audit_attainable(_changed(published, 1, "Bottle", column, printed)))
    assert found[identifier].verdict is ClaimVerdict.FALSE
    assert found["attainable-all"].verdict is ClaimVerdict.FALSE
    assert found["attainable-all"].evidence.startswith("21 of 22")


def test_a_value_that_needs_a_tie_says_so(published):
    halfway = Fraction(2 * 1254 + 1, 2520)  # 0.99563...
    finding = _by_name(audit_attainable(_changed(published, 1, "Bottle", "Img AUROC", f"{float(halfway):.4f}")))
    evidence = finding["attainable-table1-bottle-img-auroc"].evidence
    assert "2509/2520, which needs a tie" in evidence


def test_five_f1s_are_impossible_without_ties_and_three_with_them(published):
    found = _by_name(audit_consistency(published))
    assert len(found) == 3 * 11
    impossible = {name for name, finding in found.items() if finding.verdict is ClaimVerdict.FALSE}
    three = {"table2-wide-resnet-50-2", "table4-01", "table4-02"}
    five = three | {"table1-bottle", "table2-resnet-18"}
    assert impossible == {f"f1-max-{row}" for row in five} | {f"f1-max-tied-{row}" for row in three}


@pytest.mark.parametrize(
    ("row", "why", "strict"),
    [
        (
            "table2-wide-resnet-50-2",
            "at most 1258 of 1260 pairs rightly; this AUROC needs 1260",
            "124/125 = 0.9920 with 62 of 63 defects found, 0 false alarms",
        ),
        (
            "table4-01",
            "at most 1027 of 1029 pairs rightly; this AUROC needs 1029",
            "96/97 = 0.9897 with 48 of 49 defects found, 0 false alarms",
        ),
        ("table4-02", "40/43 = 0.9302 already", "398/429 = 0.9277 with 199 of 200 defects found, 30 false alarms"),
    ],
)
def test_why_it_is_impossible_and_what_the_strict_rule_gives(published, row, why, strict):
    found = _by_name(audit_consistency(published))
    assert why in found[f"f1-max-{row}"].evidence
    assert strict in found[f"f1-strict-{row}"].evidence


def test_the_strict_rule_would_be_refuted_too(published):
    # With AUROC 1 it loses exactly one of 63 defects.
    found = _by_name(audit_consistency(_changed(published, 2, WIDE, "Img F1", "0.9764")))
    assert found["f1-strict-table2-wide-resnet-50-2"].verdict is ClaimVerdict.FALSE
    found = _by_name(audit_consistency(_changed(published, 2, WIDE, "Img F1", "1.0000")))
    assert found["f1-max-table2-wide-resnet-50-2"].verdict is ClaimVerdict.TRUE
    assert found["f1-strict-table2-wide-resnet-50-2"].verdict is ClaimVerdict.FALSE


def test_numbers_too_far_apart_are_refuted_in_both_readings(published):
    found = _by_name(audit_consistency(_changed(published, 1, "Bottle", "Img AUROC", "0.5000")))
    for reading in ("max", "strict"):
        assert found[f"f1-{reading}-table1-bottle"].verdict is ClaimVerdict.FALSE
        assert "impossible" in found["f1-max-table1-bottle"].evidence
