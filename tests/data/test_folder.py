"""Folders of one's own: each way in which one was misread, drawn small, and a property over random trees."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from harness.config.settings import DatasetConfig
from harness.data.checks import same_scores_note
from harness.data.files import list_files
from harness.data.fingerprint import fingerprint
from harness.data.kinds import is_faulty, is_good, is_undecided, mask_stems, of_one_part
from harness.data.layouts import resolve_split
from harness.data.loader import load_masks
from harness.data.pixels import colours_of, read_mask, read_pixels
from harness.data.preview import categories_in, outside
from harness.data.split import ANOMALOUS, NORMAL
from harness.data.tree import find_own
from harness.errors import DataError, RequestError
from tests.data.small import HOSTILE_NAMES, change, preprocessing, request, save
from tests.drawing import draw_image, draw_mvtec_category

WHOLE = preprocessing(resize=(48, 48), center_crop=None)


def read(root, category="c", proto=WHOLE, **changes):
    return resolve_split(request(root, "folder", name="folder", **changes), category, proto)


def counts(split):
    return len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks


def notes(split):
    """All but the first, which says what the network sees."""
    return "\n".join(split.notes[1:])


def refusal(root, **changes):
    with pytest.raises((DataError, RequestError)) as caught:
        read(root, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def base(tmp_path) -> Path:
    draw_mvtec_category(tmp_path / "c", n_train=6, n_good=3, n_bad=4, size=48)
    return tmp_path / "c"


PLAIN = "mv train/good good; mv test/blot bad; mv ground_truth/blot masks/bad; rm train; rm test; rm ground_truth"
"""From train and test to one folder a kind, without good test images."""
TESTED = PLAIN.replace("rm test", "mv test/good {0}; rm test")
"""The same with the good test images in another folder."""


@pytest.fixture
def plain(base) -> Path:
    change(base, PLAIN)
    return base


def again(folder, write):
    """Save every image of a folder anew: `write` takes the path and the pixels."""
    for path in sorted(folder.glob("*.png")):
        pixels = np.array(Image.open(path))
        path.unlink()
        write(path, pixels)


def truth(split):
    """The masks of the defective images."""
    return load_masks(split, WHOLE)[[sample.label == ANOMALOUS for sample in split.test]]


def test_the_plain_case_is_mvtecs(base):
    ours, official = read(base.parent), resolve_split(request(base.parent), "c")
    assert (ours.train, ours.test, ours.has_masks) == (official.train, official.test, True)
    assert ours.notes == ("whole image, resized to 48x48",)
    assert fingerprint(ours) == fingerprint(official)


MEANS_THE_SAME = [
    *(f"mv ground_truth {name}" for name in ("masks", "Mask", "gt", "labels", "annotations", "test/ground_truth")),
    "mv ground_truth ' ground_truth'; mv train/good 'train/Good '; mv train 'train '",
    *(f"mv train/good train/{name}; mv test/good test/{name}" for name in ("normal", "ok", "Good", "NORMAL")),
    "mv test/blot tmp; mv tmp test/blot/images; mv ground_truth/blot test/blot/masks",
    "mv ground_truth/blot tmp; mv tmp test/blot/masks",
    "mv test/blot/003.png test/blot/monday/003.png; "
    "mv ground_truth/blot/003_mask.png ground_truth/blot/monday/003_mask.png",
    *(f"mv ground_truth/blot/000_mask.png ground_truth/blot/{name}.png" for name in ("000", "mask_000", "000-Label")),
]


@pytest.mark.parametrize("script", MEANS_THE_SAME)
def test_layouts_that_mean_the_same(base, script):
    expected = truth(read(base.parent))
    change(base, script)
    split = read(base.parent)
    assert counts(split) == (6, 3, 4, True)
    assert {s.defect for s in split.test} == {"good", "blot"}
    assert "sub-folders" in notes(split) if "monday" in script and "ground_truth" not in script else not notes(split)
    assert np.array_equal(truth(split), expected)


REFUSED = [
    (PLAIN + "; mv masks/bad drawn", "c/drawn/000_mask.png: looks like a mask among the photographs of c/drawn"),
    (PLAIN + "; mv masks/bad 'GT masks'", "c/GT masks: if it holds masks, call it ground_truth or masks"),
    ("rm ground_truth/blot; cp test/blot ground_truth/blot", "looks like a photograph, not like a mask"),
    ("rm ground_truth; mv test/blot test/labels", "looks like a photograph in a folder with the name of masks"),
    ("cp ground_truth/blot/000_mask.png ground_truth/good/000_mask.png", "is the mask of a good image and has defect"),
    ("mv ground_truth/blot ground_truth/dent", "none of the 4 masks belongs to a defective image"),
    ("rm ground_truth/blot/001_mask.png", "c/test/blot/001.png: defective, but has no mask, while 3 other"),
    ("cp ground_truth/blot/000_mask.png ground_truth/blot/000.png", "c/test/blot/000.png: has two masks"),
    ("mv ground_truth/blot SegmentationClass", "c/SegmentationClass: lies beside c/train and looks like masks; these"),
    (
        "mv test/blot x; mv x test/blot/cam1; mv ground_truth/blot x; mv x ground_truth/blot/cam9",
        "the mask of c/test/blot/cam1/000.png belongs in c/ground_truth/blot/cam1/000_mask.png",
    ),
    ("mv test/good val/good; mv test/blot/000.png val/000.png", "c/val/000.png: lies beside the folders of c/val"),
    ("mv test/blot blot", "c/blot: lies beside c/train and is not read; move it into c/test"),
    ("new overview.png", "c/overview.png: lies beside c/train and is not read"),
    ("mv test/blot train/blot", "c/train/blot/000.png: training images must be normal and lie in c/train/good"),
    *((f"mv {name}", "c: no training images in") for name in ("train training", "train trian", "train/good train/god")),
    *(
        (f"{PLAIN}; mv bad '{name}'", f"c/{name}: its name is not a defect type")
        for name in ("results", "val", "raw images", "heatmaps")
    ),
    (PLAIN + "; new stray.png", "c/stray.png: lies beside c/good"),
    (PLAIN + "; new test/cut/0.png", "c/test: lies beside c/good; use either c/good or c/train/good"),
    (PLAIN + "; new ok/0.png", "c/good and c/ok: two folders with the same meaning"),
    (PLAIN + "; new bad/normal/0.png", "c/bad/normal/0.png: good images below a defect type"),
    (PLAIN + "; new good/broken/0.png", "c/good/broken/0.png: defective images below good ones"),
    (PLAIN + "; new good_train/0.png", "c/good_train: has the name of training images; move its images to c/good"),
]


@pytest.mark.parametrize(("script", "line"), REFUSED)
def test_what_can_have_no_role_is_refused_in_one_line(base, script, line):
    change(base, script)
    assert line in refusal(base.parent)


NOTED = [
    *(
        (TESTED.format(f"'{name}'"), f"c/{name}: 3 images read as good test images")
        for name in ("normal_test", "good_test", "Test OK", "no_defect", "goodImages", "healthy")
    ),
    *(
        (f"mv test/good {name}/good", f"c/{name}/good: 3 images read as good test images")
        for name in ("val", "validation", "Valid")
    ),
    ("new ground_truth/blot/x_mask.png", "1 masks belong to no image and are not read: c/ground_truth/blot/x_mask.png"),
    ("mv train/good/000.png train/good/backup/000.png", "c/train/good/backup: 1 images read as good images"),
    (
        "mv test/blot 'test/heatmap_7 blots'; mv ground_truth/blot 'ground_truth/heatmap_7 blots'",
        "c/test/heatmap_7 blots: 4 images read as defective images",
    ),
    (
        PLAIN + "; rm masks; mv bad/000.png bad/images/000.png; mv bad/001.png bad/false_alarm_ok/001.png",
        "c/bad: 1 images of 1 sub-folders (false_alarm_ok) are read as defective images",
    ),
    (
        "; ".join(f"cp train/good/000.png train/good/00{i}.png" for i in range(1, 6)),
        "all 6 training images are the same file: nothing can be learned from them",
    ),
    ("cp train/good/000.png test/good/x.png", "1 test images are copies of training images, which makes the result"),
    ("cp train/good/000.png train/good/x.png", "1 training images are copies of other training images"),
    ("cp train/good/001.png train/good/x.png; cp train/good/001.png train/good/y.png", "2 training images are copies"),
]


@pytest.mark.parametrize(("script", "note"), NOTED)
def test_what_is_doubtful_is_a_note(base, script, note):
    change(base, script)
    split = read(base.parent)
    assert note in notes(split)
    assert split.n_test_anomalous == 4


@pytest.mark.parametrize(
    "name",
    ["New folder", "untitled folder", "misc", "todo", "depth", "SegmentationClass", "masks_human", "almost_good"],
)
def test_a_folder_whose_name_says_nothing_is_named_unless_it_has_masks(plain, name):
    change(plain, f"mv bad '{name}'; mv masks/bad 'masks/{name}'")
    assert "read as defective" not in notes(read(plain.parent))
    shutil.rmtree(plain / "masks")
    assert f"c/{name}: 4 images read as defective images" in notes(read(plain.parent))


@pytest.mark.parametrize(("photo", "mask"), [("{}.jpg", "{}.png"), ("{}.png", "{}_mask.png"), ("{}.png", "{}-gt.bmp")])
def test_masks_that_are_twins_of_their_images(plain, photo, mask):
    expected = truth(read(plain.parent))
    for folder in ("good", "bad"):
        again(plain / folder, lambda p, a: Image.fromarray(a).save(p.with_name(photo.format(p.stem)), quality=95))
    for path in (plain / "masks/bad").iterdir():
        Image.open(path).save(plain / "bad" / mask.format(path.stem.removesuffix("_mask")))
    for path in list((plain / "good").iterdir()):
        Image.new("L", (48, 48)).save(plain / "good" / mask.format(path.stem))
    shutil.rmtree(plain / "masks")
    split = read(plain.parent)
    assert counts(split) == (5, 1, 4, True)
    assert "4 masks lie beside their images" in notes(split)
    assert "6 masks of good images, which must be empty, are not used" in notes(split)
    assert np.array_equal(truth(split), expected)
    shutil.copy(plain / "bad" / photo.format("000"), plain / "bad" / mask.format("001"))
    assert "do not show which file is the mask" in refusal(plain.parent)
    (plain / "bad" / mask.format("001")).unlink()
    assert "looks like the mask of c/bad/000" in refusal(plain.parent)


def test_names_are_paired_whatever_their_unicode_form(base):
    for folder, form in (("test/blot", "NFC"), ("ground_truth/blot", "NFD")):
        for path in list((base / folder).iterdir()):
            path.rename(path.with_name(unicodedata.normalize(form, "größe-") + path.name))
    assert counts(read(base.parent)) == (6, 3, 4, True)


def test_types_that_differ_in_case_alone_keep_their_own_masks(plain):
    change(plain, "mv bad/000.png Bad/001.png; mv masks/bad/000_mask.png masks/Bad/001_mask.png")
    masks = {sample.path: sample.mask for sample in read(plain.parent).test if sample.mask}
    assert masks["c/Bad/001.png"] == "c/masks/Bad/001_mask.png"
    assert masks["c/bad/001.png"] == "c/masks/bad/001_mask.png"


# Names


@pytest.mark.parametrize("name", ["000", "000_mask", "000_gt", "000-label", "000.jpg", "000_seg", "mask_000"])
def test_how_a_mask_may_be_called(name):
    assert "000" in list(mask_stems(f"{name}.png"))
    assert "000" not in list(mask_stems(f"x{name}x.png"))


@pytest.mark.parametrize(
    ("name", "good", "faulty"),
    [("not_good", False, True), ("abnormal", False, True), ("no good", False, True), ("NG", False, True),
     ("healthy", True, False), ("scratch", False, False), ("goods", True, False), ("good_scratch", False, False)],
)  # fmt: skip
def test_what_a_name_means(name, good, faulty):
    assert (is_good(name), is_faulty(name)) == (good, faulty)


@pytest.mark.parametrize("name", ["scratch", "class 1", "not_ok", "fine_crack", "faulty label", "ko", "2024-03-01"])
def test_the_name_of_a_defect_type_is_decided(name):
    assert not is_undecided(name)


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

    def write(path, pixels):
        for number, name in enumerate(names):
            pixels[0, 0] = number
            target = path.parent / name.format(path.stem)
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(target)

    again(base / "test/blot", write)
    line = f"{4 * len(names)} images in c/test/blot share the names of 4 parts ({names[0].format('000')}, "
    assert line in notes(read(base.parent))


@pytest.mark.parametrize(
    "names",
    [["IMG_1", "IMG_2"], ["a", "a (1)", "a (2)"], ["IMG_a_1", "IMG_b_1"], ["a_x7", "a_y8"], ["1", "1_2", "3", "4"]],
)
def test_names_that_count_photographs_are_no_parts(names):
    assert of_one_part(names) == []


def test_any_legal_name_works(tmp_path):
    for name in HOSTILE_NAMES:
        for i in range(3):
            save(tmp_path / name / f"good/{i}.png", value=i)
        save(tmp_path / name / name / f"{name}.png", value=255)
        save(tmp_path / name / "masks" / name / f"{name}.png", mode="L")
        (defective,) = (s for s in read(tmp_path, name).test if s.label == ANOMALOUS)
        assert (defective.path, defective.mask) == (f"{name}/{name}/{name}.png", f"{name}/masks/{name}/{name}.png")


# Which folder is a category


def test_images_may_lie_in_the_root_itself(plain):
    split = read(plain, "my product")
    assert (split.category, split.test[0].path) == ("my product", "bad/000.png")


def test_what_lies_beside_categories_is_counted(plain):
    folder = plain.parent
    change(folder, "cp c/bad loose; cp c/bad/000.png extra.png")
    assert categories_in(folder) == [plain]
    (note,) = outside(folder, [plain])
    assert note.startswith("5 files of no category are not read: in 1 folders (loose)")
    assert "extra.png" in note
    assert outside(plain, [plain]) == []
    (plain / "good").rename(plain / "train")
    assert categories_in(plain) == [plain]


@pytest.mark.parametrize("at", ["c", ""])
def test_a_flat_folder_is_one_line_with_the_layout(tmp_path, at):
    for i in range(20):
        save(tmp_path / at / f"{i}.png", value=i)
    line = refusal(tmp_path)
    assert "20 files lie elsewhere" in line or "20 images and no folder of good" in line
    assert "c/good" in line


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
        f"no good test images: {held} of {count} training images are used as test images "
        f"(share {share:g}, chosen by content hash)"
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
    assert "no defective test images: no metrics" in split.notes


# What files hold


@pytest.mark.parametrize("place", ["train/good", "test/good"])
def test_one_content_with_two_labels_is_refused(base, place):
    shutil.copy(base / "test/blot/001.png", base / place / "x.png")
    kind = "a training image" if place == "train/good" else "a good test image"
    line = f"c/test/blot/001.png: is defective, and the same file as {kind}, c/{place}/x.png"
    assert line in refusal(base.parent)
    # Of an official dataset it is a note.
    assert line in "\n".join(resolve_split(request(base.parent), "c").notes)


def test_system_files_are_skipped_and_other_files_are_counted(base):
    for folder in ("train/good", "test/blot"):
        for image in list((base / folder).glob("*.png")):
            save(base / folder / "@eaDir" / image.name / "THUMB.jpg")
    save(base / "test/good/._000.png")
    for name in ("test/good/Thumbs.db", "notes.txt", "train/good/a.HEIC", "train/good/b.heic"):
        (base / name).write_bytes(b"x")
    Image.open(base / "train/good/001.png").save(base / "train/good/001.jfif", format="JPEG")
    (base / "train/good/001.png").unlink()
    split = read(base.parent)
    assert counts(split) == (6, 3, 4, True)
    assert "2 images in formats that are not read: 2 .heic; save them as PNG or JPEG" in notes(split)
    assert "12 hidden or system files are not read" in notes(split)
    assert "1 other files are not read: c/notes.txt" in notes(split)


def test_images_of_several_kinds_are_counted(base):
    frames = [Image.open(base / "test/good/000.png"), Image.open(base / "test/good/001.png")]
    frames[0].save(base / "test/good/000.tif", save_all=True, append_images=frames[1:])
    again(base / "test/blot", lambda p, a: Image.fromarray(a[..., 0]).save(p))
    Image.open(base / "train/good/000.png").convert("RGBA").resize((50, 40)).save(base / "train/good/000.png")
    found = notes(read(base.parent))
    assert "1 images have the name of another image, but for the extension: c/test/good/000.tif" in found
    assert "1 images have several pages or frames, of which the first is read: c/test/good/000.tif" in found
    assert "1 images have an alpha channel, which is dropped: c/train/good/000.png" in found
    assert "4 of 14 images are grey, and the others have colours" in found
    assert "images have 2 sizes: 13 of 48x48, 1 of 50x40" in found


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(2, 9))
def test_images_and_masks_are_turned_as_viewers_turn_them(base, orientation):
    tags = exif(orientation)
    again(base / "ground_truth/blot", lambda p, a: Image.fromarray(a[:, :40]).save(p, exif=tags))
    again(base / "test/blot", lambda p, a: Image.fromarray(a[:, :40]).save(p, exif=tags))
    for white in (255, 65535):
        split = read(base.parent)
        assert "8 images have an EXIF orientation and are turned" in notes(split)
        for sample in (sample for sample in split.test if sample.mask):
            image, mask = (
                np.array(ImageOps.exif_transpose(Image.open(base.parent / name))) for name in (sample.path, sample.mask)
            )
            pixels = read_pixels(base.parent, sample.path, split.reading)
            assert np.array_equal(pixels.squeeze(), image // (white // 255))
            assert np.array_equal(read_mask(base.parent, sample.mask, split.reading), mask > 0)
        assert ("c/test/blot/000.png", f"turned {orientation}") in split.reading.unusual
        assert fingerprint(split) != fingerprint(resolve_split(request(base.parent), "c"))
        again(base / "test/blot", lambda p, a: Image.fromarray(a[..., 0].astype(np.uint16) * 257).save(p, exif=tags))


def test_a_mask_must_have_the_turned_size(tmp_path):
    draw_mvtec_category(tmp_path / "c", n_train=3, n_good=1, n_bad=1, size=48)
    path, mask = tmp_path / "c/test/blot/000.png", tmp_path / "c/ground_truth/blot/000_mask.png"
    Image.open(path).crop((0, 0, 48, 30)).save(path, exif=exif(6))
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
    import imagecodecs

    again(base / "train/good", lambda p, a: p.write_bytes(imagecodecs.png_encode(a.astype(np.uint16) * 16)))
    split = read(base.parent)
    assert "6 of 13 images have more than 8 bits: scaled so that 65535 becomes 255" in notes(split)
    assert "so they are dark: dataset.white_level=" in notes(split)
    lighter = read(base.parent, white_level=4080)
    assert "scaled so that 4080 becomes 255" in notes(lighter)
    found = read_pixels(base.parent, "c/train/good/000.png", lighter.reading)
    stored = imagecodecs.png_decode((base / "train/good/000.png").read_bytes())
    assert np.array_equal(found, stored // 16), "all 16 bits of each colour count"
    assert fingerprint(lighter) != fingerprint(split)
    assert "hold values above that, which are clipped" in notes(read(base.parent, white_level=1000))
    Image.fromarray(np.full((48, 48), 900.0, np.float32)).save(base / "train/good/x.tif")
    assert "give dataset.white_level=N" in refusal(base.parent)


# What is defective in a mask


def array(dtype, form=lambda m: m, suffix=".png"):
    return lambda m, p: Image.fromarray(form(m).astype(dtype)).save(p.with_suffix(suffix))


MASKS = {
    "0 and 1": (array(np.uint8), ""),
    "1 and 2": (array(np.uint8, lambda m: m + np.uint8(1)), "the background of masks is 1"),
    "one bit": (array(bool), ""),
    "16 bits": (array(np.uint16, lambda m: m * 65535), ""),
    "float": (array(np.float32, suffix=".tif"), ""),
    "alpha": (
        array(np.uint8, lambda m: np.dstack([np.full((*m.shape, 3), 255), m * 255])),
        "all 4 masks are read in their alpha channel",
    ),
    "dark blue": (array(np.uint8, lambda m: np.dstack([m * 0, m * 0, m * 2])), "all 4 masks are read in colours"),
    "palette": (
        lambda m, p: Image.fromarray(np.dstack([m * 128, m * 0, m * 0]).astype(np.uint8)).quantize(2).save(p),
        "all 4 masks are read in colours",
    ),
    "classes": (
        array(np.uint8, lambda m: m * (1 + np.arange(m.shape[1]) % 3)),
        "all 4 masks have more than two grey values: what is above 0 is defective",
    ),
}


@pytest.mark.parametrize("kind", MASKS)
def test_every_kind_of_mask_means_the_same_pixels(base, kind):
    write, note = MASKS[kind]
    expected, plain_print = truth(read(base.parent)), fingerprint(read(base.parent))
    again(base / "ground_truth/blot", lambda p, a: write(a > 0, p))
    split = read(base.parent)
    assert np.array_equal(truth(split), expected)
    assert note in notes(split)
    assert bool(split.reading.unusual) == bool(note)
    assert fingerprint(split) != plain_print


def test_soft_masks_are_cut_at_half_of_their_range(tmp_path):
    draw_mvtec_category(tmp_path / "c", n_train=3, n_good=1, n_bad=3, size=128)
    proto = preprocessing(resize=(128, 128), center_crop=None)
    expected = load_masks(read(tmp_path), proto)
    again(tmp_path / "c/ground_truth/blot", lambda p, a: Image.fromarray(a).save(p.with_suffix(".jpg"), quality=75))
    split = read(tmp_path)
    assert "all 3 masks have more than two grey values: what is above 127.5 is defective" in notes(split)
    assert np.mean(load_masks(split, proto) != expected) < 0.002
    assert ("c/ground_truth/blot/000_mask.jpg", "above 127.5") in split.reading.unusual


def test_black_inverted_and_lost_masks_are_counted(base):
    def draw(number, *pixel):
        values = np.zeros((48, 48), np.uint8)
        values[pixel] = 255
        Image.fromarray(values).save(base / f"ground_truth/blot/00{number}_mask.png")

    draw(0, slice(0))
    assert "1 of 4 defective images have no defective pixel in their mask" in notes(read(base.parent))
    draw(0, slice(2), slice(2))
    draw(1, 1, 1)
    assert "lose all" not in notes(read(base.parent))
    split = read(base.parent, proto=preprocessing(resize=(24, 24), center_crop=(16, 16)))
    assert split.notes[0] == "resized to 24x24, cropped to the middle 16x16"
    lost = (
        "2 of 4 defective images lose all of their defective pixels: 1 by the crop (preprocessing.center_crop=null uses"
    )
    assert lost in notes(split)
    assert "1 by the resize (a larger preprocessing.resize keeps more)" in notes(split)
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


def put(path: Path, kind: str, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, mask = draw_image(np.random.default_rng(seed), 24, blot=True)
    if path.suffix in {".png", ".jpg", ".jfif"}:
        file_format = "PNG" if path.suffix == ".png" else "JPEG"
        Image.fromarray(image if kind == "photo" else mask).save(path, format=file_format)
    else:
        path.write_bytes(b"x")


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(*(st.sampled_from(text.split()) for text in (FOLDERS, FILES, "photo mask"))),
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
    except DataError:
        return
    found = find_own(root, "c", lambda name: colours_of(root, name))
    used = [name for s in (*split.train, *split.test) for name in (s.path, s.mask) if name]
    ends = [*used, *found.good_masks, *found.not_read]
    assert sorted(ends) == sorted(list_files(root, "c").names)
    assert sorted(ends) == sorted(str(p.relative_to(root)) for p in (root / "c").rglob("*") if p.is_file())
    counted = sum(int(note.split()[0]) for note in found.notes if "not read" in note or "not used" in note)
    assert counted == len(found.good_masks) + len(found.not_read)
    assert all(s.label == NORMAL for s in split.train)
    for sample in (*split.train, *split.test):
        assert colours_of(root, sample.path) == 0


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_of_a_category_is_no_category(tmp_path, part):
    for folder in ("widget/train/good", "widget/test/good", "widget/test/dent"):
        (tmp_path / folder).mkdir(parents=True)
    dataset = DatasetConfig("folder", "folder", tmp_path / "widget")
    with pytest.raises(DataError, match=rf"^{part}: is a part of the category .*widget; give dataset.root="):
        resolve_split(dataset, part)
