"""Keys, and what a composed configuration must hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harness.__main__ import help_text
from harness.config.keys import KEYS, group_options, model_keys, register
from harness.config.overrides import parse, quote
from harness.config.resolve import resolve
from harness.config.settings import run_key, run_spec
from harness.errors import RequestError
from harness.paths import CONFIGS, DEFAULT_STORE


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
    known = {"fingerprint": "f" * 64, "weights_digest": "d" * 64, "versions": None}
    return run_spec(run, **(known | changes))


@pytest.mark.parametrize("group", ["dataset", "preprocessing", "model", "backbone", "protocol", "experiment"])
def test_every_config_file_composes_and_resolves(group):
    for name in group_options(group):
        config = composed(f"{group}={name}", "category=x", "dataset.root=/data")
        resolved = resolve(config, protocol_name="paper")
        assert resolved.runs[0].seed == 42


def test_every_key_of_the_command_line_is_in_the_configuration():
    for model in group_options("model"):
        config = composed("dataset=folder", f"model={model}")
        for key in {**{name: KEYS[name] for name in KEYS if not name.startswith("model.")}, **model_keys(model)}:
            assert OmegaConf.select(config, key, default="absent") != "absent", key


def test_the_paper_protocol_is_what_the_paper_states():
    run = job().runs[0]
    preprocessing, model = run.preprocessing, run.model
    assert (preprocessing.resize, preprocessing.center_crop, preprocessing.batch_size) == ((256, 256), (224, 224), 16)
    assert (model.epsilon, model.blur_sigma, model.index_sampler) == (0.01, 4, "anomalib_v1")
    assert (run.seed, model.n_features) == (42, 100)
    assert job("backbone=wide_resnet50_2").runs[0].model.n_features == 256
    assert job("backbone=wide_resnet50_2", "protocol=anomalib_v2").runs[0].model.n_features == 550


def test_a_setting_that_the_protocol_lacks_for_a_backbone_is_asked_for(monkeypatch):
    config = composed("category=x", "dataset.root=/data")
    config.backbone.name = "mine"
    with pytest.raises(RequestError, match=r"model\.n_features: protocol=paper has no value for backbone=mine"):
        resolve(config, protocol_name="paper")


@pytest.mark.parametrize("protocol", ["paper", "anomalib_v2"])
def test_a_folder_of_ones_own_is_not_cropped_unless_asked(protocol):
    def crop(*overrides):
        config = composed("dataset=folder", "category=x", "dataset.root=/data", f"protocol={protocol}", *overrides)
        return resolve(config, protocol_name=protocol).runs[0].preprocessing.center_crop

    assert crop() is None
    assert crop("preprocessing.center_crop=[224,224]") == (224, 224)
    assert crop("preprocessing.resize=[512,512]") is None


def test_seeds_n_features_and_samplers_become_runs_of_one_job():
    runs = job("seeds=[0,1]", "model.n_features=[50,100]", "model.index_sampler=[anomalib_v1,anomalib_v2]").runs
    assert len(runs) == 8
    assert {(run.seed, run.model.n_features, run.model.index_sampler) for run in runs} == {
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
        run_key(spec(run, versions={"timm": "1", "torch": "2"})),
        *(
            run_key(spec(job(override).runs[0]))
            for override in (
                "category=cable", "seed=43", "model.n_features=99", "engine=reference", "model.epsilon=0.02",
                "preprocessing.resize=240", "preprocessing.center_crop=null", "preprocessing.batch_size=8",
                "model.blur_sigma=3",
                "model.index_sampler=anomalib_v2", "preprocessing.interpolation=bicubic",
                "preprocessing.antialias=false",
                "preprocessing.mean=[0,0,0]", "preprocessing.std=[1,1,1]", "dataset=btad",
            )
        ),
    }  # fmt: skip
    assert len(moved) == 19


def test_what_moves_no_number_is_not_in_the_key():
    base = spec(job().runs[0])
    for override in (
        "store=/x",
        "threads=1",
        "workers=5",
        "dataset.root=/elsewhere",
        "dry_run=true",
        "metrics.bootstrap_samples=10",
        "metrics.bootstrap_seed=1",
        "metrics.confidence=0.9",
    ):
        assert spec(job(override).runs[0]) == base
    assert spec(job(protocol_name="mine").runs[0]) == base
    assert "/data" not in str(base)


def test_every_setting_of_preprocessing_and_model_is_in_the_spec():
    run = job().runs[0]
    for group in ("preprocessing", "model"):
        assert set(spec(run)[group]) == {field.name for field in dataclasses.fields(getattr(run, group))}
