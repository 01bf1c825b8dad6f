"""The mini benchmark: official layouts, masks that are true, the same bytes each time, whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from PIL import Image

from harness.data.mini import write
from harness.data.mini.counts import COUNTS, DEFECTS, MINI_VERSION, defect_classes, plan_category
from harness.data.mini.draw import SUBJECTS, draw_plan
from harness.data.mini.write import MANIFEST, is_complete, write_dataset
from harness.errors import RequestError

CATEGORIES = [(dataset, category) for dataset in COUNTS for category in COUNTS[dataset]]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The whole mini benchmark, drawn once; tests only read it."""
    folder = tmp_path_factory.mktemp("mini")
    return {dataset: write_dataset(dataset, folder / dataset) for dataset in COUNTS}


@pytest.fixture
def small(monkeypatch):
    """Every category with its last two images only, for tests that write a dataset several times."""
    monkeypatch.setattr(write, "plan_category", lambda dataset, category: plan_category(dataset, category)[-2:])


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decoded(path):
    with Image.open(path) as image:
        return np.array(image)


def test_nine_categories_named_after_the_papers():
    assert {dataset: list(categories) for dataset, categories in COUNTS.items()} == {
        "mini_mvtec": ["bottle", "cable", "hazelnut"],
        "mini_visa": ["candle", "pcb1", "cashew"],
        "mini_btad": ["01", "02", "03"],
    }


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_plans_hold_the_counts(dataset, category):
    plans = plan_category(dataset, category)
    kinds = Counter((plan.part, bool(plan.mask_path)) for plan in plans)
    assert (kinds["train", False], kinds["test", False], kinds["test", True]) == COUNTS[dataset][category]
    assert ("train", True) not in kinds
    assert Counter(plan.defect for plan in plans if plan.mask_path) == DEFECTS[dataset][category]
    paths = [path for plan in plans for path in (plan.path, plan.mask_path) if path]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_masks_coincide_with_what_was_changed(dataset, category):
    for plan in plan_category(dataset, category):
        if not plan.mask_path:
            continue
        drawn, whole = draw_plan(plan, 0), draw_plan(plan, 0, whole=True)
        difference = np.abs(drawn.image.astype(int) - whole.image).max(axis=-1)
        inside = drawn.mask > 0
        assert not difference[~inside].any(), plan.path
        assert (difference[inside] > 0).mean() > 0.8, plan.path
        assert difference[inside].mean() > 5, plan.path  # twice the sensor's noise
        assert inside.sum() >= 10, plan.path
        margin = [round(side / 16) for side in inside.shape]  # the paper's crop keeps 224 of 256 pixels
        cropped = inside[margin[0] : -margin[0], margin[1] : -margin[1]]
        assert cropped.sum() > 0.9 * inside.sum(), plan.path


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_images_are_well_exposed_and_vary(dataset, category):
    images = [draw_plan(plan, 0).image for plan in plan_category(dataset, category)[:4]]
    for image in images:
        assert image.dtype == np.uint8
        assert image.shape == (*SUBJECTS[category].size, 3)
        assert image.std() > 15
        assert ((image > 0) & (image < 255)).mean() > 0.9
    for other in images[1:]:
        assert np.abs(images[0].astype(int) - other).mean() > 3


def test_an_image_depends_on_its_plan_and_seed_alone():
    plans = plan_category("mini_btad", "02")[-2:]
    first, again, other = (draw_plan(plans[0], seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.image != other.image).any()
    assert (first.image != draw_plan(plans[1], 0).image).any()


def test_two_defects_in_one_image_both_show():
    classes = defect_classes("pcb1")
    plans = [plan for plan in plan_category("mini_visa", "pcb1") if len(plan.defects) == 2]
    assert plans
    for plan in plans:
        shown = set(np.unique(draw_plan(plan, 0).mask)) - {0}
        assert shown == {classes[defect] for defect in plan.defects}


@pytest.mark.parametrize("dataset", list(COUNTS))
def test_another_process_writes_the_same_bytes(tmp_path, small, dataset, project):
    code = (
        "import sys; from pathlib import Path; from harness.data.mini import write\n"
        "plans = write.plan_category; write.plan_category = lambda *names: plans(*names)[-2:]\n"
        "write.write_dataset(sys.argv[1], Path(sys.argv[2]))"
    )
    other = {**os.environ, "PYTHONHASHSEED": "4711", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, dataset, str(tmp_path / "b")], cwd=project, env=other, check=True)
    assert digests(write_dataset(dataset, tmp_path / "a")) == digests(tmp_path / "b")


def test_mvtec_layout(roots):
    for category, (n_train, n_normal, _) in COUNTS["mini_mvtec"].items():
        folder = roots["mini_mvtec"] / category
        assert len(list((folder / "train/good").glob("*.png"))) == n_train
        assert len(list((folder / "test/good").glob("*.png"))) == n_normal
        assert not (folder / "ground_truth/good").exists()
        for defect, count in DEFECTS["mini_mvtec"][category].items():
            images = sorted(path.stem for path in (folder / "test" / defect).iterdir())
            masks = sorted(path.name for path in (folder / "ground_truth" / defect).iterdir())
            assert images == [f"{i:03d}" for i in range(count)]
            assert masks == [f"{stem}_mask.png" for stem in images]
            assert set(np.unique(decoded(folder / "ground_truth" / defect / masks[0]))) == {0, 255}


