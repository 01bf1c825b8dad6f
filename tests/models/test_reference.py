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

from harness.data.loader import SplitSource, labels, load_masks
from harness.errors import RequestError
from harness.execution.monitor import Monitor
from harness.models.padim.engine import Draw
from harness.models.padim.reference import run_reference
from harness.models.padim.streaming import run_streaming
from tests.drawing import draw_mvtec_category
from tests.models.sources import LITE0, PREPROCESSING, folder_source, run, spread

pytestmark = pytest.mark.usefixtures("networks_once")

OWN_METRICS = {f"{level}_{name}" for level in ("image", "pixel") for name in ("AUROC", "F1Max", "F1Score")}
SMALL = (Draw(1, 5, "anomalib_v1"),)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> SplitSource:
    root = tmp_path_factory.mktemp("mvtec")
    draw_mvtec_category(root / "bottle", n_train=31)
    return folder_source(root)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> SplitSource:
    root = tmp_path_factory.mktemp("few")
    draw_mvtec_category(root / "bottle", n_train=5, n_good=2, n_bad=3)
    return folder_source(root)


@pytest.fixture(scope="module")
def both(source):
    variants = (Draw(42, 20, "anomalib_v2"), Draw(7, 24, "anomalib_v1"))
    return [run(engine, source, variants) for engine in (run_reference, run_streaming)]


def test_the_engines_agree(source, both):
    for reference, streaming in zip(*both, strict=True):
        assert reference.anomaly_maps.shape == streaming.anomaly_maps.shape == (10, 64, 64)
        assert reference.anomaly_maps.dtype == streaming.anomaly_maps.dtype == np.float32
        assert reference.image_scores.dtype == streaming.image_scores.dtype == np.float64
        assert reference.indices_sha256 == streaming.indices_sha256
        assert spread(reference.anomaly_maps, streaming.anomaly_maps) < 1e-4
        assert np.allclose(reference.image_scores, streaming.image_scores, rtol=1e-4)
        for truth, values in (
            (labels(source.split), "image_scores"),
            (load_masks(source.split, PREPROCESSING), "anomaly_maps"),
        ):
            areas = [roc_auc_score(truth.ravel(), getattr(one, values).ravel()) for one in (reference, streaming)]
            assert abs(areas[0] - areas[1]) < 1e-6


def test_the_engines_agree_on_another_network(source):
    variants = (Draw(5, 20, "anomalib_v2"),)
    (reference,), (streaming,) = (
        run(engine, source, variants, backbone=LITE0) for engine in (run_reference, run_streaming)
    )
    assert reference.indices_sha256 == streaming.indices_sha256
    assert spread(reference.anomaly_maps, streaming.anomaly_maps) < 1e-3


def test_features_for_which_anomalibs_inverse_breaks(few):
    """It does on several threads from 192 features on; the Engine's inverse gets one."""
    variants = (Draw(3, 200, "anomalib_v1"),)
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    try:
        (reference,) = run(run_reference, few, variants)
    finally:
        torch.set_num_threads(before)
    (streaming,) = run(run_streaming, few, variants)
    assert spread(reference.anomaly_maps, streaming.anomaly_maps) < 1e-3


def test_anomalibs_own_metrics_are_there(source, both):
    for scores in both[0]:
        assert set(scores.own_metrics) == OWN_METRICS
        # anomalib clamps before it ranks: ties, which only cost it a little.
        assert scores.own_metrics["image_AUROC"] == pytest.approx(
            roc_auc_score(labels(source.split), scores.image_scores), abs=0.02
        )
        assert scores.own_metrics["pixel_AUROC"] == pytest.approx(
            roc_auc_score(load_masks(source.split, PREPROCESSING).ravel(), scores.anomaly_maps.ravel()), abs=0.02
        )
        assert scores.notes == ()


def test_it_leaves_nothing_behind(few, tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = torch.get_rng_state(), torch.get_num_threads(), dict(os.environ)
    monitor = Monitor()
    counts = []
    for _ in (1, 2):  # a run's model is gone before the next begins
        run(run_reference, few, SMALL, monitor=monitor)
        counts.append(sum(type(thing) is PadimModel for thing in gc.get_objects()))
    assert counts[0] == counts[1]
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert dict(os.environ) == before[2]
    assert set(monitor.seconds) == {"load", "fit", "score"}


def test_without_masks_pixels_have_no_metrics_and_another_epsilon_is_noted(few):
    test = tuple(replace(sample, mask=None) for sample in few.split.test)
    source = SplitSource(replace(few.split, test=test, has_masks=False), PREPROCESSING)
    (reference,), (streaming,) = (run(engine, source, SMALL, epsilon=0.01) for engine in (run_reference, run_streaming))
    assert set(reference.own_metrics) == {name for name in OWN_METRICS if name.startswith("image")}
    (note,) = reference.notes
    assert "0.01001" in note
    assert "model.epsilon=0.01:" in note
    # sqrt(0.01001 / 0.01) - 1 is 5e-4; the rest is anomalib's rounding.
    assert 1e-6 < spread(reference.anomaly_maps, streaming.anomaly_maps) < 6e-4


def test_interrupting_it_is_a_keyboard_interrupt(few):
    """Lightning alone would exit with status 1 and ignore Ctrl-C from then on."""
    handler = signal.getsignal(signal.SIGINT)

    class Interrupted(SplitSource):
        def datamodule(self):
            module = super().datamodule()
            module.train_dataloader = lambda: signal.raise_signal(signal.SIGINT)
            return module

    with pytest.raises(KeyboardInterrupt):
        run(run_reference, Interrupted(few.split, PREPROCESSING), SMALL)
    assert signal.getsignal(signal.SIGINT) is handler


def test_another_blur_is_refused(few):
    with pytest.raises(RequestError, match="blur_sigma=2: engine=reference always blurs with 4"):
        run(run_reference, few, SMALL, blur_sigma=2)
