"""What is asked of a GPU, with stand-ins for its driver; tests/padim/test_cuda.py asks a real one."""

from __future__ import annotations

import pytest
import torch

from harness.device import free_device_memory, gpu_name
from harness.errors import RequestError


def broken(*_):
    raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")


def test_what_torch_keeps_to_use_again_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 200)
    assert free_device_memory() == 1500


def test_a_gpu_that_cannot_be_used_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    with pytest.raises(RequestError) as caught:
        free_device_memory()
    assert str(caught.value) == (
        "device=cuda: the GPU cannot be used now (CUDA error: out of memory); end other programs on it, or take "
        "device=cpu"
    )


def test_a_gpu_that_does_not_answer_still_has_a_record(monkeypatch):
    gpu_name.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    assert gpu_name() == "a GPU that does not answer"
    gpu_name.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    assert gpu_name() == "A GPU"
    gpu_name.cache_clear()
