"""From a folder on disk to a verified split: one entry for all layouts."""

import csv
import difflib
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from pathlib import Path, PurePosixPath

from harness.config.settings import DatasetConfig, PreprocessingConfig, preprocessing_in_words
from harness.data.catalog import CATALOG
from harness.data.checks import check_official, check_own
from harness.data.files import direct_images, list_files, one_of, some_names, subfolders
from harness.data.fingerprint import digest_files
from harness.data.pixels import colours_of
from harness.data.split import ANOMALOUS, NORMAL, Sample, Split, by_path, limit_test, spread
from harness.data.tree import GOOD, Found, find_official, find_own, holds_layout
from harness.errors import DataError, RequestError

VISA_SPLIT = "split_csv/1cls.csv"
"""The one-class split that ships inside VisA's archive."""
_VISA_COLUMNS = ["object", "split", "label", "image", "mask"]
_SHOWN = 20


def find_visa(root: Path, category: str) -> Found:
    """Read the rows of `split_csv/1cls.csv` whose object is `category`; the images stay where they are.

    Raises:
        DataError: the csv cannot be read, a row has an unknown split or label, leaves the root, trains on a
            defective image, or names an image twice.
    """
    parts: dict[str, dict[str, Sample]] = {"train": {}, "test": {}}
    for line, row in _visa_rows(root):
        if row["object"] == category:
            where = f"{VISA_SPLIT}, line {line}"
            sample = _visa_sample(row, where)
            if any(sample.path in part for part in parts.values()):
                raise DataError(f"{where}: {sample.path} appears twice; restore the official file")
            parts[row["split"]][sample.path] = sample
    train, test = (by_path(list(part.values())) for part in parts.values())
    return Found(root, train, test, expected=f"rows of {VISA_SPLIT} with object {category}")


