"""How a job's runs are carried out within a memory budget, and what that is expected to take."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod

from harness.models.base import FLOAT, ModelPlan, Task
from harness.models.compute import CHUNK_BYTES, GPU_CHUNK_BYTES

_MIB = 2**20
_LIBRARIES, _ANOMALIB, _CUDA = 870 * _MIB, 960 * _MIB, 1360 * _MIB
"""A process with torch and timm in it; with anomalib and Lightning, too; and with CUDA's own libraries."""
_DECODED_BYTES = 160 * _MIB
"""Of batches that may wait for the network: what two cores decode while the libraries are imported."""
_THREAD_BYTES = 28 * _MIB
"""By thread that decodes for a GPU, besides images."""
_IMAGES_AT_ONCE = 64
"""Images whose products are summed together, or whose maps are made together."""


def _kept(task: Task, n_features: Sequence[int]) -> list[float]:
    """Return how many channels of each layer some variant keeps, on average: the draws do not look at layers."""
    missed = prod(1 - one / task.backbone.n_channels for one in n_features)
    return [count * (1 - missed) for count in task.backbone.channels]


def feature_bytes(task: Task, n_features: Sequence[int]) -> float:
    """Return the bytes of one image's features, for all these variants together."""
    return FLOAT * sum(n * cells for n, cells in zip(_kept(task, n_features), task.cells, strict=True))


def moment_bytes(task: Task, n_features: Sequence[int]) -> float:
    """Return the bytes of the sums of products of their channels: each pair of layers on the finer one's grid."""
    kept = _kept(task, n_features)
    return FLOAT * sum(cells * kept[first] * sum(kept[first:]) for first, cells in enumerate(task.cells))


@dataclass(frozen=True)
class PadimPlan(ModelPlan):
    """One pass over the images, for some variants."""

    groups: tuple[tuple[int, ...], ...] = ((0,),)
    """Draws (by their place) whose moments are kept together; a group's channels are the union of its draws'."""
    workers: int = 1
    """Threads that take batches through decoding and, on the CPU, the network."""
    decoded_ahead: int = 0
    """Further batches that may be decoded and wait for the network."""
    test_batches_at_once: int = 1
    """Test batches whose features are held together; each variant is factored once for every so many."""

    def details(self) -> dict[str, int]:
        """Return the numbers of sets of moments, of workers, and of test batches held together."""
        return {"moments": len(self.groups), "workers": self.workers, "test_batches_at_once": self.test_batches_at_once}

    def fits(self, budget: float, device_memory: float | None) -> bool:
        """Tell whether it fits into the host's memory and the GPU's, of which torch's blocks leave a part unused."""
        on_device = device_memory is None or self.device_bytes is None or self.device_bytes <= 0.9 * device_memory
        return (self.host_bytes or 0) <= budget and on_device


def plan_passes(
    task: Task,
    n_features: Sequence[int],
    budget: int,
    device_memory: int | None = None,
    *,
    draws: Sequence[Hashable] | None = None,
) -> list[tuple[slice, PadimPlan]]:
    """Divide variants, in their order, into as few passes as the budget and a GPU's memory allow, and plan each.

    A variant that does not fit by itself gets the smallest plan there is.

    Args:
        n_features: of each variant.
        budget: bytes.
        device_memory: bytes of the GPU's memory that are free; None for no bound.
        draws: of each variant what its channels follow from: equal ones share moments. None: they all differ.
    """
    draws = draws or range(len(n_features))

    def planned(place: slice) -> PadimPlan:
        distinct = dict(zip(draws[place], n_features[place], strict=True))
        return plan_pass(task, list(distinct.values()), budget, device_memory, n_runs=len(draws[place]))

    passes: list[tuple[slice, PadimPlan]] = []
    for number in range(len(n_features)):
        if passes:
            place, plan = passes[-1]
            larger = planned(slice(place.start, number + 1))
            if larger.fits(budget, device_memory) and larger.test_batches_at_once >= plan.test_batches_at_once:
                passes[-1] = slice(place.start, number + 1), larger
                continue
        passes.append((slice(number, number + 1), planned(slice(number, number + 1))))
    return passes


