import shutil

import numpy as np
import pytest
from PIL import Image

from harness.data import layouts
from harness.data.catalog import CATALOG, Counts
from harness.data.layouts import resolve_split, validate_request
from harness.errors import DataError, RequestError
from tests.data.small import change, request
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category


@pytest.fixture
def root(tmp_path):
    draw_mvtec_category(tmp_path / "bottle", size=16)
    (tmp_path / "cable").mkdir()
    (tmp_path / "readme.txt").write_text("text")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "category", "message"),
    [
        ({"layout": "coco"}, "bottle", r"^dataset\.layout=coco: unknown; there are mvtec, visa, btad, folder$"),
        (
            {"name": "mvtec"},
            "botle",
            r"^category=botle: not a category of MVTec AD \(did you mean bottle\?\); there are b",
        ),
        ({"name": "mvtec"}, "Bottle", r"did you mean bottle"),
        ({"name": "mvtec"}, "xyz", r"^category=xyz: not a category of MVTec AD; there are bottle, cable, capsule"),
        ({}, "botle", r"^dataset\.root=.*: has no folder botle \(did you mean bottle\?\); there are bottle, cable$"),
        ({}, "", "must be the name of one folder"),
        ({}, "..", "must be the name of one folder"),
        ({}, "a/b", "must be the name of one folder"),
        ({}, "a\\b", "must be the name of one folder"),
        ({}, "a\0b", "must be the name of one folder"),
        ({"layout": "visa"}, "bottle", r"^dataset\.root=.*: has no split_csv/1cls\.csv; give the folder VisA's"),
    ],
)
def test_a_wrong_request_is_one_line_that_says_what_there_is(root, changes, category, message):
    with pytest.raises(RequestError, match=message) as caught:
        validate_request(request(root, **changes), category)
    assert "\n" not in str(caught.value)
    with pytest.raises(RequestError, match=message):
        resolve_split(request(root, **changes), category)


def test_what_a_wrong_root_holds_is_said(root, tmp_path):
    empty, crowded = tmp_path / "empty", tmp_path / "crowded"
    empty.mkdir()
    for i in range(25):
        (crowded / f"c{i:02d}").mkdir(parents=True)
    for wrong, category, message in (
        (root / "gone", "bottle", "no such folder"),
        (root / "readme.txt", "bottle", "no such folder"),
        (root / "bottle", "bottle", f"it looks like a category itself; give its parent, dataset.root={root}"),
        (root, "x" * 300, "has no folder xxxx"),
        (empty, "x", "has no folder x; the folder is empty"),
        (crowded, "x", "c19 and 5 more"),
    ):
        with pytest.raises(RequestError, match=rf"^dataset\.root={wrong}: .*{message}"):
            validate_request(request(wrong), category)


def test_a_root_that_cannot_be_listed(root, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("harness.data.files.os.scandir", denied)
    with pytest.raises(RequestError, match=r"^dataset\.root=.*: cannot be read \(Permission denied\); check its perm"):
        validate_request(request(root), "gone")


def test_validation_opens_no_image(root, monkeypatch):
    monkeypatch.setattr("PIL.Image.open", lambda *_: pytest.fail("opened an image"))
    for file in (root / "bottle").rglob("*.png"):
        file.write_bytes(b"")
    validate_request(request(root), "bottle")


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("rm train/good", "bottle: no training images in ROOT; they belong in bottle/train/good (.bmp, "),
        ("rm test", "bottle: no test images in ROOT"),
        ("rm ground_truth/blot/003_mask.png", "bottle/test/blot/003.png: defective, but has no mask, while 5 other"),
        ("new test/cut/000.png", "bottle/test/cut/000.png: defective, but has no mask, while 6 other"),
        (
            "new ground_truth/blot/002_mask.png",
            "bottle/ground_truth/blot/002_mask.png: a mask of 8x6 pixels for an image of 16x16, bottle/test/blot/002",
        ),
        ("cp ground_truth/blot/000_mask.png test/blot/000_mask.png", "bottle/test/blot/000_mask.png: a mask among the"),
        ("new train/0.png", "bottle/train/0.png: lies beside the folders of bottle/train; move it into one"),
        ("new train/blot/0.png", "bottle/train/blot/0.png: training images must be normal and lie in bottle/train/go"),
        ("new Test/good/0.png", "bottle/Test and bottle/test: two folders with the same meaning"),
    ],
)
def test_what_an_official_dataset_cannot_hold_is_one_line(root, script, line):
    change(root / "bottle", script)
    with pytest.raises(DataError) as caught:
        resolve_split(request(root), "bottle")
    assert str(caught.value).startswith(line.replace("ROOT", str(root)))


