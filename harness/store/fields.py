"""The names in records and stores, where a run lies, and the settings of a record as flat fields (`model.epsilon`)."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.config.settings import KEY_LENGTH, run_key
from harness.errors import StoreError
from harness.metrics.registry import registered

if TYPE_CHECKING:
    from harness.store.record import RunRecord

SCHEMA_VERSION = 3

METRICS = tuple(registered())
"""Those that a run is measured by today; a record may have others, or lack some."""

OK, FAILED = "ok", "failed"

RECORD, SCORES, EXAMPLES = "record.json", "scores.csv", "examples.npz"
"""The files of a run's folder; without the first the others do not count."""

RUNS, RUNS_CSV = "runs", "runs.csv"

REMEDY = "restore it (git checkout), or move its folder out of the store and run again"

_IDENTITY = frozenset({"dataset", "category", "backbone.name", "seed", "model.name"})
_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._ -]{0,78}[A-Za-z0-9_-])?")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices: a store is committed, and must unpack there too."""

_RUN = re.compile(rf"seed\d+-([0-9a-f]{{{KEY_LENGTH}}})")


def component(name: str) -> str:
    """Return a folder's name for a dataset, a category or a backbone.

    A plain name (ASCII letters, digits, `_ - .` and spaces, at most 80) stays as it is. Any other becomes what is left
    of it, `~`, and eight hex digits of its sha256.
    """
    if _PLAIN.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", ascii_only).strip("_-")[:60] or "name"
    return f"{readable}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def run_path(spec: Mapping[str, Any]) -> PurePosixPath:
    """Return a run's folder, relative to the store; no two specs share one.

    It is `runs/<dataset>/<category>/<model>-<backbone>/seed<seed>-<key>`.

    Raises:
        StoreError: a name in the spec is not valid Unicode, so that it has no key.
    """
    names = (spec["dataset"], spec["category"], f"{spec['model']['name']}-{spec['backbone']['name']}")
    try:
        key = run_key(spec)
    except UnicodeEncodeError:
        shown = "/".join(ascii(name)[1:-1] for name in names)
        raise StoreError(f"{shown}: a name is not valid UTF-8; rename the folder it comes from") from None
    return PurePosixPath(RUNS, *map(component, names), f"seed{spec['seed']:d}-{key}")


def old_run_path(spec: Mapping[str, Any], key: str) -> PurePosixPath:
    """Return where a run lay in stores of schema 1 and 2: under its old key, in a folder without the model's name."""
    names = (spec["dataset"], spec["category"], spec["backbone"]["name"])
    return PurePosixPath(RUNS, *map(component, names), f"seed{spec['seed']:d}-{key}")


def key_of_folder(name: str) -> str | None:
    """Return the key in the name of a run's folder; None where it is no such name."""
    match = _RUN.fullmatch(name)
    return match[1] if match else None


def settings_of(record: RunRecord) -> dict[str, Any]:
    """Return all that the key covers but for what the run is called, and the labels beside it."""
    settings = {name: value for name, value in flat(record.spec.model_dump()).items() if name not in _IDENTITY}
    return settings | {
        "model": record.spec.model["name"],
        "dataset.limit": record.dataset.limit,
        "protocol": record.protocol_name,
        "weights": record.weights,
    }


def not_measured(
    record: RunRecord, metric: str, *, version: int | None = None, settings: Mapping[str, Any] | None = None
) -> str | None:
    """Return why a record's value of a metric does not count; None where it does.

    Args:
        version: of the metric's definition that is wanted; None for any.
        settings: of `metrics.*`, those that move this metric and the values that are wanted, such as `aupro_fpr_limit`.
    """
    found = record.metrics.get(metric)
    if found is None:
        return record.metrics_absent.get(metric, "not measured")
    if version is not None and found.version != version:
        return f"not measured: it has version {found.version} of the metric, and {version} is wanted"
    made = record.metrics_settings.model_dump()
    unlike = [f"metrics.{name}={shown(made[name])}" for name, value in (settings or {}).items() if made[name] != value]
    return f"not measured: it was made with {', '.join(unlike)}" if unlike else None


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields by one name each, as `packages.torch`."""
    fields: dict[str, Any] = {}
    for name, value in data.items():
        fields |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return fields


def varying(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields in which these differ, or which some lack."""
    names = dict.fromkeys(name for one in settings for name in one)
    return [name for name in names if any(one.get(name) != settings[0].get(name) for one in settings[1:])]


def shown(value: Any) -> str:
    """Return a setting as the command line takes it: `null`, `true`, `[224,224]`."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
