"""Batches come decoded and passed once, in order, whoever works on them."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from harness.padim.streaming import FeatureStream


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


def stream_of(source: Source, workers: int = 2, decoded_ahead: int = 2) -> FeatureStream:
    return FeatureStream(source, 1, "cpu", workers, decoded_ahead)


def begin(stream: FeatureStream) -> None:
    """A network of one layer, whose only feature is the image's number."""
    stream.begin(lambda images: [images[:, :1]], ["layer"], (torch.arange(1).numpy(),))


def numbers(stream: FeatureStream, n_batches: int) -> list[int]:
    return [int(features[0][0, 0, 0]) for features in stream.features(n_batches, lambda _: None)]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 1, 100])
def test_in_order_and_once_on_one_thread_each(workers, ahead):
    source = Source()
    torch.set_num_threads(2)
    try:
        with stream_of(source, workers, ahead) as stream:
            begin(stream)
            assert numbers(stream, 6) == list(range(6))
            assert numbers(stream, 2) == [6, 7]
    finally:
        torch.set_num_threads(1)
    assert sorted(source.decoded) == list(range(8))
    assert source.threads == {1}


def test_decoding_begins_before_the_network_is_there_and_stays_within_its_bound():
    source = Source()
    with stream_of(source, workers=2, decoded_ahead=1) as stream:
        time.sleep(0.2)
        assert sorted(source.decoded) == [0, 1, 2]
        begin(stream)
        time.sleep(0.2)
        assert sorted(source.decoded) == [0, 1, 2]
        assert numbers(stream, 6) == list(range(6))


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_an_exception_comes_at_its_batchs_turn(bad):
    with stream_of(Source(bad), workers=3, decoded_ahead=10) as stream:
        begin(stream)
        taken = stream.features(8, lambda _: None)
        assert [int(next(taken)[0][0, 0, 0]) for _ in range(bad)] == list(range(bad))
        with pytest.raises(ArithmeticError, match=str(bad)):
            next(taken)


@pytest.mark.parametrize("begun", [True, False])
def test_leaving_early_ends_the_threads(begun):
    before = threading.active_count()
    with stream_of(Source()) as stream:
        if begun:
            begin(stream)
            next(stream.features(8, lambda _: None))
    assert threading.active_count() == before
