"""The products of ``slash_sample`` as vector drawings.

A product is drawn into a :class:`Sketch` in its own coordinates: x to the right, y down, the product within
about -1 to 1. Place, size, tilt, light, texture and shadow are the business of the scene. Lettering is made
of strokes, so that no font is needed and machines with other fonts draw the same.
"""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Rng = np.random.Generator

WHITE, CREAM, INK, GOLD, WOOD = (248, 247, 244), (231, 220, 200), (34, 32, 36), (205, 160, 70), (168, 122, 78)
SKINS: list[Colour] = [(240, 205, 175), (214, 165, 130), (165, 115, 82), (105, 70, 50)]
_TURN = np.linspace(0, 2 * np.pi, 32, endpoint=False) + np.pi / 32
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
# Corners of a 3 x 3 grid, row by row, in the order a pen would visit them: L V N Z A E H T M U S P O R.
_LETTERS = ["068", "072", "6082", "0268", "618", "2035368", "063528", "0217", "60428"]
_LETTERS += ["0682", "203586", "60253", "02860", "602538"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled polygon, or a stroke where ``width`` is above 0. ``points``: float64, shape (n, 2)."""

    points: npt.NDArray[np.float64]
    colour: Colour
    alpha: int = 255
    width: float = 0.0


class Sketch:
    """Shapes in the order in which they are painted."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []

    def fill(self, points: npt.ArrayLike, colour: Colour, alpha: int = 255, rounds: int = 0) -> None:
        """A polygon; each of ``rounds`` cuts its corners (Chaikin), so two make a smooth outline."""
        outline = np.asarray(points, dtype=np.float64)
        for _ in range(rounds):
            after = np.roll(outline, -1, axis=0)
            outline = np.stack([0.75 * outline + 0.25 * after, 0.25 * outline + 0.75 * after], axis=1).reshape(-1, 2)
        self.shapes.append(Shape(outline, colour, alpha))

    def line(self, points: npt.ArrayLike, width: float, colour: Colour, alpha: int = 255) -> None:
        """A stroke through ``points``."""
        self.shapes.append(Shape(np.asarray(points, dtype=np.float64), colour, alpha, width))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: int = 255) -> None:
        """An ellipse around (x, y)."""
        self.shapes.append(Shape(_CIRCLE * (rx, ry) + (x, y), colour, alpha))

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        colour: Colour,
        radius: float = 0.0,
        alpha: int = 255,
    ) -> None:
        """An upright rectangle with rounded corners."""
        half, centre = np.array([x1 - x0, y1 - y0]) / 2, ((x0 + x1) / 2, (y0 + y1) / 2)
        radius = min(radius, *half)
        corners = _CIRCLE[::2] if radius else np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
        self.shapes.append(Shape(corners * radius + np.sign(corners) * (half - radius) + centre, colour, alpha))

    def place(self, other: Sketch, matrix: npt.NDArray[np.float64], light: float = 1.0) -> None:
        """Add ``other``, moved by ``matrix`` (shape (2, 3)) and lit ``light`` times as brightly."""
        grow = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        for shape in other.shapes:
            points = shape.points @ matrix[:, :2].T + matrix[:, 2]
            self.shapes.append(Shape(points, shade(shape.colour, light), shape.alpha, shape.width * grow))

    def keep_within(self, start: int, x0: float, y0: float, x1: float, y1: float) -> None:
        """Press the shapes from number ``start`` on into a rectangle: a print ends where its paper ends."""
        for index, shape in enumerate(self.shapes[start:], start):
            self.shapes[index] = replace(shape, points=np.clip(shape.points, (x0, y0), (x1, y1)))


def shade(colour: Colour, factor: float) -> Colour:
    """``colour``, darker below a factor of 1 and brighter above."""
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


def paint(rng: Rng, saturation: tuple[float, float] = (0.2, 0.85), value: tuple[float, float] = (0.3, 0.95)) -> Colour:
    """A random colour; a fifth of them are black, white or cream, as on real goods."""
    if rng.random() < 0.2:
        return shade((INK, WHITE, CREAM)[rng.integers(3)], rng.uniform(0.85, 1.0))
    hue = (rng.random(), rng.normal(0.05, 0.06), rng.normal(0.58, 0.07))[rng.choice(3, p=[0.4, 0.35, 0.25])] % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))
    return int(255 * red), int(255 * green), int(255 * blue)


def pick(rng: Rng, options: Sequence[Colour]) -> Colour:
    """One of ``options``, slightly off."""
    return shade(options[int(rng.integers(len(options)))], rng.uniform(0.85, 1.1))


def mirrored(half: Sequence[tuple[float, float]]) -> npt.NDArray[np.float64]:
    """A symmetrical outline from its right half, given from top to bottom."""
    right = np.array(half)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def moved(points: npt.ArrayLike, dx: float, dy: float) -> npt.NDArray[np.float64]:
    """``points``, moved."""
    return np.add(points, (dx, dy))


