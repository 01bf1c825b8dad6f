"""A protocol's pre-processing as torchvision transforms, for anomalib's Engine; ours is `harness.data.preprocess`."""

from __future__ import annotations

from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize, Transform

from harness.config import ProtocolConfig
from harness.data.preprocess import check_interpolation


def build_resize(protocol: ProtocolConfig) -> Resize:
    """The resize that runs on each image by itself; on a mask it is always nearest, as torchvision has it.

    Raises:
        ValueError: an interpolation that is neither bilinear nor bicubic.
    """
    check_interpolation(protocol)
    return Resize(
        list(protocol.resize), interpolation=InterpolationMode(protocol.interpolation), antialias=protocol.antialias
    )


def build_crop(protocol: ProtocolConfig) -> list[Transform]:
    """The centre crop, in a list that is empty where the protocol has none."""
    return [CenterCrop(list(protocol.center_crop))] if protocol.center_crop else []


def build_transform(protocol: ProtocolConfig) -> Compose:
    """Resize, centre crop and normalise float32 RGB in [0, 1]: what anomalib's PreProcessor is to be given.

    anomalib takes the resize out of it for its datasets and runs the whole of it on the batch, where the resize then
    finds nothing left to do.
    """
    normalize = Normalize(mean=list(protocol.mean), std=list(protocol.std))
    return Compose([build_resize(protocol), *build_crop(protocol), normalize])
