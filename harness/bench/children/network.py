"""Images a second that the network alone passes on a device, in float32 and in each inexact mode.

    python -m harness.bench.children.network OUT.json DEVICE BATCH_SIZE N_BATCHES REQUEST ...

The network is the one that a run uses (batch norms folded, channels last), and the kept channels are taken as in a run.
The images lie on the device: nothing is decoded or copied. The modes take turns, batch by batch.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from harness.bench.children.latency import WARM_UP, wait
from harness.bench.percentiles import latency


def main(out: str, device: str, batch_size: str, n_batches: str, *request: str) -> None:
    """Write `MODE_images_per_second` and `MODE_p50_ms` for each mode that the device has."""
    import torch

    from harness.bench.children.floor import composed
    from harness.config import INEXACT
    from harness.padim.backbone import load_timm, resolve_weights
    from harness.padim.embedding import Channels, FeatureReader
    from harness.padim.engine import Variant
    from harness.padim.fusing import quickened
    from harness.padim.indices import draw_indices
    from harness.padim.inexact import prepared
    from harness.padim.isolation import exact_arithmetic

    run = composed(request).runs[0]
    backbone = run.backbone
    indices = draw_indices(Variant(run.seed, run.n_features, run.protocol.index_sampler), backbone)
    kept = Channels.of(indices, backbone.channels)
    modes = (None, *(mode for mode in INEXACT if device == "cuda" or mode != "tf32"))
    seconds: dict[str | None, list[float]] = {mode: [] for mode in modes}
    with exact_arithmetic(device):
        weights = resolve_weights(backbone)
        readers = {
            mode: FeatureReader(
                prepared(quickened(load_timm(backbone, weights)).to(device), mode), backbone.layers, kept, device
            )
            for mode in modes
        }
        images = torch.randn(int(batch_size), 3, *run.protocol.input_size, generator=torch.Generator().manual_seed(0))
        there = images.to(device)
        warm_up = min(WARM_UP, int(n_batches))
        for number in range(warm_up + int(n_batches)):
            for mode, read in readers.items():
                wait(device)
                started = time.perf_counter()
                read(there, "drawn images")
                wait(device)
                if number >= warm_up:
                    seconds[mode].append(time.perf_counter() - started)
    numbers = {"batch_size": float(batch_size)}
    for mode, taken in seconds.items():
        said = latency(taken, int(batch_size))
        name = mode or "float32"
        numbers |= {f"{name}_images_per_second": said["images_per_second"], f"{name}_p50_ms": said["p50_ms"]}
    Path(out).write_text(json.dumps(numbers), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
