"""What a subject of the mini benchmark is, and what it is drawn with: shapes by Pillow, light and textures by NumPy.

Lengths are in pixels, angles in degrees (clockwise), colours in [0, 255]. A point is (x to the right, y down), measured
from the middle of the object. A plane is (height, width); a coverage is a plane in [0, 1]: the share of each pixel that
a shape covers.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Bytes = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.floating[Any]]
Shape = npt.NDArray[np.floating[Any]]
"""A polygon: its corners, (n, 2)."""
Light = Plane | float
Point = tuple[float, float]
Range = tuple[float, float]
Colour = tuple[float, float, float]

_FINE = 4  # shapes are drawn this many times larger
_TURNS = np.linspace(0, 2 * np.pi, 48, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1)


def polar(radius: float, degrees: float, at: Point = (0, 0)) -> Point:
    """Give the point at that distance and angle from `at`."""
    turn = math.radians(degrees)
    return at[0] + radius * math.cos(turn), at[1] + radius * math.sin(turn)


def dot(at: Point, radius: float) -> Shape:
    """Give a small disc as a shape."""
    return _CIRCLE * radius + at


def box(at: Point, width: float, height: float, degrees: float = 0.0) -> Shape:
    """Give a rectangle around `at`, turned."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (width / 2, height / 2)
    return corners @ _rotation(degrees) + at


def stroke(points: Sequence[Point], *widths: float) -> list[Shape]:
    """Give a line through points with round joints; several widths are spread along it."""
    half = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(widths)), widths) / 2
    shapes = [dot(point, radius) for point, radius in zip(points, half, strict=True)]
    for (a, b), (wide_a, wide_b) in zip(pairwise(points), pairwise(half), strict=True):
        across = np.array([a[1] - b[1], b[0] - a[0]]) / max(math.dist(a, b), 1e-6)
        shapes.append(np.array([a + across * wide_a, b + across * wide_b, b - across * wide_b, a - across * wide_a]))
    return shapes


def shrink(shape: Shape, factor: float) -> Shape:
    """Scale a shape towards its middle."""
    middle = shape.mean(axis=0)
    return middle + factor * (shape - middle)


