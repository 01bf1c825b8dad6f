"""Every key of the command line and the check of its values, made from the classes of `harness.config.settings`."""

import difflib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import TypeAdapter

from harness.config.settings import STRICT, Argument, Execution, LaunchConfig, Option, RunConfig
from harness.errors import RequestError
from harness.models import base as models
from harness.paths import CONFIGS

GROUPS = {
    "dataset": "The images to test on.",
    "preprocessing": "What happens to an image before a model sees it.",
    "model": "The model that finds anomalies: padim, or another model of anomalib.",
    "backbone": "The pretrained network that turns images into features.",
    "protocol": "A named choice of preprocessing and of a model's settings.",
    "experiment": "A named list of runs; dataset, category and backbone select from it.",
}
_GIVEN = "???"
"""The default of a setting that a file of configs/ gives: Hydra's word for it."""
_LEFT_OUT = ("category", "engine", "dataset.root", "store")
"""Null where the request leaves them out: `harness.config.resolve` finds their value, or says that it needs one."""


@dataclass(frozen=True)
class Key:
    """A key of a request."""

    option: Option
    type: Any
    default: Any = _GIVEN
    help: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The values of a key that takes one of some words."""
        kind = get_args(self.type)[0]
        return ("true", "false") if kind is bool else get_args(kind)

    @property
    def allowed(self) -> str:
        """What its values may be, in words."""
        return self.option.allowed or ", ".join(self.words)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.type, config=STRICT)

    def check(self, value: Any) -> Any:
        """Return the value to use, from one as Hydra parsed it.

        Raises:
            ValueError: it does not fit.
        """
        if isinstance(value, list) and value and self.option.folds:
            return [self._check_one(one) for one in value]
        return self._check_one(value)

    def _check_one(self, value: Any) -> Any:
        if value is None and self.option.nullable:
            return None
        checked = self._adapter.validate_python(value)
        # Hydra and OmegaConf know neither tuples nor paths.
        return value if isinstance(checked, Path) else list(checked) if isinstance(checked, tuple) else checked


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def group_options(group: str) -> list[str]:
    """Return the names of the files in configs/GROUP, sorted."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


@cache
def default_option(group: str) -> str:
    """Return the file of a group that configs/config.yaml chooses."""
    chosen = _yaml(CONFIGS / "config.yaml")["defaults"]
    return next(str(entry[group]) for entry in chosen if isinstance(entry, dict) and group in entry)


def _settings(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any, Key | None]]:
    """Yield name, default and key of every setting of a class and its parts; no key where a file alone gives it."""
    for name, item in kind.__pydantic_fields__.items():
        if is_dataclass(item.annotation):
            yield from _settings(item.annotation, f"{prefix}{name}.")
            continue
        default = _GIVEN if item.is_required() else item.default
        options = [part for part in item.metadata if isinstance(part, Option)]
        checked: Any = Annotated[item.annotation, *item.metadata, name]  # type: ignore[name-defined]
        yield f"{prefix}{name}", default, Key(options[0], checked, default, item.description or "") if options else None


@cache
def model_keys(model: str) -> dict[str, Key]:
    """Return the keys of a model's own settings, by their full names: `model.epsilon`."""
    found = models.find(model)
    takes = Option(f"what {found.takes} takes")
    own = {f"model.{name}": Key(takes, Annotated[Argument, name], value) for name, value in found.arguments.items()}
    return own | {name: key for name, _, key in _settings(found.settings, "model.") if key}


_SETTINGS = tuple(chain.from_iterable(_settings(kind) for kind in (RunConfig, Execution, LaunchConfig)))
KEYS: dict[str, Key] = {
    group: Key(Option(), Annotated[Literal[tuple(group_options(group))], group], help=text)  # type: ignore[valid-type]
    for group, text in GROUPS.items()
} | {name: key for name, _, key in _SETTINGS if key}
for _model in (default_option("model"), *group_options("model")):
    KEYS |= {name: key for name, key in model_keys(_model).items() if name not in KEYS}
