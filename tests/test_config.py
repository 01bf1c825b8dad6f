"""Keys, and what a composed configuration must hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harness.__main__ import help_text
from harness.config import run_key, run_spec
from harness.errors import RequestError
from harness.keys import KEYS, group_options, register
from harness.overrides import parse, quote
from harness.paths import CONFIGS, DEFAULT_STORE
from harness.resolve import resolve


def composed(*overrides: str):
    register()
    OmegaConf.register_new_resolver("harness_help", help_text, replace=True)
    arguments = [override.hydra() for override in parse([quote(override) for override in overrides])[0]]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("config", arguments)


def job(*overrides: str, protocol_name: str = "paper"):
    given = {override.partition("=")[0] for override in overrides}
    base = [text for text in ("category=bottle", "dataset.root=/data") if text.partition("=")[0] not in given]
    return resolve(composed(*base, *overrides), protocol_name=protocol_name)


def spec(run, **changes):
    known = {"fingerprint": "f" * 64, "weights_digest": "d" * 64, "metrics_version": 1, "index_versions": None}
    return run_spec(run, **(known | changes))


@pytest.mark.parametrize("group", ["dataset", "backbone", "protocol", "experiment"])
def test_every_config_file_composes_and_resolves(group):
    for name in group_options(group):
        config = composed(f"{group}={name}", "category=x", "dataset.root=/data")
        resolved = resolve(config, protocol_name="paper")
        assert resolved.runs[0].seed == 42


def test_every_key_of_the_command_line_is_in_the_configuration():
    config = composed("dataset=folder")
    for key in KEYS:
        assert OmegaConf.select(config, key, default="absent") != "absent", key


def test_the_paper_protocol_is_what_the_paper_states():
    run = job().runs[0]
    protocol = run.protocol
    assert (protocol.resize, protocol.center_crop, protocol.epsilon) == ((256, 256), (224, 224), 0.01)
    assert (protocol.batch_size, protocol.blur_sigma, protocol.index_sampler) == (16, 4, "anomalib_v1")
    assert (run.seed, run.n_features) == (42, 100)
    assert job("backbone=wide_resnet50_2").runs[0].n_features == 256
    assert job("backbone=wide_resnet50_2", "protocol=anomalib_v2").runs[0].n_features == 550


@pytest.mark.parametrize("protocol", ["paper", "anomalib_v2"])
def test_a_folder_of_ones_own_is_not_cropped_unless_asked(protocol):
    def crop(*overrides):
        config = composed("dataset=folder", "category=x", "dataset.root=/data", f"protocol={protocol}", *overrides)
        return resolve(config, protocol_name=protocol).runs[0].protocol.center_crop

    assert crop() is None
    assert crop("protocol.center_crop=[224,224]") == (224, 224)
    assert crop("protocol.resize=[512,512]") is None


def test_seeds_n_features_and_samplers_become_runs_of_one_job():
    runs = job("seeds=[0,1]", "n_features=[50,100]", "protocol.index_sampler=[anomalib_v1,anomalib_v2]").runs
    assert len(runs) == 8
    assert {(run.seed, run.n_features, run.protocol.index_sampler) for run in runs} == {
        (seed, n, sampler) for seed in (0, 1) for n in (50, 100) for sampler in ("anomalib_v1", "anomalib_v2")
    }


def test_the_default_store_is_the_projects():
    assert job().execution.store == DEFAULT_STORE
    assert job("store=/elsewhere").execution.store == Path("/elsewhere")


def test_data_root_is_the_parent_of_the_dataset(monkeypatch):
    assert resolve(composed("category=x", "data_root=/all"), protocol_name="paper").runs[0].dataset.root == Path(
        "/all/mvtec"
    )
    monkeypatch.setenv("DATA_ROOT", "/a, ${b} = 'c'")
    assert resolve(composed("category=x"), protocol_name="paper").runs[0].dataset.root == Path("/a, ${b} = 'c'/mvtec")
    monkeypatch.delenv("DATA_ROOT")
    with pytest.raises(RequestError, match=r"dataset\.root: is not given"):
        resolve(composed("category=x"), protocol_name="paper")


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr("harness.device._cuda_is_available", lambda: False)
    assert job("device=auto").runs[0].device == "cpu"
    monkeypatch.setattr("harness.device._cuda_is_available", lambda: True)
    assert job("device=auto").runs[0].device == "cuda"


def test_what_moves_a_number_is_in_the_key():
    run = job().runs[0]
    base = run_key(spec(run))
    moved = {
        base,
        run_key(spec(run, fingerprint="0" * 64)),
        run_key(spec(run, weights_digest="0" * 64)),
        run_key(spec(run, metrics_version=2)),
        run_key(spec(run, index_versions={"timm": "1", "torch": "2"})),
        *(
            run_key(spec(job(override).runs[0]))
            for override in (
                "category=cable", "seed=43", "n_features=99", "engine=reference", "protocol.epsilon=0.02",
                "protocol.resize=240", "protocol.center_crop=null", "protocol.batch_size=8", "protocol.blur_sigma=3",
                "protocol.index_sampler=anomalib_v2", "protocol.interpolation=bicubic", "protocol.antialias=false",
                "protocol.mean=[0,0,0]", "protocol.std=[1,1,1]", "metrics.bootstrap_samples=10",
                "metrics.bootstrap_seed=1", "metrics.confidence=0.9", "metrics.aupro_fpr_limit=0.2", "dataset=btad",
            )
        ),
    }  # fmt: skip
    assert len(moved) == 24


def test_what_moves_no_number_is_not_in_the_key():
    base = spec(job().runs[0])
    for override in ("store=/x", "threads=1", "workers=5", "dataset.root=/elsewhere", "dry_run=true"):
        assert spec(job(override).runs[0]) == base
    assert spec(job(protocol_name="mine").runs[0]) == base
    assert "/data" not in str(base)


def test_every_field_of_the_protocol_is_in_the_spec():
    run = job().runs[0]
    assert set(spec(run)["protocol"]) == {field.name for field in dataclasses.fields(run.protocol)}


def test_a_run_that_is_named_twice_is_one():
    config = composed("category=bottle", "dataset.root=/data", "backbone=resnet18")
    config.n_features = [100, None, 50]  # as n_features=100,null,50 is folded
    assert [run.n_features for run in resolve(config, protocol_name="paper").runs] == [100, 50]
