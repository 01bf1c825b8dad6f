"""AUPRO from raw maps, exactly: the area under the per-region overlap curve up to a false-positive rate."""

import math
from dataclasses import dataclass

import numpy as np

from harness.metrics.ranking import Ranked


@dataclass(frozen=True, eq=False)
class RankedPixels:
    """All pixels of a test set, ranked, and where each defective one lies."""

    ranked: Ranked
    """The positives are the defective pixels, the negatives all others, of normal and of anomalous images."""
    images: np.ndarray
    """(P,) int: the image of each of `ranked.positives`."""
    regions: np.ndarray
    """(P,) int: its region, from 0, numbered through all images, none skipped."""


def rank_pixels(anomaly_maps: np.ndarray, masks: np.ndarray) -> RankedPixels:
    """Sort the pixels once, for all pixel metrics.

    Args:
        anomaly_maps: (N, H, W) float32 or float64, raw.
        masks: (N, H, W) bool, with a defective and a defect-free pixel.

    Raises:
        ValueError: no pixel of one class, or a NaN.
    """
    positives = anomaly_maps[masks]
    order = np.argsort(positives)
    negatives = anomaly_maps[~masks]
    negatives.sort()
    per_image = np.count_nonzero(masks, axis=(1, 2))
    return RankedPixels(
        ranked=Ranked.of_sorted(positives[order], negatives),
        images=np.repeat(np.arange(len(masks)), per_image)[order],
        regions=label_regions(masks)[masks][order] - 1,
    )


def label_regions(masks: np.ndarray) -> np.ndarray:
    """Give each defective region of (N, H, W) bool masks a number, 1 to R through all images; (N, H, W) int32, else 0.

    A region is a connected component of one image's mask with 8-connectivity (pixels that touch at a corner belong
    together), as in anomalib 2.7 (`cv2.connectedComponents`) and in MVTec's own evaluation.
    """
    from scipy import ndimage

    within_an_image = np.zeros((3, 3, 3), dtype=bool)
    within_an_image[1] = True
    labels: np.ndarray = ndimage.label(masks, structure=within_an_image)[0]
    return labels


def ramp_area(start: np.ndarray, stop: np.ndarray, limit: float) -> np.ndarray:
    """Return the area, up to `limit`, under a ramp that rises from 0 at `start` to 1 at `stop`; a step where equal.

    A group of equal scores moves a ROC-like curve along one straight segment, and each of its positives adds this area:
    summed over groups it is the trapezoid rule, cut at the limit.

    Args:
        start: false-positive rate just above the group, in [0, 1].
        stop: false-positive rate with the group, in [start, 1]; broadcasts with `start`.
        limit: in (0, 1].
    """
    cut = np.maximum(limit - start, 0.0)
    width = stop - start
    whole = limit - (start + stop) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        partial = cut * cut / (2 * width)
    result: np.ndarray = np.where(stop <= limit, whole, np.where(cut > 0, partial, 0.0))
    return result


def aupro(pixels: RankedPixels, fpr_limit: float) -> float:
    """Return the area under the per-region overlap curve up to `fpr_limit`, divided by `fpr_limit`; in [0, 1].

    All distinct scores are thresholds, and each region counts the same. The area is the average of one `ramp_area` a
    defective pixel. Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021.

    Args:
        fpr_limit: in (0, 1].
    """
    ranked, n_negatives = pixels.ranked, pixels.ranked.negatives.size
    start = (n_negatives - ranked.not_above) / n_negatives
    stop = (n_negatives - ranked.below) / n_negatives
    area = np.bincount(pixels.regions, weights=ramp_area(start, stop, fpr_limit)) / np.bincount(pixels.regions)
    # Rounded once, so that the order of the images moves no bit.
    return math.fsum(area) / area.size / fpr_limit
