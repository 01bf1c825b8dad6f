"""The drawn images: masks that coincide with what was changed, and sources that use only operations with fixed bits."""

from __future__ import annotations

import ast
import inspect
from collections import Counter

import numpy as np
import pytest

from harness.data.mini import btad, canvas, dice, draw, mvtec, subject, visa
from harness.data.mini.counts import COUNTS, DEFECTS
from harness.data.mini.dice import Dice
from harness.data.mini.draw import SUBJECTS, defect_classes, draw_category, draw_plan, plan_category, subject_of
from harness.data.split import ANOMALOUS, NORMAL

CATEGORIES = [(dataset, category) for dataset in COUNTS for category in COUNTS[dataset]]
CENTRE = 224 / 256  # of the picture's side that the paper's centre crop keeps


def crop(plane):
    height, width = plane.shape
    top, left = round(height * (1 - CENTRE) / 2), round(width * (1 - CENTRE) / 2)
    return plane[top : height - top, left : width - left]


def test_nine_categories_named_after_the_papers():
    assert {dataset: list(categories) for dataset, categories in COUNTS.items()} == {
        "mini_mvtec": ["bottle", "cable", "hazelnut"],
        "mini_visa": ["candle", "pcb1", "cashew"],
        "mini_btad": ["01", "02", "03"],
    }
    assert 300 <= sum(sum(counts) for categories in COUNTS.values() for counts in categories.values()) <= 450


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_plans_hold_the_counts(dataset, category):
    plans = plan_category(dataset, category)
    kinds = Counter((plan.part, plan.label) for plan in plans)
    assert (kinds["train", NORMAL], kinds["test", NORMAL], kinds["test", ANOMALOUS]) == COUNTS[dataset][category]
    assert ("train", ANOMALOUS) not in kinds
    assert Counter(plan.defect for plan in plans if plan.label) == DEFECTS[dataset][category]
    paths = [path for plan in plans for path in (plan.path, plan.mask_path) if path]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith(f"{category}/") for path in paths)


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_masks_coincide_with_what_was_changed(dataset, category):
    for plan in plan_category(dataset, category):
        if plan.label == NORMAL:
            continue
        drawn = draw_plan(plan, 0)
        whole = subject.draw(subject_of(plan, 0)).image
        changed = (drawn.image != whole).any(axis=-1)
        inside = drawn.mask > 0
        assert not changed[~inside].any(), plan.path
        assert changed[inside].mean() > 0.85, plan.path
        assert inside.sum() >= 10, plan.path
        assert crop(inside).sum() > 0.9 * inside.sum(), plan.path
        difference = np.abs(drawn.image.astype(int) - whole)[inside].mean()
        assert difference > 5, plan.path


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_images_are_rgb_and_vary_in_pose_and_light(dataset, category):
    images = [draw_plan(plan, 0).image for plan in plan_category(dataset, category)[:4]]
    for image in images:
        assert image.dtype == np.uint8
        assert image.shape == (*SUBJECTS[category].size, 3)
        assert 140 <= min(image.shape[:2]) <= max(image.shape[:2]) <= 256
        assert image.std() > 15  # something is to be seen
        assert ((image > 0) & (image < 255)).mean() > 0.9  # well exposed
    for other in images[1:]:
        assert np.abs(images[0].astype(int) - other).mean() > 3


def test_category_03_is_not_square():
    height, width, _ = draw_plan(plan_category("mini_btad", "03")[0], 0).image.shape
    assert width * 600 == height * 800


def test_the_cable_rotates_freely():
    turns = [subject_of(plan, 0).turn for plan in plan_category("mini_mvtec", "cable")]
    assert np.histogram(turns, 8, (0, 1))[0].min() > 0


def test_visas_masks_hold_class_ids_and_others_255():
    classes = defect_classes("pcb1")
    assert sorted(classes.values()) == [1, 2, 3, 4, 5]
    seen = set()
    for plan in plan_category("mini_visa", "pcb1"):
        if plan.label:
            values = set(np.unique(draw_plan(plan, 0).mask)) - {0}
            assert values == {classes[defect] for defect in plan.defects}
            seen |= values
    assert seen == set(classes.values())
    for dataset, category in (("mini_mvtec", "cable"), ("mini_btad", "01")):
        mask = draw_plan(plan_category(dataset, category)[-1], 0).mask
        assert set(np.unique(mask)) == {0, 255}


