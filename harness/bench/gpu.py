"""A GPU checked and measured: parity, repeatability, copies and memory of whole runs; latency, throughput, spreads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.bench.contestants import PYTHON, Contestant, Found, Setup, once
from harness.bench.process import BenchError
from harness.bench.results import Measurement, Results, machine, now
from harness.bench.sections import Bench, describe
from harness.store.fields import METRICS
from harness.store.scores import read_examples, read_scores

if TYPE_CHECKING:
    from collections.abc import Callable

PARITY = 1e-4
"""Largest relative difference of maps and scores between GPU and CPU."""
PREDICTION = 0.25
"""How far, relatively, a predicted peak of memory may be from the measured one."""
BATCH_SIZES = (1, 16, 64)
DECODERS = (2, 4, 8, 16)
BATCHES = 200
"""Timed for each batch size."""


@dataclass(frozen=True)
class Outcome:
    """What one whole run left."""

    scores: np.ndarray
    """(n_test,) float64."""
    maps: np.ndarray
    """(k, H, W) float32: of the few images that a record keeps."""
    record: dict[str, Any]


def read_outcome(store: Path) -> Outcome:
    """The one run of a store.

    Raises:
        BenchError: it left no maps.
    """
    (path,) = store.rglob("record.json")
    examples = read_examples(path.parent / "examples.npz")
    if examples is None:
        raise BenchError("a run left no maps")
    return Outcome(
        read_scores(path.parent / "scores.csv").scores,
        examples["anomaly_maps"],
        json.loads(path.read_text(encoding="utf-8")),
    )


def difference(one: Outcome, other: Outcome) -> float:
    """The largest relative difference of maps and scores, by the second one's; infinite where their shapes differ."""
    pairs = ((one.maps, other.maps), (one.scores, other.scores))
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-6), initial=0.0)) for a, b in pairs)


def identical(one: Outcome, other: Outcome) -> bool:
    """Whether scores and maps are the same, bit for bit."""
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in (
        (one.maps, other.maps), (one.scores, other.scores)
    ))  # fmt: skip


def spreads(one: Outcome, other: Outcome) -> dict[str, float]:
    """By how much a run's scores and maps (relatively) and each of its metrics differ from another's."""
    ours, theirs = one.record["metrics"], other.record["metrics"]
    shared = [name for name in METRICS if ours.get(name) is not None and theirs.get(name) is not None]
    return {"scores and maps": difference(one, other), **{name: abs(ours[name] - theirs[name]) for name in shared}}


