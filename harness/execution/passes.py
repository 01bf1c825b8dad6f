"""One backbone pass for several runs of a category: planned, scored, judged and stored."""

from __future__ import annotations

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.settings import Execution, RunConfig
from harness.data.files import read_header
from harness.data.fingerprint import fingerprint
from harness.device import available_memory, cores, free_device_memory, free_disk, own_memory
from harness.errors import DataError, RequestError, StoreError
from harness.execution.examples import Examples, gather_examples
from harness.execution.monitor import Monitor
from harness.execution.recording import ok_record
from harness.models.base import GIB, ModelPlan, Scores, Task, find
from harness.store import RunRecord, ScoreTable, Store
from harness.store.record import Timing

if TYPE_CHECKING:
    import numpy as np

    from harness.data.loader import SplitSource
    from harness.data.split import Split
    from harness.metrics import MetricReport
    from harness.models.weights import Weights

logger = logging.getLogger(__name__)

ENGINE_STAGES = ("fit", "prepare", "test", "score")
"""Where an engine spends its time; images a second are counted over these."""
_RECORD_BYTES = 64 * 1024
"""Of a record and its scores, without the examples' arrays."""
_PLAIN_PNG_BYTES, _IMAGE_BYTES = 8, 15
"""By pixel of an image while it is read and resized: decoded at once, or by Pillow, which copies it."""
_EXAMPLE_BYTES_PER_PIXEL = 4 * (3 + 1 + 4)


@dataclass(frozen=True)
class Prepared:
    """What is known of a job before any image is decoded: enough for its runs' keys."""

    split: Split
    weights: Weights
    specs: Mapping[RunConfig, dict[str, Any]]
    started: datetime


@dataclass(frozen=True)
class Pass:
    """Runs that share one backbone pass, and how it is carried out."""

    runs: tuple[RunConfig, ...]
    plan: ModelPlan


def plan_runs(runs: Sequence[RunConfig], split: Split, weights: Weights, execution: Execution) -> list[Pass]:
    """Divide a job's runs, in their order, into passes that keep within the memory budget.

    Raises:
        RequestError: a run would take more memory than the budget, the machine or its GPU has.
        StoreError: the runs would take more room than the store's disk has.
    """
    if not runs:
        return []
    first = runs[0]
    task = Task(
        backbone=first.backbone,
        preprocessing=first.preprocessing,
        n_train=len(split.train),
        n_test=len(split.test),
        weights_bytes=weights.path.stat().st_size if weights.path else None,
        device=first.device,
        threads=execution.threads or cores(),
        decoders=execution.workers or cores(),
        image_bytes=image_bytes(split),
    )
    device_memory = free_device_memory() if first.device == "cuda" else None
    planned = find(first.model.name).plan(task, runs, int(execution.memory_budget * GIB), device_memory)
    for _, plan in planned:
        _check_memory(plan, execution.memory_budget, _remedy(first))
        if device_memory is not None:
            _check_device_memory(plan, device_memory, _remedy(first))
    height, width = first.preprocessing.input_size
    _check_disk(execution.store, len(runs) * (_RECORD_BYTES + height * width * _EXAMPLE_BYTES_PER_PIXEL))
    return [Pass(tuple(runs[place]), plan) for place, plan in planned]


def _remedy(run: RunConfig) -> str:
    model = find(run.model.name)
    smaller = ("preprocessing.resize and preprocessing.center_crop", "preprocessing.batch_size", "dataset.limit")
    *some, last = (*model.lower, *smaller)
    other_engine = "" if run.engine == model.engines[0] else f"take engine={model.engines[0]}, "
    return f"{other_engine}or lower {', '.join(some)} or {last}"


def image_bytes(split: Split) -> tuple[int, ...]:
    """Return the bytes that each image takes while it is read and resized, the largest first, by the files' headers."""
    found = []
    for sample in (*split.train, *split.test):
        with suppress(DataError):
            header = read_header(split.root, sample.path)
            plain = sample.path.lower().endswith(".png") and header.mode in {"RGB", "L"}
            found.append(header.width * header.height * (_PLAIN_PNG_BYTES if plain else _IMAGE_BYTES))
    return tuple(sorted(found, reverse=True))


