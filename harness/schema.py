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
class RequestSchema:
    """configs/config.yaml."""

    dataset: DatasetSchema = MISSING
    backbone: BackboneSchema = MISSING
    protocol: ProtocolSchema = MISSING
    metrics: dict[str, Any] = MISSING
    experiment: dict[str, Any] | None = None
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
    slurm: dict[str, Any] = MISSING
    threads: int | None = None
    workers: int | None = None
    memory_budget: float = MISSING


def register() -> None:
    """Make the schema known to Hydra, under the name that configs/config.yaml begins with."""
    ConfigStore.instance().store(name="schema", node=RequestSchema)
