from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.bootstrap import resampled
from harness.metrics.histograms import OVERLAP_UNIT, pixel_histograms
from harness.metrics.ranking import auroc, f1
from harness.metrics.region import aupro, label_regions, rank_pixels
from tests.metrics.drawn import draw_maps

LIMIT = 0.3


def exact(maps, masks):
    pixels = rank_pixels(maps, masks)
    best = f1(pixels.ranked)
    return {
        "auroc": auroc(pixels.ranked),
        "f1_max": best.maximum,
        "f1_adaptive": best.adaptive,
        "aupro": aupro(pixels, LIMIT),
    }


def binned(maps, masks, draws=None, **options):
    histograms = pixel_histograms(rank_pixels(maps, masks), maps, masks, **options)
    draws = np.ones((1, len(maps))) if draws is None else draws
    return resampled(histograms, draws, fpr_limit=LIMIT)


SETS = {
    # number of defective pixels: (how to draw, accuracy of AUROC and AUPRO, accuracy of the F1s)
    "hundreds": ({"size": 128, "lift": 5, "radius": (1, 3)}, 1e-8, 1e-8),
    "thousands": ({"size": 128, "lift": 8, "radius": (4, 9)}, 1e-5, 1e-3),
    "thousands, undetectable": ({"size": 128, "lift": 0.2, "radius": (4, 9)}, 1e-5, 1e-3),
    "ten thousand": ({"size": 160, "lift": 12, "radius": (8, 16)}, 1e-5, 5e-4),
    "more than 25,000": ({"size": 256, "lift": 12, "radius": (8, 30)}, 1e-5, 3e-4),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_binned_metrics_are_as_accurate_as_stated(name, seed):
    how, area_accuracy, f1_accuracy = SETS[name]
    drawn = draw_maps(seed, **how)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, 8, (4, 8)), 8 + rng.integers(0, 12, (4, 12))
    images = np.concatenate([np.arange(20)[None], np.concatenate(picks, axis=1)])
    draws = np.array([np.bincount(row, minlength=20) for row in images], dtype=float)
    results = binned(drawn.maps, drawn.masks, draws)
    assert set(results) == {"auroc", "f1_max", "f1_adaptive", "aupro"}
    for i, row in enumerate(images):
        for metric, truth in exact(drawn.maps[row], drawn.masks[row]).items():
            accuracy = f1_accuracy if metric.startswith("f1") else area_accuracy
            assert results[metric][i] == pytest.approx(truth, abs=accuracy), (metric, i)


def test_a_pile_of_defect_free_pixels_amid_the_defects_keeps_its_place():
    """Most defect-free pixels share one score, and defects lie on both sides of it, closer than a bin."""
    drawn = draw_maps(3, size=96, radius=(4, 12), lift=0.2)
    maps = np.where(drawn.masks, drawn.maps, np.maximum(drawn.maps, np.quantile(drawn.maps, 0.7)))
    truth = exact(maps, drawn.masks)
    for metric, values in binned(maps, drawn.masks, bins_per_class=256).items():
        assert values[0] == pytest.approx(truth[metric], abs=1e-3 if metric.startswith("f1") else 2e-5), metric


def test_as_many_scores_as_bins_lose_nothing():
    drawn = draw_maps(3, size=96, lift=2)
    ranks = np.searchsorted(np.quantile(drawn.maps, [0.5, 0.6, 0.9, 0.95]), drawn.maps).astype(np.float32)
    histograms = pixel_histograms(rank_pixels(ranks, drawn.masks), ranks, drawn.masks, bins_per_class=5)
    assert histograms.atoms.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixel_histograms_count_every_pixel_in_its_image(dtype):
    drawn = draw_maps(4)
    maps = drawn.maps.astype(dtype)
    histograms = pixel_histograms(rank_pixels(maps, drawn.masks), maps, drawn.masks, bins_per_class=64)
    defective = drawn.masks.sum(axis=(1, 2))
    np.testing.assert_array_equal(histograms.positives.sum(axis=1), defective)
    np.testing.assert_array_equal(histograms.negatives.sum(axis=1), drawn.masks[0].size - defective)
    regions = [np.unique(image[image > 0]).size for image in label_regions(drawn.masks)]
    np.testing.assert_array_equal(histograms.regions, regions)
    np.testing.assert_allclose(histograms.overlap.sum(axis=1) * OVERLAP_UNIT, regions, atol=1e-6)


def test_all_entries_are_whole_numbers():
    drawn = draw_maps(4)
    histograms = pixel_histograms(rank_pixels(drawn.maps, drawn.masks), drawn.maps, drawn.masks)
    for counts in (histograms.positives, histograms.negatives, histograms.overlap, histograms.regions):
        assert counts.dtype == np.float64
        np.testing.assert_array_equal(counts, np.rint(counts))
