"""Each script in examples/ runs as it stands and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from harness.paths import PROJECT
from harness.store import Store

SCRIPTS = sorted((PROJECT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The images are drawn once for all scripts."""
    return tmp_path_factory.mktemp("cache")


def run(name, store, cache):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, str(PROJECT / "examples" / name), str(store)]
    done = subprocess.run(command, cwd=store, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_one_run(tmp_path, cache):
    printed = run("one_run.py", tmp_path, cache)
    (record,) = Store(tmp_path).records().records
    interval = record.intervals["image_auroc"]
    shown = f"{record.values['image_auroc']:.4f}  [{interval.low:.4f}, {interval.high:.4f}]"
    assert [line.split(maxsplit=1)[1] for line in printed if line.startswith("image_auroc")] == [shown]
    assert any(line.startswith("pixel_aupro") for line in printed)


def test_a_sweep_to_pandas(tmp_path, cache):
    printed = run("sweep_to_pandas.py", tmp_path, cache)
    rows = [line.split() for line in printed if re.match(r" *bottle ", line)]
    assert [row[1:3] for row in rows] == [["0", "0.01"], ["1", "0.01"], ["0", "0.10"], ["1", "0.10"]]
    assert len(Store(tmp_path).records().records) == 4
    assert any(line.split() == ["mean", "min", "max"] for line in printed)


def test_a_custom_metric(tmp_path, cache):
    printed = run("custom_metric.py", tmp_path, cache)
    (record,) = Store(tmp_path).records().records
    assert printed[-1] == f"image_top1 {record.metrics['image_top1'].value:.0f}"


def test_each_script_is_tested():
    assert [path.name for path in SCRIPTS] == ["custom_metric.py", "one_run.py", "sweep_to_pandas.py"]
