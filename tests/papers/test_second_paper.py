"""Another paper is a folder of files: its table, verdicts, audit and page need no code; a wrong file is one line."""

from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.papers import __main__ as papers
from harness.papers.audit import run_audit
from harness.papers.model import ClaimVerdict
from harness.papers.published import PAPERS, load_published, schemas
from scripts import render
from tests.papers.making import BOTTLE, run
from tests.report.stores import write_store

FILES = {
    "paper.toml": """
title = "A tiny paper"
authors = ["A. Author"]
protocol = "paper"
declared_seed = 7
seeds = [7, 0, 1, 2, 3]

[[settings]]
name = "resize"
section = "2"
says = "images of 256 pixels"
value = "256"
""",
    "values.csv": """table,row,dataset,category,model,backbone,level,metric,printed,where
1,Bottles,mvtec,bottle,padim,resnet18,image,auroc,0.995,p. 3
1,Bottles,mvtec,bottle,padim,resnet18,pixel,auroc,0.981,p. 3
""",
    "tables.toml": """
[columns]
"Detection" = "image_auroc"
"Localisation" = "pixel_auroc"

[[tables]]
number = 1
section = "4"
title = "Results on bottles."
columns = ["Category", "Detection", "Localisation"]
rows = [
  { name = "Bottles" },
]
""",
    "claims.toml": """
[[claims]]
id = "above"
section = "Abstract"
says = "above 0.99"
check = "beyond"
with = { tables = [1], column = "Detection", limit = "0.99", side = "above" }
""",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The papers' folder, with this one in it."""
    for name, text in FILES.items():
        path = tmp_path / "papers" / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    monkeypatch.setattr("harness.papers.published.PAPERS", tmp_path / "papers")
    return tmp_path / "papers" / "tiny"


def test_it_gets_its_table_verdicts_audit_and_page(folder, tmp_path, capsys):
    write_store(tmp_path / "store", [run(BOTTLE, seed=seed, values={"image_auroc": 0.995}) for seed in (7, 0, 1)])
    places = ["--tables", str(tmp_path / "t"), "--figures", str(tmp_path / "f"), "--report", str(tmp_path / "p.html")]
    assert render.main(["--paper", "tiny", "--store", str(tmp_path / "store"), *places]) == 0
    assert "2 of 2 numbers have runs, out of 3 records" in capsys.readouterr().out
    table = (tmp_path / "t" / "table1.md").read_text()
    assert "| Category | Detection | Localisation |" in table
    assert "| Bottles | 0.995 | " in table
    verdicts = (tmp_path / "t" / "table1_verdicts.md").read_text()
    assert "seed 7 gives 0.995; 3 of 3 seeds give exactly this" in verdicts
    page = (tmp_path / "p.html").read_text()
    assert "A tiny paper" in page
    assert "images of 256 pixels" in page
    assert "PaDiM (ResNet-18)" not in page, "nothing of the other paper"


def test_it_is_audited_and_listed(folder, capsys):
    (finding,) = run_audit(load_published("tiny"))[-1:]
    assert (finding.identifier, finding.verdict) == ("above", ClaimVerdict.TRUE)
    assert papers.main(["list"]) == papers.main(["verify", "tiny"]) == papers.main(["audit", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "A tiny paper" in out
    assert "tiny: 2 numbers, 1 tables, 0 figures, 1 claims" in out
    assert "above 0.99" in out


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("values.csv", "0.981", "0.98l", "values.csv, line 3: table '1' and printed '0.98l' must be numbers"),
        ("values.csv", "bottle,padim", "botle,padim", "line 2: mvtec has no category botle (did you mean bottle?)"),
        ("values.csv", "pixel,auroc", "pixel,aurok", "line 3: pixel_aurok is not known (did you mean pixel_auroc?)"),
        ("values.csv", "1,Bottles,mvtec,bottle,padim,resnet18,pixel", "1,Cans,mvtec,bottle,padim,resnet18,pixel",
         "values.csv, line 3: tables.toml has no row 'Cans' in table 1"),
        ("values.csv", "where", "were", "values.csv, line 1: needs the columns"),
        ("tables.toml", '{ name = "Bottles" },', '{ name = "Bottles" },\n  { name = "Mean" },',
         "tables.toml, line 12: values.csv has no number of row 'Mean'"),
        ("tables.toml", 'section = "4"', 'sections = "4"', "tables.toml, line 7: tables.0.sections: "),
        ("tables.toml", "number = 1", "number = ", "tables.toml: is no TOML"),
        ("tables.toml", "number = 1", 'number = 1\nexperiment = "table9"', "line 7: configs/experiment has"),
        ("paper.toml", "declared_seed = 7", 'declared_seed = "7x"', "paper.toml, line 4: declared_seed: "),
        ("claims.toml", 'check = "beyond"', 'check = "beyondd"', "line 2, claim above: check beyondd is not there"),
        ("claims.toml", "column = ", "colum = ", "claim above: check beyond cannot run"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line_with_the_place(folder, file, old, new, said):
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RequestError) as raised:
        run_audit(load_published("tiny"))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_paper_is_one_line(folder):
    with pytest.raises(RequestError, match=r"paper tyny: is not there \(did you mean tiny\?\); allowed: tiny"):
        load_published("tyny")
    with pytest.raises(RequestError, match="0 papers say default = true"):
        load_published()


def test_the_schemas_for_editors_are_those_of_the_models():
    for name, text in schemas().items():
        assert (PAPERS / "schema" / name).read_text() == text, "run python -m harness.papers schema"
