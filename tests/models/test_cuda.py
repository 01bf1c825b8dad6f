"""On a GPU: the same numbers as on the CPU, and the same bits twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.device import free_device_memory
from harness.models.padim.engine import Draw
from harness.models.padim.reference import run_reference
from harness.models.padim.streaming import run_streaming
from tests.drawing import draw_mvtec_category
from tests.models.sources import LITE0, RESNET18, WIDE_RESNET50, folder_source, random_source, spread
from tests.models.sources import run as run_engine

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.usefixtures("networks_once"),
]
VARIANTS = (Draw(42, 50, "anomalib_v2"), Draw(0, 20, "anomalib_v1"))


def run(source, device, backbone=RESNET18, variants=VARIANTS, engine=run_streaming, **changes):
    scores = run_engine(engine, source, variants, backbone=backbone, device=device, **changes)
    return np.stack([one.anomaly_maps for one in scores])


@pytest.fixture(scope="module")
def source():
    return random_source()


@pytest.mark.parametrize("backbone", [RESNET18, replace(LITE0, weights="random")], ids=lambda backbone: backbone.name)
def test_maps_are_the_cpus_and_the_same_twice(source, backbone):
    maps, again, on_cpu = (run(source, device, backbone) for device in ("cuda", "cuda", "cpu"))
    assert spread(maps, on_cpu) < 1e-4
    assert maps.tobytes() == again.tobytes()


def test_a_small_gpus_steps_move_nothing_but_rounding(source):
    whole, in_steps = (run(source, "cuda", test_batches_at_once=n) for n in (2, 1))
    assert spread(in_steps, whole) < 1e-5


def test_what_torch_keeps_to_use_again_is_free():
    torch.cuda.empty_cache()
    before = free_device_memory()
    held = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    assert free_device_memory() <= before - 2**30
    del held
    assert free_device_memory() > before - 2**26


def test_more_features_than_anomalib_can_invert_on_a_cpu(source):
    variants = (Draw(0, 256, "anomalib_v1"),)
    assert spread(*(run(source, device, WIDE_RESNET50, variants) for device in ("cuda", "cpu"))) < 1e-4


def test_anomalibs_engine_gives_the_same_maps(tmp_path):
    draw_mvtec_category(tmp_path / "bottle", n_train=31)
    pictures = folder_source(tmp_path)
    ours, theirs = (
        run(pictures, "cuda", variants=VARIANTS[:1], engine=engine) for engine in (run_streaming, run_reference)
    )
    assert spread(ours, theirs) < 1e-4