def carry_out(
    planned: Pass, prepared: Prepared, execution: Execution, monitor: Monitor
) -> Iterator[tuple[RunConfig, RunRecord]]:
    """Score all runs in one pass; compute metrics in threads; store each run and yield it with its record.

    An error is raised once all runs before the one that it stopped have been yielded.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)  # for the authors of libraries, not for users
    first, split = planned.runs[0], prepared.split
    with monitor.stage("import"):
        import torch

        from harness.data.loader import SplitSource, labels
    if execution.threads:
        torch.set_num_threads(execution.threads)
    threads = torch.get_num_threads()
    _log(planned, execution, threads)
    source = SplitSource(split, first.preprocessing)
    truth = labels(split)
    store = Store(execution.store)

    @cache
    def check_unchanged() -> None:
        """Check that the images, all read by now, are still what the runs' specs say."""
        with monitor.stage("data"):
            if fingerprint(split) != prepared.specs[first]["fingerprint"]:
                raise DataError(
                    "the images or masks changed while they were read: run again once they stay as they are"
                )

    def keep(
        run: RunConfig, scored: Scores, examples: Examples, timing: Timing, judged: Future[tuple[MetricReport, float]]
    ) -> tuple[RunConfig, RunRecord]:
        with monitor.stage("metrics"):
            report, timing.seconds["metrics"] = judged.result()
        check_unchanged()
        with monitor.stage("write"):
            table = ScoreTable(
                paths=tuple(sample.path for sample in split.test),
                labels=truth,
                defect_types=tuple(sample.defect for sample in split.test),
                scores=scored.image_scores,
            )
            record = ok_record(
                run,
                prepared,
                scored,
                report,
                timing=timing,
                plan=planned.plan,
                memory_budget=execution.memory_budget,
                runs_together=len(planned.runs),
                scores_sha256=table.sha256,
                threads=threads,
            )
            shown = None if scored.anomaly_maps is None else examples.arrays(scored.anomaly_maps)
            return run, store.write(record, table, shown, replace=execution.refresh)

    scores = find(first.model.name).scores(source, planned.runs, prepared.weights, planned.plan, monitor)
    with ThreadPoolExecutor(planned.plan.judges, "metrics") as pool, closing(scores):
        gathered = pool.submit(_gather, source, split, truth)  # beside the engine, which is not there yet
        waiting: deque[Callable[[], tuple[RunConfig, RunRecord]]] = deque()
        before = monitor.seconds.get("score", 0.0)
        try:
            for run, scored in zip(planned.runs, scores, strict=True):
                with monitor.stage("masks"):
                    masks, examples = gathered.result()
                seconds = dict(monitor.seconds)
                rate = (source.n_train + source.n_test) / sum(seconds.get(stage, 0.0) for stage in ENGINE_STAGES)
                # The stages that all runs share, and of `score` its own part.
                total = seconds.get("score", 0.0)
                timing = Timing(seconds={**seconds, "score": total - before}, images_per_second=rate)
                before = total
                waiting.append(
                    partial(keep, run, scored, examples, timing, pool.submit(_judge, run, scored, truth, masks))
                )
                if len(waiting) > planned.plan.judges:
                    yield waiting.popleft()()
        except Exception:
            stage, monitor.current = monitor.current, None
            while waiting:  # what was scored before is kept
                yield waiting.popleft()()
            monitor.current = stage
            raise
        while waiting:
            yield waiting.popleft()()


def _judge(run: RunConfig, scored: Scores, truth: np.ndarray, masks: np.ndarray | None) -> tuple[MetricReport, float]:
    from harness.metrics import evaluate

    own = Monitor()
    with own.stage("metrics"):
        reason = scored.without_maps or "the model gives no anomaly map"
        report = evaluate(scored.image_scores, truth, scored.anomaly_maps, masks, config=run.metrics, no_maps=reason)
    return report, own.seconds["metrics"]


def _gather(source: SplitSource, split: Split, truth: np.ndarray) -> tuple[np.ndarray | None, Examples]:
    from harness.data.loader import load_masks

    masks = load_masks(split, source.preprocessing) if split.has_masks else None
    return masks, gather_examples(source, truth, masks)


def _log(planned: Pass, execution: Execution, threads: int) -> None:
    predicted = {"host": planned.plan.host_bytes, "device": planned.plan.device_bytes}
    needs = ", ".join(f"{where} {size / GIB:.2f} GiB" for where, size in predicted.items() if size is not None)
    logger.debug(
        "a pass of %d runs on %s with %d threads, predicted memory: %s (memory_budget=%g)",
        len(planned.runs),
        planned.runs[0].device,
        threads,
        needs or "unknown",
        execution.memory_budget,
    )


def _check_memory(plan: ModelPlan, budget: float, remedy: str) -> None:
    if plan.host_bytes is None:
        return
    needed = ceil(10 * plan.host_bytes / GIB) / 10
    if plan.host_bytes > budget * GIB:
        raise RequestError(
            f"memory_budget={budget:g}: this run needs about {needed:.1f} GiB; give memory_budget={needed:.1f}, "
            f"{remedy}"
        )
    available = available_memory()
    if available is not None:
        available += own_memory()  # what earlier passes left to this one
    if available is not None and plan.host_bytes > available:
        raise RequestError(
            f"memory: this run needs about {needed:.1f} GiB and {available / GIB:.1f} GiB are free: end other "
            f"programs, lower jobs, {remedy}"
        )


def _check_device_memory(plan: ModelPlan, free: int, remedy: str) -> None:
    if plan.device_bytes is not None and plan.device_bytes > free:
        raise RequestError(
            f"device=cuda: this run needs about {plan.device_bytes / GIB:.1f} GiB of the GPU's memory and "
            f"{free / GIB:.1f} GiB are free: take device=cpu, {remedy}"
        )


def _check_disk(store: Path, needed: int) -> None:
    free = free_disk(store)
    if free is not None and needed > free:
        raise StoreError(
            f"store={store}: these runs need about {needed / 2**20:.1f} MiB and {free / 2**20:.1f} MiB are free on "
            "that disk: make room, or give another store"
        )
