"""What an engine is: images in, raw scores out. `streaming` and `reference` are the two there are.

Nothing here imports torch, so that a request that no engine can carry out is refused at once.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from harness.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from anomalib.data import AnomalibDataModule
    from torchvision.transforms.v2 import Compose

    from harness.config import BackboneConfig, ProtocolConfig
    from harness.monitor import Monitor
    from harness.padim.plan import Plan
    from harness.padim.weights import Weights

Part = Literal["train", "test"]
ANOMALIB_EPSILON = 0.01001
"""What anomalib 2.7 adds to the diagonal: 0.01 to the covariance, then 1e-5 to stabilise it."""
_ANOMALIB_BLUR_SIGMA = 4


class ImageSource(Protocol):
    """Where an engine gets its images from; `harness.data.loader.SplitSource` is the one there is."""

    n_train: int
    n_test: int

    @property
    def transform(self) -> Compose:
        """Resize, centre crop and normalise: what the PreProcessor of anomalib's Engine is to be given."""

    def n_batches(self, part: Part) -> int:
        """How many batches a pass over that part has."""

    def load_batch(self, part: Part, number: int) -> torch.Tensor:
        """A batch of normalised images, (B, 3, H, W) float32 on the CPU, in the split's order.

        It decodes in the calling thread and may be called from several.
        """

    def datamodule(self) -> AnomalibDataModule:
        """The same split for anomalib's own Engine: images resized, neither cropped nor normalised."""


@dataclass(frozen=True)
class Variant:
    """What may differ between runs that share one backbone pass."""

    seed: int
    n_features: int
    index_sampler: str


@dataclass(frozen=True)
class Scores:
    """What an engine gives for one variant: raw, never normalised or clamped."""

    image_scores: np.ndarray
    """(n_test,) float32: the maximum of each anomaly map; at least 0, no upper bound."""
    anomaly_maps: np.ndarray
    """(n_test, H, W) float32: Mahalanobis distance, upsampled to the network's input size and blurred."""
    indices_sha256: str
    """sha256 of the kept channels' indices, as little-endian int64 in the order drawn."""
    own_metrics: Mapping[str, float] = field(default_factory=dict)
    """`reference` only: what anomalib's own evaluator printed, by anomalib's names."""
    notes: tuple[str, ...] = ()
    """What a reader of the record should know, for example an epsilon that the engine cannot take."""


class Engine(Protocol):
    """An engine is a function: it fits every variant on the training images and scores the test images."""

    def __call__(
        self,
        source: ImageSource,
        *,
        backbone: BackboneConfig,
        weights: Weights,
        protocol: ProtocolConfig,
        variants: tuple[Variant, ...],
        device: str,
        monitor: Monitor,
        plan: Plan,
    ) -> Generator[Scores]:
        """Yield the scores of each variant, in the order of `variants`; what is not asked for may not be computed.

        Raises:
            DataError: the numbers cannot be trusted (a NaN in the features, a covariance without a factor); names
                the location.
        """


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


def check_reference(protocol: ProtocolConfig) -> None:
    """Refuse what anomalib's Engine cannot do.

    Raises:
        RequestError: another blur than anomalib's.
    """
    if protocol.blur_sigma != _ANOMALIB_BLUR_SIGMA:
        raise RequestError(
            f"protocol.blur_sigma={protocol.blur_sigma}: engine=reference always blurs with {_ANOMALIB_BLUR_SIGMA}; "
            "take engine=streaming"
        )