def plan_pass(
    task: Task, n_features: Sequence[int], budget: int, device_memory: int | None = None, *, n_runs: int | None = None
) -> PadimPlan:
    """Plan one pass for all these draws of channels: the quickest that fits into the budgets, else the smallest."""
    everyone = tuple(range(len(n_features)))
    together = moment_bytes(task, n_features) < sum(moment_bytes(task, [one]) for one in n_features)
    plan = PadimPlan(
        groups=(everyone,) if together else tuple((number,) for number in everyone),
        workers=task.threads if task.device == "cpu" else task.decoders,
        decoded_ahead=max(2, _DECODED_BYTES // (task.preprocessing.batch_size * 3 * task.pixels * FLOAT)),
        test_batches_at_once=max(1, -(-task.n_test // task.preprocessing.batch_size)),
        judges=min(task.threads, n_runs or len(n_features)),
    )
    while not (plan := _predicted(task, n_features, plan)).fits(budget, device_memory):
        if (smaller := _smaller(plan)) == plan:
            break
        plan = smaller
    return plan


def _smaller(plan: PadimPlan) -> PadimPlan:
    """Save memory where it costs the least time, one step; the same plan where nothing is left to save."""
    if plan.judges > 1:
        return replace(plan, judges=plan.judges - 1)
    if plan.decoded_ahead > 2:
        return replace(plan, decoded_ahead=max(2, plan.decoded_ahead // 2))
    if plan.workers > 2:
        return replace(plan, workers=plan.workers - 1)
    if plan.test_batches_at_once > 4:
        return replace(plan, test_batches_at_once=max(4, plan.test_batches_at_once // 2))
    return replace(plan, workers=1)


def _predicted(task: Task, n_features: Sequence[int], plan: PadimPlan) -> PadimPlan:
    size, widest = task.preprocessing.batch_size, [max(n_features)]
    batch = size * 3 * task.pixels * FLOAT
    feature, covariances = feature_bytes(task, n_features), moment_bytes(task, widest)
    moments = sum(moment_bytes(task, [n_features[number] for number in group]) for group in plan.groups)
    n_batches = -(-task.n_train // size) + -(-task.n_test // size)
    n_held = min(task.n_test, plan.test_batches_at_once * size)
    waiting = min(n_batches, plan.decoded_ahead + plan.workers) * batch
    waiting += sum(task.image_bytes[: plan.workers + 1])  # one more for the example images
    passing = 1.3 * size * task.layer_bytes
    summing = (3 * min(_IMAGES_AT_ONCE, task.n_train) + 2 * size) * feature
    judging = task.judging_bytes(plan.judges)
    if task.device == "cpu":
        scoring = 2 * n_held * feature + covariances + 3 * task.threads * CHUNK_BYTES + task.maps_bytes
        running = waiting + plan.workers * passing
        # Part of what the workers used is not given back to the system when they have done.
        peak = max(running + summing, running / 2 + scoring + judging)
        return replace(plan, host_bytes=int(_LIBRARIES + 2 * task.network_bytes + moments + peak))
    # As many decoded batches as there are workers wait in pinned memory; others in ordinary memory.
    uploaded = min(n_batches, plan.workers)
    host = _CUDA + 3 * task.network_bytes + task.maps_bytes + judging + waiting + uploaded * (batch + _THREAD_BYTES)
    running = uploaded * batch + passing + 64 * _MIB + summing
    scoring = n_held * (feature + feature_bytes(task, widest)) + covariances + 0.65 * GPU_CHUNK_BYTES
    scoring += 2 * min(task.n_test, _IMAGES_AT_ONCE) * task.pixels * FLOAT
    device = task.network_bytes + moments + max(running, scoring)
    return replace(plan, host_bytes=int(host), device_bytes=int(device))


def plan_reference(task: Task, n_features: int) -> PadimPlan:
    """Plan one run through anomalib's own Engine, whose memory grows with the number of training images."""
    cells = max(task.cells)
    # Layers are enlarged to the finest grid and joined one after another: two copies of all channels.
    by_image = 2 * task.backbone.n_channels * cells * FLOAT + 1.75 * task.layer_bytes
    passing = task.preprocessing.batch_size * by_image
    bank = task.n_train * n_features * cells * FLOAT
    covariances = n_features**2 * cells * FLOAT
    # The bank's batches become one tensor; then covariances, with the diagonal added, their factors, the inverses.
    fitting = 0.35 * passing + max(2.35 * bank, 1.3 * bank + 4 * covariances)
    testing = passing + covariances
    judging = task.maps_bytes + task.judging_bytes(1)
    reading = sum(task.image_bytes[:1])
    if task.device == "cpu":
        peak = max(fitting, testing + 2 * task.maps_bytes, judging) + reading
        return PadimPlan(host_bytes=int(_ANOMALIB + 2.5 * task.network_bytes + peak))
    host = _CUDA + 2.5 * task.network_bytes + judging + reading
    return PadimPlan(host_bytes=int(host), device_bytes=int(task.network_bytes + max(fitting, testing)))
