"""Every key that the command line takes and how its values are checked, made from the classes of `harness.config`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter

from harness.config import STRICT, Execution, LaunchConfig, Option, RunConfig

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = PROJECT / "configs"
GROUPS = ("dataset", "backbone", "protocol", "experiment")


@dataclass(frozen=True)
class Key:
    """A key of a request."""

    option: Option
    type: Any
    """What pydantic checks a value against."""

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
        if value is None and self.option.default:
            return None
        checked = self._adapter.validate_python(value)
        # Hydra and OmegaConf know neither tuples nor paths.
        return value if isinstance(checked, Path) else list(checked) if isinstance(checked, tuple) else checked


def group_options(group: str) -> list[str]:
    """Return the names of the files in configs/GROUP, sorted."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _settings(kind: type, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield name, annotated type and default of each setting of a class and its parts; "???" where a file gives it."""
    hints = get_type_hints(kind, include_extras=True)
    for item in fields(kind):
        if is_dataclass(hints[item.name]):
            yield from _settings(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", hints[item.name], "???" if item.default is MISSING else item.default


def _all_settings() -> Iterator[tuple[str, Any, Any]]:
    for kind in (RunConfig, Execution, LaunchConfig):
        yield from _settings(kind)


def _keys() -> Iterator[tuple[str, Key]]:
    for group in GROUPS:
        yield group, Key(Option(), Annotated[Literal[tuple(group_options(group))], group])  # type: ignore[valid-type]
    for name, kind, _ in _all_settings():
        for option in getattr(kind, "__metadata__", ()):
            if isinstance(option, Option):
                yield name, Key(option, kind)


KEYS: dict[str, Key] = dict(_keys())
DEFAULTS: dict[str, Any] = {name: default for name, _, default in _all_settings() if default != "???"}
"""What a setting is where neither a file of configs/ nor the command line says it."""


def register() -> None:
    """Make every setting and its default known to Hydra, under the name that configs/config.yaml begins with."""
    from hydra.core.config_store import ConfigStore

    schema: dict[str, Any] = {"experiment": None, "protocol": {"n_features": {}}}
    optional = {"category", "store", "n_features", "dataset.root"}
    for name, _, default in _all_settings():
        *path, last = name.split(".")
        place = schema
        for part in path:
            place = place.setdefault(part, {})
        place[last] = None if name in optional else default
    del schema["protocol_name"]
    ConfigStore.instance().store(name="schema", node=schema)


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Return ` (did you mean X?)` where something allowed is near, else nothing."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
