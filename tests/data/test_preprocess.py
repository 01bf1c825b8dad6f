import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import CenterCrop, Normalize
from torchvision.transforms.v2.functional import to_dtype
from torchvision.tv_tensors import Mask

from harness.data.datamodule import build_crop, build_resize
from harness.data.loader import center_crop, check_interpolation, normalise, shrink
from harness.data.pixels import shrink_mask
from tests.data.small import protocol


def torchvisions(pixels, proto):
    """As anomalib's read_image and torchvision's Resize and CenterCrop have it."""
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()
    image = to_dtype(torch.as_tensor(rgb).permute(2, 0, 1), torch.float32, scale=True)
    for transform in (build_resize(proto), *build_crop(proto)):
        image = transform(image)
    return image


def sizes(rng, low, high):
    return tuple(int(side) for side in rng.integers(low, high, 2))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [3, 1])
def test_resize_and_crop_are_torchvisions_bit_for_bit(interpolation, antialias, channels):
    rng = np.random.default_rng(0)
    for case in range(60):
        resize = sizes(rng, 1, 150)
        proto = protocol(
            resize=resize,
            center_crop=None if case % 3 == 0 else sizes(rng, 1, 170),
            interpolation=interpolation,
            antialias=antialias,
        )
        height, width = resize if case % 10 == 9 else sizes(rng, 1, 400)
        pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
        found = shrink(pixels, proto)
        assert (found.dtype, found.shape) == (torch.float32, (channels if antialias else 3, *proto.input_size))
        assert torch.equal(found.expand(3, -1, -1), torchvisions(pixels, proto)), (pixels.shape, proto)


def test_every_small_crop_is_torchvisions():
    image = torch.arange(1.0, 31).reshape(1, 5, 6)
    for height in range(1, 10):
        for width in range(1, 10):
            found = center_crop(image, (height, width))
            assert torch.equal(found, CenterCrop([height, width])(image)), (height, width)
    assert center_crop(image, None) is image


def test_masks_are_torchvisions():
    rng = np.random.default_rng(2)
    for case in range(60):
        proto = protocol(
            resize=sizes(rng, 1, 120),
            center_crop=None if case % 3 == 0 else sizes(rng, 1, 140),
            interpolation=["bilinear", "bicubic"][case % 2],
        )
        mask = rng.random(sizes(rng, 1, 300)) < 0.3
        expected = Mask(mask, dtype=torch.uint8)
        for transform in (build_resize(proto), *build_crop(proto)):
            expected = transform(expected)
        found = shrink_mask(mask, proto)
        assert found.dtype == bool
        assert np.array_equal(found, expected.numpy())


@pytest.mark.parametrize("channels", [3, 1])
def test_normalisation_is_torchvisions_bit_for_bit(channels):
    proto = protocol(mean=(0.485, 0.1, 0.9), std=(0.229, 3, 0.01))
    image = torch.rand(channels, 70, 90).permute(0, 2, 1)[:, 3:60, 5:50]
    out = torch.empty(2, 3, 57, 45)
    normalise(image, proto, out=out[1])
    expected = Normalize(mean=list(proto.mean), std=list(proto.std))(image.expand(3, -1, -1))
    assert torch.equal(out[1], expected)


def test_an_unknown_interpolation_is_refused():
    check_interpolation(protocol())
    with pytest.raises(ValueError, match="'nearest' is not one of bilinear, bicubic"):
        check_interpolation(protocol(interpolation="nearest"))
