"""The steps: how a sweep ended is told apart, an interruption reaches it, and a missing dataset stops nothing."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.reproduce import steps
from harness.reproduce.plan import Request

PROJECT = Path(__file__).resolve().parents[2]
CALL = ("dry_run=true",)


@pytest.fixture
def sweep(monkeypatch):
    """Run Python code in place of a sweep; returns its status and what was said."""

    def run(code):
        said = []
        monkeypatch.setattr(steps, "command", lambda call: [sys.executable, "-c", code])
        return steps.run_sweep(CALL, said.append), said

    return run


@pytest.mark.parametrize(("code", "status"), [(0, 0), (2, 2), (3, 1)])
def test_a_sweeps_exit_status_is_passed_on(sweep, code, status):
    assert sweep(f"raise SystemExit({code})") == (status, [])


def test_a_sweep_that_was_killed_has_failed_and_the_reason_is_said(sweep):
    status, said = sweep("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert status == 1
    assert "SIGKILL (out of memory?" in said[0]


@pytest.mark.parametrize("how", ["raise SystemExit(130)", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"])
def test_a_sweep_that_was_interrupted_interrupts(sweep, how):
    with pytest.raises(KeyboardInterrupt):
        sweep(how)


@pytest.mark.parametrize(("number", "seen"), [(signal.SIGINT, "int"), (signal.SIGTERM, "term")])
def test_an_interruption_of_ours_alone_reaches_the_sweep_and_waits_for_it(tmp_path, number, seen):
    ready, note = tmp_path / "ready", tmp_path / "note"
    sweep = (
        "import signal, sys, time, pathlib\n"
        "def stop(name):\n"
        f"    time.sleep(0.3); pathlib.Path({str(note)!r}).write_text(name); sys.exit(130)\n"
        "signal.signal(signal.SIGINT, lambda *_: stop('int'))\n"
        "signal.signal(signal.SIGTERM, lambda *_: stop('term'))\n"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(30)"
    )
    ours = (
        "import signal, sys\n"
        "from harness.reproduce import steps\n"
        "def stop(*_): raise SystemExit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"try: steps._run([sys.executable, '-c', {sweep!r}])\n"
        "except KeyboardInterrupt: sys.exit(130)"
    )
    process = subprocess.Popen([sys.executable, "-c", ours], cwd=PROJECT, start_new_session=True)
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, number)
    assert process.wait(30) == (130 if number == signal.SIGINT else 143)
    assert note.read_text() == seen


def test_the_shown_command_is_the_one_that_runs():
    call = ("data_root=/a b/c", "seeds=[0,1]")
    assert shlex.split(steps.shown(call))[1:] == steps.command(call)[1:]


def test_a_dataset_that_cannot_be_had_is_one_line_and_the_next_is_tried(tmp_path, monkeypatch):
    asked = []

    def refuse(request):
        from harness.errors import RequestError

        asked.append(request.target)
        if request.info.name == "visa":
            raise RequestError("the address does not answer")
        return True

    monkeypatch.setattr(steps, "download", refuse)
    said = []
    request = Request(data_root=tmp_path, store=tmp_path, seeds=(42,))
    wanted = ["visa", "btad"]
    assert steps.fetch(wanted, request, said.append) == 1
    assert asked == [tmp_path / "visa", tmp_path / "btad"]
    assert "visa: the address does not answer" in said
    assert any("CC BY" in line for line in said)
    assert steps.fetch(wanted[1:], request, said.append) == 0
