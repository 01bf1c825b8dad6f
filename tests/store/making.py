"""Specs, scores and records as a run would make them, each part open to change."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from harness.store import Failure, Interval, MetricValue, RunRecord, ScoreTable
from harness.store.fields import METRICS
from harness.store.record import DatasetInfo, Environment, Git, Memory, MetricsSettings, Timing, new_record

patient = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no finding."""

FINGERPRINT = "5e" * 32

SPEC: dict[str, Any] = {
    "dataset": "mvtec",
    "category": "bottle",
    "fingerprint": FINGERPRINT,
    "preprocessing": {
        "resize": [256, 256],
        "interpolation": "bilinear",
        "antialias": True,
        "center_crop": [224, 224],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "batch_size": 16,
    },
    "model": {
        "name": "padim",
        "n_features": 100,
        "epsilon": 0.01,
        "index_sampler": "anomalib_v1",
        "blur_sigma": 4,
    },
    "backbone": {
        "name": "resnet18",
        "architecture": "resnet18",
        "layers": ["layer1", "layer2", "layer3"],
        "weights_digest": "ab" * 32,
    },
    "seed": 42,
    "engine": "streaming",
    "device": "cpu",
    "versions": None,
}
"""The protocol `paper` on the bottle."""

METRICS_SETTINGS = {"aupro_fpr_limit": 0.3, "confidence": 0.95, "bootstrap_samples": 1000, "bootstrap_seed": 0}

VALUES = {
    "image_auroc": 0.996031746031746,
    "image_f1_max": 0.9921259842519685,
    "image_f1_strict": 0.9841269841269841,
    "image_ap": 0.9987,
    "pixel_auroc": 0.9777049,
    "pixel_f1_max": 0.7219991,
    "pixel_f1_strict": 0.7219985,
    "pixel_aupro": 0.9,
    "pixel_ap": 0.8125,
    "pixel_iou_max": 0.5649,
}


def make_spec(backbone: str = "resnet18", **changes: Any) -> dict[str, Any]:
    """Return a spec as `run_spec` builds it: a change is of the preprocessing or the model where these have such a
    field, else of the spec itself.
    """
    spec = copy.deepcopy(SPEC)
    spec["backbone"] |= {"name": backbone, "architecture": backbone}
    for name, value in changes.items():
        place = next((spec[part] for part in ("preprocessing", "model") if name in spec[part]), spec)
        place[name] = list(value) if isinstance(value, tuple) else value
    return spec


def make_metrics(values: dict[str, float | None] = VALUES, version: int = 0) -> dict[str, MetricValue]:
    """Return metrics of a version that nobody has, for the made-up values of a record follow from no scores."""
    return {name: MetricValue(value=value, version=version) for name, value in values.items() if value is not None}


def make_scores(shift: float = 0.0, n: int = 6) -> ScoreTable:
    """Half normal, half anomalous, float32 like an engine's."""
    scores = (np.linspace(20, 60, n) / 3 + shift).astype(np.float32)
    labels = np.arange(n) * 2 // n
    defect_types = tuple("x" if label else "good" for label in labels)
    return ScoreTable(tuple(f"bottle/test/x/{i:03d}.png" for i in range(n)), labels, defect_types, scores)


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
        "metrics": make_metrics(),
        "metrics_settings": MetricsSettings(**METRICS_SETTINGS),
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
    nothing: dict[str, Any] = {"metrics": {}, "intervals": {}, "thresholds": {}}
    nothing |= dict.fromkeys(("memory", "indices_sha256", "scores_sha256"))
    failure = {"error": Failure(type="DataError", message="bottle/x.png: is truncated", stage="features")}
    return make_ok(spec, **(nothing | {"dataset": make_dataset(spec, **unknown)} | failure | changes))
