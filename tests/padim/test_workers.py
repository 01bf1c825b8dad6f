"""Chunks cover every location once, whoever works on them."""

from __future__ import annotations

import threading

import pytest
import torch

from harness.padim import workers as workers_module
from harness.padim.workers import Workers, one_thread_each, same_place


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


@pytest.mark.parametrize("side", [1, 2, 3, 4, 18, 19, 100, 256, 550])
@pytest.mark.parametrize("chunk_bytes", [1, 100_000, 30_000_000])
def test_a_matrix_begins_at_the_same_place_of_a_cache_line_whatever_the_chunks(monkeypatch, side, chunk_bytes):
    monkeypatch.setattr(workers_module, "CHUNK_BYTES", chunk_bytes)
    chunks = []
    with Workers("cpu", 1) as workers:
        workers.for_each_chunk(chunks.append, 70, 4 * side**2, multiple=same_place(side**2, side * 83))
    for chunk in chunks:
        for location in range(chunk.start, chunk.stop):
            for size in (side**2, side * 83):
                assert (location - chunk.start) * size % 16 == location * size % 16


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
