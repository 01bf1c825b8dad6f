"""Any model of anomalib that reads a backbone, by anomalib's own Engine: all that it needs here is its YAML file.

The file names the class, the arguments of its constructor that a user may set, the stages of the backbone that it
reads, and what Lightning's Trainer gets. anomalib takes seconds to import, so only `check` and `scores` import it.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import inspect
import json
import traceback
from collections.abc import Generator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from harness.config.settings import STRICT, BackboneConfig, ModelConfig, Option, RunConfig, Text, plain
from harness.device import ran_out
from harness.errors import DataError, RequestError, UserError
from harness.models.base import Model, ModelPlan, Scores, joined
from harness.models.compute import exact_arithmetic, silence

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

    from harness.data.loader import SplitSource
    from harness.execution.monitor import Monitor
    from harness.models.weights import Weights

LIBRARIES = ("anomalib", "lightning", "timm", "torch")
_NOT_ARGUMENTS = ("name", "class", "stages", "trainer")
_TRAINER = "trainer."
_OURS = ("backbone", "layers", "layer", "pre_trained", "pre_processor", "post_processor", "evaluator", "visualizer")
"""Arguments of anomalib's constructors that the harness sets."""
_OUR_TRAINER = ("accelerator", "barebones", "callbacks", "check_val_every_n_epoch", "default_root_dir", "logger")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


@dataclass(frozen=True, config=STRICT)
class AnomalibConfig(ModelConfig):
    """The settings of one model of anomalib, as its YAML file and the request have them."""

    class_name: Text
    stages: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None,
        BeforeValidator(_tuples),
        Option("a list such as [1,2], or null"),
    ]
    """Which of the backbone's layers it reads, counted from 0 (0 is the finest); null: all."""
    arguments: tuple[tuple[str, Any], ...]
    trainer: tuple[tuple[str, Any], ...]

    def spec(self) -> dict[str, Any]:
        """Return the settings by the names of their keys, without `model.`, and the class: JSON data."""
        of_trainer = {f"{_TRAINER}{name}": value for name, value in self.trainer}
        own = {"name": self.name, "class": self.class_name, "stages": self.stages}
        return plain(own | dict(self.arguments) | of_trainer)  # type: ignore[no-any-return]

    @property
    def title(self) -> str:
        """What it is called in errors: `anomalib's Patchcore`."""
        return _title(self.class_name)


class AnomalibModel(Model):
    """A model of anomalib as the harness runs it; made from its YAML file."""

    settings = AnomalibConfig
    engines = ("reference",)

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self._name, self._values = name, values
        self.takes = _title(values["class"])
        own = {key: value for key, value in values.items() if key not in _NOT_ARGUMENTS}
        trainer = {f"{_TRAINER}{key}": value for key, value in (values.get("trainer") or {}).items()}
        self.arguments = own | trainer

    def configure(self, **values: Any) -> AnomalibConfig:
        """Make the settings of values as YAML has them; what is not given is the file's own.

        Raises:
            pydantic.ValidationError: the stages are no list of numbers.
        """
        given = {**self._values, **values}
        trainer = {**(self._values.get("trainer") or {}), **(given.get("trainer") or {})}
        arguments = {key: value for key, value in given.items() if key not in _NOT_ARGUMENTS}
        return AnomalibConfig(
            name=self._name,
            class_name=given["class"],
            stages=given.get("stages"),
            arguments=tuple((key, self._alike(key, arguments[key])) for key in sorted(arguments)),
            trainer=tuple((key, _tuples(trainer[key])) for key in sorted(trainer)),
        )

    def _alike(self, key: str, value: Any) -> Any:
        """Return a value of which equal ones look alike: 1 is 1.0 where the file has 0.1."""
        return float(value) if type(value) is int and type(self._values.get(key)) is float else _tuples(value)

    def check(self, run: RunConfig) -> None:
        """Refuse arguments that the constructor or the Trainer does not take, and stages that the backbone lacks."""
        config = _settings(run)
        _keywords(config, run.backbone)
        _trainer(config)

    def versions(self, run: RunConfig) -> Mapping[str, str]:
        """Return the versions of the libraries that compute."""
        return {name: importlib.metadata.version(name) for name in LIBRARIES}

    def scores(
        self, source: SplitSource, runs: Sequence[RunConfig], weights: Weights, plan: ModelPlan, monitor: Monitor
    ) -> Generator[Scores]:
        """Fit and test each run by `anomalib.engine.Engine`; maps and scores are the model's own, raw.

        Stages, for each run: `load`, `fit` (a validation pass over the test images included, which some models need),
        `prepare` (what a model counts by a bar of its own, as PatchCore its coreset), `score`.

        Raises:
            RequestError: the weights do not fit, or the constructor refuses a value.
            DataError: anomalib's code failed on these images and settings; the line says where.
        """
        from lightning.pytorch.utilities.seed import isolate_rng

        from harness.models.engine import fit_and_test, own_interrupts

        for run in runs:
            exact_arithmetic(run.device)
            with own_interrupts(), silence(), isolate_rng():
                with monitor.stage("load"):
                    model = _build(run, source, weights)
                try:
                    recorder, _ = fit_and_test(model, source, run.device, monitor, **_trainer(_settings(run)))
                except Exception as error:
                    if isinstance(error, UserError) or ran_out(error):
                        raise
                    raise DataError(_failure(run, error)) from error
            maps = joined(recorder.maps)
            scores = Scores(
                image_scores=np.concatenate(recorder.scores),
                anomaly_maps=maps,
                without_maps=f"{self._name} gives no anomaly map" if maps is None else None,
            )
            del model, recorder
            gc.collect()  # Trainer and model refer to one another.
            yield scores


