"""What a record says that its run was made with, as flat fields: `model.epsilon`, `preprocessing.resize`, `weights`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.store.record import RunRecord

_IDENTITY = frozenset({"dataset", "category", "backbone.name", "seed", "model.name"})


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
