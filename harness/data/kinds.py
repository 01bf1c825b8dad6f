"""What a name says a folder or a file is: good images, masks, something that is no defect type. Pure functions."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from harness.data.files import IMAGE_EXTENSIONS, nfc, word_set

GOOD_NAMES = ("good", "normal", "ok")
MASK_NAMES = ("ground_truth", "masks", "mask", "gt", "labels", "annotations")
SPLIT_NAMES = ("train", "training", "test", "testing")
"""Folders, in lower case, that show that the folder above them is one category. Only train and test are read."""
VALIDATION_NAMES = ("val", "valid", "validation", "dev")
PHOTO_NAMES = ("images", "image", "imgs", "img", "photos")
"""Folders that may stand between a defect type and its images, and name no type of their own."""

_NEUTRAL = word_set(
    "test tests testing train training val valid validation eval evaluation dev holdout image images img imgs "
    "photo photos picture pictures part parts sample samples product products item items piece pieces set sets "
    "dataset data new more extra only batch the of and split copy kopie jpegimages png jpg jpeg tif tiff bmp"
)
_GOODISH = word_set(
    "good goods normal normals ok okay healthy clean intact pass passed fine gut golden nominal undamaged perfect "
    "flawless faultless defectless defectfree nodefect nodefects anomalyfree"
)
_FAULT = word_set(
    "defect defects defective anomaly anomalies anomalous fault faults faulty flaw flaws damage damages damaged "
    "error errors bad ng nok abnormal broken reject rejects rejected fail failed failure"
)
_NEGATION = word_set("no not non without free un")
_MASKISH = word_set(
    "ground truth truths groundtruth groundtruths gt mask masks label labels labelmap annotation annotations "
    "annot anno seg segs segmentation segmentations segmap segmask"
)
_NO_TYPE = word_set(
    "raw original originals unlabeled unlabelled unsorted unknown result results output outputs prediction "
    "predictions pred preds heatmap heatmaps overlay overlays visualization visualizations backup backups old tmp "
    "temp cache trash doc docs documentation figure figures plot plots negative negatives neg augmented "
    "augmentation augmentations preview previews thumbnail thumbnails thumb thumbs archive"
)
_UNDECIDED = word_set(
    "folder ordner dossier neuer untitled unnamed other others misc miscellaneous various review todo unsure undecided "
    "uncertain unclear doubtful maybe reference references calibration depth xyz viz"
)
_MIXED = frozenset(GOOD_NAMES) | word_set("mask masks segmentation annotation annotations")

_EXTENSION = re.compile(rf"(?<=.)(?:{'|'.join(map(re.escape, sorted(IMAGE_EXTENSIONS)))})$", re.IGNORECASE)
_MASK_ENDING = re.compile(
    r"(?<=.)[ _.\-]?(?:mask|masks|gt|label|labels|seg|segmentation|ground[ _\-]?truth|annotation|anno)$", re.IGNORECASE
)
_MASK_BEGINNING = re.compile(r"^(?:mask|gt|label|seg)[ _.\-](?=.)", re.IGNORECASE)


def words(name: str) -> list[str]:
    """Return the words of a name in lower case, without digits: `normalTest_2` is normal, test."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", nfc(name))
    return [word for word in re.split(r"[\W_\d]+", spaced.lower()) if word]


def is_good(name: str) -> bool:
    """Tell whether a folder's name means good images: good, normal, ok, or words such as normal_test or no_defect."""
    said = [word for word in words(name) if word not in _NEUTRAL]
    denied = [word for word in said if word not in _NEGATION]
    if len(denied) < len(said):
        return bool(denied) and all(word in _FAULT for word in denied)
    return bool(said) and all(word in _GOODISH for word in said)


def is_faulty(name: str) -> bool:
    """Tell whether a folder's name means defective images of whatever type."""
    said = words(name)
    denied = any(word in _NEGATION for word in said)
    return any(word in (_GOODISH if denied else _FAULT) for word in said)


def is_masks(name: str) -> bool:
    """Tell whether a folder's name means masks, in whatever words."""
    said = [word for word in words(name) if word not in _NEUTRAL]
    return bool(said) and all(word in _MASKISH for word in said)


def is_no_type(name: str) -> bool:
    """Tell whether a folder's name says that it is no defect type: raw, results, validation, images."""
    said = words(name)
    return bool(said) and all(word in _NO_TYPE or word in _NEUTRAL for word in said)


def is_aside(name: str) -> bool:
    """Tell whether a folder's name says that its images are not those that count: raw, backup, results."""
    return not _NO_TYPE.isdisjoint(words(name))


def is_undecided(name: str) -> bool:
    """Tell whether a folder's name leaves open what its images are: New folder, todo, almost_good, masks_human."""
    said = words(name)
    known = _UNDECIDED | _NEUTRAL | _MASKISH | _NO_TYPE
    mixed = not _MIXED.isdisjoint(said) and not is_faulty(name)
    return mixed or (bool(said) and all(word in known for word in said))


def mask_stems(name: str) -> Iterator[str]:
    """Yield the stems, in NFC, of the images whose mask a file of this name may be, the likeliest first.

    `a_mask.png` may be that of `a_mask`, of `a`; `a.jpg.png` that of `a.jpg` or `a`; `mask_a.png` that of `a`.
    """
    stems = [nfc(PurePosixPath(name).stem)]
    for taken_off in (_EXTENSION, _MASK_ENDING, _EXTENSION, _MASK_BEGINNING):
        stems.append(taken_off.sub("", stems[-1]))
    yield from dict.fromkeys(stems)


def of_one_part(names: Collection[str]) -> list[list[str]]:
    """Group names that seem to be several images of one part; no groups where most names are of other kinds.

    One name begins another (`000`, `000_overlay`), file names repeat in sub-folders (`rgb/000`, `xyz/000`), or endings
    repeat (`000_color`, `000_depth`).

    Args:
        names: paths below one folder, without extensions, each once.
    """
    there = sorted(names)
    endings = Counter(_split(name)[1] for name in there)

    def beginning(name: str) -> str:
        """Return the shortest name that this one continues after `_`, `-`, `.`, a blank or a slash; else itself."""
        starts = (name[: found.start()] for found in re.finditer(r"[_\-. /]", name))
        return next((start for start in starts if start in names), name)

    def head(name: str) -> str | None:
        """Return what is before the ending; None for an ending that is there once or a number: it tells no kind."""
        start, ending = _split(name)
        return start if endings[ending] > 1 and re.search(r"[^\W\d]", ending) else None

    for way in (beginning, lambda name: PurePosixPath(name).name, head):
        groups: dict[str | None, list[str]] = {}
        for name in there:
            groups.setdefault(way(name), []).append(name)
        several = [group for key, group in groups.items() if key is not None and len(group) > 1]
        if len(several) > 1 and 2 * sum(map(len, several)) > len(there):
            return several
    return []


def _split(name: str) -> tuple[str, str]:
    start, _, ending = re.sub(r"[\-. ]", "_", name).rpartition("_")
    return start, ending
