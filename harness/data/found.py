"""What a layout finds on disk, before anything is verified, and the train/test tree that three layouts share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.data.files import IMAGE_EXTENSIONS, direct_images, list_images, one_of, subfolders
from harness.data.pairing import pair_masks
from harness.data.split import ANOMALOUS, NORMAL, Sample
from harness.errors import DataError

GOOD = "good"
"""`Sample.defect` of a normal image, whatever its folder is called."""

KINDS = ", ".join(sorted(IMAGE_EXTENSIONS))
"""What counts as an image, for whoever has none."""

NEARLY_MASKS = ("mask", "gt", "groundtruth", "ground-truth", "ground truth", "ground_truths")
"""What folders of masks are called by mistake; taken for a defect type they would be scored as defective images."""


@dataclass(frozen=True)
class Found:
    """The samples of one category as its folders hold them."""

    root: Path
    """What the samples' paths are relative to."""
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    expected: str
    """Where training images were looked for: the text of an error."""
    notes: tuple[str, ...] = field(default=())


def scan_tree(root: Path, category: str, *, good: Collection[str], masks: Collection[str]) -> Found:
    """Read `train/<good>`, `test/<good>`, `test/<defect>` and `<masks>/<defect>` below `root/category`.

    Args:
        category: relative to `root`; empty where `root` is the category's own folder.
        good: accepted names, in lower case, of the folders of normal images.
        masks: accepted names, in lower case, of the folder of masks.

    Raises:
        DataError: images where none can be meant (beside the folders of train or test, in a folder of train that is not
            good), two folders with the same meaning, or masks that cannot be paired.
    """
    train_folder = single_folder(root, category, ("train",), "training images") or _join(category, "train")
    test_folder = single_folder(root, category, ("test",), "test images") or _join(category, "test")
    wanted = " or ".join(f"{train_folder}/{name}" for name in good)
    train: list[Sample] = []
    for name in subfolders(root / train_folder):
        images = list_images(root, _join(train_folder, name))
        if name.lower() in good:
            train += normal_samples(images)
        elif images:
            raise DataError(
                f"{images[0]}: training images must be normal and lie in {wanted}; move it to {test_folder}"
            )
    for folder in (train_folder, test_folder):
        if stray := direct_images(root / folder):
            raise DataError(f"{_join(folder, stray[0])}: lies beside the folders of {folder}; move it into one")
    mask_folder = find_masks(root, category, masks)
    test: list[Sample] = []
    for name in subfolders(root / test_folder):
        folder = _join(test_folder, name)
        if name.lower() in good:
            test += normal_samples(list_images(root, folder))
        else:
            test += defective_samples(root, folder, mask_folder, good)
    check_masks_used(root, mask_folder, test)
    return Found(root, by_path(train), by_path(test), expected=f"{wanted} ({KINDS})")


def find_masks(root: Path, parent: str, accepted: Collection[str]) -> str | None:
    """The folder of masks; None where there is none.

    Raises:
        DataError: there are two, or one that is called nearly so.
    """
    found = single_folder(root, parent, accepted, "masks")
    if found is None and (near := one_of(subfolders(root / parent), NEARLY_MASKS)):
        wanted = " or ".join(sorted(accepted))
        raise DataError(f"{_join(parent, near[0])}: if it holds masks call it {wanted}, if not anything else")
    return found


def check_masks_used(root: Path, mask_folder: str | None, test: Collection[Sample]) -> None:
    """Refuse masks that lie where no defective image looks for them.

    Raises:
        DataError: there are masks and defective images, and no image has a mask; or two images have one.
    """
    defective = [sample for sample in test if sample.label == ANOMALOUS]
    owner: dict[str, str] = {}
    for sample in defective:
        if sample.mask is not None and owner.setdefault(sample.mask, sample.path) != sample.path:
            raise DataError(
                f"{sample.mask}: is the mask of {owner[sample.mask]} and of {sample.path}; give each defect type a "
                "folder of masks of its very name"
            )
    if mask_folder is None or not defective or any(sample.mask for sample in defective):
        return
    if unused := list_images(root, mask_folder):
        first = defective[0]
        wanted = _join(_join(mask_folder, first.defect or ""), f"{PurePosixPath(first.path).stem}_mask.png")
        raise DataError(f"{unused[0]}: no defective image has this mask; that of {first.path} belongs in {wanted}")


def normal_samples(images: Collection[str]) -> list[Sample]:
    """A sample for each normal image."""
    return [Sample(path=image, label=NORMAL, defect=GOOD) for image in images]


def defective_samples(root: Path, folder: str, mask_folder: str | None, good: Collection[str]) -> list[Sample]:
    """A sample, with its mask where there is one, for each image below `folder`, whose name is the defect type.

    Raises:
        DataError: as `pair_masks`; or a folder of good images among the defective ones.
    """
    defect = PurePosixPath(folder).name
    images = list_images(root, folder)
    for image in images:
        inner = PurePosixPath(image).relative_to(folder).parts[:-1]
        if one_of(inner, good):
            raise DataError(f"{image}: good images below the defect type {defect!r}; move them out of {folder}")
    below, masks = "a folder of masks", []
    if mask_folder is not None:
        below = _join(mask_folder, defect)
        if defect not in subfolders(root / mask_folder):
            below = single_folder(root, mask_folder, (defect.lower(),), f"masks of {defect}") or below
        masks = list_images(root, below)
    pairs = pair_masks(images, folder, masks, below)
    return [Sample(path=image, label=ANOMALOUS, defect=defect, mask=pairs.get(image)) for image in images]


def single_folder(root: Path, parent: str, accepted: Collection[str], what: str) -> str | None:
    """The one folder of `root/parent` whose name is, in any case, accepted; None where there is none.

    Raises:
        DataError: there are two.
    """
    names = one_of(subfolders(root / parent), accepted)
    if len(names) > 1:
        both = " and ".join(_join(parent, name) for name in names[:2])
        raise DataError(f"{both}: two folders of {what}; merge them or rename one")
    return _join(parent, names[0]) if names else None


def by_path(samples: Collection[Sample]) -> tuple[Sample, ...]:
    """Sorted as every split is: by path, in code-point order."""
    return tuple(sorted(samples, key=lambda sample: sample.path))


def _join(parent: str, name: str) -> str:
    return str(PurePosixPath(parent) / name)
