"""The store against experiments: what counts as done, what does not, and why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from harness import experiment, keys
from harness.errors import RequestError
from harness.store import Store, failure_of
from harness.store.claims import Claims
from harness.store.overview import State, expected_runs, survey
from harness.store.overview_text import Table, blocks, plain, write
from harness.store.settings import flat, settings_of, shown, varying
from tests.store.making import make_dataset, make_failed, make_ok, make_parts, make_scores, make_spec


@pytest.fixture
def configs(tmp_path, monkeypatch, project):
    """The project's own configs with experiments that a test writes: `configs(name, grids, seeds)`."""
    folder = tmp_path / "configs"
    shutil.copytree(project / "configs", folder)
    shutil.rmtree(folder / "experiment")
    (folder / "experiment").mkdir()
    monkeypatch.setattr(experiment, "CONFIGS", folder)
    monkeypatch.setattr(keys, "CONFIGS", folder)

    def write(
        name="trial",
        grids=({"dataset": "mvtec", "category": ["bottle", "cable"], "backbone": "resnet18"},),
        seeds=(42,),
    ):
        content = {"name": name, "title": f"Title of {name}", "seeds": list(seeds), "grids": list(grids)}
        path = folder / "experiment" / f"{name}.yaml"
        path.write_text("# @package _global_\n" + OmegaConf.to_yaml(OmegaConf.create({"experiment": content})))

    return write


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def as_configured(*, inexact=None, bootstrap_samples=None, **changes):
    """A spec that fits the configured protocol `paper`."""
    spec = make_spec(**changes)
    config = OmegaConf.to_container(OmegaConf.load(keys.CONFIGS / "config.yaml"), resolve=False)
    spec["metrics"] |= config["metrics"]
    spec["metrics"] |= {} if bootstrap_samples is None else {"bootstrap_samples": bootstrap_samples}
    return spec | ({"inexact": [inexact]} if inexact else {})


def write_ok(store, spec, **changes):
    return store.write(make_ok(spec, **changes), make_scores())


def states(store, name="trial"):
    (overview,) = survey(store, [name]).overviews
    return [(run.state, run.detail) for run in overview.runs]


def text(store, *names):
    return plain(blocks(survey(store, names), "results"))


def test_done_failed_missing(configs, store):
    configs(grids=[{"dataset": "mvtec", "category": ["bottle", "cable", "hazelnut"], "backbone": "resnet18"}])
    write_ok(store, as_configured(), synthetic=True)
    store.write(make_failed(as_configured(fingerprint="00" * 32)))
    store.write(make_failed(as_configured(category="cable")))
    assert states(store) == [
        (State.DONE, "SYNTHETIC"),
        (State.FAILED, "DataError: bottle/x.png: is truncated (in features)"),
        (State.MISSING, ""),
    ]
    assert "3 runs expected: 1 done, 1 failed, 1 missing" in text(store)


@pytest.mark.parametrize(
    ("spec", "record", "said"),
    [
        ({"epsilon": 0.01001}, {}, "protocol.epsilon=0.01001"),
        ({"index_sampler": "anomalib_v2"}, {}, "protocol.index_sampler=anomalib_v2"),
        ({"center_crop": None}, {}, "protocol.center_crop=None"),
        ({"n_features": 50}, {}, "n_features=50"),
        ({"engine": "reference"}, {}, "engine=reference"),
        ({"inexact": "bf16"}, {}, "inexact=bf16"),
        ({"bootstrap_samples": 0}, {}, "metrics.bootstrap_samples=0"),
        ({"epsilon": 0.01001}, {"protocol_name": "anomalib_v2"}, "protocol=anomalib_v2"),
        ({}, {"protocol_name": "anomalib_v2"}, "protocol=anomalib_v2"),
        ({}, {"limit": 8}, "dataset.limit=8"),
    ],
)
def test_a_run_made_in_another_way_is_said_so(configs, store, spec, record, said):
    configs()
    spec = as_configured(**spec)
    record = {"limit": None} | record
    write_ok(store, spec, dataset=make_dataset(spec, limit=record.pop("limit")), **record)
    assert states(store)[0] == (State.OTHER, f"the store has it with {said}")
    assert "2 runs expected: 1 other protocol, 1 missing" in text(store)
    if store.run_folder(spec) == store.run_folder(as_configured()):
        shutil.rmtree(store.run_folder(spec))  # one key: the harness takes it for done, and so does the store
    write_ok(store, as_configured())
    assert states(store)[0] == (State.DONE, "")


def test_of_several_other_runs_the_nearest_is_named(configs, store):
    configs()
    write_ok(store, as_configured(epsilon=0.5, blur_sigma=2))
    write_ok(store, as_configured(epsilon=0.5))
    write_ok(store, as_configured(epsilon=0.25, blur_sigma=2, inexact="bf16"))
    assert states(store)[0] == (State.OTHER, "the store has it with protocol.epsilon=0.5")


