"""Many processes on one store: nothing lost, nothing there twice, and always valid to whoever reads beside them."""

from __future__ import annotations

import json
import os
import random
import time
import traceback
from collections.abc import Callable

from harness.leftovers import is_temporary
from harness.store import Store, load_frame, write_runs_csv
from harness.store.record import digest_of
from tests.store.making import make_failed, make_ok, make_scores, make_spec

WRITERS, READERS, SECONDS = 8, 2, 10.0


def write(store: Store, worker: int, until: float) -> dict[str, str]:
    """Write the same runs as all others at about the same time, and runs of one's own; returns what the store keeps."""
    chance, kept, number = random.Random(worker), {}, 0
    while time.time() < until:
        number += 1
        # All workers walk through the same runs; a step back meets those who are behind.
        run = max(1, number - chance.randrange(3)) if chance.random() < 0.7 else 1_000_000 * (worker + 1) + number
        spec, scores = make_spec(category=f"c{run % 7}", seed=run), make_scores(worker + number / 1024)
        if chance.random() < 0.2:
            store.write(make_failed(spec))
        stored = store.write(make_ok(spec, scores_sha256=scores.sha256), scores)
        assert kept.setdefault(stored.key, digest(stored)) == digest(stored), "the store keeps another record now"
        if chance.random() < 0.005:
            write_runs_csv(store)
    return kept


def digest(record) -> str:
    return digest_of(record.model_dump())


def read(store: Store, until: float) -> dict[str, str]:
    """Read again and again; whatever was there stays as it was."""
    seen = {}
    while time.time() < until:
        contents = store.records()
        assert contents.problems == ()
        there = {record.key: record for record in contents.records}
        assert len(there) == len(contents.records), "two records of one key"
        ok = {key: record for key, record in there.items() if record.status == "ok"}
        assert seen.keys() <= ok.keys(), "an ok record vanished"
        for key in random.sample(sorted(ok), min(50, len(ok))):
            assert store.scores(ok[key]).sha256 == ok[key].scores_sha256
            assert seen.setdefault(key, digest(ok[key])) == digest(ok[key]), "an ok record changed"
        assert load_frame(store)["key"].is_unique
    return seen


def in_processes(jobs: list[Callable[[], dict[str, str]]], folder) -> list[dict[str, str]]:
    """Do each job in a fork of its own; return their results."""
    pids = []
    for number, job in enumerate(jobs):
        pids.append(os.fork())
        if not pids[-1]:
            try:
                (folder / f"{number}.json").write_text(json.dumps(job()))
            except BaseException:
                (folder / "complaint").write_text(traceback.format_exc())
            finally:
                os._exit(0)
    for pid in pids:
        os.waitpid(pid, 0)
    assert not (folder / "complaint").exists(), (folder / "complaint").read_text()
    return [json.loads((folder / f"{number}.json").read_text()) for number in range(len(jobs))]


def test_eight_writers_and_two_readers(tmp_path):
    store = Store(tmp_path / "store")
    store.check_writable()
    load_frame(store)  # pandas is imported once, before the forks
    until = time.time() + SECONDS
    jobs = [*(lambda n=n: write(store, n, until) for n in range(WRITERS)), *[lambda: read(store, until)] * READERS]
    promised: dict[str, str] = {}
    for kept in in_processes(jobs, tmp_path):
        for key, one in kept.items():
            assert promised.setdefault(key, one) == one, "two processes were told of different records"
    contents = store.records()
    assert contents.problems == ()
    assert {record.key: digest(record) for record in contents.records} == promised, "lost or made up"
    for record in contents.records:
        assert store.done(record.spec.model_dump()) == record
    assert write_runs_csv(store) == ()
    assert (store.path / "runs.csv").read_bytes().count(b"\n") == 1 + len(promised)
    assert not [path for path in store.path.rglob("*") if is_temporary(path.name)]
