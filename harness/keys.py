"""Every key that the command line takes, what its values may be, and how they are checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import DEVICES, ENGINES, INDEX_SAMPLERS

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = PROJECT / "configs"
GROUPS = ("dataset", "backbone", "protocol", "experiment")
LAUNCHERS = ("basic", "joblib", "submitit_local", "submitit_slurm", "ray")
LARGEST_SEED = 2**32 - 1
"""Lightning's seed_everything takes no more than 32 bits."""


@dataclass(frozen=True)
class Key:
    """A key of a request: what its values are, in words, and the function that makes one of them fit or says no."""

    allowed: str
    check: Callable[[Any], Any]
    """Takes a value as Hydra parsed it, returns the value to use, raises ValueError where it does not fit."""
    raw: bool = False
    """The rest of the argument is one string, whatever is in it: Hydra's grammar never sees it."""


def _whole(minimum: int, maximum: int | None = None) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ValueError
        if maximum is not None and value > maximum:
            raise ValueError
        return value

    return check


def _number(minimum: float, maximum: float = math.inf) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum < value <= maximum:
            raise ValueError
        try:
            number = float(value)
        except OverflowError:
            raise ValueError from None
        if math.isinf(number):
            raise ValueError
        return number

    return check


def _or_null(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _or_zero(check: Callable[[Any], float]) -> Callable[[Any], float]:
    return lambda value: 0.0 if value == 0 and not isinstance(value, bool) else check(value)


def _or_list(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check_each(value: Any) -> Any:
        if not isinstance(value, list):
            return check(value)
        if not value:
            raise ValueError
        return [check(item) for item in value]

    return check_each


def _list_of(check: Callable[[Any], Any], length: int | None = None) -> Callable[[Any], list[Any]]:
    def check_each(value: Any) -> list[Any]:
        if not isinstance(value, list) or not value or (length is not None and len(value) != length):
            raise ValueError
        return [check(item) for item in value]

    return check_each


def _size(value: Any) -> list[int]:
    """A side in pixels means a square."""
    side = _whole(1, 8192)
    return [side(value)] * 2 if not isinstance(value, list) else _list_of(side, 2)(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return check


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _category(value: Any) -> str:
    """A name that a record can hold: UTF-8, and no absolute path."""
    name = _text(value)
    name.encode()  # UnicodeEncodeError is a ValueError
    if name.startswith(("/", "\\")):
        raise ValueError
    return name


def group_options(group: str) -> list[str]:
    """Names of the files in configs/GROUP, sorted."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _group(group: str) -> Key:
    return Key(", ".join(group_options(group)), _one_of(*group_options(group)))


_SEED = f"a whole number from 0 to {LARGEST_SEED}"

KEYS: dict[str, Key] = {
    "dataset": _group("dataset"),
    "dataset.root": Key("the folder that holds the category folders", _text, raw=True),
    "dataset.limit": Key("a whole number of at least 1, or null", _or_null(_whole(1))),
    "dataset.normal_test_share": Key("a number above 0 and below 1 (dataset=folder only)", _number(0, 0.999999)),
    "dataset.white_level": Key(
        "a number above 0: the value that becomes 255 in images of more than 8 bits, or null (dataset=folder only)",
        _or_null(_number(0)),
    ),
    "data_root": Key("a folder with mvtec, visa and btad in it", _text, raw=True),
    "category": Key("a category's name (no absolute path), or several with commas", _category),
    "backbone": _group("backbone"),
    "backbone.weights": Key("timm, package, random, or the path of a .safetensors or .pth file", _text, raw=True),
    "seed": Key(_SEED, _whole(0, LARGEST_SEED)),
    "seeds": Key(f"a list such as [0,1,2], each {_SEED}", _list_of(_whole(0, LARGEST_SEED))),
    "n_features": Key("a whole number of at least 1, null, or a list of these", _or_null(_or_list(_whole(1)))),
    "protocol": _group("protocol"),
    "protocol.resize": Key("a side in pixels, or [height,width]", _size),
    "protocol.interpolation": Key("bilinear, bicubic", _one_of("bilinear", "bicubic")),
    "protocol.antialias": Key("true, false", _truth),
    "protocol.center_crop": Key("a side in pixels, [height,width], or null", _or_null(_size)),
    "protocol.mean": Key("three numbers, such as [0.485,0.456,0.406]", _list_of(_number(-math.inf), 3)),
    "protocol.std": Key("three numbers above 0", _list_of(_number(0), 3)),
    "protocol.batch_size": Key("a whole number of at least 1", _whole(1)),
    "protocol.epsilon": Key("a number above 0", _number(0)),
    "protocol.blur_sigma": Key("a whole number of at least 0 (0 is no blur)", _whole(0, 1000)),
    "protocol.index_sampler": Key(", ".join(INDEX_SAMPLERS), _or_list(_one_of(*INDEX_SAMPLERS))),
    "experiment": _group("experiment"),
    "engine": Key(", ".join(ENGINES), _one_of(*ENGINES)),
    "device": Key(", ".join(DEVICES), _one_of(*DEVICES)),
    "store": Key("a folder", _text, raw=True),
    "dry_run": Key("true, false", _truth),
    "launcher": Key(", ".join(LAUNCHERS), _one_of(*LAUNCHERS)),
    "jobs": Key("a whole number of at least 1, or null", _or_null(_whole(1, 4096))),
    "slurm.partition": Key("a name, or null", _or_null(_text)),
    "slurm.account": Key("a name, or null", _or_null(_text)),
    "slurm.qos": Key("a name, or null", _or_null(_text)),
    "slurm.constraint": Key("what SLURM's --constraint takes, or null", _or_null(_text)),
    "slurm.cpus_per_task": Key("a whole number from 1 to 4096, or null", _or_null(_whole(1, 4096))),
    "slurm.gpus_per_node": Key("a whole number from 0 to 64, or null", _or_null(_whole(0, 64))),
    "slurm.mem_gb": Key("a number of GB above 0, or null", _or_null(_number(0))),
    "slurm.timeout_min": Key("a whole number of minutes", _whole(1)),
    "threads": Key("a whole number from 1 to 4096, or null", _or_null(_whole(1, 4096))),
    "workers": Key("a whole number from 1 to 256, or null", _or_null(_whole(1, 256))),
    "memory_budget": Key("a number of GiB above 0", _number(0, 1_000_000)),
    "metrics.aupro_fpr_limit": Key("a number from 0 (no AUPRO) to 1", _or_zero(_number(0, 1))),
    "metrics.confidence": Key("a number above 0 and below 1", _number(0, 0.999999)),
    "metrics.bootstrap_samples": Key("a whole number from 0 (none) to 20000", _whole(0, 20_000)),
    "metrics.bootstrap_seed": Key(_SEED, _whole(0, LARGEST_SEED)),
}


def suggest(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean X?)` where something allowed is near, else nothing."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
