"""Medians, ratios, agreement, and results on the disk."""

from __future__ import annotations

import json
import math

import pytest

from harness.bench.results import disagreements, machine, read_results, write_results
from harness.errors import RequestError
from tests.bench.made import one, section


def test_medians_and_ratios():
    results = section(
        "x",
        *(one("a", seconds, repeat=n, numbers={"extra": 2 * seconds}) for n, seconds in enumerate((1, 9, 2))),
        *(one("b", seconds, repeat=n, work_seconds=0.5) for n, seconds in enumerate((4, 4, 4))),
    )
    assert results.names == ("a", "b")
    assert (results.median("a"), results.median("a", "extra"), results.median("b", "work_seconds")) == (2, 4, 0.5)
    assert results.ratio("b", "a") == 2
    assert results.ratio("a", "b", "extra", "work_seconds") == 8
    assert results.median("c") is results.median("a", "work_seconds") is results.ratio("a", "c") is None


def test_disagreement_names_both_sides_and_not_a_number_is_one():
    close = [one("a", metrics={"auroc": 0.5}), one("b", metrics={"auroc": 0.5 + 9e-7}), one("floor")]
    assert disagreements(close, ["auroc", "f1"], 1e-6) == []
    (line,) = disagreements([*close, one("c", repeat=1, metrics={"auroc": 0.6})], ["auroc"], 1e-6, group="50: ")
    assert line == "50: auroc: c (repeat 1) gives 0.6, a (repeat 0) 0.5; they may differ by 1e-06"
    for place in (0, 1):
        measured = [one("a", metrics={"auroc": 0.5})]
        measured.insert(place, one("b", metrics={"auroc": math.nan}))
        assert len(disagreements(measured, ["auroc"], 1e-6)) == 1


def test_written_and_read_again(tmp_path):
    results = section("x", one("a", stages={"fit": 1.0}, metrics={"auroc": 0.25}), one("b", work_seconds=0.5))
    path = write_results(results, tmp_path / "new")
    before = path.read_bytes()
    assert read_results(tmp_path / "new") == {"x": results}
    write_results(results, tmp_path / "new")
    assert path.read_bytes() == before
    assert read_results(tmp_path / "nothing") == {}


def test_no_path_and_no_infinity_is_written(tmp_path):
    with pytest.raises(ValueError, match="absolute path: /home/me"):
        write_results(section("x", one("a"), weights="/home/me/weights.safetensors"), tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        write_results(section("x", one("a", math.inf)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused_in_one_line(tmp_path):
    data = json.loads(write_results(section("x", one("a")), tmp_path).read_text())
    for broken in ("{", json.dumps({**data, "schema_version": 9}), json.dumps({**data, "more": 1}), "[]"):
        (tmp_path / "x.json").write_text(broken)
        with pytest.raises(RequestError, match=r"x\.json: is no results of make bench"):
            read_results(tmp_path)


def test_machine_names_no_host_and_no_user():
    found = machine("a card")
    assert found["device"] == "a card"
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 2**28
    assert set(found) == {
        "git", "harness", "python", "packages", "cpu", "device", "threads", "platform", "cores", "memory_bytes"
    }  # fmt: skip
