"""Batches come decoded and passed once, in order, whoever works on them; chunks cover every location once."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from harness.padim import stream as stream_module
from harness.padim.stream import FeatureStream, Workers


class Source:
    """Six training and two test batches of one image, whose numbers are their places; it notes what is decoded."""

    n_train, n_test = 6, 2

    def __init__(self, bad: int | None = None) -> None:
        self.bad = bad
        self.decoded: list[int] = []
        self.threads: set[int] = set()

    def n_batches(self, part: str) -> int:
        return self.n_train if part == "train" else self.n_test

    def load_batch(self, part: str, number: int) -> torch.Tensor:
        place = number if part == "train" else self.n_train + number
        time.sleep(0.002 * (place % 3))
        self.decoded.append(place)
        self.threads.add(torch.get_num_threads())
        if place == self.bad:
            raise ArithmeticError(place)
        return torch.full((1, 3, 4, 4), float(place))


def read(images: torch.Tensor, what: str):
    """A network of one layer, whose only feature is the image's number."""
    place = int(images[0, 0, 0, 0])
    expected = f"training images {place + 1} to {place + 1}" if place < 6 else f"test images {place - 5} to {place - 5}"
    assert what == expected
    return [torch.full((1, 1, 1), float(place))], [(1, 1)]


def stream_of(source: Source, workers: int = 2, decoded_ahead: int = 2) -> FeatureStream:
    return FeatureStream(source, batch_size=1, device="cpu", workers=workers, decoded_ahead=decoded_ahead)


def numbers(stream: FeatureStream, n_batches: int) -> list[int]:
    return [int(features[0]) for features in stream.features(n_batches, lambda _: None)]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 1, 100])
def test_in_order_and_once_on_one_thread_each(workers, ahead):
    source = Source()
    torch.set_num_threads(2)
    try:
        with stream_of(source, workers, ahead) as stream:
            stream.begin(read)
            assert numbers(stream, 6) == list(range(6))
            assert numbers(stream, 2) == [6, 7]
    finally:
        torch.set_num_threads(1)
    assert sorted(source.decoded) == list(range(8))
    assert source.threads == {1}


def test_decoding_begins_before_the_network_is_there_and_stays_within_its_bound():
    source = Source()
    with stream_of(source, workers=2, decoded_ahead=1) as stream:
        time.sleep(0.3)
        assert sorted(source.decoded) == [0, 1, 2]
        stream.begin(read)
        time.sleep(0.3)
        assert sorted(source.decoded) == [0, 1, 2]
        assert numbers(stream, 6) == list(range(6))


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_an_exception_comes_at_its_batchs_turn(bad):
    with stream_of(Source(bad), workers=3, decoded_ahead=10) as stream:
        stream.begin(read)
        taken = stream.features(8, lambda _: None)
        assert [int(next(taken)[0]) for _ in range(bad)] == list(range(bad))
        with pytest.raises(ArithmeticError, match=str(bad)):
            next(taken)


@pytest.mark.parametrize("begun", [True, False])
def test_leaving_early_ends_the_threads(begun):
    before = threading.active_count()
    with stream_of(Source()) as stream:
        if begun:
            stream.begin(read)
            next(stream.features(8, lambda _: None))
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("n_locations", "size"), [(0, 1), (1, 1), (7, 3), (12, 4), (5, 100)])
def test_every_location_once_in_the_same_chunks(threads, monkeypatch, n_locations, size):
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", size * 8)
    seen = torch.zeros(n_locations, dtype=torch.int64)
    chunks, used = [], set()

    def visit(locations: slice) -> None:
        seen[locations] += 1
        chunks.append((locations.start, locations.stop))
        used.add(torch.get_num_threads())

    with Workers("cpu", threads) as workers:
        workers.for_each_chunk(visit, n_locations, 8)
    assert seen.tolist() == [1] * n_locations
    assert sorted(chunks) == [(i, min(i + size, n_locations)) for i in range(0, n_locations, size)]
    assert used <= {1}


def test_an_error_in_a_chunk_comes_out():
    def fail(locations: slice) -> None:
        raise ArithmeticError(locations.start)

    with pytest.raises(ArithmeticError), Workers("cpu", 2) as workers:
        workers.for_each_chunk(fail, 5, stream_module.CHUNK_BYTES * 10)
