"""What a drawn object is: a scene that can be painted whole, and damaged in named ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.data.mini.canvas import Bytes, Colour, Point, expose, grid, over
from harness.data.mini.dice import Dice, Floats


@dataclass(frozen=True)
class Damage:
    """A picture with one defect in it."""

    picture: Floats
    """(3, height, width): equal to the whole object's wherever `coverage` is 0."""
    coverage: Floats
    """(height, width) in [0, 1]: where the defect is."""


@dataclass(frozen=True)
class Drawing:
    """One image and where it is defective."""

    image: Bytes
    """(height, width, 3) uint8 RGB."""
    mask: Bytes
    """(height, width) uint8: 0, or 1 + the place of the defect that shows there in the list that was asked for."""


class Subject(ABC):
    """One object in one pose, under one light; all of both follow from its dice."""

    size: ClassVar[tuple[int, int]]
    """(height, width) of the picture in pixels."""
    gain: ClassVar[float] = 0.06
    tilt: ClassVar[float] = 0.08
    tint: ClassVar[float] = 0.015
    grain: ClassVar[float] = 2.5

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.x, self.y = grid(self.size)

    def near(self, at: Point, reach: float) -> tuple[slice, slice]:
        """Rows and columns of the pixels up to `reach` away from a point: where a small part of the object is drawn."""
        middle = ((self.size[0] - 1) / 2 + at[1], (self.size[1] - 1) / 2 + at[0])
        rows, columns = (slice(max(int(m - reach), 0), max(int(m + reach) + 2, 0)) for m in middle)
        return rows, columns

    @abstractmethod
    def paint(self) -> Floats:
        """The object without a defect, before the camera: (3, height, width)."""

    @abstractmethod
    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """The picture with that defect, placed by `dice`, in the same pose; leaves `picture` as it is."""

    def stain(self, picture: Floats, coverage: Floats, colour: Colour | Floats) -> Damage:
        """Damage that is a colour laid over the picture."""
        return Damage(over(picture, coverage, colour), coverage)


def draw(subject: Subject, defects: tuple[str, ...] = ()) -> Drawing:
    """Draw a subject with these defects, one after the other; none leaves it whole.

    Outside the mask the image equals, pixel for pixel, that of the same subject without a defect.
    """
    picture = subject.paint()
    mask = np.zeros(subject.size, np.uint8)
    for number, defect in enumerate(defects, start=1):
        damage = subject.damage(defect, picture, subject.dice.child(f"defect {number} {defect}"))
        picture = damage.picture
        mask[damage.coverage > 0] = number
    image = expose(
        picture,
        subject.dice.child("camera"),
        gain=subject.gain,
        tilt=subject.tilt,
        tint=subject.tint,
        grain=subject.grain,
    )
    return Drawing(image, mask)
