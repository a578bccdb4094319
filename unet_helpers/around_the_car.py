"""Augmentations that look at the mask: they change what is behind, below or on the car, not both.

Ordinary augmentation treats a photo as a whole. These ones know where the car is, and so can break
the habits of a set in which every car stands on the same floor before the same wall. The mask
itself never changes.
"""

from __future__ import annotations

import math
from typing import Any

import albumentations as A
import cv2
import numpy as np


class _KnowsTheCar:
    """Mixin: changes the photo (H, W, 3), is told the mask (H, W), in which all above 0 is car."""

    @property
    def targets_as_params(self) -> list[str]:
        return ["image", "mask"]

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ()


class BoxesBehind(_KnowsTheCar, A.CoarseDropout):
    """One to four boxes of one colour each, behind the car; the mask stays as it is.

    A handful of cars shows few kinds of background, and what a network has never seen, such as the
    dark rim of the platform where the camera stood further back, it takes for car. Boxes before
    the car would do as well for that, but teach that a smooth black roof may be background too.
    Random erasing (Zhong et al. 2020, section 3), kept to class index 0.
    """

    def __init__(self, p: float = 0.6) -> None:
        super().__init__(
            num_holes_range=(1, 4),
            hole_height_range=(0.02, 0.2),
            hole_width_range=(0.05, 0.9),
            fill="random_uniform",
            p=p,
        )

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict[str, Any]:
        boxes = super().get_params_dependent_on_data(params, data)
        return {**boxes, "car": data["mask"] > 0}

    def apply(self, img: np.ndarray, car: np.ndarray, **params: Any) -> np.ndarray:
        return np.where(car[..., None], img, super().apply(img, **params))


class ToneApart(_KnowsTheCar, A.ImageOnlyTransform):
    """Car and background each get a contrast, a brightness and a tint of their own.

    In drawn photos paint and wall keep to the tones that the studio gave them. Here a car may be
    darker or lighter than any floor, so that the outline has to decide.
    """

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict[str, Any]:
        return {"car": data["mask"] > 0, "tables": (self._table(), self._table())}

    def apply(self, img: np.ndarray, car: np.ndarray, tables: tuple, **params: Any) -> np.ndarray:
        on_car, behind = (cv2.LUT(img, table) for table in tables)
        return np.where(car[..., None], on_car, behind)

    def _table(self) -> np.ndarray:
        """New values for 0..255 in each channel, uint8 (1, 256, 3): a straight line, clipped."""
        draw = self.py_random.uniform
        contrast, brightness = draw(-0.5, 0.5), draw(-40, 40)
        values = np.arange(256) - 128.0
        lines = [
            values * math.exp(contrast + draw(-0.1, 0.1)) + 128 + brightness + draw(-15, 15)
            for _ in range(3)
        ]
        return np.clip(np.stack(lines, axis=-1), 0, 255).astype(np.uint8)[None]


class ShadowBelow(_KnowsTheCar, A.ImageOnlyTransform):
    """A soft shadow below and around the car: grey, or with a hint of the car's own colour.

    Drawn shadows are all alike, and what differs on a real floor is taken for bumper and sill.
    """

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict[str, Any]:
        draw, car = self.py_random.uniform, data["mask"] > 0
        height, width = car.shape
        move = np.float32(
            [[1, 0, draw(-0.03, 0.03) * width], [0, 1, draw(0.01, 0.09) * height]]
        )  # (2, 3)
        shade = cv2.warpAffine(car.astype(np.float32), move, (width, height))
        shade = cv2.GaussianBlur(shade, (0, 0), draw(0.004, 0.04) * height)
        grey = draw(0, 110)
        tinted = draw(0, 1) < 0.4 and car.any()
        colour = data["image"][car].mean(axis=0) if tinted else np.full(3, grey)
        share = draw(0.2, 0.95) * shade * ~car
        return {"share": share[..., None], "colour": colour}

    def apply(
        self, img: np.ndarray, share: np.ndarray, colour: np.ndarray, **params: Any
    ) -> np.ndarray:
        return (img * (1 - share) + colour * share).astype(np.uint8)


class ReflectionBelow(_KnowsTheCar, A.ImageOnlyTransform):
    """The car upside down in a glossy floor, fading with depth.

    Column by column, the car is mirrored at its lowest pixel: near enough to what a polished floor
    shows of tyres and sills.
    """

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict[str, Any]:
        draw, car, img = self.py_random.uniform, data["mask"] > 0, data["image"]
        height, rows = len(car), np.arange(len(car))[:, None]
        lowest = np.where(
            car.any(axis=0), height - 1 - np.argmax(car[::-1], axis=0), height
        )  # (W,)
        source = np.clip(2 * lowest - rows, 0, height - 1)  # (H, W): the row that is seen mirrored
        below = (rows > lowest) & (rows <= 2 * lowest) & np.take_along_axis(car, source, axis=0)
        fading = np.clip(1 - (rows - lowest) / (height * draw(0.05, 0.3)), 0, 1)
        share = (draw(0.1, 0.8) * fading * below).astype(np.float32)
        share = cv2.GaussianBlur(share, (0, 0), 0.7) * ~car
        mirrored = np.take_along_axis(img, source[..., None], axis=0)
        mirrored = cv2.GaussianBlur(mirrored, (0, 0), draw(0.3, 2))
        return {"share": share[..., None], "mirrored": mirrored}

    def apply(
        self, img: np.ndarray, share: np.ndarray, mirrored: np.ndarray, **params: Any
    ) -> np.ndarray:
        return (img * (1 - share) + mirrored * share).astype(np.uint8)
