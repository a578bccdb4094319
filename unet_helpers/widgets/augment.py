"""AugmentationPlayground: what augmentation does to a photo and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import albumentations as A
import ipywidgets as widgets
import numpy as np

from unet_helpers.augment import STRENGTHS, BoxesBehind, Warp, train_transform
from unet_helpers.environment import CourseError
from unet_helpers.metrics import dice
from unet_helpers.pictures import MASK_COLOUR
from unet_helpers.widgets.base import CourseWidget, Drawing, chooser, control, row
from unet_helpers.widgets.drawing import beside, fit, label, outline, paint
from unet_helpers.widgets.inputs import a_mask, a_photo, as_many, several, titles_for
from unet_helpers.widgets.overlay import compare

OWN = "as the sliders say"
# Slider -> what it moves, its largest value, its step, its unit.
SLIDERS = {
    "shift": ("Shift", 30, 1, "% of the photo"),
    "zoom": ("Zoom", 50, 1, "%"),
    "turn": ("Turn", 45, 1, "degrees"),
    "brightness": ("Brightness", 60, 1, "%"),
    "contrast": ("Contrast", 60, 1, "%"),
}
BOXES = ("mirror", "boxes")


def limits_of(strength: str) -> dict[str, float]:
    """How far a strength of ``train_transform`` goes, in the units of the sliders.

    "mirror" and "boxes" are 1 where the strength has them. Raises CourseError for an unknown one.
    """
    limits = dict.fromkeys((*SLIDERS, *BOXES), 0.0)
    for step in train_transform(64, 96, strength).transforms:
        if isinstance(step, Warp):
            limits["turn"] = step.rotate[1]
            limits["zoom"] = 100 * (step.scale["x"][1] - 1)
            limits["shift"] = 100 * step.translate_percent["x"][1] if step.translate_percent else 0
        elif isinstance(step, A.RandomBrightnessContrast):
            limits["brightness"] = 100 * step.brightness_limit[1]
            limits["contrast"] = 100 * step.contrast_limit[1]
        elif isinstance(step, A.ColorJitter):
            limits["brightness"] = 100 * (step.brightness[1] - 1)
            limits["contrast"] = 100 * (step.contrast[1] - 1)
        elif isinstance(step, A.HorizontalFlip):
            limits["mirror"] = 1.0
        elif isinstance(step, BoxesBehind):
            limits["boxes"] = 1.0
    return {name: round(float(value), 3) for name, value in limits.items()}


def own_transform(limits: dict[str, float]) -> A.Compose:
    """A transform of uint8 photo and mask within the limits, in which nothing is left out.

    Only the mirror stays a matter of heads or tails. With the same seed the same dice are thrown,
    so that a slider scales one and the same change.
    """
    shift, zoom, bright, contrast = (
        limits[name] / 100 for name in ("shift", "zoom", "brightness", "contrast")
    )
    turn = limits["turn"]
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5 if limits["mirror"] else 0.0),
            Warp(
                rotate=(-turn, turn),
                scale=(1 - zoom, 1 + zoom),
                translate_percent=(-shift, shift),
                p=1.0,
            ),
            A.RandomBrightnessContrast(bright, contrast, p=1.0),
            BoxesBehind(p=1.0 if limits["boxes"] else 0.0),
        ]
    )


class AugmentationPlayground(CourseWidget):
    """One photo and its mask under augmentation: how far it goes, and one throw after the other.

    photos: RGB uint8 (H, W, 3) each; masks: uint8 (H, W) of 0 and 1 each; titles: one a photo.
    strength: one of ``augment.STRENGTHS``, shown first. seed: of the first throw; "again" takes the
    next one. width: of each of the three pictures, in pixels.

    A strength is exactly that of ``train_transform``. The sliders show its limits; when one of them
    is moved, they take over: then every change happens every time, within those limits.
    """

    def __init__(
        self,
        photos: Any,
        masks: Any,
        titles: Sequence[str] | None = None,
        *,
        strength: str = "gentle",
        seed: int = 0,
        first: int = 0,
        width: int = 360,
    ) -> None:
        super().__init__("augmentation-playground")
        self.photos, self.masks, self.width, self.seed, names = [], [], width, seed, []
        limits = dict.fromkeys((*SLIDERS, *BOXES), 0.0)
        try:
            self.photos = several(photos, "photos", 3)
            self.masks = as_many(masks, self.photos, "masks") or several([], "masks", 2)
            names = titles_for(titles, self.photos)
            limits = limits_of(strength)
        except CourseError as error:
            self.problem = error
        self.photo = chooser("photo", "Photo", names, first)
        options = [*STRENGTHS, OWN]
        self.strength = control(
            widgets.Dropdown, "strength", "Strength", options=options,
            value=strength if strength in options else OWN,
        )  # fmt: skip
        self.again = control(
            widgets.Button, "again", "Again", "throw the dice once more", icon="refresh"
        )
        self.limits = {name: _slider(name, limits[name]) for name in SLIDERS}
        for name, text in zip(BOXES, ("mirror", "boxes behind the car"), strict=True):
            self.limits[name] = control(
                widgets.Checkbox, name, text, value=bool(limits[name]), indent=False,
                layout={"width": "auto"},
            )  # fmt: skip
        self.strength.observe(self._take_strength, "value")
        for moved in self.limits.values():
            moved.observe(self._take_over, "value")
        self.again.on_click(self._throw)
        self.start(row(self.photo, self.strength, self.again), row(*self.limits.values()))

    def _take_strength(self, change: dict) -> None:
        """Move the sliders to the limits of the strength that was chosen."""
        if change["new"] == OWN or self._held:
            return
        with self.together():
            for name, value in limits_of(change["new"]).items():
                slider = self.limits[name]
                slider.value = min(value, slider.max) if name in SLIDERS else bool(value)

    def _take_over(self, change: dict) -> None:
        """Leave the strength that was chosen once a slider no longer stands at its limits."""
        if self._held or self.strength.value == OWN:
            return
        limits = limits_of(self.strength.value)
        now = {name: min(limits[name], getattr(c, "max", 1)) for name, c in self.limits.items()}
        if any(abs(c.value - now[name]) > 1e-6 for name, c in self.limits.items()):
            with self.together():
                self.strength.value = OWN

    def _throw(self, button: object = None) -> None:
        self.seed += 1
        self.redraw()

    def transform(self) -> A.Compose:
        """The transform that the controls stand for, uint8 in and out, with the throw's seed."""
        if self.strength.value == OWN:
            made = own_transform({name: float(c.value) for name, c in self.limits.items()})
        else:
            # The first step would resize the photo, and the last one make it a tensor.
            made = A.Compose(train_transform(64, 96, self.strength.value).transforms[1:-1])
        made.set_random_seed(self.seed)
        return made

    def draw(self) -> Drawing:
        number, title = self.photo.value, self.photo.label
        photo = a_photo(self.photos[number])
        mask = fit(a_mask(self.masks[number], photo), self.width, exact=True)
        photo = fit(photo, self.width)
        out = self.transform()(image=photo, mask=mask)
        moved, its_mask = out["image"], out["mask"]
        share, before = (its_mask > 0).mean(), (mask > 0).mean()
        left_behind = dice(compare(mask, its_mask)).item()
        caption = (
            f"{title}, {self.strength.value}: {share:.1%} of the photo is car (before: "
            f"{before:.1%}); a mask left where it was would have Dice {left_behind:.3f}"
        )
        with_edge = paint(moved, outline(its_mask), (MASK_COLOUR,), 1.0)
        white = np.repeat(255 * its_mask[..., None], 3, axis=2)
        shown = {"before": photo, "after, with its mask's outline": with_edge, "the mask": white}
        picture = beside([label(one, name) for name, one in shown.items()])
        alt = f"A photo before and after augmentation, and the mask that moved with it. {caption}."
        return Drawing(picture, caption, alt)


def _slider(name: str, value: float) -> widgets.IntSlider:
    text, largest, step, unit = SLIDERS[name]
    return control(
        widgets.FloatSlider, name, text, f"at most, in {unit}", value=min(value, largest),
        min=0, max=largest, step=step, readout_format=".0f",
    )  # fmt: skip
