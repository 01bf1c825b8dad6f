"""Where a run was made: what is recorded, and what is not mistaken for it."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from importlib.metadata import version

import pytest

from harness.paths import PROJECT
from harness.store.provenance import cpu_model, environment, git_state, package_versions, peak_rss_bytes
from harness.store.record import Git


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    """A checkout of the harness's shape with one commit."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "run.py").write_text("1\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    git_state.cache_clear()
    return tmp_path


def test_the_environment_of_this_machine():
    made = environment(threads=2)
    assert made.python == platform.python_version()
    assert made.packages["numpy"] == version("numpy")
    assert made.packages["torch"] == version("torch")
    assert package_versions(["no-such-distribution"]) == {}
    assert made.git == git_state(PROJECT)
    assert made.device == made.cpu
    assert made.threads == 2
    assert platform.node() not in made.model_dump_json() or len(platform.node()) < 4
    assert environment(threads=None, device="Some GPU").device == "Some GPU"


@pytest.mark.parametrize("name", ["harness/run.py", "harness/new.py", "configs/protocol/x.yaml", "requirements.lock"])
def test_changed_or_new_code_is_dirty(checkout, name):
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("2\n")
    assert git_state(checkout).dirty is True


def test_a_clean_checkout_stays_clean_with_a_sweeps_own_new_records(checkout):
    (checkout / "results").mkdir()
    (checkout / "results" / "record.json").write_text("{}")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    assert git_state(checkout) == Git(commit=head.stdout.strip(), dirty=False)


def test_somebody_elses_checkout_is_not_ours(checkout):
    """An installed harness lies in a virtual environment, which lies in the user's own repository."""
    assert git_state(checkout / "harness") is None


def test_no_git_no_commit(tmp_path, monkeypatch):
    git_state.cache_clear()
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    git_state.cache_clear()
    assert git_state(tmp_path) is None, "no commit yet"
    monkeypatch.setenv("PATH", "")
    git_state.cache_clear()
    assert git_state(PROJECT) is None
    git_state.cache_clear()


def test_the_processors_name(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 85\nmodel name\t: A CPU @ 2.20GHz\nprocessor : 1\nmodel name : B\n")
    assert cpu_model(cpuinfo) == "A CPU @ 2.20GHz"
    cpuinfo.write_text("processor : 0\nBogoMIPS : 50\n")  # ARM
    assert cpu_model(cpuinfo)
    assert cpu_model(tmp_path / "none") == cpu_model(cpuinfo)


def test_peak_memory_is_the_kernels_high_water_mark():
    assert peak_rss_bytes() == pytest.approx(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, rel=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss survives exec on Linux only")
def test_a_child_does_not_state_its_parents_memory():
    block = bytearray(256 << 20)
    code = "from harness.store.provenance import peak_rss_bytes; print(peak_rss_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) < 128 << 20 < len(block)
