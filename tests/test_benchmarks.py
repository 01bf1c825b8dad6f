"""`make bench`: whole processes measured in turns, the same work on all sides, bounds judged, a page that follows."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import select
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import __main__ as command
from benchmarks import anomalib_engine, children, report, sections
from benchmarks.images import compose, drawn_source
from benchmarks.measure import BenchError, Contestant, Measurement, check_same, middle, once, read_store, take_turns
from benchmarks.report import BOUNDS, DOCUMENT, KEPT, bound_rows, page, read_results, write_results
from benchmarks.sections import METRICS, Bench, Results, Setup
from harness.config import DatasetConfig
from harness.data.layouts import resolve_split

MACHINE = {"git": None, "device": "a processor", "cores": 2, "memory_bytes": 2**34, "python": "3.11", "packages": {}}


def script(name: str, code: str, **more) -> Contestant:
    return Contestant(name, lambda folder: [sys.executable, "-c", code, str(folder)], **more)


def one(name: str, seconds: float = 1.0, peak: float = 2**30, **more) -> Measurement:
    return Measurement(name, 0, seconds, int(peak), **more)


def test_time_memory_and_what_a_process_says():
    code = (
        "import json, os, sys, time; assert not os.path.exists(os.environ['XDG_CACHE_HOME'])\n"
        "x = b'1' * (1000 << 20); time.sleep(0.3)\n"
        "json.dump({'work_seconds': 0.2, 'metrics': {'auroc': 0.5}, 'n': 7}, open(sys.argv[1] + '/out.json', 'w'))"
    )
    started = time.perf_counter()
    found = once(script("A", code), 4)
    assert 0.3 <= found.seconds <= time.perf_counter() - started
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # a new process begins with its parent's peak
    assert 1000 * 2**20 <= found.peak_rss_bytes < max(1100 * 2**20, 1.1 * ours)
    assert (found.name, found.repeat, found.work_seconds, found.metrics, found.numbers) == (
        "A", 4, 0.2, {"auroc": 0.5}, {"n": 7}
    )  # fmt: skip


def test_turns_and_failures(tmp_path):
    code = "open({!r}, 'a').write({!r})"
    measured = take_turns([script(name, code.format(str(tmp_path / "log"), name)) for name in "ABC"], 2)
    assert (tmp_path / "log").read_text() == "ABCABC"
    assert [(each.name, each.repeat) for each in measured] == [(name, n) for n in (0, 1) for name in "ABC"]
    with pytest.raises(BenchError, match=r"^B: ended with status 1, not 0: it \| broke$"):
        take_turns([script("A", ""), script("B", "raise SystemExit('it\\nbroke')")], 1)
    assert once(script("A", "raise SystemExit(2)", status=2)).name == "A"


def test_who_stops_waiting_leaves_nothing_at_work(tmp_path, monkeypatch):
    wait4 = os.wait4

    def stop(pid: int, options: int):
        while not (tmp_path / "pid").exists():
            time.sleep(0.05)
        monkeypatch.setattr(os, "wait4", wait4)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "wait4", stop)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    code = (
        f"import subprocess; child = subprocess.Popen(['sleep', '300'], pass_fds=[{writer}])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w'); child.wait()"
    )
    monkeypatch.setattr(subprocess, "Popen", partial(subprocess.Popen, pass_fds=[writer]))
    with pytest.raises(KeyboardInterrupt):
        once(script("A", code))
    os.close(writer)
    assert select.select([reader], [], [], 60)[0], "the pipe ends with its last holder"
    os.close(reader)


def test_records_are_checked(tmp_path):
    def put(seed: int, status: str = "ok", **metrics: float) -> None:
        (tmp_path / str(seed)).mkdir(exist_ok=True)
        record = {"status": status, "spec": {"seed": seed}, "plan": {"predicted_rss_bytes": 11}}
        record["metrics"] = {"image_auroc": 0.5, "pixel_aupro": None, **metrics}
        (tmp_path / str(seed) / "record.json").write_text(json.dumps(record))

    put(0)
    assert read_store(tmp_path, (0,), full=False) == ({"image_auroc": 0.5}, 11)
    with pytest.raises(BenchError, match="AUPRO was asked for"):
        read_store(tmp_path, (0,), full=True)
    with pytest.raises(BenchError, match=r"seeds \[0\], not \[0, 1\]"):
        read_store(tmp_path, (0, 1), full=False)
    put(1, "failed")
    with pytest.raises(BenchError, match="complete runs"):
        read_store(tmp_path, (0, 1), full=False)
    put(0, pixel_aupro=0.5)
    with pytest.raises(BenchError, match="AUPRO was not asked for"):
        read_store(tmp_path, (0,), full=False)


def test_sides_that_differ_are_refused():
    same = dict.fromkeys(METRICS, 0.5)
    check_same([one("a", metrics=same), one("b", metrics=same), one("floor")], METRICS, 1e-6)
    for name in METRICS:
        for other in (0.500002, math.nan):
            with pytest.raises(BenchError, match=f"{name}: the sides differ"):
                check_same([one("a", metrics=same), one("b", metrics={**same, name: other})], METRICS, 1e-6)
    with pytest.raises(BenchError, match="nobody to compare"):
        check_same([one("a", metrics=same), one("floor")], METRICS, 1e-6)


def test_composed_in_the_layout_that_the_harness_reads(tmp_path):
    drawn = drawn_source(tmp_path / "drawn", n_train=4, n_test=8, side=40)
    images = [*drawn.train, *(image for _, image, _ in drawn.test)]
    assert len({path.read_bytes() for path in images}) == 12
    assert compose(drawn, tmp_path / "a", n_train=10, limit=None) == (10, 8)
    split = resolve_split(DatasetConfig("mvtec", "mvtec", tmp_path / "a"), "bottle")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks) == (10, 2, 6, True)
    assert compose(drawn, tmp_path / "b", limit=3) == (3, 3)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_both_sides_are_asked_for_the_same(tmp_path):
    weights = tmp_path / "some.safetensors"
    weights.touch()
    setup = Setup(tmp_path, 2, 2, "resnet18", weights)
    job = children.composed(*setup.request(tmp_path / "store", seeds=(0, 1)))
    first = job.runs[0]
    theirs = anomalib_engine
    assert [run.seed for run in job.runs] == [0, 1]
    assert (first.protocol.resize, first.protocol.center_crop) == (theirs.RESIZE, theirs.CROP)
    assert (first.protocol.batch_size, first.n_features) == (theirs.BATCH_SIZE, theirs.N_FEATURES)
    assert (first.protocol.mean, first.protocol.std) == (theirs.MEAN, theirs.STD)
    assert (first.backbone.architecture, list(first.backbone.layers)) == (theirs.BACKBONE, theirs.LAYERS)
    assert (first.protocol.epsilon, first.protocol.index_sampler) == (0.01001, "anomalib_v2")
    assert (first.metrics.bootstrap_samples, first.metrics.aupro_fpr_limit) == (0, 0)
    full = children.composed(*setup.request(tmp_path / "store", full=True)).runs[0]
    assert full.metrics.bootstrap_samples == 1000


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


@pytest.mark.slow
def test_every_contestant_of_the_core_runs_on_a_few_images(tmp_path):
    bench = Bench(drawn_source(tmp_path / "drawn", 4, 8, side=120), tmp_path, repeats=1, limit=4)
    settings, measured = sections.core(bench)
    work = {each.name: each.work_seconds for each in measured if each.work_seconds is not None}
    assert {*work} == {sections.FLOOR, sections.OURS_WARM}
    assert len({each.name for each in measured}) == 7
    assert (settings["n_train"], settings["n_test"]) == (4, 4)
    assert str(tmp_path) not in repr(settings)


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
    metrics = zip(
        (sections.RANKING, sections.RANKING_ANOMALIB, sections.AUPRO, sections.AUPRO_ANOMALIB),
        (2, 12, 3, 2),
        strict=True,
    )
    tools = (one(sections.RENDER, 8.0), *(one(name, 0.5 + n) for n, name in enumerate(sections.REFUSALS)))
    rows = bound_rows({
        "core": core(),
        "scaling": results_of(*scaling),
        "metrics": results_of(*(one(name, work_seconds=float(work)) for name, work in metrics)),
        "tools": results_of(*tools),
    })  # fmt: skip
    assert [(row[2], row[3]) for row in rows] == [
        ("1.30×", "held"), ("2.75×", "held"), ("1.50×", "held"), ("2.31×", "MISSED"),
        ("1.20×", "MISSED"), ("3.00 GiB", "held"), ("9.00 GiB", "MISSED"), ("0.10", "held"),
        ("6.00×", "held"), ("0.67×", "MISSED"), ("8.00 s", "held"), ("2.50 s", "MISSED"),
    ]  # fmt: skip
    assert len(rows) == len(BOUNDS)
    (missed,) = {row[3] for row in bound_rows({"core": replace(core(), measurements=())})}
    assert missed == "MISSED", "what was not measured does not hold"


def test_a_median_is_over_the_repeats_of_one_contestant():
    measured = [one("a", seconds, numbers={"extra": 2 * seconds}) for seconds in (1, 9, 2)] + [one("b", 4)]
    assert (middle(measured, "a"), middle(measured, "a", "extra"), middle(measured, "b", "extra")) == (2, 4, None)


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


def test_a_wrong_request_is_one_line(capsys):
    for arguments, said in (
        (["--only", "core,nothing"], "nothing is no section; there are core, metrics"),
        (["--weights", "no.safetensors"], "--weights no.safetensors: there is no such file"),
        (["--data-root", "/nowhere"], "has no images in mvtec/bottle"),
        (["--repeats", "0"], "--repeats must be at least 1"),
    ):
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


def test_the_machine_is_described_without_a_path_or_a_user(project):
    assert {*MACHINE} < {*report.machine()}
    said = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert str(project) not in (told := json.dumps(report.machine()))
    assert f'"{said}"' not in told