def checks(outcomes: dict[str, Outcome], copies: dict[str, float], *, device: str) -> dict[str, float]:
    """What must hold of whole runs on `device`, as numbers; `failures` judges them.

    Args:
        outcomes: of the runs `cpu`, `device`, `again` and `auto`.
        copies: as `harness.bench.children.copies.count` gives them.
    """
    record = outcomes["device"].record
    memory = record["memory"]
    dataset, size = record["dataset"], record["spec"]["protocol"]["batch_size"]
    parts = (dataset["n_train"], dataset["n_test_normal"] + dataset["n_test_anomalous"])
    return {
        "parity": difference(outcomes["device"], outcomes["cpu"]),
        "identical": float(identical(outcomes["device"], outcomes["again"])),
        "auto_took_it": float(outcomes["auto"].record["spec"]["device"] == device),
        "auto_identical": float(identical(outcomes["device"], outcomes["auto"])),
        "peak_device_bytes": float(memory["peak_device_bytes"] or 0),
        "predicted_device_bytes": float(record["plan"]["predicted_device_bytes"] or 0),
        "peak_rss_bytes": float(memory["peak_rss_bytes"]),
        "predicted_rss_bytes": float(record["plan"]["predicted_rss_bytes"]),
        "batches": float(sum(-(-n_images // size) for n_images in parts)),
        **copies,
    }


def failures(numbers: dict[str, float], *, device: str) -> list[str]:
    """A line for each check that does not hold."""
    lines = []
    if not numbers["parity"] <= PARITY:
        lines.append(
            f"maps differ from the CPU's by {numbers['parity']:.2g}, relatively; at most {PARITY:g} is allowed"
        )
    if not numbers["identical"]:
        lines.append("the same run again gives other bits")
    if not numbers["auto_took_it"]:
        lines.append(f"device=auto did not take {device}")
    elif not numbers["auto_identical"]:
        lines.append(f"device=auto gives other bits than device={device}")
    if device == "cuda":
        if not numbers["peak_device_bytes"]:
            lines.append("the record has no peak of device memory")
        if numbers["pinned_copies"] < numbers["batches"]:
            lines.append(
                f"only {numbers['pinned_copies']:.0f} copies from pinned memory, for {numbers['batches']:.0f} batches"
            )
    for kind in ("device", "rss") if device == "cuda" else ("rss",):
        peak, predicted = numbers[f"peak_{kind}_bytes"], numbers[f"predicted_{kind}_bytes"]
        if peak and not abs(predicted - peak) <= PREDICTION * peak:
            lines.append(f"{predicted / 2**20:.0f} MiB ({kind}) were predicted, {peak / 2**20:.0f} MiB measured")
    return lines


def measure_gpu(bench: Bench, *, device: str = "cuda", n_batches: int = BATCHES) -> Iterator[tuple[Results, list[str]]]:
    """Check, then measure; `device` is `cuda`, or `cpu` to try this where there is no GPU.

    Yields the section `gpu`, and a line for each check that does not hold: once all is checked, and again after each
    repeat of what is timed. The last one is whole; whoever is stopped before it keeps what there was.

    Raises:
        BenchError: a process failed.
    """
    started, setup = now(), bench.setup()
    outcomes: dict[str, Outcome] = {}
    measured: list[Measurement] = []

    def go(contestant: Contestant, repeat: int = 0) -> Measurement:
        one = once(contestant, repeat)
        bench.say(f"{one.name:<14} {one.seconds:7.2f} s  " + _said(one))
        measured.append(one)
        return one

    def keep(name: str) -> Callable[[Outcome], None]:
        return lambda outcome: outcomes.update({name: outcome})

    for name, kind in (("cpu", "cpu"), ("device", device), ("again", device), ("auto", "auto")):
        go(_run(setup, f"run-{name}", kind, keep=keep(name), full=True))
    numbers = checks(outcomes, go(_child(setup, "copies", device)).numbers, device=device)
    settings = {
        "limit": bench.limit,
        **describe(setup),
        "device": device,
        "checks": numbers,
        "spreads": spreads(outcomes["device"], outcomes["cpu"]),
    }
    where, failed = machine(outcomes["device"].record["environment"]["device"]), failures(numbers, device=device)

    def so_far(n_repeats: int) -> tuple[Results, list[str]]:
        return Results("gpu", {**settings, "repeats": n_repeats}, where, started, now(), tuple(measured)), failed

    yield so_far(0)
    timed = (device, ",".join(map(str, BATCH_SIZES)), str(n_batches))
    for repeat in range(bench.repeats):
        go(_child(setup, "latency", device, timed), repeat)
        go(_child(setup, "network", device, timed), repeat)
        for batch_size in BATCH_SIZES:
            go(_run(setup, f"run-batch-{batch_size}", device, (f"protocol.batch_size={batch_size}",)), repeat)
        for workers in DECODERS:
            go(_run(setup, f"run-workers-{workers}", device, (f"workers={workers}",)), repeat)
        yield so_far(repeat + 1)


def _said(one: Measurement) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in one.numbers.items())


def _run(
    setup: Setup,
    name: str,
    device: str,
    more: Sequence[str] = (),
    keep: Callable[[Outcome], None] = lambda _: None,
    *,
    full: bool = False,
) -> Contestant:
    """A whole run; its throughput is that of decoding, network and scoring together."""

    def read(folder: Path) -> Found:
        outcome = read_outcome(folder / "store")
        keep(outcome)
        record = outcome.record
        peak = record["memory"]["peak_device_bytes"]
        numbers = {"images_per_second": record["timing"]["images_per_second"]}
        return Found(
            stages=record["timing"]["seconds"], numbers=numbers | ({"peak_device_bytes": peak} if peak else {})
        )

    return Contestant(
        name,
        lambda folder: [
            PYTHON, "-m", "harness", *setup.request([0], folder / "store", full=full, device=device, more=more)
        ],
        read,
    )  # fmt: skip


def _child(setup: Setup, module: str, device: str, arguments: Sequence[str] = ()) -> Contestant:
    return Contestant(
        module,
        lambda folder: [
            PYTHON, "-m", f"harness.bench.children.{module}", str(folder / "out.json"), *arguments,
            *setup.request([0], folder / "store", full=False, device=device),
        ],
        lambda folder: Found(numbers=json.loads((folder / "out.json").read_text(encoding="utf-8"))),
    )  # fmt: skip
