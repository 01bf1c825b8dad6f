"""PaDiM by anomalib's own Engine, as its user would write it: nothing of the harness is imported.

    python anomalib_engine.py OUT.json '{"root": ..., "weights": ..., "workers": ...}'

Without pictures and, by `barebones`, without checkpoint, logger or progress bar. The validation pass stays: without it
anomalib does not normalise its scores, and its AUROC is wrong.
"""

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

from anomalib.data import MVTecAD  # noqa: E402 — the warnings of these imports are meant
from anomalib.engine import Engine  # noqa: E402
from anomalib.metrics import AUROC, Evaluator, F1Max  # noqa: E402
from anomalib.models import Padim  # noqa: E402
from anomalib.pre_processing import PreProcessor  # noqa: E402
from lightning.pytorch import seed_everything  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize  # noqa: E402

RESIZE, CROP, BATCH_SIZE, N_FEATURES = (256, 256), (224, 224), 16, 100
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BACKBONE, LAYERS = "resnet18", ["layer1", "layer2", "layer3"]
NAMES = {"AUROC": "auroc", "F1Max": "f1_max"}


def main(out: str, request: str) -> None:
    """Fit, test, and write the metrics."""
    asked = json.loads(request)
    logging.disable(logging.WARNING)
    datamodule = MVTecAD(
        root=asked["root"],
        category="bottle",
        train_batch_size=BATCH_SIZE,
        eval_batch_size=BATCH_SIZE,
        num_workers=asked["workers"],
    )
    transform = Compose([Resize(RESIZE, antialias=True), CenterCrop(CROP), Normalize(mean=MEAN, std=STD)])
    image, pixel = ["pred_score", "gt_label"], ["anomaly_map", "gt_mask"]
    metrics: list[Any] = [metric(fields=image, prefix="image_") for metric in (AUROC, F1Max)]
    metrics += [metric(fields=pixel, prefix="pixel_") for metric in (AUROC, F1Max)]

    seed_everything(0, workers=True, verbose=False)
    model = Padim(
        backbone=BACKBONE,
        layers=LAYERS,
        pre_trained=False,
        n_features=N_FEATURES,
        pre_processor=PreProcessor(transform=transform),
        evaluator=Evaluator(test_metrics=metrics),
        visualizer=False,
    )
    network = model.model.feature_extractor.feature_extractor
    missing = network.load_state_dict(load_file(asked["weights"]), strict=False).missing_keys
    if lacking := [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise SystemExit(f"the weights lack {lacking[:3]}")

    with tempfile.TemporaryDirectory(prefix="bench-anomalib-") as folder:
        engine = Engine(default_root_dir=folder, accelerator="cpu", barebones=True)
        engine.fit(model=model, datamodule=datamodule)
        (printed,) = engine.test(model=model, datamodule=datamodule, verbose=False)
    found = {
        f"{kind}_{ours}": float(printed[f"{kind}_{name}"])
        for kind in ("image", "pixel")
        for name, ours in NAMES.items()
    }
    Path(out).write_text(json.dumps({"metrics": found}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
