"""How a sweep's runs of one category are carried out within a memory budget, and what that is expected to take.

Nothing here moves a number by more than rounding. Sizes follow from the shapes; the few constants were measured on
whole processes (docs/benchmarks.md compares predicted with measured peaks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.config import BackboneConfig
from harness.padim.sizes import FLOAT, Task
from harness.padim.workers import GPU_CHUNK_BYTES

LIBRARY_BYTES = 760 * 10**6
"""A process with torch, timm and the harness in it, before anything is loaded."""
_NETWORK_COPIES = 3
"""Of the weights while the network is made ready: the file's, the network's, the folded ones."""
_ACTIVATION_COPIES = 1.3
"""Of the network's largest layer, by image and worker."""
_DECODED_BYTES = 160 * 2**20
"""Of decoded images that may wait for the network: what two cores decode while the libraries are imported."""
_IMAGES_AT_ONCE = 64
"""Images whose products are summed together."""
_CHUNK_BYTES = 3 * 8 * 2**20
"""By worker, while it factors."""
CUDA_LIBRARY_BYTES = 1360 * 2**20
"""As LIBRARY_BYTES, with CUDA's own libraries and a context."""
_DECODING_BYTES = 40 * 2**20
"""By thread that decodes for a GPU: images of about 900 x 900 while they are read and resized."""
_CUDNN_BYTES = 64 * 2**20
"""What convolutions work in."""
_GPU_CHUNK_HELD = 0.65
"""Of a chunk's bytes there, held at once."""
_DEVICE_SHARE = 0.9
"""Of what is free there: what is asked for does not fill the blocks in which torch takes it."""
_MAPS_ON_GPU = 64
"""Images whose maps are made together there."""


@dataclass(frozen=True)
class Plan:
    """One pass over the images, for some variants."""

    groups: tuple[tuple[int, ...], ...]
    """Variants (by their place) whose moments are kept together; a group's channels are the union of its variants'."""
    workers: int
    """Threads that take batches through decoding and, on the CPU, the network."""
    decoded_ahead: int
    """Batches that may be decoded and wait for the network."""
    images_at_once: int
    """Training images whose products are summed together."""
    test_batches_at_once: int
    """Test batches whose features are held together; each variant is factored once for every so many."""
    judges: int
    """Runs whose metrics are computed beside one another."""
    host_bytes: int
    """Predicted peak of resident memory."""
    device_bytes: int | None
    """Predicted peak of a GPU's memory; None on the CPU."""


def plan_passes(
    task: Task, n_features: Sequence[int], budget: int, device_memory: int | None = None
) -> list[tuple[slice, Plan]]:
    """Part variants, in their order, into as few passes as the budget and a GPU's memory allow, and plan each.

    A variant that does not fit by itself gets the smallest plan there is: compare `Plan.host_bytes` with the budget,
    and `Plan.device_bytes` with the GPU's memory.

    Args:
        n_features: of each variant.
        budget: bytes.
        device_memory: bytes of the GPU's memory that are free; None for no bound.
    """
    passes: list[tuple[slice, Plan]] = []
    start = 0
    while start < len(n_features):
        end = start + 1
        plan = plan_pass(task, n_features[start:end], budget, device_memory)
        while end < len(n_features):
            larger = plan_pass(task, n_features[start : end + 1], budget, device_memory)
            if any(_over(larger, budget, device_memory)) or larger.test_batches_at_once < plan.test_batches_at_once:
                break
            plan, end = larger, end + 1
        passes.append((slice(start, end), plan))
        start = end
    return passes


