"""Output that fails: dropped from then on, told once, and never in the way."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

import pytest

from harness.streams import run_script

CODE = """
import os, sys
from harness.streams import unbreakable_output

with unbreakable_output() as lost:
    print("first", flush=True)
    {trouble}
    for _ in range(3):
        print("x" * 100_000)
    assert sys.stdout.isatty() is False
assert [type(error) for error in lost] == {expected}, lost
print("end", file=sys.stderr)
"""

FULL = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
CLOSED = "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"


@pytest.mark.parametrize(("trouble", "expected"), [("pass", "[]"), (FULL, "[OSError]"), (CLOSED, "[BrokenPipeError]")])
def test_output_that_fails_is_dropped_and_told_once(project, trouble, expected):
    code = CODE.format(trouble=trouble, expected=expected)
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("first\n")
    assert done.stderr == "end\n", "Python says nothing of what it could not flush"


@pytest.mark.parametrize("closed", ["1", "2"])
def test_output_that_was_closed_before_the_start_loses_nothing_else(project, closed):
    code = (
        "import sys; from harness.streams import unbreakable_output\n"
        "with unbreakable_output() as lost: print('out'); print('err', file=sys.stderr); sys.stdout.isatty()"
    )
    command = f"{sys.executable} -c {shlex.quote(code)} {closed}>&-"
    done = subprocess.run(["bash", "-c", command], cwd=project, timeout=60, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ("err\n" if closed == "1" else "out\n")


def test_letters_that_the_encoding_lacks_become_escapes(project):
    code = "from harness.streams import unbreakable_output\nwith unbreakable_output(): print('瓶é')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, env=environment, check=True)
    assert done.stdout == b"\\u74f6\\xe9\n"


@pytest.mark.parametrize("script", ["settings.py", "verify.py", "status.py"])
def test_whoever_closes_the_pipe_has_seen_enough(project, script):
    command = f"{sys.executable} scripts/{script} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_full_disk_under_a_scripts_log_is_one_line(project):
    command = f"{sys.executable} scripts/status.py > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True, check=False)
    assert done.stderr == "error: the output cannot be written (No space left on device); what was done is kept\n"
    assert done.returncode == 1


def test_an_interrupted_script_says_so(capsys):
    def main() -> int:
        raise KeyboardInterrupt

    assert run_script(main) == 130
    assert capsys.readouterr().err.startswith("interrupted: ")


def test_a_terminated_script_says_so_and_a_helped_one_does_not(capsys):
    before = signal.getsignal(signal.SIGTERM)

    def main() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it was terminated")

    assert run_script(main) == 143
    assert capsys.readouterr().err == "terminated\n"
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(SystemExit, match="0"):
        run_script(lambda: sys.exit(0))
