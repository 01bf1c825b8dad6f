"""The objects named after BTAD's: a round cast flange (01), a plank of wood (02), a spoked wheel (03)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.data.mini.canvas import (
    Noise,
    Point,
    angle,
    blob,
    cosine,
    cover,
    disc,
    length,
    over,
    polar,
    ramp,
    shade,
    stroke,
    turned,
    wander,
)
from harness.data.mini.dice import Dice, Floats
from harness.data.mini.subject import Damage, Subject


class Flange(Subject):
    """A turned metal flange on black: a bore, a raised hub, six bolts, marks of the lathe."""

    size: ClassVar[tuple[int, int]] = (192, 192)

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.centre: Point = (dice.uniform(-1.5, 1.5), dice.uniform(-1.5, 1.5))
        self.u, self.v = turned(self.x, self.y, self.centre, dice.uniform(-0.004, 0.004))
        self.r = length(self.u, self.v)
        self.bolts = [polar(55, (i + 0.5) / 6) for i in range(6)]

    def _metal(self) -> Floats:
        """Brightness of turned metal: rings from the lathe, two fans of reflected light."""
        rings, spots = Noise(self.dice.child("rings")), Noise(self.dice.child("spots"))
        fans = cosine(2 * angle(self.u, self.v) + 0.3)
        return (
            1.0
            + 0.1 * fans
            + 0.06 * rings(self.r / 1.3, np.full_like(self.r, 7.0))
            + 0.03 * spots(self.u / 6, self.v / 6)
        )

    def paint(self) -> Floats:
        """Ground, disc and its bevel, groove, hub, bore, then the bolts."""
        ground = Noise(self.dice.child("ground"))
        picture = shade((26, 27, 30), 1.0 + 0.1 * ground(self.x / 8, self.y / 8))
        metal, r = self._metal(), self.r
        picture = over(picture, cover(r - 77), shade((132, 134, 138), metal))
        picture = over(picture, cover(np.abs(r - 75) - 1.5, 2), shade((178, 180, 184), metal))
        picture = over(picture, cover(r - 36), shade((84, 86, 90), metal))
        picture = over(picture, cover(r - 33), shade((158, 160, 164), metal))
        picture = over(picture, cover(r - 19), (14, 14, 16))
        picture = over(picture, cover(np.abs(r - 20) - 0.8), (204, 206, 210))
        for at in self.bolts:
            here = self.near((self.centre[0] + at[0], self.centre[1] + at[1]), 15)
            du, dv = self.u[here] - at[0], self.v[here] - at[1]
            away = length(du, dv)
            bolt = over(picture[:, *here], 0.6 * ramp(away, 11.5, 8), (44, 45, 48))
            bolt = over(bolt, cover(away - 8), shade((150, 146, 134), 1.0 - 0.02 * (du + dv)))
            hexagon = np.maximum(np.abs(du), np.maximum(np.abs(du * 0.5 + dv * 0.866), np.abs(du * 0.5 - dv * 0.866)))
            picture[:, *here] = over(bolt, cover(hexagon - 4.2), (52, 50, 48))
        return picture

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A bolt that is missing, a dent, or a bright scratch."""
        if defect == "missing_bolt":
            away = disc(self.u, self.v, dice.pick(self.bolts), 0)
            inside = cover(away - 8)
            return self.stain(picture, inside, shade((20, 20, 22), 1.0 + 1.4 * ramp(away, 5, 8)))
        turns = dice.uniform(0, 1)
        if defect == "dent":
            at = polar(dice.uniform(50, 66), turns)
            dent = blob(self.u, self.v, at, dice.uniform(5, 8), dice, roughness=0.2)
            lit = (self.u - at[0] + self.v - at[1]) / 8
            return self.stain(
                picture,
                dice.uniform(0.3, 0.8) * cover(dent, 2),
                shade((110, 112, 116), 1.0 + 0.55 * np.minimum(np.maximum(lit, -1.0), 1.0)),
            )
        start = polar(dice.uniform(42, 66), turns)
        heading = turns + dice.sign() * 0.25 + dice.uniform(-0.08, 0.08)
        points = wander(dice, start, heading, dice.uniform(24, 40), steps=4, wobble=0.04)
        inside = cover(stroke(self.u, self.v, points, 0.9)) * cover(self.r - 76)
        return self.stain(picture, dice.uniform(0.25, 0.8) * inside, (226, 228, 232))