def plan_pass(task: Task, n_features: Sequence[int], budget: int, device_memory: int | None = None) -> Plan:
    """Plan one pass for all these variants: the quickest that fits into the budgets, else the smallest."""
    own = sum(_moment_floats(task, _union(task.backbone, [one])) for one in n_features)
    shared = _moment_floats(task, _union(task.backbone, n_features))
    everyone = tuple(range(len(n_features)))
    groups = (everyone,) if shared < own else tuple((number,) for number in everyone)
    batch = task.protocol.batch_size
    batch_bytes = batch * 3 * task.pixels * FLOAT
    n_batches = max(1, -(-task.n_test // batch))
    plan = Plan(
        groups=groups,
        workers=task.threads if task.device == "cpu" else task.decoders,
        decoded_ahead=max(2, _DECODED_BYTES // batch_bytes),
        images_at_once=_IMAGES_AT_ONCE,
        test_batches_at_once=n_batches,
        judges=min(task.threads, len(n_features)),
        host_bytes=0,
        device_bytes=None,
    )
    while True:
        plan = _predicted(task, n_features, plan)
        on_host, on_device = _over(plan, budget, device_memory)
        smaller = plan
        if on_host:
            smaller = _smaller(plan)
        if on_device and smaller == plan:
            smaller = _smaller_on_device(plan)
        if smaller == plan:
            return plan
        plan = smaller


def _over(plan: Plan, budget: int, device_memory: int | None) -> tuple[bool, bool]:
    """Whether a plan takes too much of the host's memory, and of the GPU's."""
    if device_memory is None or plan.device_bytes is None:
        return plan.host_bytes > budget, False
    return plan.host_bytes > budget, plan.device_bytes > _DEVICE_SHARE * device_memory


def _smaller_on_device(plan: Plan) -> Plan:
    """As `_smaller`, of the GPU's memory."""
    if plan.test_batches_at_once > 4:
        return replace(plan, test_batches_at_once=max(4, plan.test_batches_at_once // 2))
    if plan.workers > 2:  # each has a batch there
        return replace(plan, workers=plan.workers - 1)
    return plan


def _smaller(plan: Plan) -> Plan:
    """Save the host's memory where it costs the least time, one step; the same plan where nothing is left to save."""
    if plan.judges > 1:
        return replace(plan, judges=plan.judges - 1)
    if plan.decoded_ahead > 2:
        return replace(plan, decoded_ahead=max(2, plan.decoded_ahead // 2))
    if plan.workers > 2:
        return replace(plan, workers=plan.workers - 1)
    if plan.test_batches_at_once > 4 and plan.device_bytes is None:  # a GPU holds them itself
        return replace(plan, test_batches_at_once=max(4, plan.test_batches_at_once // 2))
    if plan.workers > 1:
        return replace(plan, workers=1)
    return plan


@dataclass(frozen=True)
class _Bytes:
    """What the parts of a pass take."""

    weights: float
    batch: float
    """Of decoded images."""
    activations: float
    """Of the network, while a batch passes through it."""
    features: float
    """Of one image: the channels of all variants."""
    own_features: float
    """Of one image: the channels of the widest variant."""
    moments: float
    covariances: float
    """Of the widest variant, in blocks."""
    maps: float
    """Of all test images."""
    judging: float


def _predicted(task: Task, n_features: Sequence[int], plan: Plan) -> Plan:
    parts = _bytes(task, n_features, plan)
    if task.device == "cpu":
        return replace(plan, host_bytes=int(_host_bytes(task, plan, parts)))
    host, device = _bytes_with_gpu(task, plan, parts)
    return replace(plan, host_bytes=int(host), device_bytes=int(device))


def _bytes(task: Task, n_features: Sequence[int], plan: Plan) -> _Bytes:
    kept, own = _union(task.backbone, n_features), _union(task.backbone, [max(n_features)])
    batch_size = task.protocol.batch_size
    if len(plan.groups) < len(n_features):
        moments = _moment_floats(task, kept)
    else:
        moments = sum(_moment_floats(task, _union(task.backbone, [one])) for one in n_features)
    return _Bytes(
        weights=task.network_bytes,
        batch=batch_size * 3 * task.pixels * FLOAT,
        activations=_ACTIVATION_COPIES * batch_size * task.largest_layer * FLOAT,
        features=sum(count * cells for count, cells in zip(kept, task.cells, strict=True)) * FLOAT,
        own_features=sum(count * cells for count, cells in zip(own, task.cells, strict=True)) * FLOAT,
        moments=moments * FLOAT,
        covariances=_moment_floats(task, own) * FLOAT,
        maps=task.maps_bytes,
        judging=task.judging_bytes(plan.judges),
    )


def _host_bytes(task: Task, plan: Plan, parts: _Bytes) -> float:
    decoded = (plan.decoded_ahead + plan.workers) * parts.batch
    summing = (3 * plan.images_at_once + 2 * task.protocol.batch_size) * parts.features
    n_held = min(task.n_test, plan.test_batches_at_once * task.protocol.batch_size)
    scoring = 2 * n_held * parts.features + parts.covariances + task.threads * _CHUNK_BYTES + parts.maps
    # Part of what the workers used is not given back to the system when they have done.
    running = decoded + plan.workers * parts.activations
    peak = max(running + summing, running / 2 + scoring + parts.judging)
    return LIBRARY_BYTES + _NETWORK_COPIES * parts.weights + parts.moments + peak


def _bytes_with_gpu(task: Task, plan: Plan, parts: _Bytes) -> tuple[float, float]:
    """Of the host, and of the GPU."""
    batch = task.protocol.batch_size
    n_batches = -(-task.n_train // batch) + -(-task.n_test // batch)
    # As many decoded batches as there are workers wait in pinned memory, or on the GPU; others in ordinary memory.
    uploaded = min(n_batches, plan.workers)
    decoded = min(n_batches, plan.decoded_ahead + plan.workers) * parts.batch
    host = CUDA_LIBRARY_BYTES + _NETWORK_COPIES * parts.weights + parts.maps + parts.judging
    host += decoded + uploaded * (parts.batch + _DECODING_BYTES)
    passing = uploaded * parts.batch + parts.activations + _CUDNN_BYTES
    passing += (3 * min(plan.images_at_once, task.n_train) + 2 * batch) * parts.features
    n_held = min(task.n_test, plan.test_batches_at_once * batch)
    factoring = n_held * (parts.features + parts.own_features) + parts.covariances
    factoring += _GPU_CHUNK_HELD * GPU_CHUNK_BYTES + 2 * min(task.n_test, _MAPS_ON_GPU) * task.pixels * FLOAT
    return host, parts.weights + parts.moments + max(passing, factoring)


def _union(backbone: BackboneConfig, n_features: Sequence[int]) -> list[float]:
    """Expected channels of each layer that any of these variants keeps; drawn without regard to the layer."""
    missed = 1.0
    for one in n_features:
        missed *= 1 - one / backbone.n_channels
    return [count * (1 - missed) for count in backbone.channels]


def _moment_floats(task: Task, kept: Sequence[float]) -> float:
    """Floats of the sums of products of these channels: each pair of layers on the finer one's grid."""
    cells = task.cells
    return sum(
        cells[first] * kept[first] * kept[second] for first in range(len(kept)) for second in range(first, len(kept))
    )
