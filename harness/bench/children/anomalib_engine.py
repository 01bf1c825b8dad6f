"""PaDiM by anomalib's own Engine, as its user would write it: nothing of the harness is imported.

    python anomalib_engine.py OUT.json '{"root": ..., "category": ..., ...}'

`lean`: no pictures and, by `barebones`, no checkpoint, logger or progress bar. The validation pass stays: without it
anomalib does not normalise its scores, and its AUROC, which applies a sigmoid to scores outside [0, 1], is wrong.
Otherwise anomalib as it comes, which writes pictures and a checkpoint, here into a temporary folder.
"""

import time

BEGAN = time.perf_counter()

import json  # noqa: E402  the imports are timed
import logging  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

warnings.simplefilter("ignore")

from anomalib.data import MVTecAD  # noqa: E402
from anomalib.engine import Engine  # noqa: E402
from anomalib.metrics import AUPRO, AUROC, Evaluator, F1Max  # noqa: E402
from anomalib.models import Padim  # noqa: E402
from anomalib.pre_processing import PreProcessor  # noqa: E402
from lightning.pytorch import Callback, seed_everything  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize  # noqa: E402

IMPORTED = time.perf_counter()

NAMES = {
    "image_AUROC": "image_auroc",
    "image_F1Max": "image_f1_max",
    "pixel_AUROC": "pixel_auroc",
    "pixel_F1Max": "pixel_f1_max",
    "pixel_AUPRO": "pixel_aupro",
}


class Clock(Callback):
    """When each part of the run began. Lightning calls this before the model's own hooks and callbacks."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, float]] = [("import", BEGAN), ("set-up", IMPORTED)]

    def begin(self, stage: str) -> None:
        """A stage begins, and the one before it ends."""
        self.marks.append((stage, time.perf_counter()))

    def on_train_start(self, *_: Any) -> None:
        """The first training batch is fetched next."""
        self.begin("train pass")

    def on_validation_start(self, *_: Any) -> None:
        """PaDiM is fitted in the model's hook of this name, which comes next."""
        self.begin("fit")

    def on_validation_epoch_start(self, *_: Any) -> None:
        """The test images are passed for the first time."""
        self.begin("validation pass")

    def on_validation_end(self, *_: Any) -> None:
        """A checkpoint is written where there is one, and the test is set up."""
        self.begin("checkpoint")

    def on_test_start(self, *_: Any) -> None:
        """The test images are passed for the second time, and drawn where they are."""
        self.begin("test pass")

    def on_test_epoch_end(self, *_: Any) -> None:
        """The evaluator's hook of this name comes next."""
        self.begin("metrics")

    def on_test_end(self, *_: Any) -> None:
        """Only the end of the process is left."""
        self.begin("end")

    def stages(self) -> dict[str, float]:
        """Seconds by stage, from the first import to this call."""
        ends = [start for _, start in self.marks[1:]] + [time.perf_counter()]
        return {name: end - start for (name, start), end in zip(self.marks, ends, strict=True)}


def main(out: str, request: str) -> None:
    """Fit, test, and write metrics and stages."""
    asked = json.loads(request)
    logging.disable(logging.WARNING)
    clock = Clock()

    datamodule = MVTecAD(
        root=asked["root"],
        category=asked["category"],
        train_batch_size=asked["batch_size"],
        eval_batch_size=asked["batch_size"],
        num_workers=asked["workers"],
    )
    transform = [Resize(asked["resize"], antialias=True), CenterCrop(asked["crop"])]
    normalize = Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    metrics: list[Any] = [
        AUROC(fields=["pred_score", "gt_label"], prefix="image_"),
        F1Max(fields=["pred_score", "gt_label"], prefix="image_"),
        AUROC(fields=["anomaly_map", "gt_mask"], prefix="pixel_"),
        F1Max(fields=["anomaly_map", "gt_mask"], prefix="pixel_"),
    ]
    if asked["aupro"]:
        metrics.append(AUPRO(fields=["anomaly_map", "gt_mask"], prefix="pixel_"))

    seed_everything(asked["seed"], workers=True, verbose=False)
    model = Padim(
        backbone=asked["architecture"],
        layers=asked["layers"],
        pre_trained=False,
        n_features=asked["n_features"],
        pre_processor=PreProcessor(transform=Compose([*transform, normalize])),
        evaluator=Evaluator(test_metrics=metrics),
        visualizer=not asked["lean"],
    )
    network = model.model.feature_extractor.feature_extractor
    missing = network.load_state_dict(load_file(asked["weights"]), strict=False).missing_keys
    if lacking := [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise SystemExit(f"the weights lack {lacking[:3]}")

    with tempfile.TemporaryDirectory(prefix="bench-anomalib-") as folder:
        engine = Engine(callbacks=[clock], default_root_dir=folder, accelerator="cpu", barebones=asked["lean"])
        engine.fit(model=model, datamodule=datamodule)
        (printed,) = engine.test(model=model, datamodule=datamodule, verbose=False)
        metrics_found = {NAMES[name]: float(value) for name, value in printed.items() if name in NAMES}
        Path(out).write_text(json.dumps({"stages": clock.stages(), "metrics": metrics_found}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
