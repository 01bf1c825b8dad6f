"""`python -m harness`: the Hydra app behind one-line errors, exit statuses and paths of any spelling."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from harness import __version__
from harness.errors import RequestError, StoreError, UserError
from harness.interruption import INTERRUPTED, TERMINATED, before_errors, listen
from harness.keys import CONFIGS, KEYS
from harness.streams import status_of_output, unbreakable_output

if TYPE_CHECKING:
    from harness.overrides import Override


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for; return 0 all ok, 1 a run failed, 2 the request was wrong, 130 interrupted."""
    try:
        listen()
        with unbreakable_output() as lost:
            status = _status(argv)
        return status_of_output(lost, status)
    except (KeyboardInterrupt, SystemExit) as stop:  # before the work or after it, or a second one while it ends
        return _stopped(stop)


def _status(argv: Sequence[str]) -> int:
    try:
        with before_errors():
            return _run(argv)
    except StoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit) as stop:
        return _stopped(stop)
    except FileNotFoundError:
        if _is_somewhere():
            raise
        print("error: the working folder was removed meanwhile; finished runs are kept: cd, and go on", file=sys.stderr)
        return 1


def _stopped(stop: KeyboardInterrupt | SystemExit) -> int:
    """Say why the work stopped, and return the exit status of that."""
    if isinstance(stop, KeyboardInterrupt):
        print("interrupted: finished runs are kept; the same command goes on with the rest", file=sys.stderr)
        return INTERRUPTED
    if stop.code == TERMINATED:
        print("terminated: finished runs are kept; the same command goes on with the rest", file=sys.stderr)
    return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2


def _is_somewhere() -> bool:
    """Whether the working folder is there; Hydra cannot do without one."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _run(argv: Sequence[str]) -> int:
    from harness.overrides import parse, quote, split_flags

    if not _is_somewhere():
        raise RequestError("the working folder was removed; go to one that is there (cd) and start again")
    flags, overrides = split_flags(argv)
    if "--version" in flags:
        print(__version__)
        return 0
    own, hydra = parse([quote(override) for override in overrides])
    if not flags or set(flags) <= {"-m", "--multirun"}:
        own = _prepare_sweep(own)
        flags = ["--multirun"]  # one way through the code: a single run is a sweep of one job
    return _call_hydra(flags, own, hydra)


def _prepare_sweep(own: list[Override]) -> list[Override]:
    """Expand the sweep once before Hydra starts, so that what it cannot mean is said at once; then divide the machine.

    Raises:
        RequestError: the sweep means nothing, or its launcher is not installed.
    """
    from harness.experiment import expand
    from harness.launch.hardware import divide, require, take_gpu, this_machine

    cluster = bool(os.environ.get("RAY_ADDRESS"))
    request = divide(own, n_jobs=len(expand(own)), machine=this_machine(), cluster=cluster)
    values = {override.key: override.values for override in request}
    require(values["launcher"][0])
    if values["launcher"] == ("basic",) and "cpu" not in values.get("device", ()):
        take_gpu()
    return request


def _call_hydra(flags: Sequence[str], own: Sequence[Override], hydra_arguments: Sequence[str]) -> int:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from harness.outcome import exit_status
    from harness.schema import register
    from harness.sweep import finished

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
    """Stand where Hydra wants a task: the sweeper does all the work."""


def _one_line(error: Exception) -> str:
    """The first line of what Hydra or OmegaConf says, with the key it is about."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    key = getattr(error, "full_key", None)
    said = first.rstrip(".")
    return f"{key}: {said}" if key and str(key) not in first else said


def help_text() -> str:
    """The help page: what it does, three commands, every key with its values."""
    width = max(len(key) for key in KEYS)
    keys = "\n".join(f"  {key:<{width}}  {entry.allowed}" for key, entry in KEYS.items())
    return f"""PaDiM on images of industrial parts: metrics, intervals and a record per run.

  python -m harness dataset=mvtec dataset.root=PATH category=bottle backbone=resnet18 seed=42
  python -m harness experiment=table1_mvtec dataset.root=PATH
  python -m harness dataset=mvtec dataset.root=PATH category=bottle,cable 'seeds=[0,1,2]' dry_run=true

Keys, each given as key=value; several values with commas make a sweep:
{keys}

Flags: --help, --cfg job (print the configuration), --multirun (never needed), --version, --hydra-help
Exit status: 0 all ok, 1 a run failed, 2 the request was wrong, 130 interrupted
"""


def leave(status: int) -> NoReturn:
    """End this process with a status that says how the work ended, whatever signals come meanwhile.

    After a Ctrl-C that came inside an `exec` (libraries do that while they are imported) Python ends by killing itself
    with SIGINT, even where the KeyboardInterrupt was caught; so an interrupted process leaves without Python's own end.
    So does one that has torch in it, once exit handlers have run: taking it apart takes Python a second.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupted = status in (INTERRUPTED, TERMINATED)
    if not interrupted and "torch" not in sys.modules:
        sys.exit(status)
    if not interrupted:
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
