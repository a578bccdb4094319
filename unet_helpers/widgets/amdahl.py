"""AmdahlExplorer: make one part of an epoch faster, and see how much faster the whole becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
from PIL import Image, ImageDraw

from unet_helpers.environment import CourseError
from unet_helpers.plotting import GREY, TIME_PARTS
from unet_helpers.widgets.base import CourseWidget, Drawing, control, row
from unet_helpers.widgets.drawing import Colour, font

MOST = 5  # the sliders go up to 2 ** MOST times as fast


class AmdahlExplorer(CourseWidget):
    """A slider for each part of an epoch: how many times as fast it becomes, from 1 to 32.

    parts: name -> milliseconds a photo (or any other unit of time), 0 or more. chosen: the part
    whose slider is not at 1 at first, `times` its value. width: of the picture, in pixels.
    """

    def __init__(
        self, parts: Any, *, chosen: str | None = None, times: float = 4.0, width: int = 760
    ) -> None:
        super().__init__("amdahl-explorer")
        self.width, self.parts = width, {}
        try:
            self.parts = _checked(parts)
        except CourseError as error:
            self.problem = error
        self.sliders = {
            name: control(
                widgets.FloatLogSlider, name, name, "times as fast as now",
                value=times if name == chosen else 1.0, base=2, min=0, max=MOST, step=0.25,
                readout_format=".1f",
            )
            for name in self.parts
        }  # fmt: skip
        self.start(row(*self.sliders.values()))

    def after(self) -> dict[str, float]:
        """The parts with the sliders as they stand."""
        return {name: time / self.sliders[name].value for name, time in self.parts.items()}

    def draw(self) -> Drawing:
        after = self.after()
        total, left = sum(self.parts.values()), sum(after.values())
        largest = max(after, key=after.get)
        caption = (
            f"{total:.1f} ms a photo become {left:.1f}: {total / left:.2f} times as fast. "
            f"The largest part is then {largest}, {after[largest] / left:.0%}"
        )
        others = left - after[largest]
        if others > 0:
            caption += f"; without it, it would be {total / others:.2f} times as fast, and no more"
        caption += "."
        picture = self._bars({"now": self.parts, "then": after})
        legend = [(_colour(name), name) for name in self.parts]
        return Drawing(picture, caption, f"An epoch's parts, before and after. {caption}", legend)

    def _bars(self, rows: Mapping[str, Mapping[str, float]]) -> np.ndarray:
        """Stacked bars of one scale, drawn at twice the size and averaged."""
        left, right, height, gap = 60, 70, 44, 14
        canvas = Image.new("RGB", (2 * self.width, 2 * (2 * height + 3 * gap)), "white")
        pen = ImageDraw.Draw(canvas)
        scale = (
            2 * (self.width - left - right) / max(sum(parts.values()) for parts in rows.values())
        )
        for number, (name, parts) in enumerate(rows.items()):
            x, y = 2.0 * left, 2 * (gap + number * (height + gap))
            pen.text((2 * left - 16, y + height), name, fill="black", font=font(28), anchor="rm")
            for part, time in parts.items():
                end = x + time * scale
                pen.rectangle((x, y, max(x, end - 2), y + 2 * height), fill=_colour(part))
                x = end
            text = f"{sum(parts.values()):.1f} ms"
            pen.text((x + 10, y + height), text, fill="black", font=font(26), anchor="lm")
        size = (self.width, canvas.height // 2)
        return np.asarray(canvas.resize(size, Image.Resampling.BOX))


def _checked(parts: Any) -> dict[str, float]:
    """The parts as floats; CourseError for anything that is no table of times."""
    found = dict(parts) if isinstance(parts, Mapping) else {}
    good = [
        isinstance(time, int | float) and math.isfinite(time) and time >= 0
        for time in found.values()
    ]
    if not found or not all(good) or sum(found.values()) <= 0:
        raise CourseError(
            "AmdahlExplorer(parts)",
            expected="names with their times, 0 or more, not all of them 0",
            found=repr(parts)[:80],
            mend="give it what a stopwatch has counted, such as {'decode': 9.0, 'forward': 3.0}",
        )
    return {str(name): float(time) for name, time in found.items()}


def _colour(part: str) -> Colour:
    code = TIME_PARTS.get(part, GREY)
    return tuple(int(code[start : start + 2], 16) for start in (1, 3, 5))
