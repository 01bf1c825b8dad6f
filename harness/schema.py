"""The types of every key that a request may hold, for Hydra; what they mean stands in configs/ and `harness.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class DatasetSchema:
    """configs/dataset/*.yaml."""

    name: str = MISSING
    layout: str = MISSING
    root: str | None = None
    limit: int | None = None
    synthetic: bool = False
    normal_test_share: float = 0.2
    white_level: float | None = None


@dataclass
class BackboneSchema:
    """configs/backbone/*.yaml."""

    name: str = MISSING
    architecture: str = MISSING
    pretrained_tag: str = MISSING
    layers: list[str] = MISSING
    channels: list[int] = MISSING
    reductions: list[int] = MISSING
    weights: str = "timm"
    package: str | None = None


@dataclass
class ProtocolSchema:
    """configs/protocol/*.yaml."""

    resize: list[int] = MISSING
    interpolation: str = MISSING
    antialias: bool = MISSING
    center_crop: list[int] | None = None
    mean: list[float] = MISSING
    std: list[float] = MISSING
    batch_size: int = MISSING
    epsilon: float = MISSING
    blur_sigma: int = MISSING
    index_sampler: Any = MISSING
    """A name, or a list of names folded into one job."""
    n_features: dict[str, int] = field(default_factory=dict)


@dataclass
class MetricsSchema:
    """How intervals are drawn and how far AUPRO integrates."""

    aupro_fpr_limit: float = MISSING
    confidence: float = MISSING
    bootstrap_samples: int = MISSING
    bootstrap_seed: int = MISSING


@dataclass
class SlurmSchema:
    """What a job asks SLURM for; null is what the cluster gives."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus_per_task: int | None = None
    gpus_per_node: int | None = None
    mem_gb: float | None = None
    timeout_min: int = MISSING


@dataclass
class ExperimentSchema:
    """configs/experiment/*.yaml: a list of grids, since one Cartesian product cannot say `mvtec bottle, btad 01`."""

    name: str = MISSING
    title: str = MISSING
    seeds: list[int] = MISSING
    grids: list[dict[str, Any]] = MISSING
    """Each maps keys of a request to a value or a list of values; the experiment is the union of their products."""


@dataclass
class RequestSchema:
    """configs/config.yaml."""

    dataset: DatasetSchema = MISSING
    backbone: BackboneSchema = MISSING
    protocol: ProtocolSchema = MISSING
    metrics: MetricsSchema = MISSING
    experiment: ExperimentSchema | None = None
    category: str | None = None
    seed: int = MISSING
    seeds: list[int] | None = None
    n_features: Any = None
    """A number, null, or a list of these folded into one job."""
    engine: str = MISSING
    device: str = MISSING
    data_root: str | None = None
    store: str | None = None
    dry_run: bool = False
    launcher: str = "basic"
    jobs: int | None = None
    slurm: SlurmSchema = field(default_factory=SlurmSchema)
    threads: int | None = None
    workers: int | None = None
    memory_budget: float = MISSING


def register() -> None:
    """Make the schema known to Hydra, under the name that configs/config.yaml begins with."""
    ConfigStore.instance().store(name="schema", node=RequestSchema)
