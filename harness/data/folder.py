"""`dataset=folder`: images of one's own, in either of two simple layouts.

A category's images lie in `root/category`, or in `root` itself where `root/category` is no folder of images. Folder
names are compared without regard to case. <good> is good, normal or ok; <masks> is ground_truth or masks.

    train and test          one folder a kind
    train/<good>/           <good>/
    test/<good>/            <defect>/           any other name: the defect type
    test/<defect>/          <masks>/<defect>/
    <masks>/<defect>/

`train/<good>` decides for the first layout; there, other folders beside train, test and <masks> are ignored. Masks and
`test` are optional. A mask has its image's sub-path and the stem `<stem>_mask` or `<stem>`, with any image extension;
pixels above 0 are defective. Sub-folders of every folder are read too.

Where there are no good test images, a stated share of the good ones becomes test (`dataset.normal_test_share`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.data.digests import digest_files
from harness.data.files import direct_images, list_images, one_of, subfolders
from harness.data.found import (
    KINDS,
    Found,
    by_path,
    check_masks_used,
    defective_samples,
    find_masks,
    normal_samples,
    scan_tree,
    single_folder,
)
from harness.data.split import NORMAL, Sample
from harness.errors import DataError

GOOD_NAMES = ("good", "normal", "ok")
MASK_NAMES = ("ground_truth", "masks")


def holds_images(folder: Path) -> bool:
    """Whether `folder` is laid out in one of the two ways, judged by the names of its folders alone."""
    return bool(one_of(subfolders(folder), GOOD_NAMES)) or _has_train(folder)


def find_folder(root: Path, category: str, normal_test_share: float) -> Found:
    """The samples of a folder of one's own; see the module's docstring for what is accepted.

    Raises:
        DataError: the layouts are mixed, an image lies where it cannot be placed, or there are too few good images
            to set any aside.
    """
    base = category if holds_images(root / category) or not holds_images(root) else ""
    if _has_train(root / base):
        found = scan_tree(root, base, good=GOOD_NAMES, masks=MASK_NAMES)
    else:
        found = _scan_plain(root, base)
    if found.train and not any(sample.label == NORMAL for sample in found.test):
        return _hold_out(found, normal_test_share)
    return found


def _has_train(folder: Path) -> bool:
    return any(one_of(subfolders(folder / name), GOOD_NAMES) for name in one_of(subfolders(folder), ("train",)))


def _scan_plain(root: Path, base: str) -> Found:
    good = single_folder(root, base, GOOD_NAMES, "good images")
    masks = find_masks(root, base, MASK_NAMES)
    prefix = f"{base}/" if base else ""
    places = " or ".join(f"{prefix}{name}" for name in (*GOOD_NAMES, "train/good"))
    expected = f"{places} ({KINDS})"
    if good is None:
        return Found(root, (), (), expected=expected)
    stray = direct_images(root / base)
    if stray:
        raise DataError(f"{prefix}{stray[0]}: lies beside {good}; move it into that folder or a defect type's")
    test: list[Sample] = []
    for name in subfolders(root / base):
        folder = prefix + name
        if folder in {good, masks}:
            continue
        if name.lower() in {"train", "test"}:
            raise DataError(f"{folder}: lies beside {good}; use either {good} or {prefix}train/good, not both")
        test += defective_samples(root, folder, masks, GOOD_NAMES)
    check_masks_used(root, masks, test)
    return Found(root, by_path(normal_samples(list_images(root, good))), by_path(test), expected=expected)


def _hold_out(found: Found, share: float) -> Found:
    """Move a share of the training images, at least one, to test.

    Which ones is decided by their content alone, so renaming files or another seed changes nothing. Files with the same
    content stay together: a copy of a training image is no test image.
    """
    if len(found.train) < 2:
        raise DataError(f"{found.train[0].path}: the only good image, and none is left to test with; add more")
    digests = digest_files(found.root, [sample.path for sample in found.train])
    order = sorted(
        zip((digest.sha256 for digest in digests), found.train, strict=True), key=lambda pair: (pair[0], pair[1].path)
    )
    n_test = min(max(1, round(share * len(order))), len(order) - 1)
    last = order[n_test - 1][0]
    held = [sample for digest, sample in order if digest <= last]
    kept = [sample for digest, sample in order if digest > last]
    if not kept:
        raise DataError(f"{found.train[0].path}: too few good images differ in content to set some aside; add more")
    note = (
        f"no good test images: {len(held)} of {len(order)} training images became test "
        f"(share {share}, chosen by content hash)"
    )
    return replace(found, train=by_path(kept), test=by_path([*found.test, *held]), notes=(*found.notes, note))
