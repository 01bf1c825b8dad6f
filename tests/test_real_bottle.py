"""The main job on real images: MVTec AD's bottle with torchvision's ResNet-18, against anomalib's own Engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.__main__ import main
from harness.store import Store
from harness.store.scores import read_examples, read_scores

ANOMALIB = {"image_auroc": 0.996032, "image_f1_max": 0.992126, "pixel_auroc": 0.977705, "pixel_f1_max": 0.721999}
"""What anomalib 2.7.0's own Engine gave at seed 42, 256 -> 224, 100 features, batch 16, on a CPU."""

AS_ANOMALIB = ("model.index_sampler=anomalib_v2", "model.epsilon=0.01001", "metrics.bootstrap_samples=0")


@pytest.fixture(scope="module")
def run(real_mvtec, real_weights, tmp_path_factory):
    """Run the real bottle; returns the record."""
    store = tmp_path_factory.mktemp("store")

    def call(*arguments: str) -> dict:
        request = [
            "dataset=mvtec", f"dataset.root={real_mvtec}", "category=bottle", "backbone=resnet18",
            f"backbone.weights={real_weights}", "seed=42", f"store={store}", *arguments,
        ]  # fmt: skip
        before = set(store.rglob("record.json"))
        assert main(request) == 0
        (written,) = set(store.rglob("record.json")) - before
        scores = read_scores(written.parent / "scores.csv").scores
        maps = read_examples(written.parent / "examples.npz")["anomaly_maps"]
        record = json.loads(written.read_text())
        metrics = {name: metric["value"] for name, metric in record["metrics"].items()}
        return record | {"metrics": metrics, "scores": scores, "maps": maps}

    return call


@pytest.mark.real
@pytest.mark.slow
def test_the_papers_protocol(run):
    record = run()
    dataset = record["dataset"]
    assert (dataset["n_train"], dataset["n_test_normal"], dataset["n_test_anomalous"]) == (209, 20, 63)
    assert dataset["notes"] == []
    assert 0.990 <= record["metrics"]["image_auroc"] <= 1.000
    assert 0.975 <= record["metrics"]["pixel_auroc"] <= 0.985
    for name, interval in record["intervals"].items():
        value = record["metrics"].get(name, record["metrics"]["image_auroc"])
        assert interval["low"] <= value <= interval["high"]
        assert interval["low"] < interval["high"]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_both_engines_agree_with_each_other_and_with_anomalib(run):
    streaming, reference = run(*AS_ANOMALIB), run(*AS_ANOMALIB, "engine=reference")
    assert streaming["indices_sha256"] == reference["indices_sha256"]
    for name in ("image_auroc", "pixel_auroc"):
        assert streaming["metrics"][name] == pytest.approx(reference["metrics"][name], abs=1e-6)
    for name, value in ANOMALIB.items():
        assert streaming["metrics"][name] == pytest.approx(value, abs=5e-6)
        assert reference["metrics"][name] == pytest.approx(value, abs=5e-6)
    assert np.abs(streaming["scores"] / reference["scores"] - 1).max() < 1e-4
    assert np.abs(streaming["maps"] / reference["maps"] - 1).max() < 1e-4
    own = reference["engine_metrics"]
    assert own["image_AUROC"] == pytest.approx(reference["metrics"]["image_auroc"], abs=1e-6)
    assert own["pixel_AUROC"] == pytest.approx(reference["metrics"]["pixel_auroc"], abs=1e-6)
    assert own["image_F1Score"] == pytest.approx(reference["metrics"]["image_f1_strict"], abs=1e-6)
    assert own["pixel_F1Score"] == pytest.approx(reference["metrics"]["pixel_f1_strict"], abs=1e-6)


def test_committed_records_are_of_the_real_bottle(project):
    """Numbers in the store were measured: every record is whole, and its scores are the ones it was made from."""
    store = Store(project / "results")
    contents = store.records()
    assert not contents.problems
    bottle = [
        record
        for record in contents.records
        if (record.spec.dataset, record.spec.category, record.spec.backbone.name) == ("mvtec", "bottle", "resnet18")
        and record.protocol_name == "paper"
    ]
    assert {record.spec.seed for record in bottle} >= {*range(10), 42}
    for record in bottle:
        assert record.status == "ok"
        assert record.dataset.limit is None
        assert len(store.scores(record).paths) == 83
        assert "random" not in record.weights
    assert not list(Path(store.path).rglob("*.png"))