def test_a_category_is_drawn_in_the_order_of_its_plans_and_by_its_seed(monkeypatch):
    few = plan_category("mini_btad", "02")[-2:]
    monkeypatch.setattr(draw, "plan_category", lambda *_: few)
    first, again, other = (list(draw_category("mini_btad", "02", seed)) for seed in (0, 0, 1))
    assert [drawn.plan for drawn in first] == few
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)
        assert (a.image != c.image).any()


@pytest.mark.parametrize(("dataset", "category"), CATEGORIES)
def test_every_defect_type_has_a_branch_of_its_own(dataset, category):
    source = inspect.getsource(SUBJECTS[category].damage)
    names = {name for kinds in DEFECTS[dataset][category] for name in kinds.split(",")}
    assert len([name for name in names if f'"{name}"' not in source]) <= 1  # the last branch need not name its own


def test_damage_leaves_the_picture_it_is_given():
    for dataset, category in CATEGORIES:
        for plan in plan_category(dataset, category):
            if plan.label and plan.number == 0:
                scene = subject_of(plan, 0)
                picture = scene.paint()
                before = picture.copy()
                for defect in plan.defects:
                    scene.damage(defect, picture, scene.dice.child(defect))
                np.testing.assert_array_equal(picture, before)


def test_polynomials_are_the_functions_they_stand_for():
    turns = np.linspace(-3, 3, 10001)
    np.testing.assert_allclose(canvas.cosine(turns), np.cos(2 * np.pi * turns), atol=1e-7)
    np.testing.assert_allclose(canvas.sine(turns), np.sin(2 * np.pi * turns), atol=1e-7)
    x, y = np.random.default_rng(0).normal(size=(2, 10000))
    error = canvas.angle(x, y) - np.arctan2(y, x) / (2 * np.pi)
    assert np.abs(error - np.round(error)).max() < 1e-5
    axes = canvas.angle(np.array([0.0, 1, 0, -1, 0]), np.array([0.0, 0, 1, 0, -1]))
    np.testing.assert_allclose(axes, [0, 0, 0.25, 0.5, 0.75], atol=1e-5)


def test_turned_and_unturned_are_inverse():
    u, v = canvas.turned(np.array([12.0]), np.array([-7.0]), (3.0, 4.0), 0.3)
    x, y = canvas.unturned((u[0], v[0]), (3.0, 4.0), 0.3)
    assert (x, y) == pytest.approx((12, -7), abs=1e-5)


def test_dice_are_uniform_normal_and_independent_of_order():
    die = Dice("a")
    values = die.uniforms((40000,), -1.0, 3.0)
    assert values.mean() == pytest.approx(1.0, abs=0.02)
    assert values.min() >= -1
    assert values.max() < 3
    bells = die.bells((201, 199))
    assert bells.shape == (201, 199)
    assert bells.mean() == pytest.approx(0.0, abs=0.02)
    assert bells.std() == pytest.approx(1.0, abs=0.02)
    assert die.child("b").uniform(0, 1) == Dice("a").child("b").uniform(0, 1) != Dice("a").child("c").uniform(0, 1)
    assert {Dice(str(i)).integer(3) for i in range(50)} == {0, 1, 2}
    assert {Dice(str(i)).sign() for i in range(50)} == {-1.0, 1.0}


FIXED_BITS = {
    *("abs", "floor", "sqrt", "minimum", "maximum", "where"),
    *("arange", "array", "asarray", "empty", "empty_like", "frombuffer", "full", "full_like", "zeros", "zeros_like"),
    *("float64", "int64", "uint64", "uint8", "random", "newaxis"),
}
ORDER_FREE = {"sum", "mean", "std", "var", "prod", "dot", "cumsum", "cumprod", "trace", "round"}


@pytest.mark.parametrize("module", [canvas, dice, subject, mvtec, visa, btad], ids=lambda module: module.__name__)
def test_sources_use_only_operations_whose_bits_are_fixed(module):
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not {"math", "cmath", "random", "statistics", "scipy"} & set(names)
        if isinstance(node, ast.BinOp):
            assert not isinstance(node.op, ast.Pow | ast.MatMult), f"line {node.lineno}"
        if isinstance(node, ast.Attribute):
            of_numpy = isinstance(node.value, ast.Name) and node.value.id == "np"
            assert not of_numpy or node.attr in FIXED_BITS, f"np.{node.attr}, line {node.lineno}"
            assert of_numpy or node.attr not in ORDER_FREE, f".{node.attr}, line {node.lineno}"
