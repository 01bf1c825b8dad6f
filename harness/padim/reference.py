"""The reference engine: the same run through anomalib's own Engine, as the oracle of the streaming one."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.padim.backbone import load_network
from harness.padim.compute import exact_arithmetic, one_thread, silence
from harness.padim.engine import ANOMALIB_EPSILON, Scores, check_reference, draw_indices, indices_sha256

with silence():
    from anomalib.engine import Engine
    from anomalib.metrics import AUROC, Evaluator, F1Max, F1Score
    from anomalib.models import Padim
    from anomalib.pre_processing import PreProcessor
    from lightning.pytorch import Callback

if TYPE_CHECKING:
    from harness.data.loader import SplitSource
    from harness.monitor import Monitor
    from harness.padim.engine import Draw, Work


def run_reference(source: SplitSource, work: Work, monitor: Monitor) -> Generator[Scores]:
    """Fit and test each variant by `anomalib.engine.Engine`; see `harness.padim.engine.Engine`.

    Images, batches, normalisation and thresholds are anomalib's; maps and scores are taken before its PostProcessor
    normalises and clamps them. Differences from anomalib as it comes: no visualiser and no checkpoint, and one thread
    for the inverse, which breaks on several.

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
            recorder, own_metrics = _fit_and_test(model, source, work.device, monitor)
        scores = Scores(
            image_scores=np.concatenate(recorder.scores).astype(np.float32, copy=False),
            anomaly_maps=np.concatenate(recorder.maps).astype(np.float32, copy=False),
            indices_sha256=indices_sha256(indices),
            own_metrics=own_metrics,
            notes=_notes(variant.epsilon),
        )
        del model, recorder
        gc.collect()  # Trainer and model refer to one another, and its covariances can be gigabytes.
        yield scores


def _fit_and_test(
    model: Padim, source: SplitSource, device: str, monitor: Monitor
) -> tuple[_Recorder, dict[str, float]]:
    """Return what the test gave, raw, and anomalib's own metrics."""
    recorder, datamodule = _Recorder(), source.datamodule()
    with TemporaryDirectory() as folder:
        # Barebones is the only way to have no checkpoint: enable_checkpointing=False is refused by anomalib's own.
        engine = Engine(
            callbacks=[recorder],
            default_root_dir=Path(folder),
            barebones=True,
            accelerator="gpu" if device == "cuda" else "cpu",
        )
        with monitor.stage("fit", source.n_train) as recorder.advance:
            engine.fit(model=model, datamodule=datamodule)
        with monitor.stage("score", source.n_test) as recorder.advance:
            printed = engine.test(model=model, datamodule=datamodule, verbose=False)
    if recorder.paths != list(datamodule.test_data.samples["image_path"]):
        raise RuntimeError("anomalib's Engine did not test the images in the order of its dataset")
    return recorder, {name: float(value) for name, value in printed[0].items() if value is not None}


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


class _Recorder(Callback):
    """Raw test outputs in the order of the test loader.

    Lightning calls the Engine's callbacks before those of the model, of which the PostProcessor is one, so it sees the
    batch before it is normalised.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.scores: list[np.ndarray] = []
        self.maps: list[np.ndarray] = []
        self.advance: Callable[[int], None] = lambda _: None

    def on_train_batch_end(self, _trainer: Any, _module: Any, _outputs: Any, batch: Any, _index: int) -> None:
        self.advance(len(batch.image))

    def on_test_batch_end(
        self, _trainer: Any, _module: Any, outputs: Any, _batch: Any, _index: int, _loader: int = 0
    ) -> None:
        self.paths += outputs.image_path
        self.scores.append(outputs.pred_score.flatten().cpu().numpy().copy())
        self.maps.append(outputs.anomaly_map.squeeze(1).cpu().numpy().copy())
        self.advance(len(outputs.image_path))


@contextmanager
def own_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C again: Lightning makes SystemExit(1) of it and ignores every further one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop


def _notes(epsilon: float) -> tuple[str, ...]:
    if epsilon == ANOMALIB_EPSILON:
        return ()
    return (
        f"anomalib's Engine adds {ANOMALIB_EPSILON} to the diagonal, not protocol.epsilon={epsilon}: maps "
        "differ from the streaming engine's by up to 5e-4, relatively, where protocol.epsilon is 0.01",
    )
