from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from harness.report.overlays import OPACITY, blend, jet, overlay, unit_interval
from tests.store.making import patient

FINITE = st.floats(-(2.0**90), 2.0**90, width=32)
MAPS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=FINITE)
RGB = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


def min_max(scores):
    """The plain definition, in Python floats."""
    low, high = min(map(min, scores)), max(map(max, scores))
    return [[0.0 if low == high else (score - low) / (high - low) for score in row] for row in scores]


@patient
@given(MAPS)
def test_unit_interval_is_min_max_scaling(scores):
    assert np.allclose(unit_interval(scores), min_max(scores.astype(float).tolist()), rtol=0, atol=1e-12)


@patient
@given(MAPS)
def test_given_limits_scale_and_clip(scores):
    scaled = unit_interval(scores, (-2.0, 6.0))
    assert np.allclose(scaled, np.clip((scores.astype(float) + 2) / 8, 0, 1), rtol=0, atol=1e-12)


def test_a_constant_map_is_all_blue():
    assert (jet(unit_interval(np.full((4, 5), 7.0))) == (0, 0, 127)).all()


def test_the_widest_range_of_floats_does_not_overflow():
    largest = np.finfo(np.float64).max
    with np.errstate(all="raise"):
        assert unit_interval(np.array([[-largest, 0.0, largest]])).tolist() == [[0.0, 0.5, 1.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        unit_interval(np.array([[1.0, bad]]))


@pytest.mark.parametrize("limits", [(2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_limits_that_are_no_range_are_refused(limits):
    with pytest.raises(ValueError, match="no range"):
        unit_interval(np.zeros((2, 2)), limits)


@patient
@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1)))
def test_jet_is_matplotlibs(unit):
    oracle = matplotlib.colormaps["jet"].resampled(256)(unit, bytes=True)[..., :3]
    assert np.array_equal(jet(unit), oracle)


def test_every_step_of_jet_is_matplotlibs():
    middles = (np.arange(256) + 0.5)[None] / 256
    assert np.array_equal(jet(middles)[0], matplotlib.colormaps["jet"](np.arange(256), bytes=True)[:, :3])


@patient
@given(st.data())
def test_blending_is_linear_and_rounds_to_the_nearest(data):
    image = data.draw(RGB)
    heatmap = data.draw(arrays(np.uint8, st.just(image.shape)))
    mixed = blend(image, heatmap)
    plain = [
        round((1 - 0.45) * float(i) + 0.45 * float(h)) for i, h in zip(image.ravel(), heatmap.ravel(), strict=True)
    ]
    assert mixed.ravel().tolist() == plain
    pillow = np.asarray(Image.blend(Image.fromarray(image), Image.fromarray(heatmap), 0.45))  # which cuts off
    assert (np.abs(mixed.astype(int) - pillow) <= 1).all()


def test_blending_needs_equal_shapes():
    with pytest.raises(ValueError, match="shape"):
        blend(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8))


@pytest.mark.parametrize("limits", [None, (0.0, 40.0)])
def test_an_overlay_is_the_image_under_the_coloured_map(limits):
    rng = np.random.default_rng(3)
    image, scores = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8), rng.uniform(3, 50, (24, 20)).astype(np.float32)
    shown = overlay(image, scores, limits)
    low, high = limits or (float(scores.min()), float(scores.max()))
    unit = np.clip((scores.astype(float) - low) / (high - low), 0, 1)
    heatmap = matplotlib.colormaps["jet"](unit, bytes=True)[..., :3]
    assert shown.image is image
    assert np.array_equal(shown.heatmap, heatmap)
    assert np.array_equal(shown.overlay, np.rint(0.55 * image + 0.45 * heatmap.astype(float)))
    assert OPACITY == 0.45


def test_one_scale_shows_a_normal_image_as_normal_where_its_own_does_not():
    normal = np.linspace(1, 5, 64).reshape(8, 8)
    image = np.zeros((8, 8, 3), np.uint8)
    red = np.array([127, 0, 0])
    assert (overlay(image, normal).heatmap == red).all(axis=-1).any()
    shared = overlay(image, normal, (1.0, 30.0)).heatmap
    assert (shared[..., 2] >= 127).all()  # blue everywhere, and no red
    assert not shared[..., 0].any()
