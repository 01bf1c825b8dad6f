"""Every image of the mini benchmark, in memory: where it lies in the official layout, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.data.mini.btad import Flange, Wheel, Wood
from harness.data.mini.canvas import Bytes
from harness.data.mini.counts import COUNTS, DEFECTS
from harness.data.mini.dice import Dice
from harness.data.mini.mvtec import Bottle, Cable, Hazelnut
from harness.data.mini.subject import Drawing, Subject, draw
from harness.data.mini.visa import Board, Candles, Cashew
from harness.data.split import ANOMALOUS, NORMAL

SUBJECTS: dict[str, type[Subject]] = {
    "bottle": Bottle,
    "cable": Cable,
    "hazelnut": Hazelnut,
    "candle": Candles,
    "pcb1": Board,
    "cashew": Cashew,
    "01": Flange,
    "02": Wood,
    "03": Wheel,
}

_BTAD_SUFFIXES = {"01": ("bmp", "png"), "02": ("png", "png"), "03": ("bmp", "bmp")}
"""Of images and of masks, as in the official archive."""


@dataclass(frozen=True)
class Plan:
    """One image that is to be drawn; paths are relative to the dataset's root, with forward slashes."""

    dataset: str
    category: str
    part: str
    """`train` or `test`."""
    defect: str
    """`good` or the defect type; two types in one image are separated by a comma, as in VisA's image_anno.csv."""
    number: int
    """From 0 within the part and the defect type: what distinguishes this image's dice."""
    path: str
    mask_path: str | None
    """None for a normal image."""

    @property
    def label(self) -> int:
        """NORMAL or ANOMALOUS."""
        return NORMAL if self.mask_path is None else ANOMALOUS

    @property
    def defects(self) -> tuple[str, ...]:
        """The types of damage in the image, none for a normal one."""
        return () if self.mask_path is None else tuple(self.defect.split(","))


@dataclass(frozen=True)
class DrawnImage:
    """One image of the mini benchmark."""

    plan: Plan
    image: Bytes
    """(height, width, 3) uint8 RGB."""
    mask: Bytes | None
    """(height, width) uint8, 0 where nothing is wrong; elsewhere 255, in VisA's layout the defect type's class id."""


def plan_category(dataset: str, category: str) -> list[Plan]:
    """The images of one category, in the order in which they are drawn."""
    n_train, n_normal, _ = COUNTS[dataset][category]
    kinds = [("train", "good", i) for i in range(n_train)] + [("test", "good", i) for i in range(n_normal)]
    kinds += [("test", defect, i) for defect, count in DEFECTS[dataset][category].items() for i in range(count)]
    anomalies = 0
    plans = []
    for part, defect, number in kinds:
        good = defect == "good"
        if dataset == "mini_mvtec":
            path = f"{category}/{part}/{defect}/{number:03d}.png"
            mask_path = f"{category}/ground_truth/{defect}/{number:03d}_mask.png"
        elif dataset == "mini_visa":
            place = _visa_number(part, number, n_train, n_normal)
            path = f"{category}/Data/Images/" + (f"Normal/{place:04d}.JPG" if good else f"Anomaly/{anomalies:03d}.JPG")
            mask_path = f"{category}/Data/Masks/Anomaly/{anomalies:03d}.png"
        else:
            image_suffix, mask_suffix = _BTAD_SUFFIXES[category]
            path = f"{category}/{part}/" + (f"ok/{number:04d}" if good else f"ko/{anomalies:04d}") + f".{image_suffix}"
            mask_path = f"{category}/ground_truth/ko/{anomalies:04d}.{mask_suffix}"
        anomalies += not good
        plans.append(Plan(dataset, category, part, defect, number, path, None if good else mask_path))
    return plans


def _visa_number(part: str, number: int, n_train: int, n_normal: int) -> int:
    """A normal image's number in VisA's one folder of them: the test images lie scattered among the others."""
    tests = [(2 * i + 1) * (n_train + n_normal) // (2 * n_normal) for i in range(n_normal)]
    return tests[number] if part == "test" else sorted(set(range(n_train + n_normal)) - set(tests))[number]


def subject_of(plan: Plan, seed: int) -> Subject:
    """The object that an image shows, in its pose and light."""
    name = f"{seed}/{plan.dataset}/{plan.category}/{plan.part}/{plan.defect}/{plan.number}"
    return SUBJECTS[plan.category](Dice(name))


def draw_plan(plan: Plan, seed: int) -> DrawnImage:
    """Draw one image: the same bytes for the same plan and seed, on every machine."""
    drawing = draw(subject_of(plan, seed), plan.defects)
    return DrawnImage(plan, drawing.image, None if plan.mask_path is None else _ground_truth(plan, drawing))


def _ground_truth(plan: Plan, drawing: Drawing) -> Bytes:
    """The mask as the official layout has it."""
    values = [0, *(255 for _ in plan.defects)]
    if plan.dataset == "mini_visa":
        classes = defect_classes(plan.category)
        values = [0, *(classes[defect] for defect in plan.defects)]
    return np.array(values, np.uint8)[drawing.mask]


def defect_classes(category: str) -> dict[str, int]:
    """Class ids, from 1, of the defect types in the masks of one of VisA's categories."""
    names = {name for kinds in DEFECTS["mini_visa"][category] for name in kinds.split(",")}
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def draw_category(dataset: str, category: str, seed: int = 0) -> Iterator[DrawnImage]:
    """Draw the images of one category, one at a time: train, normal test, then defective test images by type."""
    for plan in plan_category(dataset, category):
        yield draw_plan(plan, seed)
