"""The metrics alone, on drawn maps: the same pixels for both sides.

    python -m harness.bench.children.pixels OUT.json ours|anomalib auroc_f1|aupro N_IMAGES

The maps are float32 in [0, 1], where anomalib's AUROC applies no sigmoid. Each side gets them as it does in a run:
ours as arrays of all images, anomalib's metrics batch by batch.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIDE, BATCH = 224, 16
FPR_LIMIT = 0.3


def draw_maps(n_images: int, side: int = SIDE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps and masks, (N, side, side) float32 in [0, 1] and bool: three images of four have one round defect.

    The values are those of a heavy-tailed field, higher within the defects; drawn one image at a time, so that the most
    memory is held at the end.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    maps = np.empty((n_images, side, side), np.float32)
    masks = np.zeros((n_images, side, side), bool)
    rows, columns = np.ogrid[:side, :side]
    for number in range(n_images):
        field = gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), 4, mode="wrap") * 14
        if number % 4:
            row, column, radius = (
                rng.uniform(0.2, 0.8) * side,
                rng.uniform(0.2, 0.8) * side,
                rng.uniform(0.05, 0.2) * side,
            )
            masks[number] = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            field += 1.5 * masks[number]
        np.copyto(maps[number], 1 / (1 + np.exp(-field)))
    return maps, masks


def ours(maps: np.ndarray, masks: np.ndarray, what: str) -> dict[str, float]:
    """AUROC, F1-max and adaptive F1, or AUPRO, from arrays."""
    from harness.metrics.ranking import auroc, f1, rank
    from harness.metrics.region import aupro, rank_pixels

    if what == "aupro":
        return {"pixel_aupro": aupro(rank_pixels(maps, masks), FPR_LIMIT)}
    ranked = rank(maps[masks], maps[~masks])
    best = f1(ranked)
    return {"pixel_auroc": auroc(ranked), "pixel_f1_max": best.maximum, "pixel_f1_adaptive": best.adaptive}


def anomalib(maps: np.ndarray, masks: np.ndarray, what: str) -> dict[str, float]:
    """AUROC and F1Max, or AUPRO, updated batch by batch as its Engine does."""
    import torch
    from anomalib.data import ImageBatch
    from anomalib.metrics import AUPRO, AUROC, F1Max

    fields = ["anomaly_map", "gt_mask"]
    metrics = {"pixel_aupro": AUPRO(fields=fields, fpr_limit=FPR_LIMIT)} if what == "aupro" else {
        "pixel_auroc": AUROC(fields=fields), "pixel_f1_max": F1Max(fields=fields)
    }  # fmt: skip
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


SIDES: dict[str, Callable[[np.ndarray, np.ndarray, str], dict[str, float]]] = {"ours": ours, "anomalib": anomalib}


def _status(field: str) -> int:
    match = re.search(rf"^{field}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def main(out: str, who: str, what: str, n_images: str) -> None:
    """Write the seconds of the metrics, and the bytes that they took beyond what was held before them."""
    side = SIDES[who]
    side(*draw_maps(4, 32), what)  # imports, and what every library sets up at its first call
    maps, masks = draw_maps(int(n_images))
    held = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    started = time.perf_counter()
    metrics = side(maps, masks, what)
    seconds = time.perf_counter() - started
    extra = max(_status("VmHWM") - held, 0)
    Path(out).write_text(
        json.dumps({"work_seconds": seconds, "metrics": metrics, "extra_bytes": extra, "pixels": maps.size}),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
