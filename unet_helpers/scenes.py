"""Drawn backgrounds: a gradient, a showroom, and a street whose every pixel is known.

Nothing in here is photographed. Lengths are shares of the picture's height, x from the left and y
from the top, so that a scene looks the same at every size.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from .environment import CourseError

Colour = tuple[int, int, int]
Point = tuple[float, float]

# What a street can hold, in the order in which it is drawn. A pixel of thing number i has the
# label i; 0 is the sky.
STREET = ("road", "houses", "trees", "people", "parked cars")
FINER = 3  # drawn so many times larger, then averaged: that smooths the edges
HORIZON, KERB = 0.47, 0.58

PLASTER = ((201, 170, 140), (176, 98, 76), (222, 214, 196), (141, 152, 160), (196, 148, 92))
CLOTHES = ((170, 40, 50), (35, 60, 120), (210, 160, 40), (60, 60, 65), (70, 120, 90))
PAINTS = ((150, 30, 35), (40, 70, 120), (190, 192, 196), (45, 48, 52), (205, 190, 160))


class _Canvas:
    """A picture and its labels, drawn together: what covers a pixel in one does in the other."""

    def __init__(self, size: tuple[int, int]) -> None:
        check_size(size)
        self.size, self.unit = size, size[0] * FINER
        self.right = size[1] / size[0]  # x of the right edge
        self.picture = np.zeros((size[0] * FINER, size[1] * FINER, 3), np.uint8)
        self.labels = np.zeros(self.picture.shape[:2], np.uint8)
        self.label = 0

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        corners = np.rint(np.array(list(points)) * self.unit).astype(np.int32)
        cv2.fillPoly(self.picture, [corners], colour)
        cv2.fillPoly(self.labels, [corners], self.label)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        x2, y2 = x + width, y + height
        self.polygon([(x, y), (x2, y), (x2, y2), (x, y2)], colour)

    def ellipse(self, x: float, y: float, across: float, down: float, colour: Colour) -> None:
        """Centre and the two radii."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.polygon(zip(x + across * np.cos(turn), y + down * np.sin(turn), strict=True), colour)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        width_height = self.size[::-1]
        picture = cv2.resize(self.picture, width_height, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(self.labels, width_height, interpolation=cv2.INTER_NEAREST_EXACT)
        return picture, labels


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> np.ndarray:
    """One colour that turns into another from the top down, RGB uint8 (H, W, 3).

    size: (height, width). top, bottom: RGB, each 0 to 255. Raises CourseError for a size below 1.
    """
    check_size(size)
    down = np.linspace(0, 1, size[0])[:, None, None]  # (H, 1, 1)
    rows = (1 - down) * np.array(top) + down * np.array(bottom)  # (H, 1, 3)
    return np.repeat(np.rint(rows), size[1], axis=1).astype(np.uint8)


def draw_showroom(size: tuple[int, int]) -> np.ndarray:
    """A dark showroom with lamps, lit panels and a polished floor, RGB uint8 (H, W, 3).

    size: (height, width). Raises CourseError for a size below 1.
    """
    canvas = _Canvas(size)
    foot = 0.6
    rows = canvas.picture.shape[0]
    split = round(foot * rows)
    canvas.picture[:split] = gradient((split, canvas.picture.shape[1]), (22, 26, 36), (58, 66, 84))
    lights = _Canvas(size)
    for middle in np.linspace(0.12, 0.88, 4) * canvas.right:
        lights.box(middle - 0.1, 0.12, 0.2, 0.4, (120, 104, 78))
        lights.box(middle - 0.006, 0.12, 0.012, 0.4, (20, 20, 20))
    for middle in np.linspace(0.2, 0.8, 3) * canvas.right:
        lights.ellipse(middle, 0.045, 0.13, 0.016, (255, 246, 225))
    glow = cv2.GaussianBlur(lights.picture, (0, 0), 0.03 * canvas.unit)
    canvas.picture[:split] = cv2.add(canvas.picture, cv2.add(lights.picture, glow // 2))[:split]
    # A polished floor shows the wall upside down, fainter the nearer it lies.
    mirrored = cv2.GaussianBlur(canvas.picture[:split][::-1], (0, 0), 0.02 * canvas.unit)
    floor = gradient((rows - split, canvas.picture.shape[1]), (46, 50, 58), (96, 100, 108))
    share = np.linspace(0.5, 0.05, rows - split)[:, None, None]
    reflected = cv2.resize(mirrored, floor.shape[1::-1])
    canvas.picture[split:] = np.rint(share * reflected + (1 - share) * floor).astype(np.uint8)
    return canvas.finish()[0]


def draw_street(
    size: tuple[int, int], things: Iterable[str] = STREET, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A street in daylight, drawn: the picture, RGB uint8 (H, W, 3), and labels, uint8 (H, W).

    size: (height, width). things: which of STREET to draw; the others are left out, and nothing
    else moves. seed: another street. A label is 0 for sky, else 1 plus the thing's place in STREET.
    Raises CourseError for a thing that no street has, or a size below 1.
    """
    wanted = set(things)
    if unknown := sorted(wanted - set(STREET)):
        mend = "leave it out, or draw it yourself"
        expected = f"some of: {', '.join(STREET)}"
        raise CourseError("things", expected=expected, found=", ".join(unknown), mend=mend)
    canvas = _Canvas(size)
    canvas.picture[:] = gradient(canvas.picture.shape[:2], (96, 150, 214), (214, 230, 244))
    for number, name in enumerate(STREET):
        if name in wanted:
            canvas.label = number + 1
            # Every thing has a random stream of its own: leaving one out moves no other.
            DRAW[name](canvas, np.random.default_rng([seed, number]))
    return canvas.finish()


def _draw_road(canvas: _Canvas, rng: np.random.Generator) -> None:
    canvas.box(0, HORIZON, canvas.right, 1, (168, 160, 150))  # pavement
    canvas.box(0, KERB, canvas.right, 1, (88, 90, 94))
    canvas.box(0, KERB, canvas.right, 0.012, (206, 202, 194))  # kerb stone
    start = rng.uniform(-0.2, 0)
    for x in np.arange(start, canvas.right, 0.42):
        corners = [(x, 0.93), (x + 0.24, 0.93), (x + 0.22, 0.955), (x - 0.03, 0.955)]
        canvas.polygon(corners, (225, 222, 210))
    top = round(HORIZON * canvas.unit)
    grain = rng.normal(0, 5, canvas.picture[top::FINER, ::FINER, :1].shape).astype(np.float32)
    grain = cv2.resize(grain, canvas.picture[top:].shape[1::-1])[..., None]
    canvas.picture[top:] = np.clip(canvas.picture[top:] + grain, 0, 255).astype(np.uint8)


def _draw_houses(canvas: _Canvas, rng: np.random.Generator) -> None:
    x = rng.uniform(-0.2, 0)
    while x < canvas.right:
        width, top = rng.uniform(0.26, 0.44), rng.uniform(0.06, 0.16)
        wall = PLASTER[rng.integers(len(PLASTER))]
        canvas.box(x, top, width, HORIZON - top, wall)
        roof = [(x - 0.01, top), (x + width + 0.01, top)]
        roof += [(x + width - 0.05, top - 0.09), (x + 0.05, top - 0.09)]
        canvas.polygon(roof, (104, 62, 52))
        _draw_windows(canvas, rng, x, top, width)
        canvas.box(x + 0.03, HORIZON - 0.11, 0.055, 0.11, (74, 52, 40))  # door
        x += width


def _draw_windows(
    canvas: _Canvas, rng: np.random.Generator, x: float, top: float, width: float
) -> None:
    columns = int(width / 0.09)
    for row in np.arange(top + 0.035, HORIZON - 0.16, 0.095):
        for column in range(columns):
            left = x + (column + 0.5) * width / columns - 0.024
            canvas.box(left - 0.005, row - 0.005, 0.058, 0.07, (236, 232, 222))
            shade = int(rng.integers(50, 100))
            canvas.box(left, row, 0.048, 0.06, (shade, shade + 14, shade + 30))


def _draw_trees(canvas: _Canvas, rng: np.random.Generator) -> None:
    for x in np.array([0.09, 0.42, 0.93]) * canvas.right + rng.uniform(-0.03, 0.03, 3):
        canvas.box(x - 0.012, 0.3, 0.024, KERB - 0.315, (86, 64, 46))
        for _ in range(45):
            angle, far = rng.uniform(0, 2 * np.pi), 0.11 * np.sqrt(rng.uniform())
            light = int(rng.integers(-22, 22))
            leaf = (58 + light, 104 + light, 50 + light)
            y = 0.24 + 0.9 * far * np.sin(angle)
            canvas.ellipse(x + far * np.cos(angle), y, 0.028, 0.026, leaf)


def _draw_people(canvas: _Canvas, rng: np.random.Generator) -> None:
    places = np.array([0.03, 0.2, 0.55, 0.84, 0.97]) * canvas.right
    for x, jacket in zip(places, rng.permutation(len(CLOTHES)), strict=True):
        foot, tall = rng.uniform(0.56, 0.62), rng.uniform(0.2, 0.24)
        dark = (44, 44, 56)
        for side in (-0.16, 0.04):
            canvas.box(x + side * tall, foot - 0.48 * tall, 0.12 * tall, 0.48 * tall, dark)
        body = [(-0.17, 0.45), (0.17, 0.45), (0.2, 0.8), (0.1, 0.86), (-0.1, 0.86), (-0.2, 0.8)]
        canvas.polygon([(x + dx * tall, foot - up * tall) for dx, up in body], CLOTHES[jacket])
        canvas.ellipse(x, foot - 0.93 * tall, 0.065 * tall, 0.085 * tall, (204, 160, 132))


# Outline of a car from the side, 0 to 1 along and upwards, and its two windows.
BODY = ((0, 0.12), (0, 0.45), (0.06, 0.55), (0.24, 0.6), (0.36, 0.95), (0.42, 1), (0.7, 1),
        (0.77, 0.95), (0.88, 0.62), (0.98, 0.55), (1, 0.4), (1, 0.12))  # fmt: skip
WINDOWS = (((0.29, 0.62), (0.39, 0.92), (0.53, 0.92), (0.53, 0.62)),
           ((0.56, 0.62), (0.56, 0.92), (0.71, 0.92), (0.82, 0.62)))  # fmt: skip


def _draw_parked_cars(canvas: _Canvas, rng: np.random.Generator) -> None:
    paints = rng.permutation(len(PAINTS))
    for place, paint in zip((-0.08, 0.3, 0.72, 0.9), paints, strict=False):
        x, foot = place * canvas.right + rng.uniform(-0.02, 0.02), 0.66
        long, tall = rng.uniform(0.42, 0.48), rng.uniform(0.15, 0.18)
        canvas.ellipse(x + long / 2, foot, 0.5 * long, 0.012, (52, 53, 56))  # shadow

        def place_points(points, x=x, foot=foot, long=long, tall=tall):
            return [(x + along * long, foot - up * tall) for along, up in points]

        canvas.polygon(place_points(BODY), PAINTS[paint])
        for window in WINDOWS:
            canvas.polygon(place_points(window), (58, 72, 86))
        for along in (0.19, 0.8):
            canvas.ellipse(x + along * long, foot - 0.17 * tall, 0.036, 0.036, (28, 28, 30))
            canvas.ellipse(x + along * long, foot - 0.17 * tall, 0.02, 0.02, (170, 172, 176))


DRAW = {
    "road": _draw_road,
    "houses": _draw_houses,
    "trees": _draw_trees,
    "people": _draw_people,
    "parked cars": _draw_parked_cars,
}


def check_size(size: tuple[int, int]) -> None:
    """Raises CourseError for anything but two whole numbers of at least 1."""
    if len(size) != 2 or not all(isinstance(n, int | np.integer) and n >= 1 for n in size):
        mend = "give (height, width), such as photo.shape[:2]"
        raise CourseError("size", expected="two whole numbers above 0", found=size, mend=mend)
