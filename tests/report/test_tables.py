from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import t

from harness.papers.arithmetic import rounded
from harness.papers.model import Place
from harness.papers.verdict import caveats
from harness.paths import PROJECT
from harness.report.tables import Table, build_tables, csv_document, latex_document, markdown_document, write_tables
from harness.store import Store
from tests.papers.making import PAPER, PUBLISHED, SMOKE, failed, run
from tests.report.stores import EDITIONS, PLACES, judge_store, run_of, values_of, whole
from tests.store.making import VALUES

CABLE = Place("mvtec", "cable", "padim", "resnet18")
HOSTILE = (
    '=HYPERLINK("x")', "+1+1", "-cmd|' /C calc'!A1", "@SUM(A1)", "\t=1", "a|b", "a\\b", "50 % & #1_x^2~{y}$z$", "<b>",
    "[x](y)", "`code`", "*b*", "line\nbreak\r\nend", "ñ É ß", "データ", "\udcff", '"q"', "x, y", "[h]",
)  # fmt: skip


def tables_of(records, edition=PAPER):
    return build_tables(judge_store(records, edition))


def find(tables, number, form="paper"):
    return next(table for table in tables if (table.number, table.form) == (number, form))


def as_dict(table):
    return {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}


@pytest.fixture(scope="module")
def full():
    return tables_of(whole(PAPER, seeds=(0, 1, 42)))


@pytest.mark.parametrize("edition", EDITIONS.values(), ids=EDITIONS)
@pytest.mark.parametrize("complete", [True, False])
def test_every_published_number_has_its_place_in_both_forms_and_no_cell_is_empty(edition, complete):
    tables = tables_of(whole(edition) if complete else [], edition)
    assert [(table.number, table.form) for table in tables] == [
        (number, form) for number in range(1, 7) for form in ("paper", "verdicts")
    ]
    for table in tables:
        layout = PUBLISHED.table(table.number)
        assert all(cell.strip() for row in table.rows for cell in row)
        assert all(len(row) == len(table.columns) == len(table.numeric) for row in table.rows)
        assert len(table.runs) == len(table.rows)
        if table.form == "paper":
            assert table.columns == layout.columns
            assert len(table.rows) == len(layout.names)
        else:
            cells = [cell for cell in PUBLISHED.cells if cell.table == table.number]
            beside = [row for row in table.rows if row[1] != "row as a whole"]
            assert [(row[1], row[2]) for row in beside] == [(cell.column, cell.printed) for cell in cells]
            joint = [row for row in table.rows if row[1] == "row as a whole"]
            assert len(joint) == sum(bool(PUBLISHED.places(layout.number, row)) for row in layout.names)


def test_the_papers_form_shows_the_declared_seed_and_means_over_it(full):
    for number, dataset in ((1, "mvtec"), (3, "visa"), (4, "btad")):
        shown = as_dict(find(full, number))
        places = [place for place in PLACES if place.dataset == dataset and place.backbone == "resnet18"]
        layout = PUBLISHED.table(number)
        for column, metric in PUBLISHED.metrics.items():
            exact = [Fraction(values_of(place)[metric]) for place in places]
            expected = [rounded(value, 4) for value in (*exact, sum(exact) / len(exact))]
            assert [shown[row][column] for row in layout.names] == expected


def test_table_2_has_counted_parameters_in_the_papers_own_row_names(full):
    table = find(full, 2)
    assert tuple(row[0] for row in table.rows) == PUBLISHED.table(2).names
    params = [row for row in find(full, 2, "verdicts").rows if row[1] == "Params (M)"]
    assert [(row[2], row[3]) for row in params] == [("2.8", "2.8"), ("24.9", "24.9")]
    assert any("2,782,784 and 24,862,528, ratio 8.9" in line for line in table.footer)


