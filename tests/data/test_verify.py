"""What is official, and what differs from it on the disk, said in one line per category."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import import_module

import pytest
from PIL import Image

from harness.data.catalog import CATALOG, Archive, Counts, DatasetInfo
from harness.data.verify import check_category, check_dataset, find_dataset, state, table, verdict
from harness.errors import RequestError
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category

SIZE = 16


def tiny(layout: str, categories: dict[str, Counts]) -> DatasetInfo:
    """A dataset of that layout that is not in the catalog, with these counts for official ones."""
    return replace(
        CATALOG[layout], name=f"tiny_{layout}", archive=Archive("http://127.0.0.1/x", ""), categories=categories
    )


@pytest.fixture
def mvtec(tmp_path):
    root = tmp_path / "mvtec"
    draw_mvtec_category(root / "bottle", n_train=3, n_good=2, n_bad=4, size=SIZE)
    draw_mvtec_category(root / "cable", n_train=2, n_good=1, n_bad=2, size=SIZE)
    return tiny("mvtec", {"bottle": Counts(3, 2, 4), "cable": Counts(2, 1, 2)}), root


@pytest.fixture
def visa(tmp_path):
    draw_visa_category(tmp_path / "visa", "candle", n_train=4, n_good=2, n_bad=3, size=SIZE)
    return tiny("visa", {"candle": Counts(4, 2, 3)}), tmp_path / "visa"


def only(info, root, category="bottle", **options) -> str:
    """The one problem of a category."""
    (problem,) = check_category(info, root, category, **options).problems
    assert "\n" not in problem
    return problem


@pytest.mark.parametrize(
    ("name", "module", "dataset", "sums"),  # the sums are what the datasets' papers state
    [
        ("mvtec", "mvtecad", "mvtecad", (15, 3629, 467, 1258)),
        ("visa", "visa", "visa", (12, 9621 - 962, 962, 1200)),
        ("btad", "btech", "btech", (3, 1799, 2540 - 1799 - 290, 290)),
    ],
)
def test_archives_and_categories_are_anomalibs_and_counts_those_of_the_papers(name, module, dataset, sums):
    info = CATALOG[name]
    download = import_module(f"anomalib.data.datamodules.image.{module}").DOWNLOAD_INFO
    assert (info.archive.url, info.archive.sha256) == (download.url, download.hashsum)
    assert tuple(info.categories) == tuple(import_module(f"anomalib.data.datasets.image.{dataset}").CATEGORIES)
    assert (len(info.categories), *map(sum, zip(*info.categories.values(), strict=True))) == sums


def test_visas_training_share_is_nine_tenths_of_each_categorys_normal_images():
    for counts in CATALOG["visa"].categories.values():
        assert counts.train == round(0.9 * (counts.train + counts.test_normal))


def test_all_as_it_must_be(mvtec, visa, tmp_path):
    info, root = mvtec
    checks = list(check_dataset(info, root, decode=True))
    assert [(check.category, check.problems, check.n_masks) for check in checks] == [
        ("bottle", (), 4),
        ("cable", (), 2),
    ]
    assert verdict(info, checks[1]).endswith("cable   ok  2 train, 1 normal and 2 defective test images, 2 masks")
    assert check_category(*visa, "candle", decode=True).problems == ()
    draw_btad_category(tmp_path / "btad/01", n_train=4, n_good=2, n_bad=3, size=SIZE)
    assert check_category(tiny("btad", {"01": Counts(4, 2, 3)}), tmp_path / "btad", "01", decode=True).problems == ()


def test_a_dataset_in_its_archives_own_folder_is_found(tmp_path):
    draw_btad_category(tmp_path / "btad/BTech_Dataset_transformed/01", n_train=4, n_good=2, n_bad=3, size=SIZE)
    assert check_category(CATALOG["btad"], tmp_path / "btad", "01").problems == (
        "4 training images, officially 400",
        "2 normal test images, officially 21",
        "3 defective test images, officially 49",
    )


def test_what_is_missing_or_wrong_is_named(mvtec):
    info, root = mvtec
    image, mask = root / "bottle/train/good/001.png", root / "bottle/ground_truth/blot/002_mask.png"
    content = image.read_bytes()
    image.unlink()
    assert only(info, root) == "2 training images, officially 3"
    image.write_bytes(content)
    Image.new("L", (9, 9)).save(mask)
    assert "a mask of 9x9 pixels" in only(info, root)
    mask.unlink()
    assert "bottle/test/blot/002.png: defective, but has no mask" in only(info, root)
    shutil.rmtree(root / "bottle/ground_truth")
    assert only(info, root) == "no ground-truth masks"
    shutil.rmtree(root / "cable")
    check = check_category(info, root, "cable")
    assert check.missing
    assert verdict(info, check) == "tiny_mvtec/cable   missing: there is no folder cable"
    assert [check.category for check in check_dataset(info, root, ["bottle"])] == ["bottle"]


def test_only_decoding_finds_broken_pixels(mvtec):
    info, root = mvtec
    for name in ("train/good/000.png", "test/good/001.png", "ground_truth/blot/000_mask.png"):
        path = root / "bottle" / name
        path.write_bytes(path.read_bytes()[:60])
    assert check_category(info, root, "bottle").problems == ()
    problem = only(info, root, decode=True)
    assert "bottle/train/good/000.png: cannot be decoded" in problem
    assert "(and 2 more like it)" in problem


def test_files_that_visas_split_names_and_that_are_not_there(visa):
    info, root = visa
    (root / "candle/Data/Images/Normal/0005.JPG").unlink()
    assert only(info, root, "candle").startswith("candle/Data/Images/Normal/0005.JPG: cannot be read (No such file")
    (root / "candle/Data/Masks/Anomaly/000.png").unlink()
    assert "Masks/Anomaly/000.png" in only(info, root, "candle")
    (root / "split_csv/1cls.csv").unlink()
    assert "split_csv/1cls.csv" in only(info, root, "candle")


def test_wrong_requests(mvtec, tmp_path):
    info, root = mvtec
    with pytest.raises(RequestError, match=r"category=botle: not a category of MVTec AD.*bottle, cable"):
        check_dataset(info, root, ["bottle", "botle"])
    with pytest.raises(RequestError, match="no such folder"):
        check_dataset(info, tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="dataset mvtek: unknown; there are btad, mvtec, visa"):
        find_dataset("mvtek")


def test_the_table_says_what_is_there(mvtec):
    info, root = mvtec
    info = replace(info, name="mvtec_tiny", archive=None)
    root.rename(root.parent / "mvtec_tiny")
    lines = table([info], root.parent)[1]
    assert [(line[1], line[-1]) for line in lines] == [("", "ok"), ("bottle", "ok"), ("cable", "ok")]
    assert "drawn by the harness" in lines[0]
    shutil.rmtree(root.parent / "mvtec_tiny/cable")
    (root.parent / "mvtec_tiny/bottle/train/good/000.png").unlink()
    lines = table([info], root.parent)[1]
    assert [line[-1] for line in lines] == ["0 of 2 categories", "2 training images, officially 3", "missing"]
    assert state(check_category(info, root.parent / "nowhere", "bottle")) == "missing"


@pytest.mark.real
def test_the_real_bottle(real_mvtec):
    check = check_category(CATALOG["mvtec"], real_mvtec, "bottle")
    assert (check.problems, check.n_masks) == ((), 63)
