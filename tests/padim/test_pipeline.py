"""Batches go through both steps once, in order, by any number of workers, and nothing waits for ever."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from harness.padim.pipeline import Pipeline


def run(n, decode, process, *, workers=2, ahead=3, before=lambda: None):
    with Pipeline(range(n), decode, workers=workers, decoded_ahead=ahead) as pipeline:
        before()
        pipeline.go_on(process)
        return list(pipeline.take(n))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("ahead", [1, 2, 100])
def test_in_order_and_once(workers, ahead):
    decoded, processed = [], []

    def decode(item):
        time.sleep(0.002 * (item % 3))
        decoded.append(item)
        return item * 10

    def process(item, value):
        time.sleep(0.001 * ((item + 1) % 3))
        processed.append(item)
        return item, value

    assert run(20, decode, process, workers=workers, ahead=ahead) == [(item, item * 10) for item in range(20)]
    assert sorted(decoded) == sorted(processed) == list(range(20))


def test_no_items():
    assert run(0, None, None) == []


@pytest.mark.parametrize("ahead", [1, 4])
def test_decoding_begins_before_the_second_step_is_known_and_stays_within_its_bound(ahead):
    decoded = []
    reached = threading.Event()

    def decode(item):
        decoded.append(item)
        if len(decoded) == ahead:
            reached.set()
        return item

    def before():
        assert reached.wait(10)
        time.sleep(0.05)
        assert sorted(decoded) == list(range(ahead))

    assert run(9, decode, lambda item, _: item, ahead=ahead, before=before) == list(range(9))


def test_results_do_not_pile_up():
    processed = []
    with Pipeline(range(50), lambda item: item, workers=2, decoded_ahead=10) as pipeline:
        pipeline.go_on(lambda item, _: processed.append(item))
        taken = pipeline.take(50)
        for number in range(5):
            next(taken)
            time.sleep(0.02)
            assert len(processed) <= number + 1 + 2


@pytest.mark.parametrize("step", ["decode", "process"])
@pytest.mark.parametrize("bad", [0, 5, 9])
def test_an_exception_comes_at_its_items_turn(step, bad):
    def decode(item):
        if step == "decode" and item == bad:
            raise ArithmeticError(item)
        return item

    def process(item, _):
        if step == "process" and item == bad:
            raise ArithmeticError(item)
        return item

    with Pipeline(range(10), decode, workers=3, decoded_ahead=10) as pipeline:
        pipeline.go_on(process)
        taken = pipeline.take(10)
        assert [next(taken) for _ in range(bad)] == list(range(bad))
        with pytest.raises(ArithmeticError, match=str(bad)):
            next(taken)


@pytest.mark.parametrize("begun", [True, False])
def test_leaving_early_ends_the_threads(begun):
    before = threading.active_count()
    with Pipeline(range(1000), lambda item: time.sleep(0.01), workers=2, decoded_ahead=2) as pipeline:
        if begun:
            pipeline.go_on(lambda item, _: item)
            next(pipeline.take(1000))
    assert threading.active_count() == before


def test_workers_compute_on_one_thread():
    import torch

    torch.set_num_threads(2)
    try:
        used = run(6, lambda _: torch.get_num_threads(), lambda _, n: (n, torch.get_num_threads()))
    finally:
        torch.set_num_threads(1)
    assert set(used) == {(1, 1)}


def test_once_left_it_keeps_nobody():
    """Whoever holds a pipeline is mostly held by its second step: with a network on a GPU, say."""

    class Holder:
        def __init__(self) -> None:
            self.pipeline = Pipeline(range(3), lambda item: item, workers=2, decoded_ahead=2)

        def add(self, item: int, decoded: int) -> int:
            return item + decoded

    gc.collect()
    gc.disable()
    try:
        holder = Holder()
        with holder.pipeline as pipeline:
            pipeline.go_on(lambda item, decoded, holder=holder: holder.add(item, decoded))
            assert list(pipeline.take(3)) == [0, 2, 4]
        seen = weakref.ref(holder)
        del holder, pipeline
        assert seen() is None
    finally:
        gc.enable()
