"""`make bench`: whole processes measured in turns, the same work on all sides, bounds judged, a page that follows."""

from __future__ import annotations

import json
import logging
import math
import re
import resource
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import __main__ as command
from benchmarks import anomalib_engine, children, sections
from benchmarks.images import count, draw, repeat
from benchmarks.measure import BenchError, Measurement, check_same, once, take_turns
from benchmarks.report import BOUNDS, DOCUMENT, KEPT, Results, bound_rows, page, read_results, write_results
from benchmarks.sections import METRICS, Bench
from harness.config.settings import DatasetConfig
from harness.data.layouts import resolve_split

MACHINE = {"git": None, "device": "a processor", "cores": 2, "memory_bytes": 2**34, "python": "3.11", "packages": {}}


def script(code: str):
    return lambda folder: [sys.executable, "-c", code, str(folder)]


def one(name: str, seconds: float = 1.0, peak: float = 2**30, **more) -> Measurement:
    return Measurement(name, 0, seconds, int(peak), **more)


def test_time_memory_and_what_a_process_says():
    code = (
        "import json, os, sys, time; assert not os.path.exists(os.environ['XDG_CACHE_HOME'])\n"
        "x = b'1' * (1000 << 20); time.sleep(0.3)\n"
        "json.dump({'work_seconds': 0.2, 'metrics': {'auroc': 0.5}, 'n': 7}, open(sys.argv[1] + '/out.json', 'w'))"
    )
    started = time.perf_counter()
    found = once("A", script(code), 4)
    assert 0.3 <= found.seconds <= time.perf_counter() - started
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # a new process begins with its parent's peak
    assert 1000 * 2**20 <= found.peak_rss_bytes < max(1100 * 2**20, 1.1 * ours)
    assert replace(found, seconds=0, peak_rss_bytes=0) == Measurement("A", 4, 0, 0, 0.2, {"auroc": 0.5}, {"n": 7})


def test_turns_and_failures(tmp_path):
    code = "open({!r}, 'a').write({!r})"
    measured = take_turns({name: script(code.format(str(tmp_path / "log"), name)) for name in "ABC"}, 2)
    assert (tmp_path / "log").read_text() == "ABCABC"
    assert [(each.name, each.repeat) for each in measured] == [(name, n) for n in (0, 1) for name in "ABC"]
    with pytest.raises(BenchError, match=r"^B: ended with status 1: it \| broke$"):
        take_turns({"A": script(""), "B": script("raise SystemExit('it\\nbroke')")}, 1)


def test_sides_that_differ_are_refused():
    same = dict.fromkeys(METRICS, 0.5)
    check_same([one("a", metrics=same), one("b", metrics=same), one("floor")], METRICS, 1e-6)
    for name in METRICS:
        for other in (0.500002, math.nan):
            with pytest.raises(BenchError, match=f"{name}: the sides differ"):
                check_same([one("a", metrics=same), one("b", metrics={**same, name: other})], METRICS, 1e-6)
    with pytest.raises(BenchError, match="only one side measured it"):
        check_same([one("a", metrics=same), one("floor")], METRICS, 1e-6)


def test_images_are_in_the_layout_that_the_harness_reads(tmp_path):
    draw(tmp_path / "drawn", n_train=4, n_test=8, side=40)
    images = [path for part in ("train", "test") for path in (tmp_path / "drawn/bottle" / part).rglob("*.png")]
    assert len({path.read_bytes() for path in images}) == 12
    repeat(tmp_path / "drawn", tmp_path / "a", 10)
    split = resolve_split(DatasetConfig("mvtec", "mvtec", tmp_path / "a"), "bottle")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks) == (10, 2, 6, True)
    assert (count(tmp_path / "drawn"), count(tmp_path / "a")) == ((4, 8), (10, 8))
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_the_metrics_alone_are_the_same_on_both_sides():
    maps, masks = children.draw_maps(8, 64)
    assert 0 <= maps.min() < maps.max() <= 1
    assert children.ours(maps, masks, "auroc_f1")["pixel_auroc"] == pytest.approx(
        roc_auc_score(masks.ravel(), maps.ravel())
    )
    for what in ("auroc_f1", "aupro"):
        ours, theirs = (side(maps, masks, what) for side in (children.ours, children.anomalib))
        assert ours.keys() == theirs.keys()
        assert np.allclose([*ours.values()], [*theirs.values()], atol=1e-6)


def test_the_core_asks_everybody_and_says_how_without_a_path(tmp_path, monkeypatch):
    def take_turns(contestants, repeats):
        assert all(command(tmp_path)[0] == sys.executable for command in contestants.values())
        return [one(name, metrics=dict.fromkeys(METRICS, 0.5)) for name in contestants]

    monkeypatch.setattr(sections, "take_turns", take_turns)
    settings, measured = sections.core(Bench(tmp_path, None, tmp_path / "some.safetensors", limit=2))
    assert len(measured) == 7
    assert (settings["n_train"], settings["n_test"], settings["weights"]) == (2, 4, "some.safetensors")
    assert str(tmp_path) not in repr(settings)