def _build(run: RunConfig, source: SplitSource, weights: Weights) -> AnomalibModule:
    """Return anomalib's model with our weights in its networks; the run's seed is set right before it is made."""
    import random

    import torch
    from anomalib.pre_processing import PreProcessor

    from harness.models.backbone import weights_of_ours

    config = _settings(run)
    keywords = _keywords(config, run.backbone)
    given = {
        "pre_trained": True,  # answered with our weights
        "pre_processor": PreProcessor(transform=source.transform),
        # It would only normalise, clamp and threshold, and draw: metrics are computed from the raw scores.
        "post_processor": False,
        "evaluator": False,
        "visualizer": False,
    }
    taken = _annotations(_class(config.class_name))
    keywords |= {name: value for name, value in given.items() if name in taken}
    with weights_of_ours(run.backbone, weights):
        random.seed(run.seed)
        np.random.seed(run.seed)  # noqa: NPY002  models draw from it
        torch.manual_seed(run.seed)
        try:
            model: AnomalibModule = _class(config.class_name)(**keywords)
        except (TypeError, ValueError) as error:
            raise RequestError(f"model={config.name}: {config.title} refuses its arguments ({error})") from error
    return model


def _failure(run: RunConfig, error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}; {Path(place.filename).name}, line {place.lineno}"
    return f"{_settings(run).title} failed ({what}): give other model.* settings or more images"


def _settings(run: RunConfig) -> AnomalibConfig:
    assert isinstance(run.model, AnomalibConfig)
    return run.model


def _title(class_name: str) -> str:
    return f"anomalib's {class_name.rpartition('.')[2]}"


@cache
def _class(class_name: str) -> Any:
    module, _, name = class_name.rpartition(".")
    try:
        with silence():
            return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        version = importlib.metadata.version("anomalib")
        raise RequestError(
            f"configs/model: anomalib {version} has no {class_name}; correct the file's `class`"
        ) from None


@cache
def _annotations(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind.__init__)
    return {name: hints.get(name, Any) for name in inspect.signature(kind).parameters}


def _keywords(config: AnomalibConfig, backbone: BackboneConfig) -> dict[str, Any]:
    """Return the arguments of the constructor that the request decides, each checked against its annotation."""
    taken = _annotations(_class(config.class_name))
    if "backbone" not in taken:
        raise RequestError(
            f"model={config.name}: {config.title} takes no backbone, so it cannot use this one; take another"
        )
    settable = {name: kind for name, kind in taken.items() if name not in _OURS}
    keywords = _checked(config.arguments, settable, "model.", config.title)
    layers = _layers(config, backbone, taken)
    for name in ("layers", "layer"):
        if name in taken:
            value: Any = layers if name == "layers" else layers[0]
            try:
                keywords[name] = _converted(taken[name], value)
            except ValueError:
                raise RequestError(
                    f"model={config.name}: {config.title} takes no layers such as {', '.join(layers)}; take another"
                ) from None
    return keywords | {"backbone": backbone.architecture}


def _layers(config: AnomalibConfig, backbone: BackboneConfig, taken: Mapping[str, Any]) -> tuple[str, ...]:
    stages = config.stages
    chosen = range(len(backbone.layers)) if stages is None else stages
    given = f"model.stages={plain(stages)}".replace("None", "null")
    there = f"{backbone.name} has stages 0 to {len(backbone.layers) - 1} ({', '.join(backbone.layers)})"
    if "layers" not in taken and "layer" not in taken:
        if stages is not None:
            raise RequestError(f"{given}: {config.title} chooses its layers itself; allowed: null")
    elif "layers" not in taken and len(chosen) != 1:
        raise RequestError(f"{given}: {config.title} reads exactly one; {there}")
    # timm gives features in this order, and anomalib takes them to be in the order that it asked for.
    if not chosen or list(chosen) != sorted(set(chosen)) or chosen[-1] >= len(backbone.layers):
        raise RequestError(
            f"{given}: {there}; allowed: a list of some of them, each once and in order, or null for all"
        )
    return tuple(backbone.layers[stage] for stage in chosen)


def _trainer(config: AnomalibConfig) -> dict[str, Any]:
    """Return the arguments of Lightning's Trainer that the request decides, each checked against its annotation."""
    from lightning.pytorch import Trainer

    taken = {name: kind for name, kind in _annotations(Trainer).items() if name not in _OUR_TRAINER}
    checked = _checked(config.trainer, taken, f"model.{_TRAINER}", "Lightning's Trainer")
    if not checked.get("max_epochs", 1) >= 1:
        raise RequestError(f"model.trainer.max_epochs={checked['max_epochs']}: allowed: a whole number of at least 1")
    return checked


def _checked(given: Sequence[tuple[str, Any]], taken: Mapping[str, Any], place: str, taker: str) -> dict[str, Any]:
    checked = {}
    for name, value in given:
        shown = f"{place}{name}={'null' if value is None else plain(value)}"
        if name not in taken:
            raise RequestError(f"{shown}: {taker} takes no {name} here; allowed: {', '.join(taken)}")
        try:
            checked[name] = _converted(taken[name], value)
        except ValidationError as error:
            kind = inspect.formatannotation(taken[name])
            raise RequestError(f"{shown}: {error.errors()[0]['msg']}; {taker} takes {kind}") from None
        except ValueError:
            raise RequestError(f"{shown}: is not a finite number; {taker} takes no other") from None
    return checked


def _converted(kind: Any, value: Any) -> Any:
    """Return a value as an annotation wants it, an enumeration's member of its text, but no number of a text."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
    return adapter.validate_json(json.dumps(plain(value), allow_nan=False), strict=True)