def lettering(s: Sketch, rng: Rng, x: float, y: float, width: float, height: float, colour: Colour) -> None:
    """A made-up word, ``width`` wide, centred at (x, y)."""
    count = int(np.clip(round(width / (0.8 * height)), 2, 9))
    step, bold = width / count, rng.uniform(0.14, 0.3)
    for index in range(count):
        digits = np.array([int(corner) for corner in _LETTERS[rng.integers(len(_LETTERS))]])
        left = x - width / 2 + index * step
        points = np.stack([left + digits % 3 * 0.34 * step, y + (digits // 3 - 1) * height / 2], axis=1)
        s.line(points, bold * min(height, step), colour)


def small_print(s: Sketch, x: float, y: float, width: float, rows: int, colour: Colour, pitch: float = 0.07) -> None:
    """Lines of text too small to be read."""
    for row in range(rows):
        length = width * (0.5 - 0.08 * (row * 7 % 4))
        s.line([(x - length, y + row * pitch), (x + length, y + row * pitch)], 0.3 * pitch, colour, 200)


def motif(s: Sketch, rng: Rng, x: float, y: float, r: float, colour: Colour) -> None:
    """A flower, star, heart, leaf, sun, face or fruit of radius ``r``."""
    kind, second, angle = rng.integers(7), paint(rng), rng.uniform(0, 2 * np.pi)
    if kind == 0:
        for turn in angle + np.arange(5) * 2 * np.pi / 5:
            s.oval(x + 0.55 * r * np.cos(turn), y + 0.55 * r * np.sin(turn), 0.42 * r, 0.42 * r, colour)
        s.oval(x, y, 0.3 * r, 0.3 * r, second)
    elif kind in (1, 4):
        spikes = 5 if kind == 1 else 12
        turns = angle + np.arange(2 * spikes) * np.pi / spikes
        radii = r * np.where(np.arange(2 * spikes) % 2, 0.45 if kind == 1 else 0.65, 1.0)
        s.fill(np.stack([x + radii * np.cos(turns), y + radii * np.sin(turns)], axis=1), colour)
        if kind == 4:
            s.oval(x, y, 0.5 * r, 0.5 * r, second)
    elif kind == 2:
        heart = mirrored([(0, -0.45), (0.35, -0.9), (0.95, -0.65), (0.85, 0.05), (0, 0.95)])
        s.fill(heart * r + (x, y), colour, rounds=2)
    elif kind == 3:
        leaf = np.array([(0, -1), (0.55, -0.2), (0.3, 0.5), (0, 1), (-0.3, 0.5), (-0.55, -0.2)]) * r
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        s.fill(leaf @ turn.T + (x, y), colour, rounds=2)
        s.line(leaf[[0, 3]] @ turn.T + (x, y), 0.08 * r, shade(colour, 0.7))
    else:
        s.oval(x, y, 0.85 * r, 0.9 * r, colour)
        for side in (-1, 1):
            s.oval(x + side * 0.32 * r, y - 0.15 * r, 0.12 * r, 0.16 * r, INK)
        s.line([(x - 0.35 * r, y + 0.3 * r), (x, y + 0.48 * r), (x + 0.35 * r, y + 0.3 * r)], 0.09 * r, INK)


def pattern(s: Sketch, rng: Rng, x0: float, y0: float, x1: float, y1: float) -> None:
    """Stripes, checks, dots, scattered motifs or blots on a rectangle; its ground is painted already."""
    start, width, height = len(s.shapes), x1 - x0, y1 - y0
    first, second, kind = paint(rng), paint(rng), rng.integers(6)
    count = int(rng.integers(4, 10))
    if kind == 0:
        for left in x0 + np.arange(count) * width / count:
            s.box(left, y0, left + width / count * 0.5, y1, first)
    elif kind == 1:
        for top in y0 + np.arange(count) * height / count:
            s.box(x0, top, x1, top + height / count * 0.4, first)
        for left in x0 + np.arange(count) * width / count:
            s.box(left, y0, left + width / count * 0.4, y1, second, alpha=120)
    elif kind == 2:
        for row, column in np.ndindex(count, count):
            x, y = x0 + (column + 0.5 * (row % 2)) * width / count, y0 + (row + 0.5) * height / count
            s.oval(x, y, 0.25 * width / count, 0.25 * width / count, first if row % 2 else second)
    elif kind in (3, 4):
        for x, y in rng.uniform((x0, y0), (x1, y1), (2 * count, 2)):
            motif(
                s,
                rng,
                x,
                y,
                min(width, height) * rng.uniform(0.06, 0.14),
                first if rng.random() < 0.6 else second,
            )
    else:
        for _ in range(count):
            x, y = rng.uniform((x0, y0), (x1, y1))
            s.fill(rng.normal((x, y), 0.25 * min(width, height), (5, 2)), paint(rng), 200, rounds=2)
    s.keep_within(start, x0, y0, x1, y1)


def picture(s: Sketch, rng: Rng, x0: float, y0: float, x1: float, y1: float) -> None:
    """A painting: a landscape, the sea, a portrait or something abstract, filling the rectangle."""
    start, width, height, kind = len(s.shapes), x1 - x0, y1 - y0, rng.integers(4)
    sky, land = paint(rng, (0.2, 0.8), (0.5, 1.0)), paint(rng)
    for row in range(8):
        s.box(x0, y0 + row * height / 8, x1, y1, shade(sky, 0.8 + 0.05 * row))
    if kind < 2:
        sun = rng.uniform((x0, y0), (x1, y0 + height / 2))
        s.oval(sun[0], sun[1], 0.09 * width, 0.09 * width, pick(rng, [GOLD, WHITE]))
        for ridge in np.linspace(0.4, 0.9, 4 + 4 * int(kind)):
            tops = y0 + height * (ridge + rng.uniform(-0.15, 0.1, 7) * (1 - 0.6 * kind))
            hills = np.stack([np.linspace(x0, x1, 7), tops], axis=1)
            s.fill([*hills, (x1, y1), (x0, y1)], shade(land, 1.3 - 0.8 * ridge + rng.uniform(-0.15, 0.15)))
    elif kind == 2:
        x, y = x0 + width / 2, y0 + 0.42 * height
        s.fill(mirrored([(0.1, 0.25), (0.42, 0.4), (0.5, 0.7)]) * (width, height) + (x, y), land, rounds=1)
        s.oval(x, y - 0.04 * height, 0.24 * width, 0.27 * height, shade(land, 0.4))
        s.oval(x, y, 0.17 * width, 0.21 * height, pick(rng, SKINS))
    for _ in range(14 if kind == 3 else 4):
        mark = rng.uniform((x0, y0), (x1, y1)) + rng.normal(0, 0.12, (4, 2)) * (width, height)
        s.line(mark, rng.uniform(0.02, 0.07) * width, paint(rng), 210)
    s.keep_within(start, x0, y0, x1, y1)


def front(rng: Rng, food: float = 0.3) -> tuple[Sketch, Colour]:
    """The printed face of a package, from -1 to 1 in both directions, and its main colour."""
    s, ground, second = Sketch(), paint(rng), paint(rng)
    s.box(-1, -1, 1, 1, ground)
    start = len(s.shapes)
    if rng.random() < 0.6:
        edge = rng.uniform(-0.6, 0.6, 5)
        s.fill([*np.stack([np.linspace(-1, 1, 5), edge], axis=1), (1, 1), (-1, 1)], second, rounds=1)
    elif rng.random() < 0.5:
        pattern(s, rng, -1, -1, 1, 1)
    centre, size = rng.uniform((-0.3, 0.15), (0.3, 0.4)), rng.uniform(0.3, 0.55)
    if rng.random() < food:
        crumb = pick(rng, [(214, 160, 70), (120, 70, 40), (232, 196, 120), (190, 70, 40)])
        for x, y in rng.normal(centre, 0.45 * size, (int(rng.integers(5, 12)), 2)):
            s.oval(x, y, 0.4 * size, 0.3 * size, shade(crumb, 0.75))
            s.oval(x, y - 0.03, 0.37 * size, 0.26 * size, shade(crumb, rng.uniform(0.9, 1.2)))
    elif rng.random() < 0.75:
        motif(s, rng, centre[0], centre[1], size, paint(rng))
    else:
        picture(s, rng, -0.7, -0.2, 0.7, 0.75)
    dark = sum(ground) < 380
    if rng.random() < 0.5:
        s.box(-0.75, -0.85, 0.75, -0.3, second, 0.15)
        dark = sum(second) < 380
    lettering(s, rng, 0, -0.58, rng.uniform(0.9, 1.35), rng.uniform(0.2, 0.36), WHITE if dark else INK)
    small_print(s, 0, 0.78, 1.2, int(rng.integers(1, 4)), WHITE if dark else INK)
    s.keep_within(start, -1, -1, 1, 1)
    return s, ground


def cylinder(s: Sketch, x0: float, x1: float, y0: float, y1: float, colour: Colour, taper: float = 0.0) -> None:
    """A round body with a highlight; ``taper`` is how much narrower its foot is on each side."""
    depth = 0.07 * (x1 - x0)
    edges, middle = np.linspace(x0, x1, 15), (x0 + x1) / 2
    feet = middle + (edges - middle) * (1 - taper)
    sag = depth * np.sqrt(1 - np.linspace(-1, 1, 15) ** 2)
    for i in range(14):
        glow = 0.62 + 0.55 * np.exp(-(((i - 4) / 3.2) ** 2)) + 0.12 * (i > 11)
        strip = [(edges[i], y0), (edges[i + 1], y0), (feet[i + 1], y1 + sag[i + 1]), (feet[i], y1 + sag[i])]
        s.fill(strip, shade(colour, glow))
    s.oval(middle, y0, (x1 - x0) / 2, depth, shade(colour, 1.05))


def person(s: Sketch, rng: Rng) -> None:
    """A standing figure in trousers or a dress, in full or from the waist up."""
    skin, hair, top, legs = pick(rng, SKINS), paint(rng, (0.1, 0.6), (0.05, 0.4)), paint(rng), paint(rng)
    dress, spread, reach = rng.random() < 0.35, rng.uniform(0.02, 0.12), rng.uniform(-0.06, 0.25)
    body, near = Sketch(), rng.random() < 0.4
    for side in () if near else (-1, 1):
        foot, light = side * (0.07 + spread), 0.9 + 0.12 * side
        leg = [
            (side * 0.2, 0.05),
            (-side * 0.01, 0.1),
            (foot - side * 0.06, 0.92),
            (foot + side * 0.07, 0.92),
        ]
        body.fill(leg, shade(skin if dress else legs, light))
        shoe_outline = moved([(-0.07, 0.9), (0.07, 0.9), (0.09, 0.98), (-0.08, 0.98)], foot, 0)
        body.fill(shoe_outline, shade(legs, 0.4), rounds=1)
    if dress and not near:
        body.fill(
            mirrored([(0.15, -0.15), (0.24, 0.1), (rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.88))]),
            shade(top, 0.93),
        )
    body.line([(0, -0.72), (0, -0.5)], 0.1, shade(skin, 0.82))
    waist, hem = rng.uniform(0.15, 0.21), rng.uniform(0.1, 0.32)
    body.fill(mirrored([(0.05, -0.6), (0.22, -0.54), (0.25, -0.4), (waist, -0.12), (0.22, hem)]), top, rounds=1)
    for side in (-1, 1):
        elbow, hand = (side * (0.3 + reach), -0.14), (side * (0.24 + 1.2 * reach * rng.random()), 0.16)
        arm, dark = [(side * 0.2, -0.47), elbow, hand], shade(top, 0.86)
        body.oval(*hand, 0.05, 0.065, skin)
        body.line(arm, 0.12, dark)
        body.line(moved(arm, -0.025, 0), 0.05, shade(top, 0.98), 200)
    for fold in rng.uniform(-0.12, 0.12, 4):
        body.line([(fold, hem - 0.05), (0.7 * fold, hem - rng.uniform(0.15, 0.35))], 0.018, shade(top, 0.75), 150)
    if rng.random() < 0.4:
        motif(body, rng, 0, -0.28, 0.1, paint(rng))
    covered = rng.random() < 0.25
    if rng.random() < 0.6 or covered:
        body.fill(mirrored([(0.08, -0.98), (0.17, -0.82), (0.17, rng.uniform(-0.68, -0.42))]), hair, rounds=2)
    body.oval(0, -0.77, 0.095, 0.135, skin)
    for side in (-1, 1):
        body.oval(side * 0.038, -0.78, 0.012, 0.01, INK)
    body.line([(-0.03, -0.7), (0.03, -0.7)], 0.012, (170, 80, 80))
    body.fill(mirrored([(0.05, -0.97), (0.13, -0.86), (0.08, -0.83)]), shade(hair, 1.2), rounds=2)
    s.place(body, np.array([[1.9, 0, 0], [0, 1.9, 0.95]]) if near else np.eye(2, 3))
    if near:
        s.keep_within(0, -1, -1, 1, 1)


def garment(s: Sketch, rng: Rng) -> None:
    """A hoodie, sweater or T-shirt, laid flat, or a dress."""
    colour, flare, sleeve = paint(rng), rng.uniform(-0.05, 0.12), rng.choice([-0.05, 0.75, 0.8])
    out = 0.78 if sleeve < 0 else rng.uniform(0.72, 0.98)
    arm = [(0.42, -0.66), (out, sleeve - 0.08), (out - 0.22, sleeve), (0.4, -0.2)]
    for side in (-1, 1):
        s.fill(np.array(arm) * (side, 1), shade(colour, 0.86 + 0.05 * side))
        s.line(np.array(arm[1:3]) * (side, 1), 0.06, shade(colour, 0.7))
    s.fill(mirrored([(0.16, -0.74), (0.46, -0.62), (0.45, 0), (0.45 + flare, 0.82)]), colour)
    s.line([(-0.45 - flare, 0.8), (0.45 + flare, 0.8)], 0.07, shade(colour, 0.75))
    if rng.random() < 0.55:
        s.fill(mirrored([(0.15, -0.98), (0.3, -0.8), (0.16, -0.56)]), shade(colour, 0.9), rounds=1)
        s.fill(mirrored([(0.08, -0.88), (0.17, -0.76), (0.03, -0.55)]), shade(colour, 0.5), rounds=1)
        s.fill(mirrored([(0.2, 0.3), (0.32, 0.6)]), shade(colour, 0.88))
    else:
        s.oval(0, -0.74, 0.17, 0.1, shade(colour, 0.55))
    for fold in rng.uniform(-0.4, 0.4, 5):
        s.line([(fold, 0.7), (fold * 0.8, rng.uniform(0.1, 0.5))], 0.03, shade(colour, 0.8), 130)
    if rng.random() < 0.35:
        picture(s, rng, -0.24, -0.4, 0.24, 0.15)
    elif rng.random() < 0.7:
        motif(s, rng, 0, -0.2, 0.2, paint(rng))
        lettering(s, rng, 0, 0.12, 0.5, 0.13, paint(rng))


def shoe(s: Sketch, rng: Rng) -> None:
    """A pair of shoes or ankle boots, seen from the side."""
    colour, sole = paint(rng), pick(rng, [WHITE, INK, CREAM])
    ankle, thick = rng.uniform(-0.75, -0.4), rng.uniform(0.08, 0.2)
    outline = [
        (-0.9, ankle + 0.12),
        (-0.6, ankle),
        (-0.28, ankle + 0.08),
        (0.1, -0.05),
        (0.7, 0.1),
        (0.9, 0.35),
    ]
    for dx, dy, light in ((0.12, -0.3, 0.75), (0, 0.1, 1.0)):
        s.fill(moved([*outline, (-0.9, 0.35)], dx, dy), shade(colour, light), rounds=2)
        s.box(-0.92 + dx, 0.24 + dy, 0.92 + dx, 0.24 + thick + dy, shade(sole, light), 0.08)
        for x in np.linspace(-0.25, 0.2, 4):
            lace = [(x, -0.25 + 0.5 * (x + 0.3)), (x - 0.18, -0.1 + 0.4 * (x + 0.3))]
            s.line(moved(lace, dx, dy), 0.05, sole)
        s.fill(moved([(-0.7, 0.15), (-0.3, -0.15), (0.35, 0.15)], dx, dy), shade(sole, 0.8 * light), 200, 1)


def bag(s: Sketch, rng: Rng) -> None:
    """A tote bag, a handbag or a rucksack."""
    colour = pick(rng, [CREAM, CREAM, WOOD, paint(rng)])
    wide, top, foot = rng.uniform(0.5, 0.8), rng.uniform(-0.35, 0.0), rng.uniform(0.95, 1.1)
    lift = rng.uniform(0.5, 0.95)
    for depth in (0.7, 1.0):
        handle = mirrored([(0, top - lift), (0.2 * wide, top - lift + 0.04), (0.45 * wide, top + 0.05)])
        s.line(moved(np.roll(handle, 3, axis=0), 0.06 * (1 - depth), 0), 0.08, shade(colour, 0.9 * depth))
    s.fill(mirrored([(wide, top), (wide * foot, 0.9)]), colour)
    s.line([(-wide, top + 0.06), (wide, top + 0.06)], 0.03, shade(colour, 0.8))
    kind = rng.integers(4)
    if kind == 0:
        s.fill(mirrored([(wide, top), (0.9 * wide, 0.3), (0.2, 0.42)]), shade(colour, 0.85), rounds=1)
        s.box(-0.08, 0.25, 0.08, 0.45, GOLD, 0.04)
    elif kind == 1:
        pattern(s, rng, -0.9 * wide, top + 0.15, 0.9 * wide, 0.85)
    elif kind == 2:
        picture(s, rng, -0.6 * wide, top + 0.2, 0.6 * wide, 0.75)
    else:
        motif(s, rng, 0, 0.3, 0.3, paint(rng))
        lettering(s, rng, 0, 0.72, wide, 0.14, paint(rng))


def jewellery(s: Sketch, rng: Rng) -> None:
    """A bracelet or a necklace, often on a tray."""
    metal = pick(rng, [GOLD, GOLD, (200, 200, 205), (190, 120, 100)])
    if rng.random() < 0.5:
        tray = paint(rng, (0.02, 0.3), (0.5, 0.95))
        s.box(-1, -0.9, 1, 0.9, tray, 0.08)
        s.box(-0.88, -0.78, 0.88, 0.78, shade(tray, 0.85), 0.05)
    count, open_end = int(rng.integers(26, 44)), rng.uniform(0, 1.2)
    turns = np.linspace(open_end, 2 * np.pi - open_end, count) - np.pi / 2
    radii = rng.uniform(0.45, 0.7, 2)
    size = rng.uniform(0.03, 0.07)
    for x, y in np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii:
        s.oval(x + 0.01, y + 0.02, size, size, shade(metal, 0.5))
        s.oval(x, y, size, size * 0.8, metal)
        s.oval(x - 0.3 * size, y - 0.3 * size, 0.35 * size, 0.3 * size, WHITE)
    if rng.random() < 0.7:
        motif(s, rng, 0, radii[1] + 0.1, rng.uniform(0.1, 0.2), pick(rng, [metal, paint(rng)]))


def phone_case(s: Sketch, rng: Rng) -> None:
    colour, wide = paint(rng), rng.uniform(0.44, 0.52)
    s.box(-wide - 0.03, -0.98, wide + 0.03, 0.98, shade(colour, 0.6), 0.2)
    s.box(-wide, -0.95, wide, 0.95, colour, 0.18)
    pattern(s, rng, -0.9 * wide, -0.85, 0.9 * wide, 0.85)
    s.box(-wide + 0.05, -0.9, -wide + 0.45, -0.5, shade(colour, 0.75), 0.12)
    for x, y in ((0.15, -0.8), (0.15, -0.6), (0.34, -0.7)):
        s.oval(-wide + x, y, 0.085, 0.085, INK)
        s.oval(-wide + x - 0.02, y - 0.02, 0.03, 0.03, (120, 130, 150))


def sleeve(s: Sketch, rng: Rng) -> None:
    """A laptop sleeve."""
    colour, high = paint(rng), rng.uniform(0.6, 0.72)
    s.box(-1, -high, 1, high, colour, 0.1)
    pattern(s, rng, -0.94, -high + 0.12, 0.94, high - 0.06)
    s.line([(-0.95, -high + 0.07), (0.95, -high + 0.07)], 0.03, shade(colour, 0.45))
    s.box(0.8, -high + 0.03, 0.9, -high + 0.2, pick(rng, [GOLD, WHITE, INK]), 0.03)
    s.box(-0.9, high - 0.25, -0.65, high - 0.1, INK)


def sticker(s: Sketch, rng: Rng) -> None:
    x, y = rng.uniform(-0.1, 0.1, 2)
    s.oval(x, y, 0.9, 0.8, shade(WHITE, 0.96)) if rng.random() < 0.5 else s.box(-0.9, -0.8, 0.9, 0.85, WHITE, 0.3)
    motif(s, rng, x, y - 0.1, 0.6, paint(rng))
    lettering(s, rng, x, y + 0.55, 0.9, 0.2, pick(rng, [INK, paint(rng)]))


def plush(s: Sketch, rng: Rng) -> None:
    """A crocheted animal."""
    colour, belly = paint(rng), paint(rng)
    for side in (-1, 1):
        s.oval(side * 0.28, -0.75, 0.12, rng.uniform(0.12, 0.3), shade(colour, 0.85))
        s.line([(side * 0.25, 0.15), (side * 0.55, 0.35)], 0.2, shade(colour, 0.9))
        s.oval(side * 0.26, 0.85, 0.2, 0.16, shade(colour, 0.8))
    s.oval(0, 0.4, 0.42, 0.5, colour)
    s.oval(0, 0.48, 0.25, 0.33, belly)
    s.oval(0, -0.35, 0.45, 0.42, colour)
    for side in (-1, 1):
        s.oval(side * 0.17, -0.4, 0.055, 0.065, INK)
        s.oval(side * 0.28, -0.24, 0.07, 0.05, (235, 140, 140))
    s.line([(-0.1, -0.22), (0, -0.16), (0.1, -0.22)], 0.03, INK)


def frame(s: Sketch, rng: Rng) -> None:
    """A painting or print in a frame, or a bare canvas."""
    wide, high = rng.uniform(0.6, 1, 2)
    edge, wood = rng.uniform(0.0, 0.14), pick(rng, [WOOD, INK, WHITE, GOLD])
    s.box(-wide, -high, wide, high, wood)
    s.line([(-wide, high), (-wide, -high), (wide, -high)], 0.03, shade(wood, 1.3))
    mat = edge + rng.choice([0.0, 0.0, 0.15])
    s.box(-wide + edge, -high + edge, wide - edge, high - edge, shade(WHITE, 0.97))
    picture(s, rng, -wide + mat, -high + mat, wide - mat, high - mat)


def plate(s: Sketch, rng: Rng) -> None:
    """A painted slice of wood, a plate or a palette."""
    wood, wide = pick(rng, [WOOD, WOOD, CREAM, paint(rng)]), rng.uniform(0.7, 0.95)
    ring = np.stack([np.cos(_TURN) * 0.95, np.sin(_TURN) * wide], axis=1)
    s.fill(ring * (1 + rng.normal(0, 0.02, (32, 1))), shade(wood, 0.7))
    s.oval(0, 0, 0.88, 0.93 * wide, wood)
    if rng.random() < 0.35:
        for x, y in 0.65 * _CIRCLE[2:22:3] * (1, wide):
            s.fill(rng.normal((x, y), 0.09, (7, 2)), paint(rng), rounds=2)
        s.oval(0.35, -0.35, 0.12, 0.1, INK)
        return
    inside = Sketch()
    picture(inside, rng, -1, -1, 1, 1)
    for shape in inside.shapes:
        away = np.linalg.norm(shape.points, axis=1, keepdims=True)
        points = shape.points / np.maximum(away, 1.0) * (0.8, 0.8 * wide)
        s.shapes.append(replace(shape, points=points, width=0.8 * shape.width))


def bottle(s: Sketch, rng: Rng) -> None:
    """A bottle with a pump, a dropper or a plain cap."""
    colour, cap = paint(rng), pick(rng, [INK, WHITE, GOLD, paint(rng)])
    wide, top = rng.uniform(0.22, 0.42), rng.uniform(-0.45, -0.2)
    if rng.random() < 0.4:
        s.line([(0, top - 0.2), (0, top - 0.5), (-0.3, top - 0.47)], 0.08, cap)
    cylinder(s, -0.4 * wide, 0.4 * wide, top - 0.32, top + 0.05, cap)
    s.fill(mirrored([(0.35 * wide, top - 0.06), (wide, top + 0.08)]), shade(colour, 0.8))
    cylinder(s, -wide, wide, top + 0.06, 0.9, colour)
    tag = shade(WHITE if sum(colour) < 400 or rng.random() < 0.5 else colour, 0.95)
    s.box(-0.75 * wide, top + 0.3, 0.75 * wide, 0.7, tag, 0.02, alpha=225)
    lettering(s, rng, 0, top + 0.45, wide, 0.1, INK)
    small_print(s, 0, top + 0.58, wide, 3, INK)


def jar(s: Sketch, rng: Rng) -> None:
    """A jar of cream or spread, or a candle."""
    colour, lid = paint(rng), pick(rng, [INK, WHITE, GOLD, (190, 190, 190), paint(rng)])
    wide, top = rng.uniform(0.5, 0.85), rng.uniform(-0.35, 0.1)
    cylinder(s, -wide, wide, top, 0.7, colour, rng.uniform(0, 0.08))
    if rng.random() < 0.8:
        cylinder(s, -1.03 * wide, 1.03 * wide, top - rng.uniform(0.2, 0.35), top + 0.03, lid)
    else:
        s.oval(0, top, 0.9 * wide, 0.055 * wide, (240, 225, 190))
        s.fill(mirrored([(0, top - 0.3), (0.06, top - 0.12), (0, top - 0.02)]), (255, 200, 90), rounds=1)
    tag = pick(rng, [WHITE, CREAM, paint(rng)])
    s.box(-0.6 * wide, top + 0.2, 0.6 * wide, 0.6, tag, 0.03)
    lettering(s, rng, 0, top + 0.32, 0.9 * wide, 0.12, INK if sum(tag) > 380 else WHITE)
    small_print(s, 0, top + 0.45, 0.9 * wide, 2, INK if sum(tag) > 380 else WHITE)


def roller(s: Sketch, rng: Rng) -> None:
    """A face roller or a hair brush."""
    colour = pick(rng, [(130, 170, 120), (235, 180, 180), WOOD])
    metal, wide, thick = pick(rng, [GOLD, (190, 190, 195)]), rng.uniform(0.28, 0.42), rng.uniform(0.1, 0.18)
    s.line([(0, -0.4), (0, 0.75)], thick, colour)
    s.line([(0.02, -0.35), (0.02, 0.7)], 0.25 * thick, shade(colour, 1.3))
    if rng.random() < 0.6:
        for y, size in ((-0.75, wide), (0.9, 0.55 * wide)):
            s.line([(-size, y), (-size, 0.8 * y), (size, 0.8 * y), (size, y)], 0.035, metal)
            s.oval(0, y, 0.9 * size, 0.38 * size, colour)
            s.oval(-0.1 * size, y - 0.1 * size, 0.5 * size, 0.1 * size, shade(colour, 1.35))
        return
    s.oval(0, -0.45, 1.1 * wide, 0.55, colour)
    s.oval(0, -0.45, 0.85 * wide, 0.45, shade(colour, 0.6))
    bristles = _CIRCLE[:, None] * np.array([0.2, 0.45, 0.7])[None, :, None] * (wide, 0.5)
    for x, y in bristles.reshape(-1, 2):
        s.oval(x, y - 0.45, 0.018, 0.018, INK)


def carton(s: Sketch, rng: Rng, food: float = 0.3) -> None:
    """A box: of a game, of flakes, of cream."""
    face, ground = front(rng, food)
    wide, high, depth = rng.uniform(0.4, 0.75), rng.uniform(0.4, 0.85), rng.uniform(0.1, 0.4)
    slant, lift = rng.uniform(0.5, 0.9) * depth, rng.uniform(0.3, 0.6) * depth
    s.place(face, np.array([[wide, 0, -slant / 2], [0, high, lift / 2]]))
    side = Sketch()
    side.box(-1, -1, 1, 1, ground)
    small_print(side, 0, -0.5, 1.4, 12, INK, 0.1)
    s.place(side, np.array([[slant / 2, 0, wide], [-lift / 2, high, 0]]), 0.65)
    s.place(front(rng, 0)[0], np.array([[wide, -slant / 2, 0], [0, lift / 2, -high]]), 1.1)


def game(s: Sketch, rng: Rng) -> None:
    """A game: its box with cards and dice before it."""
    box, hand = Sketch(), Sketch()
    carton(box, rng, food=0.05)
    s.place(box, np.array([[0.9, 0, 0], [0, 0.8, -0.15]]))
    cards(hand, rng)
    s.place(hand, np.array([[0.4, 0, rng.uniform(-0.6, 0.1)], [0, 0.4, 0.65]]))
    for x in rng.uniform(0.2, 0.8, 2):
        colour, y = pick(rng, [WHITE, (200, 50, 45), INK]), rng.uniform(0.65, 0.9)
        s.box(x - 0.09, y - 0.09, x + 0.09, y + 0.09, colour, 0.03)
        for step in (-0.045, 0, 0.045):
            s.oval(x + step, y + step, 0.018, 0.018, INK if sum(colour) > 380 else WHITE)


def food_carton(s: Sketch, rng: Rng) -> None:
    carton(s, rng, food=0.85)


def cards(s: Sketch, rng: Rng) -> None:
    """A fan or a row of playing cards."""
    count, (back, _) = int(rng.integers(2, 6)), front(rng, 0.1)
    spread = rng.uniform(0.1, 0.35)
    for index in range(count):
        angle = (index - (count - 1) / 2) * spread
        cos, sin, x = np.cos(angle), np.sin(angle), (index - (count - 1) / 2) * 0.3
        place = np.array([[cos, -sin, x], [sin, cos, 0.15 * abs(x)]])
        card = Sketch()
        card.box(-0.4, -0.62, 0.4, 0.62, WHITE, 0.08)
        face = back if rng.random() < 0.5 else front(rng, 0.1)[0]
        card.place(face, np.array([[0.34, 0, 0], [0, 0.56, 0]]))
        s.place(card, place, rng.uniform(0.85, 1.0))


def board(s: Sketch, rng: Rng) -> None:
    """A board game: squares, with pieces and dice on it."""
    count, dark, light = int(rng.integers(5, 9)), paint(rng), pick(rng, [CREAM, WHITE, paint(rng)])
    s.box(-1, -0.95, 1, 0.95, pick(rng, [WOOD, INK]), 0.05)
    step = 1.8 / count
    for row, column in np.ndindex(count, count):
        x, y = -0.9 + column * step, -0.88 + row * 0.98 * step
        s.box(x, y, x + step, y + step, (dark, light)[(row + column) % 2])
    for x, y in rng.uniform(-0.8, 0.8, (int(rng.integers(3, 12)), 2)):
        s.oval(x, y + 0.03, 0.08, 0.06, INK)
        s.oval(x, y - 0.02, 0.08, 0.07, paint(rng))
    s.box(0.5, 0.4, 0.75, 0.65, WHITE, 0.05)
    for x, y in ((0.56, 0.46), (0.625, 0.525), (0.69, 0.59)):
        s.oval(x, y, 0.025, 0.025, INK)


def macrame(s: Sketch, rng: Rng) -> None:
    """A knotted wall hanging on a rod."""
    cord, count = pick(rng, [CREAM, CREAM, (205, 180, 150), WHITE]), int(rng.integers(16, 30))
    s.line([(-0.95, -0.8), (0, -0.98), (0.95, -0.8)], 0.025, cord)
    xs = np.linspace(-0.8, 0.8, count)
    lengths = 0.9 - rng.uniform(0.3, 1.0) * np.abs(xs) + rng.normal(0, 0.03, count)
    for x, end in zip(xs, lengths, strict=True):
        s.line([(x, -0.78), (x + rng.normal(0, 0.015), end)], 1.1 / count, shade(cord, rng.uniform(0.65, 1.05)))
    for row in range(int(rng.integers(2, 5))):
        deep = -0.6 + 0.2 * row
        zigzag = np.stack([xs, deep + 0.12 * np.abs((np.arange(count) % 8) - 4) / 2], axis=1)
        s.line(zigzag, 0.05, shade(cord, 0.75))
        s.line(zigzag - (0, 0.02), 0.03, shade(cord, 1.08))
    s.line([(-1, -0.8), (1, -0.8)], 0.06, WOOD)


def mirror(s: Sketch, rng: Rng) -> None:
    wide, high, rim = rng.uniform(0.55, 0.9), rng.uniform(0.8, 0.98), pick(rng, [GOLD, WOOD, CREAM, INK])
    if rng.random() < 0.5:
        for x, y in _CIRCLE * (wide, high):
            s.oval(x, y, 0.11, 0.11, shade(rim, rng.uniform(0.8, 1.1)))
    s.oval(0, 0, wide, high, rim)
    glass = paint(rng, (0.02, 0.2), (0.6, 0.9))
    for step in range(6):
        s.oval(0, 0, (0.88 - 0.06 * step) * wide, (0.9 - 0.06 * step) * high, shade(glass, 0.85 + 0.04 * step))
    for x in (-0.25, 0.0):
        s.line([(x * wide, 0.5 * high), ((x + 0.5) * wide, -0.55 * high)], 0.08, WHITE, 120)


def cushion(s: Sketch, rng: Rng) -> None:
    colour, wide = paint(rng, (0.1, 0.6)), rng.uniform(0.8, 1)
    s.fill(mirrored([(0, -0.72), (wide, -0.85), (0.9 * wide, 0), (wide, 0.85), (0, 0.72)]), colour, rounds=1)
    pattern(s, rng, -0.75 * wide, -0.65, 0.75 * wide, 0.65)
    for x, y in np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)]) * (0.88 * wide, 0.76):
        s.line([(x, y), (1.12 * x, 1.15 * y)], 0.08, shade(colour, 0.8))


