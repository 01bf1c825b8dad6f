"""The drawn channels are anomalib's own, whatever happened to the generators before."""

from __future__ import annotations

import hashlib
import os
import random
import struct
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from lightning.pytorch import seed_everything

from harness.errors import RequestError
from harness.padim.engine import Variant
from harness.padim.indices import _anomalib_v2_order, draw_indices, index_versions, indices_sha256
from harness.padim.isolation import preserved_random_state
from tests.padim.sources import LITE0, RESNET18, WIDE_RESNET50


@pytest.fixture(autouse=True)
def nothing_remembered():
    _anomalib_v2_order.cache_clear()


def anomalibs_own(backbone, seed: int, n_features: int, *, pre_trained: bool = False) -> np.ndarray:
    """Return what a user of anomalib 2.x gets."""
    from anomalib.models import Padim

    with preserved_random_state():
        seed_everything(seed)
        model = Padim(
            backbone=backbone.architecture,
            layers=list(backbone.layers),
            pre_trained=pre_trained,
            n_features=n_features,
        )
    return model.model.idx.numpy()


@pytest.mark.parametrize(("backbone", "n_features"), [(RESNET18, 100), (LITE0, 176), (LITE0, 1)])
@pytest.mark.parametrize("seed", [0, 42])
def test_anomalib_v2_is_what_padim_draws(backbone, n_features, seed):
    torch.rand(seed + 1)
    drawn = draw_indices(Variant(seed, n_features, "anomalib_v2"), backbone)
    assert drawn.dtype == np.int64
    assert np.array_equal(drawn, anomalibs_own(backbone, seed, n_features))


def test_pretrained_weights_draw_nothing(monkeypatch):
    """With the download replaced by a file of the same tensors, Padim(pre_trained=True) keeps the same channels."""
    state = timm.create_model("resnet18").state_dict()
    asked = []
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf", lambda name, **_: asked.append(name) or dict(state)
    )
    with_weights = anomalibs_own(RESNET18, 42, 100, pre_trained=True)
    assert len(asked) == 1
    assert np.array_equal(with_weights, draw_indices(Variant(42, 100, "anomalib_v2"), RESNET18))


def test_a_tag_draws_the_same():
    tagged = replace(RESNET18, architecture="resnet18.tv_in1k")
    assert np.array_equal(
        draw_indices(Variant(1, 100, "anomalib_v2"), tagged), draw_indices(Variant(1, 100, "anomalib_v2"), RESNET18)
    )


@pytest.mark.parametrize("seed", [0, 42, 7])
@pytest.mark.parametrize(("backbone", "n_features"), [(RESNET18, 100), (WIDE_RESNET50, 550), (LITE0, 176)])
def test_anomalib_v1_is_random_sample(backbone, n_features, seed):
    drawn = draw_indices(Variant(seed, n_features, "anomalib_v1"), backbone)
    random.seed(seed)
    assert drawn.tolist() == random.sample(range(backbone.n_channels), n_features)
    assert drawn.dtype == np.int64


@pytest.mark.parametrize("sampler", ["anomalib_v1", "anomalib_v2"])
def test_channels_are_distinct_and_depend_on_the_seed(sampler):
    first, second = (draw_indices(Variant(seed, 100, sampler), RESNET18) for seed in (0, 1))
    assert len(set(first.tolist())) == 100
    assert 0 <= first.min() <= first.max() < 448
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("sampler", ["anomalib_v1", "anomalib_v2"])
def test_fewer_features_are_the_first_of_more_in_v2_only(sampler):
    few, many = (draw_indices(Variant(3, n, sampler), RESNET18) for n in (50, 100))
    assert np.array_equal(few, many[:50]) == (sampler == "anomalib_v2")


def test_nothing_global_changes(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    monkeypatch.delenv("PL_SEED_WORKERS", raising=False)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    draw_indices(Variant(42, 100, "anomalib_v2"), RESNET18)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    assert os.environ["PL_GLOBAL_SEED"] == "17"
    assert "PL_SEED_WORKERS" not in os.environ


def test_a_drawn_array_can_be_changed_safely():
    variant = Variant(42, 10, "anomalib_v2")
    draw_indices(variant, LITE0)[:] = 0
    assert draw_indices(variant, LITE0).any()


@pytest.mark.parametrize("n_features", [0, -1, 449])
def test_an_impossible_number_of_features(n_features):
    with pytest.raises(RequestError, match=f"n_features={n_features}: resnet18 has 448 channels"):
        draw_indices(Variant(0, n_features, "anomalib_v1"), RESNET18)


def test_an_unknown_sampler():
    with pytest.raises(RequestError, match="index_sampler=v3"):
        draw_indices(Variant(0, 5, "v3"), RESNET18)


def test_the_digest_is_of_little_endian_64_bit():
    indices = np.array([3, 1, 2], np.int64)
    assert indices_sha256(indices) == hashlib.sha256(struct.pack("<3q", 3, 1, 2)).hexdigest()
    assert indices_sha256(indices.astype(">i8")) == indices_sha256(indices)
    assert indices_sha256(np.array([1, 2, 3], np.int64)) != indices_sha256(indices)


def test_versions_are_kept_where_they_matter():
    assert index_versions("anomalib_v1") is None
    assert index_versions("anomalib_v2") == {"timm": timm.__version__, "torch": torch.__version__.split("+")[0]}
