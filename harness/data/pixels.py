"""Image files to uint8 pixels and bool masks.

The plain way, of official datasets, is exactly anomalib's, that is Pillow's `convert("RGB")` and `convert("L") > 0`:

- grey, bilevel and palette images become RGB; transparency (RGBA, LA, palette) is dropped, the colours under it stay;
- CMYK is converted without a colour profile; embedded profiles are ignored;
- an EXIF rotation is ignored (but in a TIFF, which Pillow turns): the mask must be as the pixels are stored;
- 16-bit grey (and 32-bit integer and float) is *clipped* at 255, not scaled; 16-bit RGB keeps its upper byte;
- of several frames or pages the first is used;
- in a mask every grey value above 0 is defective.

With a `Reading`, for `dataset=folder`, images are turned as a viewer turns them and more than 8 bits are scaled. A mask
is read from its alpha channel if that varies, else from colours other than the background, else from grey values: of
two the one that is not the background, of more those above half of the range.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import imagecodecs
import numpy as np
from PIL import Image

from harness.config.settings import PreprocessingConfig
from harness.data.files import FORMATS, Header, decoding, read_header
from harness.data.split import Reading
from harness.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

_WORKERS = 2
_codecs: Any = imagecodecs  # its annotations leave out the arrays that it takes and gives
_PLAIN_PNGS = (b"\x08\x00\x00\x00\x00", b"\x08\x02\x00\x00\x00")
"""Depth, colour, compression, filter and interlace of 8-bit grey and RGB."""
_FEW = 16
"""Colours of a mask at most, unless a lossy format or a soft edge blurs them."""
_SOFT_SHARE, _SOFT_NEAR, _SOFT_CONTRAST = 0.9, 0.08, 64
"""A blurred mask has this share of its pixels within this part of its range of its ends, and these so far apart."""
_PHOTO_BYTES = 0.25
"""Bytes a pixel of a compressed file above which it is no mask: large areas of one value take next to nothing."""
_COMPRESSED = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp"})

# How transparency is treated is documented above; Pillow would say it again in every run.
warnings.filterwarnings("ignore", message="Palette images with Transparency", category=UserWarning)


def read_pixels(root: Path, name: str, reading: Reading | None = None) -> np.ndarray:
    """Read the image `root/name`; 8-bit grey keeps its one channel.

    Returns:
        (h, w, 3) uint8 RGB, or (h, w, 1) where all three channels would be the same; writable.

    Raises:
        DataError: the file is missing, cannot be decoded or is too large; names it.
    """
    header = read_header(root, name)
    if reading and header.deep:
        values = deep_values(root, name)
        scale = 255 / white_of(values, name, reading.white_level)
        pixels = np.rint(np.clip(values.astype(np.float64) * scale, 0, 255)).astype(np.uint8)
    else:
        with decoding(name):
            pixels = _decoded(root / name, header)
    return _turned(pixels, header) if reading else pixels


def _decoded(path: Path, header: Header) -> np.ndarray:
    if header.mode in {"RGB", "L"} and (pixels := _plain_png(path)) is not None:
        return pixels
    with Image.open(path, formats=FORMATS) as image:
        if image.mode == "L" and "transparency" not in image.info:
            return np.array(image)[..., None]
        return np.array(image.convert("RGB"))


def _turned(pixels: np.ndarray, header: Header) -> np.ndarray:
    if not header.to_turn:
        return pixels
    if header.orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if header.orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if header.orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def read_mask(root: Path, name: str, reading: Reading | None = None) -> np.ndarray:
    """Read the mask `root/name`: (h, w) bool, True where defective.

    Raises:
        DataError: as `read_pixels`.
    """
    if reading is not None:
        return defective(mask_values(root, name)[0], reading.background)
    read_header(root, name)
    with decoding(name), Image.open(root / name, formats=FORMATS) as image:
        return np.array(image.convert("L")) > 0


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return `function(item)` of each item, in order, from two threads; raise the first item's exception, if any."""
    with ThreadPoolExecutor(_WORKERS, "decode") as pool:
        return list(pool.map(function, items))


def _plain_png(path: Path) -> np.ndarray | None:
    """Read an 8-bit grey or RGB PNG faster than Pillow: (h, w, 1 or 3) uint8; None for any other or damaged file."""
    if path.suffix.lower() != ".png":
        return None
    data = path.read_bytes()
    head = data[: data.find(b"IDAT") + 4]
    if data[24:29] not in _PLAIN_PNGS or not head.endswith(b"IDAT") or b"tRNS" in head or b"acTL" in head:
        return None
    try:
        pixels: np.ndarray = _codecs.png_decode(data)
    except RuntimeError:  # what imagecodecs raises on a broken file
        return None
    return pixels.reshape(*pixels.shape[:2], -1)


def deep_values(root: Path, name: str) -> np.ndarray:
    """Read the first channel or three of an image of more than 8 bits, as stored: (h, w, 1 or 3), any dtype.

    Raises:
        DataError: the file cannot be decoded; names it.
    """
    with decoding(name):
        with Image.open(root / name, formats=FORMATS) as image:
            if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
                return np.array(image)[..., None]
            decode = {"PNG": _codecs.png_decode, "TIFF": partial(_codecs.tiff_decode, index=0)}.get(image.format or "")
            if decode is None:  # a PPM, which Pillow scales
                return np.array(image.convert("RGB"))
        try:
            values: np.ndarray = decode((root / name).read_bytes())
        except RuntimeError as error:
            raise ValueError(str(error)) from error
    values = values.reshape(*values.shape[:2], -1)
    return values[..., : 3 if values.shape[2] >= 3 else 1]