def lamp(s: Sketch, rng: Rng) -> None:
    colour, cloth = paint(rng), pick(rng, [CREAM, WHITE, (225, 150, 110), paint(rng)])
    wide, belly = rng.uniform(0.5, 0.75), rng.uniform(0.12, 0.35)
    s.fill(mirrored([(0.06, -0.1), (belly, 0.3), (0.12, 0.8), (0.3, 0.88)]), colour, rounds=1)
    s.fill(np.array([(-0.5, 0.1), (-0.15, 0.3), (-0.4, 0.75)]) * (belly, 1), shade(colour, 1.4), 140, 1)
    s.box(-0.3, 0.84, 0.3, 0.92, shade(colour, 0.6), 0.03)
    folds, slope = np.linspace(-1, 1, 15), rng.uniform(0.45, 0.7)
    for index, (left, right) in enumerate(itertools.pairwise(folds)):
        strip = [
            (left * wide * slope, -0.95),
            (right * wide * slope, -0.95),
            (right * wide, -0.1),
            (left * wide, -0.1),
        ]
        s.fill(strip, shade(cloth, (1.08 if index % 2 else 0.94) - 0.3 * left**2))


def mug(s: Sketch, rng: Rng) -> None:
    colour, wide = pick(rng, [WHITE, WHITE, paint(rng)]), rng.uniform(0.5, 0.62)
    s.line(
        moved([(0, -0.35), (0.35, -0.3), (0.38, 0.2), (0, 0.4)], wide - 0.02, 0),
        0.12,
        shade(colour, 0.8),
    )
    cylinder(s, -wide, wide, -0.65, 0.7, colour, rng.uniform(0, 0.12))
    s.oval(0, -0.65, 0.92 * wide, 0.09 * wide, pick(rng, [(80, 50, 35), shade(colour, 0.6)]))
    motif(s, rng, 0, 0.02, 0.3, paint(rng))
    lettering(s, rng, 0, 0.48, 0.7, 0.13, paint(rng))


