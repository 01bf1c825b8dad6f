"""The three official layouts, against anomalib's own reading where it has one."""

import shutil
from pathlib import Path

import pytest

from harness.data.layouts import resolve_split
from harness.data.split import ANOMALOUS, NORMAL
from harness.errors import DataError
from tests.data.small import request, save
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category


def agrees_with_anomalib(split, folder) -> bool:
    from anomalib.data.datasets.image.mvtecad import make_mvtec_ad_dataset

    for part, samples in (("train", split.train), ("test", split.test)):
        theirs = [
            (row.image_path, row.label_index, row.label, row.mask_path if isinstance(row.mask_path, str) else None)
            for row in make_mvtec_ad_dataset(folder, split=part).itertuples()
        ]
        paths = [(str(split.root / s.path), str(split.root / s.mask) if s.mask else None) for s in samples]
        ours = [(path, s.label, s.defect, mask) for s, (path, mask) in zip(samples, paths, strict=True)]
        if ours != theirs:
            return False
    return True


def test_mvtec_is_what_anomalib_makes_of_a_well_formed_folder(tmp_path):
    draw_mvtec_category(tmp_path / "bottle", size=16)
    for defect in ("a_cut", "zz"):
        shutil.copytree(tmp_path / "bottle/test/blot", tmp_path / f"bottle/test/{defect}")
        shutil.copytree(tmp_path / "bottle/ground_truth/blot", tmp_path / f"bottle/ground_truth/{defect}")
    (tmp_path / "bottle/readme.txt").write_text("text")
    save(tmp_path / "bottle/ground_truth/good/000_mask.png", size=(16, 16), value=0, mode="L")
    split = resolve_split(request(tmp_path), "bottle")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == (12, 4, 18)
    assert split.train[0].path == "bottle/train/good/000.png"
    assert split.test[0].mask == "bottle/ground_truth/a_cut/000_mask.png"
    assert [s.mask for s in split.test if s.label == NORMAL] == [None] * 4
    shutil.rmtree(tmp_path / "bottle/ground_truth/good")  # anomalib pairs by position
    split = resolve_split(request(tmp_path), "bottle")
    assert agrees_with_anomalib(split, tmp_path / "bottle")
    assert split.has_masks
    assert split.notes == ()


@pytest.mark.real
def test_the_real_bottle_is_what_anomalib_makes_of_it(real_mvtec):
    split = resolve_split(request(real_mvtec, name="mvtec"), "bottle")
    assert agrees_with_anomalib(split, real_mvtec / "bottle")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == (209, 20, 63)
    assert split.notes == ()


def test_mvtec_masks_go_by_name_where_anomalib_goes_by_position(tmp_path):
    for stem in ("1", "10"):
        save(tmp_path / f"c/test/cut/{stem}.png")
        save(tmp_path / f"c/ground_truth/cut/{stem}_mask.png", mode="L")
    save(tmp_path / "c/train/good/0.png")
    split = resolve_split(request(tmp_path), "c")
    assert [(s.path[-6:], s.mask[-11:]) for s in split.test] == [("/1.png", "/1_mask.png"), ("10.png", "10_mask.png")]


def test_visa_reads_its_csv_in_place(tmp_path):
    draw_visa_category(tmp_path, "candle", size=16)
    draw_visa_category(tmp_path, "pcb1", size=16, n_train=2, n_good=1, n_bad=1)
    before = sorted(tmp_path.rglob("*"))
    split = resolve_split(request(tmp_path, "visa"), "candle")
    assert sorted(tmp_path.rglob("*")) == before, "something was copied or made"
    assert [s.path for s in split.train] == [f"candle/Data/Images/Normal/{i:04d}.JPG" for i in range(3, 9)]
    assert [(s.path[-11:-4], s.label, s.defect, s.mask) for s in split.test] == [
        *((f"aly/{i:03d}", ANOMALOUS, "anomaly", f"candle/Data/Masks/Anomaly/{i:03d}.png") for i in range(4)),
        *((f"al/{i:04d}", NORMAL, "good", None) for i in range(3)),
    ]
    assert split.has_masks
    assert len(resolve_split(request(tmp_path, "visa"), "pcb1").train) == 2
    table = tmp_path / "split_csv/1cls.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))  # as a spreadsheet saves it
    assert resolve_split(request(tmp_path, "visa"), "candle") == split