def test_expected_runs_are_those_of_the_sweep(configs):
    configs(
        grids=[
            {"dataset": "mvtec", "category": "bottle", "backbone": ["resnet18", "wide_resnet50_2"]},
            {"dataset": "btad", "category": "01", "backbone": "resnet18", "protocol": "anomalib_v2"},
        ],
        seeds=[0, 1],
    )
    runs = expected_runs("trial")
    assert [run.identity for run in runs] == [
        *(("mvtec", "bottle", backbone, seed) for backbone in ("resnet18", "wide_resnet50_2") for seed in (0, 1)),
        *(("btad", "01", "resnet18", seed) for seed in (0, 1)),
    ]
    assert [run.demands["n_features"] for run in runs[::2]] == [100, 256, 100]
    assert [run.demands["protocol.epsilon"] for run in runs[::2]] == [0.01, 0.01, 0.01001]


def test_variants_of_one_run_are_told_apart(configs, store):
    grid = {"dataset": "mvtec", "category": "bottle", "backbone": "resnet18"}
    configs(grids=[grid | {"n_features": [50, 100], "protocol.index_sampler": ["anomalib_v1", "anomalib_v2"]}])
    write_ok(store, as_configured(n_features=50, index_sampler="anomalib_v2"))
    (overview,) = survey(store, ["trial"]).overviews
    assert {run.variant: run.state for run in overview.runs} == {
        "n_features=50 index_sampler=anomalib_v1": State.OTHER,
        "n_features=100 index_sampler=anomalib_v1": State.OTHER,
        "n_features=50 index_sampler=anomalib_v2": State.DONE,
        "n_features=100 index_sampler=anomalib_v2": State.OTHER,
    }


def test_of_several_records_the_newest_counts(configs, store):
    configs()
    first = make_parts()["finished"]
    for fingerprint, later in (("aa" * 32, 0), ("bb" * 32, 2), ("cc" * 32, 1)):
        write_ok(store, as_configured(fingerprint=fingerprint), finished=first.replace(year=first.year + later))
    (overview,) = survey(store, ["trial"]).overviews
    assert overview.runs[0].detail == "3 records fit; the newest counts"
    assert overview.runs[0].record.spec.fingerprint == "bb" * 32


def test_other_records_and_problems_are_counted(configs, store):
    configs()
    write_ok(store, as_configured(category="zipper"))
    damaged = store.run_folder(as_configured())
    damaged.mkdir(parents=True)
    (damaged / "record.json").write_text("{")
    lines = text(store).splitlines()
    assert lines[-2] == "1 other record in results, expected by none of these experiments"
    assert lines[-1].startswith("not counted: ")
    assert "record.json: is not the JSON of a record" in lines[-1]


def test_an_unknown_experiment_is_refused_in_one_line(configs, store):
    configs("table1_mvtec")
    configs("table3_visa")
    complaint = r"experiment table1: is not there \(did you mean table1_mvtec\?\); allowed: table1_mvtec, table3_visa$"
    with pytest.raises(RequestError, match=complaint):
        survey(store, ["table1"])


def test_plain_text_is_aligned_and_cannot_steer_a_terminal(configs, store):
    configs()
    error = failure_of(ValueError("\x1b[31m[bold]bad"), "fit")
    store.write(make_failed(as_configured(), error=error))
    lines = text(store).splitlines()
    assert lines[0] == "Title of trial (trial)"
    header, first, second = lines[1:4]
    assert header.split() == ["dataset", "category", "backbone", "seed", "state", "detail"]
    assert first.index("failed") == second.index("missing") == header.index("state")
    assert "\\x1b[31m[bold]bad" in first
    assert "\x1b" not in "".join(lines)


def test_the_projects_own_experiments_are_understood(store):
    for overview in survey(store).overviews:
        assert overview.runs
        assert all(run.run.demands["n_features"] for run in overview.runs)