def test_no_rows_of_a_visa_category(tmp_path):
    draw_visa_category(tmp_path, "candle", size=16)
    (tmp_path / "pcb1").mkdir()
    with pytest.raises(DataError, match=r"^pcb1: no training images .*rows of split_csv/1cls\.csv with object pcb1$"):
        resolve_split(request(tmp_path, "visa"), "pcb1")


def test_counts_that_differ_from_the_official_ones_are_a_note_that_names_them(root):
    (note,) = resolve_split(request(root, name="mvtec"), "bottle").notes
    assert note == (
        "counts differ from MVTec AD's own: 12 training images (official 209), 4 normal test images (official 20), "
        "6 defective test images (official 63)"
    )


def test_a_limit_is_no_difference_from_the_official_counts(root, monkeypatch):
    official(monkeypatch, Counts(12, 4, 6))
    assert resolve_split(request(root, name="mvtec"), "bottle").notes == ()
    split = resolve_split(request(root, name="mvtec", limit=5), "bottle")
    assert split.notes == ("dataset.limit=5: 5 of 12 training images and 5 of 10 test images",)
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous) == (5, 2, 3)
    assert [s.path[-7:-4] for s in split.train] == ["001", "003", "006", "008", "010"]
    assert split.has_masks
    assert resolve_split(request(root, name="mvtec", limit=12), "bottle").notes == ()


def official(monkeypatch, counts):
    import dataclasses

    info = dataclasses.replace(CATALOG["mvtec"], categories={"bottle": counts})
    monkeypatch.setattr(layouts, "CATALOG", {"mvtec": info})


@pytest.mark.parametrize("layout", ["mvtec", "btad", "visa", "folder"])
def test_a_category_without_any_mask_runs_at_image_level_and_says_so(tmp_path, layout):
    if layout == "btad":
        draw_btad_category(tmp_path / "c", size=16)
        shutil.rmtree(tmp_path / "c/ground_truth")
    elif layout == "visa":
        draw_visa_category(tmp_path, "c", size=16)
        table = tmp_path / "split_csv/1cls.csv"
        header, *rows = table.read_text().splitlines()
        table.write_text("\n".join([header, *(row[: row.rindex(",") + 1] for row in rows)]))
    else:
        draw_mvtec_category(tmp_path / "c", size=16)
        shutil.rmtree(tmp_path / "c/ground_truth")
    split = resolve_split(request(tmp_path, layout), "c")
    assert not split.has_masks
    assert split.notes == ("no ground-truth masks: no pixel metrics",)
    assert all(s.mask is None for s in split.test)


@pytest.mark.parametrize("content", [b"", b"text"])
@pytest.mark.parametrize("name", ["test/blot/002.png", "ground_truth/blot/002_mask.png", "train/good/000.png"])
def test_a_file_that_is_no_image_is_named(root, name, content):
    (root / "bottle" / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^bottle/{name}: cannot be decoded"):
        resolve_split(request(root), "bottle")


@pytest.mark.parametrize("some", ["train/good/000.png", "test/blot/000.png"])
def test_more_than_eight_bits_are_noted_wherever_they_are(root, some):
    deep = Image.fromarray(np.zeros((16, 16), np.uint16))
    deep.save(root / "bottle" / some)
    (note,) = resolve_split(request(root), "bottle").notes
    what = "images of mode I;16 (more than 8 bits): grey values above 255 are clipped, as anomalib does"
    assert note == f"1 of 22 {what}"
    for path in (root / "bottle").glob("t*/*/*.png"):
        deep.save(path)
    assert resolve_split(request(root), "bottle").notes[0] == what


def test_a_linked_category_is_followed_out_of_the_root(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "linked").symlink_to(root / "bottle")
    split = resolve_split(request(elsewhere), "linked")
    assert split.train[0].path == "linked/train/good/000.png"
    assert len(split.train) == 12
