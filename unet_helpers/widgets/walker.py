"""ShapeWalker: step through a U-Net, and see shape, receptive field, parameters and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from unet_helpers.augment import eval_transform
from unet_helpers.environment import CourseError
from unet_helpers.model import count_parameters
from unet_helpers.widgets.base import CourseWidget, Drawing, choice, chooser, control, row
from unet_helpers.widgets.drawing import ORANGE, RED, SKY, YELLOW, above, beside, fit, font, label
from unet_helpers.widgets.inputs import a_photo, several, titles_for
from unet_helpers.widgets.steps import Step, walk

MAPS, COLUMNS, KEPT = 6, 3, 4
LIVELY, IN_ORDER = "liveliest first", "by number"


class ShapeWalker(CourseWidget):
    """Every step of a U-Net on one photo: the tensor's shape, and some of its maps.

    model: a UNET; photos: RGB uint8 (H, W, 3) each; titles: one a photo. size: (height, width) that
    the network sees (None: each photo's own). step, first: number of the step and of the photo
    shown first, from 0. width: of the picture, in pixels.

    The model runs once for each photo; the maps of the last few photos are kept. A map is drawn
    from its lowest value, black, to its highest, white.
    """

    def __init__(
        self,
        model: nn.Module,
        photos: Any,
        titles: Sequence[str] | None = None,
        *,
        size: tuple[int, int] | None = None,
        step: int = 0,
        first: int = 0,
        width: int = 600,
    ) -> None:
        super().__init__("shape-walker")
        self.model, self.size, self.width = model, size, width
        self.photos, names = [], []
        self._walks: dict[int, list[Step]] = {}
        try:
            self.photos = several(photos, "photos", 3)
            names = titles_for(titles, self.photos)
        except CourseError as error:
            self.problem = error
        self.photo = chooser("photo", "Photo", names, first)
        last = self._count_steps() - 1
        self.step = control(
            widgets.SelectionSlider, "step", "Step", value=min(max(step, 0), last),
            options=[(f"{number} of {last}", number) for number in range(last + 1)],
            layout={"width": "360px"},
        )  # fmt: skip
        self.order = choice("order", "Maps", [LIVELY, IN_ORDER], LIVELY)
        self.channel = control(
            widgets.IntSlider, "channel", "from map", "the first of the maps shown",
            value=0, min=0, max=0,
        )  # fmt: skip
        self.start(row(self.photo, self.step), row(self.order, self.channel))

    def _count_steps(self) -> int:
        """How many steps the model has, from the first photo that it can take; 1 if none."""
        chosen = [] if self.photo.value is None else [self.photo.value]
        problem = None
        for number in [*chosen, *range(len(self.photos))]:
            try:
                return len(self.steps(number))
            except Exception as error:
                problem = problem or error
        self.problem = self.problem or problem
        return 1

    def steps(self, number: int) -> list[Step]:
        """The walk of one photo; the model runs only if it has not seen this photo lately."""
        if number not in self._walks:
            photo = a_photo(self.photos[number])
            image = eval_transform(*(self.size or photo.shape[:2]))(image=photo)["image"]
            while len(self._walks) >= KEPT:
                self._walks.pop(next(iter(self._walks)))
            self._walks[number] = walk(self.model, image)
        return self._walks[number]

    def draw(self) -> Drawing:
        steps = self.steps(self.photo.value)
        place = self.step.value
        step = steps[place]
        channels = len(step.maps)
        with self.together(redraw=False):
            self.channel.max = max(0, channels - MAPS)
        start = self.channel.value
        order = liveliness(step.maps) if self.order.value == LIVELY else range(channels)
        numbers = [int(number) for number in order][start : start + MAPS]
        each = (self.width - 6 * (COLUMNS - 1)) // COLUMNS
        maps = [label(grey(step.maps[n], each), f"{n} of {channels}") for n in numbers]
        blank = np.full_like(maps[0], 255)
        maps += [blank] * (min(MAPS, max(COLUMNS, channels)) - len(maps))
        picture = above([diagram(steps, place, self.width), beside(maps, COLUMNS)])
        total = count_parameters(self.model)
        shape = ", ".join(map(str, step.shape))
        caption = (
            f"step {place} of {len(steps) - 1}, {step.name}: shape ({shape}); one position sees "
            f"{step.sees}×{step.sees} pixels; {step.parameters:,} of {total:,} parameters"
        )
        alt = f"The U-Net with one step marked, and {len(numbers)} of its maps for the photo "
        return Drawing(picture, caption, f"{alt}{self.photo.label}. {caption}.")


def liveliness(maps: torch.Tensor) -> list[int]:
    """Numbers of the channels, the one that varies most over the picture first."""
    return maps.flatten(1).std(dim=1).argsort(descending=True, stable=True).tolist()


def grey(values: torch.Tensor, width: int) -> np.ndarray:
    """One map (H, W) as a picture of that width, its lowest value black and its highest white."""
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low).clamp(min=1e-6)
    picture = (255 * scaled).round().to(torch.uint8).numpy()
    # Enlarged without smoothing: a coarse map shall look coarse.
    return np.repeat(fit(picture, width, exact=picture.shape[1] < width)[..., None], 3, axis=2)


def diagram(steps: Sequence[Step], place: int, width: int, height: int = 120) -> np.ndarray:
    """The U: a box for each step, as tall as its map is high; the current one in red.

    Yellow lines are the skip connections.
    """
    canvas = Image.new("RGB", (2 * width, 2 * height), "white")
    pen = ImageDraw.Draw(canvas)
    deepest = max(step.level for step in steps)
    gap = 2 * width / len(steps)
    row_of = {step: 26 + (step.level - 1) * (2 * height - 80) / max(1, deepest - 1)
              for step in steps}  # fmt: skip
    middle = {step: (number + 0.5) * gap for number, step in enumerate(steps)}
    for step in steps:
        kept = [one for one in steps if one.level == step.level and one.way == "down"]
        if "joined" in step.name and kept:
            y = row_of[step]
            pen.line((middle[kept[-1]], y, middle[step], y), fill=YELLOW, width=6)
    points = [(middle[step], row_of[step]) for step in steps]
    pen.line(points, fill="#BBBBBB", width=3)
    tallest = steps[0].maps.shape[1]
    for number, step in enumerate(steps):
        x, y = points[number]
        tall = 8 + 16 * step.maps.shape[1] / tallest
        wide = gap * 0.36
        colour = RED if number == place else SKY if step.way == "down" else ORANGE
        edge = "black" if number == place else None
        pen.rectangle((x - wide, y - tall, x + wide, y + tall), fill=colour, outline=edge, width=3)
        if number == place:
            pen.text((x, 2 * height - 2), str(number), fill="black", font=font(22), anchor="mb")
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))
