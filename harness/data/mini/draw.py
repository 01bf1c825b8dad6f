"""Draw every image of the mini benchmark in memory; where a defect stains the subject is its ground truth."""

import math
from itertools import product
from typing import ClassVar

import numpy as np

from harness.data.mini.counts import Drawing, defect_classes
from harness.data.mini.subject import Bytes, Colour, Plane, Point, Shape, Subject, box, dot, polar, ramp, shrink, stroke


def draw_plan(plan: Drawing, seed: int) -> tuple[Bytes, Bytes | None]:
    """Draw one image: the same for the same plan and seed, whatever else was drawn before.

    Returns:
        (height, width, 3) uint8 RGB, and the mask of a defective image: (height, width) uint8, 0 where nothing is
        wrong; elsewhere 255, in VisA's layout the defect type's class id.
    """
    name = f"{seed}/{plan.dataset}/{plan.category}/{plan.part}/{plan.defect}/{plan.number}"
    subject = SUBJECTS[plan.category](np.random.SeedSequence(list(name.encode())))
    for defect in plan.defects:
        subject.add_defect(defect)
    image = subject.expose()
    if plan.mask_path is None:
        return image, None
    classes = defect_classes(plan.category) if plan.dataset == "mini_visa" else dict.fromkeys(plan.defects, 255)
    values = np.array([0, *(classes[defect] for defect in plan.defects)], np.uint8)
    return image, values[subject.damaged]


class Bottle(Subject):
    """A brown bottle from above on a bright table: body, shoulder, lip with the lamps' reflections, dark inside."""

    def _paint(self) -> None:
        self.pose(2, 2, 0.013)
        self.table = 1 + 0.012 * self.noise(24)
        self.lay(1, (236, 236, 232), self.table)
        self.lay(0.35 * ramp(self.r, 84, 74), (120, 110, 100))
        streaks = 1 + 0.1 * self.lines(self.r / 7)
        self.lay(self.disc(76), (58, 36, 24), streaks)
        self.lay(0.8 * ramp(self.r, 75, 66) * ramp(self.r, 50, 62), (112, 66, 34), streaks)
        self.lay(0.55 * ramp(np.abs(self.r - 69), 5, 1) * self._lamps(3, 223, 43), (225, 190, 150))
        self.lay(self.disc(55), (30, 20, 17))
        self.lay(ramp(np.abs(self.r - 46), 8, 1), (104, 84, 72))
        self.lay(0.95 * ramp(np.abs(self.r - 46), 4, 1) * self._lamps(4, 29, 148, 209, 328), (252, 250, 246))
        self.lay(0.5 * ramp(np.abs(self.r - 53), 1.6, 0.2), (190, 170, 150))
        self.lay(self.disc(38), (17, 14, 15))
        glow = self.uniform(0.2, 0.7) * ramp(self.distance(self.near((0, 0), 12)), 30, 3)
        self.lay(glow + 0.3 * ramp(self.noise(11), 0.2, 1.0) * ramp(self.r, 37, 30), (74, 62, 56))

    def _lamps(self, sharpness: int, *directions: float) -> Plane:
        """Shine in the directions of the lamps, less to their sides; each step of sharpness squares the light."""
        towards = [np.maximum(self.u * c + self.v * s, 0) for c, s in (polar(1, degrees) for degrees in directions)]
        light = np.maximum.reduce(towards) / np.maximum(self.r, 1)
        for _ in range(sharpness):
            light = light * light  # a power would give other last digits on another processor
        return light

    def _damage(self, defect: str) -> None:
        if defect == "contamination":
            colour = self.pick(((176, 170, 160), (128, 104, 76), (92, 96, 98), (60, 52, 48)))
            at = self.around((0, 0), 6, 30)
            self.spot(at, (3.5, 9), colour, strength=(0.35, 0.9), light=1 + 0.3 * self.noise(3))
            return
        large = defect == "broken_large"
        radius = self.uniform(16, 25) if large else self.uniform(1.5, 6.5)
        bite = self.blob(polar(74 if large else 57, self.uniform(0, 360)), radius, 0.3)
        self.stain(self.cover(bite) * self.disc(76), (150, 128, 100), 1 + 0.6 * self.noise(4))
        hole = self.cover(shrink(bite, 0.8 if large else 0.6)) * self.disc(76)
        self.stain(hole, (236, 236, 232) if large else (24, 17, 14), self.table)


