"""Shapes, textures and light, drawn with operations that give the same bits on every machine.

IEEE 754 fixes every bit of +, -, *, / and the square root of float64. So NumPy's elementwise versions of them, and of
comparison, minimum, maximum, floor and absolute value, give the same bits on every processor, with every set of vector
instructions and in every version. Everything here and in the subjects is made of these alone, and needs no rounding to
hide differences. What does differ stays out: libm's trigonometric functions, exponential, power and hypot; sums of
floats in an order that NumPy is free to choose (`sum`, `mean`, `@`, `convolve`); and functions with an a * b + c inside
that a compiler may fuse (`interp`). A test reads the sources for them.

Lengths are in pixels, angles in turns, colours in [0, 255]. A picture is (3, height, width) float64, a plane is
(height, width). A signed distance is negative inside. A coverage is the share of a pixel, in [0, 1], that a shape
covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from harness.data.mini.dice import Dice, Floats

Bytes = npt.NDArray[np.uint8]
Point = tuple[float, float]
Colour = tuple[float, float, float]

_NOISE_PERIOD = 64


def grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """x (to the right) and y (down) of every pixel's centre, measured from the picture's; size is (height, width)."""
    height, width = size
    x = np.arange(width) - (width - 1) / 2
    y = np.arange(height) - (height - 1) / 2
    return np.zeros((height, 1)) + x[None, :], np.zeros((1, width)) + y[:, None]


def cosine(turns: Floats | float) -> Floats:
    """Cosine of an angle in turns, to 1e-7: the sine's odd polynomial around the nearest quarter turn."""
    turns = np.asarray(turns, np.float64)
    quarter = 0.25 - np.abs(turns - np.floor(turns + 0.5))
    s = quarter * quarter
    tail = 42.05869394489765 + s * -15.094642576822990
    tail = -76.70585975306136 + s * tail
    tail = 81.60524927607504 + s * tail
    tail = -41.34170224039975 + s * tail
    return quarter * (6.283185307179586 + s * tail)


def sine(turns: Floats | float) -> Floats:
    """Sine of an angle in turns, to 1e-7."""
    return cosine(np.asarray(turns, np.float64) - 0.25)


def polar(radius: float, turns: float) -> Point:
    """The point at that distance and angle from the origin."""
    return radius * float(cosine(turns)), radius * float(sine(turns))


def angle(x: Floats, y: Floats) -> Floats:
    """Angle of (x, y) in turns, in [0, 1), to 1e-5; 0 at the origin."""
    ax, ay = np.abs(x), np.abs(y)
    ratio = np.minimum(ax, ay) / np.maximum(np.maximum(ax, ay), 1e-9)
    s = ratio * ratio
    tail = 0.05265332 - 0.0117212 * s
    for coefficient in (-0.11643287, 0.19354346, -0.33262347, 0.99997726):
        tail = coefficient + s * tail
    octant = ratio * tail * 0.15915494309189535
    quadrant = np.where(ay > ax, 0.25 - octant, octant)
    half = np.where(x < 0, 0.5 - quadrant, quadrant)
    turns = np.where(y < 0, 1.0 - half, half)
    return turns - np.floor(turns)


def length(x: Floats, y: Floats) -> Floats:
    """Distance of (x, y) from the origin."""
    return np.sqrt(x * x + y * y)


def turned(x: Floats, y: Floats, centre: Point, turns: float) -> tuple[Floats, Floats]:
    """Coordinates in a frame that lies at `centre` and is turned by `turns` (clockwise on the screen)."""
    c, s = float(cosine(turns)), float(sine(turns))
    dx, dy = x - centre[0], y - centre[1]
    return dx * c + dy * s, dy * c - dx * s


def unturned(point: Point, centre: Point, turns: float) -> Point:
    """Where a point of such a frame lies in the picture."""
    c, s = float(cosine(turns)), float(sine(turns))
    return centre[0] + point[0] * c - point[1] * s, centre[1] + point[0] * s + point[1] * c


