"""Atomic writes, leftovers, turns, and what a file system refuses."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time

import pytest

from harness.errors import StoreError
from harness.store import files
from harness.store.files import read_plain, remove_leftovers, turn, write_atomically, writing


@pytest.mark.parametrize(("mask", "mode"), [(0o027, 0o640), (0, 0o666)])
def test_content_and_permissions(tmp_path, mask, mode):
    path = tmp_path / "a.json"
    old = os.umask(mask)
    try:
        write_atomically(path, b"one")
        write_atomically(path, b"two")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == mode  # mkstemp's 0600 would hide a shared store from colleagues
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_refused_write_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, call, error):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def refuse(*_):
        raise error

    monkeypatch.setattr(files.os, call, refuse)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_kill_before_the_renaming_leaves_the_old_content(tmp_path, monkeypatch):
    """SIGKILL runs no handler: as if neither renaming nor tidying happened, and this process lives on."""
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def refuse(*_):
        raise OSError("killed")

    monkeypatch.setattr(files.os, "replace", refuse)
    monkeypatch.setattr(files.Path, "unlink", lambda *_: None)
    with pytest.raises(OSError, match="killed"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    (leftover,) = (entry for entry in tmp_path.iterdir() if entry != path)

    remove_leftovers(tmp_path)
    assert leftover.exists(), "it may belong to a process that still runs"
    long_ago = time.time() - 7 * 3600
    os.utime(leftover, (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["a.json"]


def test_only_leftovers_are_removed(tmp_path):
    for name in ("record.json", ".hidden", "x.tmp", ".record.json.tmp", ".record.json.12-0123456g.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    assert len(os.listdir(tmp_path)) == 5
    remove_leftovers(tmp_path / "not there")


def most_inside(folder):
    """How many of five threads were in their turn at once."""
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        with turn(folder):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most


def test_writers_take_turns(tmp_path):
    assert most_inside(tmp_path) == 1
    assert os.listdir(tmp_path) == []


def test_a_turn_that_never_comes_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LOCK_PATIENCE_S", 0.05)
    with turn(tmp_path), turn(tmp_path):
        pass
    assert os.listdir(tmp_path) == []  # the folder can be locked here, so no file stands for it


def test_a_network_file_system_locks_a_file_instead_of_the_folder(tmp_path, monkeypatch):
    """NFS locks only what is open for writing, and says EBADF to the rest."""
    real = files.fcntl.flock

    def like_nfs(descriptor, how):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", like_nfs)
    assert most_inside(tmp_path) == 1
    assert os.listdir(tmp_path) == [".turn"]
    assert (tmp_path / ".turn").stat().st_size == 0
    assert (tmp_path / ".turn").stat().st_mode & 0o111 == 0


def test_a_file_system_without_locks_is_used_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with turn(tmp_path):
        pass


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "is on a read-only file system"),
        (errno.EACCES, "may not be written (permission denied)"),
        (errno.ENOSPC, "is full (no space left on the device)"),
        (errno.EDQUOT, "is full (quota exceeded)"),
        (errno.ENOTDIR, "has a file where a folder must be"),
        (errno.EFBIG, "may not hold a file of this size (file too large)"),
        (errno.EIO, "cannot be written (Input/output error)"),
    ],
)
def test_one_line_for_what_a_file_system_refuses(tmp_path, number, words):
    with pytest.raises(StoreError) as caught, writing(tmp_path):
        raise OSError(number, os.strerror(number))
    remedy = "make room" if "full" in words else "raise the limit" if "size" in words else "make it writable"
    assert str(caught.value).startswith(f"store {tmp_path}: {words}; {remedy}")


def test_other_errors_pass(tmp_path):
    with pytest.raises(ValueError, match="ours"), writing(tmp_path):
        raise ValueError("ours")


def test_a_folder_removed_under_a_write_is_told_as_what_it_was(tmp_path, monkeypatch):
    """There is nothing left to tidy, which is no error of its own."""

    def remove_and_refuse(temporary, _):
        os.unlink(temporary)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", remove_and_refuse)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a.json", b"new")


def test_what_is_no_plain_file_has_an_error_number(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"\] it is no plain file$") as caught:
        read_plain(tmp_path / "pipe", 10)
    assert caught.value.errno == errno.EINVAL


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_plain(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, and 4 are the most") as caught:
        read_plain(tmp_path / "a", 4)
    assert caught.value.errno == errno.EFBIG


def test_a_turn_is_of_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), turn(tmp_path / "file"):
        pass


def test_a_folder_where_nothing_can_be_locked_or_made_is_used_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".turn").mkdir()
    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with turn(tmp_path):
        pass


def test_a_file_system_that_cannot_sync_folders_is_written_to(tmp_path, monkeypatch):
    real = os.fsync

    def like_some_networks(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", like_some_networks)
    write_atomically(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"


def test_a_leftover_that_cannot_be_removed_is_left(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EACCES, "Permission denied")

    leftovers = [tmp_path / f".record.json.{number}-00000000.tmp" for number in (1, 2)]
    for leftover in leftovers:
        leftover.touch()
        os.utime(leftover, (0, 0))
    monkeypatch.setattr(files.os, "unlink", refuse)
    remove_leftovers(tmp_path)
    monkeypatch.undo()
    assert all(leftover.exists() for leftover in leftovers)
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []
