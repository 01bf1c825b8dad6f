"""Reproduce a paper: run the sweeps of its tables, then make tables, figures and the page.

The plan is printed first. Finished runs are not repeated, so the same command continues after an interruption. Where
images are missing the numbers stay `not run`, and the rest goes on.
Exit status: 0 everything that could run is done, 1 a run or a download failed, 2 a wrong request, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.__main__ import leave
from harness.cli.command import Parser, one_line_errors, run_script, seeds, write
from harness.config.keys import KEYS
from harness.errors import RequestError, printable
from harness.papers.reading import load_published
from harness.paths import PROJECT


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    root = os.environ.get("DATA_ROOT") or None
    parser.add_argument("--data-root", type=Path, default=root, help="holds mvtec, visa, btad (default: $DATA_ROOT)")
    parser.add_argument("--paper", metavar="ID", help="a folder of results/papers (default: the one that says so)")
    parser.add_argument("--download", action="store_true", help="first download the datasets that are missing")
    parser.add_argument("--device", choices=KEYS["device"].words, default="auto", help="default: auto")
    parser.add_argument("--seeds", type=seeds, metavar="N,N-N,...", help="default: those of paper.toml")
    parser.add_argument("--launcher", choices=KEYS["launcher"].words, default="basic", help="default: basic")
    parser.add_argument("--store", type=Path, default=PROJECT / "results", help="default: results")
    parser.add_argument(
        "--weights", type=_weights, action="append", default=[], metavar="BACKBONE=PATH",
        help="a weights file for this backbone, if timm's hub cannot be reached; repeatable",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    arguments = vars(parser.parse_args(argv))
    if arguments["data_root"] is None:
        raise RequestError("no DATA_ROOT: give --data-root PATH, or set the environment variable DATA_ROOT")
    from harness.execution.hardware import require
    from harness.reproduce.plan import Request
    from harness.reproduce.steps import reproduce

    require(arguments["launcher"])
    arguments["paper"] = load_published(arguments["paper"])
    arguments["seeds"] = arguments["seeds"] or arguments["paper"].about.seeds
    download, dry_run = arguments.pop("download"), arguments.pop("dry_run")
    request = Request(**arguments | {"weights": dict(arguments["weights"])})
    return reproduce(request, download=download, dry_run=dry_run, show=write, say=_say)


def _weights(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not path or name not in KEYS["backbone"].words:
        raise argparse.ArgumentTypeError(f"{text!r} is not BACKBONE=PATH; backbones: {KEYS['backbone'].allowed}")
    return name, path


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    leave(run_script(main))
