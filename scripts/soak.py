"""Longer versions of tests/reliability, by hand: sweeps killed or interrupted, processes that write at once.

Exit status: 0 the store bore it, 1 it did not (said with the seed), 2 a wrong request.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.arguments import Parser
from harness.errors import UserError
from harness.keys import PROJECT


def _parser() -> Parser:
    parser = Parser(prog="scripts/soak.py", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="kill|interrupt|write")
    kill = commands.add_parser("kill", help="kill real processes of a sweep on drawn images, at random moments")
    kill.add_argument("--kills", type=int, default=100, help="default: 100")
    kill.add_argument("--together", type=int, default=1, help="sweeps at the same time on one store (default: 1)")
    stop = commands.add_parser("interrupt", help="interrupt real processes of such a sweep, and what they started")
    stop.add_argument("--times", type=int, default=10, help="half by Ctrl-C, half by SIGTERM (default: 10)")
    stop.add_argument("--launcher", default="basic", help="default: basic")
    write = commands.add_parser("write", help="write the same and different runs to one store from many processes")
    write.add_argument("--writers", type=int, default=8, help="default: 8")
    write.add_argument("--readers", type=int, default=2, help="default: 2")
    write.add_argument("--seconds", type=float, default=60.0, help="default: 60")
    write.add_argument("--locks", choices=("folder", "file"), default="folder", help="file: lock as on NFS")
    for one in (kill, stop, write):
        one.add_argument("--seed", type=int, default=random.randrange(2**32), help="of all chances (default: any)")
        one.add_argument("--folder", type=Path, help="an existing folder to work in, on the file system to be tested")
    return parser


def _kill(arguments: argparse.Namespace, base: Path) -> str:
    from tests.reliability.killing import REAL, Sweep, Torment, spawn, undisturbed

    reference = undisturbed(Sweep(REAL.arguments, base / "reference", REAL.n_runs), spawn)
    torment = Torment(
        Sweep(REAL.arguments, base / "rounds", REAL.n_runs),
        spawn,
        reference,
        kills=arguments.kills,
        seed=arguments.seed,
        together=arguments.together,
    )
    return torment.run().text()


def _interrupt(arguments: argparse.Namespace, base: Path) -> str:
    from tests.reliability.interrupting import interrupt
    from tests.reliability.killing import REAL, Sweep, spawn, undisturbed

    words = (*REAL.arguments, f"launcher={arguments.launcher}")
    seconds = undisturbed(Sweep(words, base / "reference", REAL.n_runs), spawn).seconds
    sweep = Sweep(words, base / "interrupted", REAL.n_runs)
    moments = {"earliest_s": 0.3, "latest_s": 0.9 * seconds}
    return interrupt(sweep, spawn, times=arguments.times, seed=arguments.seed, **moments).text()


def _write(arguments: argparse.Namespace, base: Path) -> str:
    from tests.reliability.writing import run, text

    how = {name: getattr(arguments, name) for name in ("seconds", "writers", "readers", "locks")}
    return text(run(base, seed=arguments.seed, **how), **how)


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 all held, 1 something did not, 2 a wrong request."""
    try:
        arguments = _parser().parse_args(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(PROJECT))
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=arguments.folder) as base:
        try:
            print({"kill": _kill, "interrupt": _interrupt, "write": _write}[arguments.command](arguments, Path(base)))
        except AssertionError as broken:
            print(f"broken: {broken}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
