"""Records of schema 1 and 2 in the words of today's: the same numbers, under new names and a new key.

PaDiM was then the only model, so its settings stood beside the preprocessing's; the settings of the metrics were part
of the key. A run with inexact arithmetic keeps the mode behind its engine's name (`streaming+bf16`).
"""

from collections.abc import Mapping
from typing import Any

from harness.config.settings import run_key
from harness.store.fields import REMEDY, SCHEMA_VERSION

_OF_THE_MODEL = ("n_features", "index_sampler", "epsilon", "blur_sigma")


def to_current(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON data of an old record, without its digest, as that of today's schema; what it says is checked
    there.

    Raises:
        ValueError: it is no record of its schema.
    """
    schema = data["schema_version"]
    try:
        return _converted(data, schema)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"is not a record of schema {schema} ({type(error).__name__}: {error}); {REMEDY}") from None


def _converted(data: Mapping[str, Any], schema: int) -> dict[str, Any]:
    if data["key"] != run_key(data["spec"]):
        raise ValueError(
            f"key {data['key']} does not belong to the spec, whose key is {run_key(data['spec'])}; {REMEDY}"
        )
    if schema == 1 and "plan" in data:
        raise ValueError(f"records of schema version 1 have no plan; {REMEDY}")
    spec = _spec(data["spec"])
    settings = dict(data["spec"]["metrics"])
    version = settings.pop("version")
    metrics = _renamed(data["metrics"] or {})
    return {
        **data,
        "schema_version": SCHEMA_VERSION,
        "key": run_key(spec),
        "spec": spec,
        "metrics": {name: {"value": one, "version": version} for name, one in metrics.items() if one is not None},
        "metrics_settings": settings,
        **{name: _renamed(data[name]) for name in ("metrics_absent", "intervals", "thresholds")},
        "upgraded_from": {"schema": schema, "key": data["key"]},
    }


def _spec(old: Mapping[str, Any]) -> dict[str, Any]:
    spec = {name: value for name, value in old.items() if name not in ("metrics", "protocol", "inexact")}
    settings = {**old["protocol"], "n_features": spec.pop("n_features")}
    spec["model"] = {"name": "padim", **{name: settings.pop(name) for name in _OF_THE_MODEL}}
    spec["preprocessing"] = settings
    spec["versions"] = spec.pop("index_versions")
    spec["engine"] = "+".join([old["engine"], *old["inexact"]])
    return spec


def _renamed(by_metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_f1_adaptive", "_f1_strict"): value for name, value in by_metric.items()}