class Cable(Subject):
    """Three insulated wires of copper strands in a grey sheath, cut across; it lies turned by any angle."""

    colours: ClassVar[tuple[Colour, ...]] = ((196, 186, 52), (58, 84, 156), (128, 78, 46))

    def _paint(self) -> None:
        self.pose(2.5, 180)
        self.lay(1, (150, 152, 150), 1 + 0.04 * self.noise(9))
        self.lay(0.45 * ramp(self.distance(polar(4, 45 - self.turn)), 90, 78), (40, 40, 42))
        rubber = 1 + 0.05 * self.noise(4)
        self.lay(self.disc(80), (76, 78, 82), rubber)
        self.lay(self.disc(70), (112, 112, 110), rubber - 0.25 * ramp(self.r, 60, 70))
        self.wires = [self.near(polar(35.5, 120 * i), 0.5) for i in range(3)]
        strands = []
        for at, colour in zip(self.wires, self.colours, strict=True):
            self.lay(self.disc(31.5, at), colour, self._skin(at))
            self.lay(self.disc(20.5, at), (92, 62, 44))
            turn = self.uniform(0, 60)
            strands += [dot(polar(13.5, turn + 30 * i, at), 3.3) for i in range(12)]
            strands += [dot(polar(7, turn + 60 * i, at), 3.3) for i in range(6)] + [dot(at, 3.3)]
        self.lay(self.cover(*strands, blur=0.7), (206, 136, 88), 1 + 0.12 * self.noise(5))

    def _skin(self, at: Point) -> Plane:
        return 1 + 0.07 * self.noise(5) - 0.35 * ramp(self.distance(at), 28, 31.5)

    def _damage(self, defect: str) -> None:
        at, colour = self.pick(list(zip(self.wires, self.colours, strict=True)))
        heading = self.uniform(0, 360)
        ring = self.disc(31.5, at) - self.disc(20.5, at)
        if defect == "cable_swap":
            self.stain(ring, self.pick([other for other in self.colours if other != colour]), self._skin(at))
        elif defect == "bent_wire":
            bend = polar(14, heading + self.pick((-32, 32)), at)
            self.scratch([at, bend, polar(self.uniform(24, 30), heading, at)], (7,), (224, 158, 104), (1, 1))
        elif defect == "cut_inner_insulation":
            gap = self.cover(box(polar(26.5, heading, at), 15, self.uniform(9, 16), heading))
            self.stain(gap * ring, (112, 112, 110), 0.75 - 0.2 * ramp(self.distance(at), 24, 30))
        else:
            self.spot(polar(self.uniform(24, 28), heading, at), (3.5, 6), (30, 24, 20), light=1 + 0.3 * self.noise(2))


class Hazelnut(Subject):
    """A brown nut with streaks from its pale cap to its tip, on a dark ground; it lies turned by up to a sixth."""

    def _paint(self) -> None:
        self.pose(3, 58, 0.03)
        self.lay(1, (38, 38, 40), 1 + 0.12 * self.noise(6))
        a, b = self.u / self.uniform(60, 64), self.v / self.uniform(66, 70)
        self.inside = np.clip((1 - np.sqrt(a * a + b * b)) * 64 + 0.5, 0, 1)
        height = np.sqrt(np.maximum(1 - a * a - b * b, 0))
        meridian = a / np.maximum(np.sqrt(np.maximum(1 - b * b, 0)), 0.2) + 0.03 * self.noise(24)
        streaks = 0.6 * self.lines(meridian * 9 + 30) + 0.4 * self.lines(meridian * 22 + 60)
        tone = self.uniform(0.86, 1.1) * (0.42 + 0.66 * height) * (1 + 0.18 * streaks + 0.09 * self.noise(11))
        self.lay(self.inside, (150, 92, 52), tone)
        self.lay(0.22 * ramp(self.distance(polar(31, 230 - self.turn)), 36, 4) * self.inside, (236, 212, 182))
        cap = self.cover(self.blob((self.uniform(-8, 8), self.uniform(55, 66)), 32, 0.06), blur=1.5)
        self.lay(cap * self.inside, (196, 160, 116), (0.55 + 0.5 * height) * (1 + 0.25 * self.noise(3)))

    def _damage(self, defect: str) -> None:
        at = (self.uniform(-32, 32), self.uniform(-42, 12))
        if defect == "crack":
            path = self.wander((at[0], -40), self.uniform(70, 110), self.uniform(40, 68), 36)
            self.scratch(path, (0.8, self.uniform(1.6, 4.5), 0.8), (28, 16, 10), (1, 1), inside=self.inside)
        elif defect == "cut":
            path = [at, self.around(at, 22, 36)]
            self.scratch(path, (2.0, 3.8), (214, 176, 132), strength=(0.2, 0.6), inside=self.inside)
        elif defect == "hole":
            hole = self.blob(at, self.uniform(2.5, 5), 0.12)
            self.stain(self.cover(hole), (196, 152, 106), strength=0.7)
            self.stain(self.cover(shrink(hole, 0.65)), (22, 14, 10))
        else:
            turn = self.uniform(-36, 36)
            bars = [box(polar(y, turn + 90, at), w, h, turn) for y, w, h in ((-8, 26, 5), (0, 5, 20), (9, 18, 4))]
            self.stain(self.cover(*bars) * self.inside, (214, 216, 220), strength=self.uniform(0.15, 0.5))


