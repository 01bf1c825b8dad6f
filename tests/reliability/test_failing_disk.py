"""A disk, a permission or a folder that fails a sweep: one line, nothing half-written, and afterwards it goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import recording
from harness.store.record import hide_paths
from tests.reliability.failing import SCENARIOS

NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


pytestmark = pytest.mark.timeout(600)  # all sweeps are in the first test's time


@pytest.fixture(scope="module")
def told(tmp_path_factory, project):
    """How each scenario went, all played by one process that may mount disks of its own."""
    base = tmp_path_factory.mktemp("failing")
    mount = ["sh", "-c", f"mount -t tmpfs none '{base}'"]
    if not shutil.which("unshare") or subprocess.run([*NAMESPACE, *mount], capture_output=True).returncode:
        pytest.skip("needs Linux, and the right to mount a small disk in a mount namespace")
    play = [*NAMESPACE, sys.executable, "-m", "tests.reliability.failing", str(base)]
    done = subprocess.run(play, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((base / "told.json").read_text())


EXPECTED = {
    "undisturbed": (0, 2, ""),
    "full": (2, 0, "store: cannot be written (No space left on device); make room, or give another folder"),
    "full midway": (None, 1, "store: cannot be written (No space left on device); make room, or give another folder"),
    "read-only": (2, 0, "store: cannot be written (Read-only file system); make it writable, or give another folder"),
    "read-only midway": (
        1,
        1,
        "store: cannot be written (Read-only file system); make it writable, or give another folder",
    ),
    "file size": (2, 0, "store: cannot be written (File too large); raise the limit (ulimit -f)"),
    "file size midway": (1, 1, "store: cannot be written (File too large); raise the limit (ulimit -f)"),
    "permission": (2, 2, "store: cannot be written (Permission denied); make it writable, or give another folder"),
    "permission midway": (1, 1, "store: cannot be written (Permission denied); make it writable, or give another"),
    "unreadable record": (1, 2, "record.json: cannot be read (Permission denied); check its permissions"),
    "store removed": (0, 1, ""),
    "data removed": (2, 0, "fit: bottle/train/good/000.png: no such file; restore it, or remove what refers to it"),
    "working folder removed": (0, 4, ""),
    "output full": (1, 2, "error: the output cannot be written (No space left on device); what was done is kept"),
    "output closed": (0, 2, ""),
}
"""Exit status, runs in the store then, and what is said. A full disk midway is 1 or 2: jobs that find it full before
they begin are refused."""


def test_every_scenario_is_expected():
    assert EXPECTED.keys() == SCENARIOS.keys()


def test_a_record_needs_neither_temporary_files_nor_a_working_folder(monkeypatch):
    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory")

    run = SimpleNamespace(dataset=SimpleNamespace(root=Path("data")), backbone=SimpleNamespace(weights="random"))
    with monkeypatch.context() as context:
        context.setattr(tempfile, "gettempdir", gone)
        context.setattr(os, "getcwd", gone)
        hidden = recording._hidden(run)
        assert hidden == {"dataset.root": Path("data")}
        assert hide_paths("in data/x and /there/y", hidden) == "in data/x and /there/y"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_failing_disk_is_one_line_and_loses_nothing(told, name):
    status, n_ok, words = EXPECTED[name]
    one = told[name]
    assert one["status"] == status if status is not None else one["status"] in (1, 2), one["err"]
    assert "Traceback" not in one["err"] + one["out"]
    assert words in one["err"]
    if one["status"] == 2 and n_ok == 0 and name != "data removed":
        assert len(one["err"].splitlines()) == 1
    left = one["left"]
    assert (left["ok"], left["ok that do not count"], left["problems"], left["temporary"]) == (n_ok, 0, [], [])
    # Once the trouble is over, the same command does what is left.
    wanted = 2 * len(SCENARIOS[name].categories.split(","))
    if one["again"] is not None:
        assert one["again"] == 0
        assert (one["whole"]["ok"], one["whole"]["failed"], one["whole"]["problems"]) == (wanted, 0, [])
