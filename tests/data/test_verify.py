"""What differs between a dataset on the disk and the official one, found and said in one line per category."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from PIL import Image

from harness.data.catalog import BTAD, CATALOG, MVTEC, VISA, Archive, Counts, DatasetInfo
from harness.data.listing import find_dataset, rows, state, verdict
from harness.data.verify import check_category, check_dataset
from harness.errors import RequestError
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category

SIZE = 16


def tiny(layout: str, categories: dict[str, Counts], folder: str = "") -> DatasetInfo:
    """A dataset of that layout that is not in the catalog, with these counts for official ones."""
    return replace(
        CATALOG[layout],
        name=f"tiny_{layout}",
        archive=Archive("http://127.0.0.1/x", "0" * 64, folder),
        categories=categories,
    )


@pytest.fixture
def mvtec(tmp_path):
    root = tmp_path / "mvtec"
    draw_mvtec_category(root / "bottle", n_train=3, n_good=2, n_bad=4, size=SIZE)
    draw_mvtec_category(root / "cable", n_train=2, n_good=1, n_bad=2, size=SIZE)
    return tiny("mvtec", {"bottle": Counts(3, 2, 4), "cable": Counts(2, 1, 2)}), root


def only(info, root, category="bottle", **options) -> str:
    """The one problem of a category."""
    check = check_category(info, root, category, **options)
    (problem,) = check.problems
    assert "\n" not in problem
    return problem


def test_all_as_it_must_be(mvtec):
    info, root = mvtec
    checks = list(check_dataset(info, root, decode=True))
    assert [check.category for check in checks] == ["bottle", "cable"]
    assert all(check.problems == () for check in checks)
    assert (checks[0].found, checks[0].n_masks) == (Counts(3, 2, 4), 4)
    assert verdict(info, checks[1]).endswith("cable   ok  2 train, 1 normal and 2 defective test images, 2 masks")


def test_the_other_layouts(tmp_path):
    draw_visa_category(tmp_path / "visa", "candle", n_train=4, n_good=2, n_bad=3, size=SIZE)
    visa = tiny("visa", {"candle": Counts(4, 2, 3)})
    assert check_category(visa, tmp_path / "visa", "candle", decode=True).problems == ()
    draw_btad_category(tmp_path / "btad/01", n_train=4, n_good=2, n_bad=3, size=SIZE)
    btad = tiny("btad", {"01": Counts(4, 2, 3)})
    assert check_category(btad, tmp_path / "btad", "01", decode=True).problems == ()


def test_a_dataset_in_its_archives_own_folder_is_found(tmp_path):
    draw_btad_category(tmp_path / "btad/BTech_Dataset_transformed/01", n_train=4, n_good=2, n_bad=3, size=SIZE)
    check = check_category(BTAD, tmp_path / "btad", "01")
    assert check.found == Counts(4, 2, 3)
    assert check.problems == (
        "4 training images, officially 400",
        "2 normal test images, officially 21",
        "3 defective test images, officially 49",
    )


def test_a_missing_image(mvtec):
    info, root = mvtec
    (root / "bottle/train/good/001.png").unlink()
    assert only(info, root) == "2 training images, officially 3"
    (root / "bottle/train/good/001.png").symlink_to(root / "cable/train/good/001.png")
    (root / "bottle/test/good/000.png").unlink()
    assert only(info, root) == "1 normal test images, officially 2"


def test_a_missing_mask(mvtec):
    info, root = mvtec
    (root / "bottle/ground_truth/blot/002_mask.png").unlink()
    assert "bottle/test/blot/002.png: defective, but has no mask" in only(info, root)


def test_no_masks_at_all(mvtec):
    info, root = mvtec
    shutil.rmtree(root / "bottle/ground_truth")
    assert only(info, root) == "no ground-truth masks"


def test_a_mask_of_another_size(mvtec):
    info, root = mvtec
    Image.new("L", (9, 9)).save(root / "bottle/ground_truth/blot/002_mask.png")
    assert "a mask of 9x9 pixels" in only(info, root)


def test_a_missing_category(mvtec):
    info, root = mvtec
    shutil.rmtree(root / "cable")
    check = check_category(info, root, "cable")
    assert check.missing
    assert verdict(info, check) == "tiny_mvtec/cable   missing: there is no folder cable"


def test_only_decoding_finds_broken_pixels(mvtec):
    info, root = mvtec
    for name in ("train/good/000.png", "test/good/001.png", "ground_truth/blot/000_mask.png"):
        path = root / "bottle" / name
        path.write_bytes(path.read_bytes()[:60])
    assert check_category(info, root, "bottle").problems == ()
    problem = only(info, root, decode=True)
    assert "bottle/train/good/000.png: cannot be decoded" in problem
    assert "(and 2 more like it)" in problem


def test_a_lost_split_file(tmp_path):
    draw_visa_category(tmp_path, "candle", n_train=4, n_good=2, n_bad=3, size=SIZE)
    (tmp_path / "split_csv/1cls.csv").unlink()
    assert "split_csv/1cls.csv" in only(tiny("visa", {"candle": Counts(4, 2, 3)}), tmp_path, "candle")


def test_an_image_that_the_split_file_names_and_that_is_not_there(tmp_path):
    draw_visa_category(tmp_path, "candle", n_train=4, n_good=2, n_bad=3, size=SIZE)
    info = tiny("visa", {"candle": Counts(4, 2, 3)})
    (tmp_path / "candle/Data/Images/Normal/0005.JPG").unlink()
    assert only(info, tmp_path, "candle").startswith("candle/Data/Images/Normal/0005.JPG: cannot be read (No such file")
    (tmp_path / "candle/Data/Masks/Anomaly/000.png").unlink()
    assert "Masks/Anomaly/000.png" in only(info, tmp_path, "candle")


def test_wrong_requests(mvtec, tmp_path):
    info, root = mvtec
    with pytest.raises(RequestError, match=r"category=botle: not a category of MVTec AD.*bottle, cable"):
        check_dataset(info, root, ["bottle", "botle"])
    with pytest.raises(RequestError, match="no such folder"):
        check_dataset(info, tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="dataset mvtek: unknown; there are mvtec, visa, btad"):
        find_dataset("mvtek")


def test_one_category_may_be_asked_for(mvtec):
    info, root = mvtec
    shutil.rmtree(root / "cable")
    assert [check.category for check in check_dataset(info, root, ["bottle"])] == ["bottle"]


def test_the_table_has_a_line_for_each_dataset_and_each_category():
    lines = list(rows((MVTEC, VISA, BTAD)))
    assert [line.dataset for line in lines if line.dataset] == ["mvtec", "visa", "btad"]
    assert len(lines) == 3 + 15 + 12 + 3
    assert lines[0].counts == Counts(3629, 467, 1258)  # the paper's own totals
    assert [(line.licence, line.archive) for line in lines if line.dataset] == [
        ("CC BY-NC-SA 4.0", "5.3 GB"),
        ("CC BY 4.0", "1.9 GB"),
        ("CC BY-SA 4.0", "1.2 GB"),
    ]


def test_the_table_says_what_is_there(mvtec):
    info, root = mvtec
    info = replace(info, name="mvtec_tiny", archive=None)
    root.rename(root.parent / "mvtec_tiny")
    lines = list(rows([info], root.parent))
    assert [(line.category, line.there) for line in lines] == [("", "ok"), ("bottle", "ok"), ("cable", "ok")]
    assert lines[0].archive == "drawn by the harness"
    shutil.rmtree(root.parent / "mvtec_tiny/cable")
    (root.parent / "mvtec_tiny/bottle/train/good/000.png").unlink()
    lines = list(rows([info], root.parent))
    assert [line.there for line in lines] == ["0 of 2 categories", "2 training images, officially 3", "missing"]
    assert state(check_category(info, root.parent / "nowhere", "bottle")) == "missing"


@pytest.mark.real
def test_the_real_bottle(real_mvtec):
    assert check_category(MVTEC, real_mvtec, "bottle").problems == ()