class Candles(Subject):
    """Four tea lights, two by two, on a dark ground: cream wax in a thin metal cup, a wick that leans anywhere."""

    size = (192, 208)

    def _paint(self) -> None:
        self.pose(0)
        self.lay(1, (52, 54, 60), 1 + 0.14 * self.noise(4))
        self.centres = [self.near(at, 2.5) for at in product((-45, 45), (-41, 41))]
        away = np.stack([self.distance(at) for at in self.centres])
        nearest, r = away.argmin(axis=0), away.min(axis=0)  # all four candles are painted at once
        tone = self._rng.uniform(0.94, 1.04, 4).astype(np.float32)[nearest]
        self.lay(0.5 * self.cover(*(dot((x + 2, y + 3), 40) for x, y in self.centres), blur=3), (18, 18, 20))
        self.lay(np.clip(39 - r, 0, 1), (150, 152, 156))
        self.lay(np.clip(36.5 - r, 0, 1), (226, 214, 178), tone + 0.035 * self.noise(12) - 0.2 * ramp(r, 27, 36))
        self.lay(0.35 * ramp(r, 15, 6), (246, 238, 214))
        self.tips = [polar(9, self.uniform(0, 360), at) for at in self.centres]
        wicks = [shape for ends in zip(self.centres, self.tips, strict=True) for shape in stroke(ends, 4, 3)]
        self.lay(0.3 * self.cover(*(np.add(shape, (1.5, 2)) for shape in wicks), blur=1.5), (120, 108, 84))
        self.lay(self.cover(*wicks), (88, 78, 66))

    def _damage(self, defect: str) -> None:
        at, tip = self.pick(list(zip(self.centres, self.tips, strict=True)))
        if defect == "wick burnt":
            self.spot(tip, (2.4, 4.0), (24, 20, 18), strength=(0.9, 0.9))
        elif defect == "foreign particles":
            colour = self.pick(((70, 50, 40), (60, 74, 60), (104, 64, 44)))
            for _ in range(self.pick((3, 4, 5, 6))):
                self.spot(self.around(at, 10, 31), (1.2, 2.2), colour)
        elif defect == "chunk of wax missing":
            cup = 0.9 + 0.12 * self.noise(3)
            self.spot(self.around(at, 29, 34), (7, 11), (118, 116, 112), inside=self.disc(36, at), light=cup)
        else:
            self.spot(self.around(at, 33, 38), (8, 12), (222, 208, 168), strength=(0.8, 1))


