"""The reference engine: the same run through anomalib's own Engine, as the oracle of the streaming one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.padim.backbone import load_network
from harness.padim.engine import ANOMALIB_EPSILON, Scores, check_reference
from harness.padim.indices import draw_indices, indices_sha256
from harness.padim.isolation import exact_arithmetic, one_thread, own_interrupts, preserved_random_state, silence

if TYPE_CHECKING:
    from anomalib.metrics import Evaluator
    from anomalib.models import Padim
    from lightning.pytorch import Callback

    from harness.config import BackboneConfig, ProtocolConfig
    from harness.monitor import Monitor
    from harness.padim.engine import ImageSource, Variant
    from harness.padim.plan import Plan
    from harness.padim.weights import Weights


def run_reference(
    source: ImageSource,
    *,
    backbone: BackboneConfig,
    weights: Weights,
    protocol: ProtocolConfig,
    variants: tuple[Variant, ...],
    device: str,
    monitor: Monitor,
    plan: Plan,
) -> Generator[Scores]:
    """Fit and test each variant by `anomalib.engine.Engine`; see `harness.padim.engine.Engine`.

    Images, batches, normalisation and thresholds are anomalib's; maps and scores are taken before its PostProcessor
    normalises and clamps them. Differences from anomalib as it comes: no visualiser and no checkpoint, and one thread
    for the inverse, which breaks on several. The working folder, torch's switches and all generators are left as they
    were.

    Stages, for each variant: `load`, `fit` (anomalib's validation pass over the test images included), `score`.

    Raises:
        RequestError: as `check_reference`.
    """
    check_reference(protocol)
    for variant in variants:
        with own_interrupts(), silence(), exact_arithmetic(device), preserved_random_state():
            scores = _run_variant(
                source,
                variant,
                backbone=backbone,
                weights=weights,
                protocol=protocol,
                device=device,
                monitor=monitor,
            )
        gc.collect()  # Trainer and model refer to one another, and its covariances can be gigabytes.
        yield scores


def _run_variant(
    source: ImageSource,
    variant: Variant,
    *,
    backbone: BackboneConfig,
    weights: Weights,
    protocol: ProtocolConfig,
    device: str,
    monitor: Monitor,
) -> Scores:
    from anomalib.engine import Engine

    with monitor.stage("load"):
        indices = draw_indices(variant, backbone)
        model = _build_model(source, variant, backbone, weights, indices)
        datamodule = source.datamodule()
        recorder, recorded = _recorder()
    with TemporaryDirectory() as folder:
        # Barebones is the only way to have no checkpoint: enable_checkpointing=False is refused by anomalib's own.
        engine = Engine(
            callbacks=[recorder],
            default_root_dir=Path(folder),
            barebones=True,
            accelerator="gpu" if device == "cuda" else "cpu",
        )
        with monitor.stage("fit", source.n_train) as advance:
            recorded.advance = advance
            engine.fit(model=model, datamodule=datamodule)
        with monitor.stage("score", source.n_test) as advance:
            recorded.advance = advance
            printed = engine.test(model=model, datamodule=datamodule, verbose=False)
    if recorded.paths != list(datamodule.test_data.samples["image_path"]):
        raise RuntimeError("anomalib's Engine did not test the images in the order of its dataset")
    return Scores(
        image_scores=np.concatenate(recorded.scores).astype(np.float32, copy=False),
        anomaly_maps=np.concatenate(recorded.maps).astype(np.float32, copy=False),
        indices_sha256=indices_sha256(indices),
        own_metrics={name: float(value) for name, value in printed[0].items() if value is not None},
        notes=_notes(protocol),
    )


def _build_model(
    source: ImageSource, variant: Variant, backbone: BackboneConfig, weights: Weights, indices: np.ndarray
) -> Padim:
    """Return anomalib's Padim with our weights, and with our indices where the sampler is not its own."""
    from anomalib.models import Padim
    from anomalib.pre_processing import PreProcessor
    from lightning.pytorch import seed_everything

    class SafePadim(Padim):
        def fit(self) -> None:
            with one_thread():
                super().fit()

    network = load_network(backbone, weights)
    pre_processor = PreProcessor(transform=source.transform)
    evaluator = _evaluator()
    # Right before the constructor, which draws the indices.
    seed_everything(variant.seed, workers=True, verbose=False)
    model = SafePadim(
        backbone=backbone.architecture,
        layers=list(backbone.layers),
        pre_trained=False,
        n_features=variant.n_features,
        pre_processor=pre_processor,
        evaluator=evaluator,
        visualizer=False,
    )
    model.model.feature_extractor = network
    ours = torch.from_numpy(indices)
    if variant.index_sampler == "anomalib_v2" and not torch.equal(model.model.idx, ours):
        raise RuntimeError("anomalib's Padim drew other indices than draw_indices says")
    model.model.idx.copy_(ours)
    return model


def _evaluator() -> Evaluator:
    """anomalib's default metrics, and F1Max; those of pixels give nothing where there are no masks."""
    from anomalib.metrics import AUROC, Evaluator, F1Max, F1Score

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


class _Recorded:
    """Raw test outputs in the order of the test loader."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.scores: list[np.ndarray] = []
        self.maps: list[np.ndarray] = []
        self.advance: Callable[[int], None] = lambda _: None


def _recorder() -> tuple[Callback, _Recorded]:
    """Return a callback that records raw test outputs, and what it records into.

    Lightning calls the Engine's callbacks before those of the model, of which the PostProcessor is one, so it sees the
    batch before it is normalised.
    """
    from lightning.pytorch import Callback

    recorded = _Recorded()

    class Recorder(Callback):
        def on_train_batch_end(self, _trainer: Any, _module: Any, _outputs: Any, batch: Any, _index: int) -> None:
            recorded.advance(len(batch.image))

        def on_test_batch_end(
            self,
            _trainer: Any,
            _module: Any,
            outputs: Any,
            _batch: Any,
            _index: int,
            _loader: int = 0,
        ) -> None:
            recorded.paths += outputs.image_path
            recorded.scores.append(outputs.pred_score.flatten().cpu().numpy().copy())
            recorded.maps.append(outputs.anomaly_map.squeeze(1).cpu().numpy().copy())
            recorded.advance(len(outputs.image_path))

    return Recorder(), recorded


def _notes(protocol: ProtocolConfig) -> tuple[str, ...]:
    if protocol.epsilon == ANOMALIB_EPSILON:
        return ()
    return (
        f"anomalib's Engine adds {ANOMALIB_EPSILON} to the diagonal, not protocol.epsilon={protocol.epsilon}: maps "
        "differ from the streaming engine's by up to 5e-4, relatively, where protocol.epsilon is 0.01",
    )