def basket(s: Sketch, rng: Rng) -> None:
    cane, wide, top = (
        pick(rng, [WOOD, CREAM, (200, 160, 110)]),
        rng.uniform(0.65, 0.9),
        rng.uniform(-0.3, 0.1),
    )
    s.line([(-0.6 * wide, top), (-0.4 * wide, top - 0.6), (0.4 * wide, top - 0.6), (0.6 * wide, top)], 0.08, cane)
    s.oval(0, top, wide, 0.14, shade(cane, 0.45))
    rows, columns = int(rng.integers(6, 10)), 14
    for row, column in np.ndindex(rows, columns):
        narrow = wide * (1 - 0.25 * row / rows)
        x, y = (
            narrow * (2 * (column + 0.5 * (row % 2)) / columns - 0.96),
            top + (0.85 - top) * (row + 0.5) / rows,
        )
        light = (0.8 + 0.25 * ((row + column) % 2)) * (1.1 - 0.4 * abs(x / wide))
        s.oval(x, y + 0.1 * (1 - (x / wide) ** 2), 1.1 * narrow / columns, 0.5 / rows, shade(cane, light))


def chip_bag(s: Sketch, rng: Rng) -> None:
    """A pillow bag of crisps, or lying down, a packet of biscuits."""
    face, ground = front(rng, 0.9)
    wide = rng.uniform(0.6, 0.75)
    s.fill(
        mirrored([(wide, -0.95), (0.93 * wide, -0.7), (0.97 * wide, 0), (0.93 * wide, 0.7), (wide, 0.95)]),
        ground,
    )
    s.place(face, np.array([[0.93 * wide, 0, 0], [0, 0.8, 0]]))
    for end in (-0.91, 0.85):
        for y in end + np.arange(3) * 0.03:
            s.line([(-0.97 * wide, y), (0.97 * wide, y)], 0.015, shade(ground, 0.6))
    for x, glow in ((-0.82, WHITE), (-0.72, INK), (0.75, WHITE), (0.88, INK)):
        bend = rng.uniform(-0.06, 0.06, 5) + x
        s.line(np.stack([bend * wide, np.linspace(-0.75, 0.75, 5)], axis=1), 0.06, glow, 70)


