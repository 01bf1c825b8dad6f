"""Which mask belongs to which defective image: by name, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from harness.errors import DataError

MASK_SUFFIX = "_mask"


def pair_masks(images: Sequence[str], image_folder: str, masks: Sequence[str], mask_folder: str) -> dict[str, str]:
    """Map each image to its mask: the file of the same sub-path whose stem is `<stem>_mask` or `<stem>`.

    Extensions may differ. Images without a mask are left out. All paths are relative to the same root.

    Args:
        images: below `image_folder`.
        masks: below `mask_folder`.

    Raises:
        DataError: an image with two masks, two images with one mask, a mask lying among the images, or masks of
            which none belongs to any image.
    """
    by_key: dict[str, list[str]] = {}
    for mask in masks:
        by_key.setdefault(_key(mask, mask_folder), []).append(mask)
    keys = {_key(image, image_folder) for image in images}
    pairs: dict[str, str] = {}
    owner: dict[str, str] = {}
    for image in images:
        key = _key(image, image_folder)
        if key.endswith(MASK_SUFFIX) and key.removesuffix(MASK_SUFFIX) in keys:
            raise DataError(f"{image}: a mask among the images; move it to {mask_folder}")
        found = [*by_key.get(key + MASK_SUFFIX, []), *by_key.get(key, [])]
        if len(found) > 1:
            raise DataError(f"{image}: has two masks, {found[0]} and {found[1]}; remove one")
        if found:
            if found[0] in owner:
                raise DataError(f"{found[0]}: is the mask of {owner[found[0]]} and of {image}; rename one image")
            owner[found[0]] = image
            pairs[image] = found[0]
    if masks and images and not pairs:
        stem = PurePosixPath(images[0]).stem
        raise DataError(
            f"{mask_folder}: none of its {len(masks)} masks belongs to an image of {image_folder}; "
            f"name the mask of {images[0]} {stem}_mask.png or {stem}.png"
        )
    return pairs


def _key(path: str, folder: str) -> str:
    """The path below `folder`, without the extension."""
    return str(PurePosixPath(path).relative_to(folder).with_suffix(""))