def white_of(values: np.ndarray, name: str, white_level: float | None) -> float:
    """Return the value that becomes 255: the level asked for, else what the type means by white.

    Raises:
        DataError: values of which nobody can know what is white.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{name}: holds values that are not finite numbers; replace or remove it")
    if white_level is not None:
        return white_level
    if values.dtype.kind == "f":
        limit = 1.0
    else:
        limit = float(np.iinfo(values.dtype).max) if values.dtype.itemsize < 4 else 65535.0
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > limit:
        raise DataError(
            f"{name}: holds values from {low:g} to {high:g}, and the file does not say which value is white; give "
            "dataset.white_level=N, the value that becomes 255"
        )
    return limit


def mask_values(root: Path, name: str) -> tuple[np.ndarray, str]:
    """Read the values of a mask that say where it is defective, and tell what they are: `alpha`, `colour` or `grey`.

    Returns:
        (h, w) of any dtype, turned as a viewer turns it. Colours are 255 where they are not the background.

    Raises:
        DataError: as `read_pixels`.
    """
    header = read_header(root, name)
    with decoding(name), Image.open(root / name, formats=FORMATS) as image:
        values, source = _mask_values(image)
    return _turned(values, header), source


def _mask_values(image: Image.Image) -> tuple[np.ndarray, str]:
    image.load()
    if image.has_transparency_data:
        alpha = np.array(image.convert("RGBA").getchannel("A"))
        if alpha.min() < alpha.max():
            return alpha, "alpha"
    if image.mode in {"L", "1", "I", "F"} or image.mode.startswith("I;16"):
        values = np.array(image)
        return (values.astype(np.uint8) * 255 if values.dtype == bool else values), "grey"
    image = image.convert("RGB")
    pixels = np.array(image)
    if (pixels[..., :1] == pixels[..., 1:]).all():
        return pixels[..., 0], "grey"
    counted = image.getcolors(256)
    if counted is None:  # a lossy format: the brightest channel, by its threshold
        return pixels.max(axis=2), "colour"
    colours = {colour: count for count, colour in counted}
    background = (0, 0, 0) if (0, 0, 0) in colours else max(colours, key=lambda colour: colours[colour])
    return (pixels != background).any(axis=2).astype(np.uint8) * 255, "colour"


def has_two_values(values: np.ndarray) -> bool:
    """Tell whether a mask holds one or two values and no more."""
    low, high = values.min(), values.max()
    return low == high or np.count_nonzero(values == low) + np.count_nonzero(values == high) == values.size


def threshold(values: np.ndarray, background: float) -> float:
    """Return the value above which a mask of more than two values is defective: half of its range.

    Few values that all lie below half are numbers of classes: then it is the background's.
    """
    high = float(values.max())
    limit = next(limit for limit in (1.0, 255.0, 65535.0, math.inf) if high <= limit)
    if math.isinf(limit):
        return high / 2
    if high > limit / 2:
        return limit / 2
    return background if len(np.unique(values)) <= _FEW else high / 2


def defective(values: np.ndarray, background: float) -> np.ndarray:
    """Find where a mask is defective: (h, w) bool, from `mask_values`.

    Args:
        background: the value, of all masks of a category, that means not defective.
    """
    if has_two_values(values):
        return values != background
    return values > threshold(values, background)


def shrink_mask(mask: np.ndarray, preprocessing: PreprocessingConfig, *, crop: bool = True) -> np.ndarray:
    """Resize a mask by nearest neighbour, as torch has it, and crop it: as the network sees the image.

    Args:
        mask: (h, w) bool.

    Returns:
        (H, W) bool; outside the image, where the crop is larger, False.
    """
    rows, columns = (
        np.minimum((np.arange(wanted, dtype=np.float32) * np.float32(there / wanted)).astype(np.int64), there - 1)
        for wanted, there in zip(preprocessing.resize, mask.shape, strict=True)
    )
    resized = mask[rows[:, None], columns]
    if not crop or preprocessing.center_crop is None:
        return resized
    lacks = [
        max(wanted - there, 0) for wanted, there in zip(preprocessing.center_crop, preprocessing.resize, strict=True)
    ]
    padded = np.pad(resized, [(lack // 2, (lack + 1) // 2) for lack in lacks])
    height, width = preprocessing.center_crop
    top, left = (round((there - wanted) / 2) for wanted, there in zip((height, width), padded.shape, strict=True))
    return padded[top : top + height, left : left + width]


def is_nearly_two(values: np.ndarray) -> bool:
    """Tell whether values are those of a mask: few, or nearly all of them near the lowest or the highest."""
    low, high = float(values.min()), float(values.max())
    near = (high - low) * _SOFT_NEAR
    share = float(((values <= low + near) | (values >= high - near)).mean())
    return share >= _SOFT_SHARE or len(np.unique(values)) <= _FEW


def colours_of(root: Path, name: str) -> int:
    """Count an image's colours, transparency among them: 0 for more than a mask has, 2 for one with soft edges.

    Raises:
        DataError: as `read_pixels`.
    """
    header = read_header(root, name)
    path = root / name
    many = path.stat().st_size > _PHOTO_BYTES * header.width * header.height > 4096 * _PHOTO_BYTES
    if many and PurePosixPath(name).suffix.lower() in _COMPRESSED:
        return 0
    with decoding(name), Image.open(path, formats=FORMATS) as image:
        if header.deep:
            values = deep_values(root, name)
            return len(np.unique(values)) if values.size < 1e8 and has_two_values(values) else 0
        image.draft("RGB", (1024, 1024))  # of a JPEG, a smaller one
        counted = image.convert("RGBA").getcolors(_FEW)
        if counted:
            return len(counted)
        grey = np.array(image.convert("L"))
    return 2 if int(grey.max()) - int(grey.min()) >= _SOFT_CONTRAST and is_nearly_two(grey) else 0
