"""The objects named after VisA's: four candles, a circuit board with an ultrasonic sensor, a cashew."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import numpy as np

from harness.data.mini.canvas import (
    Colour,
    Noise,
    Point,
    angle,
    blob,
    box,
    cosine,
    cover,
    disc,
    length,
    over,
    polar,
    ramp,
    shade,
    sine,
    slope,
    stroke,
    turned,
    unturned,
    wander,
)
from harness.data.mini.dice import Dice, Floats
from harness.data.mini.subject import Damage, Subject


class Candles(Subject):
    """Four tea lights, two by two, on a dark ground: cream wax in a thin metal cup, a wick that leans anywhere."""

    size: ClassVar[tuple[int, int]] = (192, 208)
    radius: ClassVar[float] = 36.0

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.centres: list[Point] = [
            (cx + dice.uniform(-2.5, 2.5), cy + dice.uniform(-2.5, 2.5)) for cy in (-41, 41) for cx in (-45, 45)
        ]
        self.wicks = [dice.uniform(0, 1) for _ in self.centres]
        self.tones = [dice.uniform(0.94, 1.04) for _ in self.centres]

    def paint(self) -> Floats:
        """Ground, then each candle: shadow, cup, wax, the wick and its shadow."""
        cloth = Noise(self.dice.child("ground"))
        picture = shade((52, 54, 60), 1.0 + 0.14 * cloth(self.x / 4, self.y / 4))
        wax = Noise(self.dice.child("wax"))
        for centre, lean, tone in zip(self.centres, self.wicks, self.tones, strict=True):
            here = self.near(centre, 49)
            dx, dy = self.x[here] - centre[0], self.y[here] - centre[1]
            r = length(dx, dy)
            candle = over(picture[:, *here], 0.5 * ramp(length(dx - 2, dy - 3), 44, 34), (18, 18, 20))
            rim = 1.0 + 0.35 * (dx * -0.6 + dy * -0.8) / 38
            candle = over(candle, cover(r - 38.5), shade((150, 152, 156), rim))
            surface = (
                1.0 + 0.035 * wax(self.x[here] / 12, self.y[here] / 12) - 0.2 * ramp(r, 27, 36) + 0.04 * (dx + dy) / 40
            )
            candle = over(candle, cover(r - self.radius), shade((226, 214, 178), tone * surface))
            candle = over(candle, 0.35 * ramp(r, 15, 6), (246, 238, 214))
            tip = polar(9.0, lean)
            candle = over(candle, 0.3 * cover(stroke(dx - 1.5, dy - 2, [(0, 0), tip], 2.2), 3), (120, 108, 84))
            picture[:, *here] = over(candle, cover(stroke(dx, dy, [(0, 0), tip], [2.0, 1.5])), (88, 78, 66))
        return picture

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """Soot at a wick, specks in the wax, a bite out of the wax, or wax that has run over the edge."""
        index = dice.integer(4)
        centre, lean = self.centres[index], self.wicks[index]
        dx, dy = self.x - centre[0], self.y - centre[1]
        r = length(dx, dy)
        if defect == "wick burnt":
            tip = polar(9.0, lean)
            soot = cover(blob(dx, dy, tip, dice.uniform(2.4, 4.0), dice, roughness=0.25), 1.5)
            return self.stain(picture, 0.9 * soot, (24, 20, 18))
        if defect == "foreign particles":
            coverage = np.zeros(self.size)
            for _ in range(3 + dice.integer(4)):
                at = polar(dice.uniform(10, 31), dice.uniform(0, 1))
                coverage = np.maximum(coverage, cover(blob(dx, dy, at, dice.uniform(1.2, 2.2), dice, roughness=0.3)))
            return self.stain(picture, coverage, dice.pick(((70, 50, 40), (60, 74, 60), (104, 64, 44))))
        turns = dice.uniform(0, 1)
        if defect == "chunk of wax missing":
            bite = blob(dx, dy, polar(dice.uniform(29, 34), turns), dice.uniform(7, 11), dice, roughness=0.2)
            inside = cover(bite) * cover(r - self.radius)
            texture = Noise(dice.child("cup"))
            cup = shade((118, 116, 112), 1.0 + 0.12 * texture(self.x / 3, self.y / 3) - 0.3 * ramp(bite, -3, 0))
            return self.stain(picture, inside, cup)
        pool = blob(dx, dy, polar(dice.uniform(33, 38), turns), dice.uniform(8, 12), dice, roughness=0.25)
        inside = cover(pool, 2)
        drip = shade((214, 200, 160), 1.0 + 0.18 * ramp(pool, 0, -6))
        return self.stain(picture, 0.92 * inside, drip)


class Board(Subject):
    """A green board that measures distance: two silver cylinders, a quartz, chips, traces, a row of four pins."""

    size: ClassVar[tuple[int, int]] = (176, 224)
    pins: ClassVar[tuple[float, ...]] = (-15, -5, 5, 15)
    cans: ClassVar[tuple[Point, ...]] = ((-56, -3), (56, -3))
    parts: ClassVar[tuple[tuple[Point, Point, Colour], ...]] = (  # where, width and height, colour
        ((-12, 22), (16, 9), (38, 40, 44)),
        ((13, 20), (12, 10), (44, 44, 46)),
        ((-16, 7), (7, 4), (120, 96, 70)),
        ((15, 5), (7, 4), (120, 96, 70)),
        ((0, 8), (4, 7), (150, 128, 96)),
    )
    traces: ClassVar[tuple[list[Point], ...]] = (
        [(-15, 38), (-15, 30), (-24, 24), (-24, -4), (-34, -14)],
        [(-5, 38), (-5, 28), (-8, 26), (-8, 10), (-16, 7)],
        [(5, 38), (5, 30), (10, 26), (10, 12), (15, 5)],
        [(15, 38), (15, 31), (24, 24), (24, -4), (34, -14)],
        [(-30, -40), (-12, -40), (-4, -32), (4, -32), (12, -40), (30, -40)],
        [(-26, 36), (-84, 36)],
        [(26, 36), (84, 36)],
    )
    pin_colour: ClassVar[Colour] = (226, 220, 190)

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.centre: Point = (dice.uniform(-3, 3), dice.uniform(-3, 3))
        self.turn = dice.uniform(-0.006, 0.006)
        self.u, self.v = turned(self.x, self.y, self.centre, self.turn)
        self.can_turns = (dice.uniform(0, 1), dice.uniform(0, 1))

    def _at(self, at: Point, reach: float) -> tuple[tuple[slice, slice], Floats, Floats]:
        """The pixels around a point of the board, and their board coordinates measured from that point."""
        here = self.near(unturned(at, self.centre, self.turn), reach)
        return here, self.u[here] - at[0], self.v[here] - at[1]

    def _bare(self) -> Floats:
        """The board with its traces, holes and pads, without parts."""
        u, v = self.u, self.v
        ground = Noise(self.dice.child("ground"))
        picture = shade((206, 206, 202), 1.0 + 0.02 * ground(self.x / 12, self.y / 12))
        picture = over(picture, 0.4 * ramp(box(u - 2, v - 3, (0, 0), (188, 92), 3), 6, -2), (60, 62, 66))
        lacquer = Noise(self.dice.child("lacquer"))
        picture = over(
            picture, cover(box(u, v, (0, 0), (188, 92), 3)), shade((26, 92, 62), 1.0 + 0.06 * lacquer(u / 7, v / 7))
        )
        for trace in self.traces:
            for start, end in pairwise(trace):
                middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
                half = (end[0] - middle[0], end[1] - middle[1])
                here, du, dv = self._at(middle, max(abs(half[0]), abs(half[1])) + 3)
                line = cover(stroke(du, dv, [(-half[0], -half[1]), half], 0.9))
                picture[:, *here] = over(picture[:, *here], 0.75 * line, (60, 140, 92))
        for corner in ((-89, -41), (89, -41), (-89, 41), (89, 41)):
            here, du, dv = self._at(corner, 6)
            hole = length(du, dv)
            ring = over(picture[:, *here], cover(hole - 3.2), (196, 180, 120))
            picture[:, *here] = over(ring, cover(hole - 1.8), (120, 118, 114))
        for at, (width, height), _ in self.parts:
            here, du, dv = self._at(at, 14)
            pads = cover(box(np.abs(du), dv, (width / 2, 0), (3, height * 0.8), 1))
            picture[:, *here] = over(picture[:, *here], pads, (188, 190, 184))
        for pin in self.pins:
            here, du, dv = self._at((pin, 38), 6)
            picture[:, *here] = over(picture[:, *here], cover(length(du, dv) - 3.4), (196, 196, 188))
        return picture

    def _lay_can(self, picture: Floats, at: Point, turns: float) -> None:
        """Draw one of the sensor's two cylinders: a rolled rim, a mesh over the dark inside."""
        here, du, dv = self._at(at, 48)
        can = over(picture[:, *here], 0.45 * ramp(length(du - 2, dv - 3), 40, 31), (8, 26, 20))
        r = length(du, dv)
        towards = du * -0.6 + dv * -0.8
        can = over(can, cover(r - 33), shade((172, 174, 178), 1.0 + 0.3 * towards / 33))
        can = over(can, cover(np.abs(r - 28.5) - 1.2, 1.5), shade((226, 228, 232), 1.0 + 0.15 * towards / 28))
        can = over(can, cover(r - 25), (66, 68, 70))
        u, v = turned(du / 3.6, dv / 3.6, (0, 0), turns)
        away = length(u - np.floor(u + 0.5), v - np.floor(v + 0.5))
        picture[:, *here] = over(can, cover(r - 23.5) * ramp(away, 0.28, 0.46), (150, 150, 148))

    def paint(self) -> Floats:
        """The bare board, the cylinders, the parts, the quartz, the pins."""
        picture = self._bare()
        for at, turns in zip(self.cans, self.can_turns, strict=True):
            self._lay_can(picture, at, turns)
        for at, sides, colour in self.parts:
            here, du, dv = self._at(at, 14)
            body = box(du, dv, (0, 0), sides, 1)
            part = over(picture[:, *here], cover(body), shade(colour, 1.0 + 0.3 * ramp(body, -1, -3)))
            if sides[0] > 10:  # a chip: a dot marks its first leg
                part = over(part, cover(disc(du, dv, (3 - sides[0] / 2, -2), 0.9)), (150, 150, 150))
            picture[:, *here] = part
        here, du, dv = self._at((0, -16), 18)
        quartz = box(du, dv, (0, 0), (24, 11), 5.5)
        picture[:, *here] = over(
            picture[:, *here], cover(quartz), shade((190, 192, 194), 1.0 + 0.2 * ramp(quartz, 0, -4))
        )
        for pin in self.pins:
            here, du, dv = self._at((pin, 45), 14)
            picture[:, *here] = over(picture[:, *here], cover(stroke(du, dv, [(0, -7), (0, 7)], 1.6)), self.pin_colour)
        return picture

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A part that is missing, a crooked pin, solder between two pins, a scratch, or a burn."""
        u, v = self.u, self.v
        if defect == "missing":
            at, sides, _ = dice.pick(self.parts)
            inside = cover(box(u, v, at, sides, 1))
            return Damage(over(picture, inside, self._bare()), inside)
        if defect == "bent":
            pin = dice.pick(self.pins)
            knee = (pin + dice.sign() * dice.uniform(1.5, 4.5), dice.uniform(47, 50))
            crooked = cover(stroke(u, v, [(pin, 41.5), knee, (knee[0] + dice.uniform(-2, 2), 54)], 1.6))
            straight = cover(stroke(u, v, [(pin, 42), (pin, 52)], 2.6))
            bent = over(over(picture, straight, self._bare()), crooked, self.pin_colour)
            changed = np.maximum(straight, crooked) * (bent != picture).any(axis=0)
            return Damage(bent, changed)
        if defect == "solder bridge":
            gap = dice.integer(3)
            middle = (self.pins[gap] + 5, 38 + dice.uniform(-1, 1))
            bridge = box(u, v, middle, (8, dice.uniform(3.2, 4.6)), 1.5)
            inside = cover(bridge)
            return self.stain(picture, inside, shade((206, 208, 204), 0.8 + 0.3 * ramp(bridge, 0, -2)))
        if defect == "scratch":
            start = (dice.uniform(-72, 72), dice.uniform(-36, -20))
            points = wander(dice, start, dice.uniform(0.17, 0.33), dice.uniform(22, 40), steps=3, wobble=0.03)
            return self.stain(picture, dice.uniform(0.3, 0.7) * cover(stroke(u, v, points, 0.7)), (206, 214, 196))
        at = (dice.pick((-56, 56, 0)) + dice.uniform(-14, 14), dice.uniform(-20, 22))
        burn = blob(u, v, at, dice.uniform(3, 6.5), dice, roughness=0.3)
        return self.stain(picture, dice.uniform(0.3, 0.7) * cover(burn, 2), (64, 42, 24))


class Cashew(Subject):
    """A cashew on a plain blue-grey ground: a bent kernel, thick at one end, cream to tan, faintly lined."""

    size: ClassVar[tuple[int, int]] = (192, 208)

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        centre = (dice.uniform(-4, 4), dice.uniform(-4, 4))
        self.u, self.v = turned(self.x, self.y, centre, dice.uniform(-0.05, 0.05))
        self.bend, self.span = dice.uniform(40, 44), dice.uniform(0.2, 0.22)
        self.thick, self.thin = dice.uniform(32, 34), dice.uniform(22, 24)
        self.tone = dice.uniform(0.96, 1.03)
        self.outline = self._outline(self.u, self.v)

    def _spine(self, share: float) -> Point:
        """A point of the kernel's middle line, from its thick end (0) to its thin one (1)."""
        x, y = polar(self.bend, 0.75 + self.span * (2 * share - 1))
        return x, y + 18

    def _outline(self, u: Floats, v: Floats) -> Floats:
        """Signed distance of the kernel: from an arc, less a thickness that changes along it."""
        turns = angle(u, v - 18) - 0.75
        turns = turns - np.floor(turns + 0.5)
        share = np.minimum(np.maximum(turns / self.span, -1.0), 1.0)
        arc = 0.75 + share * self.span
        away = length(u - self.bend * cosine(arc), v - 18 - self.bend * sine(arc))
        taper = ramp(share, -0.5, 1.0)
        return away - (self.thick + (self.thin - self.thick) * taper)

    def paint(self) -> Floats:
        """Ground, shadow, the kernel lit from the upper left."""
        ground = Noise(self.dice.child("ground"))
        picture = shade((84, 96, 112), 1.0 + 0.03 * ground(self.x / 5, self.y / 5))
        picture = over(picture, 0.5 * ramp(self._outline(self.u - 3, self.v - 5), 7, -3), (34, 40, 50))
        depth = np.minimum(np.maximum(-self.outline / 28, 0.0), 1.0)
        height = np.sqrt(np.maximum(depth * (2.0 - depth), 0.0))
        light = 0.78 + 0.26 * height + 0.28 * slope(height * 28, 0.64) / 2
        mottle, lines = Noise(self.dice.child("mottle")), Noise(self.dice.child("lines"))
        along = length(self.u, self.v - 18)
        texture = 1.0 + 0.05 * mottle(self.u / 9, self.v / 9) + 0.05 * lines(along / 2.5, self.u / 26 + 30)
        return over(picture, cover(self.outline), shade((214, 178, 126), light * texture * self.tone))

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A broken end, a burn, a hole, or a scratch."""
        inside = cover(self.outline + 1)
        middle = self._spine(dice.uniform(0.1, 0.9))
        at = (middle[0] + dice.uniform(-12, 12), middle[1] + dice.uniform(-12, 12))
        if defect == "breakage":
            thick_end = dice.integer(2) == 0
            end = self._spine(0.0 if thick_end else 1.0)
            reach = self.thick if thick_end else self.thin
            tip = (end[0] + dice.uniform(-6, 6), end[1] + reach - 2)
            bite = blob(self.u, self.v, tip, dice.uniform(14, 19), dice, roughness=0.2)
            gone = cover(bite) * cover(self.outline)
            ground = Noise(self.dice.child("ground"))
            below = shade((84, 96, 112), 0.62 + 0.03 * ground(self.x / 5, self.y / 5))
            flesh = over(picture, gone, (240, 222, 184))
            return Damage(over(flesh, cover(bite + 3, 1.5) * gone, below), gone)
        if defect == "burnt":
            texture = Noise(dice.child("burn"))
            burn = blob(self.u, self.v, at, dice.uniform(5, 10), dice, roughness=0.3) + 2 * texture(
                self.u / 3, self.v / 3
            )
            return self.stain(picture, dice.uniform(0.25, 0.7) * cover(burn, 4) * inside, (88, 54, 30))
        if defect == "hole":
            hole = blob(self.u, self.v, at, dice.uniform(1.4, 3.2), dice, roughness=0.2)
            return self.stain(picture, cover(hole) * inside, shade((58, 38, 24), 1.0 + 0.6 * ramp(hole, -2, 0)))
        points = wander(dice, at, dice.uniform(0, 1), dice.uniform(18, 32), steps=3, wobble=0.05)
        return self.stain(
            picture, dice.uniform(0.35, 0.7) * cover(stroke(self.u, self.v, points, 0.9)) * inside, (150, 112, 72)
        )
