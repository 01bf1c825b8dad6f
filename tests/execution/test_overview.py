"""The store against experiments: what counts as done, what does not, and why."""

from __future__ import annotations

import io
import os
import shutil
from contextlib import redirect_stdout

import pytest
from omegaconf import OmegaConf

from harness.cli.command import write
from harness.config import experiment, keys
from harness.errors import RequestError
from harness.execution import overview
from harness.execution.overview import State, expected_runs, lines_about, survey
from harness.store import Store, failure_of
from harness.store.claims import Claims
from harness.store.fields import flat, not_measured, settings_of, shown, varying
from scripts.status import main as status
from tests.store.making import make_dataset, make_failed, make_metrics, make_ok, make_parts, make_scores, make_spec


@pytest.fixture
def configs(tmp_path, monkeypatch, project):
    """The project's own configs with experiments that a test writes: `configs(name, grids, seeds)`."""
    folder = tmp_path / "configs"
    shutil.copytree(project / "configs", folder)
    shutil.rmtree(folder / "experiment")
    (folder / "experiment").mkdir()
    monkeypatch.setattr(experiment, "CONFIGS", folder)
    monkeypatch.setattr(keys, "CONFIGS", folder)
    monkeypatch.setattr(overview, "CONFIGS", folder)

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


def write_ok(store, spec, **changes):
    return store.write(make_ok(spec, **changes), make_scores())


def runs_of(store, *names, seeds=()):
    """The state of each run of one experiment."""
    (runs,) = survey(store.records().records, names, seeds).values()
    return runs


def states(store):
    return [(run.state, run.detail) for run in runs_of(store, "trial")]


def text(store, *names):
    with redirect_stdout(io.StringIO()) as out:
        write(lines_about(store, names))
    return out.getvalue()


def test_done_failed_missing(configs, store):
    configs(grids=[{"dataset": "mvtec", "category": ["bottle", "cable", "hazelnut"], "backbone": "resnet18"}])
    write_ok(store, make_spec(), synthetic=True)
    store.write(make_failed(make_spec(fingerprint="00" * 32)))
    store.write(make_failed(make_spec(category="cable")))
    assert states(store) == [
        (State.DONE, "SYNTHETIC"),
        (State.FAILED, "DataError: bottle/x.png: is truncated (in features)"),
        (State.MISSING, ""),
    ]
    assert "3 runs expected: 1 done, 1 failed, 1 missing" in text(store)


@pytest.mark.parametrize(
    ("spec", "record", "said"),
    [
        ({"epsilon": 0.01001}, {}, "model.epsilon=0.01001"),
        ({"center_crop": None}, {}, "preprocessing.center_crop=null"),
        ({"n_features": 50}, {}, "model.n_features=50"),
        ({"engine": "reference"}, {}, "engine=reference"),
        ({"engine": "streaming+bf16"}, {}, "engine=streaming+bf16"),
        ({"epsilon": 0.01001}, {"protocol_name": "anomalib_v2"}, "protocol=anomalib_v2"),
        ({}, {"protocol_name": "anomalib_v2"}, "protocol=anomalib_v2"),
        ({}, {"limit": 8}, "dataset.limit=8"),
    ],
)
def test_a_run_made_in_another_way_is_said_so(configs, store, spec, record, said):
    configs()
    spec = make_spec(**spec)
    record = {"limit": None} | record
    write_ok(store, spec, dataset=make_dataset(spec, limit=record.pop("limit")), **record)
    assert states(store)[0] == (State.OTHER, f"the store's run has {said}")
    assert "2 runs expected: 1 other settings, 1 missing" in text(store)
    if store.run_folder(spec) == store.run_folder(make_spec()):
        shutil.rmtree(store.run_folder(spec))  # one key: the harness takes it for done, and so does the store
    write_ok(store, make_spec())
    assert states(store)[0] == (State.DONE, "")


