"""The hash that stands for a split's data, and the digests of files that are remembered for it."""

import dataclasses
import hashlib
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from harness.data import fingerprint as digests
from harness.data.fingerprint import Digest, digest_files, fingerprint
from harness.data.layouts import resolve_split
from harness.data.split import Sample, Split
from harness.errors import DataError
from tests.data.small import request, save
from tests.drawing import draw_mvtec_category


@pytest.fixture
def split(tmp_path) -> Split:
    draw_mvtec_category(tmp_path / "root/bottle", size=16)
    return resolve_split(request(tmp_path / "root"), "bottle")


def again(split: Split, **changes) -> str:
    return fingerprint(resolve_split(request(split.root, **changes), "bottle"))


def test_its_value_is_fixed(tmp_path):
    """Stored keys rest on it: a change of this value makes every record of every store a stranger."""
    for name, content in (("t/a.png", b"one"), ("t/ü b.png", b"two"), ("m/b.png", b"three")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    train, test = (Sample("t/a.png", 0, "good"),), (Sample("t/ü b.png", 1, "cut", "m/b.png"),)
    split = Split("d", "c", tmp_path, train, test, has_masks=True)
    one, two, three = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two", b"three"))
    text = (
        f'["split-1",[["test","t/ü b.png",1,"cut","m/b.png",3,"{two}",5,"{three}"],'
        f'["train","t/a.png",0,"good",null,3,"{one}",null,null]]]'
    )
    assert fingerprint(split) == hashlib.sha256(text.encode()).hexdigest()


def test_places_times_orders_and_notes_do_not_change_it(split, tmp_path, monkeypatch):
    value = fingerprint(split)
    shutil.copytree(split.root, tmp_path / "elsewhere")
    assert fingerprint(dataclasses.replace(split, root=tmp_path / "elsewhere")) == value
    shuffled = dataclasses.replace(split, train=split.train[::-1], test=split.test[::-1], notes=("a note",))
    assert fingerprint(shuffled) == value
    for path in split.root.rglob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    original = os.scandir

    class Reversed:
        """A disk that lists files in another order."""

        def __init__(self, path):
            self._entries = original(path)

        def __enter__(self):
            return reversed(list(self._entries))

        def __exit__(self, *_):
            self._entries.close()

    monkeypatch.setattr("harness.data.files.os.scandir", Reversed)
    assert again(split) == value


def test_names_labels_roles_masks_and_one_byte_change_it(split):
    first, *rest = split.test
    values = {
        fingerprint(split),
        fingerprint(dataclasses.replace(split, test=(dataclasses.replace(first, label=0), *rest))),
        fingerprint(dataclasses.replace(split, test=(dataclasses.replace(first, defect="cut"), *rest))),
        fingerprint(dataclasses.replace(split, test=(dataclasses.replace(first, mask=None), *rest))),
        fingerprint(dataclasses.replace(split, test=(dataclasses.replace(first, mask=rest[0].mask), *rest))),
        fingerprint(dataclasses.replace(split, test=tuple(rest))),
        fingerprint(dataclasses.replace(split, train=split.train[1:], test=(split.train[0], *split.test))),
        fingerprint(dataclasses.replace(split, train=split.train[1:])),
        again(split, limit=5),
    }
    for name in ("train/good/003.png", "test/good/001.png", "test/blot/002.png", "ground_truth/blot/002_mask.png"):
        path = split.root / "bottle" / name
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        values.add(fingerprint(split))
    (split.root / "bottle/train/good/003.png").rename(split.root / "bottle/train/good/other.png")
    values.add(again(split))
    assert len(values) == 14


def test_a_rewritten_file_of_the_same_size_in_the_same_tick_changes_it(split):
    """Freshly drawn and at once drawn anew: what a cache by size and time alone would serve stale."""
    path = split.root / "bottle/test/good/000.png"
    original = path.read_bytes()
    for _ in range(20):
        path.write_bytes(original)
        value = fingerprint(split)
        path.write_bytes(original[:-1] + b"\0")
        assert fingerprint(split) != value


@pytest.mark.real
def test_the_real_bottle_is_hashed_once_and_then_remembered(real_mvtec: Path, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = resolve_split(request(real_mvtec, name="mvtec"), "bottle")
    value = fingerprint(split)
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert fingerprint(split) == value


# The digests of files


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of this test's own, and files that count as settled as soon as they are written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "RACY_NS", 0)
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path, cache):
    for name in NAMES:
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(name.encode() * 1000)
    pass_a_clock_tick()
    return tmp_path / "root"


NAMES = ["y/a.png", "x/b.png", "x/a.png"]


def pass_a_clock_tick():
    """Let the file system's clock (ticks of a few milliseconds) go on, so that a later write has another time."""
    time.sleep(0.02)


def plain(root, names):
    return [Digest((root / n).stat().st_size, hashlib.sha256((root / n).read_bytes()).hexdigest()) for n in names]


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were read."""
    names = []
    original = hashlib.file_digest
    monkeypatch.setattr(
        digests.hashlib, "file_digest", lambda file, name: (names.append(file.name[-7:]), original(file, name))[1]
    )
    return names


def test_digests_are_sha256_in_the_order_asked_and_only_changed_files_are_read_again(root, hashed):
    assert digest_files(root, []) == []
    assert digest_files(root, NAMES) == plain(root, NAMES)
    assert sorted(hashed) == sorted(NAMES)
    assert digest_files(root, NAMES) == plain(root, NAMES)
    assert len(hashed) == 3
    (root / "x/a.png").write_bytes(b"longer" * 5000)
    assert digest_files(root, NAMES) == plain(root, NAMES)
    assert hashed[3:] == ["x/a.png"]


def test_a_file_of_the_same_size_and_mtime_is_not_taken_for_the_old_one(root):
    path = root / "x/a.png"
    digest_files(root, NAMES)
    before = path.stat()
    pass_a_clock_tick()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digest_files(root, NAMES) == plain(root, NAMES)


def test_a_file_younger_than_the_clocks_grain_is_not_remembered(root, hashed, monkeypatch):
    """Within a tick a file can change and keep size, mtime and ctime: only not remembering it is safe."""
    monkeypatch.setattr(digests, "RACY_NS", 60_000_000_000)
    for _ in range(2):
        assert digest_files(root, NAMES) == plain(root, NAMES)
    assert len(hashed) == 6


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a.png": 3}', b'{"a.png": [1, 2]}', b'{"a.png": null}']
)
def test_a_damaged_cache_is_done_without_and_mended(root, hashed, cache, damage):
    digest_files(root, ["x/a.png"])
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    file.write_bytes(damage)
    for _ in range(2):
        assert digest_files(root, ["x/a.png"]) == plain(root, ["x/a.png"])
    assert hashed == ["x/a.png"] * 2


def test_a_cache_that_cannot_be_written_is_done_without(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(save(tmp_path / "occupied.png")))
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
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    assert set(json.loads(file.read_text())) <= {name[2:] for name in names}
    assert digest_files(root, names) == expected


def test_a_file_that_cannot_be_read_is_named(root, monkeypatch):
    with pytest.raises(DataError, match=r"^x/gone\.png: cannot be read \(No such file or directory\)"):
        digest_files(root, ["x/a.png", "x/gone.png"])
    (root / "x/folder.png").mkdir()
    with pytest.raises(DataError, match=r"^x/folder\.png: cannot be read \(Is a directory\)"):
        digest_files(root, ["x/folder.png"])
    original = hashlib.file_digest

    def slow(file, name):
        digest = original(file, name)
        with open(root / "x/b.png", "ab") as more:
            more.write(b"more")
        return digest

    monkeypatch.setattr(digests.hashlib, "file_digest", slow)
    with pytest.raises(DataError, match=r"^x/b\.png: changed while it was read"):
        digest_files(root, ["x/b.png"])
