"""Commands that reproduce the parts of a report, and each of its runs, as a reader can paste them into a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.config.keys import DEFAULTS, group_options, protocol_settings
from harness.papers.model import EXPERIMENTS, SEEDS, Edition
from harness.store.settings import flat, shown

if TYPE_CHECKING:
    from harness.store.record import RunRecord

PYTHON = ".venv/bin/python"

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def part_commands(edition: Edition, seeds: Iterable[int]) -> tuple[tuple[str, str], ...]:
    """Return what each command makes, and the command: for all of the report at once, and for each part of it.

    Args:
        seeds: those in the report, for the sweeps.
    """
    drawing = (
        ("Tables, figures and this page from the store, without torch", "make tables figures report"),
        ("Proof that committed tables and figures are what the committed store gives", "make verify"),
    )
    if edition.synthetic:
        return (
            ("Everything on this page: runs, tables, figures, page", "make smoke"),
            ("The runs alone", f"{PYTHON} -m harness experiment=smoke"),
            *drawing,
        )
    listed = ",".join(str(seed) for seed in sorted(set(seeds) or SEEDS))
    sweeps = tuple(
        (f"The runs of Table {number}", f"{PYTHON} -m harness experiment={name} data_root=DATA_ROOT {_seeds(listed)}")
        for number, name in EXPERIMENTS.items()
    )
    return (
        (
            "Everything on this page, from the images; a run that is in the store is not done again",
            f"make reproduce DATA_ROOT=PATH SEEDS={listed}",
        ),
        ("The published archive of a dataset, checked", f"{PYTHON} scripts/data.py download mvtec --root DATA_ROOT"),
        *sweeps,
        *drawing,
        ("What the store has and what it lacks", "make status"),
    )


def _seeds(listed: str) -> str:
    return f"seed={listed}" if "," not in listed else shlex.quote(f"seeds=[{listed}]")


_SHARE = re.compile(r"\(share ([0-9.e-]+), chosen by content hash\)")
"""In the note that `harness.data.layouts` leaves where it split the good images itself."""
_WHITE = re.compile(r"have more than 8 bits: scaled so that ([0-9.e+-]+) becomes 255")
"""In the note that `harness.data.checks` leaves on images of more than 8 bits."""


def run_command(record: RunRecord) -> str:
    """Return the command that does one run again, with the same key on the same images and weights.

    `PATH` stands for what a record does not hold: where the images, or the file of weights, lie. The run goes into
    another store, since in its own it is already done.
    """
    spec = record.spec
    arguments = [f"dataset={spec.dataset}"]
    if not record.synthetic:
        arguments.append("dataset.root=PATH")
    arguments += [
        f"dataset.normal_test_share={share}" for note in record.dataset.notes for share in _SHARE.findall(note)
    ]
    arguments += [f"dataset.white_level={white}" for note in record.dataset.notes for white in _WHITE.findall(note)]
    if record.dataset.limit is not None:
        arguments.append(f"dataset.limit={record.dataset.limit}")
    arguments += [
        f"category={_name(spec.category)}",
        f"model={spec.model['name']}",
        f"backbone={spec.backbone.name}",
        *_weights(record.weights),
    ]
    arguments += [f"seed={spec.seed}", *_protocol(record)]
    arguments += [f"engine={spec.engine}"] if spec.engine != "streaming" else []
    arguments += [f"device={spec.device}", *_metrics(record), "store=out"]
    return f"{PYTHON} -m harness {' '.join(shlex.quote(argument) for argument in arguments)}"


def _name(category: str) -> str:
    """Write a category for Hydra: a plain name as it is, any other quoted, as for the command line."""
    if _PLAIN_NAME.fullmatch(category):
        return category
    from harness.config.overrides import render

    return render(category)


def _weights(label: str) -> list[str]:
    source, _, name = label.partition(": ")
    if source == "timm":
        return []
    return [f"backbone.weights=PATH/{name}" if source == "file" else f"backbone.weights={source}"]


def _protocol(record: RunRecord) -> list[str]:
    """Return the protocol by its name, and the fields in which the run differs from it."""
    spec, name = record.spec, record.protocol_name
    model = str(spec.model["name"])
    fields = flat({"preprocessing": spec.preprocessing.model_dump(), "model": spec.model})
    is_ours = name in group_options("protocol")
    base = protocol_settings(name, model=model, backbone=spec.backbone.name, dataset=spec.dataset) if is_ours else {}
    named = [f"protocol={name}"] if is_ours else []
    del fields["model.name"]
    return named + [f"{key}={shown(value)}" for key, value in fields.items() if base.get(key) != value]


def _metrics(record: RunRecord) -> list[str]:
    fields = record.metrics_settings.model_dump()
    return [f"metrics.{name}={shown(value)}" for name, value in fields.items() if DEFAULTS[f"metrics.{name}"] != value]
