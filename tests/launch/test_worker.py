"""A job's process that is told to stop: its claims are released, and it says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from harness.launch.worker import as_worker
from harness.store.claims import CLAIMS

WORK = """
import signal, sys, time
from pathlib import Path
from harness.launch.worker import as_worker
from harness.store.claims import Claims
signal.signal(signal.SIGTERM, lambda *_: None)  # as submitit does
with as_worker(), Claims(Path(sys.argv[1])) as claims:
    claims.take("0123456789ab")
    print("at work", flush=True)
    try:
        time.sleep(60)
    except Exception:
        print("caught")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly_after_its_claims_are_released(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "at work\n"
    assert (tmp_path / CLAIMS).exists()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + number, "", "")
    assert not (tmp_path / CLAIMS).exists()


def test_the_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with as_worker():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_a_thread_there_is_nothing_to_handle():
    done = []

    def work() -> None:
        with as_worker():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
