"""The drawn channels are anomalib's own, whatever happened to the generators before."""

from __future__ import annotations

import hashlib
import random
import struct

import numpy as np
import pytest
import timm
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.seed import isolate_rng

from harness.models.padim.engine import Draw, _anomalib_v2_order, draw_indices, index_versions, indices_sha256
from tests.models.sources import LITE0, RESNET18, WIDE_RESNET50


@pytest.fixture(autouse=True)
def nothing_remembered():
    _anomalib_v2_order.cache_clear()


def anomalibs_own(backbone, seed: int, n_features: int, *, pre_trained: bool = False) -> np.ndarray:
    """Return what a user of anomalib 2.x gets."""
    from anomalib.models import Padim

    with isolate_rng():
        seed_everything(seed)
        model = Padim(
            backbone=backbone.architecture,
            layers=list(backbone.layers),
            pre_trained=pre_trained,
            n_features=n_features,
        )
    return model.model.idx.numpy()


@pytest.mark.parametrize(("backbone", "n_features"), [(RESNET18, 100), (LITE0, 176)])
@pytest.mark.parametrize("seed", [0, 42])
def test_anomalib_v2_is_what_padim_draws(backbone, n_features, seed):
    torch.manual_seed(seed + 1)
    before = torch.get_rng_state()
    drawn = draw_indices(Draw(seed, n_features, "anomalib_v2"), backbone)
    assert torch.equal(torch.get_rng_state(), before)
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
    assert np.array_equal(with_weights, draw_indices(Draw(42, 100, "anomalib_v2"), RESNET18))


@pytest.mark.parametrize("seed", [0, 42, 7])
@pytest.mark.parametrize(("backbone", "n_features"), [(RESNET18, 100), (WIDE_RESNET50, 550), (LITE0, 176)])
def test_anomalib_v1_is_random_sample(backbone, n_features, seed):
    drawn = draw_indices(Draw(seed, n_features, "anomalib_v1"), backbone)
    random.seed(seed)
    assert drawn.tolist() == random.sample(range(backbone.n_channels), n_features)
    assert drawn.dtype == np.int64


def test_the_digest_is_of_little_endian_64_bit():
    indices = np.array([3, 1, 2], np.int64)
    assert indices_sha256(indices) == hashlib.sha256(struct.pack("<3q", 3, 1, 2)).hexdigest()
    assert indices_sha256(indices.astype(">i8")) == indices_sha256(indices)


def test_versions_are_kept_where_they_matter():
    assert index_versions("anomalib_v1") is None
    assert index_versions("anomalib_v2") == {"timm": timm.__version__, "torch": torch.__version__.split("+")[0]}
