"""`python -m harness`: the Hydra app behind one-line errors, exit statuses and paths of any spelling."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from harness import __version__
from harness.cli.command import run_script
from harness.cli.interruption import INTERRUPTED, TERMINATED, raise_if_interrupted
from harness.errors import RequestError, StoreError, UserError

if TYPE_CHECKING:
    from harness.config.overrides import Override

logger = logging.getLogger("harness.__main__")
"""By its name: as `python -m harness` this module is `__main__`."""


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for; return 0 all ok, 1 a run failed, 2 the request was wrong, 130 interrupted."""
    kept = ": finished runs are kept; the same command goes on with the rest"
    return run_script(lambda: _status(argv), when_stopped=kept)


def _status(argv: Sequence[str]) -> int:
    try:
        return _run(argv)
    except Exception as error:
        raise_if_interrupted()
        if not isinstance(error, UserError):
            raise
        logger.debug("where the error below comes from", exc_info=error)
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, StoreError) else 2


def _run(argv: Sequence[str]) -> int:
    from harness.config.overrides import parse, quote, split_flags

    try:
        os.getcwd()  # Hydra cannot do without one
    except FileNotFoundError:
        raise RequestError("the working folder was removed; cd to one that is there and start again") from None
    flags, overrides = split_flags(argv)
    if "--version" in flags:
        print(__version__)
        return 0
    own, hydra = parse([quote(override) for override in overrides])
    if not flags or flags == ["--multirun"]:
        from harness.execution.sweep import prepare

        own = prepare(own)
        flags = ["--multirun"]  # one way through the code: a single run is a sweep of one job
    return _call_hydra(flags, own, hydra)


def _call_hydra(flags: Sequence[str], own: Sequence[Override], hydra_arguments: Sequence[str]) -> int:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from harness.config.keys import register
    from harness.execution.monitor import exit_status
    from harness.execution.sweep import finished
    from harness.paths import CONFIGS

    register()
    OmegaConf.register_new_resolver("harness_help", help_text, replace=True)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, instead of printing ten lines and leaving
    sys.argv = ["harness", *flags, *(override.hydra() for override in own), *hydra_arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(_no_task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise RequestError(_one_line(error)) from None
    return exit_status(finished()) if "--multirun" in flags else 0


def _no_task(_config: object) -> None:
    """Do nothing: Hydra wants a task, but the sweeper does all the work."""


def _one_line(error: Exception) -> str:
    """Return the first line of what Hydra or OmegaConf says, with the key it is about."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    key = getattr(error, "full_key", None)
    said = first.rstrip(".")
    return f"{key}: {said}" if key and str(key) not in first else said


def help_text() -> str:
    """Return the help page: what it does, three commands, every key."""
    from harness.config.keys import help_text as keys_help

    return f"""Anomaly detection on images of industrial parts: metrics, intervals and a record per run.

  .venv/bin/python -m harness dataset=mvtec dataset.root=PATH category=bottle
  .venv/bin/python -m harness experiment=table1_mvtec dataset.root=PATH
  .venv/bin/python -m harness dataset=mvtec dataset.root=PATH category=all dry_run=true

Keys, each with what its value may be; several values with commas make a sweep:
{keys_help()}

Flags: --help, --cfg job (print the configuration), --version, --hydra-help
Exit status: 0 all ok, 1 a run failed, 2 the request was wrong,
  130 interrupted (Ctrl-C), 143 terminated
"""


def leave(status: int) -> NoReturn:
    """End this process with a status that says how the work ended, whatever signals come meanwhile.

    Python's normal shutdown is skipped: with torch it takes a second, and after a Ctrl-C inside an `exec`, which
    libraries do while they are imported, Python would end with SIGINT even where the KeyboardInterrupt was caught.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if status not in (INTERRUPTED, TERMINATED):
        atexit._run_exitfuncs()
    os._exit(status)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
