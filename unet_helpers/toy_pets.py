"""A few drawn animals in the file layout of Oxford-IIIT Pet: the loader's lesson without 0.8 GB.

They are no data set to learn from, and no stand-in for a score: they only make every line of
`pets.py` run, on files that lie and look like the real ones.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .pets import BACKGROUND, BASE, BORDER, PET

BREEDS = (("Abyssinian", 1), ("beagle", 2), ("Sphynx", 1), ("pug", 2))  # 1 cat, 2 dog
TEST_SHARE = 0.25
FURS = ((38, 34, 32), (92, 62, 40), (168, 116, 66), (204, 176, 140), (120, 116, 114))
EYES = (150, 190, 90)


def draw_pet(rng: np.random.Generator, dog: bool) -> tuple[np.ndarray, np.ndarray]:
    """A photo, RGB uint8 (H, W, 3) of a random size, and its trimap uint8 (H, W) of 1, 2 and 3."""
    width, height = (int(side) for side in rng.integers(150, 260, 2))
    fur = FURS[rng.integers(len(FURS))]
    bright = (150, 230) if sum(fur) < 330 else (20, 70)  # so that the animal can be seen at all
    walls = rng.integers(*bright, (2, 1)) + rng.integers(-20, 20, (2, 3))  # the wall, the floor
    rows = np.linspace(0, 1, height)[:, None, None] ** 2
    photo = walls[0] * (1 - rows) + walls[1] * rows + rng.normal(0, 6, (height, width, 3))
    canvas = Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8))
    shape = Image.new("L", (width, height), 0)
    shapes = _outline(rng, width, height, dog)
    for kind, points in shapes:
        for picture, colour in ((canvas, fur), (shape, 1)):
            getattr(ImageDraw.Draw(picture), kind)(points, fill=colour)
    left, top, right, bottom = shapes[1][1]  # the head
    for share in (0.32, 0.68):
        eye = _box(left + share * (right - left), (top + bottom) / 2, 3, 3)
        ImageDraw.Draw(canvas).ellipse(eye, fill=EYES)
    inside, kernel = np.asarray(shape), np.ones((3, 3), np.uint8)
    strip = cv2.dilate(inside, kernel, iterations=2) - cv2.erode(inside, kernel, iterations=2)
    trimap = np.where(strip > 0, BORDER, np.where(inside > 0, PET, BACKGROUND))
    soft = cv2.GaussianBlur(np.asarray(canvas), (0, 0), 1.0)
    return soft, trimap.astype(np.uint8)


def _outline(rng: np.random.Generator, width: int, height: int, dog: bool) -> list[tuple]:
    """Body, head and ears: what ImageDraw shall draw, and where."""
    size = min(width, height) * rng.uniform(0.22, 0.3)
    x, y = width * rng.uniform(0.4, 0.6), height * 0.62
    head = size * 0.62
    top = y - size * 1.05
    shapes = [
        ("ellipse", _box(x, y, size * 0.85, size)),
        ("ellipse", _box(x, top, head, head * 0.9)),
    ]
    for side in (-1, 1):
        if dog:  # ears that hang
            ear = _box(x + side * head, top + head * 0.3, head * 0.3, head * 0.75)
            shapes.append(("ellipse", ear))
        else:  # ears that stand
            turns = (math.radians(90 + side * d) for d in (15, 62, 38))
            reach = (0.9, 0.9, 1.75)
            corners = [
                (x - head * r * math.cos(t), top - head * r * math.sin(t))
                for t, r in zip(turns, reach, strict=True)
            ]
            shapes.append(("polygon", corners))
    return shapes


def _box(x: float, y: float, half_width: float, half_height: float) -> tuple[float, ...]:
    return x - half_width, y - half_height, x + half_width, y + half_height


def write_toy_pets(root: str | Path, count: int = 24, seed: int = 42) -> Path:
    """Write `count` drawn animals below `root` in the layout of Oxford-IIIT Pet; returns `root`.

    A quarter of them goes into test.txt, the others into trainval.txt. The same arguments write the
    same files; others in their place are overwritten.
    """
    base = Path(root) / BASE
    for folder in ("images", "annotations/trimaps"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(count):
        breed = number % len(BREEDS)
        name, species = BREEDS[breed]
        photo, trimap = draw_pet(np.random.default_rng([seed, number]), dog=species == 2)
        stem = f"{name}_{number // len(BREEDS) + 1}"
        Image.fromarray(photo).save(base / "images" / f"{stem}.jpg", quality=92)
        Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"{stem}.png")
        listed = "test" if number >= count * (1 - TEST_SHARE) else "trainval"
        lines[listed].append(f"{stem} {breed + 1} {species} {breed // 2 + 1}\n")
    for listed, rows in lines.items():
        (base / "annotations" / f"{listed}.txt").write_text("".join(rows), encoding="utf-8")
    return Path(root)
