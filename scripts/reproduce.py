"""Reproduce the paper: images, the sweeps of Tables 1 to 4, then tables, figures and the page.

It says first what it will do. What is done is not done again, so the same command goes on after
any interruption. Images that are not there leave their numbers `not run`, and the rest goes on.
Exit status: 0 all that could be run is there, 1 a run or a download failed, 2 a wrong request, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.command import Parser, one_line_errors, run_script
from harness.errors import RequestError
from harness.interruption import INTERRUPTED
from harness.keys import KEYS, LAUNCHERS, PROJECT
from harness.terminal import printable

if TYPE_CHECKING:
    from harness.store.overview_text import Block


def _parser() -> Parser:
    parser = Parser(
        prog="scripts/reproduce.py",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("DATA_ROOT") or None,
        help="a folder with mvtec, visa and btad in it (default: the environment variable DATA_ROOT)",
    )
    parser.add_argument("--download", action="store_true", help="first fetch the datasets that are not there")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--seeds", type=_seeds, default=(42,), metavar="N,N,...", help="default: 42")
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="basic",
        help="how its jobs are run: basic, one after the other (default)",
    )
    parser.add_argument("--store", type=Path, default=PROJECT / "results", help="default: results")
    parser.add_argument(
        "--weights", type=_weights, action="append", default=[], metavar="BACKBONE=PATH",
        help="a backbone's weights by hand, where timm's hub cannot be reached; repeatable",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the plan, and stop")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = [KEYS["seed"].check(int(part)) for part in re.split(r"[,\s]+", text.strip(" []"))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds such as 42 or 0,1,2") from None
    return tuple(dict.fromkeys(seeds))


def _weights(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not path or name not in KEYS["backbone"].allowed.split(", "):
        allowed = KEYS["backbone"].allowed
        raise argparse.ArgumentTypeError(f"{text!r} is no BACKBONE=PATH; backbones: {allowed}")
    return name, path


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 all that could be run is there, 1 something failed, 2 a wrong request, 130 interrupted."""
    try:
        return _reproduce(_parser().parse_args(argv))
    except KeyboardInterrupt:
        print("interrupted: tables, figures and page are as they were; the same command goes on", file=sys.stderr)
        return INTERRUPTED


def _reproduce(arguments: argparse.Namespace) -> int:
    if arguments.data_root is None:
        raise RequestError("no DATA_ROOT: give --data-root PATH, or set the environment variable DATA_ROOT")
    from harness.launch.hardware import require
    from harness.reproduce.plan import Request
    from harness.reproduce.steps import reproduce

    require(arguments.launcher)
    request = Request(
        data_root=arguments.data_root,
        store=arguments.store,
        seeds=arguments.seeds,
        device=arguments.device,
        launcher=arguments.launcher,
        weights=dict(arguments.weights),
    )
    return reproduce(request, download=arguments.download, dry_run=arguments.dry_run, show=_show, say=_say)


def _show(content: Iterable[Block]) -> None:
    from harness.store.overview_text import write

    write(content)
    sys.stdout.flush()


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_script(main))
