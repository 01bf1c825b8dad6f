"""Checks of a category's files: errors where they cannot be used, notes where they are doubtful."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from harness.config.settings import PreprocessingConfig
from harness.data import pixels
from harness.data.files import Header, counted, read_header, some_names
from harness.data.fingerprint import digest_files
from harness.data.pixels import in_threads
from harness.data.split import Reading, Sample
from harness.data.tree import Found
from harness.errors import DataError

_CLIPPED_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
"""Pillow's modes for more than 8 bits a channel; its conversion to RGB, which anomalib uses, clips them at 255."""
_INVERTED = 0.5
"""Masks that cover more of an image than this, on average, may be inverted."""
_DIM = 0.5
"""Images of more than 8 bits whose largest value is below this share of white are darker than they need be."""


def check_official(found: Found, preprocessing: PreprocessingConfig | None) -> list[str]:
    """Return notes on an official dataset, which is read as it is.

    Raises:
        DataError: a mask of another size than its image, or a first image that is none.
    """
    header = cache(partial(read_header, found.root))
    _check_sizes(found, lambda name: (header(name).width, header(name).height))
    notes = [*_clipped_notes(found, header), *_copies(found, within=False)[1]]
    with suppress(DataError):  # what cannot be read is told where it is read
        masks = [sample.mask for sample in found.test if sample.mask is not None and preprocessing is not None]
        notes += _lost_notes(
            in_threads(lambda name: _lost_by(pixels.read_mask(found.root, name), preprocessing), masks)
        )
    return notes


def check_own(
    found: Found, white_level: float | None, preprocessing: PreprocessingConfig | None
) -> tuple[Reading, list[str]]:
    """Return how a folder of one's own is read, and notes on it.

    Raises:
        DataError: a file that is no image, a mask of another size than its image or that is a photograph, a mask of a
            good image that is not empty, the same content with two labels, or values of which nobody can know what is
            white.
    """
    copies_error, copies = _copies(found)
    if copies_error:
        raise DataError(copies_error)
    names = [name for sample in found.samples for name in (sample.path, sample.mask) if name is not None]
    headers = dict(zip(names, in_threads(partial(read_header, found.root), names), strict=True))
    _check_sizes(found, lambda name: headers[name].turned)
    unusual: list[tuple[str, str]] = []
    images = {sample.path: headers[sample.path] for sample in found.samples}
    notes = [*_turned_notes(headers, unusual), *_deep_notes(found.root, images, white_level, unusual), *copies]
    notes += _image_notes(images)
    background, mask_notes = _check_masks(found, preprocessing, unusual)
    return Reading(white_level, background, tuple(sorted(unusual))), [*notes, *mask_notes]


def same_scores_note(scores: np.ndarray) -> list[str]:
    """Return a note if all test images have the same score, (n,) float: they look the same to the model."""
    if len(scores) < 2 or (scores != scores[0]).any():
        return []
    return [
        f"all {len(scores)} test images have the same score, {scores[0]:g}: the model sees no difference; look at them"
    ]


def _size(size: Sequence[int]) -> str:
    return "x".join(str(side) for side in size)


