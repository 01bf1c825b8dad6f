"""One run as the page shows it in full: settings, images, metrics, cost, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.config import preprocessing
from harness.report.page_commands import run_command
from harness.report.page_grid import NOTHING, Cell, Grid, amount, anchor, cell, grid
from harness.store.fields import METRICS

if TYPE_CHECKING:
    from harness.store.record import Environment, RunRecord

METRIC_NAMES = {
    "image_auroc": "Image AUROC",
    "image_f1_max": "Image F1-max",
    "image_f1_adaptive": "Image F1, strict",
    "pixel_auroc": "Pixel AUROC",
    "pixel_f1_max": "Pixel F1-max",
    "pixel_f1_adaptive": "Pixel F1, strict",
    "pixel_aupro": "AUPRO",
}

STAGES = {
    "weights": "weights found",
    "data": "images listed and fingerprinted",
    "import": "libraries imported",
    "load": "network loaded",
    "fit": "training images decoded and passed",
    "factor": "Gaussians factored",
    "test": "test images decoded and passed",
    "score": "test images scored",
    "masks": "masks and examples read, or waited for",
    "examples": "examples read",
    "metrics": "metrics and intervals",
    "write": "record written",
}
"""What the stages of a record are, for a reader; one that is not here keeps its own name."""

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Run:
    """One run in full."""

    identifier: str
    title: str
    status: Cell
    key: str
    command: str
    settings: Fields
    data: Fields
    cost: Fields
    made: Fields
    environment: str
    """Id of its environment's description."""
    environment_name: str
    metrics: Grid | None
    """None where it failed."""
    times: Grid
    failure: Fields
    """Empty where it went well."""
    notes: tuple[str, ...]


def run_id(key: str) -> str:
    """The id of a run's details on the page."""
    return anchor("run", key)


def where(record: RunRecord) -> tuple[str, str, str]:
    """Dataset, category and backbone of a run."""
    return record.spec.dataset, record.spec.category, record.spec.backbone.name


def describe_run(record: RunRecord, machine: str, machine_id: str) -> Run:
    """One run in full, made in the environment with this name and id."""
    spec = record.spec
    return Run(
        identifier=run_id(record.key),
        title=f"Seed {spec.seed}",
        status=cell(record.status),
        key=record.key,
        command=run_command(record),
        settings=_settings(record),
        data=_dataset(record),
        cost=_cost(record),
        made=(
            ("Started", _time(record.started)),
            ("Finished", _time(record.finished)),
            ("Commit", _commit(record.environment)),
        ),
        environment=machine_id,
        environment_name=machine,
        metrics=_metrics(record),
        times=_times(record),
        failure=_failure(record),
        notes=tuple(record.dataset.notes),
    )


def _settings(record: RunRecord) -> Fields:
    spec, protocol = record.spec, record.spec.protocol
    return (
        ("Protocol", record.protocol_name),
        ("Resize", f"{_size(protocol.resize)}, {protocol.interpolation}{', antialias' if protocol.antialias else ''}"),
        ("Centre crop", _size(protocol.center_crop)),
        ("In words", preprocessing(protocol.resize, protocol.center_crop)),
        ("Normalisation", f"mean {_list(protocol.mean)}, std {_list(protocol.std)}"),
        ("Layers", ", ".join(spec.backbone.layers)),
        ("Weights", record.weights),
        ("Weights' sha256", spec.backbone.weights_digest),
        ("Kept channels", f"{spec.n_features}, drawn by {protocol.index_sampler} from seed {spec.seed}"),
        ("Their indices' sha256", record.indices_sha256 or NOTHING),
        ("Epsilon", f"{protocol.epsilon:g}"),
        ("Blur sigma", f"{protocol.blur_sigma:g}"),
        ("Batch", str(protocol.batch_size)),
        ("Engine", spec.engine),
        ("Device", spec.device),
        ("Arithmetic", ", ".join(spec.inexact) or "float32"),
        (
            "Intervals",
            f"{spec.metrics.confidence:.0%}, {spec.metrics.bootstrap_samples} resamples, "
            f"seed {spec.metrics.bootstrap_seed}",
        ),
        (
            "AUPRO",
            f"up to a false-positive rate of {spec.metrics.aupro_fpr_limit:g}",
        ),
        ("Version of the metrics", str(spec.metrics.version)),
    )


