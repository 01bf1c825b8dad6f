"""Check and measure the harness on a GPU: parity with the CPU, repeatability, memory, latency, throughput.

Prints Markdown for docs/benchmarks.md, each line as soon as it is known.
Exit status: 0 everything holds, 1 a check or a process failed, 2 the request was wrong, 3 there is no GPU and nothing
was run.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.images import drawn_source, real_source
from benchmarks.measure import BenchError, Contestant, once
from benchmarks.sections import Bench, Setup
from harness.command import Parser, one_line_errors, run_script
from harness.device import resolve_device
from harness.errors import RequestError
from harness.store.scores import read_examples, read_scores

if TYPE_CHECKING:
    from anomalib.models.image.padim.torch_model import PadimModel

    from harness.config import RunConfig

NOT_RUN = 3
PARITY = 1e-4
"""Largest relative difference of maps and scores between GPU and CPU."""
PREDICTION = 0.25
"""How far, relatively, a predicted peak of memory may be from the measured one."""
BATCH_SIZES = (1, 16, 64)
WARM_UP = 10
"""Batches before the clock starts: kernels are chosen and memory is reserved by then."""


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
    scores = read_scores(path.parent / "scores.csv").scores
    return Outcome(scores, examples["anomaly_maps"], json.loads(path.read_text("utf-8")))


def difference(one: Outcome, other: Outcome) -> float:
    """The largest relative difference of maps and scores, by the second one's; infinite where their shapes differ."""
    pairs = ((one.maps, other.maps), (one.scores, other.scores))
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-6), initial=0.0)) for a, b in pairs)


def failures(cpu: Outcome, gpu: Outcome, auto: Outcome, device: str) -> list[str]:
    """A line for each check that does not hold of the same run on the CPU, on `device`, and with `device=auto`."""
    lines = []
    if not difference(gpu, cpu) <= PARITY:
        lines.append(f"maps or scores differ from the CPU's by {difference(gpu, cpu):.2g}, relatively; not {PARITY:g}")
    if auto.record["spec"]["device"] != device:
        lines.append(f"device=auto took {auto.record['spec']['device']}, not {device}")
    elif gpu.maps.tobytes() != auto.maps.tobytes() or gpu.scores.tobytes() != auto.scores.tobytes():
        lines.append("the same run again gives other bits")
    for kind in ("device", "rss") if device == "cuda" else ("rss",):
        peak = gpu.record["memory"][f"peak_{kind}_bytes"]
        predicted = gpu.record["plan"][f"predicted_{kind}_bytes"]
        if peak is None or abs(predicted / peak - 1) > PREDICTION:
            lines.append(f"peak memory ({kind}): {predicted} bytes were predicted, {peak} measured")
    return lines


def whole_run(setup: Setup, asked: str, name: str) -> Outcome:
    """Run the request on a device in a fresh process, and print what it took.

    Raises:
        BenchError: it failed.
    """
    found: list[Outcome] = []
    one = once(
        Contestant(
            name,
            lambda folder: [
                sys.executable, "-m", "harness", *setup.request(folder / "store", full=True, device=asked)
            ],
            (0,),
            full=True,
        ),
        keep=lambda folder: found.append(read_outcome(folder / "store")),
    )  # fmt: skip
    record = found[0].record
    memory, rate = record["memory"], record["timing"]["images_per_second"]
    mib = [f"{(memory[kind] or 0) / 2**20:.0f}" for kind in ("peak_rss_bytes", "peak_device_bytes")]
    print(f"| {name} | {one.seconds:.1f} | {rate:.0f} | {' | '.join(mib)} |", flush=True)
    return found[0]


