"""Image files to uint8 pixels, exactly as Pillow gives them; plain PNGs by a decoder that is faster.

What Pillow's `convert("RGB")` does, and so this module:

- grey, bilevel and palette images become RGB; transparency (RGBA, LA, palette) is dropped, the colours under it stay;
- CMYK is converted without a colour profile; embedded profiles are ignored;
- an EXIF rotation is ignored: the pixels are taken as they are stored, and so must the mask be;
- 16-bit grey (and 32-bit integer and float) is *clipped* at 255, not scaled: an image that uses all 16 bits becomes
  almost white (the split's notes say so); 16-bit RGB keeps its upper byte;
- of several frames or pages the first is used;
- in a mask every grey value above 0 is defective. A coloured mask goes through luminance first, where a very dark blue
  or red rounds to 0.

A PNG of 8-bit RGB or grey with nothing in it that bears on its pixels is decoded by `harness.data.png`. Whatever looks
in any way different goes to Pillow, so that errors are Pillow's too.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.files import decoding, read_header
from harness.data.png import decode_plain

# How transparency is treated is documented above; Pillow would say it anew in every run.
warnings.filterwarnings("ignore", message="Palette images with Transparency", category=UserWarning)


def read_pixels(root: Path, name: str) -> np.ndarray:
    """The image `root/name` as Pillow's `convert("RGB")` has it, but 8-bit grey keeps its one channel.

    Returns:
        (h, w, 3) uint8 RGB, or (h, w, 1) where all three channels would be the same; writable.

    Raises:
        DataError: the file is missing, cannot be decoded or is too large; names it.
    """
    header = read_header(root, name)
    with decoding(name):
        if header.mode in {"RGB", "L"} and (pixels := _fast(root / name)) is not None:
            return pixels
        with Image.open(root / name) as image:
            if image.mode == "L" and "transparency" not in image.info:
                return np.array(image)[..., None]
            return np.array(image.convert("RGB"))


def read_mask(root: Path, name: str) -> np.ndarray:
    """The mask `root/name`: what is above 0 in Pillow's `convert("L")`.

    Returns:
        (h, w) bool.

    Raises:
        DataError: as `read_pixels`.
    """
    header = read_header(root, name)
    with decoding(name):
        if header.mode == "L" and (pixels := _fast(root / name)) is not None:
            return pixels[..., 0] > 0
        with Image.open(root / name) as image:
            return np.array(image.convert("L")) > 0


def _fast(path: Path) -> np.ndarray | None:
    """(h, w, 1 or 3) uint8, or None where Pillow is to decide."""
    return decode_plain(path.read_bytes()) if path.suffix.lower() == ".png" else None
