from __future__ import annotations

import subprocess
import sys

import pytest

from harness.paper.model import PAPER, SMOKE
from harness.report.render import EDITIONS, render
from scripts.render import main
from tests.report.stores import make_examples, whole, write_store

HEAVY = ("torch", "torchvision", "timm", "anomalib", "lightning", "matplotlib.pyplot")

IMPORTS = """
import sys
from scripts.render import main
status = main(sys.argv[1:])
print("HEAVY", [name for name in sys.argv[0].split() if name in sys.modules])
sys.exit(status)
"""


def run(*arguments, project, code=None):
    command = [sys.executable, *(["-c", code] if code else [str(project / "scripts" / "render.py")])]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=project, capture_output=True, text=True, timeout=240, check=False
    )


def test_everything_comes_without_torch(tmp_path, project):
    write_store(tmp_path / "store", whole(PAPER), make_examples())
    code = IMPORTS.replace("sys.argv[0].split()", repr(HEAVY))
    arguments = ("--store", tmp_path / "store", "--tables", tmp_path / "t", "--figures", tmp_path / "f")
    done = run(*arguments, project=project, code=code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["73 files written; 72 of 72 numbers have runs, out of 10 records", "HEAVY []"]
    assert done.stderr == ""
    assert len(list((tmp_path / "t").iterdir())) == 36
    assert len(list((tmp_path / "f").glob("fig*.*"))) == 30
    assert len(list((tmp_path / "f" / "local").iterdir())) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to do: give --tables, --figures or --report"),
        (["--edition", "other", "--tables", "t"], "paper"),
        (["--tables"], "--tables"),
        (["--store", "nowhere", "--tables", "t"], "store nowhere: is no store (it holds no folder runs)"),
        (["--report", "page.html"], "--figures"),
    ],
)
def test_wrong_requests_are_one_line(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_a_file_and_an_output_that_cannot_be_written_are_one_line(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["--store", str(file), "--tables", str(tmp_path / "t")]) == 2
    write_store(tmp_path / "store", [])
    (tmp_path / "store" / "runs").mkdir(parents=True, exist_ok=True)
    assert main(["--store", str(tmp_path / "store"), "--tables", str(file)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert str(file) in errors[0]
    assert "cannot be written" in errors[1]


def test_an_empty_store_gives_every_table_and_a_warning(tmp_path, capsys):
    (tmp_path / "store" / "runs").mkdir(parents=True)
    assert main(["--store", str(tmp_path / "store"), "--tables", str(tmp_path / "t")]) == 0
    out, err = capsys.readouterr()
    assert out == "36 files written; 0 of 72 numbers have runs, out of 0 records\n"
    assert "holds no runs; every value is `not run`" in err
    assert (
        "| Bottle | not run | not run | not run | not run | ResNet-18 |" in (tmp_path / "t" / "table1.md").read_text()
    )


def test_a_store_of_the_other_edition_is_named(tmp_path):
    write_store(tmp_path / "store", whole(SMOKE))
    rendered = render(tmp_path / "store", EDITIONS["paper"], tables=tmp_path / "t")
    assert len(rendered.warnings) == 1
    assert (
        "none of its 10 runs (on mini_btad, mini_mvtec, mini_visa) fills a place of the edition paper"
        in rendered.warnings[0]
    )


def test_the_page_comes_with_the_rest(tmp_path, monkeypatch):
    write_store(tmp_path / "store", whole(SMOKE), make_examples())
    figures = __import__("harness.report.figures", fromlist=["FIGURES"]).FIGURES
    monkeypatch.setattr("harness.report.figures.FIGURES", figures[:1])
    page = tmp_path / "report.html"
    rendered = render(tmp_path / "store", EDITIONS["smoke"], figures=tmp_path / "f", report=page)
    assert rendered.files[-1] == page
    text = page.read_text()
    assert "SYNTHETIC" in text
    assert "data:image/svg+xml" in text
