"""Where a run was made: what is recorded, and what is not mistaken for it."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from harness.store import environment, peak_rss_bytes, provenance
from harness.store.provenance import cpu_model, git_state, package_versions
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
    assert made.device == made.cpu
    assert made.threads == 2
    assert platform.node() not in made.model_dump_json() or len(platform.node()) < 4
    assert environment(threads=None, device="Some GPU").device == "Some GPU"


def test_a_clean_checkout(checkout):
    state = git_state(checkout)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    assert state.commit == head.stdout.strip()
    assert state.dirty is False


@pytest.mark.parametrize("name", ["harness/run.py", "harness/new.py", "configs/protocol/x.yaml", "requirements.lock"])
def test_changed_or_new_code_is_dirty(checkout, name):
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("2\n")
    assert git_state(checkout).dirty is True


@pytest.mark.parametrize("name", ["results/runs/record.json", "notes.txt", "README.md"])
def test_what_moves_no_number_is_not_dirty(checkout, name):
    """A sweep's own records, not yet committed, must not make its later runs dirty."""
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("2\n")
    assert git_state(checkout).dirty is False


def test_new_code_is_dirty_whatever_the_user_has_git_show(checkout):
    git(checkout, "config", "status.showUntrackedFiles", "no")
    (checkout / "harness" / "new.py").write_text("2\n")
    assert git_state(checkout).dirty is True


def test_a_git_that_will_not_say_what_changed_is_no_clean_checkout(checkout):
    (checkout / ".git" / "index").write_bytes(b"damaged")
    assert git_state(checkout) is None


def test_somebody_elses_checkout_is_not_ours(checkout):
    """An installed harness lies in a virtual environment, which lies in the user's own repository."""
    assert git_state(checkout / "harness") is None


def test_a_hooks_variables_do_not_mislead(checkout, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    git(other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_state(checkout) is not None


def test_no_git_no_commit(tmp_path, monkeypatch):
    git_state.cache_clear()
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    git_state.cache_clear()
    assert git_state(tmp_path) is None, "no commit yet"
    monkeypatch.setenv("PATH", "")
    git_state.cache_clear()
    assert git_state(provenance.ROOT) is None
    git_state.cache_clear()


def test_a_hanging_git_is_given_up(checkout, monkeypatch):
    def hang(*_arguments, **_keywords):
        raise subprocess.TimeoutExpired("git", 10)

    monkeypatch.setattr(provenance.subprocess, "run", hang)
    assert git_state(checkout) is None


def test_versions_of_what_is_installed():
    assert package_versions(["no-such-distribution", "numpy"]) == {"numpy": version("numpy")}


def test_the_processors_name(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 85\nmodel name\t: A CPU @ 2.20GHz\nprocessor : 1\nmodel name : B\n")
    assert cpu_model(cpuinfo) == "A CPU @ 2.20GHz"
    cpuinfo.write_text("processor : 0\nBogoMIPS : 50\n")  # ARM
    assert cpu_model(cpuinfo)
    assert cpu_model(tmp_path / "none") == cpu_model(cpuinfo)


@pytest.mark.parametrize(("processor", "machine", "name"), [("P", "M", "P"), ("", "M", "M"), ("", "", "unknown")])
def test_a_processor_without_a_name_has_pythons(tmp_path, monkeypatch, processor, machine, name):
    monkeypatch.setattr(provenance.platform, "processor", lambda: processor)
    monkeypatch.setattr(provenance.platform, "machine", lambda: machine)
    assert cpu_model(tmp_path / "none") == name


def test_peak_memory_is_the_kernels_high_water_mark(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    assert peak_rss_bytes(status) == 2048 * 1024


def test_peak_memory_grows_and_stays(project):
    """In a process of its own: one that has held much before has its peak behind it."""
    code = (
        "from harness.store import peak_rss_bytes as peak; before = peak(); block = bytearray(64 << 20);"
        "after = peak(); del block; print(before, after, peak())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60)
    before, after, later = map(int, done.stdout.split())
    assert before + (48 << 20) < after < 64 << 30
    assert later > after - (1 << 20)  # the kernel's counters are exact to a few hundred kilobytes


def test_peak_memory_without_proc(tmp_path, monkeypatch):
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_rss_bytes(tmp_path / "none") == pytest.approx(
        kibibytes * (1 if sys.platform == "darwin" else 1024), rel=0.05
    )
    monkeypatch.setattr(provenance.sys, "platform", "darwin")
    assert peak_rss_bytes(tmp_path / "none") == pytest.approx(kibibytes, rel=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss survives exec on Linux only")
def test_a_child_does_not_state_its_parents_memory():
    block = bytearray(256 << 20)
    code = "from harness.store.provenance import peak_rss_bytes; print(peak_rss_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) < 128 << 20 < len(block)


def test_git_is_asked_without_locks_and_not_for_ever(checkout, monkeypatch):
    """Many runs may ask at once; and a network file system may hang."""
    real, asked = subprocess.run, []

    def listening(*arguments, **keywords):
        asked.append(keywords)
        return real(*arguments, **keywords)

    monkeypatch.setattr(provenance.subprocess, "run", listening)
    assert git_state(checkout) is not None
    assert {call["env"]["GIT_OPTIONAL_LOCKS"] for call in asked} == {"0"}
    assert {call["timeout"] for call in asked} == {provenance.GIT_TIMEOUT_S}
    assert {call["stdin"] for call in asked} == {subprocess.DEVNULL}


def test_a_processor_whose_maker_knows_no_utf8_has_its_name(tmp_path):
    (tmp_path / "cpuinfo").write_bytes(b"vendor_id\t: \xae\nmodel name\t: A CPU\n")
    assert cpu_model(tmp_path / "cpuinfo") == "A CPU"


@pytest.mark.parametrize(("platform_name", "expected"), [("darwin", 1000), ("linux", 1024000)])
def test_the_unit_of_peak_memory(tmp_path, monkeypatch, platform_name, expected):
    monkeypatch.setattr(provenance.sys, "platform", platform_name)
    monkeypatch.setattr(provenance.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=1000))
    assert peak_rss_bytes(tmp_path / "none") == expected


def test_the_environment_names_the_commit_of_this_harness(monkeypatch):
    git = Git(commit="01" * 20, dirty=True)
    monkeypatch.setattr(provenance, "git_state", {provenance.ROOT: git}.get)
    assert environment(threads=1).git == git
