"""A composed configuration becomes a Job: checked across keys, with every default filled in."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError
from pydantic import ValidationError

from harness.config.keys import FOLDED, KEYS, default_option, model_keys, protocol_settings
from harness.config.settings import (
    WEIGHT_WORDS,
    BackboneConfig,
    DatasetConfig,
    Execution,
    Job,
    MetricsConfig,
    PreprocessingConfig,
    RunConfig,
)
from harness.data.mini.counts import MINI_VERSION
from harness.device import resolve_device
from harness.errors import RequestError
from harness.models import base as models
from harness.models.weights import weights_file
from harness.paths import CACHE, CONFIGS, DEFAULT_STORE, SYNTHETIC_STORE

T = TypeVar("T")


def _made(make: Callable[..., T], values: dict[str, Any], place: str = "") -> T:
    """Make settings of values as YAML has them."""
    try:
        return make(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = f"{place}{'.'.join(map(str, first['loc'][:1]))}"
        own = model_keys(values["name"]) if place == "model." else KEYS
        allowed = f"; allowed: {own[key].allowed}" if key in own else ""
        raise RequestError(f"{key}={first['input']}: is not allowed ({first['msg']}){allowed}") from None


def resolve(config: DictConfig, *, protocol_name: str) -> Job:
    """Turn one composed configuration into a job, without torch and without opening any image.

    Args:
        config: every key of `harness.config.keys.KEYS` but other models'.
        protocol_name: the file of configs/protocol that was chosen.

    Raises:
        RequestError: keys that do not go together, or a path that is not there.
    """
    values = _values(config, protocol_name)
    if values["category"] is None:
        raise RequestError("category: is not given; give category=NAME, or experiment=NAME for a whole table")
    model = models.find(values["model"]["name"])
    dataset = _dataset(values["dataset"], values["data_root"])
    backbone = _backbone(values["backbone"])
    preprocessing = _preprocessing(values["preprocessing"])
    engine: Any = values["engine"] or model.engines[0]
    if engine not in model.engines:
        raise RequestError(f"engine={engine}: model={values['model']['name']} runs with {' or '.join(model.engines)}")
    device = resolve_device(values["device"])
    names = [key.removeprefix("model.") for key in FOLDED if OmegaConf.select(config, key) is not None]
    runs = [
        RunConfig(
            dataset=dataset,
            category=values["category"],
            preprocessing=preprocessing,
            model=_made(model.configure, values["model"] | dict(zip(names, chosen, strict=True)), "model."),
            backbone=backbone,
            protocol_name=protocol_name,
            engine=engine,
            seed=seed,
            device=device,
            metrics=_made(MetricsConfig, values["metrics"], "metrics."),
        )
        for seed in (values["seeds"] if values["seeds"] is not None else [values["seed"]])
        for chosen in product(*(_as_list(values["model"][name]) for name in names))
    ]
    for run in runs:
        model.check(run)
    execution = {item.name: values[item.name] for item in fields(Execution)}
    execution["store"] = values["store"] or str(SYNTHETIC_STORE if dataset.synthetic else DEFAULT_STORE)
    return Job(tuple(runs), _made(Execution, execution))


def _values(config: DictConfig, protocol_name: str) -> dict[str, Any]:
    """Return a composed configuration as plain data."""
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except InterpolationResolutionError as error:
        key = error.full_key
        raise RequestError(
            f"{key}: protocol={protocol_name} has no value for backbone={config.backbone.name}; give {key}=VALUE"
        ) from None


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | ListConfig) else [value]


def _dataset(values: dict[str, Any], data_root: str | None) -> DatasetConfig:
    root, name = values["root"], values["name"]
    del values["about"]
    data_root = data_root or None  # DATA_ROOT= in the environment is none
    if root is None and values["synthetic"]:
        root = str(CACHE / f"mini-v{MINI_VERSION}" / name)
    if root is None and data_root is None:
        raise RequestError(
            f"dataset.root: is not given; give dataset.root=PATH (the folder that holds {name}'s category folders), "
            f"or data_root=PATH or the environment variable DATA_ROOT (a folder that holds {name}/)"
        )
    return _made(DatasetConfig, {**values, "root": root or str(Path(str(data_root)) / name)}, "dataset.")


@cache
def read_backbone(name: str) -> BackboneConfig:
    """Read configs/backbone/NAME.yaml as it stands, for callers without a request."""
    values: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "backbone" / f"{name}.yaml"), resolve=False)
    return _backbone(values)


def _backbone(values: dict[str, Any]) -> BackboneConfig:
    backbone = _made(BackboneConfig, values, "backbone.")
    if not len(backbone.layers) == len(backbone.channels) == len(backbone.reductions):
        raise RequestError(f"configs/backbone: {backbone.name} must have as many channels and reductions as layers")
    if backbone.weights == "package" and backbone.package is None:
        raise RequestError(
            f"backbone.weights=package: no package has weights of {backbone.name}; use timm, random or a path"
        )
    if backbone.weights not in WEIGHT_WORDS:
        weights_file(backbone.weights)
    return backbone


def _preprocessing(values: Mapping[str, Any]) -> PreprocessingConfig:
    made = _made(PreprocessingConfig, dict(values), "preprocessing.")
    crop, resize = made.center_crop, made.resize
    if crop and (crop[0] > resize[0] or crop[1] > resize[1]):
        raise RequestError(
            f"preprocessing.center_crop={list(crop)}: is larger than preprocessing.resize={list(resize)}; "
            "make it smaller or null"
        )
    if made.interpolation == "lanczos" and not made.antialias:
        raise RequestError("preprocessing.antialias=false: lanczos always uses antialiasing; leave this key out")
    return made


@cache
def read_preprocessing(protocol: str, *, dataset: str) -> PreprocessingConfig:
    """Return a protocol's preprocessing of a dataset's images, for callers without a request."""
    settings = protocol_settings(protocol, model=default_option("model"), backbone="", dataset=dataset)
    named = {key.partition(".")[2]: value for key, value in settings.items() if key.startswith("preprocessing.")}
    return _preprocessing(named)
