"""What is measured on a GPU, as far as it can be tried without one."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from harness.bench import gpu
from harness.bench.children import copies, latency, network
from harness.bench.contestants import Contestant
from harness.bench.gpu import Outcome, checks, difference, failures, identical, spreads
from harness.bench.gpu_report import gpu_markdown
from harness.bench.percentiles import latency as summarise
from harness.bench.percentiles import percentile
from scripts import gpu as gpu_script
from tests.bench.made import one, section

RECORD = {
    "spec": {"device": "cuda", "protocol": {"batch_size": 16}},
    "environment": {"device": "a card"},
    "dataset": {"n_train": 20, "n_test_normal": 5, "n_test_anomalous": 8},
    "memory": {"peak_device_bytes": 1000, "peak_rss_bytes": 2000},
    "plan": {"predicted_device_bytes": 1100, "predicted_rss_bytes": 1900},
    "metrics": {"image_auroc": 0.9, "pixel_aupro": None},
}
COPIES = {
    "pinned_copies": 3.0, "pageable_copies": 1.0, "pinned_seconds": 0.1, "pageable_seconds": 0.01, "hidden_share": 0.5
}  # fmt: skip


def outcome(shift: float = 0.0, **record: object) -> Outcome:
    rng = np.random.default_rng(0)
    maps = rng.uniform(1, 2, (2, 4, 4)).astype(np.float32)
    return Outcome(maps.max(axis=(1, 2)).astype(float), maps * np.float32(1 + shift), {**RECORD, **record})


def test_percentiles_are_numpys():
    values = np.random.default_rng(0).exponential(size=37).tolist()
    for percent in (0, 50, 95, 99, 100):
        assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))
    assert percentile([3.0], 99) == 3.0
    with pytest.raises(ValueError, match="no percentile 50 of 0 values"):
        percentile([], 50)


def test_throughput_counts_images():
    said = summarise([0.1, 0.3], 16)
    assert said["images_per_second"] == pytest.approx(80)
    assert (said["p50_ms"], said["batches"]) == (pytest.approx(200), 2)


def test_copies_are_told_apart_and_what_hides_them():
    events = [
        ("Memcpy HtoD (Pinned -> Device)", (0.0, 10.0)),
        ("Memcpy HtoD (Pageable -> Device)", (10.0, 12.0)),
        ("Memcpy DtoH (Device -> Pinned)", (12.0, 20.0)),
        ("Memset (Device)", (0.0, 10.0)),
        ("conv_kernel", (5.0, 8.0)),
        ("other_kernel", (7.0, 9.0)),
    ]
    said = copies.count(events)
    assert (said["pinned_copies"], said["pageable_copies"]) == (1, 1)
    assert said["pinned_seconds"] == pytest.approx(1e-5)
    assert said["hidden_share"] == pytest.approx(0.4)
    assert copies.count([])["hidden_share"] == 0


def test_difference_is_relative_and_bits_are_bits():
    assert difference(outcome(), outcome()) == 0
    assert difference(outcome(1e-3), outcome()) == pytest.approx(1e-3, rel=1e-2)
    assert identical(outcome(), outcome())
    assert not identical(outcome(1e-6), outcome())
    other = Outcome(np.ones(3), np.ones((3, 4, 4), np.float32), RECORD)
    assert difference(other, outcome()) == np.inf
    assert not identical(other, outcome())


def test_each_check_fails_by_itself():
    def judged(counted=COPIES, **changed: Outcome) -> list[str]:
        outcomes = {name: outcome() for name in ("cpu", "device", "again", "auto")} | changed
        return failures(checks(outcomes, counted, device="cuda"), device="cuda")

    assert judged() == []
    assert judged(cpu=outcome(5e-5)) == []
    assert "maps differ from the CPU's by 0.001" in judged(cpu=outcome(1e-3))[0]
    assert judged(again=outcome(1e-6)) == ["the same run again gives other bits"]
    assert judged(auto=outcome(spec={**RECORD["spec"], "device": "cpu"})) == ["device=auto did not take cuda"]
    assert judged({**COPIES, "pinned_copies": 2.0}) == ["only 2 copies from pinned memory, for 3 batches"]
    without = outcome(memory={**RECORD["memory"], "peak_device_bytes": None})
    assert judged(device=without) == ["the record has no peak of device memory"]
    for kind, peak in (("device", 4), ("rss", 8)):
        far = outcome(memory={**RECORD["memory"], f"peak_{kind}_bytes": peak * 2**20})
        assert judged(device=far) == [f"0 MiB ({kind}) were predicted, {peak} MiB measured"]


def test_spreads_are_of_the_metrics_that_both_have():
    moved = spreads(outcome(1e-3, metrics={"image_auroc": 0.75, "pixel_auroc": 0.5}), outcome())
    assert moved == {"scores and maps": pytest.approx(1e-3, rel=1e-2), "image_auroc": pytest.approx(0.15)}


def test_the_report():
    numbers = checks({name: outcome() for name in ("cpu", "device", "again", "auto")}, COPIES, device="cuda")
    moved = {"scores and maps": 2e-6, "image_auroc": 0.0}
    measured = [
        one("network", numbers={"batch_16_images_per_second": 1000.0}),
        one("latency", numbers={f"batch_1_{name}": value for name, value in summarise([0.01, 0.02], 1).items()}),
        one("run-workers-4", 5.0, numbers={"images_per_second": 80.0}),
    ]
    text = gpu_markdown(section("gpu", *measured, checks=numbers, spreads=moved, device="cuda"))
    assert "- Largest relative difference of maps and scores from the CPU's: 0.0e+00." in text
    assert "the same bits; `device=auto` took cuda." in text
    assert "3 for 3 batches (50 % of their time behind computation); from pageable memory: 1 copies, 10.0 ms" in text
    assert "| 1 | 15.00 | 19.50 | 19.90 | 66.7 |" in text
    assert "| 4 decoding threads | 80.0 | 5.0 |" in text
    assert "| the GPU against the CPU | 2.0e-06 | 0.0e+00 |  |  |  |  |" in text
    assert "| batches of 16 | 1000 |" in text


def test_whoever_is_stopped_keeps_what_there_was(monkeypatch):
    """All is checked before anything is timed, and everything so far is given after each repeat."""

    def run(_setup, name, _device, _more=(), keep=lambda _: None, *, full=False):
        keep(outcome())
        return Contestant(name, lambda _: [])

    monkeypatch.setattr(gpu, "_run", run)
    monkeypatch.setattr(gpu, "once", lambda contestant, repeat: one(contestant.name, repeat=repeat, numbers=COPIES))
    monkeypatch.setattr(gpu, "describe", lambda _: {})
    bench = SimpleNamespace(setup=lambda: None, say=lambda _: None, repeats=2, limit=None)
    given = [results for results, failed in gpu.measure_gpu(bench) if failed == []]
    assert [results.settings["repeats"] for results in given] == [0, 1, 2]
    assert [len(results.of("latency")) for results in given] == [0, 1, 2]
    assert all("scores and maps" in results.settings["spreads"] for results in given)
    assert "| 16 |  |  |  |  |" in gpu_markdown(given[0])


def test_the_script_keeps_what_there_is_apart_until_it_is_whole(monkeypatch, tmp_path, capsys):
    def measure(_bench, *, device, n_batches):
        numbers = checks({name: outcome() for name in ("cpu", "device", "again", "auto")}, COPIES, device=device)
        for repeats in range(2):
            yield section("gpu", one("latency"), checks=numbers, spreads={}, device=device, repeats=repeats), ["no"]
            if interrupted:
                raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "measure_gpu", measure)
    monkeypatch.setattr("harness.bench.images.prepare_source", lambda *_, **__: None)
    interrupted = True
    assert gpu_script.main(["--device", "cpu", "--out", str(tmp_path)]) == 130
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")] == ["partial/gpu.json"]
    interrupted = False
    assert gpu_script.main(["--device", "cpu", "--out", str(tmp_path)]) == 1
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")] == ["gpu.json"]
    assert capsys.readouterr().err.count("does not hold: no") == 2


def small_request(root) -> list[str]:
    return [
        "dataset=mvtec", f"dataset.root={root}", "category=bottle", "backbone=resnet18", "backbone.weights=random",
        "protocol.resize=64", "protocol.center_crop=null", "n_features=8",
    ]  # fmt: skip


@pytest.mark.slow
def test_latency_on_the_processor(tmp_path):
    request = small_request(tmp_path)
    (tmp_path / "bottle").mkdir()
    latency.main(str(tmp_path / "out.json"), "cpu", "2", "3", *request)
    said = json.loads((tmp_path / "out.json").read_text())
    assert (said["batch_2_batch_size"], said["batch_2_batches"]) == (2, 3)
    assert 0 < said["batch_2_p50_ms"] <= said["batch_2_p95_ms"] <= said["batch_2_p99_ms"]
    assert "batch_2_peak_device_bytes" not in said


@pytest.mark.slow
def test_the_network_alone_on_the_processor(tmp_path):
    (tmp_path / "bottle").mkdir()
    network.main(str(tmp_path / "out.json"), "cpu", "1,2", "3", *small_request(tmp_path))
    said = json.loads((tmp_path / "out.json").read_text())
    assert {name for name in said if name.endswith("images_per_second")} == {
        f"batch_{size}_images_per_second" for size in (1, 2)
    }
    assert all(value > 0 for value in said.values())


def test_without_a_gpu_it_says_so_in_one_line(project):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    ended = subprocess.run([sys.executable, project / "scripts/gpu.py"], capture_output=True, text=True)
    assert ended.returncode == 3
    assert ended.stderr == ""
    assert ended.stdout.startswith("gpu: not run: this machine has no CUDA device")
    assert ended.stdout.count("\n") == 1
