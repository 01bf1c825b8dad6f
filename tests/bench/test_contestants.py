"""Contestants take turns, in fresh processes, and must end as they should."""

from __future__ import annotations

import json
import sys

import pytest

from harness.bench.children.floor import composed
from harness.bench.contestants import BATCH_SIZE, CROP, RESIZE, Contestant, Found, Setup, once, read_store, take_turns
from harness.bench.images import Images
from harness.bench.process import BenchError


def script(name: str, code: str, **more) -> Contestant:
    return Contestant(name, lambda folder: [sys.executable, "-c", code, str(folder)], **more)


def test_turns(tmp_path):
    log = tmp_path / "log"
    code = "import os, sys; open({!r}, 'a').write({!r}); print(os.listdir(sys.argv[1]))"
    said = []
    measured = take_turns([script(name, code.format(str(log), name)) for name in "ABC"], 2, said.append)
    assert log.read_text() == "ABCABC"
    assert [(one.name, one.repeat) for one in measured] == [(name, n) for n in (0, 1) for name in "ABC"]
    assert list(measured) == said


def test_each_has_an_empty_cache():
    code = (
        "import os, pathlib\ncache = pathlib.Path(os.environ['XDG_CACHE_HOME'])\nassert not cache.exists()\n"
        "cache.mkdir()"
    )
    take_turns([script("A", code)], 2, lambda _: None)


def test_what_it_says_is_kept(tmp_path):
    code = "import sys, pathlib; pathlib.Path(sys.argv[1], 'n').write_text('7')"
    reads = lambda folder: Found(metrics={"auroc": float((folder / "n").read_text())})  # noqa: E731
    assert once(script("A", code, read=reads), 4).metrics == {"auroc": 7.0}
    with pytest.raises(BenchError, match="A: left no results"):
        once(script("A", "", read=reads), 0)


def test_a_failure_ends_it():
    with pytest.raises(BenchError, match="B: ended with status 1"):
        take_turns([script("A", ""), script("B", "raise SystemExit('no')")], 1, lambda _: None)
    assert once(script("A", "raise SystemExit(2)", status=2), 0).name == "A"


@pytest.fixture
def setup(tmp_path):
    weights = tmp_path / "some.safetensors"
    weights.touch()
    return Setup(Images(tmp_path, "bottle", "mvtec/bottle", False, 2, 2), "resnet18", weights, 100)


def test_both_sides_are_asked_for_the_same(setup, tmp_path):
    job = composed(setup.request([0, 1], tmp_path / "store", full=False))
    first = job.runs[0]
    assert [run.seed for run in job.runs] == [0, 1]
    assert (first.protocol.resize, first.protocol.center_crop, first.protocol.batch_size) == (RESIZE, CROP, BATCH_SIZE)
    assert (first.protocol.epsilon, first.protocol.index_sampler) == (0.01001, "anomalib_v2")
    assert (first.protocol.mean, first.protocol.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (first.metrics.bootstrap_samples, first.metrics.aupro_fpr_limit) == (0, 0)
    full = composed(setup.request([0], tmp_path / "store", full=True, more=("workers=3",)))
    assert full.runs[0].metrics.bootstrap_samples == 1000
    assert full.execution.workers == 3


def record(seed: int, **metrics: float) -> dict:
    return {
        "status": "ok",
        "spec": {"seed": seed},
        "metrics": {"image_auroc": 0.5, "pixel_aupro": None, **metrics},
        "timing": {"seconds": {"fit": 1.0}},
        "memory": {"peak_rss_bytes": 10},
        "plan": {"predicted_rss_bytes": 11},
    }


def test_records_are_checked(tmp_path):
    def put(data: dict) -> None:
        folder = tmp_path / f"seed{data['spec']['seed']}"
        folder.mkdir(exist_ok=True)
        (folder / "record.json").write_text(json.dumps(data))

    put(record(0))
    found = read_store(tmp_path, (0,), full=False)
    assert (found.metrics, found.stages) == ({"image_auroc": 0.5}, {"fit": 1.0})
    assert found.numbers == {"record_peak_rss_bytes": 10, "predicted_rss_bytes": 11}
    with pytest.raises(BenchError, match="AUPRO was asked for"):
        read_store(tmp_path, (0,), full=True)
    with pytest.raises(BenchError, match=r"holds seeds \[0\], not \[0, 1\]"):
        read_store(tmp_path, (0, 1), full=False)
    put(record(1))
    assert read_store(tmp_path, (0, 1), full=False).stages == {}
    put(record(0, pixel_aupro=0.5))
    with pytest.raises(BenchError, match="AUPRO was not asked for"):
        read_store(tmp_path, (0, 1), full=False)
    put({**record(1), "status": "failed"})
    with pytest.raises(BenchError, match="holds seeds"):
        read_store(tmp_path, (0, 1), full=False)
