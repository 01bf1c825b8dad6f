"""Claims that are known to be true, false or beyond reach; their quotations; and that wrong tables change verdicts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.data.catalog import CATALOG
from harness.paper import checks_method
from harness.paper.audit import run_audit
from harness.paper.audit_claims import CHECKS, audit_claims
from harness.paper.claims import load_claims, load_context
from harness.paper.model import ClaimVerdict
from tests.paper.test_audit_means import _changed

TRUE = [
    "scoring-deterministic",
    "abstract-numbers",
    "visa-highest-pixel-auroc",
    "btad-two-of-three-above-098",
    "btad-one-perfect",
    "btad-pixel-above-095",
    "six-baselines",
    "mvtec-5354-images",
    "mvtec-15-categories",
    "mvtec-73-defect-types",
    "visa-12-categories",
    "grid-56",
    "map-upsampled-bilinearly",
    "epsilon-001",
    "mvtec-3629-train",
    "mvtec-1725-test",
    "btad-3-categories",
    "bottle-best-image-level",
    "numbers-5-1",
    "wrn-image-level-up",
    "wrn-pixel-level-down",
    "parameters-resnet18",
    "parameters-wide-resnet",
    "parameters-ratio",
    "candle-highest-image-auroc",
    "pcb1-highest-pixel-auroc",
    "cashew-highest-pixel-f1",
    "visa-pixel-above-097",
    "btad-03-study-maximum",
    "means-above-097",
    "several-below-097",
    "above-anogan-ae-ssim",
    "table6-cites-ae-ssim",
    "radar-widest-at-pixel-f1",
    "radar-mvtec-btad-near",
    "three-of-fifteen",
    "three-of-twelve",
    "original-cutpaste",
    "original-patchcore",
]

FALSE = [
    "prose-citations",
    "maximum-of-upsampled-map",
    "map-at-original-resolution",
    "features-upsampled-bilinearly",
    "mvtec-1725-annotated",
    "f1-maximises",
    "hazelnut-highest-pixel-auroc",
    "cable-lowest-on-all-four",
    "bottle-metallic-cap",
    "bottle-plastic-deformation",
    "btad-02-fewer-than-250",
    "exceeds-all-on-bottle",
    "table6-cites-anogan",
    "table6-cites-cutpaste",
    "table6-cites-stfpm",
    "table6-cites-draem",
    "table6-cites-patchcore",
    "reference-6-authors",
]

NOT_CHECKED = [
    "randomly-projected",
    "overlay-at-original-resolution",
    "fixed-seed-one-bottle-run",
    "bottle-flank",
    "above-reconstruction-methods",
    "candle-30-pixels",
    "hazelnut-small-defects",
    "normal-maps-low",
    "sub-centimetre",
    "visa-more-variable",
    "btad-production-line",
    "original-anogan",
    "original-ae-ssim",
    "original-stfpm",
    "original-draem",
    "official-partitions",
    "identical-conditions",
    "no-score-normalisation",
    "comparable-to-cutpaste-stfpm",
    "training-size-explains",
    "candle-defects-at-wick",
]


@pytest.fixture(scope="module")
def found(published):
    return {finding.identifier: finding for finding in audit_claims(published)}


@pytest.mark.parametrize(
    ("identifier", "verdict"),
    [
        *((name, ClaimVerdict.TRUE) for name in TRUE),
        *((name, ClaimVerdict.FALSE) for name in FALSE),
        *((name, ClaimVerdict.NOT_CHECKED) for name in NOT_CHECKED),
    ],
)
def test_known_verdicts(found, identifier, verdict):
    assert found[identifier].verdict is verdict
    assert found[identifier].evidence


def test_no_other_claim_is_false(found):
    assert {name for name, finding in found.items() if finding.verdict is ClaimVerdict.FALSE} == set(FALSE)


@pytest.mark.parametrize(
    ("identifier", "evidence"),
    [
        ("hazelnut-highest-pixel-auroc", "Bottle 0.9805, Hazelnut 0.9730, Cable 0.9655"),
        ("cable-lowest-on-all-four", "2 of 4 columns"),
        (
            "fixed-seed-one-bottle-run",
            "Img AUROC 0.9952 and 0.9960; Pix AUROC 0.9805 and 0.9815; Pix F1 0.6944 and 0.6969",
        ),
        ("btad-02-fewer-than-250", "399 official training images; fewer than 250 have: Bottle 209"),
        ("mvtec-1725-annotated", "1258; official counts"),
        ("parameters-resnet18", "2,782,784"),
        ("parameters-wide-resnet", "24,862,528"),
        ("parameters-ratio", "8.93"),
        ("map-at-original-resolution", "23.4 %"),
        ("storage-256", "49 times fewer"),
        ("f1-maximises", "impossible in 5 of 11 rows (table1-bottle, table2-resnet-18,"),
        ("several-below-097", "3 of 9 below 0.97: 02 0.9547, Cable 0.9655, 01 0.9688"),
        ("above-reconstruction-methods", "DRAEM −0.0010"),
        ("table6-cites-anogan", "entry 3 of the reference list is PatchCore; AnoGAN is entry 7"),
        ("training-size-explains", "of the 36 pairs among 9 categories"),
        ("training-size-explains", "MVTec AD 274.7 images 0.8688, BTAD 599.7 images 0.9350, VisA 751.3 images 0.8386"),
        ("parameters-ratio", "31.7 M against 206.3 M numbers, 6.5-fold"),
        ("prose-citations", "40 of 41 lead to what they name; 3.1 cites [8], GANomaly, for PaDiM"),
        ("f1-maximises", "in 3 (table2-wide-resnet-50-2, table4-01, table4-02) even with such ties"),
        ("bottle-plastic-deformation", "broken_large (20 images), broken_small (22 images), contamination (21 images)"),
        ("candle-defects-at-wick", "1 of 8 official types name it"),
        ("original-stfpm", "Img AUROC 0.958, the authors 0.955; Pix AUROC 0.969, the authors 0.970"),
    ],
)
def test_evidence(found, identifier, evidence):
    assert evidence in found[identifier].evidence


def test_claims_are_well_formed():
    claims = load_claims()
    names = [claim.identifier for claim in claims]
    assert len(set(names)) == len(names)
    assert {claim.check for claim in claims} == set(CHECKS)


def test_all_findings_have_different_identifiers(published):
    names = [finding.identifier for finding in run_audit(published)]
    assert len(set(names)) == len(names)


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
    for claim in load_claims():
        for quotation in re.findall("“([^”]*)”", claim.says):
            for part in quotation.split("…"):
                assert _flat(part.strip()) in flat, f"{claim.identifier}: {part!r}"
                checked += 1
    assert checked > 100


def test_citations_are_the_papers(published, paper_text):
    context = load_context(published)
    body, references = paper_text.split("\nReferences\n")
    listed = {int(number): rest for number, rest in re.findall(r"^- \[(\d+)\] (.*)$", references, re.MULTILINE)}
    assert sorted(listed) == sorted(context.subjects) == list(range(1, 23))
    for number, names in context.names.items():
        assert names in listed[number]
    for section, subject, number in context.citations:
        assert f"[{number}]" in body, (section, subject)
    for number in context.subjects:
        assert re.search(rf"\[(\d+[,-] ?)*{number}([,-] ?\d+)*\]", body), f"[{number}] is never cited"


def test_each_check_on_tables_can_fail(published):
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
        before = {finding.identifier: finding.verdict for finding in audit_claims(published)}
        after = {
            finding.identifier: finding.verdict
            for finding in audit_claims(_changed(published, table, row, column, printed))
        }
        assert before[identifier] is not after[identifier], identifier


def test_an_equal_second_is_no_highest(published):
    tied = _changed(published, 3, "PCB1", "Pix AUROC", "0.9817")
    found = {finding.identifier: finding.verdict for finding in audit_claims(tied)}
    assert found["pcb1-highest-pixel-auroc"] is ClaimVerdict.FALSE


def test_same_row_would_be_the_same_run(published):
    same = published
    for cell in published.row(1, "Bottle"):
        same = replace(
            same,
            cells=tuple(
                replace(other, printed=cell.printed)
                if (other.table, other.row, other.column) == (2, "ResNet-18 (2.8 M params)", cell.column)
                else other
                for other in same.cells
            ),
        )
    found = {finding.identifier: finding for finding in audit_claims(same)}
    assert found["fixed-seed-one-bottle-run"].verdict is ClaimVerdict.TRUE


def test_anomalib_that_changed_or_is_missing_is_no_pass(published, monkeypatch):
    for text in (None, "something else"):
        monkeypatch.setattr(checks_method, "_anomalib_source", lambda file, text=text: text)
        found = {finding.identifier: finding for finding in audit_claims(published)}
        for name in (
            "features-upsampled-bilinearly",
            "maximum-of-upsampled-map",
            "epsilon-001",
            "map-at-original-resolution",
        ):
            assert found[name].verdict is ClaimVerdict.NOT_CHECKED


def test_defect_types_add_up_to_the_catalog(published):
    types = load_context(published).facts["mvtec_defects"]["types"]
    assert set(types) == set(CATALOG["mvtec"].categories)
    for name, counts in CATALOG["mvtec"].categories.items():
        assert sum(types[name].values()) == counts.test_anomalous
    assert sum(len(each) for each in types.values()) == 73


def _conv(kernel: int, channels_in: int, channels_out: int) -> int:
    """Weights of a convolution without bias, and of the batch normalisation after it."""
    return kernel**2 * channels_in * channels_out + 2 * channels_out


def test_parameters_by_the_architectures_own_arithmetic(published):
    counted = load_context(published).parameters
    stem = _conv(7, 3, 64)

    basic, channels = stem, 64
    for width in (64, 128, 256):
        shortcut = _conv(1, channels, width) if channels != width else 0
        basic += _conv(3, channels, width) + 3 * _conv(3, width, width) + shortcut
        channels = width
    assert counted["resnet18"] == basic

    bottleneck, channels = stem, 64
    for blocks, width in ((3, 128), (4, 256), (6, 512)):
        out = 2 * width  # bottlenecks twice as wide as ResNet-50's, of the same outputs
        for block in range(blocks):
            shortcut = _conv(1, channels, out) if block == 0 else 0
            bottleneck += _conv(1, channels, width) + _conv(3, width, width) + _conv(1, width, out) + shortcut
            channels = out
    assert counted["wide_resnet50_2"] == bottleneck
