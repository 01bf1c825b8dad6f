"""The runs of a store as the page shows them: one table of all, each in full, where they were made, on which images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.config.settings import preprocessing_in_words
from harness.metrics.registry import registered
from harness.report.page_grid import NOTHING, Cell, Grid, amount, anchor, cell, grid
from harness.report.words import BACKBONE_NAMES
from harness.store.fields import settings_of, shown, varying

if TYPE_CHECKING:
    from harness.store.record import Environment, Failure, RunRecord

METRIC_NAMES = {name: metric.label for name, metric in registered().items()}

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

_OF_PROTOCOL = ("preprocessing.", "model.")
_TOLD_OTHERWISE = ("protocol", "engine", "backbone.weights_digest", "versions")
"""How names begin of what the protocol's text, `weights`, and the page's environments say."""


@dataclass(frozen=True)
class Machine:
    """An environment that at least one run was made in."""

    identifier: str
    name: str
    fields: Fields
    packages: Fields
    n_runs: int


@dataclass(frozen=True)
class Runs:
    """All that the page shows of runs."""

    overview: Grid | None
    """None where there are no records."""
    groups: tuple[tuple[str, tuple[tuple[RunRecord, Machine], ...]], ...]
    """A title for each category with one backbone, and its runs with the environments that they were made in."""
    machines: tuple[Machine, ...]
    data: Grid | None
    """Which images were looked at, and under which licence."""


def run_id(key: str) -> str:
    """Return the id of a run's details on the page."""
    return anchor("run", key)


def describe_runs(records: Sequence[RunRecord]) -> Runs:
    """Gather everything about the runs, sorted by what was run."""
    ordered = sorted(records, key=lambda r: (*_place(r), r.spec.seed, _protocol(r), r.key))
    machines = _machines(ordered)
    groups = tuple(
        (
            f"{dataset} / {category}, {BACKBONE_NAMES.get(backbone, backbone)}",
            tuple((record, machines[_software(record.environment)]) for record in members),
        )
        for (dataset, category, backbone), members in groupby(ordered, key=_place)
    )
    return Runs(_overview(ordered), groups, tuple(machines.values()), _data(ordered))


def failures(records: Sequence[RunRecord]) -> Grid | None:
    """List the runs that failed, with stage and error; None where none did."""
    rows = [
        (Cell(record.key, href=f"#{run_id(record.key)}"), *map(Cell, _place(record)), cell(str(record.spec.seed)),
         Cell(record.error.stage or "before the first"), Cell(f"{record.error.type}: {record.error.message}"))
        for record in sorted(records, key=lambda r: (*_place(r), r.spec.seed, r.key))
        if record.error is not None
    ]  # fmt: skip
    columns = ("Run", "Dataset", "Category", "Backbone", "Seed", "Stage", "Error")
    return grid("failed-runs", "Runs that failed", columns, rows) if rows else None


def _place(record: RunRecord) -> tuple[str, str, str]:
    return record.spec.dataset, record.spec.category, record.spec.backbone.name


def _overview(records: Sequence[RunRecord]) -> Grid | None:
    if not records:
        return None
    metrics = ("image_auroc", "image_f1_strict", "pixel_auroc", "pixel_f1_strict", "pixel_aupro")
    columns = ("Run", "Dataset", "Category", "Backbone", "Seed", "Status", *(METRIC_NAMES[name] for name in metrics))
    settings = _told_apart(records)
    rows = [
        (
            Cell(record.key, href=f"#{run_id(record.key)}"),
            *map(Cell, _place(record)),
            cell(str(record.spec.seed)),
            cell(record.status),
            *(amount(record.values[name]) for name in metrics),
            amount(sum(record.timing.seconds.values()), 1),
            amount(record.memory.peak_rss_bytes / 1e9 if record.memory else None, 2),
            Cell(settings[record.key]),
        )
        for record in records
    ]
    caption = "Every run in the store. Runs that share a pass through the backbone share its seconds and peak memory."
    return grid("runs-all", caption, (*columns, "Seconds", "Peak GB", "Settings"), rows)


def _protocol(record: RunRecord) -> str:
    """Name a run's protocol, and what else is not as the paper's tables take it."""
    spec = record.spec
    return ", ".join([record.protocol_name, *([spec.engine] if spec.engine != "streaming" else [])])


