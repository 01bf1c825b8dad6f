from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.measure import label

from harness.metrics.region import aupro, label_regions, rank_pixels
from tests.metrics.drawn import draw_maps


def plain_aupro(maps, masks, limit):
    """By definition: a curve over all thresholds, one region after the other, integrated up to the limit."""
    regions = [
        (image, labels == number)
        for image, mask in enumerate(masks)
        for labels in [label(mask, connectivity=2)]
        for number in range(1, labels.max() + 1)
    ]
    fpr, overlap = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        fpr.append((found & ~masks).sum() / (~masks).sum())
        overlap.append(np.mean([found[image][region].mean() for image, region in regions]))
    fpr, overlap = np.array(fpr), np.array(overlap)
    inside = fpr <= limit
    x, y = fpr[inside], overlap[inside]
    if x[-1] < limit:
        beyond = np.flatnonzero(~inside)[0]
        slope = (overlap[beyond] - y[-1]) / (fpr[beyond] - x[-1])
        x, y = np.append(x, limit), np.append(y, y[-1] + slope * (limit - x[-1]))
    return np.trapezoid(y, x) / limit


def anomalib_aupro(maps, masks, limit):
    from anomalib.metrics.aupro import _AUPRO

    metric = _AUPRO(fpr_limit=limit)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks))
    return float(metric.compute())


def hostile(kind, dtype=np.float32):
    """Maps and masks of 3 to 4 small images."""
    own = np.random.default_rng(7)
    masks = np.zeros((4, 9, 11), dtype=bool)
    masks[1, 2:4, 3:6] = masks[1, 6, 8] = masks[2, :3, :3] = masks[3, 8, :] = True
    maps = own.uniform(20, 60, masks.shape)
    if kind == "ties":
        maps = np.round(maps / 10)
    elif kind == "two values":
        maps = own.integers(0, 2, masks.shape)
    elif kind == "constant":
        maps = np.full(masks.shape, 33.0)
    elif kind == "perfect":
        maps = masks * 100.0 + maps
    elif kind == "inverted":
        maps = maps - masks * 100.0
    elif kind == "noise mask":
        masks = own.random(masks.shape) < 0.3
    elif kind == "one pixel":
        masks[:] = False
        masks[2, 4, 4] = True
    elif kind == "one defect-free pixel":
        masks[:] = True
        masks[0, 0, 0] = False
    elif kind == "subnormal":
        maps = own.integers(1, 9, masks.shape) * np.finfo(dtype).smallest_subnormal
    elif kind == "huge":
        maps = (own.random(masks.shape) - 0.5) * np.finfo(dtype).max
    return maps.astype(dtype), masks


KINDS = (
    "raw", "ties", "two values", "constant", "perfect", "inverted", "noise mask", "one pixel", "one defect-free pixel",
    "subnormal", "huge",
)  # fmt: skip


@pytest.mark.parametrize(("limit", "dtype"), [(0.05, np.float64), (0.3, np.float32), (1.0, np.float64)])
@pytest.mark.parametrize("kind", KINDS)
def test_aupro_equals_the_plain_definition(kind, dtype, limit):
    maps, masks = hostile(kind, dtype)
    assert aupro(rank_pixels(maps, masks), limit) == pytest.approx(plain_aupro(maps, masks, limit), abs=1e-13)


@pytest.mark.parametrize("ties", [None, 30])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_equals_anomalibs(limit, ties):
    drawn = draw_maps(4, size=96, lift=12)
    maps = (drawn.maps - drawn.maps.min()) / np.ptp(drawn.maps)
    if ties:
        maps = np.round(maps * ties) / np.float32(ties)
    expected = anomalib_aupro(maps, drawn.masks, limit)
    assert 0.3 < expected < 0.99
    # anomalib adds up in float32.
    assert aupro(rank_pixels(maps, drawn.masks), limit) == pytest.approx(expected, abs=2e-6)


def test_regions_are_anomalibs():
    from anomalib.utils.cv import connected_components_cpu

    masks = np.random.default_rng(2).random((5, 30, 40)) < 0.35
    theirs = connected_components_cpu(torch.from_numpy(masks).float().unsqueeze(1)).squeeze(1).numpy()
    ours = label_regions(masks)
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)
    assert pairs.shape[1] == ours.max() + 1 == theirs.max() + 1
