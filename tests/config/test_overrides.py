"""The command line: what passes, what is refused in one line, and that no path is changed on its way."""

from __future__ import annotations

import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from harness.config.overrides import Override, parse, quote, render, split_flags

ODD = st.text(alphabet=st.sampled_from("ab'\"\\${}[](),=#&~ é:%*01_-.\t"), min_size=1, max_size=12)


def request(*arguments: str) -> dict:
    return {override.key: override.values for override in parse([quote(argument) for argument in arguments])[0]}


@given(ODD)
@example("${oc.env:HOME}")
@example("\\\\${x}")
@example("a\\")
def test_any_string_survives_hydra_and_omegaconf(text):
    value = OverridesParser.create().parse_override(f"store={render(text)}").value()
    assert OmegaConf.create({"store": value}).store == text
    if not text.startswith(("/", "\\")):
        assert parse([f"category={render(text)}"])[0] == [Override("category", (text,))]


@given(ODD.filter(lambda text: text.strip("'\"") == text))
def test_any_path_works_unquoted(text):
    for key in ("dataset.root", "data_root", "store"):
        assert request(f"{key}=/top/{text}") == {key: (os.path.abspath(f"/top/{text}"),)}


def test_paths_become_absolute_and_home_is_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert request("store=out")["store"] == (str(tmp_path / "out"),)
    assert request("store=~/out")["store"] == ("/home/someone/out",)
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "out").mkdir()
    assert request("store=~/out")["store"] == (str(tmp_path / "~" / "out"),)
    assert request("store=~out")["store"] == (str(tmp_path / "~out"),)


def test_hydra_style_quotes_around_a_path_are_taken_off():
    assert request("store='/a,b'")["store"] == ("/a,b",)


def test_weight_words_stay_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word in ("timm", "package", "random"):
        assert request(f"backbone.weights={word}") == {"backbone.weights": (word,)}
    assert request("backbone.weights=w.pth")["backbone.weights"] == (str(tmp_path / "w.pth"),)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("01", ("01",)),
        ("1_0", ("1_0",)),
        ("1e3", ("1e3",)),
        ("null", ("null",)),
        ("true", ("true",)),
        ("01,02", ("01", "02")),
        ("'a,b',c", ("a,b", "c")),
        ("part (left)", ("part (left)",)),
    ],
)
def test_a_category_is_what_was_typed(typed, meant):
    assert request(f"category={typed}") == {"category": meant}


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("seed=0,1,2", (0, 1, 2)),
        ("seed=range(0,3)", (0, 1, 2)),
        ("seeds=[3,4]", ([3, 4],)),
        ("model.n_features=50,100", (50, 100)),
        ("preprocessing.center_crop=200", ([200, 200],)),
        ("preprocessing.center_crop=null", (None,)),
        ("model.epsilon=1e-2", (0.01,)),
        ("model.index_sampler=anomalib_v1,anomalib_v2", ("anomalib_v1", "anomalib_v2")),
        ("backbone=resnet18,wide_resnet50_2", ("resnet18", "wide_resnet50_2")),
    ],
)
def test_values(argument, values):
    assert request(argument) == {argument.partition("=")[0]: values}


def test_what_hydra_is_told_reads_back_the_same():
    given_ = [
        "store=/a, b/'c'",
        "category=01,x y",
        "seeds=[1,2]",
        "preprocessing.center_crop=224",
        "model.n_features=50",
    ]
    own = parse([quote(argument) for argument in given_])[0]
    assert parse([override.hydra() for override in own])[0] == own


def test_flags_are_parted_from_overrides():
    assert split_flags(["seed=1", "--cfg", "job"]) == (["--cfg", "job"], ["seed=1"])
    assert split_flags(["--cfg=job"]) == (["--cfg", "job"], [])
    assert split_flags(["seed=1", "-m", "seed=2"]) == (["--multirun"], ["seed=1", "seed=2"])


def test_hydras_own_overrides_pass():
    assert parse(["hydra.sweep.dir=x", "hydra/job_logging=none"]) == (
        [],
        ["hydra.sweep.dir=x", "hydra/job_logging=none"],
    )
