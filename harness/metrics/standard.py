"""The metrics of every run, and what they are computed from. Each depends on the order of the raw scores alone."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.metrics import ranking, region
from harness.metrics.ranking import F1, Ranked, f1, rank
from harness.metrics.region import RankedPixels, rank_pixels
from harness.metrics.registry import UndefinedError, metric

IMAGE, PIXEL, REGION = {"scores"}, {"maps", "masks"}, {"maps", "masks", "regions"}


@dataclass(frozen=True, eq=False)
class Images:
    """The test images, with one score each."""

    scores: np.ndarray
    """(N,) float32 or float64, raw, finite."""
    labels: np.ndarray
    """(N,) int in {0, 1}, 1 for anomalous; both occur."""

    @cached_property
    def ranked(self) -> Ranked:
        """The anomalous images' scores against the normal ones'."""
        return rank(self.scores[self.labels == 1], self.scores[self.labels == 0])

    @cached_property
    def best(self) -> F1:
        """The F1s at the threshold that maximises F1, and that threshold."""
        return f1(self.ranked)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of the test images."""

    maps: np.ndarray
    """(N, H, W) float32 or float64, raw, finite."""
    masks: np.ndarray
    """(N, H, W) bool, True where defective; both occur."""
    fpr_limit: float
    """AUPRO integrates up to this false-positive rate, in [0, 1]; 0: no AUPRO."""

    @cached_property
    def regions(self) -> RankedPixels:
        """The pixels, ranked, with the image and the region of each defective one."""
        return rank_pixels(self.maps, self.masks)

    @cached_property
    def ranked(self) -> Ranked:
        """The defective pixels' scores against all others'."""
        return self.regions.ranked

    @cached_property
    def best(self) -> F1:
        """The F1s at the threshold that maximises F1, and that threshold."""
        return f1(self.ranked)


@metric(name="image_auroc", level="image", label="Image AUROC", needs=IMAGE, version=2)
@metric(name="pixel_auroc", level="pixel", label="Pixel AUROC", needs=PIXEL)
def auroc(sample: Images | Pixels) -> float:
    """Return the area under the ROC curve, in [0, 1].

    The share of pairs of an anomalous and a normal one in which the anomalous one scores higher; a tie counts half, so
    equal scores give 0.5. Source: the Mann-Whitney statistic (Hanley and McNeil, Radiology 143, 1982).
    """
    return ranking.auroc(sample.ranked)


@metric(name="image_f1_max", level="image", label="Image F1-max", needs=IMAGE)
@metric(name="pixel_f1_max", level="pixel", label="Pixel F1-max", needs=PIXEL)
def f1_max(sample: Images | Pixels) -> float:
    """Return the largest F1 over all thresholds, predicting anomalous where `score >= threshold`; in (0, 1].

    Equal scores are on one side of every threshold together; all equal, they give F1 with everything called anomalous,
    2 P / (2 P + N), which no scores fall below. Source: van Rijsbergen, "Information Retrieval", 1979.
    """
    return sample.best.maximum


@metric(name="image_f1_strict", level="image", label="Image F1, strict", needs=IMAGE)
@metric(name="pixel_f1_strict", level="pixel", label="Pixel F1, strict", needs=PIXEL)
def f1_strict(sample: Images | Pixels) -> float:
    """Return F1 at the threshold of F1-max that anomalib picks, predicting anomalous where `score > threshold`; [0, 1].

    It loses the anomalous ones whose score is the threshold: with a perfect separation one image, with all scores equal
    everything, which gives 0. Source: F1AdaptiveThreshold and F1Score of anomalib 2.7, with the roundings that decide
    between thresholds.
    """
    return sample.best.strict


@metric(name="pixel_aupro", level="pixel", label="AUPRO", needs=REGION)
def aupro(sample: Pixels) -> float:
    """Return the area under the per-region overlap curve up to `metrics.aupro_fpr_limit`, divided by it; in [0, 1].

    A group of equal scores moves the curve along one straight segment, so all equal give half the limit. With a limit
    of 0 it is undefined. Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 129, 2021.
    """
    if sample.fpr_limit == 0:
        raise UndefinedError("metrics.aupro_fpr_limit is 0")
    return region.aupro(sample.regions, sample.fpr_limit)


@metric(name="image_ap", level="image", label="Image AP", needs=IMAGE)
@metric(name="pixel_ap", level="pixel", label="Pixel AP", needs=PIXEL)
def average_precision(sample: Images | Pixels) -> float:
    """Return the average precision, the area under the precision-recall curve as a sum of steps; in (0, 1].

    The sum over all thresholds of precision times the recall that the threshold adds, as scikit-learn's
    `average_precision_score`, without interpolation, which is too optimistic (Davis and Goadrich, ICML 2006). Equal
    scores are one threshold; all equal, they give the share of anomalous ones.
    """
    return ranking.average_precision(sample.ranked)


@metric(name="pixel_iou_max", level="pixel", label="Pixel IoU-max", needs=PIXEL)
def iou_max(sample: Pixels) -> float:
    """Return the largest intersection over union of masks and predictions over all thresholds; in (0, 1].

    All pixels of the test set are one set, predicted defective where `score >= threshold`; equal scores are on one side
    together, and all equal they give the share of defective pixels. Source: the Jaccard index, F1-max / (2 - F1-max).
    """
    return ranking.iou_max(sample.ranked)
