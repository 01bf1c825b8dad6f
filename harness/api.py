"""The harness from Python: the same requests as on the command line, with records as the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from harness.store import RunRecord


def run(settings: Mapping[str, Any]) -> RunRecord:
    """Do one run, unless the store has it already, and return its record: `ok`, or `failed` with its error.

    Args:
        settings: key -> value, both as on the command line: `{"category": "bottle", "model.epsilon": 0.1}`.

    Raises:
        RequestError: the request is wrong, or means several runs (then take `sweep`).
        StoreError: the store cannot be read or written.
    """
    from harness.errors import RequestError

    records = sweep(settings)
    if len(records) != 1:
        raise RequestError(f"these settings mean {len(records)} runs; take harness.sweep")
    return records[0]


def sweep(settings: Mapping[str, Any], over: Mapping[str, Sequence[Any]] | None = None) -> list[RunRecord]:
    """Do all runs that settings mean, and return their records, in the order of the runs.

    A line for each run and a table go to the terminal, as from the command line.

    Args:
        settings: as of `run`; with an `experiment` several runs.
        over: key -> values: every combination of them is a run.

    Raises:
        RequestError: the request is wrong; nothing has run.
        StoreError: the store cannot be read or written.
    """
    from harness.config.overrides import parse, quote
    from harness.errors import RequestError
    from harness.execution.monitor import REFUSED
    from harness.execution.sweep import carry_out, prepare, requested
    from harness.store.fields import RECORD
    from harness.store.record import load_record

    given = [f"{key}={_text(key, value)}" for key, value in settings.items()]
    given += [f"{key}={','.join(_text(key, value) for value in values)}" for key, values in (over or {}).items()]
    own = prepare(parse([quote(argument) for argument in given])[0])
    request = requested([override.hydra() for override in own], compose=_compose)
    outcomes = carry_out(request)
    for outcome in outcomes:
        if outcome.status == REFUSED:
            raise RequestError(f"{outcome.label}: {outcome.error}")
    stores = [job.execution.store for job in request.jobs for _ in job.runs]
    folders = [store / (outcome.folder or "") for store, outcome in zip(stores, outcomes, strict=True)]
    return [load_record(folder / RECORD) for folder in folders]


def _text(key: str, value: Any) -> str:
    """Write a value as the command line takes it."""
    from harness.config.keys import KEYS
    from harness.config.overrides import render

    is_path = key in KEYS and KEYS[key].option.path
    return str(value) if is_path or (isinstance(value, str) and key != "category") else render(value)


def _compose(overrides: Sequence[str]) -> tuple[DictConfig, str]:
    """Compose a job's configuration; return it, and which protocol file it began with."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from harness.config.keys import register
    from harness.paths import CONFIGS

    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    protocol_name = str(config.hydra.runtime.choices.protocol)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), protocol_name
