import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from harness.data.prefetch import ordered_map


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_come_in_order_whatever_finishes_first(workers):
    delays = np.random.default_rng(0).uniform(0, 0.004, 40)

    def work(i):
        time.sleep(delays[i])
        return i * i

    assert list(ordered_map(work, range(40), workers=workers, ahead=6)) == [i * i for i in range(40)]


def test_no_more_than_ahead_items_are_taken_up():
    started = []
    lock = threading.Lock()

    def work(i):
        with lock:
            started.append(i)
        return i

    results = ordered_map(work, range(100), workers=3, ahead=5)
    for used in range(10):
        next(results)
        time.sleep(0.005)
        assert len(started) <= used + 1 + 5
    results.close()


def test_work_goes_on_while_the_consumer_is_busy():
    done = threading.Event()

    def work(i):
        if i == 1:
            done.set()
        return i

    results = ordered_map(work, range(3), workers=1, ahead=2)
    next(results)
    assert done.wait(2)
    assert list(results) == [1, 2]


def test_an_exception_comes_at_its_turn_and_nothing_later_begins():
    started = []

    def work(i):
        started.append(i)
        if i in {3, 4}:
            raise ValueError(f"item {i}")
        return i

    results = ordered_map(work, range(100), workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(results)
    assert max(started) < 3 + 4 + 1


def test_closing_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = ordered_map(lambda i: i, range(1000), workers=4, ahead=8)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_no_items_no_results():
    assert list(ordered_map(lambda i: i, [], workers=2, ahead=3)) == []


def test_an_interruption_ends_it(project):
    code = (
        "import itertools, time; from harness.data.prefetch import ordered_map\n"
        "for i in ordered_map(lambda i: time.sleep(0.01) or i, itertools.count(), workers=2, ahead=3):\n"
        "    print(i, flush=True)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert errors.endswith("KeyboardInterrupt\n")


def test_the_interpreter_ends_with_results_not_taken(project):
    code = (
        "from harness.data.prefetch import ordered_map;"
        "results = ordered_map(str, range(99), workers=2, ahead=3); next(results)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=project, timeout=30).returncode == 0
