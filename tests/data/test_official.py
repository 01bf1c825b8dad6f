import shutil
from pathlib import Path

import pytest

from harness.data.layouts import resolve_split
from harness.data.split import ANOMALOUS, NORMAL
from harness.errors import DataError
from tests.data.small import request, save
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category


def as_table(split, part):
    return [(str(split.root / s.path), s.label, s.defect, str(split.root / s.mask) if s.mask else None) for s in part]


def anomalib_table(folder, part):
    from anomalib.data.datasets.image.mvtecad import make_mvtec_ad_dataset

    table = make_mvtec_ad_dataset(folder, split=part)
    return [
        (row.image_path, row.label_index, row.label, row.mask_path if isinstance(row.mask_path, str) else None)
        for row in table.itertuples()
    ]


def test_mvtec_is_what_anomalib_makes_of_a_well_formed_folder(tmp_path):
    draw_mvtec_category(tmp_path / "bottle", size=16)
    for defect in ("a_cut", "zz"):
        shutil.copytree(tmp_path / "bottle/test/blot", tmp_path / f"bottle/test/{defect}")
        shutil.copytree(tmp_path / "bottle/ground_truth/blot", tmp_path / f"bottle/ground_truth/{defect}")
    (tmp_path / "bottle/readme.txt").write_text("text")
    split = resolve_split(request(tmp_path), "bottle")
    assert as_table(split, split.train) == anomalib_table(tmp_path / "bottle", "train")
    assert as_table(split, split.test) == anomalib_table(tmp_path / "bottle", "test")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == (12, 4, 18)
    assert split.has_masks
    assert split.notes == ()
    assert split.train[0].path == "bottle/train/good/000.png"
    assert split.test[0].mask == "bottle/ground_truth/a_cut/000_mask.png"


@pytest.mark.real
def test_the_real_bottle_is_what_anomalib_makes_of_it(real_mvtec):
    split = resolve_split(request(real_mvtec, name="mvtec"), "bottle")
    assert as_table(split, split.train) == anomalib_table(real_mvtec / "bottle", "train")
    assert as_table(split, split.test) == anomalib_table(real_mvtec / "bottle", "test")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == (209, 20, 63)
    assert split.has_masks
    assert split.notes == ()


def test_mvtec_masks_go_by_name_where_anomalib_goes_by_position(tmp_path):
    from anomalib.data.errors import MisMatchError

    for stem in ("1", "10"):
        save(tmp_path / f"c/test/cut/{stem}.png")
        save(tmp_path / f"c/ground_truth/cut/{stem}_mask.png", mode="L")
    save(tmp_path / "c/train/good/0.png")
    with pytest.raises(MisMatchError):
        anomalib_table(tmp_path / "c", "test")
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


def test_visa_agrees_with_the_split_that_anomalib_copies(tmp_path):
    """By content: anomalib's split of the same root copies and renames, so paths cannot be compared."""
    from anomalib.data.datamodules.image.visa import VISA_CATEGORIES, Visa
    from anomalib.data.datasets.image.mvtecad import make_mvtec_ad_dataset

    draw_visa_category(tmp_path, "candle", size=16)
    assert "candle" in VISA_CATEGORIES
    module = Visa(root=tmp_path, category="candle")
    module.apply_cls1_split()
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
        ("object,split,label", "class,split,label", "its header is not object,split,label,image,mask"),
        ("candle,train,normal", "candle,training,normal", r"line \d+: split 'training' or label 'normal' is unknown"),
        ("candle,train,normal", "candle,train,anomaly", "defective and trains"),
        ("candle/Data/Images/Normal/0003.JPG", "../0003.JPG", "does not lie inside the dataset"),
        ("candle/Data/Images/Normal/0003.JPG", "/etc/0003.JPG", "does not lie inside the dataset"),
        ("candle/Data/Images/Normal/0003.JPG", "", "does not lie inside the dataset"),
        ("candle/Data/Images/Normal/0003.JPG", "candle/Data/Images/Normal/0004.JPG", "appears twice"),
        ("candle/Data/Masks/Anomaly/001.png", "", r"candle/Data/Images/Anomaly/001\.JPG: defective, but has no mask"),
        ("candle/Data/Masks/Anomaly/001.png", "candle/gone.png", r"^candle/gone\.png: no such file"),
    ],
)
def test_a_damaged_visa_csv_is_named(tmp_path, old, new, message):
    draw_visa_category(tmp_path, "candle", size=16)
    table = tmp_path / "split_csv/1cls.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        resolve_split(request(tmp_path, "visa"), "candle")