def biscuits(s: Sketch, rng: Rng) -> None:
    """A packet of biscuits, with two of them in front."""
    lying, brown = Sketch(), pick(rng, [(120, 75, 45), (205, 150, 80)])
    chip_bag(lying, rng)
    s.place(lying, np.array([[0, 1.05, 0], [-0.85, 0, -0.15]]) if rng.random() < 0.5 else np.eye(2, 3))
    for x in rng.uniform(-0.5, 0.6, 2):
        s.oval(x, 0.63, 0.32, 0.26, shade(brown, 0.6))
        s.oval(x, 0.59, 0.32, 0.25, brown)
        for dx, dy in rng.uniform(-0.16, 0.16, (6, 2)):
            s.oval(x + dx, 0.59 + dy, 0.035, 0.03, shade(brown, 0.5))


def notebook(s: Sketch, rng: Rng) -> None:
    face, ground = front(rng, 0.05)
    wide = rng.uniform(0.62, 0.78)
    s.box(-wide + 0.05, -0.9, wide + 0.07, 0.98, shade(WHITE, 0.85), 0.05)
    s.box(-wide, -0.95, wide, 0.93, ground, 0.06)
    s.place(face, np.array([[0.96 * wide, 0, 0.02], [0, 0.88, 0]]))
    if rng.random() < 0.45:
        for y in np.linspace(-0.85, 0.83, 16):
            s.oval(-wide + 0.07, y, 0.03, 0.025, INK)
            s.line([(-wide + 0.07, y), (-wide - 0.07, y - 0.02)], 0.03, (150, 150, 155))
    elif rng.random() < 0.5:
        s.line([(0.75 * wide, -0.95), (0.75 * wide, 0.93)], 0.06, shade(paint(rng), 0.7))


