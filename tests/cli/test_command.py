"""Output that fails: dropped from then on, told once, and never in the way; and how a script ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

import pytest

from harness.cli.command import run_script

CODE = """
import os, sys
from harness.cli.command import unbreakable_output

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


def bash(command: str, project) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("trouble", "expected"), [(FULL, "[OSError]"), (CLOSED, "[BrokenPipeError]")])
def test_output_that_fails_is_dropped_and_told_once(project, trouble, expected):
    done = bash(f"{sys.executable} -c {shlex.quote(CODE.format(trouble=trouble, expected=expected))}", project)
    assert (done.returncode, done.stdout) == (0, "first\n"), done.stderr
    assert done.stderr == "end\n", "Python says nothing of what it could not flush"


@pytest.mark.parametrize("closed", ["1", "2"])
def test_output_that_was_closed_before_the_start_loses_nothing_else(project, closed):
    code = (
        "import sys; from harness.cli.command import unbreakable_output\n"
        "with unbreakable_output() as lost: print('out'); print('err', file=sys.stderr); sys.stdout.isatty()"
    )
    done = bash(f"{sys.executable} -c {shlex.quote(code)} {closed}>&-", project)
    assert (done.returncode, done.stdout + done.stderr) == (0, "err\n" if closed == "1" else "out\n")


def test_letters_that_the_encoding_lacks_become_escapes(project):
    code = "from harness.cli.command import unbreakable_output\nwith unbreakable_output(): print('瓶é')"
    done = bash(f"PYTHONIOENCODING=ascii {sys.executable} -c {shlex.quote(code)}", project)
    assert done.stdout == "\\u74f6\\xe9\n"


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        ("| true; exit ${PIPESTATUS[0]}", 0, ""),  # whoever closes the pipe has seen enough
        ("> /dev/full", 1, "error: the output cannot be written (No space left on device); what was done is kept\n"),
    ],
)
def test_a_script_whose_output_fails(project, where, status, said):
    done = bash(f"{sys.executable} scripts/status.py {where}", project)
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.parametrize(
    ("kind", "status", "said"), [(signal.SIGINT, 130, "interrupted: "), (signal.SIGTERM, 143, "terminated: ")]
)
def test_an_interrupted_script_says_so_and_a_helped_one_does_not(capsys, kind, status, said):
    def main() -> int:
        os.kill(os.getpid(), kind)
        raise AssertionError("it was interrupted")

    assert run_script(main) == status
    assert capsys.readouterr().err.startswith(said)
    assert run_script(lambda: sys.exit(0)) == 0