class Wood(Subject):
    """Planed wood that fills the picture: wavering grain, another hue and pitch on every plank, now and then a knot."""

    size: ClassVar[tuple[int, int]] = (160, 160)
    gain: ClassVar[float] = 0.1
    tilt: ClassVar[float] = 0.12

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.u, self.v = turned(self.x, self.y, (0, 0), dice.uniform(-0.02, 0.02))
        self.hue = dice.uniform(0, 1)
        self.pitch = dice.uniform(9, 15)
        self.knot: Point | None = (dice.uniform(-60, 60), dice.uniform(-60, 60)) if dice.uniform(0, 1) < 0.4 else None

    def paint(self) -> Floats:
        """Rings that wander along the grain and around the knot, fibres, pores."""
        warp, fibre, pores = (Noise(self.dice.child(name)) for name in ("warp", "fibre", "pores"))
        across = self.u + 7.0 * warp(self.u / 50, self.v / 90) + 2.0 * warp(self.u / 22 + 9, self.v / 40)
        dark = np.zeros(self.size)
        if self.knot:
            away = length(self.u - self.knot[0], (self.v - self.knot[1]) / 1.7)
            across = across + 9.0 * ramp(away, 26, 3)
            dark = 0.5 * ramp(away, 8, 3)
        rings = cosine(across / self.pitch) * 0.5 + 0.5
        light = 1.0 - 0.24 * rings * rings + 0.09 * fibre(self.u / 1.6, self.v / 34)
        light = light - 0.2 * ramp(pores(self.u / 1.8, self.v / 9), 0.55, 0.9)
        colour = (178 + 22 * self.hue, 124 + 26 * self.hue, 74 + 26 * self.hue)
        return over(shade(colour, light), dark, (72, 42, 24))

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A hole, a pale scratch, or a spill."""
        at = (dice.uniform(-48, 48), dice.uniform(-48, 48))
        if defect == "hole":
            hole = blob(self.u, self.v, at, dice.uniform(2.5, 4.5), dice, roughness=0.15)
            return self.stain(picture, cover(hole), shade((40, 24, 14), 1.0 + 0.8 * ramp(hole, -2, 0)))
        if defect == "scratch":
            heading, reach = dice.uniform(0, 1), dice.uniform(22, 40)
            half = polar(reach / 2, heading)
            points = wander(dice, (at[0] - half[0], at[1] - half[1]), heading, reach, steps=3, wobble=0.04)
            return self.stain(picture, 0.6 * cover(stroke(self.u, self.v, points, 0.9)), (226, 196, 150))
        texture = Noise(dice.child("stain"))
        spill = blob(self.u, self.v, at, dice.uniform(8, 15), dice, roughness=0.3) + 2 * texture(self.u / 4, self.v / 4)
        return self.stain(
            picture,
            dice.uniform(0.25, 0.5) * cover(spill, 4),
            dice.pick(((70, 48, 40), (96, 92, 110), (86, 100, 70))),
        )


class Wheel(Subject):
    """An alloy wheel in its tyre on a pale ground, five spokes; the picture is wider than high."""

    size: ClassVar[tuple[int, int]] = (168, 224)

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self.centre: Point = (dice.uniform(-4, 4), dice.uniform(-2, 2))
        self.u, self.v = turned(self.x, self.y, self.centre, dice.uniform(-0.02, 0.02))
        self.r = length(self.u, self.v)

    def _spokes(self) -> Floats:
        """Signed distance of the five spokes, wider towards the rim."""
        tips = [polar(52, i / 5 - 0.25) for i in range(5)]
        return np.minimum.reduce([stroke(self.u, self.v, [(0, 0), tip], [6.0, 8.5]) for tip in tips])

    def paint(self) -> Floats:
        """Ground, shadow, tyre with its lugs, rim, spokes, hub and its bolts."""
        ground, rubber, alloy = (Noise(self.dice.child(name)) for name in ("ground", "rubber", "alloy"))
        r = self.r
        picture = shade((176, 178, 174), 1.0 + 0.05 * ground(self.x / 10, self.y / 10))
        picture = over(picture, 0.5 * ramp(length(self.u - 3, self.v - 4), 84, 70), (50, 50, 50))
        turns = angle(self.u, self.v)
        lugs = cosine(turns * 36)
        picture = over(
            picture, cover(r - 71 - 1.2 * lugs), shade((44, 44, 46), 1.0 + 0.15 * rubber(self.u / 3, self.v / 3))
        )
        picture = over(picture, 0.5 * cover(np.abs(r - 63) - 0.7), (82, 82, 84))
        metal = 1.0 + 0.05 * alloy(self.u / 7, self.v / 7) + 0.1 * (-self.u - self.v) / 60
        picture = over(picture, cover(r - 56), shade((190, 192, 196), metal))
        picture = over(picture, cover(r - 50), shade((30, 31, 34), 1.0 + 0.2 * alloy(self.u / 5 + 20, self.v / 5)))
        spokes = self._spokes()
        picture = over(
            picture, cover(spokes) * cover(r - 52), shade((182, 184, 188), metal - 0.3 * ramp(spokes, -3, 0))
        )
        picture = over(picture, cover(r - 15), shade((196, 198, 202), metal))
        picture = over(picture, cover(r - 7), (70, 72, 78))
        for i in range(5):
            at = polar(11, i / 5 - 0.15)
            here = self.near((self.centre[0] + at[0], self.centre[1] + at[1]), 6)
            picture[:, *here] = over(picture[:, *here], cover(disc(self.u[here], self.v[here], at, 1.7)), (60, 60, 64))
        return picture

    def damage(self, defect: str, picture: Floats, dice: Dice) -> Damage:
        """A chip out of the rim, a crack across a spoke, or dirt."""
        if defect == "chip":
            at = polar(dice.uniform(53, 56), dice.uniform(0, 1))
            chip = blob(self.u, self.v, at, dice.uniform(2.0, 5.5), dice, roughness=0.25)
            inside = cover(chip) * cover(self.r - 56) * cover(49.5 - self.r)
            return self.stain(picture, inside, shade((74, 72, 70), 1.0 + 0.5 * ramp(chip, -2, 0)))
        if defect == "crack":
            spoke = dice.integer(5) / 5 - 0.25
            start = polar(dice.uniform(26, 42), spoke)
            side = polar(dice.uniform(5, 7), spoke + 0.25)
            start = (start[0] - side[0], start[1] - side[1])
            points = wander(dice, start, spoke + 0.25 + dice.uniform(-0.06, 0.06), 13, steps=4, wobble=0.09)
            inside = cover(stroke(self.u, self.v, points, 0.8)) * cover(self._spokes())
            return self.stain(picture, dice.uniform(0.2, 1.0) * inside, (58, 58, 60))
        at = polar(dice.uniform(20, 60), dice.uniform(0, 1))
        texture = Noise(dice.child("dirt"))
        dirt = blob(self.u, self.v, at, dice.uniform(5, 9), dice, roughness=0.3) + 2 * texture(self.u / 3, self.v / 3)
        return self.stain(picture, dice.uniform(0.2, 0.8) * cover(dirt, 3), (112, 88, 58))