def planner(s: Sketch, rng: Rng) -> None:
    """A calendar page or a sheet of stickers."""
    wide, ink = rng.uniform(0.65, 1), paint(rng)
    s.box(-wide, -0.95, wide, 0.95, pick(rng, [WHITE, CREAM]), 0.03)
    lettering(s, rng, 0, -0.75, wide, 0.18, ink)
    rows, columns, stickers = int(rng.integers(3, 7)), int(rng.integers(3, 7)), rng.random() < 0.5
    for row, column in np.ndindex(rows, columns):
        x, y = 1.8 * wide * ((column + 0.5) / columns - 0.5), -0.55 + 1.4 * (row + 0.5) / rows
        half_wide, half_high = 0.8 * wide / columns, 0.62 / rows
        if stickers:
            motif(s, rng, x, y, min(half_wide, half_high), paint(rng))
            continue
        s.box(x - half_wide, y - half_high, x + half_wide, y + half_high, shade(ink, 1.2), 0.02, alpha=90)
        small_print(s, x, y - 0.3 * half_high, 1.3 * half_wide, 2, INK, 0.5 * half_high)


def pens(s: Sketch, rng: Rng) -> None:
    count = int(rng.integers(2, 6))
    for index in range(count):
        x, colour = 1.5 * ((index + 0.5) / count - 0.5), paint(rng)
        lean, wide = rng.normal(0, 0.08), rng.uniform(0.06, 0.09)
        for part, light in ((-0.6, 0.8), (0, 1.15), (0.6, 0.7)):
            ends = [(x + lean + part * wide, -0.85), (x - lean + part * wide, 0.7)]
            s.line(ends, 0.7 * wide, shade(colour, light))
        s.fill(
            moved([(-wide, 0.7), (wide, 0.7), (0, 0.98)], x - lean, 0),
            pick(rng, [(225, 190, 140), GOLD]),
        )
        s.box(x + lean - wide, -0.95, x + lean + wide, -0.82, shade(colour, 0.5), 0.03)


