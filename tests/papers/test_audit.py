"""The audit: means, image numbers and claims of which the outcome is known, wrong numbers that must be found, and the
document that tells it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal

import pytest

from harness.papers import checks
from harness.papers.__main__ import main
from harness.papers.audit import (
    BEGIN,
    END,
    audit_claims,
    audit_markdown,
    checks_of,
    replace_between,
    run_audit,
)
from harness.papers.audit_numbers import audit_attainable, audit_consistency, audit_means
from harness.papers.model import ClaimVerdict, Finding
from harness.papers.reading import load_parameters
from tests.papers.making import PUBLISHED


def _by_name(findings):
    found = {finding.identifier: finding for finding in findings}
    assert found
    return found


def _changed(published, table, row, column, printed):
    """The published values with one number printed otherwise."""
    cells = tuple(
        replace(cell, printed=printed) if (cell.table, cell.row, cell.column) == (table, row, column) else cell
        for cell in published.cells
    )
    assert cells != published.cells
    return replace(published, cells=cells)


def test_each_mean_row_is_the_mean_of_its_rows(published):
    found = _by_name(audit_means(published))
    for table, column in itertools.product((1, 3, 4), PUBLISHED.metrics):
        rows = [row for row in published.table(table).names if row != "Mean"]
        values = [Decimal(published.cell(table, row, column).printed) for row in rows]
        mean = (sum(values) / 3).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        assert str(mean) == published.cell(table, "Mean", column).printed
        finding = found[f"mean-table{table}-{column.lower().replace(' ', '-')}"]
        assert finding.verdict is ClaimVerdict.TRUE
        assert f"prints as {mean}" in finding.evidence


@pytest.mark.parametrize(
    ("place", "printed", "identifier", "verdict", "evidence"),
    [
        ((1, "Mean", "Img AUROC"), "0.8690", "mean-table1-img-auroc", "false", "cannot print as 0.8690"),
        # (0.9952 + 0.8370 + 0.7743) / 3 = 0.868833; with every part up to 0.00005 larger it prints as 0.8689.
        ((1, "Mean", "Img AUROC"), "0.8689", "mean-table1-img-auroc", "true", "allows 0.8689"),
        ((5, "VisA", "Pix F1"), "0.3516", "repeated-table5-visa", "false", "Pix F1 0.3516, there 0.3515"),
    ],
)
def test_a_wrong_mean_is_found_unless_rounding_explains_it(published, place, printed, identifier, verdict, evidence):
    finding = _by_name(audit_means(_changed(published, *place, printed)))[identifier]
    assert finding.verdict == verdict
    assert evidence in finding.evidence


WIDE = "Wide-ResNet-50-2, n = 256 (24.9 M)"


def test_every_published_image_value_is_attainable(published):
    found = _by_name(audit_attainable(published))
    assert len(found) == 2 * 11 + 1
    assert ClaimVerdict.FALSE not in {finding.verdict for finding in found.values()}
    assert found["attainable-all"].verdict is ClaimVerdict.TRUE
    assert found["attainable-all"].evidence.startswith("22 of 22")


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


def test_five_f1s_are_impossible_without_ties_and_three_with_them(published):
    found = _by_name(audit_consistency(published))
    assert len(found) == 3 * 11
    impossible = {name for name, finding in found.items() if finding.verdict is ClaimVerdict.FALSE}
    three = {"table2-wide-resnet-50-2", "table4-01", "table4-02"}
    five = three | {"table1-bottle", "table2-resnet-18"}
    assert impossible == {f"f1-max-{row}" for row in five} | {f"f1-max-tied-{row}" for row in three}


def test_the_strict_rule_would_be_refuted_too(published):
    # With AUROC 1 it loses exactly one of 63 defects.
    found = _by_name(audit_consistency(_changed(published, 2, WIDE, "Img F1", "0.9764")))
    assert found["f1-strict-table2-wide-resnet-50-2"].verdict is ClaimVerdict.FALSE
    found = _by_name(audit_consistency(_changed(published, 2, WIDE, "Img F1", "1.0000")))
    assert found["f1-max-table2-wide-resnet-50-2"].verdict is ClaimVerdict.TRUE
    assert found["f1-strict-table2-wide-resnet-50-2"].verdict is ClaimVerdict.FALSE


CLAIMS = PUBLISHED.claims


@pytest.fixture(scope="module")
def findings(published):
    return run_audit(published)


@pytest.fixture(scope="module")
def found(findings):
    return _by_name(finding for finding in findings if finding.kind == "claim")


@pytest.mark.parametrize(
    ("identifier", "verdict", "evidence"),
    [
        ("hazelnut-highest-pixel-auroc", "false", "Bottle 0.9805, Hazelnut 0.9730, Cable 0.9655"),
        ("fixed-seed-one-bottle-run", "not checked here", "0.9952 and 0.9960; Pix AUROC 0.9805 and 0.9815; Pix F1 0.6"),
        ("map-at-original-resolution", "false", "23.4 %"),
        ("storage-256", "true", "49 times fewer"),
        ("table6-cites-anogan", "false", "entry 3 of the reference list is PatchCore; AnoGAN is entry 7"),
        (
            "training-size-explains",
            "not checked here",
            "in 18 and with fewer in 18; means: MVTec AD 274.7",
        ),
        (
            "parameters-ratio",
            "true",
            "8.93; this is the backbone up to layer3; the stored Gaussians are 31.7 M",
        ),
        ("prose-citations", "false", "40 of 41 lead to what they name; 3.1 cites [8], GANomaly, for PaDiM"),
        (
            "original-stfpm",
            "not checked here",
            "Img AUROC 0.958, the authors 0.955; Pix AUROC 0.969",
        ),
    ],
)
def test_claims_whose_outcome_is_known(found, identifier, verdict, evidence):
    """All others stand in docs/findings.md, which is compared below."""
    assert found[identifier].verdict == verdict
    assert evidence in found[identifier].evidence


def test_claims_are_well_formed():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.check for claim in CLAIMS} == set(checks_of(PUBLISHED)), (
        "a check that no claim names, or the other way round"
    )


def _flat(text: str) -> str:
    return " ".join(text.replace("- ", "-").split())


def test_every_quotation_stands_in_the_paper(paper_text):
    """A quotation may leave words out at an ellipsis; each of its parts must stand in the paper to the letter."""
    formulae = {"$\\epsilon=0.01$": "ε = 0.01", "$O(d^2)$": "O(d²)", "$O(256^2)$": "O(256²)"}
    for formula, plain in formulae.items():
        assert formula in paper_text
        paper_text = paper_text.replace(formula, plain)
    flat = _flat(paper_text)
    flat = re.sub(r"[\"“”]", "", flat)
    checked = 0
    for claim in CLAIMS:
        for quotation in re.findall("“([^”]*)”", claim.says):
            for part in quotation.split("…"):
                assert _flat(part.strip()) in flat, f"{claim.id}: {part!r}"
                checked += 1
    assert checked > 100


def test_citations_are_the_papers(published, paper_text):
    body, references = paper_text.split("\nReferences\n")
    listed = {int(number): rest for number, rest in re.findall(r"^- \[(\d+)\] (.*)$", references, re.MULTILINE)}
    assert sorted(listed) == sorted(published.subjects) == list(range(1, 23))
    for number, names in published.names.items():
        assert names in listed[number]
    for section, subject, number in published.citations:
        assert f"[{number}]" in body, (section, subject)
    for number in published.subjects:
        assert re.search(rf"\[(\d+[,-] ?)*{number}([,-] ?\d+)*\]", body), f"[{number}] is never cited"


def test_each_check_on_tables_can_fail(published, found):
    """One number printed otherwise, and the claims that rest on it turn."""
    for (table, row, column, printed), identifier in {
        (1, "Hazelnut", "Pix AUROC", "0.9806"): "hazelnut-highest-pixel-auroc",
        (2, "ResNet-18 (2.8 M params)", "Img F1", "0.9765"): "numbers-5-1",
        (3, "Candle", "Pix AUROC", "0.9695"): "visa-pixel-above-097",
        (4, "02", "Pix AUROC", "0.9500"): "btad-pixel-above-095",
        (5, "VisA", "Img F1", "0.9000"): "image-level-order",
        (2, "Wide-ResNet-50-2, n = 256 (24.9 M)", "Pix F1", "0.6970"): "wrn-pixel-level-down",
        (5, "VisA", "Img AUROC", "0.3386"): "radar-widest-at-pixel-f1",
        (5, "BTAD", "Pix F1", "0.3600"): "radar-mvtec-btad-near",
        (6, "AE-SSIM", "Pix AUROC", "0.974"): "above-anogan-ae-ssim",
        (6, "PatchCore", "Img AUROC", "0.990"): "original-patchcore",
        (2, "ResNet-18 (2.8 M params)", "Params (M)", "2.7"): "parameters-resnet18",
    }.items():
        after = _by_name(audit_claims(_changed(published, table, row, column, printed)))
        assert found[identifier].verdict is not after[identifier].verdict, identifier


def test_anomalib_that_changed_or_is_missing_is_no_pass(published, monkeypatch):
    named = ("features-upsampled-bilinearly", "maximum-of-upsampled-map", "epsilon-001", "map-at-original-resolution")
    for text in ("", "something else"):
        monkeypatch.setattr(checks, "_anomalib_source", lambda file, text=text: text)
        found = _by_name(audit_claims(published))
        assert {found[name].verdict for name in named} == {ClaimVerdict.NOT_CHECKED}


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2"])
def test_parameters_are_those_of_torchvisions_network(published, name):
    import torch
    import torchvision

    with torch.device("meta"):
        children = dict(torchvision.models.get_model(name).named_children())
    read = ("conv1", "bn1", "layer1", "layer2", "layer3")
    counted = sum(parameter.numel() for child in read for parameter in children[child].parameters())
    assert load_parameters()[name] == counted


@pytest.fixture(scope="module")
def document(project):
    return (project / "docs" / "findings.md").read_text(encoding="utf-8")


def test_the_audit_in_the_document_is_up_to_date(document, findings):
    assert replace_between(document, BEGIN, END, audit_markdown(findings)) == document, (
        "run python -m harness.papers audit --write docs/findings.md"
    )


def test_numbers_in_the_words_are_the_audits(document, findings):
    words = " ".join(document.partition(BEGIN)[0].split())
    by_name = {finding.identifier: finding for finding in findings}

    def number(identifier: str, expression: str) -> str:
        return re.search(expression, by_name[identifier].evidence)[1]

    means = [finding.verdict for finding in findings if finding.kind == "mean"]
    assert f"digit by digit: {means.count(ClaimVerdict.TRUE)} of {len(means)}" in words
    possible, chance = number("attainable-all", r"^(\d+ of \d+)"), number("attainable-all", r"probability (1e-\d+)")
    assert f"{possible} published image values" in words
    assert f"a probability of {chance}" in words
    impossible, explained = (
        number("f1-maximises", r"impossible in (\d+ of \d+) rows"),
        number("f1-maximises", r"explains (\d+ of \d+)"),
    )
    with_ties = number("f1-maximises", r"and in (\d+) ")
    assert f"cannot be so in {impossible} rows, and in {with_ties} of them not even" in words
    assert f"this explains {explained} rows" in words
    lost = number("map-at-original-resolution", r"leaves (\S+ %)")
    assert f"drops {lost} of the area" in words
    named = number("prose-citations", r"(\d+ of \d+) lead")
    assert f"in the prose {named} named ones are right" in words
    wrong = [by_name[name].verdict for name in by_name if name.startswith("table6-cites-")]
    assert (wrong.count(ClaimVerdict.FALSE), len(wrong)) == (5, 6)
    assert "Five of six citation numbers" in words
    share = r"(\d+ %) of the values"
    assert f"F1 only {number('attainable-table4-01-img-f1', share)} can occur at all" in words
    assert f"bottle's AUROC {number('attainable-table1-bottle-img-auroc', share)};" in words
    void = {finding.identifier for finding in findings if "no power" in finding.evidence}
    assert void == {f"attainable-{row}-img-auroc" for row in ("table3-candle", "table3-pcb1", "table4-03")}


def test_a_document_without_a_place_for_the_audit_is_refused(findings):
    for text in ("", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{END}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ValueError):
            replace_between(text, BEGIN, END, audit_markdown(findings))


def test_text_cannot_break_the_table():
    finding = Finding("x", "claim", "1", "a | b_c* <d>", ClaimVerdict.TRUE, "e\\f")
    assert "| 1 | a \\| b\\_c\\* &lt;d> | e\\\\f |" in audit_markdown([finding])


def test_command_line(tmp_path, capsys, findings):
    assert main(["audit"]) == 0
    assert capsys.readouterr().out == audit_markdown(findings) + "\n"
    path = tmp_path / "doc.md"
    path.write_text(f"before\n{BEGIN}\nOUTDATED\n{END}\nafter\n")
    assert main(["audit", "--write", str(path)]) == 0
    assert path.read_text() == f"before\n{BEGIN}\n\n{audit_markdown(findings)}\n\n{END}\nafter\n"
    assert main(["audit", "--write", str(tmp_path / "absent.md")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