def _told_apart(records: Sequence[RunRecord]) -> dict[str, str]:
    """Give by key a run's protocol, and what else differs among runs of its dataset, category and backbone.

    Fields of the protocol are named only if they differ within one protocol.
    """
    texts = {}
    for _, members in groupby(records, key=_place):
        group = [(record, settings_of(record)) for record in members]
        by_protocol: dict[str, list[dict[str, Any]]] = {}
        for record, own in group:
            by_protocol.setdefault(_protocol(record), []).append(own)
        names = {name for name in varying([own for _, own in group]) if not name.startswith(_OF_PROTOCOL)}
        names |= {name for alike in by_protocol.values() for name in varying(alike)}
        names = {name for name in names if not name.startswith(_TOLD_OTHERWISE)}
        for record, own in group:
            said = (f"{_bare(name)}\N{NO-BREAK SPACE}{_short(own.get(name))}" for name in names)
            texts[record.key] = ", ".join([_protocol(record), *sorted(said)])
    return texts


def _bare(name: str) -> str:
    return name.partition(".")[2] if name.startswith(_OF_PROTOCOL) else name


def _short(value: Any) -> str:
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{52}$", r"\1", shown(value))


def _data(records: Sequence[RunRecord]) -> Grid | None:
    seen = {}
    for record in records:
        dataset = record.dataset
        name = (dataset.title, record.spec.category, dataset.fingerprint)
        counts = (dataset.n_train, dataset.n_test_normal, dataset.n_test_anomalous)
        licence, digest = dataset.licence or "not stated", (dataset.fingerprint or NOTHING)[:12]
        seen[name] = (*map(cell, map(_count, counts)), Cell(licence), Cell(digest))
    rows = [(Cell(name[0]), Cell(name[1]), *rest) for name, rest in sorted(seen.items(), key=lambda one: str(one[0]))]
    columns = ("Dataset", "Category", "Train", "Normal", "Defective", "Licence", "Fingerprint")
    caption = "Images that were looked at; the same fingerprint means the same bytes"
    return grid("data-all", caption, columns, rows, row_headers=False) if rows else None


def _software(environment: Environment) -> Fields:
    """Return what makes two environments the same machine with the same software; the commit is told run by run."""
    return (
        ("Device", environment.device),
        ("Processor", environment.cpu),
        ("Threads", _count(environment.threads)),
        ("Platform", environment.platform),
        ("Python", environment.python),
        ("Harness", environment.harness),
        *sorted(environment.packages.items()),
    )


def _machines(records: Sequence[RunRecord]) -> dict[Fields, Machine]:
    """Return each distinct environment, in the order of the runs."""
    counts = Counter(_software(record.environment) for record in records)
    return {
        told: Machine(f"environment-{i}", f"Environment {i}", told[:6], told[6:], n)
        for i, (told, n) in enumerate(counts.items(), start=1)
    }


def run_failure(error: Failure) -> Fields:
    """Return where and how a run failed."""
    return ("Stage", error.stage or "before the first"), ("Error", error.type), ("Message", error.message)


def run_cost(record: RunRecord) -> Fields:
    """Return time, rate and memory of a run."""
    memory, rate = record.memory, record.timing.images_per_second
    on_device = memory.peak_device_bytes if memory else None
    return (
        ("Time", f"{sum(record.timing.seconds.values()):.1f} s"),
        ("Rate", NOTHING if rate is None else f"{rate:.1f} images a second"),
        ("Peak memory", f"{memory.peak_rss_bytes / 1e9:.2f} GB" if memory else NOTHING),
        ("Peak memory of the device", NOTHING if on_device is None else f"{on_device / 1e9:.2f} GB"),
    )


def run_made(record: RunRecord) -> Fields:
    """Return when and from which commit a run was made."""
    git, commit = record.environment.git, "not from a git checkout"
    if git is not None:
        commit = git.commit[:12] + (", with changes" if git.dirty else "")
    return ("Started", _time(record.started)), ("Finished", _time(record.finished)), ("Commit", commit)


