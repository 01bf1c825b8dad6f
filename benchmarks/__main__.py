"""Measure the harness beside anomalib's own Engine, in fresh processes that take turns, and judge what must hold.

With --data-root the results go to results/bench/, one file a section, and docs/benchmarks.md is made from them. Without
it images are drawn and nothing is written. Let nothing else run meanwhile.
Exit status: 0 every bound holds, 1 one does not, or a process failed, 2 the request was wrong.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.images import drawn_source, real_source
from benchmarks.measure import BenchError
from benchmarks.report import KEPT, bound_rows, machine, today, write_page, write_results
from benchmarks.sections import SECTIONS, Bench, Results
from harness.command import Parser, one_line_errors, run_script
from harness.errors import RequestError


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = Parser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data-root", type=Path, help="a folder that holds mvtec/bottle: real images")
    parser.add_argument("--weights", type=Path, help="a file of ResNet-18's weights (default: random ones)")
    parser.add_argument("--repeats", type=int, default=3, help="how often everybody has a turn (default: 3)")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections with commas (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="at most so many images: to try the tools, not to measure")
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise RequestError(f"--only {arguments.only}: {unknown[0]} is no section; there are {', '.join(SECTIONS)}")
    if arguments.repeats < 1 or (arguments.limit is not None and arguments.limit < 2):
        raise RequestError("--repeats must be at least 1, --limit at least 2")
    if arguments.weights and not arguments.weights.is_file():
        raise RequestError(f"--weights {arguments.weights}: there is no such file")
    try:
        results = _measure(names, arguments.data_root, arguments.weights, arguments.repeats, arguments.limit)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.limit is not None:  # what must hold, holds for the whole
        print(f"at most {arguments.limit} images: no bound is for this")
        return 0
    rows = bound_rows(results)
    for what, limit, measured, verdict in rows:
        print(f"{verdict:6}  {what}: {measured} ({limit})")
    return 1 if any(row[-1] != "held" for row in rows) else 0


def _measure(
    names: Sequence[str], data_root: Path | None, weights: Path | None, repeats: int, limit: int | None
) -> dict[str, Results]:
    """The sections; each is written as soon as it is finished, if it is of the whole real category."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        sizes = () if limit is None else (limit, 2 * limit)
        source = real_source(data_root) if data_root else drawn_source(Path(scratch, "drawn"), *sizes)
        bench = Bench(source, Path(scratch), weights, repeats, limit)
        for name in names:
            print(f"-- {name}", flush=True)
            settings, measured = SECTIONS[name](bench)
            results[name] = Results(name, settings, machine(), today(), measured)
            if data_root and limit is None:
                write_results(results[name], KEPT)
                write_page()
    return results


if __name__ == "__main__":
    sys.exit(run_script(main))
