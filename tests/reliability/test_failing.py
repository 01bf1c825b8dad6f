"""A disk, a permission or a folder that fails a sweep: one line, nothing half-written, and afterwards it goes on."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.__main__ import main
from harness.execution import job as run
from harness.execution import recording
from harness.store import Store, files
from harness.store.record import hide_paths
from tests.reliability.sweeps import draw, litter, results


@pytest.fixture
def sweep(tmp_path, monkeypatch, capfd):
    """Do a sweep in this process; return its exit status and what it said to standard error."""
    words = draw(tmp_path / "mvtec", "bottle", "cable")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call():
        capfd.readouterr()
        status = main([*words, "seed=0", f"store={tmp_path / 'store'}"])
        said = capfd.readouterr()
        assert "Traceback" not in said.err + said.out
        return status, said.err

    return call


def n_ok(base):
    """The number of runs in the store, once all is as it must be but for failed ones."""
    contents = Store(base / "store").records()
    assert contents.problems == ()
    assert litter(base) == []
    ok = [record for record in contents.records if record.status == "ok"]
    assert all(Store(base / "store").done(record.spec.model_dump()) for record in ok)
    return len(ok)


WORDS = {
    errno.ENOSPC: "store: cannot be written (No space left on device); make room, or give another folder",
    errno.EROFS: "store: cannot be written (Read-only file system); make it writable, or give another folder",
    errno.EFBIG: "store: cannot be written (File too large); raise the limit (ulimit -f)",
    errno.EACCES: "store: cannot be written (Permission denied); make it writable, or give another folder",
}


@pytest.mark.parametrize(("number", "midway"), [*((number, False) for number in WORDS), (errno.ENOSPC, True)])
def test_a_store_that_cannot_be_written_is_one_line_and_loses_nothing(sweep, tmp_path, monkeypatch, number, midway):
    write, written = files.write_atomically, []

    def fail(path, data):
        written.append(path.name)
        if not midway or written.count("record.json") > 1:
            raise OSError(number, os.strerror(number))
        write(path, data)

    with monkeypatch.context() as failing:
        for module in ("store", "frame"):
            failing.setattr(f"harness.store.{module}.write_atomically", fail)
        status, said = sweep()
    assert WORDS[number] in said
    assert n_ok(tmp_path) == midway
    assert status in ((1, 2) if midway else (2,))
    assert midway or len(said.splitlines()) == 1
    if midway:
        assert sweep()[0] == 0
        assert n_ok(tmp_path) == 2


@pytest.mark.parametrize(
    ("vanishes", "when", "status", "left", "words"),
    [
        ("store", "write", 0, 1, ""),
        ("cwd", "write", 0, 2, ""),
        ("mvtec", "split", 2, 0, "fit: bottle/train/good/000.png: no such file; restore it"),
    ],
)
def test_a_folder_that_is_removed_costs_what_was_in_it(
    sweep, tmp_path, monkeypatch, vanishes, when, status, left, words
):
    """Before the second run is written, or when the images are known and none has been decoded."""
    calls = []

    def then(real, number):
        def call(*arguments, **options):
            calls.append(arguments)
            if len(calls) == number:
                shutil.rmtree(tmp_path / vanishes)
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        if when == "write":
            patched.setattr(Store, "write", then(Store.write, 2))
        else:
            real = run.fingerprint
            patched.setattr(run, "fingerprint", lambda split: (real(split), shutil.rmtree(split.root))[0])
        said = sweep()
    assert said[0] == status
    assert words in said[1]
    assert n_ok(tmp_path) == left
    draw(tmp_path / "mvtec", "bottle", "cable")
    (tmp_path / "cwd").mkdir(exist_ok=True)
    os.chdir(tmp_path / "cwd")
    assert sweep()[0] == 0
    assert len(results(tmp_path)) == 2


def test_a_record_that_cannot_be_read_stops_one_run(sweep, tmp_path):
    assert sweep()[0] == 0
    path = next((tmp_path / "store").glob("runs/mvtec/bottle/*/seed0-*/record.json"))
    path.unlink()
    path.symlink_to(path.name)  # permissions do not keep root out
    status, said = sweep()
    assert status == 1
    assert "record.json: cannot be read (Too many levels of symbolic links); check its permissions" in said


def test_a_record_needs_neither_temporary_files_nor_a_working_folder(monkeypatch):
    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory")

    one = SimpleNamespace(dataset=SimpleNamespace(root=Path("data")), backbone=SimpleNamespace(weights="random"))
    with monkeypatch.context() as context:
        context.setattr(tempfile, "gettempdir", gone)
        context.setattr(os, "getcwd", gone)
        hidden = recording._hidden(one)
        assert hidden == {"dataset.root": Path("data")}
        assert hide_paths("in data/x and /there/y", hidden) == "in data/x and /there/y"
