import shutil

import pytest

from harness.data.layouts import resolve_split, validate_request
from harness.data.split import ANOMALOUS, NORMAL
from harness.errors import DataError, RequestError
from tests.data.small import HOSTILE_NAMES, request, save
from tests.drawing import draw_mvtec_category


def ask(root, **changes):
    return request(root, "folder", name="folder", **changes)


def fill(folder, count, start=0):
    """Images that differ in content."""
    for i in range(start, start + count):
        save(folder / f"{i:03d}.png", value=i)


def paths(samples):
    return [sample.path for sample in samples]


def test_the_train_test_layout_equals_mvtecs(tmp_path):
    draw_mvtec_category(tmp_path / "c", size=16)
    ours, official = resolve_split(ask(tmp_path), "c"), resolve_split(request(tmp_path), "c")
    assert (ours.train, ours.test, ours.has_masks, ours.notes) == (official.train, official.test, True, ())


@pytest.mark.parametrize("good", ["good", "normal", "ok", "Good", "NORMAL"])
@pytest.mark.parametrize("masks", ["ground_truth", "masks", "Masks"])
def test_accepted_names_of_folders_in_both_layouts(tmp_path, good, masks):
    fill(tmp_path / f"a/train/{good}", 5)
    fill(tmp_path / f"a/test/{good}", 2, start=20)
    fill(tmp_path / f"b/{good}", 5)
    for base, defect in (("a", "a/test/cut"), ("b", "b/cut")):
        fill(tmp_path / defect, 3, start=50)
        for i in range(50, 53):
            save(tmp_path / f"{base}/{masks}/cut/{i:03d}.png", mode="L")
    split = resolve_split(ask(tmp_path), "a")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks) == (5, 2, 3, True)
    split = resolve_split(ask(tmp_path), "b")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks) == (4, 1, 3, True)
    assert {s.defect for s in split.test} == {"good", "cut"}
    assert {s.label for s in split.test if s.defect == "cut"} == {ANOMALOUS}
    assert next(s.mask for s in split.test if s.defect == "cut") == f"b/{masks}/cut/050.png"


def test_images_may_lie_in_the_root_itself(tmp_path):
    fill(tmp_path / "good", 5)
    fill(tmp_path / "cut", 2, start=50)
    split = resolve_split(ask(tmp_path), "my product")
    assert split.category == "my product"
    assert paths(split.test)[:2] == ["cut/050.png", "cut/051.png"]
    # A category that is a folder of its own wins over the root; one that only is a defect type does not.
    assert resolve_split(ask(tmp_path), "cut").train == split.train
    fill(tmp_path / "own/good", 3)
    fill(tmp_path / "own/bad", 1, start=9)
    assert paths(resolve_split(ask(tmp_path), "own").train)[0].startswith("own/good/")


def test_a_folder_that_holds_no_good_images_is_named(tmp_path):
    fill(tmp_path / "c/cut", 3)
    validate_request(ask(tmp_path), "c")
    with pytest.raises(DataError, match=r"^c: no training images in .*; they belong in c/good or c/normal or c/ok"):
        resolve_split(ask(tmp_path), "c")
    with pytest.raises(RequestError, match=r"has no folder d.*; there are c$"):
        validate_request(ask(tmp_path), "d")


@pytest.mark.parametrize(
    ("count", "share", "held"), [(10, 0.2, 2), (3, 0.2, 1), (2, 0.9, 1), (20, 0.5, 10), (2, 0.01, 1)]
)
def test_a_stated_share_of_the_good_images_becomes_test(tmp_path, count, share, held):
    fill(tmp_path / "c/good", count)
    fill(tmp_path / "c/cut", 1, start=99)
    split = resolve_split(ask(tmp_path, normal_test_share=share), "c")
    normal = [s for s in split.test if s.label == NORMAL]
    assert (len(split.train), len(normal)) == (count - held, held)
    assert not set(paths(split.train)) & set(paths(normal))
    assert split.notes[0] == (
        f"no good test images: {held} of {count} training images became test (share {share:g}, chosen by content hash)"
    )


def test_which_images_become_test_depends_on_content_alone(tmp_path):
    fill(tmp_path / "c/good", 20)
    fill(tmp_path / "c/cut", 1, start=99)
    held = {(tmp_path / p).read_bytes() for p in paths(resolve_split(ask(tmp_path), "c").test)}
    for i, path in enumerate(sorted((tmp_path / "c/good").iterdir())):
        path.rename(path.with_name(f"renamed-{(7 * i) % 20}.png"))
    (tmp_path / "c").rename(tmp_path / "moved")
    assert {(tmp_path / p).read_bytes() for p in paths(resolve_split(ask(tmp_path), "moved").test)} == held


