"""Specs, scores and records as a run would make them, each part open to change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from harness.config import BackboneConfig, DatasetConfig, PreprocessingConfig, RunConfig, run_spec
from harness.resolve import read_protocol
from harness.store import Failure, Interval, Metrics, RunRecord, ScoreTable
from harness.store.fields import METRICS
from harness.store.record import DatasetInfo, Environment, Git, Memory, Timing, new_record

patient = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no finding."""

FINGERPRINT = "5e" * 32

PROTOCOL = read_protocol("paper", dataset="mvtec")

VALUES = {
    "image_auroc": 0.996031746031746,
    "image_f1_max": 0.9921259842519685,
    "image_f1_adaptive": 0.9841269841269841,
    "pixel_auroc": 0.9777049,
    "pixel_f1_max": 0.7219991,
    "pixel_f1_adaptive": 0.7219985,
    "pixel_aupro": 0.9,
}


def make_spec(
    *,
    dataset: str = "mvtec",
    category: str = "bottle",
    backbone: str = "resnet18",
    seed: int = 42,
    n_features: int = 100,
    fingerprint: str | None = FINGERPRINT,
    engine: str = "streaming",
    inexact: str | None = None,
    protocol: PreprocessingConfig = PROTOCOL,
    **fields: Any,
) -> dict[str, Any]:
    """A spec from `run_spec` itself; further keywords change the protocol's fields.

    Of metrics that nobody has, for the made-up values of a record follow from no scores.
    """
    run = RunConfig(
        dataset=DatasetConfig("mvtec", "mvtec", Path("anywhere")),
        category="bottle",
        backbone=BackboneConfig("resnet18", "resnet18", "tag", ("layer1", "layer2"), (64, 128), (4, 8)),
        protocol=replace(protocol, **fields),
        protocol_name="paper",
        n_features=n_features,
        seed=seed,
        engine=engine,
        device="cpu",
    )
    spec = run_spec(
        run, fingerprint=fingerprint, weights_digest="ab" * 32, metrics_version=0, index_versions={"timm": "1.0.31"}
    )
    spec["backbone"] |= {"name": backbone, "architecture": backbone}
    spec |= {"dataset": dataset, "category": category}  # whatever they are: a setting cannot be as hostile as a record
    return spec | {"inexact": [inexact] if inexact else []}  # of old records; no run of today has any


def make_scores(shift: float = 0.0, n: int = 6) -> ScoreTable:
    """Half normal, half anomalous, float32 like an engine's."""
    scores = (np.linspace(20, 60, n) / 3 + shift).astype(np.float32)
    return ScoreTable(tuple(f"bottle/test/x/{i:03d}.png" for i in range(n)), np.arange(n) * 2 // n, scores)


def make_dataset(spec: dict[str, Any], **changes: Any) -> DatasetInfo:
    fields = {
        "name": spec["dataset"],
        "title": "MVTec AD",
        "licence": "CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/)",
        "fingerprint": spec["fingerprint"],
        "limit": None,
        "n_train": 209,
        "n_test_normal": 20,
        "n_test_anomalous": 63,
        "has_masks": True,
        "notes": [],
    }
    return DatasetInfo(**(fields | changes))


def make_parts(spec: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Arguments of `new_record` for a run that went well."""
    spec = spec or make_spec()
    parts = {
        "spec": spec,
        "weights": "file: resnet18.safetensors",
        "protocol_name": "paper",
        "synthetic": False,
        "dataset": make_dataset(spec),
        "timing": Timing(seconds={"decode": 5.5, "backbone": 5.0, "score": 1.25}, images_per_second=24.8),
        "environment": Environment(
            git=Git(commit="0123456789" * 4, dirty=False),
            harness="0.1.0",
            python="3.11.9",
            packages={"torch": "2.15.0", "timm": "1.0.31"},
            cpu="Some CPU @ 2.20GHz",
            device="Some CPU @ 2.20GHz",
            threads=2,
            platform="Linux-6.1.0-x86_64-with-glibc2.36",
        ),
        "started": datetime(2026, 11, 23, 16, 42, 0, 123456, UTC),
        "finished": datetime(2026, 11, 23, 16, 42, 20, 0, UTC),
        "metrics": Metrics(**VALUES),
        "intervals": {
            name: Interval(low=VALUES[name] / 2, high=1.0, method="stratified bootstrap over images")
            for name in METRICS
        },
        "thresholds": {"image_f1_max": 13.37, "pixel_f1_max": 9.5},
        "memory": Memory(peak_rss_bytes=1_500_000_000, peak_device_bytes=None),
        "indices_sha256": "cd" * 32,
        "scores_sha256": make_scores().sha256,
    }
    return parts | changes


def make_ok(spec: dict[str, Any] | None = None, **changes: Any) -> RunRecord:
    return new_record(**make_parts(spec, **changes))


def make_failed(spec: dict[str, Any] | None = None, **changes: Any) -> RunRecord:
    """A run that failed; with `fingerprint=None` in its spec, before its split could be read."""
    spec = spec or make_spec()
    unknown = (
        {} if spec["fingerprint"] else dict.fromkeys(("n_train", "n_test_normal", "n_test_anomalous", "has_masks"))
    )
    nothing: dict[str, Any] = {"intervals": {}, "thresholds": {}}
    nothing |= dict.fromkeys(("metrics", "memory", "indices_sha256", "scores_sha256"))
    failure = {"error": Failure(type="DataError", message="bottle/x.png: is truncated", stage="features")}
    return make_ok(spec, **(nothing | {"dataset": make_dataset(spec, **unknown)} | failure | changes))
