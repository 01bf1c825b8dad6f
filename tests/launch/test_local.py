"""The queue that a few processes empty, and what is said of a process that was killed."""

from __future__ import annotations

import threading

from hydra.core.utils import JobReturn, JobStatus

from harness.launch.local import Queue
from harness.launch.lost import LONGEST, LostJobError, in_one_line


def test_each_job_is_taken_once_whoever_asks(tmp_path):
    queue, taken = Queue(tmp_path, 200), []

    def empty() -> None:
        while (index := queue.take()) is not None:
            taken.append(index)

    threads = [threading.Thread(target=empty) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(200))
    assert (queue.n_taken(), queue.n_left()) == (200, 0)


def test_a_result_comes_back_whole_and_an_exception_as_one(tmp_path):
    queue = Queue(tmp_path, 2)
    assert queue.result(0) is None
    for index, (status, value) in enumerate(
        [(JobStatus.COMPLETED, ("an outcome",)), (JobStatus.FAILED, ValueError("no"))]
    ):
        returned = JobReturn()
        returned.status, returned.return_value = status, value
        queue.put(index, returned)
    assert queue.result(0).return_value == ("an outcome",)
    assert queue.result(1).status == JobStatus.FAILED


def test_what_a_launcher_says_is_one_short_line():
    assert in_one_line(RuntimeError("first\n\n  second")) == "RuntimeError: first second"
    assert in_one_line(KeyError()) == "KeyError"
    assert in_one_line(LostJobError("all of it, " * 100)).count("all of it") == 100
    assert len(in_one_line(RuntimeError("x" * 1000))) == LONGEST + 2


def test_of_a_closed_queue_nothing_is_taken(tmp_path):
    queue = Queue(tmp_path, 2)
    assert queue.take() == 0
    queue.close()
    assert queue.take() is None
    assert queue.n_left() == 1
