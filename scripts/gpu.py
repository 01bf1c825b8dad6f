"""Check and measure the harness on a GPU: parity with the CPU, repeatability, copies, memory, latency, throughput.

Exit status: 0 everything holds, 1 a check or a process failed, 2 the request was wrong, 3 there is no GPU and nothing
was run.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.arguments import Parser
from harness.bench.process import BenchError
from harness.device import resolve_device
from harness.errors import RequestError, UserError
from harness.keys import PROJECT
from harness.streams import run_script

NOT_RUN = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = Parser(prog="scripts/gpu.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data-root", type=Path, help="a folder that holds mvtec/bottle (default: drawn images)")
    parser.add_argument("--weights", default="random", help="of ResNet-18: random, package, timm or a file")
    parser.add_argument("--repeats", type=int, default=3, help="of what is timed (default: 3)")
    parser.add_argument("--batches", type=int, default=200, help="timed for each batch size (default: 200)")
    parser.add_argument("--limit", type=int, help="at most so many images: to try the script, not to measure")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the script without a GPU")
    parser.add_argument(
        "--out",
        type=Path,
        help="where gpu.json goes, and below it partial/gpu.json meanwhile (default: results/bench on a GPU)",
    )
    try:
        arguments = parser.parse_args(argv)
        if min(arguments.repeats, arguments.batches) < 1 or (arguments.limit is not None and arguments.limit < 2):
            raise RequestError("--repeats and --batches must be at least 1, --limit at least 2")
        try:
            resolve_device(arguments.device)
        except RequestError:
            print("gpu: not run: this machine has no CUDA device that torch can use; nothing was checked or measured")
            return NOT_RUN
        return _measure(arguments)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what was measured by then is in OUT/partial, if anything was", file=sys.stderr)
        return 130


def _measure(arguments: object) -> int:
    from harness.bench.gpu import measure_gpu
    from harness.bench.gpu_report import gpu_markdown
    from harness.bench.images import prepare_source
    from harness.bench.results import write_results
    from harness.bench.sections import Bench, check_weights

    asked = vars(arguments)
    check_weights(asked["weights"])
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder, limit = Path(scratch), asked["limit"]
        source = prepare_source(asked["data_root"], folder, limit=limit)
        say = lambda line: print(line, flush=True)  # noqa: E731
        bench = Bench(source, folder, say, weights=asked["weights"], repeats=asked["repeats"], limit=limit)
        measured_properly = asked["device"] == "cuda" and not limit
        out = asked["out"] or (PROJECT / "results" / "bench" if measured_properly else None)
        for results, failed in measure_gpu(bench, device=asked["device"], n_batches=asked["batches"]):
            if out:  # as soon as there is something: a rented machine may be taken away
                write_results(results, out / "partial")
            for line in failed if not results.settings["repeats"] else []:
                print(f"does not hold: {line}", file=sys.stderr, flush=True)
    print(gpu_markdown(results))
    if out:
        write_results(results, out)
        shutil.rmtree(out / "partial")
        print("gpu.json\nscripts/bench.py --docs puts it into docs/benchmarks.md")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