def test_visa_agrees_with_the_split_that_anomalib_copies(tmp_path):
    """By content: anomalib's split of the same root copies and renames, so paths cannot be compared."""
    from anomalib.data.datamodules.image.visa import Visa
    from anomalib.data.datasets.image.mvtecad import make_mvtec_ad_dataset

    draw_visa_category(tmp_path, "candle", size=16)
    Visa(root=tmp_path, category="candle").apply_cls1_split()
    table = make_mvtec_ad_dataset(tmp_path / "visa_pytorch/candle", extensions=(".JPG", ".png"))
    theirs = {
        part: sorted((row.label_index, Path(row.image_path).read_bytes()) for row in rows.itertuples())
        for part, rows in table.groupby("split")
    }
    split = resolve_split(request(tmp_path, "visa"), "candle")
    for part, samples in (("train", split.train), ("test", split.test)):
        assert sorted((s.label, (split.root / s.path).read_bytes()) for s in samples) == theirs[part]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"object,split,label", b"class,split,label", "its header is not object,split,label,image,mask"),
        (b"candle,train,normal", b"candle,training,normal", r"line \d+: split 'training' or label 'normal' is unknown"),
        (b"candle,train,normal", b"candle,train,anomaly", "defective and in the training split"),
        (b"candle/Data/Images/Normal/0003.JPG", b"../0003.JPG", "does not lie inside the dataset"),
        (b"candle/Data/Images/Normal/0003.JPG", b"/etc/0003.JPG", "does not lie inside the dataset"),
        (b"candle/Data/Images/Normal/0003.JPG", b"", "does not lie inside the dataset"),
        (b"candle/Data/Images/Normal/0003.JPG", b"candle/Data/Images/Normal/0004.JPG", "appears twice"),
        (b"candle/Data/Masks/Anomaly/001.png", b"", r"candle/Data/Images/Anomaly/001\.JPG: defective, but has no mask"),
        (b"candle/Data/Masks/Anomaly/001.png", b"candle/gone.png", r"^candle/gone\.png: no such file"),
        (b"candle", b"\xff\xfe\x00", r"split_csv/1cls\.csv: is not a csv file"),
    ],
)
def test_a_damaged_visa_csv_is_named(tmp_path, old, new, message):
    draw_visa_category(tmp_path, "candle", size=16)
    table = tmp_path / "split_csv/1cls.csv"
    content = table.read_bytes()
    assert old in content
    table.write_bytes(content.replace(old, new))
    with pytest.raises(DataError, match=message):
        resolve_split(request(tmp_path, "visa"), "candle")


@pytest.mark.parametrize(("image", "mask"), [(".bmp", ".png"), (".png", ".png"), (".bmp", ".bmp")])
def test_btad_with_any_mix_of_bmp_and_png_inside_the_folder_of_its_archive(tmp_path, image, mask):
    wrapped = tmp_path / "BTech_Dataset_transformed"
    draw_btad_category(wrapped / "03", image_suffix=image, mask_suffix=mask, size=16)
    split = resolve_split(request(tmp_path, "btad", name="btad"), "03")
    assert split.root == wrapped
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == (6, 3, 4)
    assert [(s.path, s.defect, s.mask) for s in (split.test[0], split.test[-1])] == [
        (f"03/test/ko/0000{image}", "ko", f"03/ground_truth/ko/0000{mask}"),
        (f"03/test/ok/0002{image}", "good", None),
    ]


@pytest.mark.parametrize(
    ("stray", "message"),
    [
        ("c/test/stray.png", r"^c/test/stray\.png: lies beside the folders of c/test"),
        ("c/train/bad/0.png", r"^c/train/bad/0\.png: training images must be normal"),
        ("c/test/blot/good/0.png", r"^c/test/blot/good/0\.png: good images below a defect type"),
    ],
)
def test_images_where_none_can_be_meant_are_errors(tmp_path, stray, message):
    draw_mvtec_category(tmp_path / "c", size=16)
    save(tmp_path / stray)
    with pytest.raises(DataError, match=message):
        resolve_split(request(tmp_path), "c")
