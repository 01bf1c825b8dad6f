"""Sweeps in other processes, from end to end on drawn images: the same runs whoever does them, and none left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.__main__ import main
from harness.execution import launchers
from harness.execution.launchers import LaunchPlan, LostJobError, launch
from harness.leftovers import is_alive
from harness.store.claims import Claims

PROJECT = Path(__file__).resolve().parents[2]

SWEEP = (
    "experiment=smoke", "dataset=mini_mvtec", "category=bottle", "backbone.weights=random", "dataset.limit=4",
    "preprocessing.resize=64", "preprocessing.center_crop=null", "model.n_features=20", "metrics.bootstrap_samples=20",
)  # fmt: skip
"""Two jobs with small maps: what is tested here is the way, not the numbers."""

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
RAY = pytest.param("ray", marks=pytest.mark.slow)


@pytest.fixture
def start(tmp_path):
    """Start a sweep of two jobs at once, from an empty working folder, in a session of its own."""
    started = []
    (tmp_path / "cwd").mkdir()
    (tmp_path / "tmp").mkdir()

    def begin(launcher: str, store: Path) -> subprocess.Popen:
        if launcher == "ray":
            pytest.importorskip("ray")
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path / "tmp")}
        environment.pop("OMP_NUM_THREADS", None)  # the suite's own workers have it
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *SWEEP, f"launcher={launcher}", "jobs=2", f"store={store}"],
            cwd=tmp_path / "cwd", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert list((tmp_path / "cwd").iterdir()) == [], "something was written into the working folder"


def contents(store: Path) -> list[str]:
    """What a person sees there: the lock of writers is hidden, and stays."""
    return sorted(path.name for path in store.iterdir() if path.name != ".turn")


def records(store: Path) -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in store.glob("runs/**/record.json")]
    return {record["key"]: record for record in found}


def working(store: Path) -> list[int]:
    """The processes that have claimed a run, as soon as there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        # 0 while a claim is being written
        if pids := [holder.pid for holder in Claims(store).living() if holder.pid]:
            return pids
        time.sleep(0.02)
    raise AssertionError("nothing was claimed in two minutes")


def wait_for_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, "a process of the sweep lives on"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def basic(tmp_path_factory) -> dict[str, dict]:
    """The records of the sweep in one process."""
    store = tmp_path_factory.mktemp("basic")
    assert main([*SWEEP, f"store={store}"]) == 0
    return records(store)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", RAY])
def test_the_runs_are_those_of_one_process_in_a_store_of_any_name(start, tmp_path, basic, launcher):
    store = tmp_path / "a${x}b %j ${oc.env:HOME}"
    process = start(launcher, store)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, out + err
    assert re.findall(r"^(\w+) +SYNTHETIC mini_mvtec/bottle [\w-]+ seed", out, re.MULTILINE) == ["ok", "ok"]
    found = records(store)
    assert found.keys() == basic.keys()
    for key, record in found.items():
        assert (record["metrics"], record["spec"]) == (basic[key]["metrics"], basic[key]["spec"])
        assert record["environment"]["threads"] == max(1, CORES // 2)
    assert contents(store) == ["runs", "runs.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([store.name, "cwd", "tmp"])
    assert not list((tmp_path / "tmp").glob("vad-harness-*"))


@pytest.mark.parametrize(
    ("launcher", "kind", "status"),
    [
        ("joblib", signal.SIGINT, 130),
        ("submitit_local", signal.SIGTERM, 143),
        pytest.param("ray", signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_sweep_ends_with_its_processes_and_its_claims(start, tmp_path, launcher, kind, status):
    process = start(launcher, tmp_path / "store")
    pids = working(tmp_path / "store")
    os.killpg(process.pid, kind) if kind == signal.SIGINT else process.send_signal(kind)  # as a terminal does it
    if launcher == "submitit_local":  # somebody is impatient
        time.sleep(0.2)
        process.send_signal(kind)
    _, err = process.communicate(timeout=120)
    assert process.returncode == status
    (line,) = err.strip().splitlines()
    assert "finished runs are kept" in line
    wait_for_end(pids)
    assert contents(tmp_path / "store") == ["runs"]


def test_when_a_sweep_is_killed_its_processes_end_too(start, tmp_path):
    process = start("joblib", tmp_path / "store")
    pids = working(tmp_path / "store")
    process.kill()
    wait_for_end([process.pid, *pids])


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", RAY])
def test_a_process_that_is_killed_costs_no_other_job(monkeypatch, launcher):
    def stand_in(job, *_):
        if job == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        return (job,)

    monkeypatch.setattr(launchers, "run_there", stand_in)
    # Only where SLURM's folder is, is the job itself looked at.
    jobs = [SimpleNamespace(execution=SimpleNamespace(store=Path())), 1, 2]
    found = dict(launch(jobs, LaunchPlan(launcher, at_once=2)))
    assert [found[place] for place in (0, 2)] == [(jobs[0],), (2,)]
    assert isinstance(found[1], LostJobError)
    assert "\n" not in str(found[1])


SBATCH = """#!/bin/sh
cp "$1" "$SLURM_FAKE/script"
echo "Submitted batch job 7"
for i in 0 1; do
  (SLURM_JOB_ID=8$i SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$i SLURM_LOCALID=0 SLURM_PROCID=0 SLURM_NTASKS=1 \
   SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_JOB_NODELIST=here sh "$1"; touch "$SLURM_FAKE/$i.ended") >/dev/null 2>&1 &
done
"""
SRUN = """#!/bin/sh
while [ "$1" != "${1#-}" ]; do case "$1" in --output|--error) shift ;; esac; shift; done
exec "$@"
"""
SACCT = """#!/bin/sh
echo "JobID|State|NodeList"
for i in 0 1; do
  if [ -e "$SLURM_FAKE/$i.ended" ]; then echo "7_$i|COMPLETED|here"; else echo "7_$i|RUNNING|here"; fi
done
"""


def test_slurm_is_asked_for_what_the_request_says(tmp_path, monkeypatch):
    """SLURM's commands are stood in for by scripts that run a job array's script here."""
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_FAKE", str(tmp_path))
    monkeypatch.setattr(launchers, "run_there", lambda job, plan: (plan.launcher, str(job.execution.store)))
    jobs = [SimpleNamespace(execution=SimpleNamespace(store=tmp_path / name)) for name in ("store", "b")]
    asked = {"partition": "gpu", "cpus_per_task": 1, "mem_gb": 4, "timeout_min": 240, "qos": None}
    found = dict(launch(jobs, LaunchPlan("submitit_slurm", at_once=2, slurm=asked)))
    assert found == {place: ("submitit_slurm", str(job.execution.store)) for place, job in enumerate(jobs)}
    asked = set(re.findall(r"^#SBATCH --(\S+)$", (tmp_path / "script").read_text(), re.MULTILINE))
    assert asked >= {"array=0-1%2", "partition=gpu", "cpus-per-task=1", "mem=4GB", "time=240", "job-name=vad-harness"}
    assert contents(tmp_path / "store") == []
