"""Temporary files by the process that made them: the dead one's are nobody's, the living one's are its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from harness import leftovers
from harness.leftovers import LEFTOVER_AGE_S, is_abandoned, is_alive, is_temporary, machine, temporary_name


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def of(pid, where=None, name="record.json"):
    return f".{name}.{where or machine()}-{pid}-01234567.tmp"


def test_names_are_hidden_unlike_and_known(tmp_path):
    names = {temporary_name("record.json") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".record.json.") and is_temporary(name) for name in names)
    assert not any(map(is_temporary, ("record.json", ".hidden", "x.tmp", ".record.json.tmp", ".turn")))


def test_a_dead_process_needs_nothing(tmp_path, gone):
    for name, abandoned in (
        (of(gone), True),
        (of(os.getpid()), False),
        (of(1), False),  # another user's, perhaps; it lives
        (of(gone, "0" * 8), False),  # on another machine this number may live
        (of(10**30), False),
    ):
        (tmp_path / name).touch()
        assert is_abandoned(tmp_path / name) is abandoned, name
        os.utime(tmp_path / name, (time.time() - LEFTOVER_AGE_S - 60,) * 2)
        assert is_abandoned(tmp_path / name), name


def test_other_names_are_never_abandoned(tmp_path):
    (tmp_path / "record.json").touch()
    os.utime(tmp_path / "record.json", (0, 0))
    assert not is_abandoned(tmp_path / "record.json")
    with pytest.raises(FileNotFoundError):
        is_abandoned(tmp_path / of(os.getpid()))


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert is_alive(process.pid)
    process.stdout.read()  # the end of the pipe is the end of the process, and nobody has asked how it ended
    deadline = time.monotonic() + 10
    while is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(process.pid)
    os.kill(process.pid, 0)  # its number is still taken
    process.wait()


def test_the_machine_is_the_same_in_every_process():
    code = "from harness.leftovers import machine; print(machine())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == machine()


def test_without_proc_the_name_of_the_machine_serves(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(leftovers.Path, "read_text", refuse)
    machine.cache_clear()
    try:
        assert len(machine()) == 8
    finally:
        machine.cache_clear()