def _visa_rows(root: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with (root / VISA_SPLIT).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if reader.fieldnames != _VISA_COLUMNS:
                raise DataError(f"{VISA_SPLIT}: its header is not {','.join(_VISA_COLUMNS)}; restore the official file")
            return [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{VISA_SPLIT}: cannot be read ({error.strerror}); restore it from VisA's archive") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{VISA_SPLIT}: is not a csv file ({error}); restore it from VisA's archive") from error


def _visa_sample(row: dict[str, str], where: str) -> Sample:
    if row["split"] not in {"train", "test"} or row["label"] not in {"normal", "anomaly"}:
        raise DataError(
            f"{where}: split {row['split']!r} or label {row['label']!r} is unknown; restore the official file"
        )
    image = _inside(row["image"], where)
    if row["label"] == "normal":
        return Sample(image, NORMAL, GOOD)
    if row["split"] == "train":
        raise DataError(f"{where}: {image} is defective and in the training split; use VisA's one-class split")
    return Sample(image, ANOMALOUS, "anomaly", _inside(row["mask"], where) if row["mask"] else None)


def _inside(name: str, where: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise DataError(f"{where}: the path {name!r} does not lie inside the dataset; restore the official file")
    return str(path)


_OFFICIAL: dict[str, Callable[[Path, str], Found]] = {
    "mvtec": partial(find_official, good="good"),
    "visa": find_visa,
    "btad": partial(find_official, good="ok"),
}
LAYOUTS = (*_OFFICIAL, "folder")


def validate_request(dataset: DatasetConfig, category: str) -> None:
    """Check names and folders of a request; no image is opened.

    Raises:
        RequestError: unknown layout or category, or no such root or category folder.
    """
    if dataset.layout not in LAYOUTS:
        raise RequestError(f"dataset.layout={dataset.layout}: unknown; there are {', '.join(LAYOUTS)}")
    if dataset.white_level is not None and dataset.layout != "folder":
        raise RequestError(
            f"dataset.white_level={dataset.white_level:g}: is for dataset=folder; {dataset.name} is read as anomalib "
            "reads it"
        )
    if not category or category in {".", ".."} or any(letter in "/\\\0\n\r\t" for letter in category):
        raise RequestError(f"category={category!r}: must be the name of one folder")
    info = CATALOG.get(dataset.name)
    if info is not None and category not in info.categories:
        raise RequestError(
            f"category={category}: not a category of {info.title}{_suggest(category, info.categories)}; "
            f"there are {', '.join(info.categories)}"
        )
    if not os.path.isdir(dataset.root):
        raise RequestError(f"dataset.root={dataset.root}: no such folder; give the folder that holds the categories")
    try:
        _check_folders(dataset, category)
    except DataError as error:  # the root itself cannot be listed
        raise RequestError(f"dataset.root={dataset.root}: {error}") from error


def resolve_split(dataset: DatasetConfig, category: str, preprocessing: PreprocessingConfig | None = None) -> Split:
    """Return the verified train and test samples of one category, with notes on whatever is doubtful.

    Args:
        preprocessing: for notes on defects that resize and crop lose; None for none of these.

    Raises:
        RequestError: as `validate_request`.
        DataError: no training or no test images, a defective image without a mask while others have one, a mask
            of another size than its image, or whatever the layout cannot make sense of.
    """
    validate_request(dataset, category)
    own = dataset.layout == "folder"
    root = _category_root(dataset, category)
    found = (
        find_own(root, category, cache(partial(colours_of, root))) if own else _OFFICIAL[dataset.layout](root, category)
    )
    if not found.train:
        seen = f"; {len(found.not_read)} files lie elsewhere: {some_names(found.not_read)}" if found.not_read else ""
        raise DataError(f"{category}: no training images in {dataset.root}; they belong in {found.expected}{seen}")
    if own and not any(sample.label == NORMAL for sample in found.test):
        found = _hold_out(found, dataset.normal_test_share)
    if not found.test:
        raise DataError(f"{category}: no test images in {dataset.root}")
    notes = [preprocessing_in_words(preprocessing.resize, preprocessing.center_crop)] if own and preprocessing else []
    notes += [*found.notes, *_count_notes(dataset, category, found)]
    has_masks = _has_masks(found.test)
    if not has_masks:
        lack = "ground-truth masks: no pixel" if _n_defective(found) else "defective test images: no"
        notes.append(f"no {lack} metrics")
    if dataset.limit is not None:
        found, limited = _limit(found, dataset.limit)
        notes += limited
    if own:
        reading, more = check_own(found, dataset.white_level, preprocessing)
    else:
        reading, more = None, check_official(found, preprocessing)
    return Split(dataset.name, category, found.root, found.train, found.test, has_masks, (*notes, *more), reading)


def _hold_out(found: Found, share: float) -> Found:
    """Move a share of the training images, at least one, to test.

    Their content alone decides which ones, and files with the same content stay together.
    """
    if len(found.train) < 2:
        raise DataError(f"{found.train[0].path}: is the only good image, so none is left for testing; add more")
    digests = digest_files(found.root, [sample.path for sample in found.train])
    order = sorted(
        zip((digest.sha256 for digest in digests), found.train, strict=True), key=lambda pair: (pair[0], pair[1].path)
    )
    last = order[min(max(1, round(share * len(order))), len(order) - 1) - 1][0]
    held = [sample for digest, sample in order if digest <= last]
    kept = [sample for digest, sample in order if digest > last]
    if not kept:
        raise DataError(f"{found.train[0].path}: too few good images differ in content to set some aside; add more")
    note = (
        f"no good test images: {len(held)} of {len(order)} training images are used as test images "
        f"(share {share}, chosen by content hash)"
    )
    return replace(found, train=by_path(kept), test=by_path([*found.test, *held]), notes=(*found.notes, note))


def _check_folders(dataset: DatasetConfig, category: str) -> None:
    root = _category_root(dataset, category)
    if dataset.layout == "visa" and not os.path.isfile(root / VISA_SPLIT):
        raise RequestError(
            f"dataset.root={dataset.root}: has no {VISA_SPLIT}; give the folder VisA's archive unpacks to"
        )
    if os.path.isdir(root / category) or (dataset.layout == "folder" and holds_layout(root)):
        return
    there = subfolders(root)
    own = dataset.layout == "folder"
    if own and (photos := direct_images(root)):
        hint = (
            f"it holds {len(photos)} images and no folder of good ones; good images belong in {category}/good (or "
            f"{category}/train/good and {category}/test/good), defective ones in a folder for each type beside it; "
            "docs/your-own-images.md shows it"
        )
    elif one_of(there, ("train",)):
        hint = f"it looks like a category itself; give its parent, dataset.root={dataset.root.parent}"
    elif there:
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        hint = f"there are {', '.join(there[:_SHOWN])}{more}"
    elif files := list_files(root, "").names:
        hint = f"it holds no folder, but {some_names(files)}"
    else:
        hint = "the folder is empty"
    raise RequestError(f"dataset.root={dataset.root}: has no folder {category}{_suggest(category, there)}; {hint}")


def _category_root(dataset: DatasetConfig, category: str) -> Path:
    """Return the folder that holds the category folders: the root, or the one the archive wraps them in."""
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
    named = (
        ("training", len(found.train), official.train),
        ("normal test", len(found.test) - _n_defective(found), official.test_normal),
        ("defective test", _n_defective(found), official.test_anomalous),
    )
    differing = [f"{there} {what} images (official {wanted})" for what, there, wanted in named if there != wanted]
    return [f"counts differ from {info.title}'s own: {', '.join(differing)}"] if differing else []


def _n_defective(found: Found) -> int:
    return sum(sample.label == ANOMALOUS for sample in found.test)


def _has_masks(test: tuple[Sample, ...]) -> bool:
    """Tell whether there are defective images and all have masks; some with and some without is an error."""
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
