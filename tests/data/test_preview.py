"""`scripts/data.py check`: what it says is what a run records."""

import runpy
import shlex

import pytest
from PIL import Image

from harness.config.resolve import read_preprocessing
from harness.config.settings import preprocessing_in_words
from harness.data.layouts import resolve_split
from tests.data.small import request, save
from tests.drawing import draw_mvtec_category


@pytest.fixture
def check(project, capsys):
    main = runpy.run_path(str(project / "scripts/data.py"))["main"]

    def run(*arguments):
        status = main(["check", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return run


def test_it_counts_what_a_run_records(tmp_path, check):
    draw_mvtec_category(tmp_path / "my part", n_train=6, n_good=3, n_bad=4, size=48)
    (tmp_path / "my part/readme.txt").write_text("x")
    status, out, err = check(tmp_path / "my part")
    preprocessing = read_preprocessing("paper", dataset="folder")
    split = resolve_split(request(tmp_path, "folder", name="folder"), "my part", preprocessing)
    assert (status, err) == (0, [])
    assert out == [
        str(tmp_path / "my part"),
        f"├── training: {len(split.train)} good images",
        f"├── test: {split.n_test_normal} good images",
        f"└── test: {split.n_test_anomalous} defective images, 'blot', 4 masks",
        "sizes: 13 48x48",
        "formats: 13 .png",
        *(f"note: {note}" for note in split.notes),
        out[-1],
    ]
    assert shlex.split(out[-1].removeprefix("run it: ")) == [
        *(".venv/bin/python", "-m", "harness", "dataset=folder", f"dataset.root={tmp_path}", "category='my part'")
    ]
    assert split.notes == ("whole image, resized to 256x256", "1 other files are not read: my part/readme.txt")


def test_a_folder_of_categories_and_one_that_is_refused(tmp_path, check):
    draw_mvtec_category(tmp_path / "a", n_train=3, n_good=1, n_bad=1, size=48)
    draw_mvtec_category(tmp_path / "b", n_train=3, n_good=1, n_bad=1, size=48)
    draw_mvtec_category(tmp_path / "c", n_train=3, n_good=1, n_bad=1, size=48)
    save(tmp_path / "b/stray.png")
    path = tmp_path / "c/train/good/001.png"
    path.write_bytes(path.read_bytes()[:500])
    status, out, err = check(tmp_path)
    assert (status, out[0]) == (2, str(tmp_path / "a"))
    assert len(err) == 2
    assert err[0].startswith("error: b/stray.png: lies beside b/train and is not read")
    assert err[1].startswith("error: c/train/good/001.png: cannot be decoded")
    assert check(tmp_path / "missing")[0] == 2


def test_a_white_level_is_taken_and_stands_in_the_command(tmp_path, check):
    draw_mvtec_category(tmp_path / "a", n_train=3, n_good=1, n_bad=1, size=48)
    for path in (tmp_path / "a/train/good").iterdir():
        Image.open(path).convert("I;16").save(path)
    status, out, _ = check(tmp_path / "a", "--white-level", "200")
    assert status == 0
    assert any("scaled so that 200 becomes 255" in line for line in out)
    assert out[-1].endswith("category=a dataset.white_level=200")


def test_the_whole_image_is_used_with_every_protocol():
    for name in ("paper", "anomalib_v2"):
        preprocessing = read_preprocessing(name, dataset="folder")
        assert (
            preprocessing_in_words(preprocessing.resize, preprocessing.center_crop) == "whole image, resized to 256x256"
        )
    assert read_preprocessing("paper", dataset="mvtec").center_crop == (224, 224)
