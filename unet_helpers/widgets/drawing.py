"""Pictures for widgets, drawn with numpy, OpenCV and Pillow: quick enough to follow a slider.

All pictures are RGB uint8 (H, W, 3). The colours are Okabe and Ito's, which stay apart under every
common form of colour blindness.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unet_helpers.class_pictures import paint
from unet_helpers.cutout import resize
from unet_helpers.labels import (
    BLUE,
    CLASS_COLOURS,
    GREEN,
    ORANGE,
    RED,
    SKY,
    YELLOW,
    Colour,
    class_colours,
)
from unet_helpers.pictures import small_png

__all__ = [
    "BLUE",
    "CLASS_COLOURS",
    "GREEN",
    "GREY",
    "ORANGE",
    "RED",
    "SKY",
    "YELLOW",
    "Colour",
    "above",
    "beside",
    "class_colours",
    "dot_chart",
    "fit",
    "font",
    "label",
    "outline",
    "paint",
    "pale",
    "png",
    "with_caption",
]

GREY = (127, 127, 127)


def png(picture: np.ndarray, small: bool = False) -> bytes:
    """The picture as PNG: quickly, or small (at most 256 colours), for a notebook's outputs."""
    if small:
        return small_png(Image.fromarray(picture))
    channels = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(
        ".png", cv2.cvtColor(picture, channels), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    assert done
    return data.tobytes()


def fit(array: np.ndarray, width: int, exact: bool = False) -> np.ndarray:
    """(H, W) or (H, W, 3) brought to a width; exact: with nearest neighbour, for class indices."""
    size = max(1, round(array.shape[0] * width / array.shape[1])), width
    if array.shape[:2] == size:
        return array
    if exact:
        return cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return resize(array, size)


def outline(labels: np.ndarray, thickness: int = 2) -> np.ndarray:
    """Only those labelled pixels that lie within `thickness` pixels of another label."""
    kernel = np.ones((3, 3), np.uint8)
    edge = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        region = (labels == label).astype(np.uint8)
        inner = cv2.erode(region, kernel, iterations=thickness)
        edge[(region > 0) & (inner == 0)] = label
    return edge


def pale(photo: np.ndarray) -> np.ndarray:
    """The photo in light grey, so that colours stand out on it."""
    grey = photo.mean(axis=2, keepdims=True) * 0.5 + 127
    return np.repeat(grey, 3, axis=2).astype(np.uint8)


def beside(pictures: Sequence[np.ndarray], columns: int | None = None, gap: int = 6) -> np.ndarray:
    """Pictures of one size in rows, with white between them."""
    columns = columns or len(pictures)
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def above(pictures: Sequence[np.ndarray], gap: int = 6) -> np.ndarray:
    """Pictures one above the other, the narrower ones filled up with white on the right."""
    width = max(picture.shape[1] for picture in pictures)
    sheets = []
    for picture in pictures:
        missing = width - picture.shape[1]
        sheets += [np.pad(picture, ((0, gap), (0, missing), (0, 0)), constant_values=255)]
    return np.concatenate(sheets)[:-gap]


@lru_cache(maxsize=8)
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)


def label(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with a few words in its top left corner, on a white ground."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    box = pen.textbbox((6, 4), text, font=font(12))
    pen.rectangle((0, 0, box[2] + 6, box[3] + 4), fill="white")
    pen.text((6, 4), text, fill="black", font=font(12))
    return np.asarray(canvas)


def with_caption(
    picture: np.ndarray, caption: str, legend: Sequence[tuple[Colour, str]] = ()
) -> np.ndarray:
    """The picture with the caption and the legend on white below it."""
    letters, line = font(13), 19
    width = picture.shape[1]
    lines = textwrap.wrap(caption, max(20, int(width / letters.getlength("a"))))
    places, left, row = [], 2, len(lines)
    for _, text in legend:
        wide = 30 + int(letters.getlength(text))
        left, row = (2, row + 1) if left > 2 and left + wide > width else (left, row)
        places.append((left, 4 + line * row))
        left += wide
    strip = Image.new("RGB", (width, line * (row + bool(legend)) + 8), "white")
    pen = ImageDraw.Draw(strip)
    for number, text in enumerate(lines):
        pen.text((2, 4 + line * number), text, fill="black", font=letters)
    for (x, y), (colour, text) in zip(places, legend, strict=True):
        pen.rectangle((x, y + 2, x + 12, y + 14), fill=tuple(colour), outline="#555555")
        pen.text((x + 18, y), text, fill="black", font=letters)
    return np.concatenate([picture, np.asarray(strip)])


def dot_chart(
    values: Mapping[int, float], places: Sequence[int], current: int, title: str, width: int
) -> np.ndarray:
    """A dot for each place that has a value, the current one filled and named.

    values: place -> number. Drawn at twice the size and averaged, which smooths the edges.
    """
    height, left, top, bottom = 104, 46, 24, 82
    canvas = Image.new("RGB", (2 * width, 2 * height), "white")
    pen = ImageDraw.Draw(canvas)
    known = [values[place] for place in places if place in values]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    low, high = (low - 0.05, high + 0.05) if high - low < 1e-6 else (low, high)
    step = (width - left - 24) / max(1, len(places) - 1)
    pen.text((8, 2), title, fill="black", font=font(24))
    for number, y in ((high, top + 6), (low, bottom - 6)):
        pen.line((2 * left - 12, 2 * y, 2 * width, 2 * y), fill="#E5E5E5", width=2)
        pen.text((2, 2 * y), f"{number:.3f}", fill="#555555", font=font(22), anchor="lm")
    for number, place in enumerate(places):
        x = 2 * (left + 8 + number * step)
        here = place == current
        pen.text((x, 2 * height - 4), str(place), fill="black" if here else "#555555",
                 font=font(22), anchor="mb")  # fmt: skip
        if place in values:
            y = 2 * (bottom - 6 - (values[place] - low) / (high - low) * (bottom - top - 12))
            reach = 13 if here else 8
            pen.ellipse((x - reach, y - reach, x + reach, y + reach),
                        fill=RED if here else SKY, outline="black" if here else None)  # fmt: skip
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))
