"""Measure the harness beside anomalib's own Engine, in fresh processes that take turns, and judge what must hold.

With --data-root the results go to results/bench/, one file a section, and docs/benchmarks.md is made from them. Without
it images are drawn and nothing is written. Let nothing else run meanwhile.
Exit status: 0 every bound holds, 1 one does not, or a process failed, 2 the request was wrong.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import KEPT, bound_rows, results_now, write_page, write_results
from benchmarks.sections import SECTIONS, Bench
from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import RequestError


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--data-root", type=Path, help="a folder that holds mvtec/bottle: real images")
    parser.add_argument("--weights", type=Path, help="a file of ResNet-18's weights (default: random ones)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each contestant is measured (default: 3)")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections with commas (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="only so many drawn images: to try the tools, not to measure")
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise RequestError(f"--only {arguments.only}: {unknown[0]} is no section; there are {', '.join(SECTIONS)}")
    if arguments.repeats < 1:
        raise RequestError("--repeats must be at least 1")
    if arguments.weights and not arguments.weights.is_file():
        raise RequestError(f"--weights {arguments.weights}: there is no such file")
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        options = {"repeats": arguments.repeats, "limit": arguments.limit}
        bench = Bench(Path(scratch), arguments.data_root, arguments.weights, **options)
        for name in names:
            print(f"-- {name}", flush=True)
            results[name] = results_now(name, SECTIONS[name](bench))
            if arguments.data_root and arguments.limit is None:
                write_results(results[name], KEPT)
                write_page()
    if arguments.limit is not None:  # what must hold, holds for the whole
        print(f"{arguments.limit} images: no bound applies")
        return 0
    rows = bound_rows(results)
    for what, limit, measured, verdict in rows:
        print(f"{verdict:6}  {what}: {measured} ({limit})")
    return 1 if any(row[-1] != "held" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