def test_table_5_has_n_and_table_6_mixes_literature_and_measured_rows_with_the_scope_note(full):
    assert [row[1] for row in find(full, 5).rows] == ["3", "3", "3"]
    table = find(full, 6)
    literature = [row for row in table.rows if row[-1] != "This work"]
    assert [row[1:3] for row in literature] == [
        tuple(PUBLISHED.cell(6, row[0], column).printed for column in ("Img AUROC", "Pix AUROC")) for row in literature
    ]
    ours = as_dict(table)["PaDiM-WRN-50-2 (Ours, Bottle)"]
    assert ours["Img AUROC"] == rounded(
        values_of(Place("mvtec", "bottle", "padim", "wide_resnet50_2"))["image_auroc"], 4
    )
    assert any(PUBLISHED.table(6).notes[0] in line for line in table.footer)


def test_published_beside_reproduced_says_difference_prediction_interval_and_verdict(full):
    seeds = (0, 1, 2, 3, 42)
    table = find(tables_of(whole(PAPER, seeds)), 1, "verdicts")
    row = next(row for row in table.rows if row[:2] == ("Bottle", "Pix AUROC"))
    values = np.array([values_of(PLACES[0], seed)["pixel_auroc"] for seed in seeds])
    spread = values.std(ddof=1) * np.sqrt(1.2)
    low, high = t.interval(0.95, 4, values.mean(), spread)
    assert row[2:10] == (
        "0.9805",
        rounded(values[-1], 4),
        f"{values[-1] - 0.9805:+.4f}",
        "5",
        f"{rounded(low, 4)} to {rounded(high, 4)}",
        f"{2 * t.sf(abs(0.9805 - values.mean()) / spread, 4):#.2g}",
        f"{rounded(values[-1] - 0.05, 4)} to {rounded(min(values[-1] + 0.03, 1), 4)}",
        "consistent" if low <= 0.9805 <= high else "differs",
    )
    mean = next(row for row in table.rows if row[:2] == ("Mean", "Pix F1"))
    assert re.fullmatch(r"± 0\.0\d{3}", mean[8])
    assert set(caveats(PUBLISHED)) < set(table.footer)
    assert {row[9] for row in find(full, 1, "verdicts").rows} == {"too few seeds"}  # three


def test_a_row_as_a_whole_shows_its_p_value(full):
    runs = Store(PROJECT / "results").records().records
    row = next(row for row in find(tables_of(runs), 1, "verdicts").rows if row[:2] == ("Bottle", "row as a whole"))
    assert row[2:10] == ("–", "–", "–", "11", "–", "0.00049", "–", "differs")
    assert row[10] == "p = 0.00049, most of it from Pix F1 (without it p = 0.65); 0 of 11 seeds give all 4 numbers"


def test_footers_carry_the_keys_the_weights_and_the_protocol():
    records = whole(PAPER, seeds=(0, 42))
    tables = tables_of(records)
    for table in tables:
        text = "\n".join(table.footer)
        assert "Protocol paper: resize 256×256, centre crop 224×224, 56×56 grid, 100 of 448 channels (ResNet" in text
        assert "weights file: resnet18.safetensors" in text
        places = {place for cell in PUBLISHED.cells if cell.table == table.number for place in cell.places}
        seeds = (42,) if table.form == "paper" else (0, 42)
        expected = {run_of(place, PAPER, seed).key for place in places for seed in seeds}
        assert set(re.findall(r"\b[0-9a-f]{12}\b", text)) == expected
        assert set(" ".join(table.runs).split()) - {"none"} == expected


def test_a_failed_run_a_missing_one_and_an_unfit_one_are_told_apart():
    records = [
        run_of(PLACES[0], PAPER),
        failed(CABLE),
        run(Place("mvtec", "hazelnut", "padim", "resnet18"), epsilon=0.5),
    ]
    tables = tables_of(records)
    shown = as_dict(find(tables, 1))
    assert {row: cells["Pix F1"] for row, cells in shown.items() if row != "Bottle"} == {
        "Cable": "failed",
        "Hazelnut": "none counts",
        "Mean": "failed (1 of 3)",
    }
    footer = "\n".join(find(tables, 1).footer)
    assert "bottle/x.png: is truncated" in footer
    assert "model.epsilon=0.5" in footer
    assert as_dict(find(tables, 3))["Candle"]["Img AUROC"] == "not run"


