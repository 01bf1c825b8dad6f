"""Metrics of resamples against those of the resampled images themselves; and the histograms that they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.bootstrap import (
    OVERLAP_UNIT,
    ImageHistograms,
    draw,
    image_histograms,
    pixel_histograms,
    resampled,
)
from harness.metrics.ranking import auroc, f1, rank
from harness.metrics.region import aupro, label_regions, rank_pixels
from tests.metrics.drawn import draw_maps

LABELS = np.array([0, 1, 1, 0, 1, 0, 1, 1, 0])
LIMIT = 0.3


def test_each_class_keeps_its_number_of_images():
    draws = draw(LABELS, 500, 0)
    assert draws.shape == (500, 9)
    np.testing.assert_array_equal(draws[:, LABELS == 0].sum(axis=1), 4)
    np.testing.assert_array_equal(draws[:, LABELS == 1].sum(axis=1), 5)
    np.testing.assert_array_equal(draws, np.rint(draws))


def test_the_resamples_are_the_ones_that_records_were_made_with():
    """Where this fails (another NumPy may draw otherwise), raise the version of each metric with such an interval."""
    np.testing.assert_array_equal(draw(LABELS, 2, 0), [[0, 1, 0, 1, 1, 2, 1, 2, 1], [3, 0, 0, 1, 1, 0, 3, 1, 0]])


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 1, 5]), st.integers(1, 25), st.integers(1, 25))
def test_image_metrics_of_a_resample_are_exactly_those_of_the_resampled_images(seed, decimals, n_normal, n_anomalous):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], [n_normal, n_anomalous]))
    scores = rng.normal(30, 5, labels.size) + 4 * labels
    if decimals is not None:
        scores = np.round(scores / decimals)
    draws = draw(labels, 20, seed)
    results = resampled(image_histograms(scores, labels), draws)
    for i, counts in enumerate(draws.astype(int)):
        images = np.repeat(np.arange(labels.size), counts)
        ranked = rank(scores[images][labels[images] == 1], scores[images][labels[images] == 0])
        best = f1(ranked)
        assert results["auroc"][i] == auroc(ranked)
        assert results["f1_max"][i] == best.maximum
        assert results["f1_strict"][i] == best.strict


@pytest.fixture(scope="module")
def pixels():
    drawn = draw_maps(0, size=64, lift=8)
    return drawn, pixel_histograms(rank_pixels(drawn.maps, drawn.masks), drawn.maps, drawn.masks)


def test_chunks_move_no_bit(pixels, monkeypatch):
    drawn, histograms = pixels
    draws = draw(drawn.labels, 150, 0)
    together = resampled(histograms, draws, fpr_limit=LIMIT)
    assert set(together) == {"auroc", "f1_max", "f1_strict", "aupro"}
    monkeypatch.setattr("harness.metrics.bootstrap.CHUNK", 7)
    for name, values in resampled(histograms, draws, fpr_limit=LIMIT).items():
        np.testing.assert_array_equal(values, together[name])


def test_the_order_of_the_images_moves_no_bit(pixels):
    drawn, histograms = pixels
    order = np.random.default_rng(0).permutation(20)
    maps, masks = drawn.maps[order], drawn.masks[order]
    shuffled = pixel_histograms(rank_pixels(maps, masks), maps, masks)
    draws = draw(drawn.labels, 50, 0)
    expected = resampled(histograms, draws, fpr_limit=LIMIT)
    for name, values in resampled(shuffled, draws[:, order], fpr_limit=LIMIT).items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_resample_without_a_defective_pixel_has_no_value(pixels):
    drawn, histograms = pixels
    draws = np.stack([np.ones(20), 1.0 - drawn.labels])
    with np.errstate(divide="raise", invalid="raise"):  # nor a warning
        results = resampled(histograms, draws, fpr_limit=LIMIT)
    for values in results.values():
        assert np.isfinite(values[0])
        assert np.isnan(values[1])


def test_a_threshold_amid_a_bin_takes_one_positive_along():
    """Of five positives and two negatives in the upper bin the strict rule loses one positive, in the lower one all."""
    counts = {"positives": np.array([[1.0, 5.0]]), "negatives": np.array([[10.0, 2.0]])}
    mixed = resampled(ImageHistograms(**counts, atoms=np.array([True, False])), np.ones((1, 1)))
    assert mixed["f1_max"] == 10 / (5 + 2 + 6)
    assert mixed["f1_strict"] == 8 / (4 + 2 + 6)
    alone = resampled(ImageHistograms(**counts, atoms=np.array([True, True])), np.ones((1, 1)))
    assert alone["f1_strict"] == 0


def exact(maps, masks):
    pixels = rank_pixels(maps, masks)
    best = f1(pixels.ranked)
    return {
        "auroc": auroc(pixels.ranked),
        "f1_max": best.maximum,
        "f1_strict": best.strict,
        "aupro": aupro(pixels, LIMIT),
    }


def histograms_of(maps, masks):
    return pixel_histograms(rank_pixels(maps, masks), maps, masks)


def binned(maps, masks, draws=None):
    draws = np.ones((1, len(maps))) if draws is None else draws
    return resampled(histograms_of(maps, masks), draws, fpr_limit=LIMIT)


SETS = {
    # number of defective pixels: (how to draw, accuracy of AUROC and AUPRO, accuracy of the F1s)
    "hundreds": ({"size": 128, "lift": 5, "radius": (1, 3)}, 1e-8, 1e-8),
    "thousands": ({"size": 128, "lift": 8, "radius": (4, 9)}, 1e-5, 1e-3),
    "thousands, undetectable": ({"size": 128, "lift": 0.2, "radius": (4, 9)}, 1e-5, 1e-3),
    "ten thousand": ({"size": 160, "lift": 12, "radius": (8, 16)}, 1e-5, 5e-4),
    "more than 25,000": ({"size": 256, "lift": 12, "radius": (8, 30)}, 1e-5, 3e-4),
}


@pytest.mark.parametrize("name", SETS)
def test_binned_metrics_are_as_accurate_as_stated(name):
    seed = 0
    how, area_accuracy, f1_accuracy = SETS[name]
    drawn = draw_maps(seed, **how)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, 8, (4, 8)), 8 + rng.integers(0, 12, (4, 12))
    images = np.concatenate([np.arange(20)[None], np.concatenate(picks, axis=1)])
    draws = np.array([np.bincount(row, minlength=20) for row in images], dtype=float)
    results = binned(drawn.maps, drawn.masks, draws)
    assert set(results) == {"auroc", "f1_max", "f1_strict", "aupro"}
    for i, row in enumerate(images):
        for metric, truth in exact(drawn.maps[row], drawn.masks[row]).items():
            accuracy = f1_accuracy if metric.startswith("f1") else area_accuracy
            assert results[metric][i] == pytest.approx(truth, abs=accuracy), (metric, i)


def test_a_pile_of_defect_free_pixels_amid_the_defects_keeps_its_place(monkeypatch):
    """Most defect-free pixels share one score, and defects lie on both sides of it, closer than a bin."""
    drawn = draw_maps(3, size=96, radius=(4, 12), lift=0.2)
    maps = np.where(drawn.masks, drawn.maps, np.maximum(drawn.maps, np.quantile(drawn.maps, 0.7)))
    truth = exact(maps, drawn.masks)
    monkeypatch.setattr("harness.metrics.bootstrap.BINS_PER_CLASS", 256)
    for metric, values in binned(maps, drawn.masks).items():
        assert values[0] == pytest.approx(truth[metric], abs=1e-3 if metric.startswith("f1") else 2e-5), metric


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixel_histograms_count_every_pixel_in_its_image_in_whole_numbers(dtype):
    drawn = draw_maps(4)
    histograms = histograms_of(drawn.maps.astype(dtype), drawn.masks)
    for counts in (histograms.positives, histograms.negatives, histograms.overlap, histograms.regions):
        assert counts.dtype == np.float64
        np.testing.assert_array_equal(counts, np.rint(counts))
    defective = drawn.masks.sum(axis=(1, 2))
    np.testing.assert_array_equal(histograms.positives.sum(axis=1), defective)
    np.testing.assert_array_equal(histograms.negatives.sum(axis=1), drawn.masks[0].size - defective)
    regions = [np.unique(image[image > 0]).size for image in label_regions(drawn.masks)]
    np.testing.assert_array_equal(histograms.regions, regions)
    np.testing.assert_allclose(histograms.overlap.sum(axis=1) * OVERLAP_UNIT, regions, atol=1e-6)
