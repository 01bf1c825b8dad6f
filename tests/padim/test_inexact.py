"""Inexact modes: a faster network, features that are still float32, and numbers near the exact ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import RequestError
from harness.monitor import Monitor
from harness.padim.embedding import Channels, FeatureReader
from harness.padim.engine import Variant
from harness.padim.fusing import quickened
from harness.padim.inexact import in_arithmetic
from harness.padim.plan import plan_pass
from harness.padim.reference import run_reference
from harness.padim.sizes import Task
from harness.padim.streaming import run_streaming
from harness.padim.weights import resolve_weights
from tests.padim.conftest import timm_once
from tests.padim.sources import PROTOCOL, RESNET18, random_source

pytestmark = pytest.mark.usefixtures("networks_once")
VARIANT = Variant(42, 50, "anomalib_v2")


def run(engine, inexact):
    source = random_source()
    (scores,) = engine(
        source,
        backbone=RESNET18,
        weights=resolve_weights(RESNET18),
        protocol=PROTOCOL,
        variants=(VARIANT,),
        device="cpu",
        monitor=Monitor(),
        plan=plan_pass(Task(RESNET18, PROTOCOL, source.n_train, source.n_test, None, "cpu", 2, 2), [50], 2**40),
        inexact=inexact,
    )
    return scores.anomaly_maps


def read(network) -> list[torch.Tensor]:
    reader = FeatureReader(network, RESNET18.layers, Channels.of(np.arange(0, 448, 7), RESNET18.channels))
    return reader(random_source().train[0], "drawn images")[0]


def test_no_mode_is_the_network_itself():
    network = quickened(timm_once(RESNET18, resolve_weights(RESNET18)))
    assert in_arithmetic(network, None) is network


def test_bf16_features_are_float32_and_near():
    network = timm_once(RESNET18, resolve_weights(RESNET18))
    exact, inexact = read(quickened(network)), read(in_arithmetic(quickened(network), "bf16"))
    for one, other in zip(exact, inexact, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert one.shape == other.shape
        assert 0 < (one - other).abs().max() < 0.1 * one.abs().max()


def test_bf16_moves_maps_a_little_and_gives_the_same_bits_again():
    exact, inexact, again = (run(run_streaming, mode) for mode in (None, "bf16", "bf16"))
    assert 1e-5 < np.max(np.abs(inexact / exact - 1)) < 0.2
    assert inexact.tobytes() == again.tobytes()


def test_tf32_is_on_only_while_the_network_computes():
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        seen = in_arithmetic(lambda _: [backend.allow_tf32 for backend in backends], "tf32")(torch.zeros(1))
        assert seen == [True, True]
        assert [backend.allow_tf32 for backend in backends] == [False, False]
        with pytest.raises(ZeroDivisionError):
            in_arithmetic(lambda _: 1 / 0, "tf32")(torch.zeros(1))
        assert [backend.allow_tf32 for backend in backends] == [False, False]
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def test_the_reference_is_always_exact():
    with pytest.raises(RequestError, match=r"^inexact=bf16: engine=reference is always exact; take engine=streaming"):
        run(run_reference, "bf16")
