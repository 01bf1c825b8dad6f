"""A sweep's loop around its launcher: claimed runs come last, and a job that is lost takes no other with it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from harness.__main__ import main
from harness.config.settings import Execution, Job
from harness.errors import RequestError
from harness.execution import sweep
from harness.execution.job import outcome_of
from harness.execution.launchers import LaunchPlan, LostJobError
from harness.execution.monitor import CLAIMED, DONE, FAILED, OK, REFUSED, TO_DO, Outcome
from harness.store.claims import Claims
from scripts import status
from tests.config.test_settings import job

RUN = job().runs[0]


@pytest.fixture
def jobs(tmp_path) -> list[Job]:
    """Five jobs of one run each."""
    return [Job((replace(RUN, seed=seed),), Execution(tmp_path)) for seed in range(5)]


@pytest.fixture
def stored(monkeypatch) -> set[int]:
    """Seeds of the runs that the store is said to have; no images are needed for it."""
    done: set[int] = set()

    def plan(one: Job) -> tuple[Outcome, ...]:
        return tuple(outcome(run.seed, DONE if run.seed in done else TO_DO) for run in one.runs)

    monkeypatch.setattr(sweep, "_plan", plan)
    return done


def outcome(seed: int, status: str) -> Outcome:
    return replace(outcome_of(RUN, status=status, holder="somebody"), seed=seed, key=f"{seed:012x}")


def carry_out(jobs: list[Job], launch) -> list[Outcome]:
    """The sweep's outcomes, in its order; `launch` takes the seeds of a batch and gives how each job ended."""

    def launching(batch, _spread):
        yield from enumerate(launch([one.runs[0].seed for one in batch]))

    return sweep._carry_out_all(jobs, LaunchPlan("joblib"), launching)


def ok(seeds) -> list[tuple[Outcome, ...]]:
    return [(outcome(seed, OK),) for seed in seeds]


def test_what_others_have_claimed_is_looked_at_again_once_they_let_go(jobs, tmp_path):
    launched = []

    def launch(seeds):
        launched.append(seeds)
        first = len(launched) == 1
        return [(outcome(seed, CLAIMED if first and seed in (1, 3) else OK),) for seed in seeds]

    with Claims(tmp_path) as others:
        others.take(f"{1:012x}")
        others.take(f"{3:012x}")
        threading.Timer(0.5, lambda: others.release(f"{3:012x}")).start()
        threading.Timer(2.0, lambda: others.release(f"{1:012x}")).start()
        started = time.monotonic()
        ended = carry_out(jobs, launch)
    assert launched == [[0, 1, 2, 3, 4], [3], [1]]
    assert [one.status for one in ended] == [OK] * 5
    assert time.monotonic() - started > 1.9


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ((OK, CLAIMED), (DONE, DONE), (OK, DONE)),  # of a job only the claimed runs count anew
        ((FAILED, CLAIMED), (OK, DONE), (OK, DONE)),  # what failed and then went well has gone well
        ((FAILED, CLAIMED), (FAILED, OK), (FAILED, OK)),
    ],
)
def test_a_job_that_is_launched_again_stands_once(jobs, first, second, together):
    returned = iter([first, second])

    # A run that failed before it had a key is the same run all the same.
    def launch(_):
        return [tuple(replace(outcome(seed, status), key=None) for seed, status in enumerate(next(returned)))]

    ended = carry_out(jobs[:1], launch)
    assert [(one.seed, one.status) for one in ended] == [(0, together[0]), (1, together[1])]


def test_a_launcher_that_cannot_start_a_job_is_one_line(jobs, stored):
    def launch(_):
        raise RuntimeError("sbatch: error: invalid partition specified: gpuu\n\n  Batch job submission failed")

    with pytest.raises(RequestError, match=r"^launcher=joblib: cannot start a job \(RuntimeError: sbatch: error: inv"):
        carry_out(jobs, launch)


def test_a_launcher_that_gives_up_loses_what_had_not_ended(jobs, stored, capsys):
    def launch(seeds):
        stored.add(4)
        yield from ok(seeds[:2])
        raise RuntimeError("the cluster is gone " + "x" * 1000)

    ended = carry_out(jobs, launch)
    assert [one.status for one in ended] == [OK, OK, FAILED, FAILED, DONE]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "its job gave no result (RuntimeError: the cluster is gone" in lines[2]
    assert len(lines[2]) < 400


def test_a_job_that_comes_back_as_an_error_is_one_outcome_among_others(jobs, stored):
    wrong, lost = RequestError("device=cuda: this machine has none"), LostJobError("killed; see the log")
    ended = carry_out(jobs, lambda seeds: [wrong, lost, *ok(seeds[2:])])
    assert (ended[0].status, ended[0].error) == (REFUSED, "device=cuda: this machine has none")
    assert ended[1].status == FAILED
    assert "killed; see the log" in ended[1].error
    assert [one.status for one in ended[2:]] == [OK, OK, OK]


@pytest.fixture
def planned(drawn_mvtec, tmp_path, capsys):
    """The lines of a dry run of two seeds on the drawn bottle."""

    def lines(status: int = 0) -> list[str]:
        capsys.readouterr()
        request = ["dataset=mvtec", f"dataset.root={drawn_mvtec}", "category=bottle", "backbone.weights=random"]
        assert main([*request, "seeds=[1,2]", "device=cpu", f"store={tmp_path / 'store'}", "dry_run=true"]) == status
        return capsys.readouterr().out.splitlines()

    return lines


def test_a_plan_tells_what_is_claimed_and_by_whom_and_what_cannot_be_trusted(planned, tmp_path):
    first, second, total = planned()
    key, other = first.split()[0], second.split()[0]
    assert total.startswith("2 runs, 0 done, 2 to do")
    broken = tmp_path / "store/runs/mvtec/bottle/padim-resnet18" / f"seed2-{other}" / "record.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    with Claims(tmp_path / "store") as others:
        others.take(key)
        first, second, total = planned(status=1)
    assert first.split()[1] == "claimed"
    assert "another sweep runs it" in first
    assert second.split()[1] == "failed"
    assert "record.json: is not the JSON of a record" in second
    assert total.startswith("2 runs, 0 done, 1 claimed, 1 cannot be done, 0 to do")
    assert planned(status=1)[0].split()[1:3] == ["to", "do"]


def test_the_status_tells_what_is_running(tmp_path, capsys):
    with Claims(tmp_path) as claims:
        claims.take("0123456789ab", "mvtec/bottle resnet18 seed 42")
        assert status.main(["--store", str(tmp_path)]) == 0
        assert "running now: mvtec/bottle resnet18 seed 42 (" in capsys.readouterr().out
    status.main(["--store", str(tmp_path)])
    assert "running now" not in capsys.readouterr().out
