"""scripts/bench.py: wrong requests, and what it writes where."""

from __future__ import annotations

import pytest

from harness.bench import sections
from harness.bench.process import BenchError
from scripts import bench
from tests.bench.made import core


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "core,nothing"], "--only core,nothing: there are core, metrics"),
        (["--only", ","], "--only ,: there are core"),
        (["--weights", "no.safetensors"], "--weights no.safetensors: no such file"),
        (["--data-root", "/nowhere"], "has no images in mvtec/bottle"),
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--limit", "1"], "--limit at least 2"),
    ],
)
def test_a_wrong_request_is_one_line(arguments, said, capsys):
    assert bench.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_results_are_written_and_summed_up(drawn_mvtec, tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setitem(sections.SECTIONS, "core", lambda plan: seen.append(plan) or core())
    arguments = [
        "--data-root",
        str(drawn_mvtec.parent),
        "--only",
        "core",
        "--repeats",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    assert bench.main(arguments) == 0
    assert (seen[0].repeats, seen[0].weights, seen[0].source.label) == (2, "random", "mvtec/bottle")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["core.json"]
    assert "the lean Engine against ours, whole processes: 2.64× (at least 2.50×): holds" in capsys.readouterr().out


def test_a_disagreement_fails_and_writes_nothing(drawn_mvtec, tmp_path, monkeypatch, capsys):
    def disagree(_):
        raise BenchError("the sides computed other numbers")

    monkeypatch.setitem(sections.SECTIONS, "core", disagree)
    arguments = ["--data-root", str(drawn_mvtec.parent), "--only", "core", "--out", str(tmp_path / "out")]
    assert bench.main(arguments) == 1
    assert capsys.readouterr().err == "error: the sides computed other numbers\n"
    assert not (tmp_path / "out").exists()
