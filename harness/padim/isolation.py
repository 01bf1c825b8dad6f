"""Random generators and torch's global switches: set for a run, put back as they were afterwards."""

from __future__ import annotations

import logging
import os
import random
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

_SEED_VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
"""What Lightning's seed_everything leaves in the environment."""
_CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Put back the generators of Python, NumPy and torch (every device), and what seeding leaves in the environment."""
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    with _preserved_environment(_SEED_VARIABLES):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            torch.set_rng_state(cpu)
            if cuda is not None:
                torch.cuda.set_rng_state_all(cuda)


@contextmanager
def exact_arithmetic(device: str) -> Iterator[None]:
    """On a GPU: deterministic algorithms, full float32 instead of TF32, no autotuning. On the CPU nothing need change.

    cuBLAS reads its workspace setting once per process, so this must be entered before anything else multiplies
    matrices on the GPU; torch raises where that came too late.
    """
    if device == "cpu":
        yield
        return
    import torch

    fresh: Any = torch.utils.deterministic
    strict = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    switches = [
        # Filling fresh tensors with NaN would cost a pass over memory each; nothing here reads them unwritten.
        (fresh, "fill_uninitialized_memory", False),
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "benchmark", False),
        (torch.backends.cudnn, "allow_tf32", False),
        (torch.backends.cuda.matmul, "allow_tf32", False),
    ]
    before = [getattr(owner, name) for owner, name, _ in switches]
    with _preserved_environment((_CUBLAS_VARIABLE,)):
        os.environ.setdefault(_CUBLAS_VARIABLE, ":4096:8")
        try:
            torch.use_deterministic_algorithms(True)
            for owner, name, value in switches:
                setattr(owner, name, value)
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
            for (owner, name, _), value in zip(switches, before, strict=True):
                setattr(owner, name, value)


@contextmanager
def _preserved_environment(names: Sequence[str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def one_thread() -> Iterator[int]:
    """Every operation runs on one thread; yields how many threads torch had, and puts that back.

    torch keeps the number by thread, but also as the default that a thread takes at its first use of torch; so workers
    begun inside have one, too. Numbers then do not depend on the number of threads. oneMKL's batched inverse fails from
    192 features on where it may use more.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@contextmanager
def silence() -> Iterator[None]:
    """No warnings, and of all loggers only errors: Lightning is talkative, and none of it is about our run."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def own_interrupts() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt again: Lightning makes SystemExit(1) of it and ignores every further one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
