"""Folders of one's own: each way in which one was misread, drawn small, and a property over random trees."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data.checks import same_scores_note
from harness.data.files import list_files
from harness.data.fingerprint import fingerprint
from harness.data.kinds import is_faulty, is_good, is_masks, is_no_type, is_undecided, mask_stems, of_one_part
from harness.data.layouts import resolve_split, validate_request
from harness.data.loader import load_masks
from harness.data.pixels import colours_of, read_pixels
from harness.data.preview import categories_in, outside
from harness.data.split import ANOMALOUS, NORMAL
from harness.data.tree import find_own
from harness.errors import DataError, RequestError
from tests.data.small import HOSTILE_NAMES, protocol, request, save
from tests.drawing import draw_image, draw_mvtec_category

WHOLE = protocol(resize=(48, 48), center_crop=None)


def ask(root, **changes):
    return request(root, "folder", name="folder", **changes)


def read(root, category="c", proto=WHOLE, **changes):
    return resolve_split(ask(root, **changes), category, proto)


def counts(split):
    return len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks


def notes(split):
    """All but the first, which says what the network sees."""
    return "\n".join(split.notes[1:])


def refusal(root, **changes):
    with pytest.raises(DataError) as caught:
        read(root, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def base(tmp_path) -> Path:
    draw_mvtec_category(tmp_path / "c", n_train=6, n_good=3, n_bad=4, size=48)
    return tmp_path / "c"


@pytest.fixture
def plain(base) -> Path:
    """good, bad and masks/bad, no train and test."""
    for old, new in (("train/good", "good"), ("test/blot", "bad"), ("ground_truth/blot", "masks/bad")):
        (base / new).parent.mkdir(exist_ok=True)
        (base / old).rename(base / new)
    for mask in (base / "masks/bad").iterdir():
        mask.rename(mask.with_name(mask.name.replace("_mask", "")))
    shutil.rmtree(base / "test")
    shutil.rmtree(base / "train")
    shutil.rmtree(base / "ground_truth")
    return base


def again(folder, change):
    """Save every image of a folder anew: `change` takes the path and the pixels."""
    for path in sorted(folder.glob("*.png")):
        pixels = np.array(Image.open(path))
        path.unlink()
        change(path, pixels)


def truth(split):
    return load_masks(split, WHOLE)


def test_the_plain_case_is_mvtecs(base):
    ours, official = read(base.parent), resolve_split(request(base.parent), "c")
    assert (ours.train, ours.test, ours.has_masks) == (official.train, official.test, True)
    assert ours.notes == ("whole image, resized to 48x48",)
    assert fingerprint(ours) == fingerprint(official)


# Where masks lie


@pytest.mark.parametrize("name", ["ground_truth", "masks", "Mask", "gt", "labels", "annotations"])
@pytest.mark.parametrize("place", ["", "test/"])
def test_masks_in_any_of_their_folders(base, name, place):
    expected = truth(read(base.parent))
    (base / "ground_truth").rename(base / "moved")
    (base / "moved").rename(base / place / name)
    split = read(base.parent)
    assert counts(split) == (6, 3, 4, True)
    assert notes(split) == ""
    assert np.array_equal(truth(split), expected)


def test_masks_beside_the_images_of_a_defect_type(base):
    expected = truth(read(base.parent))
    (base / "test/blot").rename(base / "test/tmp")
    (base / "test/blot").mkdir()
    (base / "test/tmp").rename(base / "test/blot/images")
    (base / "ground_truth/blot").rename(base / "test/blot/masks")
    split = read(base.parent)
    assert counts(split) == (6, 3, 4, True)
    assert {s.defect for s in split.test} == {"good", "blot"}
    assert np.array_equal(truth(split), expected)


@pytest.mark.parametrize(("photo", "mask"), [("{}.jpg", "{}.png"), ("{}.png", "{}_mask.png"), ("{}.png", "{}-gt.bmp")])
def test_masks_that_are_twins_of_their_images(plain, photo, mask):
    expected = truth(read(plain.parent))[[s.label == ANOMALOUS for s in read(plain.parent).test]]
    for folder in ("good", "bad"):
        again(plain / folder, lambda p, a: Image.fromarray(a).save(p.with_name(photo.format(p.stem)), quality=95))
    for path in (plain / "masks/bad").iterdir():
        Image.open(path).save(plain / "bad" / mask.format(path.stem))
    for path in list((plain / "good").iterdir()):
        Image.new("L", (48, 48)).save(plain / "good" / mask.format(path.stem))
    shutil.rmtree(plain / "masks")
    split = read(plain.parent)
    assert counts(split) == (5, 1, 4, True)
    assert "4 masks lie beside their images" in notes(split)
    assert "6 masks of good images, which must be empty, are not used" in notes(split)
    assert np.array_equal(truth(split)[[s.label == ANOMALOUS for s in split.test]], expected)
    (plain / "bad" / mask.format("001")).unlink()
    assert "looks like the mask of c/bad/000" in refusal(plain.parent)


def test_a_folder_that_holds_masks_under_another_name_is_no_defect_type(plain):
    (plain / "masks/bad").rename(plain / "drawn")
    assert refusal(plain.parent).startswith("c/drawn/000.png: looks like a mask among the photographs of c/drawn")
    (plain / "drawn").rename(plain / "GT masks")
    assert refusal(plain.parent).startswith("c/GT masks: if it holds masks call it ground_truth or masks")


def test_photographs_in_a_folder_that_is_called_like_masks(base):
    shutil.rmtree(base / "ground_truth/blot")
    shutil.copytree(base / "test/blot", base / "ground_truth/blot")
    assert "looks like a photograph, not like a mask" in refusal(base.parent)
    (base / "ground_truth/blot").rename(base / "test/labels")
    shutil.rmtree(base / "test/blot")
    assert "looks like a photograph in a folder that is called like masks" in refusal(base.parent)


def test_the_mask_of_a_good_image_must_be_empty(base):
    save(base / "ground_truth/good/000_mask.png", size=(48, 48), value=0, mode="L")
    assert "1 masks of good images, which must be empty, are not used" in notes(read(base.parent))
    shutil.copy(base / "ground_truth/blot/000_mask.png", base / "ground_truth/good/000_mask.png")
    assert "is the mask of a good image and has defective pixels" in refusal(base.parent)


@pytest.mark.parametrize("name", ["000", "000_mask", "000_gt", "000-label", "000.jpg", "000_seg", "mask_000"])
def test_how_a_mask_may_be_called(name):
    assert "000" in list(mask_stems(f"{name}.png"))
    assert "000" not in list(mask_stems(f"x{name}x.png"))


def test_names_are_paired_whatever_their_unicode_form(base):
    for folder, form in (("test/blot", "NFC"), ("ground_truth/blot", "NFD")):
        for path in list((base / folder).iterdir()):
            path.rename(path.with_name(unicodedata.normalize(form, "größe-") + path.name))
    assert counts(read(base.parent)) == (6, 3, 4, True)


def test_masks_that_belong_to_nothing(base):
    shutil.copy(base / "ground_truth/blot/000_mask.png", base / "ground_truth/blot/other_mask.png")
    assert "1 masks belong to no image and are not read: c/ground_truth/blot/other_mask.png" in notes(read(base.parent))
    (base / "ground_truth/blot").rename(base / "ground_truth/dent")
    assert "no defective image has this mask" in refusal(base.parent)
    (base / "ground_truth/dent").rename(base / "ground_truth/blot")
    (base / "ground_truth/blot/001_mask.png").unlink()
    assert "c/test/blot/001.png: defective, but has no mask, while 3 other" in refusal(base.parent)
    shutil.copy(base / "ground_truth/blot/000_mask.png", base / "ground_truth/blot/000.png")
    assert "c/test/blot/000.png: has two masks" in refusal(base.parent)


def test_types_that_differ_in_case_alone_keep_their_own_masks(plain):
    (plain / "Bad").mkdir()
    (plain / "masks/Bad").mkdir()
    for folder in ("Bad", "masks/Bad"):
        (plain / folder.replace("B", "b") / "000.png").rename(plain / folder / "000.png")
    masks = {sample.path: sample.mask for sample in read(plain.parent).test if sample.mask}
    assert masks["c/Bad/000.png"] == "c/masks/Bad/000.png"
    assert masks["c/bad/001.png"] == "c/masks/bad/001.png"


# Folders


@pytest.mark.parametrize("good", ["good", "normal", "ok", "Good", "NORMAL"])
def test_accepted_names_of_good_folders(base, good):
    (base / "train/good").rename(base / "train" / good)
    (base / "test/good").rename(base / "test" / good)
    assert counts(read(base.parent)) == (6, 3, 4, True)


@pytest.mark.parametrize("name", ["normal_test", "good_test", "Test OK", "no_defect", "goodImages", "healthy"])
def test_a_second_folder_of_good_images_is_never_defective(plain, name):
    rng = np.random.default_rng(5)
    (plain / name).mkdir()
    for i in range(3):
        Image.fromarray(draw_image(rng, 48, blot=False)[0]).save(plain / name / f"{i}.png")
    split = read(plain.parent)
    assert counts(split) == (6, 3, 4, True)
    assert f"c/{name}: 3 images read as good test images" in notes(split)


@pytest.mark.parametrize("name", ["val", "validation", "Valid"])
def test_good_images_for_validation_are_good_test_images(base, name):
    (base / name).mkdir()
    (base / "test/good").rename(base / name / "good")
    split = read(base.parent)
    assert counts(split) == (6, 3, 4, True)
    assert f"c/{name}/good: 3 images read as good test images" in notes(split)
    (base / "test/blot/000.png").rename(base / name / "good/../000.png")
    assert "lies beside the folders of" in refusal(base.parent)


@pytest.mark.parametrize(
    ("name", "good", "faulty"),
    [("not_good", False, True), ("abnormal", False, True), ("no good", False, True), ("NG", False, True),
     ("healthy", True, False), ("scratch", False, False), ("goods", True, False), ("good_scratch", False, False)],
)  # fmt: skip
def test_what_a_name_means(name, good, faulty):
    assert (is_good(name), is_faulty(name)) == (good, faulty)


@pytest.mark.parametrize("name", ["results", "val", "raw images", "heatmaps"])
def test_a_folder_that_is_no_defect_type_by_its_name_is_refused(plain, name):
    assert is_no_type(name)
    assert not is_masks(name)
    (plain / "bad").rename(plain / name)
    assert refusal(plain.parent).startswith(f"c/{name}: is not called like a defect type")


def test_what_lies_beside_train_is_named(base):
    (base / "test/blot").rename(base / "blot")
    assert refusal(base.parent).startswith("c/blot: lies beside c/train and is not read; move it into c/test")
    (base / "blot").rename(base / "test/blot")
    save(base / "overview.png")
    assert refusal(base.parent).startswith("c/overview.png: lies beside c/train and is not read")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("stray.png", "c/stray.png: lies beside c/good"),
        ("test/cut/0.png", "c/test: lies beside c/good; use either c/good or c/train/good"),
        ("ok/0.png", "c/good and c/ok: two folders for the same"),
        ("bad/normal/0.png", "c/bad/normal/0.png: good images below a defect type"),
        ("good/broken/0.png", "c/good/broken/0.png: defective images below good ones"),
    ],
)
def test_images_that_can_have_no_role(plain, extra, message):
    save(plain / extra)
    assert refusal(plain.parent).startswith(message)


def test_blanks_around_a_folders_name_do_not_matter(base):
    for old, new in (("train/good", "train/Good "), ("train", "train "), ("ground_truth", " ground_truth")):
        (base / old).rename(base / new)
    split = read(base.parent)
    assert counts(split) == (6, 3, 4, True)
    assert notes(split) == ""


@pytest.mark.parametrize(("train", "moved"), [("training", "train"), ("trian", "train"), ("train/god", "train/good")])
def test_a_category_whose_training_folder_is_misnamed_is_no_folder_of_categories(base, train, moved):
    (base / moved).rename(base / train)
    assert categories_in(base) == [base]
    assert "no training images" in refusal(base.parent)


def test_what_lies_beside_categories_is_counted(plain):
    folder = plain.parent
    shutil.copytree(plain / "bad", folder / "loose")
    shutil.copy(plain / "bad/000.png", folder / "extra.png")
    assert categories_in(folder) == [plain]
    (note,) = outside(folder, [plain])
    assert note.startswith("5 files of no category are not read: in 1 folders (loose)")
    assert "extra.png" in note
    assert outside(plain, [plain]) == []


@pytest.mark.parametrize("at", ["c", ""])
def test_a_flat_folder_is_one_line_with_the_layout(tmp_path, at):
    for i in range(20):
        save(tmp_path / at / f"{i}.png", value=i)
    with pytest.raises((RequestError, DataError), match=r"20 (files lie elsewhere|images and no folder of good)") as it:
        read(tmp_path)
    assert "c/good" in str(it.value)
    assert "empty" not in str(it.value)


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    with pytest.raises(RequestError, match=r"the folder is empty$"):
        validate_request(ask(tmp_path), "c")


def test_images_may_lie_in_the_root_itself(plain):
    split = read(plain, "my product")
    assert (split.category, split.test[0].path) == ("my product", "bad/000.png")


def test_sub_folders_are_read(plain):
    (plain / "bad/monday").mkdir()
    (plain / "masks/bad/monday").mkdir()
    for folder in ("bad", "masks/bad"):
        (plain / folder / "000.png").rename(plain / folder / "monday/000.png")
    assert [s.mask for s in read(plain.parent).test if s.label == ANOMALOUS][-1] == "c/masks/bad/monday/000.png"


@pytest.mark.parametrize(
    "names",
    [
        ["{}.png", "{}_overlay.png"],
        ["{}.png", "{}_json/img.png", "{}_json/label_viz.png"],
        ["{}_color.png", "{}_depth.png"],
        ["cam1/{}.png", "cam2/{}.png"],
    ],
)
def test_several_images_of_one_part_are_counted(base, names):
    shutil.rmtree(base / "ground_truth")
    for path in sorted((base / "test/blot").iterdir()):
        pixels = np.array(Image.open(path))
        path.unlink()
        for number, name in enumerate(names):
            changed = pixels.copy()
            changed[0, 0] = number
            target = path.parent / name.format(path.stem)
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(changed).save(target)
    n = 4 * len(names)
    assert f"{n} images in c/test/blot share the names of 4 parts ({names[0].format('000')}, " in notes(
        read(base.parent)
    )


@pytest.mark.parametrize(
    "names",
    [["IMG_1", "IMG_2"], ["a", "a (1)", "a (2)"], ["IMG_a_1", "IMG_b_1"], ["a_x7", "a_y8"], ["1", "1_2", "3", "4"]],
)
def test_names_that_count_photographs_are_no_parts(names):
    assert of_one_part(names) == []


@pytest.mark.parametrize(
    "name",
    ["New folder", "untitled folder", "misc", "todo", "depth", "SegmentationClass", "masks_human", "almost_good"],
)
def test_a_folder_whose_name_says_nothing_is_named_unless_it_has_masks(plain, name):
    for folder in ("bad", "masks/bad"):
        (plain / folder).rename(plain / folder.replace("bad", name))
    assert "read as defective" not in notes(read(plain.parent))
    shutil.rmtree(plain / "masks")
    assert f"c/{name}: 4 images read as defective images" in notes(read(plain.parent))


@pytest.mark.parametrize("name", ["scratch", "class 1", "not_ok", "fine_crack", "faulty label", "ko", "2024-03-01"])
def test_the_name_of_a_defect_type_is_decided(name):
    assert not is_undecided(name)


def test_sub_folders_of_a_defect_type_are_named(plain):
    shutil.rmtree(plain / "masks")
    (plain / "bad/images").mkdir()
    (plain / "bad/false_alarm_ok").mkdir()
    (plain / "bad/000.png").rename(plain / "bad/images/000.png")
    (plain / "bad/001.png").rename(plain / "bad/false_alarm_ok/001.png")
    assert "c/bad: 1 images of 1 sub-folders (false_alarm_ok) are read as defective images" in notes(read(plain.parent))


def test_where_a_mask_belongs_is_a_place_where_it_is_read(base):
    for old in ("test/blot", "ground_truth/blot"):
        (base / old).rename(base / "moved")
        (base / old).mkdir()
        (base / "moved").rename(base / old / ("cam1" if old.startswith("test") else "cam9"))
    line = refusal(base.parent)
    assert line.endswith("that of c/test/blot/cam1/000.png belongs in c/ground_truth/blot/cam1/000_mask.png")
    (base / "ground_truth/blot/cam9").rename(base / "ground_truth/blot/cam1")
    assert counts(read(base.parent)) == (6, 3, 4, True)


def test_masks_beside_train_belong_in_ground_truth(base):
    (base / "ground_truth/blot").rename(base / "SegmentationClass")
    assert refusal(base.parent).startswith(
        "c/SegmentationClass: lies beside c/train and looks like masks; these belong"
    )


def test_any_legal_name_works(tmp_path):
    rng = np.random.default_rng(0)
    for name in HOSTILE_NAMES:
        for i in range(3):
            save(tmp_path / name / f"good/{i}.png", value=int(rng.integers(1, 250)) + i)
        save(tmp_path / name / name / f"{name}.png", value=255)
        save(tmp_path / name / "masks" / name / f"{name}.png", mode="L")
        split = read(tmp_path, name)
        (defective,) = (s for s in split.test if s.label == ANOMALOUS)
        assert (defective.path, defective.mask) == (f"{name}/{name}/{name}.png", f"{name}/masks/{name}/{name}.png")


def test_images_that_seem_put_aside_are_counted(base):
    (base / "train/good/backup").mkdir()
    (base / "train/good/000.png").rename(base / "train/good/backup/000.png")
    (base / "test/blot").rename(base / "test/heatmap_7 blots")
    (base / "ground_truth/blot").rename(base / "ground_truth/heatmap_7 blots")
    found = notes(read(base.parent))
    assert "c/train/good/backup: 1 images read as good images" in found
    assert "c/test/heatmap_7 blots: 4 images read as defective images" in found


# A share of the good images becomes test


@pytest.mark.parametrize(
    ("count", "share", "held"), [(10, 0.2, 2), (3, 0.2, 1), (2, 0.9, 1), (20, 0.5, 10), (2, 0.01, 1)]
)
def test_a_stated_share_of_the_good_images_becomes_test(tmp_path, count, share, held):
    for i in range(count):
        save(tmp_path / f"c/good/{i:03}.png", value=i)
    save(tmp_path / "c/cut/x.png", value=99)
    split = read(tmp_path, normal_test_share=share)
    assert counts(split) == (count - held, held, 1, False)
    assert split.notes[1] == (
        f"no good test images: {held} of {count} training images became test (share {share:g}, chosen by content hash)"
    )
    contents = {(tmp_path / s.path).read_bytes() for s in split.test}
    for i, path in enumerate(sorted((tmp_path / "c/good").iterdir())):
        path.rename(path.with_name(f"renamed-{(7 * i) % count}-{i}.png"))
    assert {(tmp_path / s.path).read_bytes() for s in read(tmp_path, normal_test_share=share).test} == contents


def test_copies_of_one_image_stay_on_one_side_and_too_few_are_refused(tmp_path):
    save(tmp_path / "c/good/a.png", value=1)
    assert "the only good image" in refusal(tmp_path)
    shutil.copy(tmp_path / "c/good/a.png", tmp_path / "c/good/b.png")
    assert "too few good images differ in content" in refusal(tmp_path)
    save(tmp_path / "c/good/c.png", value=2)
    split = read(tmp_path)
    assert {s.path for s in split.train} in ({"c/good/a.png", "c/good/b.png"}, {"c/good/c.png"})
    assert "no defective test images: no pixel metrics" in split.notes


# The same image twice


def test_copies_of_training_images_in_test_are_counted(base):
    for name in ("000.png", "001.png"):
        shutil.copy(base / "train/good" / name, base / "test/good" / name)
    assert "2 test images are copies of training images" in notes(read(base.parent))


@pytest.mark.parametrize("place", ["train/good", "test/good"])
def test_one_content_with_two_labels_is_refused(base, place):
    shutil.copy(base / "test/blot/001.png", base / place / "x.png")
    kind = "a training image" if place == "train/good" else "a good test image"
    line = f"c/test/blot/001.png: is defective, and the same file as {kind}, c/{place}/x.png"
    assert line in refusal(base.parent)
    # Of an official dataset it is a note.
    assert line in "\n".join(resolve_split(request(base.parent), "c").notes)


def test_training_images_that_are_all_one_file(base):
    for path in (base / "train/good").iterdir():
        shutil.copy(base / "train/good/000.png", path) if path.name != "000.png" else None
    assert "all 6 training images are the same file" in notes(read(base.parent))


# Formats and values


def test_system_files_are_skipped_and_other_files_are_counted(base):
    for folder in ("train/good", "test/blot"):
        for image in list((base / folder).glob("*.png")):
            save(base / folder / "@eaDir" / image.name / "THUMB.jpg")
    save(base / "test/good/._000.png")
    (base / "test/good/Thumbs.db").write_bytes(b"x")
    (base / "notes.txt").write_bytes(b"x")
    (base / "train/good/a.HEIC").write_bytes(b"x")
    (base / "train/good/b.heic").write_bytes(b"x")
    image = Image.open(base / "train/good/001.png").convert("RGB")
    image.save(base / "train/good/001.jfif", format="JPEG")
    (base / "train/good/001.png").unlink()
    split = read(base.parent)
    assert counts(split) == (6, 3, 4, True)
    assert "2 images in formats that are not read: 2 .heic; save them as PNG or JPEG" in notes(split)
    assert "12 hidden or system files are not read" in notes(split)
    assert "1 other files are not read: c/notes.txt" in notes(split)


def test_images_of_several_kinds_are_counted(base):
    frames = [Image.open(base / "test/good/000.png"), Image.open(base / "test/good/001.png")]
    frames[0].save(base / "test/good/000.tif", save_all=True, append_images=frames[1:])
    (base / "test/good/000.png").unlink()
    again(base / "test/blot", lambda p, a: Image.fromarray(a[..., 0]).save(p))
    Image.open(base / "train/good/000.png").convert("RGBA").resize((50, 40)).save(base / "train/good/000.png")
    found = notes(read(base.parent))
    assert "1 images have several pages or frames, of which the first is read: c/test/good/000.tif" in found
    assert "1 images have an alpha channel, which is dropped: c/train/good/000.png" in found
    assert "4 of 13 images are grey, and the others have colours" in found
    assert "images have 2 sizes: 12 of 48x48, 1 of 50x40" in found


@pytest.mark.parametrize("orientation", [3, 6])
def test_images_are_turned_as_viewers_turn_them(base, orientation):
    turned = {3: lambda a: a[::-1, ::-1], 6: np.rot90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = {p.name: np.array(Image.open(p)) for p in (base / "test/blot").iterdir()}
    masks = truth(read(base.parent))
    again(base / "test/blot", lambda p, a: Image.fromarray(turned(a).copy()).save(p, exif=exif))
    split = read(base.parent)
    assert "4 images have an EXIF orientation and are turned" in notes(split)
    for name, pixels in expected.items():
        assert np.array_equal(read_pixels(base.parent, f"c/test/blot/{name}", split.reading), pixels)
    assert np.array_equal(truth(split), masks)
    assert ("c/test/blot/000.png", f"turned {orientation}") in split.reading.unusual
    assert fingerprint(split) != fingerprint(resolve_split(request(base.parent), "c"))


def test_a_mask_must_have_the_turned_size(tmp_path):
    draw_mvtec_category(tmp_path / "c", n_train=3, n_good=1, n_bad=1, size=48)
    path = tmp_path / "c/test/blot/000.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).crop((0, 0, 48, 30)).save(path, exif=exif)
    mask = tmp_path / "c/ground_truth/blot/000_mask.png"
    whole = Image.open(mask).copy()
    whole.crop((0, 0, 48, 30)).save(mask)
    assert "a mask of 48x30 pixels for an image of 30x48" in refusal(tmp_path)
    whole.crop((0, 0, 30, 48)).save(mask)
    assert counts(read(tmp_path)) == (3, 1, 1, True)


@pytest.mark.parametrize(
    ("make", "suffix", "white"),
    [
        (lambda a: a.astype(np.uint16) * 257, ".png", 65535),
        (lambda a: (a / 255).astype(np.float32), ".tif", 1),
        (lambda a: a.astype(np.int32) * 257, ".tif", 65535),
    ],
)
def test_more_than_eight_bits_are_scaled(base, make, suffix, white):
    grey = {p: np.array(Image.open(p).convert("L")) for p in sorted(base.glob("t*/*/*.png"))}
    for path, pixels in grey.items():
        path.unlink()
        Image.fromarray(make(pixels)).save(path.with_suffix(suffix))
    split = read(base.parent)
    assert f"all 13 images have more than 8 bits: scaled so that {white} becomes 255" in notes(split)
    for path, pixels in grey.items():
        name = str(path.with_suffix(suffix).relative_to(base.parent))
        assert np.array_equal(read_pixels(base.parent, name, split.reading)[..., 0], pixels)


def test_a_white_level_is_suggested_taken_and_asked_for(base):
    again(base / "train/good", lambda p, a: Image.fromarray(a[..., 0].astype(np.uint16) * 16).save(p))
    split = read(base.parent)
    assert "6 of 13 images have more than 8 bits: scaled so that 65535 becomes 255" in notes(split)
    assert "so they are dark: dataset.white_level=" in notes(split)
    lighter = read(base.parent, white_level=4080)
    assert "scaled so that 4080 becomes 255" in notes(lighter)
    assert read_pixels(base.parent, "c/train/good/000.png", lighter.reading).max() > 190
    assert fingerprint(lighter) != fingerprint(split)
    assert "hold values above that, which are clipped" in notes(read(base.parent, white_level=1000))
    Image.fromarray(np.full((48, 48), 900.0, np.float32)).save(base / "train/good/x.tif")
    assert "give dataset.white_level=N" in refusal(base.parent)


def test_sixteen_bits_of_colour_are_not_cut(base):
    import imagecodecs

    again(base / "train/good", lambda p, a: p.write_bytes(imagecodecs.png_encode(a.astype(np.uint16) * 16)))
    expected = np.rint(np.array(Image.open(base / "test/good/000.png")) * 1.0)
    split = read(base.parent, white_level=4080)
    assert "6 of 13 images have more than 8 bits" in notes(split)
    assert read_pixels(base.parent, "c/train/good/000.png", split.reading).shape == expected.shape
    assert read_pixels(base.parent, "c/train/good/000.png", split.reading).mean() > 40


# What is defective in a mask


def saved_as(change):
    def save_mask(path, values):
        change(values > 0, path)

    return save_mask


MASKS = {
    "0 and 1": (lambda m, p: Image.fromarray(m.astype(np.uint8)).save(p), ""),
    "1 and 2": (lambda m, p: Image.fromarray(m.astype(np.uint8) + 1).save(p), "the background of masks is 1"),
    "one bit": (lambda m, p: Image.fromarray(m).save(p), ""),
    "16 bits": (lambda m, p: Image.fromarray(m.astype(np.uint16) * 65535).save(p), ""),
    "float": (lambda m, p: Image.fromarray(m.astype(np.float32)).save(p.with_suffix(".tif")), ""),
    "alpha": (
        lambda m, p: Image.fromarray(np.dstack([np.full((*m.shape, 3), 255), m * 255]).astype(np.uint8)).save(p),
        "all 4 masks are read in their alpha channel",
    ),
    "dark blue": (
        lambda m, p: Image.fromarray(np.dstack([m * 0, m * 0, m * 2]).astype(np.uint8)).save(p),
        "all 4 masks are read in colours",
    ),
    "palette": (
        lambda m, p: Image.fromarray(np.dstack([m * 128, m * 0, m * 0]).astype(np.uint8)).quantize(2).save(p),
        "all 4 masks are read in colours",
    ),
    "classes": (
        lambda m, p: Image.fromarray((m * (1 + np.arange(m.shape[1]) % 3)).astype(np.uint8)).save(p),
        "all 4 masks have more than two grey values: what is above 0 is defective",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MASKS)
def test_every_kind_of_mask_means_the_same_pixels(base, kind):
    change, note = MASKS[kind]
    expected = truth(read(base.parent))
    plain_print = fingerprint(read(base.parent))
    again(base / "ground_truth/blot", saved_as(change))
    split = read(base.parent)
    assert np.array_equal(truth(split), expected)
    assert note in notes(split)
    assert bool(split.reading.unusual) == bool(note)
    assert fingerprint(split) != plain_print


def test_soft_masks_are_cut_at_half_of_their_range(tmp_path):
    draw_mvtec_category(tmp_path / "c", n_train=3, n_good=1, n_bad=3, size=128)
    proto = protocol(resize=(128, 128), center_crop=None)
    expected = load_masks(read(tmp_path), proto)
    again(tmp_path / "c/ground_truth/blot", lambda p, a: Image.fromarray(a).save(p.with_suffix(".jpg"), quality=75))
    split = read(tmp_path)
    assert "all 3 masks have more than two grey values: what is above 127.5 is defective" in notes(split)
    found = load_masks(split, proto)
    assert np.mean(found != expected) < 0.002
    assert ("c/ground_truth/blot/000_mask.jpg", "above 127.5") in split.reading.unusual


def test_black_inverted_and_lost_masks_are_counted(base):
    first, second = (base / f"ground_truth/blot/00{i}_mask.png" for i in range(2))
    whole = np.array(Image.open(first))
    Image.fromarray(whole * 0).save(first)
    assert "1 of 4 defective images have no defective pixel in their mask" in notes(read(base.parent))
    corner = whole * 0
    corner[:2, :2] = 255
    Image.fromarray(corner).save(first)
    pixel = whole * 0
    pixel[1, 1] = 255
    Image.fromarray(pixel).save(second)
    assert "lose all" not in notes(read(base.parent))
    split = read(base.parent, proto=protocol(resize=(24, 24), center_crop=(16, 16)))
    assert split.notes[0] == "resized to 24x24, cropped to the middle 16x16"
    assert (
        "2 of 4 defective images lose all of their defective pixels: 1 by the crop (protocol.center_crop=null uses"
        in (notes(split))
    )
    assert "1 by the resize (a larger protocol.resize keeps more)" in notes(split)
    again(base / "ground_truth/blot", lambda p, a: Image.fromarray(255 - a).save(p))
    assert "they may be inverted" in notes(read(base.parent))


def test_scores_that_tell_nothing_apart_are_a_note():
    assert "all 5 test images have the same score, 2:" in same_scores_note(np.full(5, 2.0, np.float32))[0]
    assert same_scores_note(np.array([2.0, 2.0, 2.5])) == []


# Every file has one end

FOLDERS = (
    "good ok normal train test val bad scratch masks ground_truth labels images @eaDir .git raw train/good test/good "
    "test/cut test/cut/masks test/ground_truth ground_truth/cut masks/bad good/old good_test"
)
FILES = "a.png b.jpg c.png a_mask.png b.png c.heic d.txt Thumbs.db .x.png e.jfif f.gif"
ENTRY = [st.sampled_from(text.split()) for text in (FOLDERS, FILES, "photo mask")]


def put(path: Path, kind: str, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, mask = draw_image(np.random.default_rng(seed), 24, blot=True)
    if path.suffix in {".png", ".jpg", ".jfif"}:
        file_format = "PNG" if path.suffix == ".png" else "JPEG"
        Image.fromarray(image if kind == "photo" else mask).save(path, format=file_format)
    else:
        path.write_bytes(b"x")


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(*(st.sampled_from(text.split()) for text in (FOLDERS, FILES)), st.sampled_from(["photo", "mask"])),
        min_size=1,
        max_size=9,
        unique=True,
    )
)
def test_every_file_is_used_or_counted_or_the_folder_is_refused(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("tree")
    for seed, (folder, name, kind) in enumerate([("good", "z1.png", "photo"), ("good", "z2.png", "photo"), *tree]):
        put(root / "c" / folder / name, kind, seed)
    try:
        split = read(root)
        found = find_own(root, "c", lambda name: colours_of(root, name))
    except DataError as error:
        refused = str(error)
    else:
        refused = ""
    assert "\n" not in refused
    if refused:
        return
    used = [name for s in (*split.train, *split.test) for name in (s.path, s.mask) if name]
    ends = [*used, *found.good_masks, *found.not_read]
    assert sorted(ends) == sorted(list_files(root, "c").names)
    assert sorted(ends) == sorted(str(p.relative_to(root)) for p in (root / "c").rglob("*") if p.is_file())
    counted = sum(int(note.split()[0]) for note in found.notes if "not read" in note or "not used" in note)
    assert counted == len(found.good_masks) + len(found.not_read)
    assert all(s.label == NORMAL for s in split.train)
    for sample in (*split.train, *split.test):
        assert colours_of(root, sample.path) == 0
