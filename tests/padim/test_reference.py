"""anomalib's own Engine as the oracle of the streaming engine."""

from __future__ import annotations

import gc
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from anomalib.models.image.padim.torch_model import PadimModel
from sklearn.metrics import roc_auc_score

from harness.config import DatasetConfig
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource, labels, load_masks
from harness.errors import RequestError
from harness.monitor import Monitor
from harness.padim.engine import Variant
from harness.padim.plan import Task, plan_pass, plan_reference
from harness.padim.reference import run_reference
from harness.padim.streaming import run_streaming
from harness.padim.weights import resolve_weights
from tests.drawing import draw_mvtec_category
from tests.padim.sources import LITE0, PROTOCOL, RESNET18, folder_source

pytestmark = pytest.mark.usefixtures("networks_once")

OWN_METRICS = {f"{level}_{name}" for level in ("image", "pixel") for name in ("AUROC", "F1Max", "F1Score")}


def run(engine, source, variants, *, backbone=RESNET18, protocol=PROTOCOL, monitor=None):
    task = Task(backbone, protocol, source.n_train, source.n_test, None, "cpu", 2, 2)
    return tuple(
        engine(
            source,
            backbone=backbone,
            weights=resolve_weights(backbone),
            protocol=protocol,
            variants=variants,
            device="cpu",
            monitor=monitor or Monitor(),
            plan=plan_pass(task, [variant.n_features for variant in variants], 2**40),
        )
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> SplitSource:
    root = tmp_path_factory.mktemp("mvtec")
    draw_mvtec_category(root / "bottle", n_train=31)
    return folder_source(root)


@pytest.fixture(scope="module")
def both(source):
    variants = (Variant(42, 20, "anomalib_v2"), Variant(7, 24, "anomalib_v1"))
    return run(run_reference, source, variants), run(run_streaming, source, variants)


def test_the_engines_agree(source, both):
    for reference, streaming in zip(*both, strict=True):
        assert reference.anomaly_maps.shape == streaming.anomaly_maps.shape == (10, 64, 64)
        assert reference.anomaly_maps.dtype == reference.image_scores.dtype == np.float32
        assert reference.indices_sha256 == streaming.indices_sha256
        assert np.abs(reference.anomaly_maps / streaming.anomaly_maps - 1).max() < 1e-4
        assert np.allclose(reference.image_scores, streaming.image_scores, rtol=1e-4)
        for truth, values in (
            (labels(source.split), "image_scores"),
            (load_masks(source.split, PROTOCOL), "anomaly_maps"),
        ):
            areas = [roc_auc_score(truth.ravel(), getattr(one, values).ravel()) for one in (reference, streaming)]
            assert abs(areas[0] - areas[1]) < 1e-6


def test_anomalibs_own_metrics_are_there(source, both):
    for scores in both[0]:
        assert set(scores.own_metrics) == OWN_METRICS
        # anomalib clamps before it ranks: ties, which only cost it a little.
        assert scores.own_metrics["image_AUROC"] == pytest.approx(
            roc_auc_score(labels(source.split), scores.image_scores), abs=0.02
        )
        assert scores.own_metrics["pixel_AUROC"] == pytest.approx(
            roc_auc_score(load_masks(source.split, PROTOCOL).ravel(), scores.anomaly_maps.ravel()), abs=0.02
        )
        assert scores.notes == ()


def test_it_leaves_nothing_behind(source, tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    torch.manual_seed(8)
    before = torch.get_rng_state(), torch.get_num_threads(), dict(os.environ)
    monitor = Monitor()
    run(run_reference, source, (Variant(1, 5, "anomalib_v1"),), monitor=monitor)
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert dict(os.environ) == before[2]
    assert set(monitor.seconds) == {"load", "fit", "score"}


def test_without_masks_pixels_have_no_metrics(tmp_path):
    draw_mvtec_category(tmp_path / "bottle", n_train=5, n_good=2, n_bad=3)

    unmasked = resolve_split(DatasetConfig("mvtec", "mvtec", tmp_path), "bottle")
    test = tuple(replace(sample, mask=None) for sample in unmasked.test)
    source = SplitSource(replace(unmasked, test=test, has_masks=False), PROTOCOL)
    (scores,) = run(run_reference, source, (Variant(1, 5, "anomalib_v1"),))
    assert set(scores.own_metrics) == {name for name in OWN_METRICS if name.startswith("image")}
    assert scores.anomaly_maps.shape == (5, 64, 64)


def test_interrupting_it_is_a_keyboard_interrupt(source, monkeypatch):
    """Lightning alone would exit with status 1 and ignore Ctrl-C from then on."""
    handler = signal.getsignal(signal.SIGINT)
    calls = []

    class Interrupted(SplitSource):
        def datamodule(self):
            module = super().datamodule()
            read = module.train_dataloader

            def interrupt():
                calls.append(1)
                signal.raise_signal(signal.SIGINT)
                return read()

            module.train_dataloader = interrupt
            return module

    interrupted = Interrupted(source.split, PROTOCOL)
    with pytest.raises(KeyboardInterrupt):
        run(run_reference, interrupted, (Variant(1, 5, "anomalib_v1"),))
    assert calls
    assert signal.getsignal(signal.SIGINT) is handler


def test_features_for_which_anomalibs_inverse_breaks(source):
    """It does on several threads from 192 features on; the Engine's inverse gets one."""
    variants = (Variant(3, 200, "anomalib_v1"),)
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    try:
        (reference,), (streaming,) = (run(engine, source, variants) for engine in (run_reference, run_streaming))
    finally:
        torch.set_num_threads(before)
    assert np.abs(reference.anomaly_maps / streaming.anomaly_maps - 1).max() < 1e-3


def test_another_epsilon_is_noted(source):
    protocol = replace(PROTOCOL, epsilon=0.01)
    (reference,) = run(run_reference, source, (Variant(1, 5, "anomalib_v1"),), protocol=protocol)
    (streaming,) = run(run_streaming, source, (Variant(1, 5, "anomalib_v1"),), protocol=protocol)
    (note,) = reference.notes
    assert "0.01001" in note
    assert "protocol.epsilon=0.01:" in note
    difference = np.abs(reference.anomaly_maps / streaming.anomaly_maps - 1).max()
    # sqrt(0.01001 / 0.01) - 1 is 5e-4; the rest is anomalib's rounding.
    assert 1e-6 < difference < 6e-4


def test_another_blur_is_refused(source):
    with pytest.raises(RequestError, match="blur_sigma=2: engine=reference always blurs with 4"):
        run(run_reference, source, (Variant(1, 5, "anomalib_v1"),), protocol=replace(PROTOCOL, blur_sigma=2))


def test_a_runs_model_is_gone_before_the_next_begins(source):
    def models() -> int:
        return sum(isinstance(thing, PadimModel) for thing in gc.get_objects())

    gc.collect()
    before = models()
    task = Task(RESNET18, PROTOCOL, source.n_train, source.n_test, None, "cpu", 2, 2)
    scored = run_reference(
        source,
        backbone=RESNET18,
        weights=resolve_weights(RESNET18),
        protocol=PROTOCOL,
        variants=(Variant(1, 5, "anomalib_v1"), Variant(2, 5, "anomalib_v1")),
        device="cpu",
        monitor=Monitor(),
        plan=plan_reference(task, 5),
    )
    assert [models() for _ in scored] == [before, before]


def test_the_engines_agree_on_another_network(source):
    variants = (Variant(5, 20, "anomalib_v2"),)
    (reference,), (streaming,) = (
        run(engine, source, variants, backbone=LITE0) for engine in (run_reference, run_streaming)
    )
    assert reference.indices_sha256 == streaming.indices_sha256
    assert np.abs(reference.anomaly_maps / streaming.anomaly_maps - 1).max() < 1e-3
