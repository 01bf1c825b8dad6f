"""The store: what is complete counts, what is not does not, whoever writes, fails or is killed meanwhile."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.errors import StoreError
from harness.leftovers import is_temporary, temporary_name
from harness.store import Store, failure_of, files
from harness.store import store as store_module
from harness.store.codec import digest_of, dump_record
from tests.store.making import make_dataset, make_failed, make_ok, make_scores, make_spec

MAPS = {"maps": np.ones((2, 4, 4), np.float32)}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def write_ok(store, spec=None, **changes):
    return store.write(make_ok(spec, **changes), make_scores())


def refuse(monkeypatch, call, number):
    def refusing(*_args, **_keywords):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, call, refusing)


def test_round_trip(store):
    record = make_ok()
    assert store.find(make_spec()) is None
    assert store.done(make_spec()) is None
    assert store.write(record, make_scores(), MAPS) == record
    folder = store.run_folder(make_spec())
    assert sorted(os.listdir(folder)) == ["examples.npz", "record.json", "scores.csv"]
    assert folder == store.path / "runs" / "mvtec" / "bottle" / "resnet18" / f"seed42-{record.key}"
    assert store.find(make_spec()) == store.done(make_spec()) == store.find_key(record.key) == record
    assert store.scores(record).to_csv() == make_scores().to_csv()
    np.testing.assert_array_equal(store.examples(record)["maps"], MAPS["maps"])
    assert store.records().records == (record,)
    assert store.records().problems == ()


def test_other_runs_are_not_done(store):
    write_ok(store)
    assert store.done(make_spec(seed=43)) is None
    assert store.done(make_spec(fingerprint="00" * 32)) is None
    assert store.find_key("0" * 12) is None


def test_the_store_is_quiet_where_there_is_none(tmp_path):
    store = Store(tmp_path / "nowhere")
    assert store.records().records == ()
    assert store.find(make_spec()) is None
    store.remove_leftovers()
    assert not store.path.exists()


def test_find_looks_at_one_folder_only(store, monkeypatch):
    write_ok(store)
    monkeypatch.setattr(store_module, "_subfolders", lambda _: pytest.fail("the tree was scanned"))
    assert store.done(make_spec()) is not None
    assert store.find(make_spec(seed=1)) is None


@pytest.mark.parametrize("category", ["..", "a/b", "../../../../x", "瓶", "x" * 400, "a\nb", "C:\\x", "[red]", "01"])
def test_hostile_categories_are_stored_and_found(store, category):
    spec = make_spec(dataset="folder", category=category)
    record = write_ok(store, spec)
    assert store.done(spec) == record
    assert store.records().records == (record,)
    assert os.listdir(store.path.parent) == ["results"]


def test_the_first_ok_record_stays_whole(store):
    first, second = make_ok(), make_ok(scores_sha256=make_scores(1.0).sha256)
    store.write(first, make_scores(), MAPS)
    before = {path.name: path.stat() for path in store.run_folder(make_spec()).iterdir()}
    assert store.write(second, make_scores(1.0)) == first
    assert store.done(make_spec()) == first
    assert store.scores(first).to_csv() == make_scores().to_csv()
    assert {path.name: path.stat() for path in store.run_folder(make_spec()).iterdir()} == before


def test_a_run_that_does_not_count_is_replaced_whole(store):
    store.write(make_ok(), make_scores(), MAPS)
    (store.run_folder(make_spec()) / "scores.csv").unlink()
    second = make_ok(scores_sha256=make_scores(1.0).sha256)
    assert store.write(second, make_scores(1.0)) == second
    assert store.done(make_spec()) == second
    assert store.scores(second).to_csv() == make_scores(1.0).to_csv()
    assert store.examples(second) is None, "the maps of another run are no examples of this one"


def test_a_failed_record_is_found_and_not_done(store):
    failed = make_failed()
    assert store.write(failed) == failed
    assert store.find(make_spec()) == failed
    assert store.done(make_spec()) is None


def test_a_failed_record_never_replaces_an_ok_one(store):
    ok = write_ok(store)
    assert store.write(make_failed()) == ok
    assert store.done(make_spec()) == ok


def test_a_newer_failure_replaces_an_older_one(store):
    store.write(make_failed())
    newer = make_failed(error=failure_of(MemoryError("no memory"), "fit"))
    assert store.write(newer) == newer
    assert store.find(make_spec()) == newer


def test_an_ok_record_replaces_a_failed_one(store):
    store.write(make_failed())
    ok = write_ok(store)
    assert store.records().records == (ok,)


def test_an_ok_record_removes_the_failure_from_before_the_fingerprint(store):
    nameless, of_another_seed = make_spec(fingerprint=None), make_spec(fingerprint=None, seed=1)
    store.write(make_failed(nameless))
    other = store.write(make_failed(of_another_seed))
    ok = write_ok(store)
    assert {record.key for record in store.records().records} == {ok.key, other.key}
    assert not store.run_folder(nameless).exists()


def test_what_lies_beside_a_removed_failure_is_kept(store):
    nameless = make_spec(fingerprint=None)
    store.write(make_failed(nameless))
    note = store.run_folder(nameless) / "note.txt"
    note.touch()
    write_ok(store)
    assert os.listdir(note.parent) == ["note.txt"]


def test_a_failure_does_not_remove_the_earlier_failure(store):
    store.write(make_failed(make_spec(fingerprint=None)))
    store.write(make_failed())
    assert len(store.records().records) == 2


@pytest.mark.parametrize("scores", [None, make_scores(1.0)])
def test_a_record_goes_with_its_own_scores(store, scores):
    with pytest.raises(ValueError, match=r"^the record's scores_sha256"):
        store.write(make_ok(), scores)
    assert not store.path.exists()


def test_scores_of_another_run_do_not_pass_for_this_ones(store):
    record = write_ok(store)
    path = store.run_folder(make_spec()) / "scores.csv"
    path.write_bytes(make_scores(1.0).to_csv())
    assert store.done(make_spec()) is None
    with pytest.raises(StoreError, match=r"scores\.csv: is not what its record was made from"):
        store.scores(record)
    path.unlink()
    assert store.done(make_spec()) is None
    assert write_ok(store) == store.done(make_spec())


def test_a_tampered_record_stops_whoever_relies_on_it(store):
    write_ok(store)
    path = store.run_folder(make_spec()) / "record.json"
    path.write_text(path.read_text().replace("0.996031746031746", "0.999"))
    for ask in (store.find, store.done):
        with pytest.raises(StoreError, match="was edited or damaged"):
            ask(make_spec())
    with pytest.raises(StoreError, match="was edited or damaged"):
        store.write(make_failed())
    assert "0.999" in path.read_text(), "a failure may not wipe out what may have been an ok record"
    assert store.records().records == ()
    assert [problem.split(": ")[0] for problem in store.records().problems] == [str(path)]
    assert write_ok(store) == store.done(make_spec()), "a new ok record heals it"


def test_a_copied_folder_counts_once(store):
    record = write_ok(store)
    folder = store.run_folder(make_spec())
    for copy in (folder.with_name("seed42-0123456789ab"), folder.parents[1] / "wide_resnet50_2" / folder.name):
        copy.mkdir(parents=True)
        (copy / "record.json").write_bytes((folder / "record.json").read_bytes())
    contents = store.records()
    assert contents.records == (record,)
    assert len(contents.problems) == 2
    assert all("lies in the wrong folder" in problem for problem in contents.problems)


def test_another_runs_record_in_the_folder_is_refused(store):
    write_ok(store)
    folder = store.run_folder(make_spec(seed=1))
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(dump_record(make_ok()))
    with pytest.raises(StoreError, match="is the record of another run"):
        store.find(make_spec(seed=1))


def test_whatever_else_lies_in_a_store_is_passed_over(store):
    record = write_ok(store)
    for name in ("runs/README", "runs/mvtec/x.txt", "runs/mvtec/bottle/.hidden", ".submitit/x", "tables/y"):
        (store.path / name).parent.mkdir(parents=True, exist_ok=True)
        (store.path / name).touch()
    (store.path / "runs/mvtec/bottle/resnet18/seed1-0123456789ab").mkdir()
    assert store.records().records == (record,)
    assert store.records().problems == ()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_kill_between_the_files_leaves_a_run_that_does_not_count(store, monkeypatch, kept):
    """After `kept` of the files the process is gone: the scores alone, or nothing."""
    renamed = []
    replace = os.replace

    def dying(source, target):
        if len(renamed) == kept:
            raise KeyboardInterrupt
        renamed.append(target)
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        write_ok(store)
    monkeypatch.undo()
    assert os.listdir(store.run_folder(make_spec())) == ["scores.csv"][:kept]
    assert store.find(make_spec()) is None
    assert store.records() == store_module.Contents((), ())
    assert write_ok(store) == store.done(make_spec())


def test_a_kill_while_replacing_leaves_a_run_that_does_not_count(store, monkeypatch):
    write_ok(store)
    (store.run_folder(make_spec()) / "scores.csv").unlink()
    other = make_ok(scores_sha256=make_scores(1.0).sha256)
    replace = os.replace

    def dying(source, target):
        if Path(target).name == "record.json":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        store.write(other, make_scores(1.0))
    monkeypatch.undo()
    assert store.find(make_spec()) is not None
    assert store.done(make_spec()) is None, "the old record with the new scores"
    assert store.write(other, make_scores(1.0)) == store.done(make_spec())


def test_old_leftovers_are_removed_and_young_ones_kept(store):
    write_ok(store)
    folder = store.run_folder(make_spec())
    for place in (folder, store.path):
        for age, name in ((7, ".record.json.1-00000000.tmp"), (1, ".record.json.2-00000000.tmp")):
            (place / name).touch()
            os.utime(place / name, (time.time() - age * 3600,) * 2)
    store.remove_leftovers()
    assert ".record.json.1-00000000.tmp" not in os.listdir(folder) + os.listdir(store.path)
    assert (folder / ".record.json.2-00000000.tmp").exists()
    os.utime(folder / ".record.json.2-00000000.tmp", (0, 0))
    write_ok(store)
    assert sorted(os.listdir(folder)) == ["record.json", "scores.csv"], "writing a run tidies its folder"


def test_what_a_killed_process_of_this_machine_left_is_removed_at_once(store):
    write_ok(store)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    places = (store.run_folder(make_spec()), store.path, store.path / "runs")
    for place in places:
        for name in ("record.json", "probe"):
            dead = temporary_name(name).replace(f"-{os.getpid()}-", f"-{gone.pid}-")
            (place / dead).touch()
            (place / temporary_name(name)).touch()
    store.remove_leftovers()
    left = [name for place in places for name in os.listdir(place) if is_temporary(name)]
    assert len(left) == 6
    assert all(f"-{os.getpid()}-" in name for name in left), "a living process still needs its own"


def test_check_writable_makes_the_store_and_leaves_nothing_in_it(store):
    store.check_writable()
    assert os.listdir(store.path) == ["runs"]
    assert os.listdir(store.path / "runs") == []


@pytest.mark.parametrize("name", ["file", "file/below", "file/far/below"])
def test_a_store_below_a_file_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    store = Store(tmp_path / name)
    for ask in (store.check_writable, lambda: write_ok(store)):
        with pytest.raises(
            StoreError, match="has a file where a folder must be; make it writable, or give another"
        ) as e:
            ask()
        assert str(e.value).startswith(f"store {tmp_path / name}: ")


def test_a_file_is_no_store_to_read(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is a file, not a folder"):
        Store(tmp_path / "file").records()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc, which root cannot write to either")
def test_a_store_where_nothing_can_be_made(tmp_path):
    with pytest.raises(StoreError, match="store /proc/results: cannot be created there"):
        Store("/proc/results").check_writable()


def test_a_path_too_long(tmp_path):
    with pytest.raises(StoreError, match="has too long a path"):
        Store(tmp_path / ("x" * 300)).check_writable()


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("open", errno.EROFS, "is on a read-only file system"),
        ("open", errno.EACCES, "may not be written"),
        ("fsync", errno.ENOSPC, "is full"),
        ("fsync", errno.EDQUOT, "is full"),
        ("replace", errno.EIO, "cannot be written"),
    ],
)
def test_a_store_that_refuses_is_one_line_and_loses_nothing(store, monkeypatch, call, number, words):
    record = write_ok(store)
    before = sorted(path.read_bytes() for path in store.path.rglob("*") if path.is_file())
    refuse(monkeypatch, call, number)
    other = make_ok(make_spec(seed=43))
    for ask in (store.check_writable, lambda: store.write(other, make_scores())):
        with pytest.raises(StoreError, match=f"^store {store.path}: {words}"):
            ask()
    monkeypatch.undo()
    assert sorted(path.read_bytes() for path in store.path.rglob("*") if path.is_file()) == before
    assert store.done(make_spec()) == record
    assert store.done(make_spec(seed=43)) is None
    assert store.write(other, make_scores()) == store.done(make_spec(seed=43))


def test_a_record_that_cannot_be_read_is_no_missing_record(store, monkeypatch):
    write_ok(store)

    def refusing(_path, **_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(store_module.Path, "stat", refusing)
    with pytest.raises(StoreError, match=r"cannot be read \(Permission denied\); check its permissions"):
        store.done(make_spec())


def test_a_folder_removed_under_a_writer_is_made_again(store, monkeypatch):
    real, calls = store_module._write_run, []

    def racing(folder, *rest):
        calls.append(folder)
        if len(calls) == 1:
            folder.rmdir()  # as another process does that tidies up a failure
        return real(folder, *rest)

    monkeypatch.setattr(store_module, "_write_run", racing)
    record = write_ok(store)
    assert len(calls) == 2
    assert store.done(make_spec()) == record


def hammer(path: str, worker: int, rounds: int) -> None:
    """Write the same run again and again: worker 0 fails, the others are ok with scores of their own."""
    store = Store(path)
    for _ in range(rounds):
        if worker == 0:
            store.write(make_failed())
            store.write(make_failed(make_spec(fingerprint=None)))
        else:
            scores = make_scores(worker)
            store.write(make_ok(scores_sha256=scores.sha256), scores, MAPS)


def test_two_writers_without_a_lock_leave_one_whole_run(store, monkeypatch):
    """Where nothing can be locked, another writer's scores come between our scores and our record."""
    ours, theirs = (make_ok(scores_sha256=make_scores(shift).sha256) for shift in (0.0, 1.0))
    real, between = store_module.write_atomically, []

    def interleaved(path, data):
        real(path, data)
        if path.name == "scores.csv" and not between:
            between.append(path)
            real(path, make_scores(1.0).to_csv())

    monkeypatch.setattr(store_module, "write_atomically", interleaved)
    assert store.write(ours, make_scores()) == store.done(make_spec()) == ours
    assert store.write(theirs, make_scores(1.0)) == ours