"""By name. A `model.KEY` that several models have is the first one's here; `check_model_keys` knows a job's model."""
DEFAULTS: dict[str, Any] = {name: default for name, default, _ in _SETTINGS if default != _GIVEN}
"""What a setting is where neither a file of configs/ nor the command line says it."""
FOLDED = tuple(name for name, key in KEYS.items() if key.option.folds)
"""Runs that differ only in these can share one pass through the network. The later in this list the first one in which
they differ, the more they share."""


def register() -> None:
    """Make every setting and its default known to Hydra, under the name that configs/config.yaml begins with."""
    from hydra.core.config_store import ConfigStore

    schema: dict[str, Any] = {"experiment": None, "protocol": {}, "dataset": {"about": None}}
    for name, default, _ in _SETTINGS:
        *path, last = name.split(".")
        place = schema
        for part in path:
            place = place.setdefault(part, {})
        place[last] = None if name in _LEFT_OUT else default
    del schema["protocol_name"]
    ConfigStore.instance().store(name="schema", node=schema)


def check_value(key: str, value: Any) -> Any:
    """Return the value to use of a key, from one as Hydra parsed it; of a `model.KEY` as any model takes it.

    Raises:
        ValueError: it does not fit.
    """
    of_models = [model_keys(model) for model in group_options("model")] if key.startswith("model.") else []
    for own in of_models:
        with suppress(KeyError, ValueError):
            return own[key].check(value)
    return KEYS[key].check(value)


def renamed(key: str) -> str | None:
    """Return the new name of a setting that had another one before there were `preprocessing` and `model`."""
    last = key.removeprefix("protocol.")
    return next((new for new in (f"preprocessing.{last}", f"model.{last}") if new in KEYS), None)


def check_model_keys(model: str, given: Mapping[str, Any]) -> None:
    """Refuse a `model.KEY` that this model does not have, or a value that does not fit it.

    Raises:
        RequestError: one line.
    """
    own = model_keys(model)
    for name, value in given.items():
        if not name.startswith("model."):
            continue
        if name not in own:
            has = ", ".join(own) or "none"
            shown = f"{value:g}" if isinstance(value, float) else value  # a key of another model made 1.0 of 1
            raise RequestError(f"{name}={shown}: model={model} has no such setting{suggest(name, own)}; it has: {has}")
        try:
            own[name].check(value)
        except ValueError:
            raise RequestError(
                f"{name}={value}: is not allowed for model={model}; allowed: {own[name].allowed}"
            ) from None


@cache
def protocol_settings(protocol: str, *, model: str, backbone: str, dataset: str = "") -> Mapping[str, Any]:
    """Return what a run has unless its request says otherwise, by the request's keys, as YAML has the values.

    Args:
        protocol: a file of configs/protocol.
        dataset: its file of configs/dataset may set preprocessing, too.
    """
    chosen = _yaml(CONFIGS / "protocol" / f"{protocol}.yaml")
    of_dataset = _yaml(CONFIGS / "dataset" / f"{dataset}.yaml") if dataset else {}
    shared = chosen["preprocessing"] | of_dataset.get("preprocessing", {})
    # A setting that depends on the backbone is a table.
    own = {
        name: value.get(backbone) if isinstance(value, dict) else value for name, value in chosen.get(model, {}).items()
    }
    return {f"preprocessing.{k}": v for k, v in shared.items()} | {f"model.{k}": v for k, v in own.items()}


def help_text() -> str:
    """Return every key with its values, its default and what it means, in lines of at most 80 columns."""
    lines = []
    shown = {name: key for name, key in KEYS.items() if not name.startswith("model.")}
    for model in group_options("model"):
        shown |= {f"model={model} {name}": key for name, key in model_keys(model).items()}
    for name, key in shown.items():
        default = "" if key.default in (_GIVEN, None) else f" (default: {str(key.default).lower()})"
        lines += textwrap.wrap(f"{name}=  {key.allowed}{default}", 78, initial_indent="  ", subsequent_indent=" " * 6)
        lines += textwrap.wrap(key.help, 78, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Return ` (did you mean X?)` where something allowed is near, else nothing."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
