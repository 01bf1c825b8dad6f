"""Sweeps in processes of their own, forked from one that has imported all they need, so that each costs a second."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.__main__ import main
from harness.store import Store
from tests.drawing import draw_mvtec_category

QUICK = ("dataset=mvtec", "backbone=resnet18", "backbone.weights=random", "model.n_features=10",
         "preprocessing.resize=64", "preprocessing.center_crop=null",
         "metrics.bootstrap_samples=20", "threads=1")  # fmt: skip

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(
    [
        *(__name__, "torch", "timm", "scipy.ndimage", "imagecodecs._png", "filelock", "hydra_plugins.grid_sweeper"),
        *(f"harness.{name}" for name in ("sweep", "run", "metrics", "data.loader", "padim.streaming")),
    ]
)


def draw(root: Path, *categories: str) -> list[str]:
    """Draw small categories; return the words of a quick request for them."""
    for category in categories:
        draw_mvtec_category(root / category, n_train=4, n_good=2, n_bad=2, size=64)
    return [*QUICK, f"dataset.root={root}", f"category={','.join(categories)}"]


def start(words: list[str], base: Path) -> multiprocessing.Process:
    """Start a sweep into `base/store`; what it says goes to `base/log`."""
    process = forks.Process(target=_sweep, args=(words, base))
    process.start()
    return process


def _sweep(words: list[str], base: Path) -> None:
    os.setsid()  # what a terminal sends to all of them at once can be sent to these alone
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("tmp", "cache"):
        (base / name).mkdir(parents=True, exist_ok=True)
    os.environ.update(TMPDIR=str(base / "tmp"), XDG_CACHE_HOME=str(base / "cache"))
    log = os.open(base / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.exit(main([*words, f"store={base / 'store'}"]))


def undisturbed(words: list[str], base: Path) -> float:
    """Do a sweep that nobody disturbs; return its seconds, without those of the imports that all of them share."""
    first = forks.Process(target=int)
    first.start()
    first.join()
    began = time.monotonic()
    assert ended(start(words, base)) == 0
    return time.monotonic() - began


def ended(process: multiprocessing.Process) -> int | None:
    """Wait until a sweep has ended; return its exit status, negative where a signal killed it."""
    process.join(60)
    return process.exitcode


def wait(seconds: float, happens: Callable[[], Any] = lambda: False) -> None:
    """Wait so long, or until something happens."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not happens():
        time.sleep(0.001)


def results(base: Path) -> dict[str, tuple]:
    """All numbers of a store by key, once every record in it is valid, ok and complete."""
    store = Store(base / "store")
    contents = store.records()
    assert contents.problems == ()
    assert all(store.done(record.spec.model_dump()) == record for record in contents.records)
    return {one.key: (one.metrics, one.intervals, one.thresholds, one.scores_sha256) for one in contents.records}


def litter(base: Path) -> list[Path]:
    """Temporary files and claims."""
    return [path for path in base.rglob("*") if path.suffix == ".tmp" or ".claims" in path.parts]