def run_settings(record: RunRecord) -> Fields:
    """Return all that a run was made with."""
    spec, preprocess, metrics = record.spec, record.spec.preprocessing, record.metrics_settings
    versions = sorted({str(metric.version) for metric in record.metrics.values()})
    return (
        ("Protocol", record.protocol_name),
        (
            "Resize",
            f"{_size(preprocess.resize)}, {preprocess.interpolation}{', antialias' if preprocess.antialias else ''}",
        ),
        ("Centre crop", _size(preprocess.center_crop)),
        ("In words", preprocessing_in_words(preprocess.resize, preprocess.center_crop)),
        ("Normalisation", f"mean {_list(preprocess.mean)}, std {_list(preprocess.std)}"),
        ("Batch", str(preprocess.batch_size)),
        *((f"model.{name}" if name != "name" else "Model", shown(value)) for name, value in sorted(spec.model.items())),
        ("Indices' sha256", record.indices_sha256 or NOTHING),
        ("Layers", ", ".join(spec.backbone.layers)),
        ("Weights", record.weights),
        ("Weights' sha256", spec.backbone.weights_digest),
        ("Engine", spec.engine),
        ("Device", spec.device),
        (
            "Intervals",
            f"{metrics.confidence:.0%}, {metrics.bootstrap_samples} resamples, seed {metrics.bootstrap_seed}",
        ),
        ("AUPRO", f"up to a false-positive rate of {metrics.aupro_fpr_limit:g}"),
        ("Version of the metrics", ", ".join(versions) or NOTHING),
    )


def run_images(record: RunRecord) -> Fields:
    """Return which images a run looked at."""
    dataset = record.dataset
    return (
        ("Training images", _count(dataset.n_train)),
        ("Test images", f"{_count(dataset.n_test_normal)} normal, {_count(dataset.n_test_anomalous)} defective"),
        ("Masks", {True: "yes", False: "no", None: NOTHING}[dataset.has_masks]),
        ("Limit", NOTHING if dataset.limit is None else f"{dataset.limit} images: not the whole category"),
        ("Fingerprint", dataset.fingerprint or NOTHING),
    )


def run_metrics(record: RunRecord) -> Grid:
    """Return the metrics with their intervals, then second intervals, then anomalib's own numbers."""
    rows = []
    values = {
        name: value for name, value in record.values.items() if value is not None or name in record.metrics_absent
    }
    second = [name for name in sorted(record.intervals) if name not in values]
    for name in (*values, *second):
        metric = max((metric for metric in values if f"{name}_".startswith(f"{metric}_")), key=len)
        interval = record.intervals.get(name)
        span = Cell(f"{interval.low:.4f} to {interval.high:.4f}", interval.low) if interval else Cell(NOTHING)
        how = interval.method if interval else record.metrics_absent.get(name, NOTHING)
        title = METRIC_NAMES.get(metric, metric) + ("" if name == metric else ", second interval")
        rows.append((Cell(title), amount(values[metric], 6), span, Cell(how)))
    for name, printed in sorted(record.engine_metrics.items()):
        rows.append((Cell(f"{name} (anomalib's own)"), amount(printed, 6), Cell(NOTHING), Cell(NOTHING)))
    columns = ("Metric", "Value", f"{record.metrics_settings.confidence:.0%} interval", "How")
    return grid(anchor("metrics", record.key), f"Metrics of {_label(record)}", columns, rows)


def run_times(record: RunRecord) -> Grid:
    """Return the seconds of a run's stages, the longest first."""
    seconds = record.timing.seconds
    total = sum(seconds.values())
    rows = [
        (Cell(STAGES.get(name, name)), amount(value, 2), amount(100 * value / total if total else None, 0, " %"))
        for name, value in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    return grid(anchor("times", record.key), f"Seconds of {_label(record)}", ("Stage", "Seconds", "Share"), rows)


def _label(record: RunRecord) -> str:
    return f"{'/'.join(_place(record))}, seed {record.spec.seed} ({record.key})"


def _time(text: str) -> str:
    return text.replace("T", " ").replace("Z", " UTC")


def _size(size: Sequence[int] | None) -> str:
    return "none" if size is None else f"{size[0]}×{size[1]}"


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _count(value: int | None) -> str:
    return NOTHING if value is None else str(value)
