"""The objects named after MVTec AD's: a bottle's mouth from above, a cable's cross-section, a hazelnut."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.data.mini.canvas import (
    Colour,
    Noise,
    Point,
    blob,
    box,
    cover,
    disc,
    ellipse,
    flat,
    length,
    over,
    polar,
    ramp,
    shade,
    stroke,
    turned,
    unturned,
    wander,
)
from harness.data.mini.dice import Dice, Floats
from harness.data.mini.subject import Damage, Subject


class Bottle(Subject):
    """A brown bottle from above on a bright table: body, shoulder, lip with the lamps' reflections, dark inside."""

    size: ClassVar[tuple[int, int]] = (192, 192)

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.centre: Point = (dice.uniform(-2.0, 2.0), dice.uniform(-2.0, 2.0))
        self.radius = dice.uniform(75.0, 77.0)
        self.lamps = dice.uniform(-0.015, 0.015)
        self.glow = dice.uniform(0.2, 0.7)
        self.bottom: Point = (dice.uniform(-10, 14), dice.uniform(-10, 14))
        self.dx, self.dy = self.x - self.centre[0], self.y - self.centre[1]
        self.r = length(self.dx, self.dy) * (76.0 / self.radius)

    def _lamp(self, turns: float, sharpness: int) -> Floats:
        """1 in the direction of a lamp, falling to both sides; each step of sharpness halves the width or so."""
        c, s = polar(1.0, turns + self.lamps)
        towards = np.maximum((self.dx * c + self.dy * s) / np.maximum(length(self.dx, self.dy), 1.0), 0.0)
        for _ in range(sharpness):
            towards = towards * towards
        return towards

    def _table(self) -> Floats:
        cloth = Noise(self.dice.child("table"))
        return shade((236, 236, 232), 1.0 + 0.012 * cloth(self.x / 24, self.y / 24))

    def paint(self) -> Floats:
        """Table, body, shoulder, lip, the lamps' reflections, the dark inside with faint glints."""
        r = self.r
        glass = Noise(self.dice.child("glass"))
        streaks = 1.0 + 0.1 * glass(r / 7, self.dx / 60 + 9)
        picture = over(self._table(), 0.35 * ramp(r, 84, 74), (120, 110, 100))
        picture = over(picture, cover(r - 76), shade((58, 36, 24), streaks))
        picture = over(picture, 0.8 * ramp(r, 75, 66) * ramp(r, 50, 62), shade((112, 66, 34), streaks))
        picture = over(
            picture, 0.55 * (self._lamp(0.62, 3) + self._lamp(0.12, 3)) * cover(np.abs(r - 69) - 3, 4), (225, 190, 150)
        )
        picture = over(picture, cover(r - 55), (30, 20, 17))
        picture = over(picture, ramp(np.abs(r - 46), 8, 1), (104, 84, 72))
        lamps = self._lamp(0.08, 4) + self._lamp(0.41, 4) + self._lamp(0.58, 4) + self._lamp(0.91, 4)
        picture = over(picture, 0.95 * np.minimum(lamps, 1.0) * cover(np.abs(r - 46) - 2.5, 3), (252, 250, 246))
        picture = over(picture, 0.5 * cover(np.abs(r - 53) - 0.8, 1.5), (190, 170, 150))
        picture = over(picture, cover(r - 38), (17, 14, 15))
        glints = Noise(self.dice.child("glints"))
        depth = self.glow * ramp(length(self.dx - self.bottom[0], self.dy - self.bottom[1]), 30, 3)
        depth = depth + 0.4 * ramp(glints((self.x + self.y) / 11, (self.x - self.y) / 11), 0.2, 1.1) * ramp(r, 37, 30)
        return over(picture, np.minimum(depth, 1.0), (74, 62, 56))

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A bite out of the body or the lip, or something that has fallen in."""
        if defect == "contamination":
            at = polar(dice.uniform(6, 30), dice.uniform(0, 1))
            smear = cover(blob(self.dx, self.dy, at, dice.uniform(3.5, 9), dice, roughness=0.3), 2)
            texture = Noise(dice.child("smear"))
            colour = dice.pick(((176, 170, 160), (128, 104, 76), (92, 96, 98), (60, 52, 48)))
            return self.stain(
                picture, dice.uniform(0.35, 0.9) * smear, shade(colour, 1.0 + 0.3 * texture(self.x / 3, self.y / 3))
            )
        large = defect == "broken_large"
        turns = dice.uniform(0, 1)
        at = polar(74 if large else 57, turns)
        size = dice.uniform(16, 25) if large else dice.uniform(1.0, 6.5)
        bite = blob(self.dx, self.dy, at, size, dice, roughness=0.3)
        inside = cover(bite) * cover(self.r - 76)
        shards = Noise(dice.child("shards"))
        edge = shade((150, 128, 100), 1.0 + 0.6 * shards(self.x / 4, self.y / 4))
        broken = over(picture, inside, edge)
        hole = cover(bite + (4 if large else 1.5), 2) * cover(self.r - 76)
        return Damage(over(broken, hole, self._table() if large else flat((24, 17, 14), self.size)), inside)


class Cable(Subject):
    """Three insulated wires of copper strands in a grey sheath, cut across; it lies turned by any angle."""

    size: ClassVar[tuple[int, int]] = (192, 192)
    colours: ClassVar[tuple[Colour, ...]] = ((196, 186, 52), (58, 84, 156), (128, 78, 46))
    pitch: ClassVar[float] = 7.0

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.centre: Point = (dice.uniform(-2.5, 2.5), dice.uniform(-2.5, 2.5))
        self.turn = dice.uniform(0, 1)
        self.u, self.v = turned(self.x, self.y, self.centre, self.turn)
        self.wires = [
            (u + dice.uniform(-1, 1), v + dice.uniform(-1, 1)) for u, v in (polar(35.5, i / 3) for i in range(3))
        ]

    def _strands(self, u: Floats, v: Floats, radius: float, dice: Dice) -> Floats:
        """Copper strands in a hexagonal packing around the origin of (u, v)."""
        u, v = turned(u, v, (0, 0), dice.uniform(0, 1))
        rise = self.pitch * 0.8660254037844386
        nearest = np.full(u.shape, 1e9)
        tone = np.zeros(u.shape)
        tones = Noise(dice)
        base = np.floor(v / rise)
        for row in (base, base + 1.0):
            shift = (row - 2.0 * np.floor(row / 2.0)) * 0.5
            column = np.floor(u / self.pitch - shift + 0.5)
            away = length(u - (column + shift) * self.pitch, v - row * rise)
            tone = np.where(away < nearest, tones(column + 20, row + 20), tone)
            nearest = np.minimum(nearest, away)
        light = 1.0 + 0.22 * tone - 0.55 * ramp(nearest, 0.3 * self.pitch, 0.62 * self.pitch)
        return over(flat((40, 28, 22), u.shape), cover(disc(u, v, (0, 0), radius), 2), shade((206, 136, 88), light))

    def _lay_wire(self, picture: Floats, index: int, colour: Colour) -> None:
        """Draw a wire into the picture."""
        dice = self.dice.child(f"wire {index}")
        at = self.wires[index]
        here = self.near(unturned(at, self.centre, self.turn), 34)
        u, v = self.u[here] - at[0], self.v[here] - at[1]
        r = length(u, v)
        texture = Noise(dice.child("insulation"))
        skin = 1.0 + 0.07 * texture(u / 5 + 9, v / 5 + 9) - 0.35 * ramp(r, 28, 31.5)
        insulated = over(picture[:, *here], cover(r - 31.5), shade(colour, skin))
        picture[:, *here] = over(insulated, cover(r - 20.5), self._strands(u, v, 19.5, dice))

    def paint(self) -> Floats:
        """Table, shadow, sheath, filler, then the three wires."""
        table = Noise(self.dice.child("table"))
        picture = shade((150, 152, 150), 1.0 + 0.04 * table(self.x / 9, self.y / 9))
        r = length(self.u, self.v)
        picture = over(
            picture, 0.45 * ramp(length(self.x - self.centre[0] - 3, self.y - self.centre[1] - 3), 90, 78), (40, 40, 42)
        )
        rubber = Noise(self.dice.child("sheath"))
        grey = 1.0 + 0.05 * rubber(self.u / 4, self.v / 4)
        picture = over(picture, cover(r - 80), shade((76, 78, 82), grey))
        picture = over(picture, cover(r - 70), shade((112, 112, 110), grey - 0.25 * ramp(r, 60, 70)))
        for index, colour in enumerate(self.colours):
            self._lay_wire(picture, index, colour)
        return picture

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A strand across the insulation, a wire of the wrong colour, a gap or a hole in the insulation."""
        index = dice.integer(3)
        at = self.wires[index]
        r = length(self.u - at[0], self.v - at[1])
        if defect == "cable_swap":
            other = self.colours[(index + 1 + dice.integer(2)) % 3]
            ring = cover(r - 31.5) * cover(20.5 - r)
            swapped = picture.copy()
            self._lay_wire(swapped, index, other)
            return Damage(over(picture, ring, swapped), ring)
        if defect == "bent_wire":
            heading = dice.uniform(0, 1)
            reach = polar(dice.uniform(24, 30), heading)
            bend = polar(14, heading + dice.sign() * 0.09)
            points = [at, (at[0] + bend[0], at[1] + bend[1]), (at[0] + reach[0], at[1] + reach[1])]
            distance = stroke(self.u, self.v, points, 3.2)
            inside = cover(distance)
            metal = shade((224, 158, 104), 1.1 - 0.5 * ramp(distance, -3, 0.5))
            return self.stain(picture, inside, metal)
        if defect == "cut_inner_insulation":
            heading = dice.uniform(0, 1)
            away = polar(26.5, heading)
            gap = cover(
                box(
                    *turned(self.u, self.v, (at[0] + away[0], at[1] + away[1]), heading),
                    (0, 0),
                    (15, dice.uniform(7, 12)),
                    1,
                )
            )
            gap = gap * cover(r - 31.5) * cover(20.5 - r)
            return self.stain(picture, gap, shade((112, 112, 110), 0.75 - 0.2 * ramp(r, 24, 30)))
        away = polar(dice.uniform(24, 28), dice.uniform(0, 1))
        hole = blob(self.u, self.v, (at[0] + away[0], at[1] + away[1]), dice.uniform(2.6, 4.2), dice)
        inside = cover(hole)
        return self.stain(picture, inside, shade((22, 18, 16), 1.0 + 2.0 * ramp(hole, -2, 0.5)))


