"""What is left of the machine."""

from __future__ import annotations

import os
import sys

import pytest

from harness import resources
from harness.resources import available_memory, free_disk, own_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_some_memory_is_left():
    assert 0 < available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def group(folder, limit, usage, cache):
    (folder / "max").write_text(f"{limit}\n")
    (folder / "now").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\nfile_cache {cache}\n")
    return folder, "max", "now", "file_cache"


@pytest.mark.parametrize(
    ("limit", "expected"), [(1000, 400), ("max", None), (2**63 - 1, None), (500, 0), ("nonsense", None)]
)
def test_a_container_leaves_what_is_not_used_or_only_cache(tmp_path, monkeypatch, limit, expected):
    monkeypatch.setattr(resources, "_CGROUPS", (group(tmp_path, limit, 700, 100),))
    monkeypatch.setattr(resources, "_machine", lambda: None)
    assert available_memory() == expected


def test_the_least_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_CGROUPS", (group(tmp_path, 1000, 700, 100),))
    monkeypatch.setattr(resources, "_machine", lambda: 300)
    assert available_memory() == 300


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    free = free_disk(tmp_path / "not" / "yet")
    assert free is not None
    assert free > 0


def test_what_this_process_holds_is_counted():
    before = own_memory()
    held = bytearray(b"1") * (200 << 20)
    assert 190 << 20 < own_memory() - before < 260 << 20
    assert len(held) == 200 << 20