def ramp(value: Plane, low: float, high: float) -> Plane:
    """Rise smoothly from 0 at `low` to 1 at `high`; fall where high < low."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _rotation(degrees: float, scale: float = 1.0) -> npt.NDArray[np.float64]:
    c, s = polar(scale, degrees)
    return np.array([(c, s), (-s, c)])


class Subject(ABC):
    """One object in one pose, which paints itself whole and then damages itself; all follows from the seed."""

    size: ClassVar[tuple[int, int]] = (192, 192)
    """(height, width) of the picture."""
    gain: ClassVar[float] = 0.06
    """The largest change of brightness, as a share."""
    tilt: ClassVar[float] = 0.08
    """The largest fall of light from one side to the other, as a share."""

    def __init__(self, seed: np.random.SeedSequence) -> None:
        self._rng, self._damage_rng, self._camera_rng = (np.random.default_rng(child) for child in seed.spawn(3))
        y, x = np.mgrid[: self.size[0], : self.size[1]].astype(np.float32)
        self._x, self._y = x - (self.size[1] - 1) / 2, y - (self.size[0] - 1) / 2
        self.picture = np.zeros((3, *self.size), np.float32)
        self.damaged = np.zeros(self.size, np.uint8)
        """0, or the number of the defect that shows there."""
        self.number = 0
        self._paint()

    @abstractmethod
    def _paint(self) -> None: ...

    @abstractmethod
    def _damage(self, defect: str) -> None: ...

    def add_defect(self, defect: str) -> None:
        """Damage the object; its random numbers are not those of the object."""
        self._rng = self._damage_rng
        self.number += 1
        self._damage(defect)

    def pose(self, shift: float, turn: float = 0.0, scale: float = 0.0) -> None:
        """Lay the object somewhere: moved by up to `shift`, turned by up to `turn`, scaled by up to `scale`."""
        self.centre, self.turn = self.near((0, 0), shift), self.uniform(-turn, turn)
        self.scale = 1 + self.uniform(-scale, scale)
        c, s = polar(1 / self.scale, self.turn)
        x, y = self._x - self.centre[0], self._y - self.centre[1]
        self.u, self.v = x * c + y * s, y * c - x * s
        self.r = self.distance((0, 0))

    def uniform(self, low: float, high: float) -> float:
        """Draw a number in [low, high)."""
        return float(self._rng.uniform(low, high))

    def pick(self, options: Sequence[Any]) -> Any:
        """Draw one of the options."""
        return options[int(self._rng.integers(len(options)))]

    def near(self, at: Point, reach: float) -> Point:
        """Draw a point in the square of `reach` around `at`."""
        return at[0] + self.uniform(-reach, reach), at[1] + self.uniform(-reach, reach)

    def around(self, at: Point, low: float, high: float) -> Point:
        """Draw a point whose distance from `at` is in [low, high)."""
        return polar(self.uniform(low, high), self.uniform(0, 360), at)

    def blob(self, at: Point, radius: float, roughness: float = 0.25) -> Shape:
        """Draw a round shape with an uneven edge."""
        edge = np.ones(len(_TURNS))
        for wave in range(1, 7):
            edge += roughness * self.uniform(-1, 1) / math.sqrt(wave) * np.cos(wave * _TURNS + self.uniform(0, 7))
        return _CIRCLE * (radius * np.maximum(edge, 0.3))[:, None] + at

    def wander(self, start: Point, degrees: float, length: float, wobble: float) -> list[Point]:
        """Draw a path of six steps that changes its direction by up to `wobble` at each."""
        points = [start]
        for _ in range(6):
            degrees += self.uniform(-wobble, wobble)
            points.append(polar(length / 6, degrees, points[-1]))
        return points

    def distance(self, at: Point) -> Plane:
        """Measure the distance of every pixel from a point of the object."""
        return np.sqrt((self.u - at[0]) ** 2 + (self.v - at[1]) ** 2)

    def disc(self, radius: float, at: Point = (0, 0)) -> Plane:
        """Cover a disc."""
        return np.clip(radius + 0.5 - self.distance(at), 0, 1)

    def cover(self, *shapes: Shape, blur: float = 0.0) -> Plane:
        """Cover the union of shapes."""
        height, width = self.size
        plane = Image.new("L", (width * _FINE, height * _FINE))
        pen = ImageDraw.Draw(plane)
        middle = (np.add(self.centre, (width / 2, height / 2))) * _FINE
        for shape in shapes:
            corners = shape @ _rotation(self.turn, self.scale * _FINE) + middle
            pen.polygon(corners.round().ravel().tolist(), fill=255)
        small = plane.reduce(_FINE)
        if blur:
            small = small.filter(ImageFilter.GaussianBlur(blur))
        return np.asarray(small, np.float32) / 255

    def noise(self, cell: float, cell_v: float | None = None) -> Plane:
        """Draw a smooth texture in [-1, 1] whose spots have that size along the object's axes."""
        cells = (cell, cell_v or cell)
        columns, rows = (int((math.hypot(*self.size) + 8) / side) + 6 for side in cells)
        grid = Image.fromarray(self._rng.uniform(-1, 1, (rows, columns)).astype(np.float32))
        c, s = polar(1.0, self.turn)
        x, y = np.add(self.centre, (self.size[1] / 2, self.size[0] / 2))
        matrix = (
            *(c / cells[0], s / cells[0], columns / 2 - (c * x + s * y) / cells[0]),
            *(-s / cells[1], c / cells[1], rows / 2 + (s * x - c * y) / cells[1]),
        )
        size = (self.size[1], self.size[0])
        return np.asarray(grid.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))

    def lines(self, across: Plane) -> Plane:
        """Draw a texture in [-1, 1] that changes with `across` alone, from one whole number to the next."""
        return np.interp(across % 255, np.arange(256), self._rng.uniform(-1, 1, 256)).astype(np.float32)

    def lay(self, coverage: Light, colour: Colour, light: Light = 1) -> None:
        """Lay a lit colour over the picture."""
        for i, level in enumerate(colour):
            self.picture[i] += coverage * (np.float32(level) * light - self.picture[i])

    def stain(self, coverage: Plane, colour: Colour, light: Light = 1, strength: float = 1.0) -> None:
        """Lay a lit colour over the picture, as damage; `strength` is the share of it that shows."""
        coverage = np.where(coverage < 0.1, np.float32(0), coverage)
        self.lay(strength * coverage, colour, light)
        self.damaged[coverage > 0] = self.number

    def spot(
        self, at: Point, radius: Range, colour: Colour, *, strength: Range = (1, 1), inside: Light = 1, light: Light = 1
    ) -> None:
        """Stain a soft-edged blob whose radius and strength are drawn from these ranges."""
        coverage = self.cover(self.blob(at, self.uniform(*radius)), blur=0.7) * inside
        self.stain(coverage, colour, light, self.uniform(*strength))

    def scratch(
        self, path: Sequence[Point], widths: Sequence[float], colour: Colour, strength: Range, inside: Light = 1
    ) -> None:
        """Stain a line whose strength is drawn from a range."""
        self.stain(self.cover(*stroke(path, *widths)) * inside, colour, 1, self.uniform(*strength))

    def expose(self) -> Bytes:
        """Take the picture: (height, width, 3) uint8, each pixel from its own values alone."""
        rng = self._camera_rng
        x, y = polar(rng.uniform(0, self.tilt) / max(self.size), rng.uniform(0, 360))
        light = 1 + rng.uniform(-self.gain, self.gain) + self._x * x + self._y * y
        tint = 1 + rng.uniform(-0.015, 0.015, (3, 1, 1)).astype(np.float32)
        level = self.picture * light * tint + 2.5 * rng.standard_normal(self.size, np.float32)
        return np.ascontiguousarray(np.clip(np.round(level), 0, 255).astype(np.uint8).transpose(1, 2, 0))
