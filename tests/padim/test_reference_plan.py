"""What anomalib's Engine takes is foreseen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.padim.plan import Task, plan_reference
from tests.padim.sources import LITE0, PROTOCOL, RESNET18, WIDE_RESNET50

PAPER = replace(PROTOCOL, resize=(256, 256), center_crop=(224, 224), batch_size=16)
TASK = Task(RESNET18, PAPER, 209, 83, 11_000_000, "cpu", 2, 2)
WIDE = replace(TASK, backbone=WIDE_RESNET50, weights_bytes=None, n_train=50)
BATCHES_OF_64 = replace(PAPER, batch_size=64)
FEW = {"n_train": 10, "n_test": 10, "protocol": replace(PAPER, batch_size=10)}


@pytest.mark.parametrize(
    ("task", "n_features", "mebibytes"),
    [
        (TASK, 100, 1924),
        (TASK, 50, 1476),
        (TASK, 180, 3343),
        (replace(TASK, n_train=50), 100, 1671),
        (replace(TASK, **FEW), 100, 1612),
        (replace(TASK, **FEW), 20, 1247),
        (replace(TASK, n_train=500), 100, 2543),
        (replace(TASK, n_train=1000), 100, 3919),
        (replace(TASK, n_train=50, n_test=400), 100, 1711),
        (replace(TASK, n_train=50, n_test=1000), 100, 1816),
        (replace(TASK, n_train=50, n_test=500), 20, 1528),
        (replace(TASK, n_train=50, n_test=1000), 20, 1992),
        (replace(TASK, n_train=50, n_test=2000), 20, 3085),
        (replace(TASK, protocol=replace(PAPER, center_crop=None)), 100, 2146),
        (replace(TASK, protocol=replace(PAPER, center_crop=None, resize=(512, 512)), n_train=50, n_test=50), 50, 2520),
        (replace(TASK, protocol=BATCHES_OF_64), 100, 2125),
        (replace(TASK, protocol=BATCHES_OF_64, n_train=100), 20, 2111),
        (WIDE, 100, 2204),
        (WIDE, 180, 3005),
        (WIDE, 256, 4728),
        (replace(WIDE, **FEW), 50, 1761),
        (replace(WIDE, **FEW), 100, 1904),
        (replace(WIDE, protocol=BATCHES_OF_64, n_train=100), 20, 4452),
        (replace(TASK, backbone=LITE0, weights_bytes=18_600_000, n_train=50), 100, 1639),
    ],
)
def test_what_was_measured(task, n_features, mebibytes):
    """Peaks of whole processes on a real category, two cores; the constants were set from them."""
    assert 0.85 < plan_reference(task, n_features).host_bytes / 2**20 / mebibytes < 1.15


def test_it_grows_with_the_training_set():
    few, many = (plan_reference(replace(TASK, n_train=n), 100).host_bytes for n in (1000, 2000))
    assert many - few > 1000 * 2 * 100 * 56 * 56 * 4


def test_a_gpu_holds_the_embeddings_and_the_covariances():
    plan = plan_reference(replace(WIDE, device="cuda"), 550)
    assert plan.device_bytes is not None
    assert plan.device_bytes > 4 * 550**2 * 56 * 56 * 4 + 50 * 550 * 56 * 56 * 4 > plan.host_bytes
    assert plan_reference(WIDE, 550).device_bytes is None
