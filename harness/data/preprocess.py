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
    height, width, channels = pixels.shape
    # The channels stay innermost, as in the file. torchvision does the same, stride of the batch included: which of
    # torch's kernels runs depends on it.
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(torch.float32).mul_(1 / 255)
    image = image.as_strided(image.shape, (image.numel(), 1, width * channels, channels))
    if (height, width) != tuple(protocol.resize):
        image = interpolate(
            image,
            size=list(protocol.resize),
            mode=protocol.interpolation,
            align_corners=False,
            antialias=protocol.antialias,
        )
    return center_crop(image[0], protocol.center_crop)


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
