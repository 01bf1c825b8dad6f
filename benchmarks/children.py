"""What runs in a measured process: `python -m benchmarks.children WHAT OUT.json ARGUMENT ...`.

floor ROOT WEIGHTS              every image decoded, resized and passed once through the network, and nothing else
warm REQUEST ...                the whole of `python -m harness REQUEST ...`, everything imported before
weights BACKBONE FILE           random weights of a network, as a file that both sides read
pixels SIDE WHAT N_IMAGES       the metrics alone, on drawn maps; SIDE ours or anomalib, WHAT auroc_f1 or aupro
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.images import CATEGORY

if TYPE_CHECKING:
    from harness.data.loader import Part

SIDE, BATCH, FPR_LIMIT = 224, 16, 0.3


def floor(root: str, weights: str) -> dict[str, Any]:
    """Do the least that the work can take, with the decoder, network and memory format of the harness.

    Each core takes a batch, decodes it and passes it on one thread: nothing waits for anything. Imports, finding the
    images and reading the weights are not timed.
    """
    import torch

    from harness.config.resolve import read_backbone, read_preprocessing
    from harness.config.settings import DatasetConfig
    from harness.data.layouts import resolve_split
    from harness.data.loader import SplitSource
    from harness.models.backbone import load_timm, quickened
    from harness.models.weights import resolve_weights

    split = resolve_split(DatasetConfig("mvtec", "mvtec", Path(root)), CATEGORY)
    source = SplitSource(split, read_preprocessing("paper", dataset="mvtec"))
    backbone = replace(read_backbone("resnet18"), weights=weights)
    network = quickened(load_timm(backbone, resolve_weights(backbone)))
    parts: tuple[Part, ...] = ("train", "test")
    batches = [(part, number) for part in parts for number in range(source.n_batches(part))]

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a first use, so that the number stays this thread's

    def pass_once(batch: tuple[Part, int]) -> None:
        images = source.load_batch(*batch).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            network(images)

    started = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), initializer=begin) as cores:
        for _ in cores.map(pass_once, batches):
            pass
    return {"work_seconds": time.perf_counter() - started}


def warm(*request: str) -> dict[str, Any]:
    """Run ours without imports: first another run of a few images, which imports all that a run needs.

    The harness decodes while it imports, so the imports are done in another run, with another seed and cache.
    """
    from harness.__main__ import main

    cache = os.environ["XDG_CACHE_HOME"]
    with tempfile.TemporaryDirectory(prefix="bench-warm-") as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        same = [word for word in request if not word.startswith(("seeds=", "store="))]
        status = main([*same, "seeds=[1]", "dataset.limit=4", f"store={folder}/store"])
    os.environ["XDG_CACHE_HOME"] = cache
    started = time.perf_counter()
    if status := status or main([*request]):
        sys.exit(status)
    return {"work_seconds": time.perf_counter() - started}


def weights(architecture: str, path: str) -> dict[str, Any]:
    """Write random weights."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model(architecture, pretrained=False).state_dict(), path)
    return {}


def draw_maps(n_images: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Draw smooth maps and masks, (N, side, side) float32 in [0, 1] and bool; three of four have one round defect."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    maps = np.empty((n_images, side, side), np.float32)
    masks = np.zeros((n_images, side, side), bool)
    rows, columns = np.ogrid[:side, :side]
    for number in range(n_images):
        field = gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), 4, mode="wrap") * 14
        if number % 4:
            row, column, radius = rng.uniform((0.2, 0.2, 0.05), (0.8, 0.8, 0.2)) * side
            masks[number] = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        np.copyto(maps[number], 1 / (1 + np.exp(-field - 1.5 * masks[number])))
    return maps, masks


def ours(maps: np.ndarray, masks: np.ndarray, what: str) -> dict[str, float]:
    """Compute AUROC and F1-max, or AUPRO, from arrays of all images, as a run of the harness has them."""
    from harness.metrics.ranking import auroc, f1, rank
    from harness.metrics.region import aupro, rank_pixels

    if what == "aupro":
        return {"pixel_aupro": aupro(rank_pixels(maps, masks), FPR_LIMIT)}
    ranked = rank(maps[masks], maps[~masks])
    return {"pixel_auroc": auroc(ranked), "pixel_f1_max": f1(ranked).maximum}


def anomalib(maps: np.ndarray, masks: np.ndarray, what: str) -> dict[str, float]:
    """Compute AUROC and F1Max, or AUPRO, updated batch by batch as anomalib's Engine does."""
    import torch
    from anomalib.data import ImageBatch
    from anomalib.metrics import AUPRO, AUROC, F1Max

    fields = ["anomaly_map", "gt_mask"]
    metrics: dict[str, Any] = {"pixel_auroc": AUROC(fields=fields), "pixel_f1_max": F1Max(fields=fields)}
    if what == "aupro":
        metrics = {"pixel_aupro": AUPRO(fields=fields, fpr_limit=FPR_LIMIT)}
    for start in range(0, len(maps), BATCH):
        part = slice(start, start + BATCH)
        batch = ImageBatch(
            image=torch.zeros(len(maps[part]), 3, 1, 1),
            anomaly_map=torch.from_numpy(maps[part]),
            gt_mask=torch.from_numpy(masks[part]),
        )
        for metric in metrics.values():
            metric.update(batch)
    return {name: float(metric.compute()) for name, metric in metrics.items()}


def pixels(who: str, what: str, n_images: str) -> dict[str, Any]:
    """Time the metrics."""
    side = {"ours": ours, "anomalib": anomalib}[who]
    side(*draw_maps(4, 32), what)  # imports, and what every library sets up at its first call
    maps, masks = draw_maps(int(n_images))
    started = time.perf_counter()
    metrics = side(maps, masks, what)
    return {"work_seconds": time.perf_counter() - started, "metrics": metrics}


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {one.__name__: one for one in (floor, warm, weights, pixels)}

if __name__ == "__main__":
    name, out, *arguments = sys.argv[1:]
    Path(out).write_text(json.dumps(CHILDREN[name](*arguments)), encoding="utf-8")
