import pytest

from harness.data.pairing import pair_masks
from harness.errors import DataError


def pair(images, masks):
    found = pair_masks([f"test/cut/{i}" for i in images], "test/cut", [f"gt/cut/{m}" for m in masks], "gt/cut")
    return {image.removeprefix("test/cut/"): mask.removeprefix("gt/cut/") for image, mask in found.items()}


def test_pairs_go_by_name_in_either_form_and_across_extensions():
    assert pair(["0.png", "1.bmp", "s/2.JPG"], ["1.png", "0_mask.png", "s/2_mask.tif"]) == {
        "0.png": "0_mask.png",
        "1.bmp": "1.png",
        "s/2.JPG": "s/2_mask.tif",
    }


def test_order_does_not_matter_where_sorting_would_cross_the_pairs():
    # '0' sorts before '_': sorted masks are 10_mask, 1_mask, which is what pairing by position trips over.
    assert pair(["1.png", "10.png"], ["10_mask.png", "1_mask.png"]) == {"1.png": "1_mask.png", "10.png": "10_mask.png"}


def test_a_stem_may_hold_dots_and_the_word_mask():
    assert pair(["a.b.png", "mask.png"], ["a.b_mask.png", "mask_mask.png"]) == {
        "a.b.png": "a.b_mask.png",
        "mask.png": "mask_mask.png",
    }


def test_images_without_a_mask_are_left_out():
    assert pair(["0.png", "1.png"], ["1_mask.png"]) == {"1.png": "1_mask.png"}
    assert pair(["0.png"], []) == {}
    assert pair([], ["0.png"]) == {}


def test_same_names_in_different_sub_folders_are_different_images():
    assert pair(["a/0.png", "b/0.png"], ["b/0.png"]) == {"b/0.png": "b/0.png"}


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["0.png"], ["0.png", "0_mask.png"], r"^test/cut/0\.png: has two masks, gt/cut/0_mask\.png and gt/cut/0\.png"),
        (["0.png"], ["0.bmp", "0.png"], "has two masks"),
        (["0.bmp", "0.png"], ["0.png"], r"^gt/cut/0\.png: is the mask of test/cut/0\.bmp and of test/cut/0\.png"),
        (["0.png", "0_mask.png"], [], r"^test/cut/0_mask\.png: a mask among the images; move it to gt/cut"),
        (["0.png", "1.png"], ["0_gt.png"], r"^gt/cut: none of its 1 masks .* test/cut/0\.png 0_mask\.png or 0\.png"),
    ],
)
def test_what_cannot_be_paired_is_named(images, masks, message):
    with pytest.raises(DataError, match=message):
        pair(images, masks)
