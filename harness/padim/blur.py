"""How far a Gaussian blur reaches, and where it cannot be carried out; without torch or NumPy, to refuse early."""

from __future__ import annotations

from harness.errors import RequestError


def blur_reach(sigma: float) -> int:
    """Pixels on either side that a Gaussian blur's kernel covers, as kornia and anomalib cut it off."""
    return int(4.0 * sigma + 0.5)


def check_blur(sigma: float, size: tuple[int, int]) -> None:
    """Refuse a blur whose border cannot be reflected.

    Args:
        sigma: in pixels; 0 for no blur.
        size: (height, width) of what is blurred, in pixels.

    Raises:
        RequestError: a side has no more pixels than the kernel reaches.
    """
    reach = blur_reach(sigma)
    if min(size) <= reach:
        raise RequestError(
            f"protocol.blur_sigma={sigma} reaches {reach} pixels and needs an input larger than that on each "
            f"side, here it is {size[0]}x{size[1]}: lower protocol.blur_sigma or enlarge protocol.center_crop"
        )