def test_of_several_other_runs_the_nearest_is_named(configs, store):
    configs()
    write_ok(store, make_spec(epsilon=0.5, blur_sigma=2))
    write_ok(store, make_spec(epsilon=0.5))
    assert states(store)[0] == (State.OTHER, "the store's run has model.epsilon=0.5")


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
    assert [run.demands["model.n_features"] for run in runs[::2]] == [100, 256, 100]
    assert [run.demands["model.epsilon"] for run in runs[::2]] == [0.01, 0.01, 0.01001]


def test_variants_of_one_run_are_told_apart(configs, store):
    grid = {"dataset": "mvtec", "category": "bottle", "backbone": "resnet18"}
    configs(grids=[grid | {"model.n_features": [50, 100], "model.index_sampler": ["anomalib_v1", "anomalib_v2"]}])
    write_ok(store, make_spec(n_features=50, index_sampler="anomalib_v2"))
    assert {run.variant: run.state for run in runs_of(store, "trial")} == {
        "index_sampler=anomalib_v1 n_features=50": State.OTHER,
        "index_sampler=anomalib_v1 n_features=100": State.OTHER,
        "index_sampler=anomalib_v2 n_features=50": State.DONE,
        "index_sampler=anomalib_v2 n_features=100": State.OTHER,
    }


def test_of_several_records_the_newest_counts(configs, store):
    configs()
    first = make_parts()["finished"]
    for fingerprint, later in (("aa" * 32, 0), ("bb" * 32, 2), ("cc" * 32, 1)):
        write_ok(store, make_spec(fingerprint=fingerprint), finished=first.replace(year=first.year + later))
    run = runs_of(store, "trial")[0]
    assert run.detail == "3 records fit; the newest counts"
    assert run.record.spec.fingerprint == "bb" * 32


def test_other_records_and_problems_are_counted_and_what_runs_is_told(configs, store):
    configs()
    write_ok(store, make_spec(category="zipper"))
    damaged = store.run_folder(make_spec())
    damaged.mkdir(parents=True)
    (damaged / "record.json").write_text("{")
    with Claims(store.path) as claims:
        claims.take("0123456789ab", "mvtec/bottle")
        running, other, problem = text(store).splitlines()[-3:]
    assert running.startswith(f"running now: mvtec/bottle ({os.uname().nodename}, process {os.getpid()}, since 2")
    assert other == f"1 other record in {store.path}, expected by none of these experiments"
    assert problem.startswith("not counted: ")
    assert "record.json: is not the JSON of a record" in problem
    assert "running now" not in text(store)


def test_an_unknown_experiment_is_refused_in_one_line(configs):
    configs("table1_mvtec")
    configs("table3_visa")
    complaint = (
        r"experiment table1: does not exist \(did you mean table1_mvtec\?\); allowed: table1_mvtec, table3_visa$"
    )
    with pytest.raises(RequestError, match=complaint):
        survey([], ["table1"])


def test_plain_text_is_aligned_and_cannot_steer_a_terminal(configs, store):
    configs()
    store.write(make_failed(make_spec(), error=failure_of(ValueError("\x1b[31m[bold]bad"), "fit")))
    lines = text(store).splitlines()
    assert lines[0] == "Title of trial (trial)"
    header, first, second = lines[1:4]
    assert header.split() == ["dataset", "category", "backbone", "seed", "state", "detail"]
    assert first.index("failed") == second.index("missing") == header.index("state")
    assert "\\x1b[31m[bold]bad" in first
    assert "\x1b" not in "".join(lines)


