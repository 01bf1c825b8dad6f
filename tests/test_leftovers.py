"""Temporary files by the process that made them: the dead one's are nobody's, the living one's are its own."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from harness import leftovers
from harness.leftovers import LEFTOVER_AGE_S, is_abandoned, is_alive, machine, temporary_name


def test_names_are_hidden_and_unlike():
    names = {temporary_name("record.json") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".record.json.") and name.endswith(".tmp") for name in names)


def test_a_dead_process_needs_nothing(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for pid, where, abandoned in (
        (gone.pid, machine(), True),
        (os.getpid(), machine(), False),
        (1, machine(), False),  # another user's, perhaps; it lives
        (gone.pid, "0" * 8, False),  # on another machine this number may live
        (10**30, machine(), False),
    ):
        path = tmp_path / f".record.json.{where}-{pid}-01234567.tmp"
        path.touch()
        assert is_abandoned(path) is abandoned, path
        os.utime(path, (time.time() - LEFTOVER_AGE_S - 60,) * 2)
        assert is_abandoned(path), path


def test_other_names_are_never_abandoned(tmp_path):
    for name in ("record.json", ".hidden", "x.tmp", ".record.json.tmp", ".turn"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
        assert not is_abandoned(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        is_abandoned(tmp_path / temporary_name("x").replace(f"-{os.getpid()}-", "-1-"))


def test_a_zombie_is_dead():
    process = subprocess.Popen(["true"])
    deadline = time.monotonic() + 10
    while is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(process.pid)
    os.kill(process.pid, 0)  # its number is still taken
    process.wait()


def test_the_machine_has_a_name_also_without_proc(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(leftovers.Path, "read_text", refuse)
    machine.cache_clear()
    assert len(machine()) == 8
    machine.cache_clear()
