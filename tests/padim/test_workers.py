"""Chunks cover every location once, whoever works on them."""

from __future__ import annotations

import threading

import pytest
import torch

from harness.padim import workers as workers_module
from harness.padim.workers import Workers, one_thread_each


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_locations", "size"), [(0, 1), (1, 1), (7, 3), (12, 4), (5, 100)])
def test_every_location_once(threads, monkeypatch, n_locations, size):
    monkeypatch.setattr(workers_module, "CHUNK_BYTES", size * 8)
    seen = torch.zeros(n_locations, dtype=torch.int64)
    chunks = []

    def visit(locations: slice) -> None:
        seen[locations] += 1
        chunks.append((locations.start, locations.stop))

    with Workers("cpu", threads) as workers:
        workers.for_each_chunk(visit, n_locations, 8)
    assert seen.tolist() == [1] * n_locations
    assert sorted(chunks) == [(i, min(i + size, n_locations)) for i in range(0, n_locations, size)]


def test_a_location_larger_than_a_chunk(threads):
    chunks = []
    with Workers("cpu", threads) as workers:
        workers.for_each_chunk(chunks.append, 3, workers_module.CHUNK_BYTES * 10)
    assert len(chunks) == 3


def test_workers_have_one_thread_each_and_ours_stays(threads):
    used, names = set(), set()

    def look(_: slice) -> None:
        used.add(torch.get_num_threads())
        names.add(threading.current_thread().name)

    with one_thread_each() as had, Workers("cpu", threads) as workers:
        assert had == threads
        assert torch.get_num_threads() == 1
        workers.for_each_chunk(look, 40, workers_module.CHUNK_BYTES)
    assert used == {1}
    assert len(names) <= threads
    assert torch.get_num_threads() == threads


def test_an_error_in_a_chunk_comes_out(threads):
    def fail(locations: slice) -> None:
        raise ArithmeticError(locations.start)

    with pytest.raises(ArithmeticError), Workers("cpu", threads) as workers:
        workers.for_each_chunk(fail, 5, 1)
    assert torch.get_num_threads() == threads
