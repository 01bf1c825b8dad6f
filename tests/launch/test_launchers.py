"""Sweeps past one process, from end to end on drawn images: every run is done exactly once, whoever does it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

SWEEP = (
    "experiment=smoke", "dataset=mini_mvtec", "backbone.weights=random", "dataset.limit=4", "protocol.resize=64",
    "protocol.center_crop=null", "n_features=20", "metrics.bootstrap_samples=20",
)  # fmt: skip
"""The smoke experiment on three drawn categories with small maps: what is tested here is the way, not the numbers."""

RUNS = Counter(
    [
        "bottle efficientnet_lite0",
        "cable efficientnet_lite0",
        "hazelnut efficientnet_lite0",
        "bottle efficientnet_lite2",
    ]
)
"""Each once."""

ONE = ("category=bottle", "backbone=efficientnet_lite0")
"""What makes one run of it."""

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture
def start(tmp_path):
    """Start a sweep into the test's own store, from an empty working folder, in a session of its own."""
    started = []
    (tmp_path / "cwd").mkdir()

    def begin(*arguments: str) -> subprocess.Popen:
        if not any(argument.startswith("store=") for argument in arguments):
            arguments = (f"store={tmp_path / 'store'}", *arguments)
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
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


def ended(process: subprocess.Popen) -> list[tuple[str, str]]:
    """How each run ended, from the lines that the sweep printed: (state, run)."""
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    return re.findall(r"^(\w+) +SYNTHETIC mini_mvtec/(\w+ \w+) seed", out, re.MULTILINE)


def ran(*sweeps: list[tuple[str, str]]) -> Counter:
    return Counter(run for sweep in sweeps for state, run in sweep if state == "ok")


def contents(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


def wait_for_claims(store: Path, n_claims: int = 1) -> list[dict]:
    """The claims on a store, as soon as there are so many."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        paths = list(store.glob(".claims/*.json"))
        if len(paths) >= n_claims:
            return [json.loads(path.read_text()) for path in paths]
        time.sleep(0.02)
    raise AssertionError("nothing was claimed in two minutes")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_two_processes_complete_a_sweep_with_every_run_done_once(start, tmp_path, launcher):
    lines = ended(start(f"launcher={launcher}", "jobs=2"))
    assert ran(lines) == RUNS
    assert len(lines) == len(RUNS)
    assert contents(tmp_path / "store") == ["runs", "runs.csv"]
    records = [json.loads(path.read_text()) for path in (tmp_path / "store").glob("runs/**/record.json")]
    assert {record["environment"]["threads"] for record in records} == {max(1, CORES // 2)}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_store_of_any_name_has_all_files_in_it(start, tmp_path, monkeypatch, launcher):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    store = tmp_path / "a${x}b %j ${oc.env:HOME}"
    out, err = start(f"launcher={launcher}", "jobs=2", *ONE, f"store={store}").communicate(timeout=280)
    assert "ok " in out, out + err
    assert contents(store) == ["runs", "runs.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([store.name, "cwd", "tmp"])
    assert [path.name for path in scratch.iterdir() if path.name.startswith("vad-harness-")] == []


@pytest.mark.slow
def test_two_sweeps_side_by_side_share_the_runs(start, tmp_path):
    sweeps = [ended(process) for process in [start(), start()]]
    assert ran(*sweeps) == RUNS
    for lines in sweeps:
        assert {run for state, run in lines if state in ("ok", "done")} == set(RUNS), "a sweep ended before it was done"
    assert contents(tmp_path / "store") == ["runs", "runs.csv"]


@pytest.mark.slow
def test_a_killed_sweeps_claims_are_taken_over_at_once(start, tmp_path):
    store = tmp_path / "store"
    killed = start(*ONE)
    (claim,) = wait_for_claims(store)
    killed.kill()
    killed.wait()
    assert claim["pid"] == killed.pid
    assert (store / ".claims" / f"{claim['key']}.json").exists(), "it had no time to release its claim"
    started = time.monotonic()
    assert ended(start(*ONE)) == [("ok", "bottle efficientnet_lite0")]
    assert time.monotonic() - started < 110, "it waited for the claim to expire"
    assert contents(store) == ["runs", "runs.csv"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_ends_with_its_processes_and_its_claims(start, tmp_path, launcher, number, status):
    process = start(f"launcher={launcher}", "jobs=2")
    workers = [claim["pid"] for claim in wait_for_claims(tmp_path / "store", 2)]
    assert process.pid not in workers
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == status
    (line,) = err.strip().splitlines()
    assert "finished runs are kept" in line
    assert not [pid for pid in workers if is_alive(pid)]
    assert contents(tmp_path / "store") == ["runs"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_when_a_sweep_is_killed_its_workers_end_too(start, tmp_path, launcher):
    process = start(f"launcher={launcher}", "jobs=2")
    workers = [claim["pid"] for claim in wait_for_claims(tmp_path / "store", 2)]
    process.kill()
    process.wait()
    assert not [pid for pid in workers if is_alive(pid)]
    assert not (tmp_path / "store" / ".claims").exists(), "a worker did not give its claim back"


def is_alive(pid: int) -> bool:
    from harness.leftovers import is_alive as alive

    deadline = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline:  # it may be on its way out
        time.sleep(0.1)
    return alive(pid)


def test_a_worker_that_is_killed_takes_no_other_run_with_it(start, tmp_path):
    process = start("launcher=joblib", "jobs=2", "category=bottle")
    claims = wait_for_claims(tmp_path / "store", 2)
    os.kill(claims[0]["pid"], signal.SIGKILL)
    assert ran(ended(process)) == Counter(run for run in RUNS if run.startswith("bottle"))


def test_ray_completes_a_sweep_on_a_local_cluster(start, tmp_path):
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: it cannot share this environment's lock (make setup-ray makes one for it)")
    lines = ended(start("launcher=ray", "jobs=2"))
    assert ran(lines) == RUNS
    assert len(lines) == len(RUNS)
    assert contents(tmp_path / "store") == ["runs", "runs.csv"]


def test_two_processes_go_on_where_nobody_reads_what_they_say(start, tmp_path):
    process = start("launcher=joblib", "jobs=2", "category=bottle")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=280) == 0
    assert len(list((tmp_path / "store").glob("runs/**/record.json"))) == 2


def test_one_job_at_a_time_runs_in_the_sweep_itself_and_outlives_its_shell(start, tmp_path):
    """joblib starts no process for it; so nothing may end with the shell that started the sweep."""
    command = f"nohup {sys.executable} -m harness {' '.join(SWEEP)} {' '.join(ONE)} store={tmp_path / 'store'} jobs=1 &"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["bash", "-c", f"{command} sleep 1"], check=True, env=environment, cwd=tmp_path, **pipes)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "store").glob("runs/**/record.json")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list((tmp_path / "store").glob("runs/**/record.json"))


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_no_process_behind(start, tmp_path):
    process = start("launcher=submitit_local", "jobs=2")
    workers = [claim["pid"] for claim in wait_for_claims(tmp_path / "store", 2)]
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert not [pid for pid in workers if is_alive(pid)]
    assert contents(tmp_path / "store") == ["runs"]


def test_a_job_whose_process_never_came_back_has_a_line(start):
    process = start(*ONE, "launcher=submitit_local", "hydra.launcher.folder=/proc/nowhere")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    (line,) = out.strip().splitlines()
    assert line.startswith("failed  SYNTHETIC mini_mvtec/bottle efficientnet_lite0 seed 42  its job did not come back")
