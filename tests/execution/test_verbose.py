"""verbose=true: log lines of the harness and its libraries on standard error; without it none, and the same run."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from harness.paths import PROJECT
from harness.store import Store

RUN = (
    "dataset=mini_mvtec", "dataset.limit=4", "backbone=efficientnet_lite0", "backbone.weights=package",
    "preprocessing.resize=64", "preprocessing.center_crop=null", "model.n_features=20", "metrics.bootstrap_samples=20",
)  # fmt: skip
LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?P<process>\d+) (?P<logger>[a-zA-Z_.]+): ")


@pytest.fixture
def run(tmp_path):
    """Run the command line in a process of its own, into one store; returns its output and the lines of its errors."""

    def call(*arguments):
        command = [sys.executable, "-m", "harness", *RUN, f"store={tmp_path / 'out'}", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr.splitlines()

    return call


def test_log_lines_come_only_with_verbose_and_the_run_stays_the_same(run, tmp_path):
    quiet, said = run("category=bottle")
    assert all(line.startswith("note: ") for line in said), said
    (record,) = Store(tmp_path / "out").records().records

    again, said = run("category=bottle", "verbose=true")
    assert again.startswith("done"), "verbose is in the key"

    shown, said = run("category=bottle", "verbose=true", "refresh=true")
    seconds = re.compile(r"\d+\.\d s")
    assert seconds.sub("", shown) == seconds.sub("", quiet)
    loggers = {found["logger"] for line in said if (found := LINE.match(line))}
    of_libraries = {name for name in loggers if not name.startswith("harness.")}
    assert {"harness.execution.passes", "harness.execution.job", "harness.store.claims"} <= loggers
    assert {name.partition(".")[0] for name in of_libraries} == {"timm"}
    assert any("predicted memory: host" in line for line in said)
    (replaced,) = Store(tmp_path / "out").records().records
    assert replaced.key == record.key
    assert replaced.values == record.values


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_workers_are_verbose_too(run, launcher):
    _, said = run("category=bottle,cable", f"launcher={launcher}", "jobs=2", "verbose=true")
    workers = {found["process"] for line in said if (found := LINE.match(line)) and "passes" in found["logger"]}
    assert len(workers) == 2


@pytest.mark.slow
def test_lightning_speaks_only_with_verbose(run):
    _, said = run("category=bottle", "engine=reference")
    assert all(line.startswith("note: ") for line in said), said
    _, said = run("category=bottle", "engine=reference", "refresh=true", "verbose=true")
    assert any("GPU available" in line for line in said)
