"""The floor: every image decoded, resized and passed once through the network, on all cores, and nothing else.

    python -m harness.bench.children.floor OUT.json REQUEST ...

takes the very request that ours takes, and so reads the same images with the same decoder, network and memory format.
Each core takes a batch, decodes it and passes it on one thread: nothing waits for anything. What comes before (finding
the images, reading the weights, imports) is not timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.config import Job
    from harness.data.loader import Part


def composed(request: Sequence[str]) -> Job:
    """The job that `python -m harness REQUEST ...` would run."""
    from hydra import compose, initialize_config_dir

    from harness.keys import CONFIGS
    from harness.overrides import parse, quote
    from harness.resolve import resolve
    from harness.schema import register

    register()
    own, _ = parse([quote(override) for override in request])
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("config", [override.hydra() for override in own])
    return resolve(config, protocol_name="paper")


def floor(job: Job) -> float:
    """Seconds that one pass over the training and test images of a job takes."""
    import torch

    from harness.data.layouts import resolve_split
    from harness.data.loader import SplitSource
    from harness.padim.backbone import load_timm, quickened
    from harness.padim.weights import resolve_weights

    run = job.runs[0]
    source = SplitSource(resolve_split(run.dataset, run.category), run.protocol)
    network = quickened(load_timm(run.backbone, resolve_weights(run.backbone)))
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
    return time.perf_counter() - started


def main(out: str, *request: str) -> None:
    """Write the seconds of the pass."""
    Path(out).write_text(json.dumps({"work_seconds": floor(composed(request))}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