class Hazelnut(Subject):
    """A brown nut with streaks from its pale cap to its tip, on a dark ground; it lies turned by up to a sixth."""

    size: ClassVar[tuple[int, int]] = (192, 192)

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.centre: Point = (dice.uniform(-3, 3), dice.uniform(-3, 3))
        self.u, self.v = turned(self.x, self.y, self.centre, dice.uniform(-0.16, 0.16))
        self.semi: Point = (dice.uniform(60, 64), dice.uniform(66, 70))
        self.outline = ellipse(self.u, self.v, self.semi)
        self.cap: Point = (dice.uniform(-8, 8), self.semi[1] - dice.uniform(4, 16))
        self.tone = dice.uniform(0.86, 1.1)

    def paint(self) -> Floats:
        """Ground, shell with streaks along its meridians, a soft reflection, the rough cap."""
        ground = Noise(self.dice.child("ground"))
        picture = shade((38, 38, 40), 1.0 + 0.12 * ground(self.x / 6, self.y / 6))
        a, b = self.u / self.semi[0], self.v / self.semi[1]
        height = np.sqrt(np.maximum(1.0 - a * a - b * b, 0.0))
        streak, mottle = Noise(self.dice.child("streaks")), Noise(self.dice.child("mottle"))
        meridian = a / np.maximum(np.sqrt(np.maximum(1.0 - b * b, 0.0)), 0.2)
        lines = streak(meridian * 9 + 20, b * 1.3 + 20) * 0.6 + streak(meridian * 22 + 40, b * 2.2 + 10) * 0.4
        tone = self.tone * (0.42 + 0.66 * height) * (1.0 + 0.2 * lines + 0.09 * mottle(self.u / 11, self.v / 11))
        inside = cover(self.outline)
        picture = over(picture, inside, shade((150, 92, 52), tone))
        shine = ramp(length(self.x - self.centre[0] + 20, self.y - self.centre[1] + 24), 36, 4)
        picture = over(picture, 0.22 * shine * inside, (236, 212, 182))
        rough = Noise(self.dice.child("cap"))
        edge = ellipse(self.u - self.cap[0], self.v - self.cap[1], (39, 25)) + 3.0 * rough(self.u / 6, self.v / 6)
        husk = shade((196, 160, 116), (0.55 + 0.5 * height) * (1.0 + 0.22 * rough(self.u / 3 + 30, self.v / 3 + 30)))
        return over(picture, cover(edge, 4) * inside, husk)

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A dark crack, a pale cut, a worm's hole with its rim, or a printed letter."""
        inside = cover(self.outline + 1)
        at = (dice.uniform(-32, 32), dice.uniform(-42, 12))
        if defect == "crack":
            heading = dice.uniform(0.17, 0.33)
            points = wander(dice, (at[0], dice.uniform(-52, -30)), heading, dice.uniform(44, 72), steps=8, wobble=0.1)
            widest = dice.uniform(0.8, 2.4)
            radii = [0.4, *[dice.uniform(0.5, 1.0) * widest for _ in points[2:]], 0.4]
            line = cover(stroke(self.u, self.v, points, radii)) * inside
            return self.stain(picture, line, (28, 16, 10))
        if defect == "cut":
            end = polar(dice.uniform(22, 36), dice.uniform(0, 1))
            distance = stroke(self.u, self.v, [at, (at[0] + end[0], at[1] + end[1])], [1.0, 1.9])
            return self.stain(picture, dice.uniform(0.15, 0.6) * cover(distance) * inside, (214, 176, 132))
        if defect == "hole":
            distance = blob(self.u, self.v, at, dice.uniform(1.0, 3.6), dice, roughness=0.12)
            rim = 0.7 * cover(distance - 1.6) * inside
            holed = over(picture, rim, (196, 152, 106))
            return Damage(over(holed, cover(distance) * inside, (22, 14, 10)), rim)
        u, v = turned(self.u, self.v, at, dice.uniform(-0.1, 0.1))
        bars = np.minimum(box(u, v, (0, -8), (26, 5)), box(u, v, (0, 0), (5, 20)))
        bars = np.minimum(bars, box(u, v, (0, 9), (18, 4)))
        return self.stain(picture, dice.uniform(0.12, 0.5) * cover(bars) * inside, (214, 216, 220))
