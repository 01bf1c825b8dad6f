"""What is left of the machine, and of a GPU with stand-ins for its driver; tests/models/test_cuda.py has a real one."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from harness import device
from harness.device import available_memory, free_device_memory, free_disk, gpu_name, own_memory, resolve_device
from harness.errors import RequestError


def test_what_torch_keeps_to_use_again_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 200)
    assert free_device_memory() == 1500


def test_a_gpu_that_cannot_be_used_is_one_line_and_still_has_a_record(monkeypatch):
    def broken(*_):
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    with pytest.raises(RequestError, match=r"^device=cuda: the GPU cannot be used now \(CUDA error: out of memory\); "):
        free_device_memory()
    gpu_name.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    assert gpu_name() == "a GPU that does not answer"
    gpu_name.cache_clear()


def test_without_a_driver_torch_is_not_asked(monkeypatch):
    asked = []

    def no_such_library(name):
        asked.append(name)
        raise OSError(name)

    monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("torch was asked"))
    monkeypatch.setattr("ctypes.CDLL", no_such_library)
    assert resolve_device("auto") == "cpu"
    assert asked == ["libcuda.so.1"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_some_memory_is_left():
    assert 0 < available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("limit", "machine", "expected"),
    [
        (1000, None, 400),
        (1000, 300, 300),
        ("max", None, None),
        (2**63 - 1, None, None),
        (500, None, 0),
        ("nonsense", None, None),
    ],
)
def test_a_container_leaves_what_is_not_used_or_only_cache(tmp_path, monkeypatch, limit, machine, expected):
    (tmp_path / "max").write_text(f"{limit}\n")
    (tmp_path / "now").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 5\nfile_cache 100\n")
    monkeypatch.setattr(device, "_CGROUPS", ((tmp_path, "max", "now", "file_cache"),))
    monkeypatch.setattr(device, "kernel_bytes", lambda *_: machine)
    assert available_memory() == expected


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    assert free_disk(tmp_path / "not" / "yet") > 0


def test_what_this_process_holds_is_counted():
    before = own_memory()
    held = bytearray(b"1") * (200 << 20)
    assert 190 << 20 < own_memory() - before < 260 << 20
    assert len(held) == 200 << 20
