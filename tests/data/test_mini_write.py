"""The mini benchmark on a disk: official layouts, the same bytes everywhere, whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from harness.data.mini import write
from harness.data.mini.counts import COUNTS, DEFECTS, MINI_VERSION
from harness.data.mini.draw import plan_category
from harness.data.mini.write import MANIFEST, changed_files, is_complete, read_manifest, write_dataset, write_mini
from harness.errors import RequestError
from harness.leftovers import machine

# A change of any of these needs a new MINI_VERSION, and changes every golden number made from the mini benchmark.
DIGESTS = {"mini_mvtec": "8299b0a51650d49e", "mini_visa": "8b2012f5fca71779", "mini_btad": "8dcf9b4d03f96eb5"}
FILES = {
    "mini_mvtec/bottle/train/good/000.png": "3c3c8f63820ce9b2",
    "mini_mvtec/cable/test/cable_swap/001.png": "c70a8036938e8e02",
    "mini_mvtec/hazelnut/ground_truth/crack/002_mask.png": "29f23a80bcf113f0",
    "mini_visa/candle/Data/Images/Normal/0003.JPG": "b67f151b19d27fa7",
    "mini_visa/pcb1/Data/Images/Anomaly/013.JPG": "cce48c6a4e807118",
    "mini_visa/pcb1/Data/Masks/Anomaly/013.png": "80ced480e7ae2d94",
    "mini_visa/split_csv/1cls.csv": "89dd79555a0bac0c",
    "mini_btad/01/train/ok/0000.bmp": "8d99fac4488c02e4",
    "mini_btad/02/test/ko/0010.png": "c8fb7b203027dd9f",
    "mini_btad/03/ground_truth/ko/0004.bmp": "813f6a7cdeeadd7c",
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The whole mini benchmark, drawn once; tests only read it."""
    return write_mini(tmp_path_factory.mktemp("mini"))


@pytest.fixture
def small(monkeypatch):
    """Every category with its last two images only, for tests that write a dataset several times."""
    whole = plan_category
    monkeypatch.setattr(write, "plan_category", lambda dataset, category: whole(dataset, category)[-2:])


