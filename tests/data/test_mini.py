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
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from harness.config.settings import DatasetConfig
from harness.data.layouts import resolve_split
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


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_masks_coincide_with_what_was_changed(dataset, category, monkeypatch):
    for plan in [plan for plan in plan_category(dataset, category) if plan.mask_path and plan.number < 2]:
        image, mask = draw_plan(plan, 0)
        with monkeypatch.context() as patched:
            patched.setattr(SUBJECTS[category], "add_defect", lambda *_: None)
            whole, _ = draw_plan(plan, 0)
        assert (image.dtype, image.shape) == (np.uint8, (*SUBJECTS[category].size, 3))
        difference = np.abs(image.astype(int) - whole).max(axis=-1)
        inside = mask > 0
        assert not difference[~inside].any(), plan.path
        assert (difference[inside] > 0).mean() > 0.8, plan.path
        assert difference[inside].mean() > 5, plan.path  # twice the sensor's noise
        assert inside.sum() >= 10, plan.path
        margin = [round(side / 16) for side in inside.shape]  # the paper's crop keeps 224 of 256 pixels
        cropped = inside[margin[0] : -margin[0], margin[1] : -margin[1]]
        assert cropped.sum() > 0.9 * inside.sum(), plan.path


def test_two_defects_in_one_image_both_show():
    classes = defect_classes("pcb1")
    plans = [plan for plan in plan_category("mini_visa", "pcb1") if len(plan.defects) == 2]
    assert plans
    for plan in plans:
        shown = set(np.unique(draw_plan(plan, 0)[1])) - {0}
        assert shown == {classes[defect] for defect in plan.defects}


def test_another_process_writes_the_same_bytes(tmp_path, small, project):
    code = (
        "import sys; from pathlib import Path; from harness.data.mini import write\n"
        "plans = write.plan_category; write.plan_category = lambda *names: plans(*names)[-2:]\n"
        "for name in sys.argv[2:]: write.write_dataset(name, Path(sys.argv[1], name))"
    )
    other = {**os.environ, "PYTHONHASHSEED": "4711", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b"), *COUNTS], cwd=project, env=other, check=True)
    for name in COUNTS:
        write_dataset(name, tmp_path / "a" / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_the_official_layout_holds_what_was_planned(roots, dataset, category):
    layout = dataset.removeprefix("mini_")
    split = resolve_split(DatasetConfig(f"drawn_{layout}", layout, roots[dataset]), category)
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == COUNTS[dataset][category]
    assert split.has_masks
    plans = {plan.path: plan for plan in plan_category(dataset, category)}
    assert {sample.path: sample.mask for sample in (*split.train, *split.test)} == {
        path: plan.mask_path for path, plan in plans.items()
    }
    assert Counter(plan.defect for plan in plans.values() if plan.mask_path) == DEFECTS[dataset][category]
    for sample in split.test:
        if sample.mask:
            with Image.open(split.root / sample.path) as image, Image.open(split.root / sample.mask) as mask:
                assert (mask.mode, mask.size) == ("L", image.size)
                values = set(np.unique(np.asarray(mask)).tolist())
                classes = defect_classes(category).values() if layout == "visa" else (255,)
                assert values <= {0, *classes}  # class ids, as in VisA


def test_the_words_of_visas_tables(roots):
    with (roots["mini_visa"] / "split_csv/1cls.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["object", "split", "label", "image", "mask"]
    for category in COUNTS["mini_visa"]:
        with (roots["mini_visa"] / category / "image_anno.csv").open(newline="") as file:
            labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
        assert set(labels.values()) == {"normal", *DEFECTS["mini_visa"][category]}
        assert set(labels) == {row["image"] for row in rows if row["object"] == category}


def test_the_manifest_says_that_the_images_are_synthetic_and_a_complete_dataset_is_left_alone(roots, monkeypatch):
    monkeypatch.setattr(write, "draw_plan", lambda *_: pytest.fail("drawn again"))
    for dataset, root in roots.items():
        manifest = json.loads((root / MANIFEST).read_text())
        assert "SYNTHETIC" in manifest["what"]
        assert {*manifest["files"], MANIFEST} == digests(root).keys()
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


def test_a_killed_drawing_does_not_count(tmp_path, small, project):
    root = tmp_path / "mini_btad"
    kill = (
        "import os, sys; from pathlib import Path; from harness.data.mini import write\n"
        "write.json.dumps = lambda *_, **__: os._exit(9)\n"  # before the manifest is written
        "plans = write.plan_category; write.plan_category = lambda *names: plans(*names)[:1]\n"
        "write.write_dataset('mini_btad', Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", kill, str(root)], cwd=project, check=False).returncode == 9
    assert not root.exists()
    assert is_complete("mini_btad", write_dataset("mini_btad", root))


def test_several_at_once_end_with_one_whole_dataset(tmp_path, small):
    root = tmp_path / "mini_btad"
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(write_dataset, ["mini_btad"] * 3, [root] * 3)) == [root] * 3
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


def test_a_folder_that_cannot_be_made_is_one_line_and_an_empty_one_is_filled(tmp_path, small):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written there") as caught:
        write_dataset("mini_mvtec", tmp_path / "file" / "mini_mvtec")
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    assert is_complete("mini_btad", write_dataset("mini_btad", tmp_path / "empty"))