def test_a_mean_over_fewer_categories_than_n_is_never_given():
    records = [record for record in whole(PAPER) if record.spec.category not in ("cable", "02")]
    tables = tables_of(records)
    assert as_dict(find(tables, 1))["Mean"]["Img AUROC"] == "not run (2 of 3)"
    summary = as_dict(find(tables, 5))
    assert [summary[row]["N cats"] for row in summary] == ["2 of 3", "3", "2 of 3"]
    assert summary["MVTec AD"]["Pix AUROC"] == "not run (2 of 3)"
    assert re.fullmatch(r"0\.\d{4}", summary["VisA"]["Pix AUROC"])
    assert as_dict(find(tables, 6))["PaDiM-ResNet-18 (Ours)*"]["Img AUROC"] == "not run (2 of 3)"


def test_contradicting_runs_other_seeds_and_missing_masks_give_no_number():
    pixels = [name for name in VALUES if name.startswith("pixel_")]
    absent = {"metrics_absent": dict.fromkeys(pixels, "no masks"), "intervals": {}}
    unmasked = run(PLACES[0], values=dict.fromkeys(pixels), counts={"has_masks": False}, record=absent)
    for records, shown, footer in (
        (
            [run_of(PLACES[0], PAPER), run(PLACES[0], weights_digest="cd" * 32, seed=1)],
            "runs contradict",
            "different weights",
        ),
        ([run_of(PLACES[0], PAPER, seed) for seed in (1, 2)], "no declared seed", "seed 1"),
        ([unmasked], "no metric", "no masks"),
    ):
        table = find(tables_of(records), 1)
        assert as_dict(table)["Bottle"]["Pix F1"] == shown
        assert (as_dict(table)["Bottle"]["Img AUROC"] == shown) is (shown != "no metric")
        assert any(footer in line for line in (*table.footer, *find(tables_of(records), 1, "verdicts").footer))


def test_the_smoke_edition_says_synthetic_everywhere_and_names_its_own_backbones():
    for table in tables_of(whole(SMOKE), SMOKE):
        assert table.title.startswith("SYNTHETIC (drawn images). Table ")
        assert csv_document(table).splitlines()[1].endswith(",yes")
        assert "% SYNTHETIC" in latex_document(table)
        assert "SYNTHETIC" in markdown_document(table)
        assert not any("ResNet" in cell for row in table.rows for cell in row)
        if table.form == "verdicts":
            assert {row[9] for row in table.rows} == {"not comparable"}
    for table in tables_of(whole(PAPER)):
        assert "SYNTHETIC" not in csv_document(table) + latex_document(table) + markdown_document(table)
        assert csv_document(table).splitlines()[1].endswith(",no")


def hostile_table(form="paper"):
    rows = tuple((text, "0.9", "-0.0012", "+0.5", f"x{text}") for text in HOSTILE)
    return Table(
        number=1,
        form=form,
        title=f"T {HOSTILE[7]}",
        columns=("Name", "A", "B", "C", HOSTILE[5]),
        rows=rows,
        runs=("none",) * len(rows),
        footer=HOSTILE,
        numeric=(False, True, True, True, False),
        protocol="=p",
        synthetic=False,
    )


def test_csv_holds_no_formula_and_loses_nothing():
    table = hostile_table()
    text = csv_document(table).encode("utf-8", "backslashreplace").decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == ["Name", "A", "B", "C", "a|b", "Runs", "Protocol", "Synthetic"]
    assert len(rows) == len(HOSTILE)
    for row, name in zip(rows, HOSTILE, strict=True):
        assert row[1:4] == ["0.9", "-0.0012", "+0.5"]
        assert row[6] == "'=p"
        assert not any(cell[:1] in ("=", "@", "\t", "\r", "\n") for cell in row)
        assert row[0].removeprefix("'") == name.encode("utf-8", "backslashreplace").decode()
    assert rows[1][0] == "'+1+1"
    assert rows[2][0].startswith("'-cmd")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex on the PATH")
def test_latex_compiles(full, tmp_path):
    tables = [*full, hostile_table(), hostile_table("verdicts"), *tables_of([], SMOKE)]
    write_tables(full, tmp_path)
    body = "\n".join(rf"{latex_document(table)}\clearpage" for table in tables)
    text = rf"\documentclass{{article}}\usepackage{{array,booktabs}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "all.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
