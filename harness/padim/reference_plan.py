"""What a run through anomalib's own Engine is expected to take: unlike ours it grows with the training images."""

from __future__ import annotations

from harness.padim.plan import CUDA_LIBRARY_BYTES, Plan
from harness.padim.sizes import FLOAT, Task

_ANOMALIB_BYTES = 960 * 2**20
"""A process with torch, timm, anomalib and Lightning in it, before anything is loaded."""
_NETWORK_COPIES = 2.5
_LAYER_COPIES = 1.75
"""Of the network's largest layer, by image, while a batch passes through it."""
_LEFT_OF_A_PASS = 0.35
"""Of what a batch took: not given back to the system when the Gaussians are fitted."""
_COVARIANCES = 4
"""While they are inverted: as they were made, with the diagonal added, their factors, the inverses."""
_BANK_STACKED, _BANK_FITTED = 2.35, 1.3
"""Of all training images' patch embeddings: while their batches become one tensor, and after that."""


def plan_reference(task: Task, n_features: int) -> Plan:
    """Plan one run of the reference engine; it has nothing to choose, so this only says what it takes.

    The constants are of peaks measured on the CPU (`tests/padim/test_reference_plan.py` has them); a GPU's follow from
    the same sizes.
    """
    batch = task.protocol.batch_size
    cells = max(task.cells)
    # Layers are enlarged to the finest grid and joined one after another: two copies of all channels.
    by_image = 2 * task.backbone.n_channels * cells + _LAYER_COPIES * task.largest_layer
    passing = batch * by_image * FLOAT
    bank = task.n_train * n_features * cells * FLOAT
    covariances = n_features**2 * cells * FLOAT
    fitting = _LEFT_OF_A_PASS * passing + max(_BANK_STACKED * bank, _BANK_FITTED * bank + _COVARIANCES * covariances)
    testing = passing + covariances
    network = _NETWORK_COPIES * task.network_bytes
    judging = task.maps_bytes + task.judging_bytes(1)
    if task.device == "cpu":
        host = _ANOMALIB_BYTES + network + max(fitting, testing + 2 * task.maps_bytes, judging)
        device = None
    else:
        host = CUDA_LIBRARY_BYTES + network + judging
        device = int(task.network_bytes + max(fitting, testing))
    return Plan(
        groups=((0,),),
        workers=1,
        decoded_ahead=0,
        images_at_once=task.n_train,
        test_batches_at_once=1,
        judges=1,
        host_bytes=int(host),
        device_bytes=device,
    )
