"""How the machine is divided: jobs times threads never exceed the cores, and each process has a GPU of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest

from harness.errors import RequestError
from harness.launch import hardware as module
from harness.launch.hardware import VISIBLE, Machine, divide, require, take_gpu, visible_gpus
from harness.overrides import parse

EIGHT = Machine(cores=8, gpus=0, memory_bytes=64 << 30)


def divided(*arguments: str, machine: Machine = EIGHT, n_jobs: int = 10, cluster: bool = False) -> dict[str, object]:
    """The request's values after the machine was divided."""
    values = [
        (o.key, o.values[0]) for o in divide(parse(arguments)[0], n_jobs=n_jobs, machine=machine, cluster=cluster)
    ]
    assert len(dict(values)) == len(values), "a key is given twice"
    return dict(values)


def test_one_job_at_a_time_needs_no_process_and_jobs_alone_mean_joblib():
    assert divided("seed=1") == {"seed": 1, "launcher": "basic"}
    for alone in (["jobs=1"], ["jobs=null"], ["launcher=joblib", "jobs=1"], ["launcher=basic", "jobs=1"]):
        assert divided(*alone)["launcher"] == "basic"
    assert divided("launcher=joblib", n_jobs=1)["launcher"] == "basic"
    assert divided("jobs=2") == {"launcher": "joblib", "jobs": 2, "threads": 4, "workers": 4}


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_jobs_times_threads_never_exceed_the_cores(launcher):
    for cores, jobs, n_jobs in itertools.product((1, 2, 3, 8, 64), (None, 1, 2, 3, 7), (1, 2, 9)):
        asked = [f"launcher={launcher}", *([f"jobs={jobs}"] if jobs else [])]
        ours = divided(*asked, machine=Machine(cores, 0, 1 << 40), n_jobs=n_jobs)
        at_once = 1 if ours["launcher"] == "basic" else int(ours["jobs"])
        threads = int(ours.get("threads", cores))
        assert at_once <= min(n_jobs, jobs or n_jobs)
        assert at_once * threads <= cores or (threads == 1 and jobs is not None)


def test_two_cores_have_two_jobs_and_many_have_two_threads_a_job():
    for cores, at_once, threads in ((2, 2, 1), (4, 2, 2), (16, 8, 2)):
        ours = divided("launcher=joblib", machine=Machine(cores, 0, 1 << 40))
        assert (ours["jobs"], ours["threads"]) == (at_once, threads)


def test_memory_limits_the_jobs_unless_the_request_says_how_many():
    machine = Machine(16, 0, 12 << 30)
    assert divided("launcher=joblib", machine=machine)["jobs"] == 3
    assert divided("launcher=joblib", "memory_budget=8", machine=machine)["launcher"] == "basic"
    assert divided("jobs=5", machine=machine)["jobs"] == 5


def test_one_job_for_each_gpu():
    machine = Machine(16, 4, 256 << 30)
    ours = divided("launcher=joblib", machine=machine)
    assert (ours["jobs"], ours["threads"], ours["workers"]) == (4, 4, 4)
    assert divided("launcher=joblib", "device=cpu", machine=machine)["jobs"] == 8


def test_what_the_request_says_stays():
    ours = divided("jobs=2", "threads=3", "workers=null")
    assert (ours["threads"], ours["workers"]) == (3, 4)
    assert divided("jobs=2", "workers=5")["workers"] == 5


def test_a_cluster_divides_itself():
    ours = divided("launcher=submitit_slurm", "jobs=20", "slurm.cpus_per_task=8")
    assert (ours["threads"], ours["jobs"]) == (8, 20)
    assert "threads" not in divided("launcher=submitit_slurm")
    ours = divided("launcher=ray", cluster=True, n_jobs=100)
    assert (ours["jobs"], ours["threads"]) == (100, 2)


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
from harness.launch import hardware
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
