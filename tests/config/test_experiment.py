"""Sweeps: what jobs a command line means, with and without an experiment."""

from __future__ import annotations

from typing import Annotated

import pytest
from omegaconf import OmegaConf

from harness.config import experiment
from harness.config.experiment import expand, load_experiment, to_hydra
from harness.config.keys import group_options
from harness.config.overrides import parse, quote
from harness.config.settings import Option
from harness.errors import RequestError
from harness.paths import CONFIGS


def jobs(*arguments: str) -> list[dict]:
    return expand(parse([quote(argument) for argument in arguments])[0])


@pytest.fixture
def two_grids(tmp_path, monkeypatch):
    """An experiment `mixed`: mvtec bottle and cable, btad 01, all with one backbone, and bottle with another."""
    (tmp_path / "experiment").mkdir()
    grids = [
        {"dataset": "mvtec", "category": ["bottle", "cable"], "backbone": "resnet18"},
        {"dataset": "btad", "category": "01", "backbone": "resnet18", "backbone.weights": "random"},
        {"dataset": "mvtec", "category": "bottle", "backbone": ["resnet18", "wide_resnet50_2"]},
    ]
    content = {"experiment": {"name": "mixed", "title": "Mixed", "seeds": [42], "grids": grids}}
    (tmp_path / "experiment" / "mixed.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(content)))
    monkeypatch.setattr(experiment, "CONFIGS", tmp_path)
    return load_experiment("mixed")


def expand_mixed(monkeypatch, *arguments: str) -> list[dict]:
    from harness.config import keys

    monkeypatch.setitem(keys.KEYS, "experiment", keys.Key(Option("mixed"), Annotated[str, "name"]))
    return jobs("experiment=mixed", *arguments)


def cells(expanded: list[dict]) -> list[tuple]:
    return [(job["dataset"], job["category"], job["backbone"]) for job in expanded]


def test_without_an_experiment_it_is_the_product():
    expanded = jobs("dataset=mvtec", "category=bottle,cable", "backbone=resnet18,wide_resnet50_2")
    assert cells(expanded) == [
        ("mvtec", category, name) for category in ("bottle", "cable") for name in ("resnet18", "wide_resnet50_2")
    ]


def test_seeds_n_features_and_samplers_fold_into_one_job():
    assert jobs(
        "category=a", "seed=0,1,0", "model.n_features=50,100", "model.index_sampler=anomalib_v1,anomalib_v2"
    ) == [
        {
            "category": "a",
            "seeds": [0, 1],
            "model.n_features": [50, 100],
            "model.index_sampler": ["anomalib_v1", "anomalib_v2"],
        }
    ]
    assert jobs("category=a", "seed=7") == [{"category": "a", "seeds": [7]}]
    assert jobs("category=a", "seeds=[1,2]", "model.n_features=50") == [
        {"category": "a", "seeds": [1, 2], "model.n_features": 50}
    ]


def test_all_categories_are_the_datasets_the_folders_or_the_experiments(tmp_path):
    assert [job["category"] for job in jobs("dataset=btad", "category=all", "seeds=[0,1]")] == ["01", "02", "03"]
    assert len(jobs("category=all")) == 15, "of the dataset that configs/config.yaml chooses"
    for name in ("bolts/good", "nuts/train/good", ".git"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "readme.txt").touch()
    own = ("dataset=folder", f"dataset.root={tmp_path}", "category=all")
    assert [job["category"] for job in jobs(*own)] == ["bolts", "nuts"]
    assert len(jobs("experiment=table1_mvtec", "category=all")) == 3
    assert [job["category"] for job in jobs("dataset=btad", "category=02,all,02")] == ["02", "01", "03"]


@pytest.mark.parametrize(
    ("made", "root", "words"),
    [
        ("bolts/good", "bolts/good", "holds no folder"),
        ("bolts/train/good", "bolts", "is a category itself; give dataset.root="),
        ("notes/old", ".", "notes does not look like a category; name those that are"),
    ],
)
def test_all_categories_of_what_holds_none_is_refused(tmp_path, made, root, words):
    (tmp_path / made).mkdir(parents=True)
    with pytest.raises(RequestError, match=rf"^category=all: .*{words}"):
        jobs("dataset=folder", f"dataset.root={tmp_path / root}", "category=all")


def test_the_union_of_grids_without_repeats(two_grids, monkeypatch):
    assert cells(expand_mixed(monkeypatch)) == [
        ("mvtec", "bottle", "resnet18"),
        ("mvtec", "cable", "resnet18"),
        ("btad", "01", "resnet18"),
        ("mvtec", "bottle", "wide_resnet50_2"),
    ]


def test_the_command_line_filters_and_overrides(two_grids, monkeypatch):
    assert cells(expand_mixed(monkeypatch, "dataset=mvtec", "backbone=wide_resnet50_2")) == [
        ("mvtec", "bottle", "wide_resnet50_2")
    ]
    (job,) = expand_mixed(monkeypatch, "category=01", "seed=0,1", "backbone.weights=timm")
    assert (job["dataset"], job["seeds"], job["backbone.weights"]) == ("btad", [0, 1], "timm")
    assert expand_mixed(monkeypatch)[0]["seeds"] == [42]
    # another swept key multiplies the grids
    expanded = expand_mixed(monkeypatch, "category=01", "protocol=paper,anomalib_v2")
    assert [job["protocol"] for job in expanded] == ["paper", "anomalib_v2"]


def test_a_value_that_no_grid_holds_is_refused(two_grids, monkeypatch):
    with pytest.raises(RequestError, match="category=screw: not in experiment mixed; it has: bottle, cable, 01"):
        expand_mixed(monkeypatch, "category=screw")
    with pytest.raises(RequestError, match="no grid of experiment mixed has this combination"):
        expand_mixed(monkeypatch, "category=01", "backbone=wide_resnet50_2")


@pytest.mark.parametrize("name", group_options("experiment"))
def test_every_experiment_file_loads_and_names_itself(name):
    loaded = load_experiment(name)
    assert loaded.name == name
    assert loaded.title
    assert jobs(f"experiment={name}")


UNQUOTED = (CONFIGS / "experiment" / "table4_btad.yaml").read_text().replace('"01"', "01")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "bad.yaml"), ("experiment: 3", "bad.yaml"), ("experiment: {name: x}", "bad.yaml"), (":\n -", "bad.yaml"),
     (UNQUOTED, "quote it")],
)  # fmt: skip
def test_a_file_that_is_no_experiment_is_one_line(tmp_path, monkeypatch, text, words):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "bad.yaml").write_text(text)
    monkeypatch.setattr(experiment, "CONFIGS", tmp_path)
    with pytest.raises(RequestError, match=words) as caught:
        load_experiment("bad")
    assert str(caught.value).startswith("configs/experiment/bad.yaml: ")
    assert "\n" not in str(caught.value)


def test_jobs_read_back_from_hydras_grammar():
    for job in jobs("experiment=table4_btad", "seed=0,1"):
        parsed = parse(to_hydra(job))[0]
        assert {override.key: override.values[0] for override in parsed} == job
