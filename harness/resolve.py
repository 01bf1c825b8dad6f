"""A composed configuration becomes a Job: checked across keys, with every default filled in."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from platformdirs import user_cache_path
from pydantic import ValidationError

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
from harness.keys import CONFIGS, FOLDED, KEYS, PROJECT
from harness.padim.engine import check_blur, check_reference
from harness.padim.weights import weights_file

DEFAULT_STORE = PROJECT / "results"
SYNTHETIC_STORE = PROJECT / "smoke"
"""Where runs on drawn images go: never beside real ones."""

T = TypeVar("T")


def _made(kind: type[T], values: dict[str, Any], place: str = "") -> T:
    """Make settings of values as YAML has them.

    Raises:
        RequestError: a value does not fit, or there is one too many or too few.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = f"{place}{'.'.join(map(str, first['loc'][:1]))}"
        allowed = f"; allowed: {KEYS[key].allowed}" if key in KEYS else ""
        raise RequestError(f"{key}={first['input']}: does not fit ({first['msg']}){allowed}") from None


def resolve(config: DictConfig, *, protocol_name: str) -> Job:
    """Turn one composed configuration into a job, without torch and without opening any image.

    Args:
        config: every key of `harness.keys.KEYS`.
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
    folded = [_as_list(OmegaConf.select(config, key)) for key in FOLDED]
    runs = [
        RunConfig(
            dataset=dataset,
            category=values["category"],
            backbone=backbone,
            protocol=_protocol(values["protocol"] | {key.removeprefix("protocol."): one[key] for key in FOLDED}),
            protocol_name=protocol_name,
            n_features=_n_features(one["n_features"], values["protocol"]["n_features"], backbone),
            seed=seed,
            engine=values["engine"],
            device=device,
            metrics=_made(MetricsConfig, values["metrics"], "metrics."),
        )
        for seed in (values["seeds"] if values["seeds"] is not None else [values["seed"]])
        for one in (dict(zip(FOLDED, chosen, strict=True)) for chosen in product(*folded))
    ]
    if values["engine"] == "reference":
        for run in runs:
            check_reference(run.protocol.blur_sigma)
    execution = {item.name: values[item.name] for item in fields(Execution)}
    execution["store"] = values["store"] or str(SYNTHETIC_STORE if dataset.synthetic else DEFAULT_STORE)
    # n_features=100,null may name one run twice
    return Job(tuple(dict.fromkeys(runs)), _made(Execution, execution))


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | ListConfig) else [value]


def _dataset(values: dict[str, Any], data_root: str | None) -> DatasetConfig:
    root, name = values["root"], values["name"]
    del values["about"]
    data_root = data_root or None  # DATA_ROOT= in the environment is none
    if root is None and values["synthetic"]:
        root = str(mini_root(name))
    if root is None and data_root is None:
        raise RequestError(
            f"dataset.root: is not given; give dataset.root=PATH (the folder that holds {name}'s category folders), "
            f"or data_root=PATH or the environment variable DATA_ROOT (a folder that holds {name}/)"
        )
    return _made(DatasetConfig, {**values, "root": root or str(Path(str(data_root)) / name)}, "dataset.")


def mini_root(dataset: str) -> Path:
    """Return where a drawn dataset lies unless a request says so: in the user's cache, by the drawing's version."""
    return user_cache_path("vad-harness", appauthor=False) / f"mini-v{MINI_VERSION}" / dataset


@cache
def read_backbone(name: str) -> BackboneConfig:
    """Read configs/backbone/NAME.yaml as it stands, for callers without a request."""
    return _backbone(_read(CONFIGS / "backbone" / f"{name}.yaml"))


def _read(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)  # type: ignore[return-value]


def _backbone(values: dict[str, Any]) -> BackboneConfig:
    backbone = _made(BackboneConfig, values, "backbone.")
    if not len(backbone.layers) == len(backbone.channels) == len(backbone.reductions):
        raise RequestError(f"configs/backbone: {backbone.name} must have as many channels and reductions as layers")
    if backbone.weights == "package" and backbone.package is None:
        raise RequestError(f"backbone.weights=package: no package carries {backbone.name}; use timm, random or a path")
    if backbone.weights not in WEIGHT_WORDS:
        weights_file(backbone.weights)
    return backbone


def _protocol(values: dict[str, Any]) -> ProtocolConfig:
    own = {key: value for key, value in values.items() if key != "n_features"}
    protocol = _made(ProtocolConfig, own, "protocol.")
    crop, resize = protocol.center_crop, protocol.resize
    if crop and (crop[0] > resize[0] or crop[1] > resize[1]):
        raise RequestError(
            f"protocol.center_crop={list(crop)}: is larger than protocol.resize={list(resize)}; make it smaller or null"
        )
    check_blur(protocol.blur_sigma, protocol.input_size)
    return protocol


@cache
def read_protocol(name: str, *, dataset: str) -> ProtocolConfig:
    """Read configs/protocol/NAME.yaml with what configs/dataset/DATASET.yaml changes, for callers without a request."""
    own = _read(CONFIGS / "dataset" / f"{dataset}.yaml").get("protocol", {})
    values = {**_read(CONFIGS / "protocol" / f"{name}.yaml"), **own}
    return _protocol(values)


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