def files_of(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_every_byte_is_as_committed(roots):
    assert MINI_VERSION == 1
    for dataset, root in roots.items():
        files = read_manifest(root)["files"]
        listing = "\n".join(f"{path} {size} {digest}" for path, (size, digest) in files.items())
        assert hashlib.sha256(listing.encode()).hexdigest()[:16] == DIGESTS[dataset]
        assert changed_files(root) == []
        assert files_of(root) == sorted([*files, MANIFEST])
    for path, digest in FILES.items():
        dataset, _, name = path.partition("/")
        assert hashlib.sha256((roots[dataset] / name).read_bytes()).hexdigest()[:16] == digest


ONE_OF_EACH_KIND = """
import hashlib
from harness.data.mini.counts import COUNTS
from harness.data.mini.draw import draw_plan, plan_category
from harness.data.mini.write import _encode
for dataset in COUNTS:
    for category in COUNTS[dataset]:
        for plan in plan_category(dataset, category):
            if plan.number == 1:
                drawn = draw_plan(plan, 0)
                for path, pixels in ((plan.path, drawn.image), (plan.mask_path, drawn.mask)):
                    if path:
                        print(dataset, path, hashlib.sha256(_encode(path, pixels)).hexdigest(), sep="|")
"""


def vector_instructions() -> str:
    """Those that NumPy chose at run time on this processor, beyond the ones it was built for."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def test_other_processes_locales_hash_seeds_and_instructions_draw_the_same(roots, project):
    expected = {dataset: read_manifest(root)["files"] for dataset, root in roots.items()}
    settings = (
        {"PYTHONHASHSEED": "0", "LC_ALL": "C", "OMP_NUM_THREADS": "1"},
        {"PYTHONHASHSEED": "4711", "LC_ALL": "tr_TR.UTF-8", "NPY_DISABLE_CPU_FEATURES": vector_instructions()},
    )

    def run(extra):
        command = [sys.executable, "-c", ONE_OF_EACH_KIND]
        return subprocess.run(
            command, cwd=project, env={**os.environ, **extra}, capture_output=True, text=True, check=True
        )

    with ThreadPoolExecutor() as pool:
        outputs = [done.stdout for done in pool.map(run, settings)]
    assert outputs[0] == outputs[1]
    lines = outputs[0].splitlines()
    assert len(lines) > 60
    for line in lines:
        dataset, path, digest = line.split("|")
        assert expected[dataset][path][1] == digest


def test_mvtec_layout(roots):
    for category, (n_train, n_normal, _) in COUNTS["mini_mvtec"].items():
        folder = roots["mini_mvtec"] / category
        assert len(list((folder / "train/good").glob("*.png"))) == n_train
        assert len(list((folder / "test/good").glob("*.png"))) == n_normal
        for defect, count in DEFECTS["mini_mvtec"][category].items():
            images = sorted(path.stem for path in (folder / "test" / defect).iterdir())
            masks = sorted(path.name for path in (folder / "ground_truth" / defect).iterdir())
            assert images == [f"{i:03d}" for i in range(count)]
            assert masks == [f"{stem}_mask.png" for stem in images]
        assert not (folder / "ground_truth/good").exists()


def test_visa_layout(roots):
    root = roots["mini_visa"]
    with (root / "split_csv/1cls.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["object", "split", "label", "image", "mask"]
    for category, (n_train, n_normal, n_anomalous) in COUNTS["mini_visa"].items():
        own = [(row["split"], row["label"]) for row in rows if row["object"] == category]
        assert own.count(("train", "normal")) == n_train
        assert own.count(("test", "normal")) == n_normal
        assert own.count(("test", "anomaly")) == n_anomalous == len(own) - n_train - n_normal
        images = root / category / "Data/Images"
        assert sorted(path.name for path in (images / "Normal").iterdir()) == [
            f"{i:04d}.JPG" for i in range(n_train + n_normal)
        ]
        with (root / category / "image_anno.csv").open(newline="") as file:
            labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
        assert set(labels.values()) == {"normal", *DEFECTS["mini_visa"][category]}
        assert set(labels) == {row["image"] for row in rows if row["object"] == category}
    for row in rows:
        with Image.open(root / row["image"]) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            size = image.size
        assert bool(row["mask"]) == (row["label"] == "anomaly")
        if row["mask"]:
            with Image.open(root / row["mask"]) as mask:
                assert (mask.format, mask.mode, mask.size) == ("PNG", "L", size)
                assert 0 < np.asarray(mask).max() < 10  # class ids, as in VisA


def test_btad_layout(roots):
    suffixes = {"01": (".bmp", ".png"), "02": (".png", ".png"), "03": (".bmp", ".bmp")}
    for category, (n_train, n_normal, n_anomalous) in COUNTS["mini_btad"].items():
        folder = roots["mini_btad"] / category
        image_suffix, mask_suffix = suffixes[category]
        for part, count, suffix in (
            ("train/ok", n_train, image_suffix),
            ("test/ok", n_normal, image_suffix),
            ("test/ko", n_anomalous, image_suffix),
            ("ground_truth/ko", n_anomalous, mask_suffix),
        ):
            assert sorted(path.name for path in (folder / part).iterdir()) == [f"{i:04d}{suffix}" for i in range(count)]
        with Image.open(folder / f"test/ko/0000{image_suffix}") as image:
            size = image.size
        with Image.open(folder / f"ground_truth/ko/0000{mask_suffix}") as mask:
            assert mask.size == size
            assert set(np.unique(np.asarray(mask.convert("L")))) == {0, 255}


def test_a_complete_dataset_is_left_alone(roots, monkeypatch):
    monkeypatch.setattr(write, "draw_plan", lambda *_: pytest.fail("drawn again"))
    for dataset, root in roots.items():
        before = (root / MANIFEST).stat().st_mtime_ns
        assert write_dataset(dataset, root) == root
        assert (root / MANIFEST).stat().st_mtime_ns == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
def test_an_interrupted_drawing_leaves_nothing(tmp_path, small, monkeypatch, stop):
    drawn = []

    def draw_three(plan, seed):
        if len(drawn) == 3:
            raise stop
        drawn.append(plan)
        return original(plan, seed)

    original = write.draw_plan
    monkeypatch.setattr(write, "draw_plan", draw_three)
    with pytest.raises(RequestError if isinstance(stop, OSError) else stop):
        write_dataset("mini_visa", tmp_path / "data" / "mini_visa")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_killed_drawing_does_not_count_and_is_swept_away_later(tmp_path, small, project):
    root = tmp_path / "mini_btad"
    kill = (
        "import os, sys; from pathlib import Path; from harness.data.mini import write\n"
        "write._take_place = lambda *_: os._exit(9)\n"
        "plans = write.plan_category; write.plan_category = lambda *names: plans(*names)[:1]\n"
        "write.write_dataset('mini_btad', Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", kill, str(root)], cwd=project, check=False).returncode == 9
    (partial,) = tmp_path.iterdir()
    assert partial.name.startswith(".mini_btad.")
    assert not root.exists()
    elsewhere = tmp_path / partial.name.replace(machine(), "0" * 8)  # as if drawn on another machine
    shutil.copytree(partial, elsewhere)
    write_dataset("mini_btad", root)
    assert set(tmp_path.iterdir()) == {root, elsewhere}
    shutil.copytree(elsewhere, partial)  # as if killed only now
    write_dataset("mini_btad", root)
    assert set(tmp_path.iterdir()) == {root, elsewhere}
    os.utime(elsewhere, (time.time() - 7 * 3600,) * 2)
    shutil.rmtree(root)
    write_dataset("mini_btad", root)
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: next(root.rglob("*.JPG")).unlink(),
        lambda root: next(root.rglob("*.JPG")).write_bytes(b""),
        lambda root: (root / MANIFEST).write_text(
            (root / MANIFEST).read_text().replace('"version": 1', '"version": 0')
        ),
        lambda root: (root / MANIFEST).write_text(
            '{"version": 1, "dataset": "mini_visa", "seed": 0, "files": {"a": 1}}'
        ),
    ],
    ids=["missing file", "empty file", "another version", "malformed manifest"],
)
def test_what_is_not_complete_is_drawn_anew(tmp_path, small, damage):
    root = write_dataset("mini_visa", tmp_path / "visa [1]")
    expected = read_manifest(root)
    damage(root)
    assert not is_complete("mini_visa", root)
    write_dataset("mini_visa", root)
    assert is_complete("mini_visa", root)
    assert read_manifest(root) == expected
    assert list(tmp_path.iterdir()) == [root]


def test_another_seed_or_dataset_is_not_this_one(tmp_path, small):
    root = write_dataset("mini_btad", tmp_path / "btad")
    digests = read_manifest(root)["files"]
    assert not is_complete("mini_btad", root, seed=1)
    assert not is_complete("mini_visa", root)
    other = read_manifest(write_dataset("mini_btad", root, seed=1))["files"]
    assert other.keys() == digests.keys()
    assert all(other[path] != digests[path] for path in digests if "ground_truth" not in path)


def test_a_changed_file_is_found_by_its_digest(tmp_path, small):
    root = write_dataset("mini_visa", tmp_path / "visa")
    victim = next(root.rglob("*.png"))
    content = bytearray(victim.read_bytes())
    content[-20] ^= 1
    victim.write_bytes(content)
    assert is_complete("mini_visa", root)
    assert changed_files(root) == [victim.relative_to(root).as_posix()]


def test_processes_at_once_end_with_one_whole_dataset(tmp_path, small):
    root = tmp_path / "mini_btad"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write_dataset("mini_btad", root), range(4)))
    assert is_complete("mini_btad", root)
    assert changed_files(root) == []
    assert list(tmp_path.iterdir()) == [root]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    root = tmp_path / "mini_mvtec"
    (root / "bottle").mkdir(parents=True)
    (root / "bottle" / "mine.txt").write_text("precious")
    with pytest.raises(RequestError, match="will not overwrite") as caught:
        write_dataset("mini_mvtec", root)
    assert str(root) in str(caught.value)
    assert files_of(tmp_path) == ["mini_mvtec/bottle/mine.txt"]
    with pytest.raises(RequestError, match=MANIFEST):
        changed_files(root)


def test_an_empty_folder_is_filled(tmp_path, small):
    assert is_complete("mini_btad", write_dataset("mini_btad", tmp_path))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written there") as caught:
        write_dataset("mini_mvtec", tmp_path / "file" / "mini_mvtec")
    assert "\n" not in str(caught.value)


def test_the_manifest_says_that_the_images_are_synthetic(roots):
    for dataset, root in roots.items():
        manifest = json.loads((root / MANIFEST).read_text())
        assert "SYNTHETIC" in manifest["what"]
        assert (manifest["dataset"], manifest["version"], manifest["seed"]) == (dataset, MINI_VERSION, 0)


def test_the_counts_are_to_be_had_without_numpy(project):
    check = "import sys; from harness.data.mini.counts import COUNTS; assert COUNTS; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], cwd=project, check=True)


def test_a_drawing_of_another_dataset_is_not_overwritten(tmp_path, small):
    root = write_dataset("mini_btad", tmp_path / "drawn")
    before = files_of(root)
    with pytest.raises(RequestError, match="holds the drawn mini_btad, which mini_visa will not overwrite"):
        write_dataset("mini_visa", root)
    assert files_of(root) == before
    assert is_complete("mini_btad", root)


def test_what_somebody_put_into_an_incomplete_drawing_is_not_lost(tmp_path, small):
    root = write_dataset("mini_visa", tmp_path / "drawn")
    (root / "mine").mkdir()
    (root / "mine" / "x.txt").write_text("precious")
    assert write_dataset("mini_visa", root) == root  # it is complete, and nothing is drawn
    next(root.rglob("*.JPG")).unlink()
    with pytest.raises(RequestError, match=r"incomplete drawing of mini_visa, and mine/x\.txt in it is no part"):
        write_dataset("mini_visa", root)
    assert (root / "mine" / "x.txt").read_text() == "precious"
    (root / "mine" / "x.txt").unlink()
    write_dataset("mini_visa", root)
    assert is_complete("mini_visa", root)