class Board(Subject):
    """A green board that measures distance: two silver cylinders, a quartz, chips, traces, a row of four pins."""

    size = (176, 224)
    pins: ClassVar[tuple[float, ...]] = (-15, -5, 5, 15)
    cans: ClassVar[tuple[Point, ...]] = ((-56, -3), (56, -3))
    parts: ClassVar[tuple[tuple[Point, Point, Colour], ...]] = (  # where, width and height, colour
        ((-12, 22), (16, 9), (38, 40, 44)),
        ((13, 20), (12, 10), (44, 44, 46)),
        ((-16, 7), (7, 4), (120, 96, 70)),
        ((15, 5), (7, 4), (120, 96, 70)),
        ((0, 8), (4, 7), (150, 128, 96)),
    )
    traces: ClassVar[tuple[tuple[Point, ...], ...]] = (
        ((-15, 38), (-15, 30), (-24, 24), (-24, -4), (-34, -14)),
        ((-5, 38), (-5, 28), (-8, 26), (-8, 10), (-16, 7)),
        ((5, 38), (5, 30), (10, 26), (10, 12), (15, 5)),
        ((15, 38), (15, 31), (24, 24), (24, -4), (34, -14)),
        ((-30, -40), (-12, -40), (-4, -32), (4, -32), (12, -40), (30, -40)),
    )

    def _paint(self) -> None:
        self.pose(3, 2.2)
        self._paint_board()
        self.bare = self.picture.copy()
        self.lay(0.45 * self.cover(*(dot((x + 2, y + 3), 36) for x, y in self.cans), blur=3), (8, 26, 20))
        for at in self.cans:
            self._paint_can(at)
        for at, (width, height), colour in self.parts:
            self.lay(self.cover(box(at, width, height)), colour)
        self.lay(self.cover(*stroke([(-6.5, -16), (6.5, -16)], 11)), (204, 206, 208))
        self.lay(self.cover(*(box((pin, 45), 3.2, 16) for pin in self.pins)), (226, 220, 190))

    def _paint_board(self) -> None:
        self.lay(1, (206, 206, 202), 1 + 0.02 * self.noise(12))
        self.lay(0.4 * self.cover(box((2, 3), 190, 94), blur=3), (60, 62, 66))
        self.lay(self.cover(box((0, 0), 188, 92)), (26, 92, 62), 1 + 0.06 * self.noise(7))
        self.lay(0.75 * self.cover(*(part for trace in self.traces for part in stroke(trace, 1.8))), (60, 140, 92))
        corners = list(product((-89, 89), (-41, 41)))
        self.lay(self.cover(*(dot(at, 3.2) for at in corners)), (196, 180, 120))
        self.lay(self.cover(*(dot(at, 1.8) for at in corners)), (120, 118, 114))
        pads = [box((x + s * w / 2, y), 3, h * 0.8) for (x, y), (w, h), _ in self.parts for s in (-1, 1)]
        self.lay(self.cover(*pads, *(dot((pin, 38), 3.4) for pin in self.pins)), (190, 191, 186))

    def _paint_can(self, at: Point) -> None:
        """Paint one of the sensor's two cylinders: a rolled rim, a mesh, turned by any angle, over the dark inside."""
        towards = -0.6 * (self.u - at[0]) - 0.8 * (self.v - at[1])
        self.lay(self.disc(33, at), (172, 174, 178), 1 + 0.3 * towards / 33)
        self.lay(ramp(np.abs(self.distance(at) - 28.5), 2, 0.5), (226, 228, 232), 1 + 0.15 * towards / 28)
        self.lay(self.disc(25, at), (66, 68, 70))
        c, s = polar(1 / 3.6, self.uniform(0, 360))
        du, dv = self.u * c + self.v * s, self.v * c - self.u * s
        mesh = np.sqrt((du - np.round(du)) ** 2 + (dv - np.round(dv)) ** 2)
        self.lay(self.disc(23.5, at) * ramp(mesh, 0.28, 0.46), (150, 150, 148))

    def _damage(self, defect: str) -> None:
        if defect == "missing":
            at, (width, height), _ = self.pick(self.parts)
            self._bare(box(at, width + 0.5, height + 0.5))
        elif defect == "bent":
            pin = self.pick(self.pins)
            knee = (pin + self.pick((-1, 1)) * self.uniform(2, 6), self.uniform(47, 50))
            self._bare(box((pin, 48), 4, 11))
            self.scratch([(pin, 42.5), knee, self.near((knee[0], 54), 2)], (3.2,), (226, 220, 190), (1, 1))
        elif defect == "solder bridge":
            middle = self.near((self.pick(self.pins[:3]) + 5, 38), 1)
            self.stain(self.cover(box(middle, 8, self.uniform(4, 7))), (200, 202, 198))
        elif defect == "scratch":
            start = (self.uniform(-72, 72), self.uniform(-36, -20))
            path = self.wander(start, self.uniform(61, 119), self.uniform(22, 40), 11)
            self.scratch(path, (1.5,), (206, 214, 196), strength=(0.3, 0.7))
        else:
            self.spot(self.near(self.pick((*self.cans, (0, 2))), 14), (3.5, 8), (64, 42, 24), strength=(0.4, 0.9))

    def _bare(self, shape: Shape) -> None:
        coverage = self.cover(shape)
        bare = self.picture + coverage * (self.bare - self.picture)
        self.damaged[(bare != self.picture).any(axis=0)] = self.number
        self.picture = bare