def sprig(s: Sketch, rng: Rng) -> None:
    """Clutter: a twig with leaves."""
    green, bend = paint(rng, (0.2, 0.6), (0.3, 0.7)), rng.uniform(-0.5, 0.5)
    for turn in np.linspace(-0.9, 0.8, 7):
        x = bend * turn**2
        for side in (-1, 1):
            leaf = np.array([(0, 0), (0.25 * side, -0.22), (0.5 * side, -0.2), (0.3 * side, 0)])
            s.fill(moved(leaf, x, turn), shade(green, rng.uniform(0.8, 1.2)), rounds=2)
    s.line([(bend, -1), (0, 0), (bend, 1)], 0.04, shade(green, 0.6))


def sweets(s: Sketch, rng: Rng) -> None:
    """Clutter: pebbles, beads or sweets."""
    for x, y in rng.uniform(-0.9, 0.9, (9, 2)):
        colour = paint(rng)
        s.oval(x, y, 0.2, 0.17, shade(colour, 0.8))
        s.oval(x - 0.04, y - 0.04, 0.14, 0.1, shade(colour, 1.15))


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of product is drawn and shown.

    ``stands`` is true for what is seen upright, from the front, and false for what may lie about at any
    angle; ``cloth`` gives the surface folds and a weave.
    """

    draw: Callable[[Sketch, Rng], None]
    stands: bool = True
    cloth: bool = False


KINDS: dict[str, Kind] = {
    "person": Kind(person, cloth=True),
    "garment": Kind(garment, cloth=True),
    "shoe": Kind(shoe, stands=False),
    "bag": Kind(bag, stands=False, cloth=True),
    "jewellery": Kind(jewellery, stands=False),
    "phone_case": Kind(phone_case, stands=False),
    "sleeve": Kind(sleeve, stands=False, cloth=True),
    "sticker": Kind(sticker, stands=False),
    "plush": Kind(plush, stands=False, cloth=True),
    "frame": Kind(frame),
    "plate": Kind(plate, stands=False),
    "bottle": Kind(bottle),
    "jar": Kind(jar),
    "roller": Kind(roller, stands=False),
    "carton": Kind(carton),
    "game": Kind(game),
    "food_carton": Kind(food_carton),
    "cards": Kind(cards, stands=False),
    "board": Kind(board, stands=False),
    "macrame": Kind(macrame, cloth=True),
    "mirror": Kind(mirror),
    "cushion": Kind(cushion, stands=False, cloth=True),
    "lamp": Kind(lamp),
    "mug": Kind(mug),
    "basket": Kind(basket, cloth=True),
    "chip_bag": Kind(chip_bag, stands=False),
    "biscuits": Kind(biscuits, stands=False),
    "notebook": Kind(notebook, stands=False),
    "planner": Kind(planner, stands=False),
    "pens": Kind(pens, stands=False),
}
