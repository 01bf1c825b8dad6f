from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.bootstrap import draw, resampled
from harness.metrics.histograms import ImageHistograms, image_histograms, pixel_histograms
from harness.metrics.ranking import auroc, f1, rank
from harness.metrics.region import rank_pixels
from tests.metrics.drawn import draw_maps

LABELS = np.array([0, 1, 1, 0, 1, 0, 1, 1, 0])


def test_each_class_keeps_its_number_of_images():
    draws = draw(LABELS, 500, 0)
    assert draws.shape == (500, 9)
    np.testing.assert_array_equal(draws[:, LABELS == 0].sum(axis=1), 4)
    np.testing.assert_array_equal(draws[:, LABELS == 1].sum(axis=1), 5)
    np.testing.assert_array_equal(draws, np.rint(draws))


def test_the_resamples_are_the_ones_that_records_were_made_with():
    """Where this fails (another NumPy may draw otherwise), raise `harness.metrics.VERSION`."""
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
        assert results["f1_adaptive"][i] == best.adaptive


@pytest.fixture(scope="module")
def pixels():
    drawn = draw_maps(0, size=64, lift=8)
    return drawn, pixel_histograms(rank_pixels(drawn.maps, drawn.masks), drawn.maps, drawn.masks)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_move_no_bit(pixels, chunk):
    drawn, histograms = pixels
    draws = draw(drawn.labels, 150, 0)
    together = resampled(histograms, draws, fpr_limit=0.3)
    assert set(together) == {"auroc", "f1_max", "f1_adaptive", "aupro"}
    for name, values in resampled(histograms, draws, fpr_limit=0.3, chunk=chunk).items():
        np.testing.assert_array_equal(values, together[name])


def test_the_order_of_the_images_moves_no_bit(pixels):
    drawn, histograms = pixels
    order = np.random.default_rng(0).permutation(20)
    maps, masks = drawn.maps[order], drawn.masks[order]
    shuffled = pixel_histograms(rank_pixels(maps, masks), maps, masks)
    draws = draw(drawn.labels, 50, 0)
    expected = resampled(histograms, draws, fpr_limit=0.3)
    for name, values in resampled(shuffled, draws[:, order], fpr_limit=0.3).items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_resample_without_a_defective_pixel_has_no_value(pixels):
    drawn, histograms = pixels
    draws = np.stack([np.ones(20), 1.0 - drawn.labels])
    with np.errstate(divide="raise", invalid="raise"):  # nor a warning
        results = resampled(histograms, draws, fpr_limit=0.3)
    for values in results.values():
        assert np.isfinite(values[0])
        assert np.isnan(values[1])


def test_a_threshold_amid_a_bin_takes_one_positive_along():
    """Of five positives and two negatives in the upper bin the strict rule loses one positive, in the lower one all."""
    counts = {"positives": np.array([[1.0, 5.0]]), "negatives": np.array([[10.0, 2.0]])}
    mixed = resampled(ImageHistograms(**counts, atoms=np.array([True, False])), np.ones((1, 1)))
    assert mixed["f1_max"] == 10 / (5 + 2 + 6)
    assert mixed["f1_adaptive"] == 8 / (4 + 2 + 6)
    alone = resampled(ImageHistograms(**counts, atoms=np.array([True, True])), np.ones((1, 1)))
    assert alone["f1_adaptive"] == 0
