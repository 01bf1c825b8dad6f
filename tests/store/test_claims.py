"""Claims: one holder at a time; over at once when the holder was killed, after the lease when it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from harness.errors import StoreError
from harness.store.claims import CLAIMS, Claims

KEY = "0123456789ab"
HOLD = """
import sys
from harness.store.claims import Claims
claims = Claims(sys.argv[1], expiry_s=float(sys.argv[2]))
assert claims.take(sys.argv[3], "mvtec/bottle") is None
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(store, expiry_s=120.0, key=KEY):
    """Another process that has a claim."""
    words = [sys.executable, "-c", HOLD, str(store), str(expiry_s), key]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(happens):
    deadline = time.monotonic() + 10
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_claim_is_held_until_it_is_released_and_leaves_nothing(tmp_path):
    with Claims(tmp_path) as ours, Claims(tmp_path) as theirs:
        assert ours.take(KEY, "mvtec/bottle") is None
        assert ours.take(KEY, "mvtec/bottle") is None  # still ours
        there = theirs.take(KEY)
        assert (there.key, there.label, there.pid) == (KEY, "mvtec/bottle", os.getpid())
        assert str(there).startswith(f"{os.uname().nodename}, process {os.getpid()}, since 2")
        assert theirs.living() == (there,)
        theirs.release(KEY)  # not theirs
        assert theirs.holder(KEY) == there
        ours.release(KEY)
        assert theirs.holder(KEY) is None
        assert theirs.take(KEY) is None
    assert not (tmp_path / CLAIMS).exists()


@pytest.mark.parametrize("ending", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_every_way_out_releases(tmp_path, ending):
    def work():
        with Claims(tmp_path) as claims:
            claims.take(KEY)
            claims.take("another")
            raise ending

    with pytest.raises(ending):
        work()
    assert not (tmp_path / CLAIMS).exists()


def test_asking_writes_nothing(tmp_path):
    claims = Claims(tmp_path / "store")
    assert (claims.holder(KEY), claims.living()) == (None, ())
    claims.tidy()
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_killed_process_is_taken_over_at_once_or_tidied(tmp_path):
    with holder(tmp_path) as dead, holder(tmp_path, key="dead") as other, holder(tmp_path, key="live"):
        with Claims(tmp_path) as claims:
            assert claims.take(KEY).pid == dead.pid
            for process in (dead, other):
                process.kill()
                process.wait()
            assert claims.holder(KEY) is None
            assert [there.key for there in claims.living()] == ["live"]
            assert claims.take(KEY, "mvtec/cable") is None
            assert {there.label for there in claims.living()} == {"mvtec/cable", "mvtec/bottle"}
        Claims(tmp_path).tidy()
        assert sorted(os.listdir(tmp_path / CLAIMS)) == ["live.lock", "live.txt"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_stopped_process_loses_its_claim_after_the_lease(tmp_path, monkeypatch, exchange):
    """Without `exchange`, as on a network file system, filelock itself takes nothing over."""
    if not exchange:
        monkeypatch.setattr("filelock._soft.exchange_names", lambda *_: False)
    with holder(tmp_path, 0.9) as other, Claims(tmp_path, expiry_s=0.9) as claims:
        assert not claims.is_free(KEY)
        time.sleep(1.5)
        assert not claims.is_free(KEY), "it is renewed"
        other.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        wait_until(lambda: claims.is_free(KEY))
        assert time.monotonic() - started > 0.5
        assert claims.take(KEY) is None
        other.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        other.communicate("")
        assert [there.pid for there in claims.living()] == [os.getpid()], "who lost a claim does not end the new one"
    assert not (tmp_path / CLAIMS).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 9000, b"filelock/2\npid=x\n"])
def test_a_claim_that_cannot_be_read_has_a_holder_without_a_number_until_it_is_old(tmp_path, content):
    """It is being written, most likely."""
    (tmp_path / CLAIMS).mkdir()
    (tmp_path / CLAIMS / f"{KEY}.lock").write_bytes(content)
    with Claims(tmp_path, expiry_s=0.3) as claims:
        assert str(claims.take(KEY)) == "another process"
        wait_until(lambda: claims.take(KEY) is None)


def test_a_store_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match=f"^store {tmp_path / 'store'}: cannot be written"):
        Claims(tmp_path / "store").take(KEY)


RACER = """
import sys, time
from harness.store.claims import Claims
for line in sys.stdin:
    key, start = line.split()
    while time.monotonic() < float(start):  # all start at the same moment, by the clock that they share
        pass
    with Claims(sys.argv[1]) as claims:
        print("lost" if claims.take(key) else "won", flush=True)
        sys.stdin.readline()  # nobody releases before all have tried
    print("out", flush=True)
"""


def test_of_eight_processes_exactly_one_wins_each_round(tmp_path):
    """In odd rounds they race for the claim of a process that was killed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path)], **pipes) for _ in range(8)]
    with holder(tmp_path, key="dead"):
        left = (tmp_path / CLAIMS / "dead.lock").read_bytes()

    def tell(line):
        for racer in racers:
            racer.stdin.write(line)
            racer.stdin.flush()
        return [racer.stdout.readline().strip() for racer in racers]

    for number in range(40):
        if number % 2:
            (tmp_path / CLAIMS).mkdir(exist_ok=True)
            (tmp_path / CLAIMS / f"{number:012x}.lock").write_bytes(left)
        answers = tell(f"{number:012x} {time.monotonic() + 0.005}\n")
        assert sorted(answers) == ["lost"] * 7 + ["won"], f"round {number}"
        assert tell("\n") == ["out"] * 8
    for racer in racers:
        racer.communicate()
