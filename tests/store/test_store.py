"""The store: what is complete counts, what is not does not, whoever writes, fails or is killed meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.leftovers import temporary_name
from harness.store import Store, failure_of, files
from harness.store.fields import component, key_of_folder, run_path
from harness.store.files import read_plain, turn, write_atomically
from harness.store.record import dump_record
from tests.store.making import make_failed, make_ok, make_scores, make_spec, patient

MAPS = {"maps": np.ones((2, 4, 4), np.float32)}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def write_ok(store, spec=None, **changes):
    return store.write(make_ok(spec, **changes), make_scores())


def test_round_trip(store):
    record = make_ok()
    assert store.records().records == ()
    assert store.find(make_spec()) is None
    assert store.done(make_spec()) is None
    store.remove_leftovers()
    assert not store.path.exists()
    assert store.write(record, make_scores(), MAPS) == record
    folder = store.run_folder(make_spec())
    assert sorted(os.listdir(folder)) == ["examples.npz", "record.json", "scores.csv"]
    assert folder == store.path / "runs" / "mvtec" / "bottle" / "padim-resnet18" / f"seed42-{record.key}"
    assert store.find(make_spec()) == store.done(make_spec()) == record
    assert store.scores(record).to_csv() == make_scores().to_csv()
    np.testing.assert_array_equal(store.examples(record)["maps"], MAPS["maps"])
    assert store.records().records == (record,)
    assert store.records().problems == ()
    for other in (make_spec(seed=43), make_spec(fingerprint="00" * 32)):
        assert store.done(other) is None


def test_the_first_ok_record_stays_whole(store):
    first, second = make_ok(), make_ok(scores_sha256=make_scores(1.0).sha256)
    store.write(first, make_scores(), MAPS)
    before = {path.name: path.stat().st_ino for path in store.run_folder(make_spec()).iterdir()}
    assert store.write(second, make_scores(1.0)) == first
    assert store.write(make_failed()) == first, "nor does a failure replace it"
    assert store.done(make_spec()) == first
    assert {path.name: path.stat().st_ino for path in store.run_folder(make_spec()).iterdir()} == before


def test_a_refreshed_run_replaces_record_and_scores_as_a_pair(store, monkeypatch):
    first = store.write(make_ok(), make_scores(), MAPS)
    assert store.write(make_failed(), replace=True) == first, "a failure never replaces what went well"
    second = make_ok(scores_sha256=make_scores(1.0).sha256)
    with monkeypatch.context() as patched:  # killed between the two
        replace, renamed = os.replace, []

        def dying(source, target):
            if renamed:
                raise KeyboardInterrupt
            renamed.append(target)
            replace(source, target)

        patched.setattr(files.os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            store.write(second, make_scores(1.0), replace=True)
    assert store.done(make_spec()) is None
    with pytest.raises(StoreError, match="is not what its record was made from"):
        store.scores(store.find(make_spec()))
    assert store.write(second, make_scores(1.0), replace=True) == second == store.done(make_spec())
    assert store.scores(second).to_csv() == make_scores(1.0).to_csv()
    assert store.examples(second) is None


@pytest.mark.parametrize("damage", ["gone", "another's"])
def test_a_run_that_does_not_count_is_replaced_whole(store, damage):
    record = store.write(make_ok(), make_scores(), MAPS)
    path = store.run_folder(make_spec()) / "scores.csv"
    path.write_bytes(make_scores(2.0).to_csv()) if damage == "another's" else path.unlink()
    assert store.done(make_spec()) is None
    with pytest.raises(StoreError, match=r"scores\.csv: "):
        store.scores(record)
    second = make_ok(scores_sha256=make_scores(1.0).sha256)
    assert store.write(second, make_scores(1.0)) == second == store.done(make_spec())
    assert store.scores(second).to_csv() == make_scores(1.0).to_csv()
    assert store.examples(second) is None, "the maps of another run are no examples of this one"


def test_failures_are_found_not_done_and_give_way(store):
    store.write(make_failed())
    newer = make_failed(error=failure_of(MemoryError("no memory"), "fit"))
    assert store.write(newer) == newer == store.find(make_spec())
    assert store.done(make_spec()) is None
    ok = write_ok(store)
    assert store.records().records == (ok,)


def test_an_ok_record_removes_the_failure_from_before_the_fingerprint(store):
    nameless = make_spec(fingerprint=None)
    store.write(make_failed(nameless))
    other = store.write(make_failed(make_spec(fingerprint=None, seed=1)))
    ok = write_ok(store)
    assert {record.key for record in store.records().records} == {ok.key, other.key}
    assert not store.run_folder(nameless).exists()


@pytest.mark.parametrize("scores", [None, make_scores(1.0)])
def test_a_record_goes_with_its_own_scores(store, scores):
    with pytest.raises(ValueError, match=r"^the record's scores_sha256"):
        store.write(make_ok(), scores)
    assert not store.path.exists()


def test_a_tampered_record_stops_whoever_relies_on_it(store):
    write_ok(store)
    path = store.run_folder(make_spec()) / "record.json"
    path.write_text(path.read_text().replace("0.996031746031746", "0.999"))
    for ask in (store.find, store.done, lambda _: store.write(make_failed())):
        with pytest.raises(StoreError, match="was edited or damaged"):
            ask(make_spec())
    assert "0.999" in path.read_text(), "a failure may not wipe out what may have been an ok record"
    assert store.records().records == ()
    assert [problem.split(": ")[0] for problem in store.records().problems] == [str(path)]
    assert write_ok(store) == store.done(make_spec()), "a new ok record heals it"


def test_copied_folders_count_once(store):
    record = write_ok(store)
    folder = store.run_folder(make_spec())
    for copy in (folder.with_name("seed42-0123456789ab"), folder.parents[1] / "wide_resnet50_2" / folder.name):
        copy.mkdir(parents=True)
        (copy / "record.json").write_bytes((folder / "record.json").read_bytes())
    contents = store.records()
    assert contents.records == (record,)
    assert ["lies in the wrong folder" in problem for problem in contents.problems] == [True, True]
    other = store.run_folder(make_spec(seed=1))
    other.mkdir(parents=True)
    (other / "record.json").write_bytes(dump_record(make_ok()))
    with pytest.raises(StoreError, match="is the record of another run"):
        store.find(make_spec(seed=1))


def test_whatever_else_lies_in_a_store_is_passed_over(store):
    record = write_ok(store)
    for name in ("runs/README", "runs/mvtec/x.txt", "runs/mvtec/bottle/.hidden", ".submitit/x", "tables/y"):
        (store.path / name).parent.mkdir(parents=True, exist_ok=True)
        (store.path / name).touch()
    (store.path / "runs/mvtec/bottle/padim-resnet18/seed1-0123456789ab").mkdir()
    (store.path / "runs" / "circle").symlink_to("circle")
    shutil.copytree(store.path / "runs" / "mvtec", store.path / "runs" / ".mvtec")
    assert store.records().records == (record,)
    assert store.records().problems == ()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_kill_between_the_files_leaves_a_run_that_does_not_count(store, monkeypatch, kept):
    """After `kept` of the files the process is gone: the scores alone, or nothing."""
    renamed, replace = [], os.replace

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
    assert store.records().problems == ()
    assert write_ok(store) == store.done(make_spec())


def test_leftovers_of_the_dead_and_old_ones_are_removed_and_those_of_the_living_kept(store):
    write_ok(store)
    gone = subprocess.Popen(["true"])
    gone.wait()
    places = (store.run_folder(make_spec()), store.path, store.path / "runs")
    kept = [place / temporary_name("x") for place in places]
    for path in kept:
        path.touch()
        path.with_name(temporary_name("x").replace(f"-{os.getpid()}-", f"-{gone.pid}-")).touch()
        old = path.with_name(temporary_name("x"))
        old.touch()
        os.utime(old, (time.time() - 7 * 3600,) * 2)
    store.remove_leftovers()
    assert sorted(store.path.rglob(".*.tmp")) == sorted(kept)


def test_check_writable_makes_the_store_and_leaves_nothing_in_it(store):
    store.check_writable()
    assert os.listdir(store.path) == ["runs"]
    assert os.listdir(store.path / "runs") == []


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_store_that_cannot_be_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    store = Store(tmp_path / name)
    for ask in (store.check_writable, lambda: write_ok(store)):
        with pytest.raises(
            StoreError, match=f"^store {re.escape(str(store.path))}: cannot be written .*another folder$"
        ):
            ask()
    with pytest.raises(StoreError, match="is a file, not a folder"):
        Store(tmp_path / "file").records()


@pytest.mark.parametrize(
    ("call", "number", "remedy"),
    [
        ("fsync", errno.EROFS, "make it writable"),
        ("fsync", errno.ENOSPC, "make room"),
        ("fsync", errno.EDQUOT, "make room"),
        ("fsync", errno.EFBIG, r"raise the limit \(ulimit -f\)"),
        ("replace", errno.EIO, "make it writable"),
    ],
)
def test_a_store_that_refuses_is_one_line_and_loses_nothing(store, monkeypatch, call, number, remedy):
    record = write_ok(store)
    before = sorted(path.read_bytes() for path in store.path.rglob("*") if path.is_file())

    def refusing(*_args, **_keywords):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, call, refusing)
    other = make_ok(make_spec(seed=43))
    for ask in (store.check_writable, lambda: store.write(other, make_scores())):
        with pytest.raises(StoreError, match=rf"^store {store.path}: cannot be written \(.*\); {remedy}, or give"):
            ask()
    monkeypatch.undo()
    assert sorted(path.read_bytes() for path in store.path.rglob("*") if path.is_file()) == before
    assert store.done(make_spec()) == record
    assert store.write(other, make_scores()) == store.done(make_spec(seed=43))


def test_a_folder_that_cannot_be_listed_is_one_line(store, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    write_ok(store)
    monkeypatch.setattr("harness.store.store.os.scandir", refuse)
    with pytest.raises(StoreError, match=r"runs: cannot be listed \(Permission denied\); check its permissions"):
        store.records()


def test_files_are_replaced_whole_with_the_umasks_permissions(tmp_path):
    path = tmp_path / "x"
    old = os.umask(0o027)
    try:
        write_atomically(path, b"one")
        write_atomically(path, b"two")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(OSError, match="it has 3 bytes, more than the allowed 2"):
        read_plain(path, 2)


HOLD = """
import sys
from pathlib import Path
from harness.store.files import turn
with turn(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_writers_take_turns_and_a_killed_ones_turn_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LOCK_PATIENCE_S", 0.5)
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        started = time.monotonic()
        with turn(tmp_path):
            assert 0.4 < time.monotonic() - started < 5, "of one who hangs nobody waits for ever"
        other.kill()
        other.wait()
        started = time.monotonic()
        with turn(tmp_path):
            assert time.monotonic() - started < 0.4


def test_where_nothing_can_be_locked_it_goes_on_and_says_so_once(store, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    record = write_ok(store)
    write_ok(store, make_spec(seed=1))
    assert store.done(make_spec()) == record
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"note: store {store.path}: cannot be locked (No locks available); let one sweep at a time write to it"
    )


HOSTILE = [
    *("..", ".", "/", "a/b", "/etc", "../../x", "C:\\x", "a:b", "*?", "$(rm)", "[bold]", "%2e%2e", "-rf", "~"),
    *(".hidden", "a\0b", "\n", "\x1b[2J", "\u202e", "x.", "x ", " x", "", "é", "瓶", "a" * 300, "CON", "nul.txt"),
]
names = st.text() | st.sampled_from(HOSTILE) | st.text("./\\~ab\0", min_size=1)


def test_hostile_names_become_plain_folders(store):
    for name in HOSTILE:
        assert component(name) != name
        spec = make_spec(dataset="folder", category=name or "x")
        assert store.done(spec) is None
        assert write_ok(store, spec) == store.done(spec)
    assert len(store.records().records) == len(HOSTILE)


@patient
@given(names, names, st.integers(0, 99), st.integers(0, 99))
def test_any_name_stays_inside_the_store_and_two_specs_never_share_a_folder(one, other, seed, other_seed):
    specs = [make_spec(category=one, seed=seed), make_spec(category=other, seed=other_seed)]
    folders = [str(run_path(spec)).casefold() for spec in specs]  # as on a file system that ignores case
    assert (folders[0] == folders[1]) == (specs[0] == specs[1])
    for path in map(Path, folders):
        assert (len(path.parts), path.parts[0]) == (5, "runs")
        assert os.path.normpath(path) == str(path)
        assert str(path).isascii()
        assert str(path).isprintable()


def test_plain_names_stay():
    for name in ("bottle", "01", "1_0", "1e3", "my part", "v1.2", "pcb-1", "wide_resnet50_2"):
        assert component(name) == name


def test_a_folder_tells_its_key_and_no_other_does():
    assert key_of_folder(Path(run_path(make_spec())).name) == make_ok().key
    for name in ("seed42", "seed42-xyz", "seed-0123456789ab", "42-0123456789ab", "seed1-0123456789abc", "x"):
        assert key_of_folder(name) is None


def test_a_name_that_is_no_unicode_is_refused_in_one_line():
    with pytest.raises(
        StoreError, match=r"^mvtec/caf\\udce9/padim-resnet18: a name is not valid UTF-8; rename the folder"
    ):
        run_path(make_spec(category="caf\udce9"))
