"""Images a second that the network alone passes on a device, in float32 .

    python -m harness.bench.children.network OUT.json DEVICE BATCH_SIZES N_BATCHES REQUEST ...

The network is the one that a run uses (batch norms folded, channels last), and the kept channels are taken as in a run.
The images lie on the device: nothing is decoded or copied. The modes take turns, batch by batch.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench.children.latency import WARM_UP, wait
from harness.bench.percentiles import latency

if TYPE_CHECKING:
    import torch

    from harness.padim.embedding import FeatureReader


def main(out: str, device: str, batch_sizes: str, n_batches: str, *request: str) -> None:
    """Write `batch_SIZE_images_per_second` and `..._p50_ms` for each of these sizes."""
    import torch

    from harness.bench.children.floor import composed
    from harness.padim.backbone import load_timm, quickened
    from harness.padim.embedding import Channels, FeatureReader
    from harness.padim.engine import Variant
    from harness.padim.indices import draw_indices
    from harness.padim.isolation import exact_arithmetic
    from harness.padim.weights import resolve_weights

    run = composed(request).runs[0]
    backbone, weights = run.backbone, resolve_weights(run.backbone)
    indices = draw_indices(Variant(run.seed, run.n_features, run.protocol.index_sampler), backbone)
    kept = Channels.of(indices, backbone.channels)
    numbers: dict[str, float] = {}
    with exact_arithmetic(device):
        read = FeatureReader(quickened(load_timm(backbone, weights)).to(device), backbone.layers, kept, device)
        for size in map(int, batch_sizes.split(",")):
            images = torch.randn(size, 3, *run.protocol.input_size, generator=torch.Generator().manual_seed(0))
            said = latency(time_reader(read, images.to(device), device, int(n_batches)), size)
            numbers |= {f"batch_{size}_{name}": said[name] for name in ("images_per_second", "p50_ms")}
    Path(out).write_text(json.dumps(numbers), encoding="utf-8")


def time_reader(read: FeatureReader, images: torch.Tensor, device: str, n_batches: int) -> list[float]:
    """Seconds of each batch, after a warm-up."""
    seconds = []
    for _ in range(min(WARM_UP, n_batches) + n_batches):
        wait(device)
        started = time.perf_counter()
        read(images, "drawn images")
        wait(device)
        seconds.append(time.perf_counter() - started)
    return seconds[-n_batches:]


if __name__ == "__main__":
    main(*sys.argv[1:])
