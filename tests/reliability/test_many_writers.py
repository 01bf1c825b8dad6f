"""Many processes on one store: nothing torn, lost or there twice, and always valid to whoever reads beside them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("locks", ["folder", "file"])
def test_eight_writers_and_two_readers(tmp_path, project, locks):
    """`file`: as on a network file system, which cannot lock folders."""
    seed = int.from_bytes(os.urandom(4), "big")
    words = [str(tmp_path), "4", "8", "2", str(seed), locks]
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.writing", *words], cwd=project, capture_output=True, text=True
    )
    print(f"seed {seed}: {done.stdout}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.startswith("8 writers x 4 s: ")
