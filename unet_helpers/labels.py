"""Class indices as files and pictures: names, colours, palettes, and the way back from colours.

A label picture holds for each pixel the number of its class, 0 to C - 1, background first. In a
palette PNG that number is what is stored, and the palette only says in which colour it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unet_helpers.environment import CourseError

Colour = tuple[int, int, int]

PARTS = ("background", "body", "window", "wheel", "light")  # of train_parts.zip
PETS = ("background", "pet", "border")  # of Oxford-IIIT Pet, see pets.py

# Okabe and Ito's colours, which stay apart under every common form of colour blindness.
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, RED, PINK, GREY = (0, 114, 178), (213, 94, 0), (204, 121, 167), (127, 127, 127)
# Told apart on a photo too: blue as the fourth, laid over white paint, would look like the sky.
CLASS_COLOURS = (ORANGE, SKY, GREEN, PINK, YELLOW, RED, BLUE)
BLACK = (0, 0, 0)


def class_colours(count: int) -> list[Colour]:
    """Colours for `count` classes; from the eighth on the same ones again, paler."""
    pale = [tuple((value + 255) // 2 for value in colour) for colour in CLASS_COLOURS]
    wheel = [*CLASS_COLOURS, *pale]
    return [wheel[number % len(wheel)] for number in range(count)]


def colours_with_background(classes: int) -> list[Colour]:
    """One colour a class index: black for the background, then `class_colours`."""
    return [BLACK, *class_colours(classes - 1)]


def label_picture(labels: np.ndarray, classes: int) -> Image.Image:
    """Class indices, uint8 (H, W), as a palette picture that keeps them: to be saved as PNG.

    Index 0 is shown black, 1 to classes - 1 in the course's colours, every other index (such as
    255, to be ignored) white. Raises CourseError for an array that is not uint8 (H, W).
    """
    labels = np.asarray(labels)
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise CourseError(
            "the labels to save",
            expected="class indices, uint8 (H, W)",
            found=f"{labels.dtype} {labels.shape}",
            mend="take the class of the largest logit with metrics.predict_classes",
        )
    known = [value for colour in colours_with_background(classes) for value in colour]
    picture = Image.fromarray(labels).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette((known + [255] * 768)[:768])
    return picture


def labels_from_colours(
    picture: np.ndarray, colours: Sequence[Colour], source: str | Path = "the label picture"
) -> np.ndarray:
    """Class indices, uint8 (H, W), from a label picture that was saved in colour.

    picture: RGB uint8 (H, W, 3). colours: one a class index, the background's first. Every pixel
    must have one of these colours exactly. Raises CourseError, which names the first pixel and its
    colour, where one does not: smoothing or JPEG compression has mixed the classes, and a mixed
    colour belongs to none of them.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise CourseError(
            source,
            expected="an RGB picture, uint8 (H, W, 3)",
            found=f"{picture.dtype} {picture.shape}",
            mend="a palette picture needs no colours: read it with read_labels",
        )
    table = np.asarray(colours)
    whole = table.ndim == 2 and table.shape[1] == 3 and table.dtype.kind in "iu"
    if not (whole and len(table) and table.min() >= 0 and table.max() <= 255):
        raise CourseError(
            "colours", expected="one (red, green, blue) for each class, each 0 to 255",
            found=str(table.tolist()), mend="give three whole numbers a class",
        )  # fmt: skip
    packed, wanted = _packed(picture), _packed(table)
    if len(np.unique(wanted)) < len(wanted):
        raise CourseError(
            "colours", expected="another colour for each class", found="one twice",
            mend="without that nothing says which class a pixel is",
        )  # fmt: skip
    order = np.argsort(wanted)
    place = np.searchsorted(wanted[order], packed).clip(max=len(wanted) - 1)  # (H, W)
    labels = order[place]
    wrong = wanted[labels] != packed
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise CourseError(
            source,
            expected=f"only the {len(table)} colours of its classes",
            found=f"{wrong.sum():,} pixels of another one; the first, in row {row}, column "
            f"{column}, is {tuple(picture[row, column].tolist())}",
            mend="take a file that was neither smoothed nor saved as JPEG, best one with a palette",
        )
    return labels.astype(np.uint8)


def _packed(colours: np.ndarray) -> np.ndarray:
    """RGB as one number each: (…, 3) -> (…)."""
    wide = colours.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
