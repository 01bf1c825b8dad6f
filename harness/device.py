"""Which device a run uses, told without torch where there is no GPU driver at all."""

from __future__ import annotations

import ctypes
from functools import cache

from harness.errors import RequestError


def resolve_device(requested: str) -> str:
    """Device type for `auto`, `cpu` or `cuda`.

    Raises:
        RequestError: `cuda` is asked for and no CUDA device can be used.
    """
    if requested == "cpu":
        return "cpu"
    available = _cuda_is_available()
    if requested == "cuda" and not available:
        raise RequestError("device=cuda: this machine has no CUDA device that torch can use; use device=cpu or auto")
    return "cuda" if available else "cpu"


def free_device_memory() -> int:
    """Bytes of the GPU's memory that this process could still take: what is free, and what torch keeps to use again.

    Raises:
        RequestError: the GPU cannot be used now: it is full, or another process has it to itself.
    """
    import torch

    try:
        return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    except RuntimeError as error:
        said = str(error).strip().partition("\n")[0]
        raise RequestError(
            f"device=cuda: the GPU cannot be used now ({said}); end other programs on it, or take device=cpu"
        ) from error


@cache
def gpu_name() -> str:
    """The GPU's name; after an error that it does not recover from, it may not answer."""
    import torch

    try:
        return str(torch.cuda.get_device_name())
    except RuntimeError:
        return "a GPU that does not answer"


def _cuda_is_available() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:  # no driver: spares the two seconds that importing torch takes
        return False
    import torch

    return bool(torch.cuda.is_available())
