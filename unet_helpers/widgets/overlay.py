"""MaskOverlay: a mask laid over its photo, and where a prediction differs from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch

from unet_helpers.environment import CourseError
from unet_helpers.metrics import Counts, count_pixels, dice
from unet_helpers.pictures import EXTRA_COLOUR, MISSED_COLOUR
from unet_helpers.widgets.base import CourseWidget, Drawing, choice, chooser, control, row, swatch
from unet_helpers.widgets.drawing import class_colours, fit, outline, paint, pale
from unet_helpers.widgets.inputs import (
    CAR,
    a_mask,
    a_photo,
    a_prediction,
    as_many,
    several,
    titles_for,
)

DIFFERENCES = ((MISSED_COLOUR, "missed"), (EXTRA_COLOUR, "extra"))


def compare(predicted: np.ndarray, mask: np.ndarray, classes: int = 2) -> Counts:
    """Counts of one image, from class indices (H, W)."""
    pair = [torch.from_numpy(np.ascontiguousarray(one))[None] for one in (predicted, mask)]
    return count_pixels(*pair, num_classes=classes)


def where_they_differ(mask: np.ndarray, predicted: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """0 where mask and prediction agree, 1 for missed, 2 for extra; uint8 (H, W).

    chosen: bool (classes,), the classes that are looked at. Missed: the mask has a chosen class and
    the prediction another one. Extra: it is only the prediction that has a chosen class.
    """
    wrong = mask != predicted
    missed = wrong & chosen[mask]
    extra = wrong & chosen[predicted] & ~missed
    return missed.astype(np.uint8) + 2 * extra.astype(np.uint8)


class MaskOverlay(CourseWidget):
    """Photos with their masks laid over them: opacity, outline or fill, and the differences.

    photos: RGB uint8 (H, W, 3) each. masks: uint8 (H, W) class indices each, or None. predictions:
    the same, or for two classes probabilities, float (H, W) in 0 to 1, of which what lies above
    threshold is car. titles: one a photo. classes: names by class index, the background first, if
    there are more than two. mode: "mask", "prediction" or "differences", shown first (None: the
    last of them that there is data for). style: "fill" or "outline". opacity: 0 to 1. first: number
    of the photo shown first. width: of the picture, in pixels.

    Dice is that of ``metrics.dice`` on the arrays as they were given, at their own size.
    """

    def __init__(
        self,
        photos: Any,
        masks: Any = None,
        predictions: Any = None,
        titles: Sequence[str] | None = None,
        *,
        classes: Sequence[str] | None = None,
        threshold: float = 0.5,
        mode: str | None = None,
        style: str = "fill",
        opacity: float = 0.5,
        first: int = 0,
        width: int = 480,
    ) -> None:
        super().__init__("mask-overlay")
        self.names = tuple(classes or CAR)
        self.threshold, self.width = threshold, width
        self.photos, self.masks, self.predictions, names = [], None, None, []
        self._checked: dict[int, tuple] = {}
        self._words: dict[int, str] = {}
        try:
            self.photos = several(photos, "photos", 3)
            self.masks = as_many(masks, self.photos, "masks")
            self.predictions = as_many(predictions, self.photos, "predictions")
            names = titles_for(titles, self.photos)
        except CourseError as error:
            self.problem = error
        given = {"mask": self.masks, "prediction": self.predictions}
        modes = [name for name, values in given.items() if values is not None]
        modes += ["differences"] if len(modes) == 2 else []
        self.photo = chooser("photo", "Photo", names, first)
        self.mode = choice("mode", "Show", modes or ["photo"], _one_of(mode, modes or ["photo"]))
        self.style_ = choice("style", "as", ["fill", "outline"], style)
        self.opacity = control(
            widgets.FloatSlider, "opacity", "Opacity", "0: the photo alone", value=opacity,
            min=0.0, max=1.0, step=0.05,
        )  # fmt: skip
        self.shown = self._class_boxes()
        rows = [row(self.photo, self.mode), row(self.style_, self.opacity)]
        if len(self.names) > 2:
            colours = class_colours(len(self.names) - 1)
            marked = [
                widgets.HBox([widgets.HTML(swatch(colour)), box], layout={"align_items": "center"})
                for colour, box in zip(colours, self.shown, strict=True)
            ]
            rows.append(row(*marked))
        self.start(*rows)

    def _class_boxes(self) -> list[widgets.Checkbox]:
        look = {"value": True, "indent": False, "layout": {"width": "auto"}}
        return [
            control(widgets.Checkbox, f"class-{number}", name, **look)
            for number, name in enumerate(self.names[1:], start=1)
        ]

    def arrays(self, number: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Photo, mask and prediction of one photo, checked; the last two None if not given."""
        if number not in self._checked:
            photo = a_photo(self.photos[number])
            mask = predicted = None
            if self.masks is not None:
                mask = a_mask(self.masks[number], photo, self.names)
            if self.predictions is not None:
                values = self.predictions[number]
                predicted = a_prediction(values, photo, self.names, self.threshold)
            self._checked[number] = photo, mask, predicted
        return self._checked[number]

    def draw(self) -> Drawing:
        photo, mask, predicted = self.arrays(self.photo.value)
        title = self.photo.label
        chosen = np.array([False, *(box.value for box in self.shown)])
        mode, legend = self.mode.value, ()
        picture = fit(photo, self.width)
        if mode == "differences":
            labels = where_they_differ(mask, predicted, chosen)
            picture, colours, legend = pale(picture), (MISSED_COLOUR, EXTRA_COLOUR), DIFFERENCES
        elif mode == "photo":
            labels, colours = np.zeros(photo.shape[:2], np.uint8), ()
        else:
            layer = mask if mode == "mask" else predicted
            labels = np.where(chosen[layer], layer, 0).astype(np.uint8)
            colours = class_colours(len(self.names) - 1)
            shown = zip(colours, self.names[1:], chosen[1:], strict=True)
            legend = tuple((colour, name) for colour, name, on in shown if on)
        labels = fit(labels, self.width, exact=True)
        if self.style_.value == "outline":
            labels = outline(labels)
        picture = paint(picture, labels, colours, self.opacity.value)
        if self.photo.value not in self._words:
            self._words[self.photo.value] = self._figures(mask, predicted)
        caption = f"{title}: {self._words[self.photo.value]}"
        shows = {"photo": "without a mask", "differences": "with what was missed and what is extra"}
        alt = f"The photo {title} {shows.get(mode, f'with its {mode}')}. {caption}."
        return Drawing(picture, caption, alt, legend)

    def _figures(self, mask: np.ndarray | None, predicted: np.ndarray | None) -> str:
        """The key figures of one photo in words."""
        layer = mask if mask is not None else predicted
        if layer is None:
            return "no mask given"
        if mask is None or predicted is None:
            share = (layer > 0).mean()
            what = "car" if len(self.names) == 2 else "something other than " + self.names[0]
            return f"{share:.1%} of the photo is {what}"
        counts = compare(predicted, mask, len(self.names))
        scores = dice(counts)[0]  # (C,)
        if len(self.names) == 2:
            missed, extra = counts.fn.item(), counts.fp.item()
            return f"Dice {scores[0]:.4f}, {missed:,} pixels missed, {extra:,} extra"
        each = ", ".join(f"{n} {s:.3f}" for n, s in zip(self.names, scores.tolist(), strict=True))
        return f"Dice {scores.mean():.4f} on average: {each}"


def _one_of(wanted: str | None, there: Sequence[str]) -> str:
    return wanted if wanted in there else there[-1]
