"""Processes that write the same and different runs to one store, and readers beside them that must see it valid.

Run by tests/reliability/test_many_writers.py for seconds, and by scripts/soak.py for minutes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.leftovers import is_temporary
from harness.store import RunRecord, Store, load_frame, write_runs_csv
from harness.store.record import dump_record
from tests.store.making import make_failed, make_ok, make_scores, make_spec

LOCKS = ("folder", "file")
"""What the file system can lock: a local one folders, NFS only files."""


@dataclass
class Tally:
    """What one process did."""

    writes: int = 0
    refused: int = 0
    """Of these, the ones that found the run there already."""
    failures: int = 0
    """Failed runs, written beside ok ones of the same key."""
    tables: int = 0
    """Times that runs.csv was derived."""
    reads: int = 0
    records_read: int = 0
    frames: int = 0

    def add(self, other: Tally) -> None:
        """Take another process's numbers in."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def write(store: Store, worker: int, until: float, seed: int) -> tuple[Tally, dict[str, str]]:
    """Write until the end: the same runs as all others at about the same time, and runs of one's own.

    Returns:
        What was done, and by key the sha256 of the record that the store said it keeps.
    """
    chance, tally, kept = random.Random(f"{seed} {worker}"), Tally(), {}
    number = 0
    while time.time() < until:
        number += 1
        shared = chance.random() < 0.7
        # All workers walk through the same runs; a step back meets those who are behind.
        run = max(1, number - chance.randrange(3)) if shared else 1_000_000 * (worker + 1) + number
        spec = make_spec(category=f"c{run % 7}", seed=run)
        if chance.random() < 0.2:
            store.write(make_failed(spec))
            tally.failures += 1
        scores = make_scores(worker + number / 1024)
        mine = make_ok(spec, scores_sha256=scores.sha256)
        stored = store.write(mine, scores)
        kept.setdefault(stored.key, _digest(stored))
        assert kept[stored.key] == _digest(stored), f"{stored.key}: the store keeps another record now"
        tally.writes += 1
        tally.refused += stored is not mine
        if chance.random() < 0.005:
            write_runs_csv(store)
            tally.tables += 1
    return tally, kept


def _digest(record: RunRecord) -> str:
    return hashlib.sha256(dump_record(record)).hexdigest()


def read(store: Store, worker: int, until: float, seed: int) -> tuple[Tally, dict[str, str]]:
    """Read until the end; whatever is not valid, or was there and is no more, is an AssertionError."""
    chance, tally, seen = random.Random(f"{seed} reader {worker}"), Tally(), {}
    header = None
    while time.time() < until:
        contents = store.records()
        assert contents.problems == (), contents.problems
        there = {record.key: record for record in contents.records}
        assert len(there) == len(contents.records), "two records of one key"
        ok = {key: record for key, record in there.items() if record.status == "ok"}
        assert seen.keys() <= ok.keys(), "an ok record vanished"
        for key in chance.sample(sorted(ok), min(50, len(ok))):
            assert store.done(ok[key].spec.model_dump()) == ok[key], f"{key}: another record, or another's scores"
            assert store.scores(ok[key]).sha256 == ok[key].scores_sha256
            assert seen.setdefault(key, _digest(ok[key])) == _digest(ok[key]), f"{key}: an ok record changed"
        tally.reads += 1
        tally.records_read += len(there)
        if chance.random() < 0.2:
            frame = load_frame(store)
            assert frame.attrs["problems"] == []
            assert len(frame) >= len(there)
            assert frame["key"].is_unique
            tally.frames += 1
        header = _check_table(store.path / "runs.csv", header)
    return tally, seen


def _check_table(path: Path, header: bytes | None) -> bytes | None:
    """runs.csv is whole whenever it is there: the same header, and a line's end at the end."""
    if not path.exists():
        assert header is None, "runs.csv vanished"
        return None
    content = path.read_bytes()
    first = content.partition(b"\n")[0]
    assert content.endswith(b"\n")
    assert first.startswith(b"dataset,category,")
    return first


def run(base: Path, *, seconds: float, writers: int, readers: int, seed: int, locks: str = "folder") -> Tally:
    """Let processes write and read, wait for all, and check what they leave.

    Args:
        locks: one of LOCKS, what this file system is made to look like.
    """
    _limit_locks(locks)
    store = Store(base / "store")
    store.check_writable()
    load_frame(store)  # pandas is imported once, before the forks
    until = time.time() + seconds
    jobs: list[Callable[[], Any]] = [
        *((lambda n=n: write(store, n, until, seed)) for n in range(writers)),
        *((lambda n=n: read(store, n, until, seed)) for n in range(readers)),
    ]
    results = _in_processes(jobs, base)
    total, promised = Tally(), {}
    for tally, kept in results:
        total.add(Tally(**tally))
        for key, digest in kept.items():
            assert promised.setdefault(key, digest) == digest, f"{key}: two processes were told of different records"
    _check(store, promised)
    return total


def _limit_locks(locks: str) -> None:
    real = fcntl.flock

    def limited(descriptor: int, how: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(descriptor, how)

    if locks == "file":
        fcntl.flock = limited


def _in_processes(jobs: Sequence[Callable[[], Any]], base: Path) -> list[Any]:
    """Each job in a fork of its own; their results, or an AssertionError with what they complained of."""
    pids = {}
    for number, job in enumerate(jobs):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                tally, kept = job()
                (base / f"result{number}.json").write_text(json.dumps([asdict(tally), kept]))
                status = 0
            except BaseException:
                (base / f"result{number}.txt").write_text(traceback.format_exc())
            finally:
                os._exit(status)
        pids[pid] = number
    for pid in pids:
        os.waitpid(pid, 0)
    complaints = [path.read_text() for path in sorted(base.glob("result*.txt"))]
    assert not complaints, "\n".join(complaints)
    return [json.loads((base / f"result{number}.json").read_text()) for number in pids.values()]


def _check(store: Store, promised: dict[str, str]) -> None:
    """What any process was told the store keeps is there, once; nothing else is, and nothing lies about."""
    contents = store.records()
    assert contents.problems == ()
    digests = {record.key: _digest(record) for record in contents.records}
    assert len(digests) == len(contents.records)
    assert digests == promised, "lost or made up"
    for record in contents.records:
        assert store.done(record.spec.model_dump()) == record
    assert write_runs_csv(store) == ()
    assert (store.path / "runs.csv").read_bytes().count(b"\n") == 1 + len(digests)
    assert not [path for path in store.path.rglob("*") if is_temporary(path.name)]


def text(tally: Tally, *, seconds: float, writers: int, readers: int, locks: str) -> str:
    """In one line."""
    return (
        f"{writers} writers x {seconds:g} s: {tally.writes} writes of ok runs ({tally.refused} of them of runs "
        f"that were there already), {tally.failures} of failed ones, runs.csv derived {tally.tables} times; "
        f"{readers} readers: {tally.reads} times the whole store, {tally.records_read} records, {tally.frames} frames; "
        f"locks: {locks}"
    )


def main(argv: Sequence[str]) -> int:
    """`BASE SECONDS WRITERS READERS SEED LOCKS`: run, and print what was done."""
    base, seconds, writers, readers, seed, locks = argv
    how = {"seconds": float(seconds), "writers": int(writers), "readers": int(readers), "locks": locks}
    print(text(run(Path(base), seed=int(seed), **how), **how))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