class Cashew(Subject):
    """A cashew on a plain blue-grey ground: a bent kernel, thick at one end, cream to tan, faintly lined."""

    size = (192, 208)

    def _paint(self) -> None:
        self.pose(4, 18)
        self.ground = 1 + 0.03 * self.noise(5)
        self.lay(1, (84, 96, 112), self.ground)
        bend, span = self.uniform(40, 44), self.uniform(72, 79)
        thick, thin = self.uniform(32, 34), self.uniform(22, 24)
        self.spine = [polar(bend, 270 + span * (share / 16 - 1), (0, 18)) for share in range(33)]
        self.ends = ((self.spine[0], thick), (self.spine[-1], thin))
        kernel = stroke(self.spine, 2 * thick, 2 * thick, thick + thin, 2 * thin, 2 * thin)
        self.lay(0.5 * self.cover(*(np.add(shape, (3, 5)) for shape in kernel), blur=3), (34, 40, 50))
        inside = self.cover(*kernel)
        height = np.sqrt(self.cover(*kernel, blur=6) * inside)
        down, right = np.gradient(height)
        rings = self.lines(self.distance((0, 18)) / 2.5) * (1 + self.noise(26))
        light = (0.72 + 0.3 * height + 4 * (0.63 * right + 0.77 * down)) * (1 + 0.07 * self.noise(9) + 0.06 * rings)
        self.lay(inside, (214, 178, 126), light * self.uniform(0.96, 1.03))
        self.inside = np.floor(inside)

    def _damage(self, defect: str) -> None:
        at = self.near(self.pick(self.spine[4:-4]), 12)
        if defect == "breakage":
            (x, y), thickness = self.pick(self.ends)
            bite = self.blob((x + self.uniform(-6, 6), y + thickness - 2), self.uniform(14, 19), 0.2)
            self.stain(self.cover(bite) * self.inside, (240, 222, 184))
            self.stain(self.cover(shrink(bite, 0.82)) * self.inside, (84, 96, 112), 0.62 * self.ground)
        elif defect == "burnt":
            burn = 0.8 + 0.2 * self.noise(3)
            self.spot(at, (4, 8), (88, 54, 30), strength=(0.15, 0.5), inside=self.inside * burn)
        elif defect == "hole":
            self.spot(at, (1.2, 2.8), (76, 54, 36), inside=self.inside)
        else:
            path = self.wander(at, self.uniform(0, 360), self.uniform(18, 32), 18)
            self.scratch(path, (1.9,), (150, 112, 72), strength=(0.25, 0.6), inside=self.inside)


class Flange(Subject):
    """A turned metal flange on black: a bore, a raised hub, six bolts, marks of the lathe."""

    def _paint(self) -> None:
        self.pose(3, 4)
        self.lay(1, (26, 27, 30), 1 + 0.1 * self.noise(8))
        fans = (self.u**2 - self.v**2 + self.u * self.v) / np.maximum(self.r**2, 1)
        metal = 1 + 0.1 * fans + 0.07 * self.lines(self.r / 1.3) + 0.05 * self.noise(6)
        self.lay(self.disc(77), (132, 134, 138), metal)
        self.lay(ramp(np.abs(self.r - 75), 3, 1), (178, 180, 184), metal)
        self.lay(self.disc(36), (84, 86, 90), metal)
        self.lay(self.disc(33), (158, 160, 164), metal)
        self.lay(self.disc(19), (14, 14, 16))
        self.lay(ramp(np.abs(self.r - 20), 1.5, 0.3), (204, 206, 210))
        self.bolts = [polar(55, 30 + 60 * i) for i in range(6)]
        self.lay(0.6 * self.cover(*(dot(at, 9.7) for at in self.bolts), blur=1), (44, 45, 48))
        self.lay(self.cover(*(dot(at, 8) for at in self.bolts)), (150, 146, 134))
        hexagons = [np.array([polar(4.8, 60 * i, at) for i in range(6)]) for at in self.bolts]
        self.lay(self.cover(*hexagons), (52, 50, 48))

    def _damage(self, defect: str) -> None:
        heading = self.uniform(0, 360)
        if defect == "missing_bolt":
            at = self.pick(self.bolts)
            self.stain(self.disc(8, at), (20, 20, 22), 1 + 1.4 * ramp(self.distance(at), 5, 8))
        elif defect == "dent":
            at = polar(self.uniform(50, 66), heading)
            lit = 1 + 0.55 * np.clip((self.u - at[0] + self.v - at[1]) / 8, -1, 1)
            self.spot(at, (5, 8), (110, 112, 116), strength=(0.22, 0.55), light=lit)
        else:
            direction = heading + self.pick((-90, 90)) + self.uniform(-29, 29)
            path = self.wander(polar(self.uniform(42, 66), heading), direction, self.uniform(24, 40), 15)
            self.scratch(path, (1.2,), (226, 228, 232), strength=(0.12, 0.5), inside=self.disc(76))


