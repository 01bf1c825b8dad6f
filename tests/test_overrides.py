"""The command line: what passes, what is refused in one line, and that no path is changed on its way."""

from __future__ import annotations

import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from harness.errors import RequestError
from harness.overrides import Override, parse, quote, render, split_flags

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
        ("n_features=null", (None,)),
        ("n_features=50,100", (50, 100)),
        ("protocol.center_crop=200", ([200, 200],)),
        ("protocol.center_crop=null", (None,)),
        ("protocol.epsilon=1e-2", (0.01,)),
        ("protocol.index_sampler=anomalib_v1,anomalib_v2", ("anomalib_v1", "anomalib_v2")),
        ("backbone=resnet18,wide_resnet50_2", ("resnet18", "wide_resnet50_2")),
    ],
)
def test_values(argument, values):
    assert request(argument) == {argument.partition("=")[0]: values}


def test_what_hydra_is_told_reads_back_the_same():
    given_ = ["store=/a, b/'c'", "category=01,x y", "seeds=[1,2]", "protocol.center_crop=224", "n_features=null"]
    own = parse([quote(argument) for argument in given_])[0]
    assert parse([override.hydra() for override in own])[0] == own


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("sedd=1", ["sedd=1", "did you mean seed?", "allowed:"]),
        ("+sedd=1", ["+sedd=1", "cannot be added", "allowed:"]),
        ("++seed=1", ["++seed=1", "cannot be added"]),
        ("~seed", ["~seed", "removed"]),
        ("seed=abc", ["seed=abc", "whole number"]),
        ("seed=1.5", ["seed=1.5", "whole number"]),
        ("seed=-1", ["seed=-1", "from 0"]),
        ("seed=4294967296", ["seed=4294967296", "4294967295"]),
        ("seed=true", ["seed=true", "whole number"]),
        ("seeds=3", ["seeds=3", "[0,1,2]"]),
        ("seeds=[]", ["seeds=[]", "[0,1,2]"]),
        ("n_features=0", ["n_features=0", "at least 1"]),
        ("n_features=[", ["n_features=[", "at least 1"]),
        ("backbone=resnet19", ["backbone=resnet19", "did you mean resnet18?", "wide_resnet50_2"]),
        ("dataset=mvtek", ["dataset=mvtek", "did you mean mvtec?"]),
        ("protocol=papre", ["protocol=papre", "did you mean paper?"]),
        ("protocol.nope=1", ["protocol.nope=1", "no such key"]),
        ("protocol.epsilon=0", ["protocol.epsilon=0", "above 0"]),
        ("protocol.epsilon=nan", ["protocol.epsilon=nan", "above 0"]),
        ("protocol.epsilon=inf", ["protocol.epsilon=inf", "above 0"]),
        ("protocol.center_crop=[1]", ["protocol.center_crop=[1]", "height"]),
        ("dataset.name=x", ["dataset.name=x", "no such key"]),
        ("dataset.root=", ["dataset.root=", "empty"]),
        ("category=", ["category=", "empty"]),
        ("device=tpu", ["device=tpu", "cuda"]),
        ("engine=fast", ["engine=fast", "streaming"]),
        ("dry_run=maybe", ["dry_run=maybe", "true"]),
        ("store", ["store", "key=value"]),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(argument, words):
    with pytest.raises(RequestError) as caught:
        request(argument)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_seed_and_seeds_together_are_refused():
    with pytest.raises(RequestError, match="seed and seeds are both given"):
        request("seed=1", "seeds=[1]")


def test_a_key_given_twice_is_refused():
    with pytest.raises(RequestError, match="twice"):
        request("seed=1", "seed=2")


def test_flags_are_parted_from_overrides():
    assert split_flags(["seed=1", "--cfg", "job"]) == (["--cfg", "job"], ["seed=1"])
    assert split_flags(["--cfg=job", "-p", "x"]) == (["--cfg", "job", "-p", "x"], [])
    assert split_flags(["-m", "seed=1"]) == (["-m"], ["seed=1"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-p", "x", "seed=1"], "--package: says how --cfg shows a configuration; give --cfg job too"),
        (["--package=x"], "--package: says how --cfg shows"),
        (["--resolve", "seed=1"], "--resolve: says how --cfg shows"),
        (["--cfg", "job", "-m", "seed=1"], "--cfg: shows one configuration and runs nothing; leave -m out"),
        (["-m", "-i", "config"], "--info: shows one configuration"),
        (["--cfg", "foo"], "--cfg foo: no such thing to show; allowed: job, hydra, all"),
        (["--info", "category=bottle"], "--info category=bottle: no such thing to show; allowed: all, config"),
        (["-m=1"], "-m=1: -m takes no value"),
        (["--cfg"], "--cfg: needs a value after it"),
    ],
)
def test_flags_that_hydra_would_take_for_something_else_are_refused(words, line):
    with pytest.raises(RequestError) as caught:
        split_flags(words)
    assert str(caught.value).startswith(line)


def test_the_runs_of_a_list_of_seeds_are_counted():
    seeds = ",".join(map(str, range(60)))
    assert request(f"seeds=[{seeds}]", "n_features=range(1,160)")
    with pytest.raises(RequestError, match="is 10560 runs, and 10000 are the most"):
        request(f"seeds=[{seeds}]", "n_features=range(1,177)")


@pytest.mark.parametrize("flag", ["--sede", "-x", "--config-dir=/x", "--multi"])
def test_an_unknown_flag_is_refused(flag):
    with pytest.raises(RequestError, match="no such flag"):
        split_flags([flag])


def test_hydras_own_overrides_pass():
    assert parse(["hydra.sweep.dir=x", "hydra/job_logging=none"]) == (
        [],
        ["hydra.sweep.dir=x", "hydra/job_logging=none"],
    )


def test_what_hydra_calls_a_launchers_settings_names_our_keys():
    with pytest.raises(RequestError, match=r"^hydra/launcher=joblib: .*give launcher=NAME$"):
        parse(["hydra/launcher=joblib"])
    with pytest.raises(RequestError, match=r"^hydra\.launcher\.partition=gpu: .*slurm\.partition=NAME"):
        parse(["hydra.launcher.partition=gpu"])


@pytest.mark.parametrize("argument", ["hydra/sweeper=basic", "hydra.mode=RUN"])
def test_what_the_harness_rests_on_is_not_for_changing(argument):
    with pytest.raises(RequestError, match=rf"^{argument}: .* is not for changing here: "):
        parse([argument])
