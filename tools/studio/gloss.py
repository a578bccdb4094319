"""Reflections of the room in paint, glass and chrome: computed ray by ray, so without noise.

The path tracer draws what is diffuse; the mirror on top of it is looked up here. A reflected ray
meets floor, wall or light strips where they are known in closed form, so one ray is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .studio import FLOOR_SIZE, WALL_HEIGHT, WALL_RADIUS, Studio


@dataclass(frozen=True)
class Surroundings:
    """The room as a mirror sees it; textures are linear RGB, levels are light over albedo.

    turn is the car's rotation (3, 3), foot (3,) its place, half its half length and half width.
    """

    studio: Studio
    wall: np.ndarray
    floor: np.ndarray
    sky: np.ndarray
    wall_level: float
    floor_level: float
    turn: np.ndarray
    foot: np.ndarray
    half: tuple[float, float]

    def seen(self, start: np.ndarray, way: np.ndarray) -> np.ndarray:
        """Light (N, 3) that rays from start (N, 3) along unit vectors way (N, 3) meet."""
        colour = self._sky(way)
        reach = _to_cylinder(start, way)
        spot = start + way * reach[:, None]
        azimuth = np.arctan2(spot[:, 1], -spot[:, 0])
        on_wall = (np.abs(azimuth) < 2.0) & (spot[:, 2] < WALL_HEIGHT)
        texels = _texel(self.wall, (azimuth + 2) / 4, 1 - spot[:, 2] / WALL_HEIGHT)
        # The wall's foot is painted like the floor.
        low = (spot[:, 2] < self.studio.skirting)[:, None]
        texels = np.where(low, np.asarray(self.studio.floor) * self.floor_level,
                          texels * self.wall_level)  # fmt: skip
        colour = np.where(on_wall[:, None], texels, colour)
        drop = -start[:, 2] / np.minimum(way[:, 2], -1e-6)
        ground = start + way * drop[:, None]
        on_floor = (way[:, 2] < 0) & (drop < reach)
        texels = _texel(
            self.floor, ground[:, 0] / FLOOR_SIZE + 0.5, 0.5 - ground[:, 1] / FLOOR_SIZE
        )
        texels = texels * self.floor_level * self._shade(ground)[:, None]
        return np.where(on_floor[:, None], texels, colour)

    def _sky(self, way: np.ndarray) -> np.ndarray:
        turn = np.arctan2(way[:, 0], way[:, 1]) / (2 * np.pi) % 1.0
        return _texel(self.sky, turn, np.arccos(np.clip(way[:, 2], -1, 1)) / np.pi)

    def _shade(self, ground: np.ndarray) -> np.ndarray:
        """How bright the floor is beside the car: dark under it, full a metre away."""
        flat = np.abs((ground - self.foot) @ self.turn)[:, :2]
        gap = np.linalg.norm(np.clip(flat - np.array(self.half) + 0.15, 0, None), axis=1)
        return 0.12 + 0.88 * np.clip(gap / 1.1, 0, 1) ** 0.8


def _to_cylinder(start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Distance (N,) along rays from inside the round wall to the wall."""
    a = np.maximum((way[:, :2] ** 2).sum(1), 1e-6)
    b = (start[:, :2] * way[:, :2]).sum(1)
    c = (start[:, :2] ** 2).sum(1) - WALL_RADIUS**2
    return (-b + np.sqrt(np.maximum(b * b - a * c, 0))) / a


def _texel(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    high, wide = texture.shape[:2]
    column = np.clip((u * wide).astype(int), 0, wide - 1)
    return texture[np.clip((v * high).astype(int), 0, high - 1), column]


def mirrored(hits: dict, eye: np.ndarray, room: Surroundings) -> tuple[np.ndarray, np.ndarray]:
    """(light (H, W, 3) that the clear surfaces mirror, their reflectance (H, W) in 0..1).

    Fresnel's law in Schlick's form; a lamp's lens is ribbed, so its normal sways.
    """
    shiny = hits["gloss"] > 0
    light = np.zeros((*shiny.shape, 3), np.float32)
    share = np.zeros(shiny.shape, np.float32)
    if not shiny.any():
        return light, share
    spot, normal = hits["position"][shiny].astype(float), hits["normal"][shiny].astype(float)
    view = spot - eye
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    flat = (spot - room.foot) @ room.turn
    sway = np.stack(
        [np.sin(190 * flat[:, 2]), np.sin(150 * flat[:, 1]), np.sin(170 * flat[:, 2])], 1
    )
    normal = normal + sway * hits["ribs"][shiny][:, None]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    along = (view * normal).sum(1)
    normal, along = normal * -np.sign(along)[:, None], np.abs(along)
    base = hits["gloss"][shiny]
    fresnel = base + (1 - base) * (1 - np.clip(along, 0, 1)) ** 5
    way = view + 2 * along[:, None] * normal
    light[shiny] = (
        room.seen(spot, way / np.linalg.norm(way, axis=1, keepdims=True)) * fresnel[:, None]
    )
    share[shiny] = fresnel
    return light, share


__all__ = ["Surroundings", "mirrored"]