def standard_model(run: RunConfig, device: str) -> PadimModel:
    """anomalib's model as a fit hands it over, with Gaussians of mean 0 and covariance 1: the time is the same."""
    import torch
    from anomalib.models.image.padim.torch_model import PadimModel

    from harness.padim.backbone import load_network
    from harness.padim.weights import resolve_weights

    layers = list(run.backbone.layers)
    model = PadimModel(run.backbone.architecture, layers, pre_trained=False, n_features=run.n_features)
    model.feature_extractor = load_network(run.backbone, resolve_weights(run.backbone))
    height, width = run.protocol.input_size
    stride = run.backbone.reductions[0]
    n_locations = -(-height // stride) * -(-width // stride)
    model.gaussian.mean = torch.zeros(run.n_features, n_locations)
    model.gaussian.inv_covariance = torch.eye(run.n_features).repeat(n_locations, 1, 1)
    return model.eval().to(device)


def time_batches(model: PadimModel, device: str, batch_size: int, size: tuple[int, int], n_batches: int) -> np.ndarray:
    """Seconds of each batch, (n_batches,) float64, copied to the device, scored and copied back, after a warm-up."""
    import torch

    images = torch.randn(batch_size, 3, *size, generator=torch.Generator().manual_seed(0))
    if device == "cuda":
        images = images.pin_memory()
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = []
    with torch.inference_mode():
        for _ in range(WARM_UP + n_batches):
            wait()
            started = time.perf_counter()
            found = model(images.to(device, non_blocking=True))
            found.anomaly_map.cpu()
            found.pred_score.cpu()
            wait()
            seconds.append(time.perf_counter() - started)
    return np.array(seconds[WARM_UP:])


def print_latency(setup: Setup, device: str, n_batches: int) -> None:
    """Time the fitted model, batch after batch."""
    from benchmarks.children import composed
    from harness.padim.isolation import exact_arithmetic

    print(f"\n| batch, {n_batches} of each | p50, ms | p95, ms | p99, ms | images a second |\n| ---: |{' ---: |' * 4}")
    run = composed(*setup.request(Path("store"), device=device)).runs[0]
    with exact_arithmetic(device):
        model = standard_model(run, device)
        for size in BATCH_SIZES:
            seconds = time_batches(model, device, size, run.protocol.input_size, n_batches)
            cells = [f"{1000 * value:.2f}" for value in np.percentile(seconds, (50, 95, 99))]
            print(f"| {size} | {' | '.join(cells)} | {size / seconds.mean():.0f} |", flush=True)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = Parser(prog="scripts/gpu.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data-root", type=Path, help="a folder that holds mvtec/bottle (default: drawn images)")
    parser.add_argument("--weights", type=Path, help="a file of ResNet-18's weights (default: random ones)")
    parser.add_argument("--batches", type=int, default=200, help="timed for each batch size (default: 200)")
    parser.add_argument("--limit", type=int, help="at most so many images: to try the script, not to measure")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the script without a GPU")
    arguments = parser.parse_args(argv)
    if arguments.batches < 1 or (arguments.limit is not None and arguments.limit < 2):
        raise RequestError("--batches must be at least 1, --limit at least 2")
    try:
        resolve_device(arguments.device)
    except RequestError:
        print("gpu: not run: this machine has no CUDA device that torch can use; nothing was checked or measured")
        return NOT_RUN
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        sizes = () if arguments.limit is None else (arguments.limit, 2 * arguments.limit)
        root = arguments.data_root
        source = real_source(root) if root else drawn_source(Path(scratch, "drawn"), *sizes)
        setup = Bench(source, Path(scratch), arguments.weights, limit=arguments.limit).setup()
        print(f"{source.label}, {setup.n_train} training and {setup.n_test} test images.\n")
        print("| whole run | seconds | images a second | host, MiB | GPU, MiB |\n| --- | ---: | ---: | ---: | ---: |")
        asked = ("cpu", arguments.device, "auto")
        try:
            cpu, gpu, auto = (whole_run(setup, device, f"device={device}") for device in asked)
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(f"\nLargest relative difference from the CPU's maps and scores: {difference(gpu, cpu):.1e}.")
        failed = failures(cpu, gpu, auto, arguments.device)
        for line in failed:
            print(f"does not hold: {line}", file=sys.stderr, flush=True)
        print_latency(setup, arguments.device, arguments.batches)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
