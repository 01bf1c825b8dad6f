"""One GPU for each process: what is visible, who takes which, and that an ended process gives its own back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from harness.__main__ import _prepare_sweep
from harness.launch import gpus as module
from harness.launch.gpus import VISIBLE, take_gpu, visible_gpus
from harness.overrides import parse

TAKE = """
import os, sys
from pathlib import Path
from harness.launch.gpus import take_gpu
first = take_gpu(sys.argv[2].split(","), Path(sys.argv[1]))
assert take_gpu(["another", "and another"]) == first  # a process keeps its choice
print(first, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
input()
"""


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch):
    monkeypatch.setattr(module, "count_gpus", lambda: 4)
    monkeypatch.setattr(module, "_taken", [])
    monkeypatch.setenv(VISIBLE, "")
    monkeypatch.delenv(VISIBLE)


@pytest.fixture
def taking(tmp_path):
    """Start a process that takes a GPU and keeps it; returns the GPU and the process."""
    started = []

    def take(among: str) -> tuple[str, subprocess.Popen]:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, str(tmp_path), among], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        gpu, visible = process.stdout.readline().split()
        assert gpu == visible
        return gpu, process

    yield take
    for process in started:
        process.communicate("\n")


@pytest.mark.parametrize(
    ("named", "visible"),
    [
        (None, ("0", "1", "2", "3")),
        ("2,3", ("2", "3")),
        ("", ()),
        ("-1", ()),
        ("1,-1,2", ("1",)),
        ("0,3,4,1", ("0", "3")),
        ("GPU-a, 0", ("GPU-a", "0")),
    ],
)
def test_what_is_visible(named, visible):
    assert visible_gpus({} if named is None else {VISIBLE: named}) == visible


def test_without_a_driver_nothing_is_visible(monkeypatch):
    monkeypatch.setattr(module, "count_gpus", lambda: 0)
    assert visible_gpus({VISIBLE: "0,1"}) == visible_gpus({}) == ()


def test_counting_needs_no_driver(monkeypatch):
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.undo()
    monkeypatch.setattr(module.ctypes, "CDLL", missing)
    assert module.count_gpus() == 0


@pytest.mark.parametrize("among", [(), ("0",)])
def test_there_is_nothing_to_choose_among_one(tmp_path, among):
    assert take_gpu(among, tmp_path) is None
    assert VISIBLE not in os.environ


def test_each_process_has_its_own_and_the_fifth_shares(taking):
    taken = [taking("0,1,GPU-a/b,3")[0] for _ in range(5)]
    assert Counter(taken) == {"0": 2, "1": 1, "GPU-a/b": 1, "3": 1}


def test_an_ended_process_gives_its_gpu_back(taking):
    (zero, first), (one, _) = taking("0,1"), taking("0,1")
    assert (zero, one) == ("0", "1")
    first.kill()
    first.wait()
    assert taking("0,1")[0] == "0"


def test_where_nothing_can_be_locked_a_gpu_is_taken_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    assert take_gpu(["0", "1"], tmp_path / "file") == "0"
    assert os.environ[VISIBLE] == "0"


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        ([], True),
        (["launcher=joblib", "jobs=1"], True),
        (["launcher=joblib", "jobs=2"], False),
        (["launcher=joblib", "hydra.launcher.n_jobs=1"], True),
        (["device=cpu"], False),
        (["launcher=joblib", "jobs=1", "device=cpu"], False),
    ],
)
def test_a_sweep_whose_jobs_run_in_its_own_process_takes_a_gpu_before_anything_asks_for_one(
    monkeypatch, arguments, taken
):
    calls = []
    monkeypatch.setattr(module, "take_gpu", lambda: calls.append("taken"))
    request = ["dataset=mvtec", "dataset.root=x", "category=bottle,cable"]
    own, hydra = parse([*request, *arguments])
    _prepare_sweep(own, hydra)
    assert calls == ["taken"] * taken
