"""A job's process that is told to stop: its claims are released, and it says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from harness.launch.worker import as_worker, stay_silent_between_jobs
from harness.leftovers import is_alive
from harness.store.claims import CLAIMS

WORK = """
import signal, sys, time
from pathlib import Path
from harness.launch.worker import as_worker, stay_silent_between_jobs
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


IDLE = """
import signal, threading, time
from harness.interruption import heard
from harness.launch.worker import as_worker, stay_silent_between_jobs
if {silent}:
    stay_silent_between_jobs()
with as_worker(), heard():  # a thread that starts in here hears what the main thread does not
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("idle", flush=True)
time.sleep({idle})
with as_worker(), heard():
    print("at work", flush=True)
    time.sleep(60)
"""


def test_between_two_jobs_it_says_nothing_and_goes_on():
    process = _start_idle(silent=True, idle=1)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130
    process = _start_idle(silent=False, idle=60)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]


def _start_idle(**how):
    process = subprocess.Popen(
        [sys.executable, "-c", IDLE.format(**how)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "idle\n"
    return process


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stay_silent_between_jobs()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


OWNED = """
import os, subprocess, sys, time
from harness.launch import worker
worker.LOOK_S = 0.1
assert not worker.is_sweep()
worker.this_is_the_sweep(["n_features", "engine"])
assert worker.is_sweep()
code = "import time; from harness.launch import worker; worker.LOOK_S = 0.1; assert not worker.is_sweep();"
code += "assert worker.differing_in_sweep() == ['n_features', 'engine'];"
code += "worker.end_with_sweep(); print('at work', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
assert child.stdout.readline() == "at work\\n"
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_sweeps_process_ends_with_it_and_no_other_takes_itself_for_the_sweep():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    sweep = subprocess.Popen([sys.executable, "-c", OWNED], text=True, **pipes)
    child = int(sweep.stdout.readline())
    assert is_alive(child)
    sweep.kill()
    sweep.communicate()
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)
