"""Another paper is a folder of files: its table, verdicts, audit and page need no code; a wrong file is one line."""

from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.papers import __main__ as papers
from harness.papers.audit import run_audit
from harness.papers.model import ClaimVerdict
from harness.papers.reading import FIGURE_KINDS, PAPERS, _load, load_published, schemas
from harness.report.figures import DRAWINGS
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
    monkeypatch.setattr("harness.papers.reading.PAPERS", tmp_path / "papers")
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
        ("claims.toml", '"above" }', '"abov" }', "check beyond cannot run (side: Input should be 'above' or 'below')"),
        ("claims.toml", '"0.99"', "0.99", "check beyond cannot run (limit: Input should be a valid string)"),
        ("claims.toml", '"Detection"', '"Detectoin"', "table 1 has no number of 'Detectoin'"),
        ("claims.toml", "[1]", "[]", "an empty list checks nothing"),
        ("values.csv", "0.981", "98.1", "line 3: printed 98.1 is above 1; write a share"),
        ("values.csv", "0.981", "٠.٩", "values.csv, line 3: table '1' and printed '٠.٩' must be numbers"),
        ("values.csv", "pixel,auroc,0.981,p. 3", "pixel,auroc,0.981", "line 3: has more or fewer cells than line 1"),
        ("values.csv", "0.981,p. 3", '0.981,"p. 3', "values.csv, line 3: unexpected end of data"),
        ("values.csv", "0.981,p. 3", f"0.981,{'p' * 200_000}", "field larger than field limit"),
        ("values.csv", "bottle,padim,resnet18,pixel", "cable,padim,resnet18,pixel", "all numbers of a row share"),
        ("values.csv", "bottle,padim", "bottle bottle,padim", "line 2: category 'bottle bottle' names one twice"),
        ("values.csv", "bottle,padim", ",padim", "line 2: needs categories"),
        ("values.csv", "padim,resnet18", "padmi,resnet18", "line 2: padmi is not known (did you mean padim?)"),
        ("values.csv", "padim,resnet18", "padim,", "line 2: '' is not known; allowed: efficientnet_lite0"),
        ("values.csv", "mvtec,bottle", "mini_mvtec,bottle", "line 2: mini_mvtec is not known (did you mean mvtec?)"),
        ("values.csv", "1,Bottles,mvtec,bottle,padim,resnet18,pixel,auroc,0.981,p. 3\n", "",
         "tables.toml, line 11: row 'Bottles': values.csv must have one number for each of Detection, Localisation"),
        ("tables.toml", ', "Localisation"]', "]", "row 'Bottles': values.csv must have one"),
        ("tables.toml", '"Localisation"]', '"Detection"]', "line 9: two columns have the name 'Detection'"),
        ("tables.toml", '"Localisation" =', '"L" = "pixel_auroc"\n"Localisation" =', "no metric, or has two columns"),
        ("tables.toml", '"Bottles" }', '"Bottles", texts = { Foo = "x" } }', "texts must be of the same columns"),
        ("tables.toml", '"Bottles" }', '"Bottles", mean = true }', "values.csv must give a mean"),
        ("tables.toml", '"Bottles" }', '"Bottles", repeats = { table = 1, row = "Bottles" } }', "to repeat that has"),
        ("tables.toml", '"Bottles" }', '"Bottles", shown = "{params}" }', "line 11: '{params}': wrong braces"),
        ("tables.toml", "number = 1", 'number = "1"', "tables.toml, line 6: tables.0.number: "),
        ("paper.toml", 'protocol = "paper"', 'protocol = "papr"', "paper.toml, line 3: papr is not known"),
        ("paper.toml", "seeds = [7, ", "seeds = [", "paper.toml, line 5: seeds lack the declared seed 7"),
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


SMOKE = """
[smoke]
protocol = "paper"
datasets = { mvtec = "mini_mvtec" }
backbones = { resnet18 = "efficientnet_lite0" }
"""
SEARCH = """
[search]
store = "settings"
experiment = "settings_bottle"
dataset = "mvtec"
category = "bottle"
model = "padim"
backbone = "resnet18"
tried = 3
line = { x = "Localisation", y = "Detection" }
ranked_by = [{ table = 1, row = "Bottles" }]
plotted = [{ table = 1, row = "Bottles" }]
"""
FIGURE = """
[[figures]]
number = 1
stem = "fig"
kind = "pipeline"
table = 1
title = "On {mvtec} with {backbone}"
alternative = "A drawing."
"""