def _exact(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _shown(value: float) -> str:
    return _exact(value) if float(value).is_integer() else f"{value:.6g}"


def _count(n: int, of: int, what: str) -> str:
    return f"all {of} {what}" if n == of > 1 else f"{n} of {of} {what}"


def _check_sizes(found: Found, size: Callable[[str], tuple[int, int]]) -> None:
    for sample in found.test:
        if sample.mask is None:
            continue
        image, mask = size(sample.path), size(sample.mask)
        if image != mask:
            raise DataError(
                f"{sample.mask}: a mask of {_size(mask)} pixels for an image of {_size(image)}, {sample.path}; "
                "replace the mask"
            )


def _clipped_notes(found: Found, header: Callable[[str], Header]) -> list[str]:
    """Return a note on clipped images; look at good and defective ones, which may have been saved in two ways."""
    header(found.samples[0].path)  # raises where this is no image: the folder holds something else
    clipped: list[str] = []
    for sample in found.samples:
        with suppress(DataError):  # what cannot be read is told where it is read
            clipped += {header(sample.path).mode} & _CLIPPED_MODES
    if not clipped:
        return []
    n = len(found.samples)
    how_many = "" if len(clipped) == n else f"{len(clipped)} of {n} "
    modes = " and ".join(sorted(set(clipped)))
    return [f"{how_many}images of mode {modes} (more than 8 bits): grey values above 255 are clipped, as anomalib does"]


def _copies(found: Found, *, within: bool = True) -> tuple[str | None, list[str]]:
    """Find images with the same content; return the line to refuse them with, where there is one, and notes."""
    digests = [digest.sha256 for digest in digest_files(found.root, [sample.path for sample in found.samples])]
    first: dict[str, tuple[str, Sample]] = {}
    refusal = None
    repeated: dict[str, list[str]] = {"test": [], "train": [], "both": []}
    n_train = len(found.train)
    for number, (digest, sample) in enumerate(zip(digests, found.samples, strict=True)):
        part = "train" if number < n_train else "test"
        before = first.setdefault(digest, (part, sample))
        if before[1] is sample:
            continue
        if before[1].label != sample.label and refusal is None:
            bad, good = sorted((sample, before[1]), key=lambda one: one.label, reverse=True)
            among = "a training image" if before[0] == "train" else "a good test image"
            refusal = f"{bad.path}: is defective, and the same file as {among}, {good.path}; remove one of them"
        repeated[part if before[0] == part else "both"].append(sample.path)
    notes = [refusal] if refusal else []
    if n_train > 1 and len(set(digests[:n_train])) == 1:
        notes.append(f"all {n_train} training images are the same file: nothing can be learned from them")
        repeated["train"] = []
    for part, names in repeated.items():
        if within if part != "both" else not refusal:
            notes += counted(names, _REPEATED[part])
    return refusal, notes


_REPEATED = {
    "test": "test images are copies of other test images",
    "train": "training images are copies of other training images",
    "both": "test images are copies of training images, which makes the result better than it is",
}


def _turned_notes(headers: Mapping[str, Header], unusual: list[tuple[str, str]]) -> list[str]:
    turned = [name for name, header in headers.items() if header.orientation > 1]
    unusual += [(name, f"turned {headers[name].orientation}") for name in turned if headers[name].to_turn]
    what = "images have an EXIF orientation and are turned as viewers show them, so masks must be drawn that way"
    return counted(turned, what)


def _deep_notes(
    root: Path, images: Mapping[str, Header], white_level: float | None, unusual: list[tuple[str, str]]
) -> list[str]:
    deep = [name for name, header in images.items() if header.deep]
    if not deep:
        unused = "dataset.white_level is not used: no image has more than 8 bits"
        return [unused] if white_level is not None else []

    def look(name: str) -> tuple[float, float]:
        values = pixels.deep_values(root, name)
        return pixels.white_of(values, name, white_level), float(values.max())

    looked = in_threads(look, deep)
    unusual += [(name, f"white {_exact(white)}") for name, (white, _) in zip(deep, looked, strict=True)]
    whites, largest = {white for white, _ in looked}, max(high for _, high in looked)
    white = " or ".join(_exact(white) for white in sorted(whites))
    note = (
        f"{_count(len(deep), len(images), 'images')} have more than 8 bits: scaled so that {white} becomes 255; the "
        f"largest value is {_shown(largest)}"
    )
    clipped = sum(high > white for white, high in looked)
    if clipped:
        note += f", and {clipped} images hold values above that, which are clipped"
    elif largest < _DIM * min(whites):
        note += f", so they are dark: dataset.white_level={_shown(largest)} uses the whole range"
    return [note]


def _image_notes(images: Mapping[str, Header]) -> list[str]:
    paged = [name for name, header in images.items() if header.frames > 1]
    alpha = [name for name, header in images.items() if header.mode in {"RGBA", "LA", "PA"}]
    grey = [name for name, header in images.items() if header.mode[0] in "1LIF"]
    notes = counted(paged, "images have several pages or frames, of which the first is read")
    notes += counted(alpha, "images have an alpha channel, which is dropped")
    if 0 < len(grey) < len(images):
        notes.append(f"{len(grey)} of {len(images)} images are grey, and the others have colours: {some_names(grey)}")
    sizes = Counter(header.turned for header in images.values())
    if len(sizes) > 1:
        listed = ", ".join(f"{count} of {_size(size)}" for size, count in sizes.most_common(3))
        notes.append(f"images have {len(sizes)} sizes: {listed}{', ...' if len(sizes) > 3 else ''}")
    return notes


@dataclass(frozen=True)
class _Mask:
    low: float
    high: float
    source: str
    """alpha, colour or grey."""
    is_mask: bool
    """Few values, or all of them near the darkest or the brightest: no photograph."""
    threshold: float | None
    """The value above which it is defective; None where it holds no more than two values."""
    share: float
    lost_by: str | None


def _look_at(root: Path, name: str, background: float, preprocessing: PreprocessingConfig | None) -> _Mask:
    values, source = pixels.mask_values(root, name)
    two = pixels.has_two_values(values)
    mask = pixels.defective(values, background)
    return _Mask(
        float(values.min()),
        float(values.max()),
        source,
        is_mask=two or pixels.is_nearly_two(values),
        threshold=None if two else pixels.threshold(values, background),
        share=np.count_nonzero(mask) / mask.size,
        lost_by=_lost_by(mask, preprocessing),
    )


def _lost_by(mask: np.ndarray, preprocessing: PreprocessingConfig | None) -> str | None:
    """Return what loses every defective pixel of a mask, (h, w) bool: `crop`, `resize`, or None for neither."""
    if preprocessing is None or not mask.any() or pixels.shrink_mask(mask, preprocessing).any():
        return None
    return "crop" if pixels.shrink_mask(mask, preprocessing, crop=False).any() else "resize"


def _check_masks(
    found: Found, preprocessing: PreprocessingConfig | None, unusual: list[tuple[str, str]]
) -> tuple[float, list[str]]:
    """Check the masks; return the value in them that means not defective, and notes."""

    def look(background: float) -> dict[str, _Mask]:
        read = in_threads(lambda name: _look_at(found.root, name, background, preprocessing), names)
        return dict(zip(names, read, strict=True))

    names = [sample.mask for sample in found.test if sample.mask is not None]
    masks = look(0.0)
    if photo := next((name for name, mask in masks.items() if not mask.is_mask), None):
        raise DataError(f"{photo}: looks like a photograph, not like a mask; masks have two grey values")
    low = min((mask.low for mask in masks.values()), default=0.0)
    background = low if any(mask.high > low for mask in masks.values()) else 0.0
    if background:
        masks = look(background)
        unusual += [(name, f"background {background:g}") for name in names]
    _check_good_masks(found, background)
    return background, [
        *_source_notes(masks, unusual),
        *([f"the background of masks is {background:g}, their smallest value"] if background else []),
        *_cover_notes([mask.share for mask in masks.values()]),
        *_lost_notes([mask.lost_by for mask in masks.values()]),
    ]


def _source_notes(masks: Mapping[str, _Mask], unusual: list[tuple[str, str]]) -> list[str]:
    notes = []
    for source, what in (
        ("alpha", "in their alpha channel"),
        ("colour", "in colours: what is not the background is defective"),
    ):
        there = [name for name, mask in masks.items() if mask.source == source]
        unusual += [(name, source) for name in there]
        if there:
            notes.append(f"{_count(len(there), len(masks), 'masks')} are read {what}: {some_names(there)}")
    limits = {name: mask.threshold for name, mask in masks.items() if mask.threshold is not None}
    unusual += [(name, f"above {limit:g}") for name, limit in limits.items()]
    if limits:
        above = " or ".join(f"{limit:g}" for limit in sorted(set(limits.values())))
        notes.append(
            f"{_count(len(limits), len(masks), 'masks')} have more than two grey values: what is above {above} is "
            f"defective: {some_names(limits)}"
        )
    return notes


def _cover_notes(shares: Sequence[float]) -> list[str]:
    notes = []
    if empty := sum(not share for share in shares):
        notes.append(f"{empty} of {len(shares)} defective images have no defective pixel in their mask")
    share = float(np.mean(shares)) if shares else 0.0
    if share > _INVERTED:
        notes.append(f"masks cover {share:.0%} of an image on average: they may be inverted; defective must be white")
    return notes


def _check_good_masks(found: Found, background: float) -> None:
    def is_empty(name: str) -> bool:
        values = pixels.mask_values(found.root, name)[0]
        return values.min() == values.max() or not pixels.defective(values, background).any()

    for name, empty in zip(found.good_masks, in_threads(is_empty, found.good_masks), strict=True):
        if not empty:
            raise DataError(f"{name}: is the mask of a good image and has defective pixels; is that image defective?")


def _lost_notes(lost_by: Sequence[str | None]) -> list[str]:
    ways = {
        "crop": "by the crop (preprocessing.center_crop=null uses the whole image)",
        "resize": "by the resize (a larger preprocessing.resize keeps more)",
    }
    each = ", ".join(f"{n} {advice}" for way, advice in ways.items() if (n := lost_by.count(way)))
    lost = len(lost_by) - lost_by.count(None)
    return [f"{lost} of {len(lost_by)} defective images lose all of their defective pixels: {each}"] if lost else []
