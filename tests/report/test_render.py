"""The command that renders: what it writes and says, and how it refuses."""

from __future__ import annotations

import pytest

from harness.paper.model import PAPER, SMOKE
from harness.report.render import render
from scripts.render import main
from tests.report.stores import whole, write_store


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


def test_a_full_store_is_counted_and_one_of_the_other_edition_is_named(tmp_path):
    write_store(tmp_path / "paper", whole(PAPER))
    done = render(tmp_path / "paper", PAPER, tables=tmp_path / "t")
    assert (done.summary, done.warnings) == ("72 of 72 numbers have runs, out of 10 records", ())
    write_store(tmp_path / "smoke", whole(SMOKE))
    (warning,) = render(tmp_path / "smoke", PAPER, tables=tmp_path / "t").warnings
    assert "none of its 10 runs (on mini_btad, mini_mvtec, mini_visa) fills a place of the edition paper" in warning
