"""Resize, centre crop and normalise with torch alone: bit for bit torchvision's transforms, without importing them.

torchvision takes seconds to import, and decoding need not wait for it. `harness.data.transforms` has its transforms for
anomalib's Engine; the tests hold the two against each other.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from harness.config import ProtocolConfig

INTERPOLATIONS = ("bilinear", "bicubic")
LARGE_PIXELS = 8_000_000
"""Of an image above which it is resized a part at a time."""
_ROWS_AT_ONCE = 256


def check_interpolation(protocol: ProtocolConfig) -> None:
    """Refuse an interpolation that is not one of INTERPOLATIONS.

    Raises:
        ValueError: it is not.
    """
    if protocol.interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation {protocol.interpolation!r} is not one of {', '.join(INTERPOLATIONS)}")


def shrink(pixels: np.ndarray, protocol: ProtocolConfig) -> torch.Tensor:
    """Resize and crop one image.

    Args:
        pixels: (h, w, 3) uint8 RGB, or (h, w, 1) grey.

    Returns:
        (3 or 1, H, W) float32, H and W being `protocol.input_size`; in [0, 1], but for bicubic's overshoot. A view of
        the resized image. Without antialiasing always 3: torch's kernels for one channel differ from those for three
        in the last bit on some processors.
    """
    if not protocol.antialias:
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()
    size = list(protocol.resize)
    if protocol.antialias and pixels.shape[0] * pixels.shape[1] > LARGE_PIXELS:
        # First rows, some at a time, then columns, as torch itself does it: the same bits, in far less memory.
        rows = (pixels[top : top + _ROWS_AT_ONCE] for top in range(0, len(pixels), _ROWS_AT_ONCE))
        bands = [_resized(_floats(some), [len(some), size[1]], protocol) for some in rows]
        image = torch.cat(bands, dim=2).contiguous(memory_format=torch.channels_last)
    else:
        image = _floats(pixels)
    if list(image.shape[2:]) != size:
        image = _resized(image, size, protocol)
    return center_crop(image[0], protocol.center_crop)


def _floats(pixels: np.ndarray) -> torch.Tensor:
    """(1, channels, h, w) float32 in [0, 1]."""
    height, width, channels = pixels.shape
    # The channels stay innermost, as in the file. torchvision does the same, stride of the batch included: which of
    # torch's kernels runs depends on it.
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(torch.float32).mul_(1 / 255)
    return image.as_strided(image.shape, (height * width * channels, 1, width * channels, channels))


def _resized(image: torch.Tensor, size: list[int], protocol: ProtocolConfig) -> torch.Tensor:
    return interpolate(image, size=size, mode=protocol.interpolation, align_corners=False, antialias=protocol.antialias)


def shrink_mask(mask: np.ndarray, protocol: ProtocolConfig) -> np.ndarray:
    """Resize a mask by nearest neighbour, whatever the protocol's interpolation, and crop it.

    Args:
        mask: (h, w) bool.

    Returns:
        (H, W) uint8 in {0, 1}, H and W being `protocol.input_size`.
    """
    image = torch.from_numpy(mask).to(torch.uint8)[None, None]
    return center_crop(interpolate(image, size=list(protocol.resize), mode="nearest"), protocol.center_crop)[
        0, 0
    ].numpy()


def normalise(image: torch.Tensor, protocol: ProtocolConfig, out: torch.Tensor) -> None:
    """Subtract the protocol's means, divide by its deviations.

    Args:
        image: (3 or 1, H, W) float32.
        out: (3, H, W) float32, is written.
    """
    mean, std = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (protocol.mean, protocol.std))
    torch.sub(image, mean, out=out)
    out.div_(std)


def center_crop(image: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """The middle of an image, (..., h, w) of any type; filled up with zeros where the crop reaches beyond it.

    An odd difference is split as torchvision splits it: half a pixel goes to the even side.

    Args:
        size: (height, width), or None for the image as it is.
    """
    if size is None:
        return image
    missing = [max(wanted - there, 0) for wanted, there in zip(size, image.shape[-2:], strict=True)]
    if any(missing):
        image = pad(image, [part for lack in reversed(missing) for part in (lack // 2, (lack + 1) // 2)])
    top, left = (round((there - wanted) / 2) for wanted, there in zip(size, image.shape[-2:], strict=True))
    return image[..., top : top + size[0], left : left + size[1]]
