"""What Hydra composes has the types of a request, and becomes a Job: checked across keys, every default filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from platformdirs import user_cache_path

from harness.config import (
    WEIGHT_WORDS,
    BackboneConfig,
    DatasetConfig,
    Execution,
    Job,
    MetricsConfig,
    ProtocolConfig,
    RunConfig,
)
from harness.data.mini.counts import MINI_VERSION
from harness.device import resolve_device
from harness.errors import RequestError
from harness.keys import CONFIGS, PROJECT
from harness.padim.engine import check_blur, check_reference
from harness.padim.weights import weights_file

DEFAULT_STORE = PROJECT / "results"
SYNTHETIC_STORE = PROJECT / "smoke"
"""Where runs on drawn images go: never beside real ones."""


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


def resolve(config: DictConfig, *, protocol_name: str) -> Job:
    """Turn one composed configuration into a job, without torch and without opening any image.

    Args:
        config: as `RequestSchema` types it, with a category.
        protocol_name: the file of configs/protocol that was chosen.

    Raises:
        RequestError: keys that do not go together, or a path that is not there.
    """
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    if values["category"] is None:
        raise RequestError("category: is not given; give category=NAME, or experiment=NAME for a whole table")
    dataset = _dataset(values["dataset"], values["data_root"])
    backbone = _backbone(values["backbone"])
    device = resolve_device(values["device"])
    runs = [
        RunConfig(
            dataset=dataset,
            category=values["category"],
            backbone=backbone,
            protocol=_protocol(values["protocol"], index_sampler),
            protocol_name=protocol_name,
            n_features=_n_features(n_features, values["protocol"]["n_features"], backbone),
            seed=seed,
            engine=values["engine"],
            device=device,
            metrics=MetricsConfig(**values["metrics"]),
        )
        for index_sampler, n_features, seed in product(
            _as_list(values["protocol"]["index_sampler"]),
            _as_list(values["n_features"]),
            values["seeds"] if values["seeds"] is not None else [values["seed"]],
        )
    ]
    if values["engine"] == "reference":
        for run in runs:
            check_reference(run.protocol)
    default_store = SYNTHETIC_STORE if dataset.synthetic else DEFAULT_STORE
    store = Path(values["store"]) if values["store"] else default_store
    return Job(
        tuple(dict.fromkeys(runs)),  # n_features=100,null may name one run twice
        Execution(
            store=store, threads=values["threads"], workers=values["workers"], memory_budget=values["memory_budget"]
        ),
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _dataset(values: dict[str, Any], data_root: str | None) -> DatasetConfig:
    root, name = values["root"], values["name"]
    data_root = data_root or None  # DATA_ROOT= in the environment is none
    if root is None and values["synthetic"]:
        root = mini_root(name)
    if root is None and data_root is None:
        raise RequestError(
            f"dataset.root: is not given; give dataset.root=PATH (the folder that holds {name}'s category folders), "
            f"or data_root=PATH or the environment variable DATA_ROOT (a folder that holds {name}/)"
        )
    return DatasetConfig(**{**values, "root": Path(root) if root is not None else Path(str(data_root)) / name})


def mini_root(dataset: str) -> Path:
    """Where a drawn dataset lies when nobody says otherwise: in the user's cache, by the version of the drawing."""
    return user_cache_path("vad-harness", appauthor=False) / f"mini-v{MINI_VERSION}" / dataset


@cache
def read_backbone(name: str) -> BackboneConfig:
    """configs/backbone/NAME.yaml as it stands, for who has no request."""
    return _backbone(_read(CONFIGS / "backbone" / f"{name}.yaml"))


def _read(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)  # type: ignore[return-value]


def _backbone(values: dict[str, Any]) -> BackboneConfig:
    backbone = BackboneConfig(**{**values, **{key: tuple(values[key]) for key in ("layers", "channels", "reductions")}})
    if not len(backbone.layers) == len(backbone.channels) == len(backbone.reductions):
        raise RequestError(f"configs/backbone: {backbone.name} must have as many channels and reductions as layers")
    if backbone.weights == "package" and backbone.package is None:
        raise RequestError(f"backbone.weights=package: no package carries {backbone.name}; use timm, random or a path")
    if backbone.weights not in WEIGHT_WORDS:
        weights_file(backbone.weights)
    return backbone


def _protocol(values: dict[str, Any], index_sampler: str) -> ProtocolConfig:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    del fields["n_features"]
    protocol = ProtocolConfig(**{**fields, "index_sampler": index_sampler})
    crop, resize = protocol.center_crop, protocol.resize
    if crop and (crop[0] > resize[0] or crop[1] > resize[1]):
        raise RequestError(
            f"protocol.center_crop={list(crop)}: is larger than protocol.resize={list(resize)}; make it smaller or null"
        )
    check_blur(protocol.blur_sigma, protocol.input_size)
    return protocol


@cache
def read_protocol(name: str, *, dataset: str) -> ProtocolConfig:
    """configs/protocol/NAME.yaml with what configs/dataset/DATASET.yaml changes of it, for who has no request."""
    own = _read(CONFIGS / "dataset" / f"{dataset}.yaml").get("protocol", {})
    values = {**_read(CONFIGS / "protocol" / f"{name}.yaml"), **own}
    return _protocol(values, values["index_sampler"])


def _n_features(asked: int | None, table: dict[str, int], backbone: BackboneConfig) -> int:
    n_features = asked if asked is not None else table.get(backbone.name)
    if n_features is None:
        raise RequestError(
            f"n_features: the protocol has no number for {backbone.name}; "
            f"give n_features=N (1 to {backbone.n_channels})"
        )
    if not 1 <= n_features <= backbone.n_channels:
        raise RequestError(
            f"n_features={n_features}: {backbone.name} has {backbone.n_channels} channels in "
            f"{', '.join(backbone.layers)}; allowed: 1 to {backbone.n_channels}"
        )
    return n_features
