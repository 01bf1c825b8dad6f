"""From a folder on disk to a verified split: one entry for all layouts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.config import DatasetConfig
from harness.data.catalog import CATALOG, Counts
from harness.data.files import one_of, read_header, subfolders
from harness.data.folder import find_folder, holds_images
from harness.data.found import Found
from harness.data.official import VISA_SPLIT, find_btad, find_mvtec, find_visa
from harness.data.split import ANOMALOUS, Sample, Split
from harness.data.subset import limit_test, spread
from harness.errors import DataError, RequestError

_OFFICIAL: dict[str, Callable[[Path, str], Found]] = {"mvtec": find_mvtec, "visa": find_visa, "btad": find_btad}
LAYOUTS = (*_OFFICIAL, "folder")

_CLIPPED_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes for more than 8 bits a channel; its conversion to RGB, which anomalib uses, clips them at 255."""
_SHOWN = 20
"""Names that an error lists at most."""


def validate_request(dataset: DatasetConfig, category: str) -> None:
    """Check cheaply whether the request can be meant: names and folders only, no image is opened.

    Raises:
        RequestError: unknown layout or category, no such root or category folder, a limit below 1, or a share of
            normal test images that is not between 0 and 1.
    """
    if dataset.layout not in LAYOUTS:
        raise RequestError(f"dataset.layout={dataset.layout}: unknown; there are {', '.join(LAYOUTS)}")
    if dataset.limit is not None and dataset.limit < 1:
        raise RequestError(f"dataset.limit={dataset.limit}: must be at least 1")
    if not 0 < dataset.normal_test_share < 1:
        raise RequestError(f"dataset.normal_test_share={dataset.normal_test_share}: must lie between 0 and 1")
    if not category or category in {".", ".."} or any(letter in "/\\\0\n\r\t" for letter in category):
        raise RequestError(f"category={category!r}: must be the name of one folder")
    _check_catalog(dataset, category)
    if not os.path.isdir(dataset.root):
        raise RequestError(f"dataset.root={dataset.root}: no such folder; give the folder that holds the categories")
    try:
        _check_folders(dataset, category)
    except DataError as error:  # the root itself cannot be listed
        raise RequestError(f"dataset.root={dataset.root}: {error}") from error


def resolve_split(dataset: DatasetConfig, category: str) -> Split:
    """The verified train and test samples of one category.

    Links are followed, also out of the root. Counts that differ from the official ones, a missing ground truth, images
    of more than 8 bits, a limit and a split that was made here are named in `notes`.

    Raises:
        RequestError: as `validate_request`.
        DataError: no training or no test images, a defective image without a mask while others have one, a mask
            of another size than its image, or whatever the layout cannot make sense of.
    """
    validate_request(dataset, category)
    root = _category_root(dataset, category)
    if dataset.layout == "folder":
        found = find_folder(root, category, dataset.normal_test_share)
    else:
        found = _OFFICIAL[dataset.layout](root, category)
    if not found.train:
        raise DataError(f"{category}: no training images in {dataset.root}; they belong in {found.expected}")
    if not found.test:
        raise DataError(f"{category}: no test images in {dataset.root}")
    notes = [*found.notes, *_count_notes(dataset, category, found)]
    has_masks = _has_masks(found.test)
    if not has_masks:
        anomalous = any(sample.label == ANOMALOUS for sample in found.test)
        lack = "no ground-truth masks" if anomalous else "no defective test images"
        notes.append(f"{lack}: no pixel metrics")
    if dataset.limit is not None:
        found, note = _limit(found, dataset.limit)
        notes += note
    _check_sizes(found)
    notes += _mode_notes(found)
    return Split(dataset.name, category, found.root, found.train, found.test, has_masks, tuple(notes))


def _check_catalog(dataset: DatasetConfig, category: str) -> None:
    info = CATALOG.get(dataset.name)
    if info is not None and category not in info.categories:
        raise RequestError(
            f"category={category}: not a category of {info.title}{_suggest(category, info.categories)}; "
            f"there are {', '.join(info.categories)}"
        )


