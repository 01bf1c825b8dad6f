import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from harness.data import fingerprint as digests
from harness.data.fingerprint import Digest, digest_files
from harness.errors import DataError
from harness.leftovers import temporary_name


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of this test's own, and files that count as settled as soon as they are written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "RACY_NS", 0)
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    for name in ("x/a.png", "x/b.png", "y/a.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(name.encode() * 1000)
    pass_a_clock_tick()
    return tmp_path / "root"


def pass_a_clock_tick():
    """Let the file system's clock (ticks of a few milliseconds) go on, so that a later write has another time."""
    time.sleep(0.02)


def plain(root, names):
    return [Digest((root / n).stat().st_size, hashlib.sha256((root / n).read_bytes()).hexdigest()) for n in names]


def cache_files(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were read."""
    names = []
    original = digests._hash
    monkeypatch.setattr(digests, "_hash", lambda path, name: (names.append(name), original(path, name))[1])
    return names


NAMES = ["y/a.png", "x/b.png", "x/a.png"]


def test_digests_are_sha256_in_the_order_asked(root):
    assert digest_files(root, NAMES) == plain(root, NAMES)
    assert digest_files(root, []) == []


def test_a_second_call_reads_no_file(root, hashed, cache):
    first = digest_files(root, NAMES)
    assert sorted(hashed) == sorted(NAMES)
    hashed.clear()
    assert digest_files(root, NAMES) == first
    assert hashed == []
    assert len(cache_files(cache)) == 2, "one file for each folder"


def test_what_killed_processes_left_in_the_cache_is_removed(root, cache):
    digest_files(root, ["x/a.png"])
    (kept,) = cache_files(cache)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    living = kept.with_name(temporary_name(kept.name))
    dead = kept.with_name(living.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
    for path in (living, dead):
        path.touch()
    digest_files(root, ["x/b.png"])
    assert set(kept.parent.iterdir()) == {kept, living}


def test_a_changed_file_is_read_again(root, hashed):
    digest_files(root, NAMES)
    hashed.clear()
    (root / "x/a.png").write_bytes(b"longer" * 5000)
    assert digest_files(root, NAMES) == plain(root, NAMES)
    assert hashed == ["x/a.png"]


def test_a_file_of_the_same_size_and_mtime_is_not_taken_for_the_old_one(root):
    path = root / "x/a.png"
    digest_files(root, NAMES)
    before = path.stat()
    pass_a_clock_tick()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digest_files(root, NAMES) == plain(root, NAMES)


def test_a_file_younger_than_the_clocks_grain_is_not_remembered(root, hashed, cache, monkeypatch):
    """Within a tick a file can change and keep size, mtime and ctime: only not remembering it is safe."""
    monkeypatch.setattr(digests, "RACY_NS", 60_000_000_000)
    digest_files(root, NAMES)
    assert cache_files(cache) == []
    hashed.clear()
    assert digest_files(root, NAMES) == plain(root, NAMES)
    assert sorted(hashed) == sorted(NAMES)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"folder": 1}',
        b'{"folder": "FOLDER", "files": []}',
        b'{"folder": "FOLDER", "files": {"a.png": 3}}',
        b'{"folder": "FOLDER", "files": {"a.png": [1, 2]}}',
        b'{"folder": "FOLDER", "files": {"a.png": ["x", "y", "z", "w"]}}',
        b'{"folder": "FOLDER", "files": {"a.png": null}}',
    ],
)
def test_a_damaged_cache_is_done_without_and_mended(root, hashed, cache, damage):
    digest_files(root, ["x/a.png"])
    (file,) = cache_files(cache)
    file.write_bytes(damage.replace(b"FOLDER", os.fsencode(root / "x")))
    hashed.clear()
    assert digest_files(root, ["x/a.png"]) == plain(root, ["x/a.png"])
    assert hashed == ["x/a.png"]
    hashed.clear()
    digest_files(root, ["x/a.png"])
    assert hashed == []


def test_a_cache_file_of_another_folder_is_not_believed(root, cache):
    digest_files(root, ["x/a.png"])
    (file,) = cache_files(cache)
    stored = json.loads(file.read_text())
    stored["files"]["a.png"][3] = "0" * 64
    file.write_text(json.dumps({**stored, "folder": "/somewhere/else"}))
    assert digest_files(root, ["x/a.png"]) == plain(root, ["x/a.png"])


def test_a_cache_that_cannot_be_written_is_done_without(root, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file where the cache folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "occupied"))
    assert digest_files(root, NAMES) == plain(root, NAMES)


def test_many_writers_at_once_leave_one_whole_cache_file(root, cache):
    names = [f"x/{i:03d}.png" for i in range(40)]
    for name in names:
        (root / name).write_bytes(name.encode() * 50)
    pass_a_clock_tick()
    expected, right = plain(root, names), []

    def work(part):
        right.extend(digest_files(root, names[part::4]) == expected[part::4] for _ in range(5))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20
    (file,) = cache_files(cache)
    assert json.loads(file.read_text())["folder"] == str(root / "x")
    assert digest_files(root, names) == expected


def test_a_missing_file_and_a_folder_are_named(root):
    with pytest.raises(DataError, match=r"^x/gone\.png: cannot be read \(No such file or directory\)"):
        digest_files(root, ["x/a.png", "x/gone.png"])
    (root / "x/folder.png").mkdir()
    with pytest.raises(DataError, match=r"^x/folder\.png: cannot be read \(Is a directory\)"):
        digest_files(root, ["x/folder.png"])


def test_a_file_that_changes_while_it_is_read_is_named(root, monkeypatch):
    original = hashlib.file_digest

    def slow(file, name):
        digest = original(file, name)
        with open(root / "x/a.png", "ab") as more:
            more.write(b"more")
        return digest

    monkeypatch.setattr(digests.hashlib, "file_digest", slow)
    with pytest.raises(DataError, match=r"^x/a\.png: changed while it was read"):
        digest_files(root, ["x/a.png"])