def test_a_visa_csv_with_a_bom_and_windows_line_ends_is_read(tmp_path):
    draw_visa_category(tmp_path, "candle", size=16)
    table = tmp_path / "split_csv/1cls.csv"
    plain = resolve_split(request(tmp_path, "visa"), "candle")
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    assert resolve_split(request(tmp_path, "visa"), "candle") == plain


def test_a_visa_csv_that_is_no_text_is_named(tmp_path):
    draw_visa_category(tmp_path, "candle", size=16)
    (tmp_path / "split_csv/1cls.csv").write_bytes(b"object,split,label,image,mask\n\xff\xfe\x00")
    with pytest.raises(DataError, match=r"split_csv/1cls\.csv: is no csv file"):
        resolve_split(request(tmp_path, "visa"), "candle")


@pytest.mark.parametrize(("image", "mask"), [(".bmp", ".png"), (".png", ".png"), (".bmp", ".bmp")])
def test_btad_with_any_mix_of_bmp_and_png(tmp_path, image, mask):
    draw_btad_category(tmp_path / "03", image_suffix=image, mask_suffix=mask, size=16)
    split = resolve_split(request(tmp_path, "btad"), "03")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == (6, 3, 4)
    assert split.has_masks
    assert (split.test[0].path, split.test[0].defect, split.test[0].mask) == (
        f"03/test/ko/0000{image}",
        "ko",
        f"03/ground_truth/ko/0000{mask}",
    )
    assert split.test[-1].path == f"03/test/ok/0002{image}"
    assert split.test[-1].defect == "good"


def test_btad_is_found_inside_the_folder_that_its_archive_wraps_it_in(tmp_path):
    draw_btad_category(tmp_path / "BTech_Dataset_transformed/01", size=16)
    split = resolve_split(request(tmp_path, "btad", name="btad"), "01")
    assert split.root == tmp_path / "BTech_Dataset_transformed"
    assert split.train[0].path == "01/train/ok/0000.bmp"


def test_images_where_none_can_be_meant_are_errors(tmp_path):
    draw_mvtec_category(tmp_path / "c", size=16)
    save(tmp_path / "c/test/stray.png")
    with pytest.raises(DataError, match=r"^c/test/stray\.png: lies beside the folders of c/test"):
        resolve_split(request(tmp_path), "c")
    (tmp_path / "c/test/stray.png").unlink()
    save(tmp_path / "c/train/bad/0.png")
    with pytest.raises(DataError, match=r"^c/train/bad/0\.png: training images must be normal"):
        resolve_split(request(tmp_path), "c")
    shutil.rmtree(tmp_path / "c/train/bad")
    save(tmp_path / "c/test/blot/good/0.png")
    with pytest.raises(DataError, match=r"^c/test/blot/good/0\.png: good images below a defect type"):
        resolve_split(request(tmp_path), "c")


def test_masks_of_good_images_are_passed_over(tmp_path):
    draw_mvtec_category(tmp_path / "c", size=16)
    save(tmp_path / "c/ground_truth/good/000_mask.png", size=(16, 16), value=0, mode="L")
    split = resolve_split(request(tmp_path), "c")
    assert [s.mask for s in split.test if s.label == NORMAL] == [None] * 4