@pytest.mark.parametrize(
    ("file", "text", "old", "new", "said"),
    [
        ("paper.toml", SMOKE, '"mini_mvtec"', '"mini_mvtek"', "line 15: mini_mvtek is not known"),
        ("paper.toml", SMOKE, "mvtec =", "visa =", "line 13: smoke: datasets must name one for each of mvtec"),
        ("paper.toml", SMOKE, "_lite0", "_lite7", "line 16: efficientnet_lite7 is not known"),
        ("paper.toml", SEARCH, "bottle", "bottel", "settings_bottel is not known (did you mean settings_bottle?)"),
        ("paper.toml", SEARCH, '"Localisation"', '"Loc"', "line 21: Loc is not known"),
        ("paper.toml", SEARCH, '"Bottles"', '"Cans"', "line 13: search: table 1 has no row 'Cans'"),
        ("figures.toml", FIGURE, "pipeline", "pipelin", "figures.toml, line 4: figure fig: kind pipelin is not there"),
        ("figures.toml", FIGURE, "pipeline", "categories", "the kind categories needs a table with rows of one"),
        ("figures.toml", FIGURE, "pipeline", "backbones", "each of another backbone"),
        ("figures.toml", FIGURE, "pipeline", "radar", "and the metrics image_auroc, image_f1_strict"),
        ("figures.toml", FIGURE, "pipeline", "overlays", "needs a table and a row of one category"),
        ("figures.toml", FIGURE, "table = 1", "table = 9", "there is no table 9"),
        ("figures.toml", FIGURE, "{mvtec}", "{visa}", "wrong braces ('visa'); allowed: {backbone}, {mvtec}"),
        ("figures.toml", FIGURE, '"fig"', '"../fig"', "figures.toml, line 4: figures.0.stem: "),
        ("figures.toml", FIGURE * 2, "number = 1", "number = 2", "two figures have this stem"),
        ("facts.toml", "a = 1", "1", "", "facts.toml: is no TOML"),
    ],
)  # fmt: skip
def test_a_wrong_part_is_one_line_with_the_place(folder, file, text, old, new, said):
    there = (folder / file).read_text() if (folder / file).exists() else ""
    (folder / file).write_text(there + text)
    if text in (SMOKE, SEARCH, FIGURE):
        load_published("tiny")
        _load.cache_clear()
    (folder / file).write_text(there + text.replace(old, new, 1))
    with pytest.raises(RequestError) as raised:
        load_published("tiny")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["pipeline", "datasets", "methods"])
def test_another_model_and_one_backbone_are_drawn_under_their_own_name(folder, tmp_path, kind):
    (folder / "figures.toml").write_text(FIGURE.replace("pipeline", kind))
    if kind != "pipeline":
        values = (folder / "values.csv").read_text()
        (folder / "values.csv").write_text("\ufeff" + values.replace("padim,resnet18", "patchcore,efficientnet_lite1"))
    write_store(tmp_path / "store", [run(BOTTLE, seed=7)])
    figures = ["--figures", str(tmp_path / "f")]
    assert render.main(["--paper", "tiny", "--store", str(tmp_path / "store"), *figures]) == 0
    drawn = (tmp_path / "f" / "fig.svg").read_text()
    assert ("PatchCore" in drawn, "PaDiM" in drawn) == (kind != "pipeline", kind == "pipeline")


def test_every_kind_of_figure_has_a_drawing():
    assert set(FIGURE_KINDS) == set(DRAWINGS)


def test_a_folder_needs_a_name_that_a_module_can_have(folder):
    folder.rename(folder.with_name("tiny.2"))
    with pytest.raises(RequestError, match="name the folder with letters, digits and underscores"):
        load_published("tiny.2")


def test_another_paper_that_is_broken_or_a_default_too_is_one_line(folder):
    (folder / "paper.toml").write_text("default = true\n" + FILES["paper.toml"])
    assert load_published().id == "tiny"
    other = folder.with_name("other")
    other.mkdir()
    (other / "paper.toml").write_text("default = true\n")
    with pytest.raises(RequestError, match="2 papers say default = true; name one: other, tiny"):
        load_published()
    (other / "paper.toml").write_text("default =\n")
    with pytest.raises(RequestError, match=r"other/paper\.toml: is no TOML"):
        load_published()


def test_an_unknown_paper_is_one_line(folder):
    with pytest.raises(RequestError, match=r"paper tyny: is not there \(did you mean tiny\?\); allowed: tiny"):
        load_published("tyny")
    with pytest.raises(RequestError, match="0 papers say default = true"):
        load_published()


def test_the_schemas_for_editors_are_those_of_the_models():
    for name, text in schemas().items():
        assert (PAPERS / "schema" / name).read_text() == text, "run python -m harness.papers schema"


def test_the_lines_of_a_row_stand_together_since_a_row_is_judged_as_a_whole(folder):
    tables, values = folder / "tables.toml", folder / "values.csv"
    tables.write_text(tables.read_text().replace('"Bottles" },', '"Bottles" },\n  { name = "Cables" },'))
    head, image, pixel = values.read_text().splitlines()
    cable = [line.replace("Bottles", "Cables").replace("bottle", "cable") for line in (image, pixel)]
    values.write_text("\n".join([head, image, cable[0], pixel, cable[1]]))
    with pytest.raises(RequestError, match=r"values\.csv, line 4: the lines of a row must follow one another"):
        load_published("tiny")
