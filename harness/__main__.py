"""`python -m harness`: the Hydra app behind one-line errors, exit statuses and paths of any spelling."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from harness import __version__
from harness.errors import RequestError, UserError
from harness.keys import CONFIGS, KEYS

INTERRUPTED, TERMINATED = 130, 143


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for; return 0 all ok, 1 a run failed, 2 the request was wrong, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished runs are kept; the same command goes on with the rest", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:
        if stop.code == TERMINATED:
            print("terminated: finished runs are kept; the same command goes on with the rest", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _run(argv: Sequence[str]) -> int:
    from harness.overrides import parse, quote, split_flags

    flags, overrides = split_flags(argv)
    if "--version" in flags:
        print(__version__)
        return 0
    own, hydra = parse([quote(override) for override in overrides])
    arguments = [override.hydra() for override in own] + hydra
    if not flags or set(flags) <= {"-m", "--multirun"}:
        _refuse_early(own)
        flags = ["--multirun"]  # one way through the code: a single run is a sweep of one job
    return _call_hydra(flags, arguments)


def _refuse_early(own: Sequence[Any]) -> None:
    """Expand the sweep once before Hydra starts, so that what it cannot mean is said at once."""
    from harness.experiment import expand

    expand(own)


def _call_hydra(flags: Sequence[str], arguments: Sequence[str]) -> int:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from harness.outcome import exit_status
    from harness.overrides import Override, parse
    from harness.resolve import DEFAULT_STORE
    from harness.schema import register
    from harness.sweep import finished

    register()
    OmegaConf.register_new_resolver("harness_help", help_text, replace=True)
    store = next((o.values[0] for o in parse(arguments)[0] if o.key == "store"), str(DEFAULT_STORE))
    scratch = Override("hydra.sweep.dir", (str(Path(store) / ".hydra"),)).hydra()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, instead of printing ten lines and leaving
    sys.argv = ["harness", *flags, *arguments, scratch]
    app = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(task)
    try:
        app()
    except (HydraException, OmegaConfBaseException) as error:
        raise RequestError(_one_line(error)) from None
    return exit_status(finished()) if "--multirun" in flags else 0


def task(config: Any) -> Any:
    """One job: the harness's part of Hydra's task function; it never exits."""
    from hydra.core.hydra_config import HydraConfig

    from harness.sweep import carry_out_job

    return carry_out_job(config, protocol_name=str(HydraConfig.get().runtime.choices["protocol"]))


def _one_line(error: Exception) -> str:
    """The first line of what Hydra or OmegaConf says, with the key it is about."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    key = getattr(error, "full_key", None)
    return f"{key}: {first}" if key and str(key) not in first else first


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
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if status in (INTERRUPTED, TERMINATED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
