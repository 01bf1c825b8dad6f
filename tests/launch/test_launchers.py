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

import pytest

from harness.launch import launchers
from harness.launch.launchers import LostJobError, Spread, Task
from harness.leftovers import is_alive
from harness.store.claims import Claims

PROJECT = Path(__file__).resolve().parents[2]

SWEEP = (
    "experiment=smoke", "dataset=mini_mvtec", "category=bottle", "backbone.weights=random", "dataset.limit=4",
    "protocol.resize=64", "protocol.center_crop=null", "n_features=20", "metrics.bootstrap_samples=20",
)  # fmt: skip
"""Two jobs with small maps: what is tested here is the way, not the numbers."""

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture
def start(tmp_path):
    """Start a sweep into a store of the test's own, from an empty working folder, in a session of its own."""
    started = []
    (tmp_path / "cwd").mkdir()
    (tmp_path / "tmp").mkdir()

    def begin(*arguments: str, **environment: str) -> subprocess.Popen:
        if not any(argument.startswith("store=") for argument in arguments):
            arguments = (f"store={tmp_path / 'store'}", *arguments)
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path / "tmp"), **environment}
        environment.pop("OMP_NUM_THREADS", None)  # the suite's own workers have it
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *SWEEP, *arguments],
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


def ended(process: subprocess.Popen, status: int = 0) -> list[str]:
    """The state of each run, from the lines that the sweep printed."""
    out, err = process.communicate(timeout=280)
    assert process.returncode == status, out + err
    assert "Traceback" not in err
    return sorted(re.findall(r"^(\w+) +SYNTHETIC mini_mvtec/bottle \w+ seed", out, re.MULTILINE))


def contents(store: Path) -> list[str]:
    """What a person sees there: the lock of writers is hidden, and stays."""
    return sorted(path.name for path in store.iterdir() if path.name != ".turn")


def records(store: Path) -> dict[str, dict]:
    return {record["key"]: record for record in map(_read, store.glob("runs/**/record.json"))}


def _read(path: Path) -> dict:
    return json.loads(path.read_text())


def working(store: Path, n_claims: int) -> list[int]:
    """The processes that have claimed a run, as soon as there are so many."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        # 0 while a claim is being written
        pids = [holder.pid for holder in Claims(store).living() if holder.pid]
        if len(pids) >= n_claims:
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
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-m", "harness", *SWEEP, f"store={store}"], check=True, env=environment)
    return records(store)


def assert_same(found: dict[str, dict], expected: dict[str, dict]) -> None:
    for key, record in found.items():
        assert record["metrics"] == expected[key]["metrics"]
        assert record["spec"] == expected[key]["spec"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_the_runs_are_those_of_one_process_in_a_store_of_any_name(start, tmp_path, basic, launcher):
    store = tmp_path / "a${x}b %j ${oc.env:HOME}"
    assert ended(start(f"launcher={launcher}", "jobs=2", f"store={store}")) == ["ok", "ok"]
    found = records(store)
    assert found.keys() == basic.keys()
    assert_same(found, basic)
    assert {record["environment"]["threads"] for record in found.values()} == {max(1, CORES // 2)}
    assert contents(store) == ["runs", "runs.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([store.name, "cwd", "tmp"])
    assert not [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("vad-harness-")]


def test_two_sweeps_side_by_side_share_the_runs(start, tmp_path):
    first, second = start(), start("launcher=submitit_local", "jobs=2")
    lines = [*ended(first), *ended(second)]
    assert lines.count("ok") == 2, lines
    assert contents(tmp_path / "store") == ["runs", "runs.csv"]


@pytest.mark.parametrize(("launcher", "states"), [("joblib", ["ok", "ok"]), ("submitit_local", ["failed", "ok"])])
def test_a_process_that_is_killed_costs_no_other_job(start, tmp_path, launcher, states):
    process = start(f"launcher={launcher}", "jobs=2")
    os.kill(working(tmp_path / "store", 1)[0], signal.SIGKILL)
    assert ended(process, int("failed" in states)) == states
    if "failed" in states:  # the same command makes what is missing
        assert ended(start()) == ["done", "ok"]


@pytest.mark.parametrize(
    ("launcher", "kind", "status"),
    [("joblib", signal.SIGINT, 130), ("submitit_local", signal.SIGINT, 130), ("submitit_local", signal.SIGTERM, 143)],
)
def test_an_interrupted_sweep_ends_with_its_processes_and_its_claims(start, tmp_path, launcher, kind, status):
    process = start(f"launcher={launcher}", "jobs=2")
    pids = working(tmp_path / "store", 1)
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


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_when_a_sweep_is_killed_its_processes_end_too(start, tmp_path, launcher):
    process = start(f"launcher={launcher}", "jobs=2")
    pids = working(tmp_path / "store", 1)
    process.kill()
    wait_for_end([process.pid, *pids])


def test_two_processes_go_on_where_nobody_reads_what_they_say(start, tmp_path):
    process = start("launcher=joblib", "jobs=2")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=280) == 0
    assert len(records(tmp_path / "store")) == 2


def kill_at_two(place: int, _task: Task) -> tuple[int, tuple]:
    """Stand in for a job; the third kills its process, each time."""
    if place == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return place, ()


def test_a_job_that_always_kills_its_process_is_lost_alone(monkeypatch):
    monkeypatch.setattr(launchers, "_numbered", kill_at_two)
    found = dict(launchers._by_joblib([None] * 6, Spread("joblib", at_once=2)))
    assert [place for place in range(6) if found[place] == ()] == [0, 1, 3, 4, 5]
    assert isinstance(found[2], LostJobError)
    assert "\n" not in str(found[2])


@pytest.mark.slow
def test_ray_makes_the_same_runs_and_loses_only_what_is_killed(start, tmp_path, basic):
    pytest.importorskip("ray")
    process = start("launcher=ray", "jobs=2")
    os.kill(working(tmp_path / "store", 1)[0], signal.SIGKILL)
    assert ended(process, status=1) == ["failed", "ok"]
    assert_same(records(tmp_path / "store"), basic)
    assert contents(tmp_path / "store") == ["runs", "runs.csv"]


@pytest.mark.slow
def test_a_terminated_ray_sweep_leaves_no_process(start, tmp_path):
    pytest.importorskip("ray")
    process = start("launcher=ray", "jobs=2")
    pids = working(tmp_path / "store", 1)
    process.send_signal(signal.SIGTERM)
    assert "finished runs are kept" in process.communicate(timeout=60)[1]
    assert process.returncode == 143
    wait_for_end(pids)


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


def test_slurm_is_asked_for_what_the_request_says(start, tmp_path, basic):
    """SLURM's commands are stood in for by scripts that run a job array's script here."""
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    asked = ["slurm.partition=gpu", "slurm.cpus_per_task=1", "slurm.mem_gb=4"]
    process = start("launcher=submitit_slurm", "jobs=2", *asked, PATH=path, SLURM_FAKE=str(tmp_path))
    assert ended(process) == ["ok", "ok"]
    assert_same(records(tmp_path / "store"), basic)
    asked = set(re.findall(r"^#SBATCH --(\S+)$", (tmp_path / "script").read_text(), re.MULTILINE))
    assert asked >= {"array=0-1%2", "partition=gpu", "cpus-per-task=1", "mem=4GB", "time=240", "job-name=vad-harness"}
    assert contents(tmp_path / "store") == ["runs", "runs.csv"]
