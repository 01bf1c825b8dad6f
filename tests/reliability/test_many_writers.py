"""Many processes on one store: nothing lost, nothing there twice, and always valid to whoever reads beside them."""

from __future__ import annotations

import random
import time
from concurrent.futures import ProcessPoolExecutor

from harness.store import Store, load_frame, write_runs_csv
from harness.store.record import digest_of
from tests.reliability.sweeps import forks, litter
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
            write_runs_csv(store.path)
    return kept


def digest(record) -> str:
    return digest_of(record.model_dump())


def read(store: Store, _: int, until: float) -> dict[str, str]:
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


def test_eight_writers_and_two_readers(tmp_path):
    store = Store(tmp_path / "store")
    store.check_writable()
    promised: dict[str, str] = {}
    with ProcessPoolExecutor(WRITERS + READERS, mp_context=forks) as pool:
        until = time.time() + SECONDS
        jobs = [pool.submit(write, store, n, until) for n in range(WRITERS)]
        jobs += [pool.submit(read, store, n, until) for n in range(READERS)]
        for job in jobs:
            for key, one in job.result().items():
                assert promised.setdefault(key, one) == one, "two processes were told of different records"
    contents = store.records()
    assert contents.problems == ()
    assert {record.key: digest(record) for record in contents.records} == promised, "lost or made up"
    assert all(store.done(record.spec.model_dump()) == record for record in contents.records)
    assert write_runs_csv(store.path) == ()
    assert (store.path / "runs.csv").read_bytes().count(b"\n") == 1 + len(promised)
    assert litter(tmp_path) == []