def status(project, *arguments, **environment):
    return subprocess.run(
        [sys.executable, str(project / "scripts" / "status.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--experiment", "table9"], "error: experiment table9: is not there"),
        (["--stor", "x"], "error: unrecognized arguments: --stor x"),
        (["--store"], "error: argument --store: expected one argument"),
        (["--store", __file__], "is a file, not a folder"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(project, arguments, complaint):
    done = status(project, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_script_survives_odd_letters_and_a_closed_pipe(project, tmp_path):
    odd = tmp_path / "瓶"
    done = status(project, "--store", str(odd), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u74f6 is not there yet" in done.stdout
    script = f"{sys.executable} {project / 'scripts' / 'status.py'} --store {tmp_path}"
    piped = subprocess.run(f"{script} | true", shell=True, capture_output=True, text=True, check=False)
    assert piped.stderr == ""


def test_seeds_that_nobody_asked_for_but_the_store_has_are_shown(configs, store):
    configs()
    for seed in (0, 1, 42):
        write_ok(store, as_configured(category="bottle", seed=seed))
    write_ok(store, as_configured(category="bottle", seed=7, epsilon=0.5))  # made in another way: not shown as a seed
    (overview,) = survey(store, ["trial"]).overviews
    shown = [(state.run.category, state.run.seed, state.state) for state in overview.runs]
    assert shown == [
        ("bottle", 42, State.DONE),
        ("cable", 42, State.MISSING),
        ("bottle", 0, State.DONE),
        ("bottle", 1, State.DONE),
    ]


def test_seeds_can_be_asked_for(configs, store):
    configs()
    write_ok(store, as_configured(category="bottle", seed=0))
    (overview,) = survey(store, ["trial"], seeds=(0, 1)).overviews
    assert [(state.run.category, state.run.seed, state.state) for state in overview.runs] == [
        ("bottle", 0, State.DONE),
        ("bottle", 1, State.MISSING),
        ("cable", 0, State.MISSING),
        ("cable", 1, State.MISSING),
    ]


def test_optional_experiments_are_shown_where_the_store_has_of_them(configs, store):
    grid = {"dataset": "mvtec", "category": "bottle", "backbone": "resnet18"}
    configs("table1", grids=[grid])
    configs("settings_a", grids=[grid | {"category": "hazelnut"}])
    configs("settings_b", grids=[grid | {"category": "cable"}])
    assert [overview.name for overview in survey(store).overviews] == ["table1"]
    write_ok(store, as_configured(category="cable"))
    assert [overview.name for overview in survey(store).overviews] == ["settings_b", "table1"]


def test_a_store_of_drawn_images_is_held_only_against_what_it_has(configs, store):
    grid = {"dataset": "mvtec", "category": "bottle", "backbone": "resnet18"}
    configs("one", grids=[grid])
    configs("other", grids=[grid | {"category": "cable"}])
    write_ok(store, as_configured(), synthetic=True)
    assert [overview.name for overview in survey(store).overviews] == ["one"]
    write_ok(store, as_configured(seed=1))
    assert [overview.name for overview in survey(store).overviews] == ["one", "other"]


def test_it_is_drawn_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    write([Table(("a",), (("b",),))])
    assert "│ b │" in capsys.readouterr().out


def test_what_is_running_is_told(configs, store):
    configs()
    with Claims(store.path) as claims:
        claims.take("0123456789ab", "mvtec/bottle")
        (holder,) = survey(store).claims
    assert (holder.key, holder.label, holder.pid) == ("0123456789ab", "mvtec/bottle", os.getpid())
    assert survey(store).claims == ()


def test_nested_fields_have_one_name_each_in_their_order():
    assert flat({"a": 1, "b": {"c": [2], "d": {"e": None}}, "f": {}}) == {"a": 1, "b.c": [2], "b.d.e": None}
    assert list(flat({"b": {"z": 1, "a": 2}, "a": 3})) == ["b.z", "b.a", "a"]


def test_a_records_settings_are_what_its_key_covers_without_its_name_and_its_labels():
    spec = make_spec(seed=7, n_features=50, epsilon=0.5)
    settings = settings_of(make_ok(spec, weights="random", protocol_name="anomalib_v2"))
    assert (settings["n_features"], settings["protocol.epsilon"], settings["metrics.version"]) == (50, 0.5, 0)
    assert (settings["weights"], settings["protocol"], settings["dataset.limit"]) == ("random", "anomalib_v2", None)
    assert settings["backbone.weights_digest"] == "ab" * 32
    assert not {"dataset", "category", "backbone.name", "seed"} & set(settings)
    covered = {name for name in flat(spec) if name not in ("dataset", "category", "backbone.name", "seed")}
    assert set(settings) == covered | {"weights", "protocol", "dataset.limit"}


def test_what_varies_is_named_once_in_the_order_of_the_fields():
    assert varying([]) == []
    assert varying([{"a": 1, "b": 2}]) == []
    assert varying([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "c": 4}, {"a": 1, "b": 2, "c": 3}]) == ["b", "c"]
    assert varying([{"a": 1}, {"a": 1, "b": 2}]) == ["b"]
    assert varying([{"a": None}, {}]) == []


def test_nothing_is_shown_as_none():
    assert [shown(value) for value in (None, 0, 0.5, [1, 2], False)] == ["none", "0", "0.5", "[1, 2]", "False"]