def test_copies_of_one_image_stay_on_one_side(tmp_path):
    for name in "abcdef":
        save(tmp_path / f"c/good/{name}.png", value=1)
    fill(tmp_path / "c/good", 6, start=100)
    fill(tmp_path / "c/cut", 1, start=99)
    split = resolve_split(ask(tmp_path), "c")
    train = {(tmp_path / p).read_bytes() for p in paths(split.train)}
    assert not train & {(tmp_path / s.path).read_bytes() for s in split.test}


def test_too_few_good_images_to_set_any_aside(tmp_path):
    fill(tmp_path / "c/good", 1)
    fill(tmp_path / "c/cut", 1, start=99)
    with pytest.raises(DataError, match=r"^c/good/000\.png: the only good image"):
        resolve_split(ask(tmp_path), "c")
    shutil.copy(tmp_path / "c/good/000.png", tmp_path / "c/good/copy.png")
    with pytest.raises(DataError, match="too few good images differ in content"):
        resolve_split(ask(tmp_path), "c")


def test_good_test_images_are_left_alone_where_there_are_some(tmp_path):
    fill(tmp_path / "c/train/good", 10)
    fill(tmp_path / "c/test/good", 1, start=50)
    split = resolve_split(ask(tmp_path), "c")
    assert (len(split.train), len(split.test)) == (10, 1)
    assert split.notes == ("no defective test images: no pixel metrics",)


def test_only_good_images_give_a_split_without_defects(tmp_path):
    fill(tmp_path / "c/good", 10)
    split = resolve_split(ask(tmp_path), "c")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks) == (8, 2, 0, False)
    assert "no defective test images: no pixel metrics" in split.notes


def test_sub_folders_are_read_and_their_masks_paired(tmp_path):
    fill(tmp_path / "c/good/monday", 3)
    fill(tmp_path / "c/good/tuesday", 3, start=10)
    fill(tmp_path / "c/cut/monday", 2, start=50)
    for i in (50, 51):
        save(tmp_path / f"c/masks/cut/monday/{i:03d}_mask.bmp", mode="L")
    split = resolve_split(ask(tmp_path), "c")
    assert len(split.train) + split.n_test_normal == 6
    assert [s.mask for s in split.test if s.label == ANOMALOUS] == [
        "c/masks/cut/monday/050_mask.bmp",
        "c/masks/cut/monday/051_mask.bmp",
    ]


def test_an_empty_sub_folder_is_no_defect_type(tmp_path):
    fill(tmp_path / "c/good", 4)
    (tmp_path / "c/notes").mkdir()
    assert {s.defect for s in resolve_split(ask(tmp_path), "c").test} == {"good"}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("c/stray.png", r"^c/stray\.png: lies beside c/good"),
        ("c/test/cut/0.png", r"^c/test: lies beside c/good; use either c/good or c/train/good"),
        ("c/ok/0.png", r"^c/good and c/ok: two folders of good images"),
        ("c/cut/normal/0.png", r"^c/cut/normal/0\.png: good images below the defect type 'cut'"),
        ("c/cut/000_mask.png", r"^c/cut/000_mask\.png: a mask among the images; move it to c/masks/cut"),
        ("c/ground_truth/cut/0.png", r"^c/ground_truth and c/masks: two folders of masks"),
        ("c/masks/cut/001_gt.png", None),
        ("c/masks/cut/.hidden.png", None),
    ],
)
def test_layouts_that_cannot_be_understood(tmp_path, extra, message):
    fill(tmp_path / "c/good", 4)
    fill(tmp_path / "c/cut", 1)
    save(tmp_path / "c/masks/cut/000.png", mode="L")
    save(tmp_path / extra)
    if message is None:
        assert resolve_split(ask(tmp_path), "c").has_masks
    else:
        with pytest.raises(DataError, match=message):
            resolve_split(ask(tmp_path), "c")


def test_masks_that_belong_to_no_image_are_not_taken_for_no_masks(tmp_path):
    fill(tmp_path / "c/good", 4)
    fill(tmp_path / "c/cut", 2)
    save(tmp_path / "c/masks/cut/000_gt.png", mode="L")
    with pytest.raises(DataError, match=r"^c/masks/cut: none of its 1 masks belongs to an image of c/cut"):
        resolve_split(ask(tmp_path), "c")


def test_any_legal_name_works(tmp_path):
    for name in HOSTILE_NAMES:
        fill(tmp_path / name / "good", 3)
        save(tmp_path / name / name / f"{name}.png")
        save(tmp_path / name / "masks" / name / f"{name}.png", mode="L")
        split = resolve_split(ask(tmp_path / ""), name)
        defective = split.test[[s.label for s in split.test].index(ANOMALOUS)]
        assert (defective.path, defective.mask) == (f"{name}/{name}/{name}.png", f"{name}/masks/{name}/{name}.png")
        assert defective.defect == name