def test_a_writer_that_is_never_alone_says_so(store, monkeypatch):
    real = store_module.write_atomically

    def interleaved(path, data):
        real(path, data)
        if path.name == "scores.csv":
            real(path, make_scores(1.0).to_csv())

    monkeypatch.setattr(store_module, "write_atomically", interleaved)
    with pytest.raises(StoreError, match="other processes keep changing seed42-"):
        write_ok(store)
    assert store.done(make_spec()) is None


def test_many_processes_write_one_run(store):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=hammer, args=(str(store.path), worker, 15)) for worker in range(4)]
    for worker in workers:
        worker.start()
    seen_ok = False
    while any(worker.is_alive() for worker in workers):
        record = store.find(make_spec())  # never torn: this would raise
        assert not (seen_ok and record.status == "failed"), "a failed record replaced an ok one"
        seen_ok = seen_ok or (record is not None and record.status == "ok")
        time.sleep(0.002)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    record = store.done(make_spec())
    assert record is not None, "record and scores are of one and the same writer"
    assert store.scores(record).sha256 == record.scores_sha256
    assert not list(store.path.rglob("*.tmp"))


def test_killed_writers_leave_a_store_that_works(store):
    code = f"from tests.store.test_store import hammer; print(flush=True); hammer({str(store.path)!r}, 1, 10**6)"
    random.seed(0)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(random.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert store.records().problems == ()
        assert store.done(make_spec()) in (None, store.find(make_spec()))
    record = write_ok(store)
    assert store.done(make_spec()) == record


def test_committed_bytes_hold_nothing_of_this_machine(store):
    spec = make_spec()
    failed = make_failed(
        spec,
        error=failure_of(FileNotFoundError(2, "No such file", str(store.path / "x.png")), "decode"),
        hide={"store": store.path},
    )
    store.write(failed)
    text = (store.run_folder(spec) / "record.json").read_text()
    assert str(store.path) not in text
    assert json.loads(text)["error"]["message"] == "[Errno 2] No such file: '<store>/x.png'" or "<path>/x.png" in text
    assert json.loads(text)["digest"] == digest_of(json.loads(text))


def test_a_limited_run_says_so(store):
    spec = make_spec()
    assert write_ok(store, spec, dataset=make_dataset(spec, limit=8)).dataset.limit == 8


def test_a_link_in_a_circle_holds_nothing(store):
    record = write_ok(store)
    (store.path / "runs" / "circle").symlink_to("circle")
    assert store.records().records == (record,)
    assert store.records().problems == ()


def test_scores_that_cannot_be_read_say_why(store):
    write_ok(store)
    path = store.run_folder(make_spec()) / "scores.csv"
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match=r"scores\.csv: cannot be read \(Is a directory\); check its permissions"):
        store.done(make_spec())


