import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import CenterCrop, Normalize, Resize

from harness.data.datamodule import build_transform
from tests.data.small import protocol


def test_every_field_of_the_protocol_arrives():
    transform = build_transform(
        protocol(resize=(60, 80), center_crop=(48, 64), interpolation="bicubic", antialias=False, mean=(1, 2, 3))
    )
    resize, crop, normalize = transform.transforms
    assert isinstance(resize, Resize)
    assert isinstance(crop, CenterCrop)
    assert isinstance(normalize, Normalize)
    assert (list(resize.size), resize.interpolation, resize.antialias) == ([60, 80], InterpolationMode.BICUBIC, False)
    assert list(crop.size) == [48, 64]
    assert (list(normalize.mean), list(normalize.std)) == ([1, 2, 3], [0.229, 0.224, 0.225])
    assert transform(torch.zeros(2, 3, 30, 40)).shape == (2, 3, 48, 64)


def test_no_crop_leaves_it_out():
    assert [type(t) for t in build_transform(protocol(center_crop=None)).transforms] == [Resize, Normalize]


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="'nearest' is not one of bilinear, bicubic"):
        build_transform(protocol(interpolation="nearest"))


def test_it_is_the_transform_anomalibs_padim_has_by_default():
    from anomalib.models import Padim

    theirs = Padim.configure_pre_processor((256, 256)).transform
    ours = build_transform(protocol(resize=(256, 256), center_crop=None))
    image = torch.rand(2, 3, 90, 70)
    assert torch.equal(ours(image), theirs(image))
