"""Run one request on the CPU and on the GPU, and compare maps, scores, time and memory.

Prints Markdown for docs/benchmarks.md, each line as soon as it is known.
Exit status: 0 both agree, 1 they do not or a process failed, 2 a wrong request, 3 no GPU, so nothing was run.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measure import BenchError, once
from benchmarks.sections import Bench, Setup, ours
from harness.cli.command import Parser, one_line_errors, run_script
from harness.device import resolve_device
from harness.errors import RequestError
from harness.store.scores import read_examples, read_scores

NOT_RUN = 3
PARITY = 1e-4
"""Largest allowed relative difference of maps and scores between GPU and CPU."""


class Outcome(NamedTuple):
    """The maps and scores that one whole run wrote."""

    maps: np.ndarray
    """(k, H, W) float32, of the few images whose maps a run keeps."""
    scores: np.ndarray
    """(n_test,) float64."""


def difference(one: Outcome, other: Outcome) -> float:
    """Find the largest difference of maps and scores, relative to `other`; infinite where their shapes differ."""
    if any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return float("inf")
    pairs = zip(one, other, strict=True)
    return max(float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-6), initial=0.0)) for a, b in pairs)


def whole_run(setup: Setup, folder: Path, device: str) -> Outcome:
    """Run the request on a device in a fresh process, with its store below `folder`, and print its time and memory.

    Raises:
        BenchError: the run failed or wrote no maps.
    """
    words = ours(setup, device=device, full=True)(folder)
    measured = once(device, lambda _: words)
    (path,) = folder.rglob("record.json")
    record = json.loads(path.read_text("utf-8"))
    examples = read_examples(path.parent / "examples.npz")
    if examples is None:
        raise BenchError("a run wrote no maps")
    cells = [f"{measured.seconds:.1f}", f"{record['timing']['images_per_second']:.0f}"]
    for kind in ("rss", "device"):
        numbers = record["memory"][f"peak_{kind}_bytes"], record["plan"][f"predicted_{kind}_bytes"]
        cells += ["" if number is None else f"{number / 2**20:.0f}" for number in numbers]
    print(f"| {device} | {' | '.join(cells)} |", flush=True)
    return Outcome(examples["anomaly_maps"], read_scores(path.parent / "scores.csv").scores)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--data-root", type=Path, help="a folder that holds mvtec/bottle (default: drawn images)")
    parser.add_argument("--weights", type=Path, help="a file of ResNet-18's weights (default: random weights)")
    parser.add_argument("--limit", type=int, help="use at most N images, to try the script", metavar="N")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the script without a GPU")
    arguments = parser.parse_args(argv)
    try:
        resolve_device(arguments.device)
    except RequestError:
        print("gpu: not run: this machine has no CUDA device that torch can use; nothing was checked or measured")
        return NOT_RUN
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        bench = Bench(Path(scratch), arguments.data_root, arguments.weights, limit=arguments.limit)
        setup = bench.setup()
        print(f"{bench.label}, {setup.n_train} training and {setup.n_test} test images.\n")
        print("| device | seconds | images a second | host, MiB | predicted | GPU, MiB | predicted |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        cpu = whole_run(setup, Path(scratch, "first"), "cpu")
        gpu = whole_run(setup, Path(scratch, "second"), arguments.device)
    found = difference(gpu, cpu)
    print(f"\nLargest relative difference from the CPU's maps and scores: {found:.1e}.")
    if not found <= PARITY:
        raise BenchError(f"maps or scores differ from the CPU's by {found:.2g}, relatively; not {PARITY:g}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