def ramp(value: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high` on, smooth between; falling where high < low."""
    t = np.minimum(np.maximum((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def cover(distance: Floats, softness: float = 1.0) -> Floats:
    """Coverage of the shape with that signed distance; its edge is `softness` pixels wide."""
    return np.minimum(np.maximum(0.5 - distance / softness, 0.0), 1.0)


def disc(x: Floats, y: Floats, centre: Point, radius: float) -> Floats:
    """Signed distance of a disc."""
    return length(x - centre[0], y - centre[1]) - radius


def ellipse(x: Floats, y: Floats, semi: Point) -> Floats:
    """Approximate signed distance of an ellipse at the origin: right on its edge."""
    level = length(x / semi[0], y / semi[1])
    slope = length(x / (semi[0] * semi[0]), y / (semi[1] * semi[1]))
    return (level * level - level) / np.maximum(slope, 1e-6)


def box(x: Floats, y: Floats, centre: Point, sides: Point, corner: float = 0.0) -> Floats:
    """Signed distance of an upright rectangle with rounded corners; `sides` are its width and height."""
    dx = np.abs(x - centre[0]) - (sides[0] / 2 - corner)
    dy = np.abs(y - centre[1]) - (sides[1] / 2 - corner)
    outside = length(np.maximum(dx, 0.0), np.maximum(dy, 0.0))
    return outside + np.minimum(np.maximum(dx, dy), 0.0) - corner


def stroke(x: Floats, y: Floats, points: Sequence[Point], radii: Sequence[float] | float) -> Floats:
    """Signed distance of a line through the points; its half-width is one number or one for each point."""
    widths = [radii] * len(points) if isinstance(radii, (int, float)) else list(radii)
    nearest: Floats | None = None
    for (ax, ay), (bx, by), ra, rb in zip(points, points[1:], widths, widths[1:], strict=False):
        ux, uy = bx - ax, by - ay
        along = ((x - ax) * ux + (y - ay) * uy) / max(ux * ux + uy * uy, 1e-9)
        along = np.minimum(np.maximum(along, 0.0), 1.0)
        distance = length(x - ax - along * ux, y - ay - along * uy) - (ra + along * (rb - ra))
        nearest = distance if nearest is None else np.minimum(nearest, distance)
    if nearest is None:
        raise ValueError("a stroke needs two points")
    return nearest


def blob(x: Floats, y: Floats, centre: Point, radius: float, dice: Dice, *, roughness: float = 0.18) -> Floats:
    """Signed distance, roughly, of a closed shape whose radius wavers by `roughness` around the given one."""
    dx, dy = x - centre[0], y - centre[1]
    r = np.maximum(length(dx, dy), 1e-9)
    c1, s1 = dx / r, dy / r
    c, s = c1, s1
    waver = np.zeros_like(r)
    for order in range(2, 6):
        c, s = c * c1 - s * s1, s * c1 + c * s1
        a, b = polar(roughness / (order - 1) * dice.uniform(0.6, 1.4), dice.uniform(0.0, 1.0))
        waver = waver + a * c + b * s
    return r - radius * (1.0 + waver)


def wander(dice: Dice, start: Point, heading: float, reach: float, *, steps: int, wobble: float) -> list[Point]:
    """Points of a jagged line of about that length; every step turns by up to `wobble` away from the heading."""
    points = [start]
    for _ in range(steps):
        dx, dy = polar(reach / steps, heading + dice.uniform(-wobble, wobble))
        points.append((points[-1][0] + dx, points[-1][1] + dy))
    return points


def flat(colour: Colour, size: tuple[int, int]) -> Floats:
    """A picture of one colour."""
    return np.zeros((3, *size)) + np.asarray(colour, np.float64)[:, None, None]


def shade(colour: Colour, factor: Floats) -> Floats:
    """A picture of one colour whose brightness varies."""
    return np.asarray(colour, np.float64)[:, None, None] * factor[None]


def over(picture: Floats, coverage: Floats, colour: Colour | Floats) -> Floats:
    """The picture with a colour, or another picture, laid over it where `coverage` says."""
    result = np.empty_like(picture)
    for i in range(3):  # plane by plane, which stays in the processor's cache
        result[i] = picture[i] + coverage * (colour[i] - picture[i])
    return result


class Noise:
    """Smooth random texture: a function of the plane with values in [-1, 1], one random value at each whole point."""

    def __init__(self, dice: Dice) -> None:
        self._values = dice.uniforms((_NOISE_PERIOD * _NOISE_PERIOD,), -1.0, 1.0)

    def __call__(self, u: Floats, v: Floats) -> Floats:
        """Values at (u, v), in cells; repeats after 64."""
        u0, v0 = np.floor(u), np.floor(v)
        fu, fv = u - u0, v - v0
        fu, fv = fu * fu * (3.0 - 2.0 * fu), fv * fv * (3.0 - 2.0 * fv)
        last = _NOISE_PERIOD - 1
        i, j = u0.astype(np.int64) & last, v0.astype(np.int64) & last
        upper, lower = j * _NOISE_PERIOD, ((j + 1) & last) * _NOISE_PERIOD
        a, c = self._values.take(upper + i), self._values.take(lower + i)
        i = (i + 1) & last
        above = a + fu * (self._values.take(upper + i) - a)
        below = c + fu * (self._values.take(lower + i) - c)
        return above + fv * (below - above)


def slope(height: Floats, towards: float) -> Floats:
    """How far a surface leans to the light from the direction `towards` (turns): positive where it is lit."""
    dx, dy = np.zeros_like(height), np.zeros_like(height)
    dx[:, 1:-1] = (height[:, 2:] - height[:, :-2]) / 2
    dy[1:-1] = (height[2:] - height[:-2]) / 2
    c, s = polar(1.0, towards)
    return -(dx * c + dy * s)


def expose(picture: Floats, dice: Dice, *, gain: float, tilt: float, tint: float, grain: float) -> Bytes:
    """The picture as a camera takes it: (height, width, 3) uint8, each pixel from its own values alone.

    Args:
        gain, tint: the largest change of brightness and of a single channel, as a share.
        tilt: the largest fall of light from one side to the other, as a share.
        grain: standard deviation of the sensor's noise, in grey levels.
    """
    size = (picture.shape[1], picture.shape[2])
    x, y = grid(size)
    c, s = polar(dice.uniform(0.0, tilt), dice.uniform(0.0, 1.0))
    light = 1.0 + dice.uniform(-gain, gain) + (x * c + y * s) / max(size)
    channels = [1.0 + dice.uniform(-tint, tint) for _ in range(3)]
    noise = grain * dice.bells(size)
    image = np.empty((*size, 3), np.uint8)
    for i in range(3):
        level = np.floor(picture[i] * (light * channels[i]) + noise + 0.5)
        image[..., i] = np.minimum(np.maximum(level, 0.0), 255.0).astype(np.uint8)
    return image