def test_visa_layout(roots):
    root = roots["mini_visa"]
    with (root / "split_csv/1cls.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["object", "split", "label", "image", "mask"]
    for category, (n_train, n_normal, n_anomalous) in COUNTS["mini_visa"].items():
        own = Counter((row["split"], row["label"]) for row in rows if row["object"] == category)
        assert own == {("train", "normal"): n_train, ("test", "normal"): n_normal, ("test", "anomaly"): n_anomalous}
        normal = sorted(path.name for path in (root / category / "Data/Images/Normal").iterdir())
        assert normal == [f"{i:04d}.JPG" for i in range(n_train + n_normal)]
        with (root / category / "image_anno.csv").open(newline="") as file:
            labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
        assert set(labels.values()) == {"normal", *DEFECTS["mini_visa"][category]}
        assert set(labels) == {row["image"] for row in rows if row["object"] == category}
    for row in rows:
        with Image.open(root / row["image"]) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
        assert bool(row["mask"]) == (row["label"] == "anomaly")
        if row["mask"]:
            with Image.open(root / row["mask"]) as mask:
                assert (mask.format, mask.mode, mask.size) == ("PNG", "L", image.size)
                assert 0 < np.asarray(mask).max() <= len(defect_classes(row["object"]))  # class ids, as in VisA


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
        mask = decoded(folder / f"ground_truth/ko/0000{mask_suffix}")
        assert mask.shape == decoded(folder / f"test/ko/0000{image_suffix}").shape[:2]
        assert set(np.unique(mask)) == {0, 255}
    height, width = SUBJECTS["03"].size
    assert width * 600 == height * 800  # as in BTAD, not square


def test_the_manifest_says_that_the_images_are_synthetic(roots):
    for dataset, root in roots.items():
        manifest = json.loads((root / MANIFEST).read_text())
        assert "SYNTHETIC" in manifest["what"]
        assert (manifest["dataset"], manifest["version"], manifest["seed"]) == (dataset, MINI_VERSION, 0)
        assert {*manifest["files"], MANIFEST} == digests(root).keys()


def test_a_complete_dataset_is_left_alone(roots, monkeypatch):
    monkeypatch.setattr(write, "draw_plan", lambda *_: pytest.fail("drawn again"))
    for dataset, root in roots.items():
        assert write_dataset(dataset, root) == root


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch, stop):
    drawn = []

    def draw_three(plan, seed):
        if len(drawn) == 3:
            raise stop
        drawn.append(plan)
        return draw_plan(plan, seed)

    monkeypatch.setattr(write, "draw_plan", draw_three)
    with pytest.raises(RequestError if isinstance(stop, OSError) else stop):
        write_dataset("mini_visa", tmp_path / "data" / "mini_visa")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_killed_drawing_does_not_count_and_is_removed_later(tmp_path, small, project):
    root = tmp_path / "mini [btad]"
    kill = (
        "import os, sys; from pathlib import Path; from harness.data.mini import write\n"
        "write._write_manifest = lambda *_: os._exit(9)\n"
        "plans = write.plan_category; write.plan_category = lambda *names: plans(*names)[:1]\n"
        "write.write_dataset('mini_btad', Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", kill, str(root)], cwd=project, check=False).returncode == 9
    assert not root.exists()
    assert len(list(tmp_path.iterdir())) == 1
    write_dataset("mini_btad", root)
    assert list(tmp_path.iterdir()) == [root]


def test_processes_at_once_end_with_one_whole_dataset(tmp_path):
    root = tmp_path / "mini_btad"
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(write_dataset, ["mini_btad"] * 2, [root] * 2)) == [root] * 2
    assert is_complete("mini_btad", root)
    assert list(tmp_path.iterdir()) == [root]


def test_nothing_that_is_there_is_overwritten(tmp_path, small):
    mine = tmp_path / "mine"
    (mine / "bottle").mkdir(parents=True)
    (mine / "bottle" / "mine.txt").write_text("precious")
    drawn = write_dataset("mini_btad", tmp_path / "drawn")
    damaged = shutil.copytree(drawn, tmp_path / "damaged")
    next(damaged.rglob("*.png")).unlink()
    cut = shutil.copytree(drawn, tmp_path / "cut")
    next(cut.rglob("*.bmp")).write_bytes(b"")
    older = shutil.copytree(drawn, tmp_path / "older")
    (older / MANIFEST).write_text((drawn / MANIFEST).read_text().replace(f'"version": {MINI_VERSION}', '"version": 0'))
    before = digests(tmp_path)
    for dataset, root, seed in (
        ("mini_mvtec", mine, 0), ("mini_visa", drawn, 0), ("mini_btad", drawn, 1), ("mini_btad", damaged, 0),
        ("mini_btad", cut, 0), ("mini_btad", older, 0), ("mini_btad", mine / "bottle" / "mine.txt", 0),
    ):  # fmt: skip
        with pytest.raises(RequestError, match="not overwritten") as caught:
            write_dataset(dataset, root, seed)
        assert str(root) in str(caught.value)
    assert digests(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path, small):
    assert is_complete("mini_btad", write_dataset("mini_btad", tmp_path))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written there") as caught:
        write_dataset("mini_mvtec", tmp_path / "file" / "mini_mvtec")
    assert "\n" not in str(caught.value)


def test_the_counts_are_to_be_had_without_numpy(project):
    check = "import sys; from harness.data.mini.counts import COUNTS; assert COUNTS; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], cwd=project, check=True)
