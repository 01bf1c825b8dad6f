"""Measure the harness beside anomalib's own Engine, in fresh processes that take turns; medians and ratios.

Results go to results/bench/, one file a section; docs/benchmarks.md and its figure are made from them. Without
--data-root the mini benchmark's bottle is drawn, enlarged to 900 x 900. Let nothing else run meanwhile.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.arguments import Parser
from harness.bench.process import BenchError
from harness.bench.sections import QUICK, SECTIONS
from harness.errors import RequestError, UserError
from harness.keys import PROJECT
from harness.streams import run_script

DOCUMENT = PROJECT / "docs" / "benchmarks.md"
KEPT = PROJECT / "results" / "bench"
"""Where the committed results are, of which the document is made."""


def _parser() -> Parser:
    parser = Parser(prog="scripts/bench.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data-root", type=Path, help="a folder that holds mvtec/bottle: real images")
    parser.add_argument("--weights", default="random", help="of ResNet-18: random, package, timm or a file")
    parser.add_argument("--repeats", type=int, default=3, help="how often everybody has a turn (default: 3)")
    parser.add_argument(
        "--only", default=",".join(QUICK), help=f"sections with commas, of {', '.join(SECTIONS)} (default: %(default)s)"
    )
    parser.add_argument("--limit", type=int, help="at most so many images: to try the tools, not to measure")
    parser.add_argument("--out", type=Path, help="where results go (default: results/bench; none with --limit)")
    parser.add_argument("--docs", action="store_true", help="measure nothing; write docs/benchmarks.md anew")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, 1 where a process failed or two sides gave different numbers, 2 on a wrong request."""
    try:
        arguments = _parser().parse_args(argv)
        sections = _sections(arguments.only)
        if arguments.repeats < 1 or (arguments.limit is not None and arguments.limit < 2):
            raise RequestError("--repeats must be at least 1, --limit at least 2")
        out = arguments.out.resolve() if arguments.out else None if arguments.limit else KEPT
        if arguments.docs and out != KEPT:
            raise RequestError("--docs: makes the page of results/bench; give neither --limit nor --out with it")
        try:
            if not arguments.docs:
                _measure(arguments, sections, out)
        finally:  # of the sections that were finished
            if out == KEPT:
                from harness.bench.document import write_document

                print(f"written: {', '.join(path.name for path in write_document(DOCUMENT, out))}")
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished sections are kept", file=sys.stderr)
        return 130
    return 0


def _sections(only: str) -> list[str]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in SECTIONS]
    if unknown or not names:
        raise RequestError(f"--only {only}: there are {', '.join(SECTIONS)}")
    return names


def _measure(arguments: object, sections: Sequence[str], out: Path | None) -> None:
    from harness.bench.document import summary
    from harness.bench.images import prepare_source
    from harness.bench.results import write_results
    from harness.bench.sections import Bench, check_weights

    asked = vars(arguments)
    weights, limit = asked["weights"], asked["limit"]
    check_weights(weights)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        source = prepare_source(asked["data_root"], folder, limit=limit)
        bench = Bench(
            source, folder, lambda line: print(line, flush=True), weights=weights, repeats=asked["repeats"], limit=limit
        )
        for name in sections:
            print(f"-- {name}", flush=True)
            results = SECTIONS[name](bench)
            print(summary(results))
            if out is not None:
                print(write_results(results, out).name)


if __name__ == "__main__":
    sys.exit(run_script(main))