def _check_folders(dataset: DatasetConfig, category: str) -> None:
    root = _category_root(dataset, category)
    if dataset.layout == "visa" and not os.path.isfile(root / VISA_SPLIT):
        raise RequestError(
            f"dataset.root={dataset.root}: has no {VISA_SPLIT}; give the folder VisA's archive unpacks to"
        )
    if os.path.isdir(root / category) or (dataset.layout == "folder" and holds_images(root)):
        return
    there = subfolders(root)
    if one_of(there, ("train",)):
        hint = f"it looks like a category itself; give its parent, dataset.root={dataset.root.parent}"
    elif there:
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        hint = f"there are {', '.join(there[:_SHOWN])}{more}"
    else:
        hint = "the folder is empty"
    raise RequestError(f"dataset.root={dataset.root}: has no folder {category}{_suggest(category, there)}; {hint}")


def _category_root(dataset: DatasetConfig, category: str) -> Path:
    """The folder that holds the category folders: the root, or the one the archive wraps them in."""
    info = CATALOG.get(dataset.name)
    wrapper = info.archive.folder if info and info.archive else ""
    wrapped = dataset.root / wrapper
    # os.path rather than Path: a name that is too long, or a folder above that cannot be read, is no exception here.
    return wrapped if os.path.isdir(wrapped / category) and not os.path.isdir(dataset.root / category) else dataset.root


def _suggest(name: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _count_notes(dataset: DatasetConfig, category: str, found: Found) -> list[str]:
    info = CATALOG.get(dataset.name)
    if info is None:
        return []
    official = info.categories[category]
    n_anomalous = sum(sample.label == ANOMALOUS for sample in found.test)
    counted = Counts(len(found.train), len(found.test) - n_anomalous, n_anomalous)
    named = (
        ("training", counted.train, official.train),
        ("normal test", counted.test_normal, official.test_normal),
        ("defective test", counted.test_anomalous, official.test_anomalous),
    )
    differing = [f"{there} {what} images (official {wanted})" for what, there, wanted in named if there != wanted]
    return [f"counts differ from {info.title}'s own: {', '.join(differing)}"] if differing else []


def _has_masks(test: tuple[Sample, ...]) -> bool:
    """Whether every defective image has a mask, of which there must be one; some with and some without is an error."""
    anomalous = [sample for sample in test if sample.label == ANOMALOUS]
    without = [sample for sample in anomalous if sample.mask is None]
    if without and len(without) < len(anomalous):
        raise DataError(
            f"{without[0].path}: defective, but has no mask, while {len(anomalous) - len(without)} other defective "
            "images have one; add its mask, or remove them all for image-level metrics"
        )
    return bool(anomalous) and not without


def _limit(found: Found, limit: int) -> tuple[Found, list[str]]:
    train, test = tuple(spread(found.train, limit)), tuple(limit_test(found.test, limit))
    if (train, test) == (found.train, found.test):
        return found, []
    note = (
        f"dataset.limit={limit}: {len(train)} of {len(found.train)} training images "
        f"and {len(test)} of {len(found.test)} test images"
    )
    return replace(found, train=train, test=test), [note]


def _mode_notes(found: Found) -> list[str]:
    """Of all images, since a camera's good and bad ones may have been saved in two ways."""
    samples = [*found.train, *found.test]
    read_header(found.root, samples[0].path)  # a folder of something else altogether
    clipped: list[str] = []
    for sample in samples:
        with suppress(DataError):  # what cannot be read is told where it is read
            mode = read_header(found.root, sample.path).mode
            clipped += [mode] if mode in _CLIPPED_MODES else []
    if not clipped:
        return []
    how_many = "" if len(clipped) == len(samples) else f"{len(clipped)} of {len(samples)} "
    modes = " and ".join(sorted(set(clipped)))
    return [f"{how_many}images of mode {modes} (more than 8 bits): grey values above 255 are clipped, as anomalib does"]


def _check_sizes(found: Found) -> None:
    for sample in found.test:
        if sample.mask is None:
            continue
        image, mask = read_header(found.root, sample.path), read_header(found.root, sample.mask)
        if (image.width, image.height) != (mask.width, mask.height):
            raise DataError(
                f"{sample.mask}: a mask of {mask.width}x{mask.height} pixels for an image of "
                f"{image.width}x{image.height}, {sample.path}; replace the mask"
            )
