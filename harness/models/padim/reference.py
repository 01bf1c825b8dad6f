"""The reference engine: the same run through anomalib's own Engine, as the oracle of the streaming one."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.models.backbone import load_network
from harness.models.base import Scores, joined
from harness.models.compute import exact_arithmetic, one_thread, silence
from harness.models.engine import fit_and_test, own_interrupts
from harness.models.padim.engine import ANOMALIB_EPSILON, Draw, Work, check_reference, draw_indices, indices_sha256

with silence():
    from anomalib.metrics import AUROC, Evaluator, F1Max, F1Score
    from anomalib.models import Padim
    from anomalib.pre_processing import PreProcessor

if TYPE_CHECKING:
    from harness.data.loader import SplitSource
    from harness.execution.monitor import Monitor


def run_reference(source: SplitSource, work: Work, monitor: Monitor) -> Generator[Scores]:
    """Fit and test each variant by `anomalib.engine.Engine`; yield its scores.

    All is anomalib's own, but without visualiser and checkpoint, and with one thread for the inverse, which fails on
    several. Maps and scores are taken before its PostProcessor normalises and clamps them.

    Stages, for each variant: `load`, `fit` (anomalib's validation pass over the test images included), `score`.

    Raises:
        RequestError: as `check_reference`.
    """
    exact_arithmetic(work.device)
    for variant in work.variants:
        check_reference(variant.blur_sigma)
        with own_interrupts(), silence(), torch.random.fork_rng(devices=[]):
            with monitor.stage("load"):
                indices = draw_indices(variant.draw, work.backbone)
                model = _build_model(source, variant.draw, work, indices)
            recorder, own_metrics = fit_and_test(model, source, work.device, monitor)
        scores = Scores(
            image_scores=np.concatenate(recorder.scores),
            anomaly_maps=joined(recorder.maps),
            indices_sha256=indices_sha256(indices),
            own_metrics=own_metrics,
            notes=_notes(variant.epsilon),
        )
        del model, recorder
        gc.collect()  # Trainer and model refer to one another, and its covariances can be gigabytes.
        yield scores


class _Padim(Padim):
    def fit(self) -> None:
        with one_thread():
            super().fit()


def _build_model(source: SplitSource, draw: Draw, work: Work, indices: np.ndarray) -> Padim:
    """Return anomalib's Padim with our weights, and with our indices where the sampler is not its own."""
    network = load_network(work.backbone, work.weights)
    pre_processor = PreProcessor(transform=source.transform)
    # Right before the constructor, which draws the indices.
    torch.manual_seed(draw.seed)
    model = _Padim(
        backbone=work.backbone.architecture,
        layers=list(work.backbone.layers),
        pre_trained=False,
        n_features=draw.n_features,
        pre_processor=pre_processor,
        evaluator=_evaluator(),
        visualizer=False,
    )
    model.model.feature_extractor = network
    ours = torch.from_numpy(indices)
    if draw.index_sampler == "anomalib_v2" and not torch.equal(model.model.idx, ours):
        raise RuntimeError("anomalib's Padim drew other indices than draw_indices says")
    model.model.idx.copy_(ours)
    return model


def _evaluator() -> Evaluator:
    """Return anomalib's default metrics, and F1Max; those of pixels give nothing where there are no masks."""
    kinds: tuple[tuple[Any, str, str], ...] = (
        (AUROC, "pred_score", "anomaly_map"),
        (F1Max, "pred_score", "anomaly_map"),
        (F1Score, "pred_label", "pred_mask"),
    )
    return Evaluator(
        test_metrics=[
            *(kind(fields=[image, "gt_label"], prefix="image_") for kind, image, _ in kinds),
            *(kind(fields=[pixel, "gt_mask"], prefix="pixel_", strict=False) for kind, _, pixel in kinds),
        ]
    )


def _notes(epsilon: float) -> tuple[str, ...]:
    if epsilon == ANOMALIB_EPSILON:
        return ()
    return (
        f"anomalib's Engine adds {ANOMALIB_EPSILON} to the diagonal, not model.epsilon={epsilon}: maps "
        "differ from the streaming engine's by up to 5e-4, relatively, where model.epsilon is 0.01",
    )
