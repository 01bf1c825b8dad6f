"""Output that fails: dropped from then on, told once, and never in the way."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
