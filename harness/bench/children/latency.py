"""Seconds a batch of the fitted model takes, one after the other: anomalib's PadimModel, as a fit hands it over.

    python -m harness.bench.children.latency OUT.json DEVICE BATCH_SIZES N_BATCHES REQUEST ...

Each batch is copied to the device, scored, and its map and score copied back; the clock stops when the device has
finished. Images lie in pinned memory where there is a GPU. What the Gaussians hold does not change the time, so they
are standard ones; decoding is not part of it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench.percentiles import latency

if TYPE_CHECKING:
    from anomalib.models.image.padim.torch_model import PadimModel

    from harness.config import RunConfig

WARM_UP = 10
"""Batches before the clock starts, though no more than are timed: kernels are chosen and memory is reserved by then."""


def standard_model(run: RunConfig, device: str) -> PadimModel:
    """A model of the right sizes, whose every Gaussian has mean 0 and covariance 1."""
    import torch
    from anomalib.models.image.padim.torch_model import PadimModel

    from harness.padim.backbone import load_network
    from harness.padim.weights import resolve_weights

    model = PadimModel(
        backbone=run.backbone.architecture,
        layers=list(run.backbone.layers),
        pre_trained=False,
        n_features=run.n_features,
    )
    model.feature_extractor = load_network(run.backbone, resolve_weights(run.backbone))
    height, width = run.protocol.input_size
    stride = run.backbone.reductions[0]
    n_locations = -(-height // stride) * -(-width // stride)
    model.gaussian.mean = torch.zeros(run.n_features, n_locations)
    model.gaussian.inv_covariance = torch.eye(run.n_features).repeat(n_locations, 1, 1)
    return model.eval().to(device)


def time_batches(model: PadimModel, device: str, batch_size: int, size: tuple[int, int], n_batches: int) -> list[float]:
    """Seconds of each batch, after a warm-up."""
    import torch

    images = torch.randn(batch_size, 3, *size, generator=torch.Generator().manual_seed(0))
    if device == "cuda":
        images = images.pin_memory()
    seconds = []
    with torch.inference_mode():
        warm_up = min(WARM_UP, n_batches)
        for number in range(warm_up + n_batches):
            wait(device)
            started = time.perf_counter()
            found = model(images.to(device, non_blocking=True))
            found.anomaly_map.cpu()
            found.pred_score.cpu()
            wait(device)
            if number >= warm_up:
                seconds.append(time.perf_counter() - started)
    return seconds


def wait(device: str) -> None:
    """Until the device has done all that it was given; the CPU always has."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def main(out: str, device: str, batch_sizes: str, n_batches: str, *request: str) -> None:
    """Write percentiles, throughput and the peak of device memory, for batches of each of these sizes: `1,16,64`."""
    import torch

    from harness.bench.children.floor import composed
    from harness.padim.isolation import exact_arithmetic

    run = composed(request).runs[0]
    with exact_arithmetic(device):
        model = standard_model(run, device)
        taken: dict[str, float] = {}
        for size in map(int, batch_sizes.split(",")):
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            said = latency(time_batches(model, device, size, run.protocol.input_size, int(n_batches)), size)
            if device == "cuda":
                said["peak_device_bytes"] = torch.cuda.max_memory_allocated()
            taken |= {f"batch_{size}_{name}": value for name, value in said.items()}
    Path(out).write_text(json.dumps(taken), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
