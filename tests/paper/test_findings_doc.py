"""docs/findings.md: its audit is the one that is computed, and the numbers in its words agree with it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from harness.paper.__main__ import main
from harness.paper.audit import run_audit
from harness.paper.audit_text import BEGIN, END, audit_markdown, replace_audit
from harness.paper.model import ClaimVerdict, Finding, Verdict


@pytest.fixture(scope="module")
def findings(published):
    return run_audit(published)


@pytest.fixture(scope="module")
def document(project):
    return (project / "docs" / "findings.md").read_text(encoding="utf-8")


def test_the_audit_in_the_document_is_up_to_date(document, findings):
    assert replace_audit(document, findings) == document, "run python -m harness.paper --write docs/findings.md"


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


def test_every_verdict_and_the_leads_section_are_there(document):
    for verdict in Verdict:
        assert f"| `{verdict}` |" in document
    assert "\n## Why a cell differs\n" in document


def test_a_document_without_a_place_for_the_audit_is_refused(findings):
    for text in ("", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{END}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ValueError):
            replace_audit(text, findings)


def test_text_cannot_break_the_table():
    finding = Finding("x", "claim", "1", "a | b_c* <d>", ClaimVerdict.TRUE, "e\\f")
    assert "| 1 | a \\| b\\_c\\* &lt;d> | e\\\\f |" in audit_markdown([finding])


def test_command_line(tmp_path, capsys, findings):
    assert main([]) == 0
    assert capsys.readouterr().out == audit_markdown(findings) + "\n"
    path = tmp_path / "doc.md"
    path.write_text(f"before\n{BEGIN}\nOUTDATED\n{END}\nafter\n")
    assert main(["--write", str(path)]) == 0
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "OUTDATED" not in text
    assert audit_markdown(findings) in text
    assert main(["--write", str(tmp_path / "absent.md")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_audit_loads_nothing_heavy(project):
    code = (
        "import sys; from harness.paper.audit import run_audit; from harness.paper.published import load_published; "
        "import harness.paper.selection, harness.paper.verdict; run_audit(load_published()); "
        "print([name for name in ('torch', 'torchvision', 'anomalib', 'lightning', 'timm', 'pandas', 'matplotlib', "
        "'pydantic', 'scipy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
