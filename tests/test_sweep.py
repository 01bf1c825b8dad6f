"""A sweep's loop around its launcher: claimed runs come last, and a job that kills its process is lost alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest

from harness import interruption, sweep
from harness.config import Job
from harness.errors import RequestError
from harness.launch.lost import LostJobError
from harness.outcome import CLAIMED, DONE, FAILED, OK, REFUSED, TO_DO, Outcome
from harness.store.claims import Claims
from tests.test_config import job


@pytest.fixture
def jobs(tmp_path) -> list[Job]:
    """Five jobs of one run each."""
    made = [job(f"seed={seed}") for seed in range(5)]
    return [replace(one, execution=replace(one.execution, store=tmp_path)) for one in made]


@pytest.fixture
def stored(monkeypatch) -> set[int]:
    """Seeds of the runs that the store is said to have; no images are needed for it."""
    done: set[int] = set()

    def plan(one: Job) -> tuple[Outcome, ...]:
        return tuple(outcome(run.seed, DONE if run.seed in done else TO_DO) for run in one.runs)

    monkeypatch.setattr(sweep, "_plan", plan)
    return done


def outcome(seed: int, status: str) -> Outcome:
    return Outcome(
        "mvtec",
        "bottle",
        "resnet18",
        seed,
        100,
        {"protocol": "paper", "protocol.index_sampler": "anomalib_v1"},
        key=f"{seed:012x}",
        status=status,
        holder="somebody",
    )


def overrides(jobs: list[Job]) -> list[list[str]]:
    return [[f"seed={one.runs[0].seed}"] for one in jobs]


def seeds_of(batch) -> list[int]:
    return [int(arguments[0].removeprefix("seed=")) for arguments in batch]


def carry_out(jobs: list[Job], launch, launcher: str = "joblib") -> dict[int, Outcome]:
    ended = sweep._carry_out_all(jobs, overrides(jobs), launch, launcher=launcher)
    assert len(ended) == len(jobs)
    return {one.seed: one for one in ended}


def test_what_others_have_claimed_is_looked_at_again_once_they_let_go(jobs, tmp_path):
    launched = []

    def launch(batch):
        launched.append(seeds_of(batch))
        first = len(launched) == 1
        return [(outcome(seed, CLAIMED if first and seed in (1, 3) else OK),) for seed in seeds_of(batch)]

    with Claims(tmp_path) as others:
        others.take(f"{1:012x}")
        others.take(f"{3:012x}")
        threading.Timer(0.5, lambda: others.release(f"{3:012x}")).start()
        threading.Timer(2.0, lambda: others.release(f"{1:012x}")).start()
        started = time.monotonic()
        ended = carry_out(jobs, launch)
    assert launched == [[0, 1, 2, 3, 4], [3], [1]]
    assert {one.status for one in ended.values()} == {OK}
    assert time.monotonic() - started > 1.9


def test_of_a_job_only_the_claimed_runs_count_anew(jobs, tmp_path):
    returned = iter([(outcome(0, OK), outcome(1, CLAIMED)), (outcome(0, DONE), outcome(1, DONE))])
    ended = sweep._carry_out_all(jobs[:1], [["seed=0"]], lambda _: [next(returned)], launcher="joblib")
    assert [(one.seed, one.status) for one in ended] == [(0, OK), (1, DONE)]


def test_a_killer_is_found_out_and_the_others_are_done(jobs, tmp_path, stored):
    """joblib gives up with the first process that is killed: seed 2 kills its own, seed 3 was under way beside it."""
    claims, launched = Claims(tmp_path), []

    def launch(batch):
        seeds = seeds_of(batch)
        launched.append(seeds)
        if 2 in seeds:
            for seed in {2, 3} & set(seeds):
                claims.take(f"{seed:012x}")
            stored.update({0, 1} & set(seeds))
            raise RuntimeError("a worker was killed")
        for seed in seeds:
            claims.release(f"{seed:012x}")
        return [(outcome(seed, OK),) for seed in seeds]

    with claims:
        ended = carry_out(jobs, launch)
    assert launched == [[0, 1, 2, 3, 4], [0, 1, 4], [2], [3]]
    assert {seed: one.status for seed, one in ended.items()} == {0: OK, 1: OK, 2: FAILED, 3: OK, 4: OK}
    assert "RuntimeError: a worker was killed" in ended[2].error


def test_a_launcher_that_cannot_begin_is_not_asked_again(jobs, stored):
    calls = []

    def launch(batch):
        calls.append(batch)
        stored.add(4)
        raise RuntimeError("no more processes")

    ended = carry_out(jobs, launch)
    assert len(calls) == 1
    assert {seed: one.status for seed, one in ended.items()} == {0: FAILED, 1: FAILED, 2: FAILED, 3: FAILED, 4: DONE}


def test_a_job_that_comes_back_as_an_error_is_one_outcome_among_others(jobs, stored):
    def launch(batch):
        assert len(batch) == 5
        wrong, lost = RequestError("device=cuda: this machine has none"), LostJobError("killed; see the log")
        return [wrong, lost, *((outcome(seed, OK),) for seed in (2, 3, 4))]

    ended = carry_out(jobs, launch)
    assert (ended[0].status, ended[0].error) == (REFUSED, "device=cuda: this machine has none")
    assert ended[1].status == FAILED
    assert "killed; see the log" in ended[1].error
    assert [ended[seed].status for seed in (2, 3, 4)] == [OK, OK, OK]


def test_in_this_very_process_no_launcher_is_asked_and_a_defect_is_not_dressed_up(jobs, monkeypatch):
    begun = []

    def run(job, display):
        begun.append(job.runs[0].seed)
        if job.runs[0].seed == 2:
            raise ZeroDivisionError
        return (outcome(job.runs[0].seed, OK),)

    monkeypatch.setattr(sweep, "_run", run)
    assert [one.seed for one in carry_out(jobs[:2], None, "basic").values()] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        carry_out(jobs, None, "basic")
    assert begun == [0, 1, 0, 1, 2]


def test_a_process_that_was_lost_before_it_claimed_anything_costs_nobody(jobs, stored):
    launched = []

    def launch(batch):
        launched.append(seeds_of(batch))
        if len(launched) == 1:
            raise BrokenProcessPool("a worker was killed")
        return [(outcome(seed, OK),) for seed in seeds_of(batch)]

    assert {one.status for one in carry_out(jobs, launch).values()} == {OK}
    assert launched == [[0, 1, 2, 3, 4]] * 2


def test_a_job_that_kills_before_it_claims_is_found_out(jobs, stored, capsys):
    launched = []

    def launch(batch):
        launched.append(seeds_of(batch))
        if 2 in seeds_of(batch):
            raise BrokenProcessPool("a worker was killed")
        return [(outcome(seed, OK),) for seed in seeds_of(batch)]

    ended = carry_out(jobs, launch)
    assert launched == [[0, 1, 2, 3, 4]] * 2 + [[0], [1], [2], [3], [4]]
    assert {seed: one.status for seed, one in ended.items()} == {0: OK, 1: OK, 2: FAILED, 3: OK, 4: OK}
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "failed  mvtec/bottle resnet18 seed 2  its job did not come back (BrokenProcessPool: a worker"
    )


def test_a_run_that_failed_and_then_went_well_has_gone_well(jobs):
    returned = iter([(outcome(0, FAILED), outcome(1, CLAIMED)), (outcome(0, OK), outcome(1, DONE))])
    ended = sweep._carry_out_all(jobs[:1], [["seed=0"]], lambda _: [next(returned)], launcher="joblib")
    assert [(one.seed, one.status) for one in ended] == [(0, OK), (1, DONE)]


def test_a_failure_without_a_key_stands_for_its_run_once(jobs):
    nameless = replace(outcome(0, FAILED), key=None)
    returned = iter([(nameless, outcome(1, CLAIMED)), (nameless, outcome(1, OK))])
    ended = sweep._carry_out_all(jobs[:1], [["seed=0"]], lambda _: [next(returned)], launcher="joblib")
    assert [(one.seed, one.status) for one in ended] == [(0, FAILED), (1, OK)]


@pytest.mark.parametrize("lost", [KeyboardInterrupt, SystemExit])
def test_an_interruption_that_a_destructor_swallowed_is_heard_before_and_after_a_launch(jobs, monkeypatch, lost):
    monkeypatch.setattr(interruption, "_heard", [lost])
    with pytest.raises(lost):
        carry_out(jobs, lambda _: pytest.fail("it was launched"))
    monkeypatch.setattr(interruption, "_heard", [])

    def launch(batch):
        interruption._heard.append(lost)
        return [(outcome(seed, OK),) for seed in seeds_of(batch)]

    with pytest.raises(lost):
        carry_out(jobs, launch)


def test_a_job_whose_every_run_is_in_an_earlier_one_is_left_out():
    one, same, other = job("seeds=[1,2]", "device=cpu"), job("seeds=[2,1]", "threads=1"), job("seeds=[2,3]")
    kept, overrides = sweep._distinct([one, same, other], [["a"], ["b"], ["c"]])
    assert kept == [one, other]
    assert overrides == [["a"], ["c"]]
    elsewhere = replace(same, execution=replace(same.execution, store=same.execution.store / "x"))
    assert len(sweep._distinct([one, elsewhere], [["a"], ["b"]])[0]) == 2
