"""How the machine is divided: jobs times threads never exceed the cores, and each process has a GPU of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest

from harness.config.overrides import parse
from harness.errors import RequestError
from harness.execution import hardware as module
from harness.execution.hardware import VISIBLE, Capacity, divide, require, take_gpu, visible_gpus

EIGHT = Capacity(cores=8, gpus=0, memory_bytes=64 << 30)


def divided(*arguments: str, machine: Capacity = EIGHT, n_jobs: int = 10, cluster: bool = False) -> dict[str, object]:
    """The request's values after the machine was divided."""
    values = [
        (o.key, o.values[0]) for o in divide(parse(arguments)[0], n_jobs=n_jobs, machine=machine, cluster=cluster)
    ]
    assert len(dict(values)) == len(values), "a key is given twice"
    return dict(values)


JOBLIB = {"launcher": "joblib"}


@pytest.mark.parametrize(
    ("words", "machine", "expected"),
    [
        # one job at a time needs no process, and jobs alone mean joblib
        ("seed=1", EIGHT, {"seed": 1, "launcher": "basic"}),
        ("jobs=1", EIGHT, {"launcher": "basic"}),
        ("jobs=null", EIGHT, {"launcher": "basic"}),
        ("launcher=joblib jobs=1", EIGHT, {"launcher": "basic"}),
        ("launcher=basic jobs=1", EIGHT, {"launcher": "basic"}),
        ("jobs=2", EIGHT, JOBLIB | {"jobs": 2, "threads": 4, "workers": 4}),
        # two cores have two jobs, and many have two threads a job
        ("launcher=joblib", Capacity(2, 0, 1 << 40), JOBLIB | {"jobs": 2, "threads": 1}),
        ("launcher=joblib", Capacity(4, 0, 1 << 40), JOBLIB | {"jobs": 2, "threads": 2}),
        ("launcher=joblib", Capacity(16, 0, 1 << 40), JOBLIB | {"jobs": 8, "threads": 2}),
        # memory limits the jobs, unless the request says how many
        ("launcher=joblib", Capacity(16, 0, 12 << 30), JOBLIB | {"jobs": 3}),
        ("launcher=joblib memory_budget=8", Capacity(16, 0, 12 << 30), {"launcher": "basic"}),
        ("jobs=5", Capacity(16, 0, 12 << 30), JOBLIB | {"jobs": 5}),
        # one job for each GPU
        ("launcher=joblib", Capacity(16, 4, 256 << 30), JOBLIB | {"jobs": 4, "threads": 4, "workers": 4}),
        ("launcher=joblib device=cpu", Capacity(16, 4, 256 << 30), JOBLIB | {"jobs": 8}),
        # what the request says stays
        ("jobs=2 threads=3 workers=null", EIGHT, JOBLIB | {"threads": 3, "workers": 4}),
        ("jobs=2 workers=5", EIGHT, JOBLIB | {"workers": 5}),
        # a cluster divides itself
        ("launcher=submitit_slurm jobs=20 slurm.cpus_per_task=8", EIGHT, {"threads": 8, "jobs": 20}),
        ("launcher=submitit_slurm", EIGHT, {"threads": None}),
    ],
)
def test_how_the_machine_is_divided(words, machine, expected):
    ours = divided(*words.split(), machine=machine)
    assert {key: ours.get(key) for key in expected} == expected


def test_rays_cluster_has_other_machines():
    ours = divided("launcher=ray", cluster=True, n_jobs=100)
    assert (ours["jobs"], ours["threads"]) == (100, 2)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_jobs_times_threads_never_exceed_the_cores(launcher):
    for cores, jobs, n_jobs in itertools.product((1, 2, 3, 8, 64), (None, 1, 2, 3, 7), (1, 2, 9)):
        asked = [f"launcher={launcher}", *([f"jobs={jobs}"] if jobs else [])]
        ours = divided(*asked, machine=Capacity(cores, 0, 1 << 40), n_jobs=n_jobs)
        at_once = 1 if ours["launcher"] == "basic" else int(ours["jobs"])
        threads = int(ours.get("threads", cores))
        assert at_once <= min(n_jobs, jobs or n_jobs)
        assert at_once * threads <= cores or (threads == 1 and jobs is not None)


def test_a_launcher_that_cannot_be_used_is_refused_with_its_remedy(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RequestError, match=r"^launcher=submitit_slurm: there is no srun here; .*joblib for this"):
        require("submitit_slurm")
    require("submitit_local")
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    require("basic")
    with pytest.raises(RequestError, match=r"launcher=joblib: joblib is not .*vad-harness\[launchers\]"):
        require("joblib")
    with pytest.raises(RequestError, match=r"vad-harness\[ray\]"):
        require("ray")


TAKE = """
import os, sys
from harness.execution import hardware
hardware.count_gpus = lambda: 4
first = hardware.take_gpu()
assert first == hardware.take_gpu()  # a process keeps its choice
print(first, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
input()
"""


@pytest.fixture
def taking(tmp_path):
    """Start a process that takes a GPU and keeps it; returns the GPU and the process."""
    started = []

    def take(among: str) -> tuple[str, subprocess.Popen]:
        environment = {**os.environ, VISIBLE: among, "TMPDIR": str(tmp_path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", TAKE], env=environment, text=True, **pipes)
        started.append(process)
        gpu, visible = process.stdout.readline().split()
        assert gpu == visible
        return gpu, process

    yield take
    for process in started:
        process.communicate("\n")


def test_each_process_has_its_own_gpu_the_fifth_shares_and_an_ended_one_gives_its_own_back(taking):
    taken = [taking("0,1,GPU-a/b,3") for _ in range(5)]
    assert Counter(gpu for gpu, _ in taken) == {"0": 2, "1": 1, "GPU-a/b": 1, "3": 1}
    taken[1][1].kill()
    taken[1][1].wait()
    assert taking("0,1,GPU-a/b,3")[0] == "1"


def test_what_is_visible(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "count_gpus", lambda: 4)
    monkeypatch.setattr(module, "_taken", [])
    monkeypatch.delenv(VISIBLE, raising=False)
    assert visible_gpus() == ("0", "1", "2", "3")
    for named, visible in (("2,3", ("2", "3")), ("", ()), ("-1", ()), ("GPU-a, 0", ("GPU-a", "0"))):
        monkeypatch.setenv(VISIBLE, named)
        assert visible_gpus() == visible
    monkeypatch.setenv(VISIBLE, "1")
    assert take_gpu() is None, "there is nothing to choose"
    monkeypatch.setattr(module, "count_gpus", lambda: 0)
    assert visible_gpus() == ()
    monkeypatch.setattr(module, "count_gpus", lambda: 2)
    monkeypatch.setenv(VISIBLE, "0,1")
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: "/proc/nowhere")
    assert take_gpu() == "0", "where nothing can be locked a GPU is taken all the same"
