"""Experiments: lists of grids, read from configs/experiment and filtered by the command line."""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.config import keys
from harness.config.keys import KEYS
from harness.config.overrides import Override, render
from harness.data.catalog import CATALOG
from harness.errors import RequestError
from harness.paths import CONFIGS

FILTERED = ("dataset", "category", "backbone")
"""On the command line these choose among what the grids hold; every other key overrides what a grid says."""

IN_ONE_JOB = ("seeds", *keys.FOLDED)
"""Values of these are folded into one job."""

ALL = "all"


@dataclass(frozen=True)
class Experiment:
    """A named list of grids; each grid maps keys to the values that its product runs over."""

    name: str
    title: str
    seeds: tuple[int, ...]
    grids: tuple[Mapping[str, tuple[Any, ...]], ...]


def load_experiment(name: str) -> Experiment:
    """Read configs/experiment/NAME.yaml.

    Raises:
        RequestError: the file does not say what an experiment must, naming the key.
    """
    path = CONFIGS / "experiment" / f"{name}.yaml"
    where = f"configs/experiment/{path.name}"
    try:
        node: Any = OmegaConf.to_container(OmegaConf.load(path).experiment)
        seeds = _checked("seeds", list(node["seeds"]), where)
        grids = tuple(_grid(grid, where) for grid in node["grids"])
        return Experiment(name=str(node["name"]), title=str(node["title"]), seeds=tuple(seeds), grids=grids)
    except RequestError:
        raise
    except Exception as error:  # whatever a file may hold
        raise RequestError(f"{where}: is not an experiment ({error}); see CONTRIBUTING.md") from None


def _grid(grid: Mapping[str, Any], where: str) -> dict[str, tuple[Any, ...]]:
    for key in FILTERED:
        if key not in grid:
            raise RequestError(f"{where}: a grid has no {key}")
    values = {key: value if isinstance(value, list) else [value] for key, value in grid.items()}
    for key, each in values.items():
        if not each:  # no runs at all, and in silence
            raise RequestError(f"{where}: {key} has no values; give one, or leave the key out")
    return {key: tuple(_checked(key, value, where) for value in each) for key, each in values.items()}


def _checked(key: str, value: Any, where: str) -> Any:
    if key not in KEYS and (new := keys.renamed(key)):
        raise RequestError(f"{where}: {key} is called {new} now")
    if key not in KEYS:
        raise RequestError(f"{where}: {key} is not a key of a request; allowed: {', '.join(KEYS)}")
    try:
        return keys.check_value(key, value)
    except ValueError:
        hint = " (quote it: a category is a string)" if key == "category" else ""
        raise RequestError(f"{where}: {key}={value}: is not allowed{hint}; allowed: {KEYS[key].allowed}") from None


def expand(overrides: Sequence[Override]) -> list[dict[str, Any]]:
    """Return the jobs that a command line means: each maps keys to one value, with the folded keys as lists.

    Without an experiment they are the product of all swept keys; with one the union of its grids, in their order, each
    narrowed to the datasets, categories and backbones of the command line.

    Raises:
        RequestError: a value on the command line is in none of the grids, or there is no category.
    """
    given = {override.key: override.values for override in overrides}
    names = given.pop("experiment", ())
    folded = _folded(given)
    jobs: list[dict[str, Any]] = []
    if not names:
        if "category" not in given:
            raise RequestError("category: is not given; give category=NAME, or experiment=NAME for a whole table")
        return _checked_models(_unique([each | folded for job in _product(given) for each in _by_category(job)]))
    if given.get("category") == (ALL,):
        del given["category"]  # all that the experiments have
    experiments = [load_experiment(name) for name in names]
    _refuse_unmatched(given, experiments)
    for experiment in experiments:
        seeds = {"seeds": list(experiment.seeds)} | folded
        for grid in experiment.grids:
            axes, own_fold = _merge(grid, given)
            jobs += [{"experiment": experiment.name} | job | own_fold | seeds for job in _product(axes)]
    return _checked_models(_unique(jobs))


def _checked_models(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for job in jobs:
        keys.check_model_keys(job.get("model") or keys.default_option("model"), job)
    return jobs


def _by_category(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a job for each category where all are asked for; of a folder of one's own, one for each sub-folder."""
    if job["category"] != ALL:
        return [job]
    dataset = job.get("dataset") or keys.default_option("dataset")
    if dataset in CATALOG:
        names = list(CATALOG[dataset].categories)
    else:
        root = Path(job.get("dataset.root") or Path(job.get("data_root") or os.environ.get("DATA_ROOT", ".")) / dataset)
        names = sorted(each.name for each in root.glob("[!.]*/"))
        if not names:
            raise RequestError(f"category=all: {root} holds no folder; name the category, or give another dataset.root")
        from harness.data.tree import is_category

        if is_category(root):
            raise RequestError(f"category=all: {root} is a category itself; give dataset.root={root.parent}")
        if other := [name for name in names if not is_category(root / name)]:
            raise RequestError(f"category=all: {root / other[0]} does not look like a category; name those that are")
    return [job | {"category": name} for name in names]


def _folded(given: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Take the folded keys out of `given`: a list where there are several values, else the value itself."""
    if "seed" in given:
        given["seeds"] = tuple([seed] for seed in given.pop("seed"))
    return {key: _fold(key, given.pop(key)) for key in IN_ONE_JOB if key in given}


def _fold(key: str, values: Iterable[Any]) -> Any:
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    distinct = list(dict.fromkeys(flat))
    return distinct if len(distinct) > 1 or key == "seeds" else distinct[0]


def _merge(
    grid: Mapping[str, tuple[Any, ...]], given: Mapping[str, tuple[Any, ...]]
) -> tuple[dict[str, tuple[Any, ...]], dict[str, Any]]:
    """Apply the command line to one grid; return its axes, and what it folds itself."""
    axes = dict(grid)
    for key, values in given.items():
        axes[key] = tuple(value for value in grid[key] if value in values) if key in FILTERED else values
    own_fold = {key: _fold(key, axes.pop(key)) for key in IN_ONE_JOB if key in axes}
    return axes, own_fold


def _product(axes: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _unique(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen: dict[str, dict[str, Any]] = {}
    for job in jobs:
        seen.setdefault(repr(sorted((key, value) for key, value in job.items() if key != "experiment")), job)
    return list(seen.values())


def _refuse_unmatched(given: Mapping[str, tuple[Any, ...]], experiments: Sequence[Experiment]) -> None:
    grids = [grid for experiment in experiments for grid in experiment.grids]
    names = ",".join(experiment.name for experiment in experiments)
    for key in FILTERED:
        offered = list(dict.fromkeys(value for grid in grids for value in grid[key]))
        for value in given.get(key, ()):
            if value not in offered:
                raise RequestError(f"{key}={value}: not in experiment {names}; it has: {', '.join(offered)}")
    narrowed = [grid for grid in grids if all(set(grid[key]) & set(given.get(key, grid[key])) for key in FILTERED)]
    if not narrowed:
        asked = " ".join(f"{key}={','.join(given[key])}" for key in FILTERED if key in given)
        raise RequestError(f"{asked}: no grid of experiment {names} has this combination")


def to_hydra(job: Mapping[str, Any]) -> list[str]:
    """Return a job's overrides as Hydra reads them."""
    return [f"{key}={render(value)}" for key, value in job.items()]