def _dataset(record: RunRecord) -> Fields:
    dataset = record.dataset
    return (
        ("Training images", count(dataset.n_train)),
        ("Test images", f"{count(dataset.n_test_normal)} normal, {count(dataset.n_test_anomalous)} defective"),
        ("Masks", {True: "yes", False: "no", None: NOTHING}[dataset.has_masks]),
        ("Limit", NOTHING if dataset.limit is None else f"{dataset.limit} images: not the whole category"),
        ("Fingerprint", dataset.fingerprint or NOTHING),
    )


def _cost(record: RunRecord) -> Fields:
    memory, rate = record.memory, record.timing.images_per_second
    on_device = memory.peak_device_bytes if memory else None
    return (
        ("Time", f"{sum(record.timing.seconds.values()):.1f} s"),
        ("Rate", NOTHING if rate is None else f"{rate:.1f} images a second"),
        ("Peak memory", f"{memory.peak_rss_bytes / 1e9:.2f} GB" if memory else NOTHING),
        ("Peak memory of the device", NOTHING if on_device is None else f"{on_device / 1e9:.2f} GB"),
    )


def _metrics(record: RunRecord) -> Grid | None:
    if record.metrics is None:
        return None
    rows = []
    for name in METRICS:
        value, interval = record.values[name], record.intervals.get(name)
        span = Cell(f"{interval.low:.4f} to {interval.high:.4f}", interval.low) if interval else Cell(NOTHING)
        method = interval.method if interval else record.metrics_absent.get(name, NOTHING)
        rows.append((Cell(METRIC_NAMES[name]), amount(value, 6), span, Cell(method)))
    for name, interval in sorted(record.intervals.items()):
        if name not in METRICS:
            span = Cell(f"{interval.low:.4f} to {interval.high:.4f}", interval.low)
            metric = next(metric for metric in METRICS if name.startswith(f"{metric}_"))
            second = f"{METRIC_NAMES[metric]}, second interval"
            rows.append((Cell(second), amount(record.values[metric], 6), span, Cell(interval.method)))
    for name, printed in sorted(record.engine_metrics.items()):
        rows.append((Cell(f"{name} (anomalib's own)"), amount(printed, 6), Cell(NOTHING), Cell(NOTHING)))
    level = f"{record.spec.metrics.confidence:.0%} interval"
    title = f"Metrics of {_label(record)}"
    return grid(anchor("metrics", record.key), title, ("Metric", "Value", level, "How"), rows)


def _times(record: RunRecord) -> Grid:
    seconds = record.timing.seconds
    total = sum(seconds.values())
    rows = [
        (Cell(STAGES.get(name, name)), amount(value, 2), amount(100 * value / total if total else None, 0, " %"))
        for name, value in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    return grid(anchor("times", record.key), f"Seconds of {_label(record)}", ("Stage", "Seconds", "Share"), rows)


def _failure(record: RunRecord) -> Fields:
    if record.error is None:
        return ()
    return (
        ("Stage", record.error.stage or "before the first"),
        ("Error", record.error.type),
        ("Message", record.error.message),
    )


def _label(record: RunRecord) -> str:
    return f"{'/'.join(where(record))}, seed {record.spec.seed} ({record.key})"


def _commit(environment: Environment) -> str:
    git = environment.git
    return "not from a git checkout" if git is None else git.commit[:12] + (", with changes" if git.dirty else "")


def _time(text: str) -> str:
    return text.replace("T", " ").replace("Z", " UTC")


def _size(size: Sequence[int] | None) -> str:
    return "none" if size is None else f"{size[0]}×{size[1]}"


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def count(value: int | None) -> str:
    """A whole number, or that there is none."""
    return NOTHING if value is None else str(value)