@pytest.mark.slow
def test_the_sides_find_the_same_on_a_few_images(tmp_path, monkeypatch):
    """In this process: what each contestant's own process does."""
    monkeypatch.setattr(logging, "disable", lambda _: None)
    children.weights("resnet18", str(tmp_path / "some.safetensors"))
    setup = Bench(tmp_path, None, tmp_path / "some.safetensors", limit=4).setup()
    request = setup.request(tmp_path / "store")
    assert children.floor(str(setup.root), str(setup.weights))["work_seconds"] > 0
    assert children.warm(*request)["work_seconds"] > 0
    asked = {"root": str(setup.root), "weights": str(setup.weights), "workers": 0}
    anomalib_engine.main(str(tmp_path / "out.json"), json.dumps(asked))
    theirs = json.loads((tmp_path / "out.json").read_text())["metrics"]
    (path,) = (tmp_path / "store").rglob("record.json")
    ours = json.loads(path.read_text())["metrics"]
    assert theirs == pytest.approx({name: ours[name]["value"] for name in METRICS}, abs=1e-6)


def results_of(*measured: Measurement, section: str = "core") -> Results:
    return Results(section, {"repeats": 1, "limit": None}, MACHINE, "2026-01-02", measured)


def core(**seconds: float) -> Results:
    taken = {"OURS": 12.0, "OURS_10": 18.0, "OURS_FULL": 13.0, "OURS_10_FULL": 30.0, "ENGINE": 33.0} | seconds
    measured = [one(getattr(sections, name), value) for name, value in taken.items()]
    work = ((sections.FLOOR, 6.0), (sections.OURS_WARM, 7.8))
    return results_of(*measured, *(one(name, 17.0, work_seconds=value) for name, value in work))


def test_each_bound_is_the_quantity_that_it_names_and_is_judged():
    scaling = (
        one(sections.TRAIN_200, peak=2**30, numbers={"predicted_rss_bytes": 1.1 * 2**30}),
        one(sections.TRAIN_1000, peak=1.2 * 2**30),
        one(sections.WIDE_256, peak=3 * 2**30),
        one(sections.WIDE_550, peak=9 * 2**30),
    )
    work = {sections.RANKING: 2.0, sections.RANKING_ANOMALIB: 12.0, sections.AUPRO: 3.0, sections.AUPRO_ANOMALIB: 2.0}
    rows = bound_rows({
        "core": core(),
        "scaling": results_of(*scaling),
        "metrics": results_of(*(one(name, work_seconds=seconds) for name, seconds in work.items())),
        "grid": results_of(one(sections.OURS, 10.0), one(sections.GRID, 60.0)),
        "tools": results_of(one(sections.RENDER, 3.0), one(sections.REFUSAL, 2.1)),
    })  # fmt: skip
    assert [(row[2], row[3]) for row in rows] == [
        ("1.30×", "held"), ("2.75×", "held"), ("1.50×", "held"), ("2.31×", "MISSED"), ("6.00×", "held"),
        ("1.20×", "MISSED"), ("3.00 GiB", "held"), ("9.00 GiB", "MISSED"), ("0.10", "held"), ("6.00×", "held"),
        ("0.67×", "MISSED"), ("3.00 s", "held"), ("2.10 s", "MISSED"),
    ]  # fmt: skip
    assert len(rows) == len(BOUNDS)
    (missed,) = {row[3] for row in bound_rows({"core": replace(core(), measurements=())})}
    assert missed == "MISSED", "what was not measured does not hold"


@pytest.mark.parametrize(("engine_seconds", "status"), [(33.0, 0), (20.0, 1)])
def test_a_missed_bound_is_printed_and_is_the_exit_status(
    drawn_mvtec, tmp_path, monkeypatch, capsys, engine_seconds, status
):
    measured = core(ENGINE=engine_seconds, OURS_10_FULL=20.0)
    monkeypatch.setitem(sections.SECTIONS, "core", lambda _: (measured.settings, measured.measurements))
    monkeypatch.setattr(command, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(command, "write_page", lambda: None)
    assert command.main(["--data-root", str(drawn_mvtec.parent), "--only", "core"]) == status
    verdict = "held  " if status == 0 else "MISSED"
    line = f"{verdict}  anomalib's Engine without pictures against ours: {engine_seconds / 12:.2f}× (at least 2.50×)"
    assert line in capsys.readouterr().out.splitlines()
    assert read_results(tmp_path / "kept")["core"].measurements == measured.measurements


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "core,nothing"], "nothing is no section; there are core, metrics"),
        (["--weights", "no.safetensors"], "--weights no.safetensors: there is no such file"),
        (["--data-root", "/nowhere"], "has no images in mvtec/bottle"),
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--limit", "1"], "--limit must be at least 2"),
    ],
)
def test_a_wrong_request_is_one_line(capsys, arguments, said):
    assert command.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_page_follows_from_the_results():
    text = DOCUMENT.read_text("utf-8")
    assert page(text, read_results(KEPT)) == text, "measure again, or run benchmarks.report.write_page()"
    assert sorted(re.findall(r"<!-- bench:([a-z]+) -->", text)) == sorted([*sections.SECTIONS, "bounds"])


def test_results_are_read_as_they_were_written(tmp_path):
    write_results(core(), tmp_path)
    assert read_results(tmp_path) == {"core": core()}
    text = page("<!-- bench:core -->\n<!-- /bench -->", read_results(tmp_path))
    assert "| floor: every image decoded, resized, passed once | 17.00 | 6.00 | 1024 |" in text