def test_an_empty_folder_of_the_failure_from_before_is_no_obstacle(store):
    folder = store.run_folder(make_spec(fingerprint=None))
    folder.mkdir(parents=True)
    assert write_ok(store) == store.done(make_spec())
    assert folder.exists()


@pytest.mark.parametrize(("times", "stored"), [(store_module._ATTEMPTS - 1, True), (store_module._ATTEMPTS, False)])
def test_a_folder_that_is_removed_again_and_again(store, monkeypatch, times, stored):
    real, calls = store_module._write_run, []

    def racing(folder, *rest):
        calls.append(folder)
        if len(calls) <= times:
            folder.rmdir()
        return real(folder, *rest)

    monkeypatch.setattr(store_module, "_write_run", racing)
    if stored:
        assert write_ok(store) == store.done(make_spec())
    else:
        with pytest.raises(StoreError, match="cannot be created there"):
            write_ok(store)


def test_a_damaged_failure_from_before_is_no_obstacle_and_stays(store):
    path = store.run_folder(make_spec(fingerprint=None)) / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert write_ok(store) == store.done(make_spec())
    assert path.read_text() == "{"


def test_hidden_folders_hold_no_runs(store):
    record = write_ok(store)
    shutil.copytree(store.path / "runs" / "mvtec", store.path / "runs" / ".mvtec")
    assert store.records() == store_module.Contents((record,), ())


def test_a_folder_that_cannot_be_listed_is_one_line(store, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(store_module.os, "scandir", refuse)
    with pytest.raises(StoreError, match=r"runs: cannot be listed \(Permission denied\); check its permissions"):
        store.records()