def test_the_projects_own_experiments_are_understood():
    for runs in survey([]).values():
        assert runs
        assert all(run.run.demands["model.n_features"] for run in runs)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--experiment", "table9"], "error: experiment table9: does not exist"),
        (["--stor", "x"], "error: unrecognized arguments: --stor x"),
        (["--seeds", "1,x"], "error: argument --seeds: '1,x' is not a list of seeds"),
        (["--store", __file__], "is a file, not a folder"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(arguments, complaint, capsys):
    assert status(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert complaint in said.err
    assert said.err.count("\n") == 1


def test_seeds_can_be_asked_for_and_others_that_the_store_has_are_shown(configs, store):
    configs()
    for seed in (0, 1, 42):
        write_ok(store, make_spec(seed=seed))
    write_ok(store, make_spec(seed=7, epsilon=0.5))  # made in another way: not shown as a seed
    done, missing = (State.DONE, State.MISSING)
    for seeds, expected in (
        ((), [("bottle", 42, done), ("cable", 42, missing), ("bottle", 0, done), ("bottle", 1, done)]),
        ((0, 42), [("bottle", 0, done), ("bottle", 42, done), ("cable", 0, missing), ("cable", 42, missing),
                   ("bottle", 1, done)]),
    ):  # fmt: skip
        found = [(run.run.category, run.run.seed, run.state) for run in runs_of(store, "trial", seeds=seeds)]
        assert found == expected


def test_optional_experiments_are_shown_where_the_store_has_of_them(configs, store):
    grid = {"dataset": "mvtec", "category": "bottle", "backbone": "resnet18"}
    configs("table1", grids=[grid])
    configs("settings_a", grids=[grid | {"category": "hazelnut"}])
    configs("settings_b", grids=[grid | {"category": "cable"}])
    assert list(survey([])) == ["Title of table1 (table1)"]
    drawn = write_ok(store, make_spec(category="cable"), synthetic=True)
    assert list(survey([drawn])) == ["Title of settings_b (settings_b)"]
    real = write_ok(store, make_spec(category="cable", seed=1))
    assert list(survey([drawn, real])) == ["Title of settings_b (settings_b)", "Title of table1 (table1)"]


def test_a_records_settings_are_what_its_key_covers_without_its_name_and_its_labels():
    spec = make_spec(seed=7, n_features=50, epsilon=0.5)
    settings = settings_of(make_ok(spec, weights="random", protocol_name="anomalib_v2"))
    assert (settings["model.n_features"], settings["model.epsilon"], settings["model"]) == (50, 0.5, "padim")
    assert (settings["weights"], settings["protocol"], settings["dataset.limit"]) == ("random", "anomalib_v2", None)
    covered = {
        name for name in flat(spec) if name not in ("dataset", "category", "backbone.name", "model.name", "seed")
    }
    assert set(settings) == covered | {"model", "weights", "protocol", "dataset.limit"}
    assert [shown(settings[name]) for name in ("dataset.limit", "model.n_features")] == ["null", "50"]


def test_what_varies_is_named_once_in_the_order_of_the_fields():
    assert varying([]) == []
    assert varying([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "c": 4}, {"a": 1, "b": 2, "c": 3}]) == ["b", "c"]
    assert varying([{"a": 1}, {"a": 1, "b": 2}]) == ["b"]
    assert varying([{"a": None}, {}]) == []


def test_a_value_counts_if_it_has_the_version_and_the_settings_that_are_wanted():
    record = make_ok(metrics=make_metrics(version=2), intervals={})
    assert not_measured(record, "pixel_aupro") is None
    assert not_measured(record, "pixel_aupro", version=2, settings={"aupro_fpr_limit": 0.3}) is None
    assert not_measured(record, "pixel_aupro", version=3) == (
        "not measured: it has version 2 of the metric, and 3 is wanted"
    )
    assert not_measured(record, "pixel_aupro", version=2, settings={"aupro_fpr_limit": 0.05}) == (
        "not measured: it was made with metrics.aupro_fpr_limit=0.3"
    )
    assert not_measured(record, "image_zeta", version=2) == "not measured"
    absent = {"metrics_absent": {"image_zeta": "no normal test image"}}
    assert not_measured(make_ok(**absent), "image_zeta", version=2) == "no normal test image"
