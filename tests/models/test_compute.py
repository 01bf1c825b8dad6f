"""How torch computes: exactly on a GPU, on one thread each, and the chunks of locations that threads take."""

from __future__ import annotations

import os

import pytest
import torch

from harness.models import compute
from harness.models.compute import Workers, exact_arithmetic, one_thread

SWITCHES = (
    (torch.utils.deterministic, "fill_uninitialized_memory"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
)


def switches() -> list[bool]:
    return [getattr(owner, name) for owner, name in SWITCHES]


def test_a_gpus_switches_are_exact_and_the_cpu_needs_none(monkeypatch):
    """The switches are torch's, and need no GPU to be set."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is put back
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    before = switches()
    exact_arithmetic("cpu")
    assert switches() == before
    try:
        exact_arithmetic("cuda")
        assert torch.are_deterministic_algorithms_enabled()
        assert switches() == [False, True, False, False, False]
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        for (owner, name), value in zip(SWITCHES, before, strict=True):
            setattr(owner, name, value)


def test_one_thread_for_a_while():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with one_thread() as had:
        assert had == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("n_locations", "size"), [(0, 1), (1, 1), (7, 3), (12, 4), (5, 100)])
def test_every_location_once_in_the_same_chunks(threads, monkeypatch, n_locations, size):
    monkeypatch.setattr(compute, "CHUNK_BYTES", size * 8)
    chunks, used = [], set()

    def visit(locations: slice) -> None:
        chunks.append((locations.start, locations.stop))
        used.add(torch.get_num_threads())

    with Workers("cpu", threads) as workers:
        workers.for_each_chunk(visit, n_locations, 8)
    assert sorted(chunks) == [(i, min(i + size, n_locations)) for i in range(0, n_locations, size)]
    assert used <= {1}


def test_an_error_in_a_chunk_comes_out():
    def fail(locations: slice) -> None:
        raise ArithmeticError(locations.start)

    with pytest.raises(ArithmeticError), Workers("cpu", 2) as workers:
        workers.for_each_chunk(fail, 5, compute.CHUNK_BYTES * 10)
