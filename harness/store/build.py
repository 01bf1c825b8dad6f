"""Records are made here: key computed, machine paths taken out of what is free text, everything validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.config import run_key
from harness.store.fields import FAILED, OK
from harness.store.portable import hide_paths
from harness.store.record import (
    DatasetInfo,
    Environment,
    Failure,
    Interval,
    Memory,
    Metrics,
    PassPlan,
    RunRecord,
    Timing,
)

LONGEST_MESSAGE = 2000
"""Characters of an error's message that a record keeps."""


def new_record(
    *,
    spec: Mapping[str, Any],
    weights: str,
    protocol_name: str,
    synthetic: bool,
    dataset: DatasetInfo,
    timing: Timing,
    environment: Environment,
    started: datetime,
    finished: datetime,
    metrics: Metrics | None = None,
    metrics_absent: Mapping[str, str] | None = None,
    intervals: Mapping[str, Interval] | None = None,
    thresholds: Mapping[str, float] | None = None,
    memory: Memory | None = None,
    plan: PassPlan | None = None,
    engine_metrics: Mapping[str, float] | None = None,
    indices_sha256: str | None = None,
    scores_sha256: str | None = None,
    error: Failure | None = None,
    hide: Mapping[str, Path] | None = None,
) -> RunRecord:
    """Make a record: `failed` where there is an error, else `ok`.

    Args:
        spec: as `harness.config.run_spec` builds it.
        scores_sha256: `ScoreTable.sha256` of the scores that will lie beside the record.
        engine_metrics: what the reference engine printed; a NaN or an infinity is kept as None.
        hide: label -> folder or file whose absolute path becomes `<label>` wherever it stands in a note or a message.

    Raises:
        pydantic.ValidationError: the parts do not go together: a defect of whoever made them.
    """
    told = {name: value if math.isfinite(value) else None for name, value in (engine_metrics or {}).items()}
    outside_the_key = {
        "weights": weights,
        "protocol_name": protocol_name,
        "synthetic": synthetic,
        "metrics": metrics.model_dump() if metrics else None,
        "metrics_absent": dict(metrics_absent or {}),
        "intervals": {name: interval.model_dump() for name, interval in (intervals or {}).items()},
        "thresholds": dict(thresholds or {}),
        "timing": timing.model_dump(),
        "memory": memory.model_dump() if memory else None,
        "plan": plan.model_dump() if plan else None,
        "environment": environment.model_dump(),
        "engine_metrics": told,
        "indices_sha256": indices_sha256,
        "scores_sha256": scores_sha256,
        "started": timestamp(started),
        "finished": timestamp(finished),
        "error": error.model_dump() if error else None,
    }
    portable = _portable_dict(outside_the_key, hide or {})
    # Name and fingerprint must equal the spec's, to the letter.
    names = {"name": dataset.name, "fingerprint": dataset.fingerprint}
    portable["dataset"] = _portable_dict(dataset.model_dump(), hide or {}) | names
    status = FAILED if error else OK
    return RunRecord.model_validate({"key": run_key(spec), "status": status, "spec": dict(spec), **portable})


def failure_of(error: BaseException, stage: str | None) -> Failure:
    """An exception as a record keeps it; `new_record` takes the machine's paths out of its message."""
    message = " ".join(str(error).split()) or type(error).__name__
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]} …"
    return Failure(type=type(error).__name__, message=message, stage=stage)


def timestamp(moment: datetime) -> str:
    """A moment in UTC to the second, as records state it.

    Raises:
        ValueError: the moment has no time zone, so that nobody knows when it was.
    """
    if moment.tzinfo is None:
        raise ValueError("a record's times need a time zone; use datetime.now(UTC)")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _portable_dict(data: Mapping[str, object], hide: Mapping[str, Path]) -> dict[str, object]:
    return {hide_paths(key, hide): _portable(item, hide) for key, item in data.items()}


def _portable(value: object, hide: Mapping[str, Path]) -> object:
    if isinstance(value, str):
        return hide_paths(value, hide)
    if isinstance(value, dict):
        return _portable_dict(value, hide)
    if isinstance(value, list):
        return [_portable(item, hide) for item in value]
    return value
