"""WindowGrid: how overlapping windows cover a large photo, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import ipywidgets as widgets
import numpy as np
from PIL import Image, ImageDraw

from unet_helpers.environment import CourseError
from unet_helpers.widgets.base import CourseWidget, Drawing, choice, chooser, control, row
from unet_helpers.widgets.drawing import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    SKY,
    Colour,
    above,
    fit,
    font,
    pale,
)
from unet_helpers.widgets.inputs import a_photo
from unet_helpers.windows import (
    MULTIPLE,
    WEIGHTS,
    window_starts,
    window_stride,
    window_weight,
)

SIZES = ((256, 384), (384, 576), (512, 768), (640, 960))
CHART = 110  # height of the chart in pixels


def shares(starts: Sequence[int], window: int, length: int, kind: str) -> np.ndarray:
    """How much each window's answer counts at each pixel of a side, float32 (windows, length).

    The shares of all windows at a pixel add up to 1.
    """
    found = np.zeros((len(starts), length), np.float32)
    for line, start in zip(found, starts, strict=True):
        line[start : start + window] = window_weight(window, kind)
    return found / found.sum(axis=0)


class WindowGrid(CourseWidget):
    """The windows of a photo: move their size, their overlap and their weight, and walk through.

    photo: RGB uint8 (H, W, 3). window: (height, width) at the start. sizes: those to choose from.
    overlap: share of a window's side, 0 to 0.75. weight: "cosine", "gaussian" or "flat". first:
    number of the window shown first, from 1. width: of the picture in pixels. No network runs.
    """

    def __init__(
        self,
        photo: Any,
        window: tuple[int, int] = (512, 768),
        *,
        sizes: Sequence[tuple[int, int]] = SIZES,
        overlap: float = 0.25,
        weight: str = "cosine",
        first: int = 1,
        width: int = 480,
    ) -> None:
        super().__init__("window-grid")
        self.width = width
        self.sizes = list(dict.fromkeys([*map(tuple, sizes), tuple(window)]))
        try:
            self.photo = a_photo(photo)
        except CourseError as error:
            self.problem = error
        names = [f"{height}×{wide}" for height, wide in self.sizes]
        self.size = chooser("size", "Window", names, self.sizes.index(tuple(window)))
        hint = "the share of its side that a window has in common with the next one, at least"
        self.overlap = control(widgets.FloatSlider, "overlap", "Overlap", hint, value=overlap,
                               min=0.0, max=0.75, step=0.05)  # fmt: skip
        self.weight = choice("weight", "Weight", WEIGHTS, weight)
        self.number = control(widgets.IntSlider, "number", "Number", "windows, row by row",
                              value=first, min=1, max=max(first, 2))  # fmt: skip
        self.start(row(self.size, self.overlap), row(self.weight, self.number))

    def grid(self) -> tuple[list[int], list[int], tuple[int, int]]:
        """Where windows start (rows, columns), and the size of the padded photo."""
        window, sides = self.sizes[self.size.value], self.photo.shape[:2]
        padded = tuple(side + -side % MULTIPLE for side in sides)
        tops, lefts = (
            window_starts(side, length, window_stride(length, self.overlap.value))
            for side, length in zip(padded, window, strict=True)
        )
        return tops, lefts, padded

    def draw(self) -> Drawing:
        (height, wide), kind = self.sizes[self.size.value], self.weight.value
        tops, lefts, padded = self.grid()
        count = len(tops) * len(lefts)
        with self.together(redraw=False):
            self.number.max = count  # an ipywidgets slider brings its value down with it
        line, column = divmod(self.number.value - 1, len(lefts))
        top, left = tops[line], lefts[column]
        across = shares(lefts, wide, padded[1], kind)
        counted = np.outer(shares(tops, height, padded[0], kind)[line], across[column])
        picture = self._picture(tops, lefts, (top, left), counted, padded)
        chart = _chart(across, column, self.width)
        times = count * height * wide / (padded[0] * padded[1])
        caption = (
            f"{count} windows of {height}×{wide} in {len(tops)} rows of {len(lefts)}: "
            f"{times:.2f} times the photo's pixels go through the network. Window "
            f"{self.number.value} starts at row {top}, column {left}; below, how much each window "
            "of a row counts"
        )
        alt = f"A photo under a grid of windows, one of them marked. {caption}."
        legend = ((ORANGE, "where this window counts"), (RED, "this window"), (SKY, "the others"))
        return Drawing(above([picture, chart]), caption, alt, legend)

    def _picture(
        self,
        tops: Sequence[int],
        lefts: Sequence[int],
        chosen: tuple[int, int],
        counted: np.ndarray,
        padded: tuple[int, int],
    ) -> np.ndarray:
        """The photo in grey, every window's frame, and the chosen one tinted as it counts."""
        scale = self.width / padded[1]
        picture = pale(fit(self.photo, self.width)).astype(np.float32)
        opacity = 0.8 * cv2.resize(counted.astype(np.float32), picture.shape[1::-1])[..., None]
        picture = np.rint((1 - opacity) * picture + opacity * np.array(ORANGE)).astype(np.uint8)
        canvas = Image.fromarray(picture)
        pen = ImageDraw.Draw(canvas)
        height, wide = self.sizes[self.size.value]
        frames = [(t, s, BLUE, 1) for t in tops for s in lefts] + [(*chosen, RED, 3)]
        for top, left, colour, line in frames:
            box = np.array([left, top, left + wide, top + height]) * scale
            box = np.rint(box) - [0, 0, 1, 1]
            pen.rectangle(box.tolist(), outline=colour, width=line)
        return np.asarray(canvas)


def _chart(across: np.ndarray, chosen: int, width: int) -> np.ndarray:
    """The shares of the windows of one row, as lines; drawn at twice the size and averaged."""
    top, bottom = 28, 2 * CHART - 10
    canvas = Image.new("RGB", (2 * width, 2 * CHART), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((4, 0), "share of each window, from left to right", fill="black", font=font(22))
    for share in (0, 1):
        y = bottom - share * (bottom - top)
        pen.line((0, y, 2 * width, y), fill=GREY, width=1)
        pen.text((2 * width - 18, y - 26), str(share), fill="black", font=font(22))
    places = np.linspace(0, across.shape[1] - 1, 2 * width).astype(int)
    order = [n for n in range(len(across)) if n != chosen] + [chosen]
    for number in order:
        colour: Colour = RED if number == chosen else SKY
        shown = across[number, places]
        points = [(x, bottom - float(v) * (bottom - top)) for x, v in enumerate(shown) if v > 0]
        pen.line(points, fill=colour, width=5 if number == chosen else 3)
    return np.asarray(canvas.resize((width, CHART), Image.Resampling.BOX))
