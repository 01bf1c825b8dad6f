"""The command that renders: what it writes and says, and how it refuses."""

from __future__ import annotations

import shutil
from base64 import b64decode
from dataclasses import replace

import pytest

from harness.paths import PROJECT
from harness.report.render import render
from scripts.render import main
from tests.papers.making import PAPER, PUBLISHED, SMOKE
from tests.report.stores import PLACES, run_of, whole, write_store


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to do: give --tables, --figures or --report"),
        (["--edition", "other", "--tables", "t"], "paper"),
        (["--tables"], "--tables"),
        (["--store", "nowhere", "--tables", "t"], "store nowhere: is no store (it holds no folder runs)"),
        (["--store", "file", "--tables", "t"], "store file: is no store"),
        (["--store", "store", "--report", "page.html"], "--figures"),
        (["--store", "store", "--tables", "file"], "cannot be written"),
    ],
)
def test_wrong_requests_are_one_line(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store" / "runs").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "store"]


def test_an_empty_store_gives_every_table_and_a_warning(tmp_path, capsys):
    (tmp_path / "store" / "runs").mkdir(parents=True)
    assert main(["--store", str(tmp_path / "store"), "--tables", str(tmp_path / "t")]) == 0
    out, err = capsys.readouterr()
    assert out == "36 files written; 0 of 72 numbers have runs, out of 0 records\n"
    assert "holds no runs; every value is `not run`" in err
    table = (tmp_path / "t" / "table1.md").read_text()
    assert "| Bottle | not run | not run | not run | not run | ResNet-18 |" in table


def test_the_page_shows_pixel_f1_on_pixel_auroc_of_the_settings_store(tmp_path):
    published = replace(PUBLISHED, figures=())
    paths = {name: tmp_path / name / "report.html" for name in ("without", "with")}
    for name, path in paths.items():
        write_store(path.parent, whole(PAPER))  # one seed, so no line
        if name == "with":
            write_store(path.parent / "settings", [run_of(PLACES[0], PAPER, seed) for seed in range(5)])
        render(path.parent, published, PAPER, figures=tmp_path / "f", report=path)
    assert "settings-plot" in paths["with"].read_text()
    assert (
        "256x256, crop 224x224 (5 runs)"
        in b64decode(paths["with"].read_text().split("base64,")[1].split('"')[0]).decode()
    )
    assert "settings-plot" not in paths["without"].read_text()


def test_a_full_store_is_counted_and_one_of_the_other_edition_is_named(tmp_path):
    write_store(tmp_path / "paper", whole(PAPER))
    done = render(tmp_path / "paper", PUBLISHED, PAPER, tables=tmp_path / "t")
    assert (done.summary, done.warnings) == ("72 of 72 numbers have runs, out of 10 records", ())
    write_store(tmp_path / "smoke", whole(SMOKE))
    (warning,) = render(tmp_path / "smoke", PUBLISHED, PAPER, tables=tmp_path / "t").warnings
    assert "none of its 10 runs (on mini_btad, mini_mvtec, mini_visa) fills a place of the edition paper" in warning


def test_the_page_holds_everybodys_numbers_against_the_stores_runs(tmp_path):
    published = replace(PUBLISHED, figures=())
    page, store = tmp_path / "report.html", tmp_path / "store"
    write_store(store, [run_of(PLACES[0], PAPER, seed) for seed in (42, *range(5))])
    shutil.copytree(PROJECT / "results" / "references", store / "references")
    render(store, published, PAPER, figures=tmp_path / "f", report=page)
    section = page.read_text().split('id="others"')[1].split("</section>")[0]
    for source in ("melleng_padim", "xiahaifeng_padim", "anomalib_readme_padim", "aupimo_benchmark_padim"):
        assert source in section
    assert "interpolation=lanczos" in section
    assert "the harness has no AUPIMO" in section
    assert 'id="others-plot"' in section
    shutil.rmtree(store / "references")
    render(store, published, PAPER, figures=tmp_path / "f", report=page)
    alone = page.read_text().split('id="others"')[1].split("</section>")[0]
    assert alone.count("not run") > section.count("not run")
