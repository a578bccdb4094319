"""One photo: the layers that the renderer draws, put together, and the labels that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import photo
from .camera import aim, car_turn
from .geometry import rotation
from .gloss import Surroundings, mirrored
from .labels import tidy, vote
from .render import Stage

FINE, LARGE = 3, 1000  # first-hit rays per pixel and direction; above LARGE pixels width 2 do


@dataclass(frozen=True)
class Plate:
    """The empty room: picture (H, W, 3), linear, and how brightly wall and floor are lit."""

    picture: np.ndarray
    wall_level: float
    floor_level: float


def factor(width: int) -> int:
    """First-hit rays per pixel and direction for a picture of this width in pixels."""
    return FINE if width <= LARGE else 2


def shoot_plate(stage: Stage, width: int, height: int, samples: int) -> Plate:
    """The room without the car."""
    scene = stage.empty_scene()
    light = stage.light(scene, stage.sensor(width, height), samples, 7)
    k = 4 if width <= LARGE else 2  # letters have the sharpest edges of the room
    hits = stage.first_hits(scene, stage.sensor(width * k, height * k))
    levels = [photo.light_level(light, hits, hits[name]) for name in ("wall", "floor")]
    return Plate(photo.smooth_plate(light, hits), *levels)


def shoot(stage: Stage, plate: Plate, angle: int, samples: int, seed: int):
    """(linear picture (H, W, 3), parts (H, W) uint8) of one angle."""
    height, width = plate.picture.shape[:2]
    k, crop = factor(width), stage.box_in_picture(angle, width, height)
    scene = stage.scene(angle)
    fine = tuple(value * k for value in crop)
    hits = stage.first_hits(scene, stage.sensor(width * k, height * k, fine))
    light = stage.light(scene, stage.sensor(width, height, crop), samples, seed)
    parts, coverage = vote(hits["label"], k)
    mirror, share = mirrored(hits, aim(stage.camera, width / height)[0],
                             _surroundings(stage, plate, angle))  # fmt: skip
    layers = {
        "mirror": photo.average_car(mirror, hits["label"], k),
        "share": photo.average_car(share[..., None], hits["label"], k),
        "clear": photo.average_car((hits["clear"] * (1 - share))[..., None], hits["label"], k),
    }
    layers["behind"] = _behind(stage, angle, layers["clear"][..., 0], crop, (width, height),
                               samples, seed + 1)  # fmt: skip
    picture = photo.compose(plate.picture, light, hits, coverage, crop, layers)
    whole = np.zeros((height, width), np.uint8)
    left, top, wide, high = crop
    whole[top : top + high, left : left + wide] = parts
    return picture, tidy(whole)


def _surroundings(stage: Stage, plate: Plate, angle: int) -> Surroundings:
    turn = rotation("z", car_turn(angle, stage.camera))
    reach = np.abs(np.concatenate([p.mesh.vertices[::7] for p in stage.parts])).max(axis=0)
    return Surroundings(
        stage.studio, stage.mirrored["wall"], stage.mirrored["floor"], stage.mirrored["sky"],
        plate.wall_level, plate.floor_level, turn, turn @ np.array([*stage.camera.offset, 0.0]),
        (float(reach[0]), float(reach[1])),
    )  # fmt: skip


def _behind(stage: Stage, angle: int, clear: np.ndarray, crop, size, samples: int, seed: int):
    """Light (H, W, 3) of what lies behind the panes, over the crop; black where there are none."""
    light = np.zeros((*clear.shape, 3), np.float32)
    rows, columns = np.flatnonzero(clear.any(axis=1)), np.flatnonzero(clear.any(axis=0))
    if len(rows) == 0:
        return light
    top, left = rows[0], columns[0]
    high, wide = rows[-1] + 1 - top, columns[-1] + 1 - left
    inner = (crop[0] + left, crop[1] + top, wide, high)
    scene = stage.scene(angle, glazed=False)
    hits = stage.first_hits(
        scene, stage.sensor(size[0] * 2, size[1] * 2, tuple(2 * value for value in inner))
    )
    drawn = stage.light(scene, stage.sensor(*size, inner), samples, seed)
    everywhere = np.ones((high, wide), np.float32)
    # The room beyond is seen through the panes of the other side as well.
    beyond = photo.average((hits["label"] == 0).astype(np.float32)[..., None], 2)
    drawn = photo.denoise(drawn, hits, everywhere) * (1 - 0.4 * beyond)
    light[top : top + high, left : left + wide] = drawn
    return cv2.GaussianBlur(light, (0, 0), 0.4)


__all__ = ["Plate", "factor", "shoot", "shoot_plate"]