@pytest.mark.parametrize("layout", ["mvtec", "folder"])
def test_the_letters_case_of_no_folder_matters(tmp_path, layout):
    name = "good" if layout == "mvtec" else "Good"
    fill(tmp_path / f"bottle/Train/{name}", 5)
    fill(tmp_path / f"bottle/TEST/{name}", 2, start=20)
    fill(tmp_path / "bottle/TEST/cut", 2, start=40)
    for i in (40, 41):
        save(tmp_path / f"bottle/Ground_Truth/Cut/{i:03d}_mask.png", mode="L")
    made = request(tmp_path) if layout == "mvtec" else ask(tmp_path)
    split = resolve_split(made, "bottle")
    assert (len(split.train), split.n_test_normal, split.n_test_anomalous, split.has_masks) == (5, 2, 2, True)
    assert {sample.mask for sample in split.test} == {
        None,
        *(f"bottle/Ground_Truth/Cut/{i}_mask.png" for i in ("040", "041")),
    }


def test_a_defect_types_masks_are_taken_by_their_exact_name_first(tmp_path):
    fill(tmp_path / "c/good", 5)
    for defect, start in (("cut", 40), ("Cut", 50)):
        fill(tmp_path / "c" / defect, 1, start=start)
        save(tmp_path / f"c/masks/{defect}/{start:03d}.png", mode="L")
    masks = [sample.mask for sample in resolve_split(ask(tmp_path), "c").test if sample.mask]
    assert sorted(masks) == ["c/masks/Cut/050.png", "c/masks/cut/040.png"]
    fill(tmp_path / "c/CUT", 1, start=60)
    with pytest.raises(DataError, match=r"c/masks/Cut and c/masks/cut: two folders of masks of CUT; merge them"):
        resolve_split(ask(tmp_path), "c")


@pytest.mark.parametrize("layout", ["mvtec", "folder"])
def test_masks_among_the_images_are_no_defective_images_even_where_no_masks_are_expected(tmp_path, layout):
    draw_mvtec_category(tmp_path / "bottle", size=16)
    shutil.move(tmp_path / "bottle/ground_truth/blot/000_mask.png", tmp_path / "bottle/test/blot/000_mask.png")
    shutil.rmtree(tmp_path / "bottle/ground_truth")
    made = request(tmp_path) if layout == "mvtec" else ask(tmp_path)
    with pytest.raises(DataError, match=r"^bottle/test/blot/000_mask.png: a mask among the images; move it"):
        resolve_split(made, "bottle")


@pytest.mark.parametrize("name", ["mask", "GT", "groundtruth"])
@pytest.mark.parametrize("base", ["a", "b"])
def test_a_folder_of_masks_by_nearly_that_name_is_no_defect_type_and_not_passed_over(tmp_path, base, name):
    fill(tmp_path / "a/train/good", 5)
    fill(tmp_path / "a/test/cut", 3, start=50)
    fill(tmp_path / "b/good", 5)
    fill(tmp_path / "b/cut", 3, start=50)
    fill(tmp_path / base / name / "cut", 3)
    wanted = rf"^{base}/{name}: if it holds masks call it ground_truth or masks, if not anything else"
    with pytest.raises(DataError, match=wanted):
        resolve_split(ask(tmp_path), base)


@pytest.mark.parametrize("base", ["a", "b"])
def test_masks_that_lie_in_no_folder_of_a_defect_type_are_not_taken_for_none(tmp_path, base):
    fill(tmp_path / "a/train/good", 5)
    fill(tmp_path / "a/test/cut", 3, start=50)
    fill(tmp_path / "b/good", 5)
    fill(tmp_path / "b/cut", 3, start=50)
    defect = {"a": "a/test/cut", "b": "b/cut"}[base]
    fill(tmp_path / base / "masks", 3, start=50)
    complaint = rf"^{base}/masks/050.png: no defective image has this mask; that of {defect}/050.png belongs in "
    with pytest.raises(DataError, match=f"{complaint}{base}/masks/cut/050_mask.png$"):
        resolve_split(ask(tmp_path), base)


@pytest.mark.parametrize("layout", ["mvtec", "folder"])
def test_images_beside_the_good_ones_of_train_are_not_passed_over(tmp_path, layout):
    draw_mvtec_category(tmp_path / "bottle", size=16)
    fill(tmp_path / "bottle/train", 1)
    made = request(tmp_path) if layout == "mvtec" else ask(tmp_path)
    with pytest.raises(DataError, match=r"^bottle/train/000.png: lies beside the folders of bottle/train; move it"):
        resolve_split(made, "bottle")


def test_two_images_never_share_a_mask(tmp_path):
    fill(tmp_path / "c/good", 5)
    fill(tmp_path / "c/Cut", 1, start=40)
    fill(tmp_path / "c/cut", 1, start=40)
    save(tmp_path / "c/masks/cut/040_mask.png", mode="L")
    with pytest.raises(DataError, match=r"^c/masks/cut/040_mask.png: is the mask of c/Cut/040.png and of c/cut/"):
        resolve_split(ask(tmp_path), "c")