class Wood(Subject):
    """Planed wood that fills the picture: wavering grain, another hue and pitch on every plank, now and then a knot."""

    size = (160, 160)
    gain = 0.1
    tilt = 0.12

    def _paint(self) -> None:
        self.pose(0, 7)
        across = self.u + 7 * self.noise(50, 90) + 2 * self.noise(22, 40)
        x, y = self.near((0, 0), 100)  # a knot outside the picture does not show
        away = np.sqrt((self.u - x) ** 2 + ((self.v - y) / 1.7) ** 2)
        across = (across + 9 * ramp(away, 26, 3)) / self.uniform(9, 15)
        rings = ramp(2 * np.abs(across - np.round(across)), 0, 1) ** 2
        light = 1 - 0.24 * rings + 0.09 * self.noise(1.6, 34) - 0.2 * ramp(self.noise(1.8, 9), 0.55, 0.9)
        hue = self.uniform(0, 26)
        self.lay(1, (178 + hue, 124 + hue, 74 + hue), light)
        self.lay(0.5 * ramp(away, 8, 3), (72, 42, 24))

    def _damage(self, defect: str) -> None:
        at, heading = self.near((0, 0), 48), self.uniform(0, 360)
        if defect == "hole":
            self.spot(at, (2.2, 4.2), (52, 32, 20))
        elif defect == "scratch":
            reach = self.uniform(22, 40)
            path = self.wander(polar(-reach / 2, heading, at), heading, reach, 12)
            self.scratch(path, (1.8,), (226, 196, 150), strength=(0.4, 0.7))
        else:
            colour = self.pick(((70, 48, 40), (96, 92, 110), (86, 100, 70)))
            self.spot(at, (8, 15), colour, strength=(0.2, 0.5))


class Wheel(Subject):
    """An alloy wheel in its tyre on a pale ground, five spokes; the picture is wider than high."""

    size = (168, 224)

    def _paint(self) -> None:
        self.pose(3, 7)
        self.lay(1, (176, 178, 174), 1 + 0.05 * self.noise(10))
        self.lay(0.5 * ramp(self.distance((3, 4)), 84, 70), (50, 50, 50))
        tyre = [polar(71 + 1.5 * math.cos(math.radians(36 * degrees)), degrees) for degrees in range(0, 360, 2)]
        self.lay(self.cover(np.array(tyre)), (44, 44, 46), 1 + 0.15 * self.noise(3))
        self.lay(0.5 * ramp(np.abs(self.r - 63), 1.4, 0.2), (82, 82, 84))
        metal = 1 + 0.05 * self.noise(7) - 0.1 * (self.u + self.v) / 60
        self.lay(self.disc(56), (190, 192, 196), metal)
        self.lay(self.disc(50), (30, 31, 34), 1 + 0.2 * self.noise(5))
        spokes = [shape for i in range(5) for shape in stroke([(0, 0), polar(52, 72 * i - 90)], 12, 17)]
        self.spokes = self.cover(*spokes) * self.disc(52)
        self.lay(self.spokes, (182, 184, 188), metal - 0.5 * (1 - self.cover(*spokes, blur=2)))
        self.lay(self.disc(15), (196, 198, 202), metal)
        self.lay(self.disc(7), (70, 72, 78))
        self.lay(self.cover(*(dot(polar(11, 72 * i - 54), 1.7) for i in range(5))), (60, 60, 64))

    def _damage(self, defect: str) -> None:
        if defect == "chip":
            rim = self.disc(56) - self.disc(49.5)
            self.spot(self.around((0, 0), 52.5, 55), (2.0, 5.5), (84, 82, 80), inside=rim)
        elif defect == "crack":
            spoke = 72 * self.pick(range(5)) - 90
            start = polar(-self.uniform(6, 8), spoke + 90, polar(self.uniform(26, 42), spoke))
            path = self.wander(start, spoke + 90 + self.uniform(-22, 22), 15, 32)
            self.scratch(path, (1.6,), (58, 58, 60), strength=(0.3, 1.0), inside=self.spokes)
        else:
            speckle = 0.8 + 0.2 * self.noise(3)
            at = self.around((0, 0), 20, 60)
            self.spot(at, (5, 9), (112, 88, 58), strength=(0.3, 0.8), inside=speckle)


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
