"""Small made-up archive pairs in Carvana's exact format, for the tests.

Every car is a body, a cabin and two wheels on a grey studio floor; it grows narrower and wider as
the sixteen angles go round. The mask is exact by construction: the same shapes, drawn once more.
"""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from unet_helpers.archives import MASKS, Part

PALETTE = [0, 0, 0, 255, 255, 255]  # index 0 is black (background), index 1 white (car)


@dataclass(frozen=True)
class MadePair:
    """Paths of a made-up archive pair; the same fields as `unet_helpers.sources.ArchivePair`."""

    photos: Path
    masks: Path
    name: str = "made"
    labels: Part = MASKS

    @property
    def folder(self) -> Path:
        return self.photos.parent


def draw_car(rng: np.random.Generator, turn: float, height: int, width: int, colour: tuple):
    """One photo (H, W, 3) uint8 and its mask (H, W) uint8 in {0, 1}; `turn` in radians."""
    shade = np.linspace(205, 150, height)[:, None, None] + rng.normal(0, 4, (height, width, 3))
    photo = Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8))
    mask = Image.new("L", (width, height), 0)
    half = width * (0.24 + 0.12 * abs(math.cos(turn)))  # a side view is longer than a front view
    middle, ground = width * 0.5 + rng.uniform(-2, 2), height * 0.80
    top, waist, wheel = height * 0.26, height * 0.48, height * 0.11
    shapes = [
        ("rectangle", (middle - half, waist, middle + half, ground), colour),
        ("rectangle", (middle - half * 0.6, top, middle + half * 0.55, waist), (70, 80, 95)),
        *(
            ("ellipse", (x - wheel, ground - wheel, x + wheel, ground + wheel), (25, 25, 28))
            for x in (middle - half * 0.6, middle + half * 0.6)
        ),
    ]
    for shape, box, fill in shapes:
        getattr(ImageDraw.Draw(photo), shape)(box, fill=fill)
        getattr(ImageDraw.Draw(mask), shape)(box, fill=1)
    return np.asarray(photo), np.asarray(mask)


def jpeg_bytes(photo: np.ndarray, quality: int = 92) -> bytes:
    """An RGB uint8 array (H, W, 3) as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def gif_bytes(mask: np.ndarray) -> bytes:
    """A mask (H, W) in {0, 1} as a single-frame palette GIF: indices 0 and 1, black and white."""
    height, width = mask.shape
    indexed = Image.frombytes("P", (width, height), mask.astype(np.uint8).tobytes())
    indexed.putpalette(PALETTE)
    buffer = io.BytesIO()
    indexed.save(buffer, "GIF", optimize=False)  # optimising would renumber the palette
    return buffer.getvalue()


def write_gif_mask(path: Path, mask: np.ndarray) -> Path:
    """Write `mask` (H, W) in {0, 1} to `path` as Carvana's masks are written; returns the path."""
    path = Path(path)
    path.write_bytes(gif_bytes(mask))
    return path


def car_name(index: int, seed: int = 0) -> str:
    """A car's name: 12 hex digits, the same for the same index and seed."""
    return f"{np.random.default_rng([seed, index, 7]).integers(2**48):012x}"


def make_items(
    cars: int = 3, height: int = 64, width: int = 96, seed: int = 0, angles: int = 16
) -> list[tuple[str, bytes, bytes]]:
    """(stem, JPEG, GIF) of every made-up image, sorted by car and angle as in the archives."""
    items = []
    for index in range(cars):
        colour = tuple(int(v) for v in np.random.default_rng([seed, index]).integers(40, 220, 3))
        for angle in range(1, angles + 1):
            rng = np.random.default_rng([seed, index, angle])
            turn = 2 * math.pi * (angle - 1) / 16
            photo, mask = draw_car(rng, turn, height, width, colour)
            items.append(
                (f"{car_name(index, seed)}_{angle:02d}", jpeg_bytes(photo), gif_bytes(mask))
            )
    return sorted(items)


def make_archive_pair(
    folder: Path, cars: int = 3, height: int = 64, width: int = 96, seed: int = 0, angles: int = 16
) -> MadePair:
    """Write train.zip and train_masks.zip into `folder`: `cars` × `angles` pairs."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pair = MadePair(folder / "train.zip", folder / "train_masks.zip", folder.name)
    items = make_items(cars, height, width, seed, angles)
    with zipfile.ZipFile(pair.photos, "w") as photos, zipfile.ZipFile(pair.masks, "w") as masks:
        for stem, jpeg, gif in items:
            photos.writestr(f"train/{stem}.jpg", jpeg)
            masks.writestr(f"train_masks/{stem}_mask.gif", gif)
    return pair
