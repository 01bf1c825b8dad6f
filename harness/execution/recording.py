"""A run's parts put together as the record that the store keeps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.catalog import CATALOG
from harness.data.checks import same_scores_note
from harness.device import gpu_name
from harness.store.provenance import environment, peak_rss_bytes
from harness.store.record import (
    DatasetInfo,
    Environment,
    Interval,
    Memory,
    MetricsSettings,
    MetricValue,
    PassPlan,
    RunRecord,
    Timing,
    failure_of,
    new_record,
)

if TYPE_CHECKING:
    from harness.config.settings import RunConfig
    from harness.data.split import Split
    from harness.execution.monitor import Monitor
    from harness.execution.passes import Prepared
    from harness.metrics import MetricReport
    from harness.models.base import ModelPlan, Scores
    from harness.models.weights import Weights


def ok_record(
    run: RunConfig,
    prepared: Prepared,
    scored: Scores,
    report: MetricReport,
    *,
    timing: Timing,
    plan: ModelPlan,
    memory_budget: float,
    runs_together: int,
    scores_sha256: str,
    threads: int,
) -> RunRecord:
    """Return the record of a run that is complete."""
    notes = (*scored.notes, *same_scores_note(scored.image_scores))
    return new_record(
        **_common(run, prepared.specs[run], prepared.weights, prepared.split, notes),
        started=prepared.started,
        timing=timing,
        environment=_environment(run, threads=threads),
        metrics={name: MetricValue(value=one.value, version=one.version) for name, one in report.metrics.items()},
        metrics_absent=report.absent,
        intervals={name: Interval(**asdict(interval)) for name, interval in report.intervals.items()},
        thresholds=report.thresholds,
        memory=Memory(peak_rss_bytes=peak_rss_bytes(), peak_device_bytes=_peak_device_bytes(run.device)),
        plan=PassPlan(
            memory_budget_gib=memory_budget,
            predicted_rss_bytes=plan.host_bytes,
            predicted_device_bytes=plan.device_bytes,
            runs_together=runs_together,
            judges=plan.judges,
            **plan.details(),
        ),
        engine_metrics=scored.own_metrics,
        indices_sha256=scored.indices_sha256,
        scores_sha256=scores_sha256,
    )


def failed_record(
    run: RunConfig,
    spec: Mapping[str, Any],
    weights: Weights,
    split: Split | None,
    *,
    error: Exception,
    monitor: Monitor,
    started: datetime,
) -> RunRecord:
    """Return the record of a run that an error stopped, with all that was known of it by then."""
    return new_record(
        **_common(run, spec, weights, split),
        started=started,
        timing=Timing(seconds=dict(monitor.seconds), images_per_second=None),
        environment=_environment(run, threads=None),
        memory=Memory(peak_rss_bytes=peak_rss_bytes(), peak_device_bytes=None),
        error=failure_of(error, monitor.current),
    )


def _common(
    run: RunConfig, spec: Mapping[str, Any], weights: Weights, split: Split | None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "spec": spec,
        "weights": weights.source if weights.source == weights.label else f"{weights.source}: {weights.label}",
        "protocol_name": run.protocol_name,
        "synthetic": run.dataset.synthetic,
        "dataset": _dataset(run, spec["fingerprint"], split, notes),
        "metrics_settings": MetricsSettings(**asdict(run.metrics)),
        "finished": datetime.now(UTC),
        "hide": _hidden(run),
    }


def _environment(run: RunConfig, *, threads: int | None) -> Environment:
    return environment(threads=threads, device=gpu_name() if run.device == "cuda" else None)


def _dataset(run: RunConfig, fingerprint: str | None, split: Split | None, engine_notes: Sequence[str]) -> DatasetInfo:
    known = CATALOG.get(run.dataset.name)
    return DatasetInfo(
        name=run.dataset.name,
        title=known.title if known else "images of one's own",
        licence=known.licence if known else None,
        fingerprint=fingerprint,
        limit=run.dataset.limit,
        n_train=len(split.train) if split else None,
        n_test_normal=split.n_test_normal if split else None,
        n_test_anomalous=split.n_test_anomalous if split else None,
        has_masks=split.has_masks if split else None,
        notes=[*(split.notes if split else ()), *engine_notes],
    )


def _peak_device_bytes(device: str) -> int | None:
    if device != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated()


def _hidden(run: RunConfig) -> dict[str, Path]:
    """Return the folders whose absolute paths an error message may hold, and no record should."""
    hidden = {"dataset.root": run.dataset.root}
    for label, find in (("tmp", tempfile.gettempdir), ("cwd", os.getcwd)):
        with suppress(OSError):  # a full disk has no room for temporary files, and a folder can be removed under us
            hidden[label] = Path(find())
    if os.sep in run.backbone.weights:
        hidden["backbone.weights"] = Path(run.backbone.weights)
    return hidden
