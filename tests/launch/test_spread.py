"""How the machine is divided: jobs times threads never exceed the cores, and what a request says itself stays."""

from __future__ import annotations

import itertools

import pytest

from harness.errors import RequestError
from harness.launch import spread as module
from harness.launch.spread import LOCAL, Machine, chosen, require, spread
from harness.overrides import Override, parse

EIGHT = Machine(cores=8, gpus=0, memory_bytes=64 << 30)


def own(*arguments: str) -> list[Override]:
    return parse(arguments)[0]


def divided(*arguments: str, machine: Machine = EIGHT, n_jobs: int = 10) -> tuple[dict[str, object], dict[str, str]]:
    """The request's values and Hydra's, after the machine was divided."""
    ours, hydra = spread(*parse(arguments), n_jobs=n_jobs, machine=machine)
    return {o.key: o.values[0] for o in ours}, dict(argument.split("=") for argument in hydra)


def test_basic_changes_nothing():
    ours, hydra = divided("seed=1")
    assert ours == {"seed": 1, "launcher": "basic"}
    assert hydra == {"hydra/launcher": "basic"}


def test_jobs_alone_mean_joblib():
    assert chosen(own("jobs=2")) == "joblib"
    assert chosen(own("jobs=null")) == "basic"
    assert chosen(own("jobs=1", "launcher=basic")) == "basic"
    with pytest.raises(RequestError, match="jobs=2: launcher=basic runs one job at a time"):
        chosen(own("jobs=2", "launcher=basic"))


@pytest.mark.parametrize("argument", ["launcher=basic,joblib", "jobs=1,2"])
def test_a_sweep_has_one_launcher(argument):
    with pytest.raises(RequestError, match="give one value"):
        chosen(own(argument))


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_jobs_times_threads_never_exceed_the_cores(launcher):
    for cores, jobs, n_jobs in itertools.product((1, 2, 3, 8, 64), (None, 1, 2, 3, 7), (1, 2, 9)):
        arguments = [f"launcher={launcher}", *([f"jobs={jobs}"] if jobs else [])]
        machine = Machine(cores, 0, 1 << 40)
        ours, hydra = divided(*arguments, machine=machine, n_jobs=n_jobs)
        names = {"joblib": "hydra.launcher.n_jobs", "submitit_local": "hydra.launcher.array_parallelism"}
        at_once = int(hydra[names[launcher]]) if launcher in names else cores // int(ours["threads"])
        assert at_once <= n_jobs or launcher == "ray"
        assert jobs is None or at_once <= jobs or launcher == "ray"
        assert at_once * int(ours["threads"]) <= cores or (ours["threads"] == 1 and jobs is not None)


def test_two_cores_have_two_jobs_and_many_have_two_threads_a_job():
    for cores, at_once, threads in ((1, 1, 1), (2, 2, 1), (4, 2, 2), (16, 8, 2)):
        ours, hydra = divided("launcher=joblib", machine=Machine(cores, 0, 1 << 40))
        assert (int(hydra["hydra.launcher.n_jobs"]), ours["threads"]) == (at_once, threads)


def test_what_is_null_is_filled_in_once():
    for arguments in (["threads=null"], ["workers=null"], ["threads=null", "workers=null"], []):
        ours, _ = spread(*parse(["jobs=2", *arguments]), n_jobs=4, machine=EIGHT)
        assert sorted(o.key for o in ours) == ["jobs", "launcher", "threads", "workers"]
        assert {o.key: o.values for o in ours if o.key in ("threads", "workers")} == {"threads": (4,), "workers": (4,)}
    ours, _ = spread(*parse(["jobs=2", "threads=null,1"]), n_jobs=4, machine=EIGHT)
    assert [o.values for o in ours if o.key == "threads"] == [(None, 1)]


@pytest.mark.parametrize(
    "setting", ["n_jobs=0", "n_jobs=x", "n_jobs=1.5", "array_parallelism=0", "array_parallelism=-1"]
)
def test_a_launchers_own_number_of_jobs_that_is_none_is_a_wrong_request(setting):
    launcher = "joblib" if setting.startswith("n_jobs") else "submitit_local"
    with pytest.raises(RequestError, match=rf"^hydra\.launcher\.{setting}: does not fit; give how many jobs"):
        divided(f"launcher={launcher}", f"hydra.launcher.{setting}")
    assert divided("launcher=joblib", "hydra.launcher.n_jobs=-1")[1]["hydra.launcher.n_jobs"] == "-1"


def test_memory_limits_the_jobs_unless_the_request_says_how_many():
    machine = Machine(16, 0, 12 << 30)
    assert divided("launcher=joblib", machine=machine)[1]["hydra.launcher.n_jobs"] == "3"
    assert divided("launcher=joblib", "memory_budget=8", machine=machine)[1]["hydra.launcher.n_jobs"] == "1"
    assert divided("launcher=joblib", "jobs=5", machine=machine)[1]["hydra.launcher.n_jobs"] == "5"


def test_one_job_for_each_gpu():
    machine = Machine(16, 4, 256 << 30)
    ours, hydra = divided("launcher=joblib", machine=machine)
    assert (hydra["hydra.launcher.n_jobs"], ours["threads"], ours["workers"]) == ("4", 4, 4)
    assert divided("launcher=joblib", "device=cpu", machine=machine)[1]["hydra.launcher.n_jobs"] == "8"
    hydra = divided("launcher=ray", "device=cuda", machine=machine)[1]
    assert hydra["+hydra.launcher.ray.remote.num_gpus"] == "1"
    assert hydra["+hydra.launcher.ray.init.num_gpus"] == "4"


def test_what_the_request_says_stays():
    ours, hydra = divided("launcher=joblib", "threads=3", "workers=5", "hydra.launcher.n_jobs=2")
    assert (ours["threads"], ours["workers"], hydra["hydra.launcher.n_jobs"]) == (3, 5, "2")


def test_slurm_divides_itself():
    ours, hydra = divided("launcher=submitit_slurm", "jobs=20", "hydra.launcher.cpus_per_task=8")
    assert (ours["threads"], hydra["hydra.launcher.array_parallelism"]) == (8, "20")
    assert "threads" not in divided("launcher=submitit_slurm")[0]


def test_the_local_executor_is_ours():
    assert divided("launcher=submitit_local")[1]["hydra/launcher"] == LOCAL


@pytest.mark.parametrize("elsewhere", ["hydra.launcher.ray.init.address=auto", "RAY_ADDRESS"])
def test_a_cluster_that_is_there_is_not_told_its_size(monkeypatch, elsewhere):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert "+hydra.launcher.ray.init.num_cpus" in divided("launcher=ray")[1]
    if elsewhere == "RAY_ADDRESS":
        monkeypatch.setenv(elsewhere, "somewhere:6379")
    _, hydra = divided("launcher=ray", *([elsewhere] if "=" in elsewhere else []))
    assert not [key for key in hydra if key.startswith("+hydra.launcher.ray.init")]


def test_a_launcher_that_is_not_installed_is_refused_with_its_remedy(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    require("basic")
    with pytest.raises(RequestError, match=r"launcher=joblib: hydra-joblib-launcher is not .*vad-harness\[launchers\]"):
        require("joblib")
    with pytest.raises(RequestError, match="make setup-ray"):
        require("ray")


def test_where_slurm_is_not_it_is_said_before_anything_runs(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RequestError, match=r"^launcher=submitit_slurm: there is no srun here; .*submitit_local or"):
        require("submitit_slurm")
    require("submitit_local")
