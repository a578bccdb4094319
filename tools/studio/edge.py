"""Where the floor ends towards the camera: its lip, the step, and what lies below.

In about half of the real sessions something of it shows at the picture's lower edge: a dark worn
beam behind a white lip, a red-brown line, or no more than bright corners.
"""

from __future__ import annotations

import cv2
import numpy as np

from .geometry import Mesh, box, loft
from .studio import Studio, edge_line

LIP = {"dark": 0.10, "red": 0.26, "wood": 0.22, "white": 0.30, "corner": 0.30, "none": 0.05}


def edge_meshes(studio: Studio) -> dict[str, Mesh]:
    """The lip at the floor's edge, the step under it, and what lies below."""
    y = np.linspace(-6, 6, 60)
    x, wide = edge_line(studio, y), LIP[studio.edge_kind]
    rows = [(0.0, 0.002, 0.0), (0.004, 0.016, 0.06), (wide, 0.016, 0.94), (wide + 0.01, -0.03, 1.0)]
    lip = loft(np.stack([np.stack([x + dx, y, np.full_like(y, z)], -1) for dx, z, _ in rows]))
    along = np.tile((y + 6) / 12, len(rows))
    lip.uv = np.stack([along, np.repeat([1 - v for *_, v in rows], len(y))], -1)
    rows = [(wide, -0.03), (wide, -0.16)]
    step = loft(np.stack([np.stack([x + dx, y, np.full_like(y, z)], -1) for dx, z in rows]))
    below = box([1.0, -6, -0.20], [9.0, 6, -0.16])
    below.uv = below.vertices[:, :2] / 8.0
    return {"lip": lip, "step": step, "below": below}


def lip_texture(studio: Studio, wide: int = 2048, high: int = 48) -> np.ndarray:
    """Colours of the lip (high, wide, 3), linear; first row at the floor, last at the camera."""
    rng = np.random.default_rng([studio.seed, 5])
    across = np.linspace(0, 1, high)[:, None] * np.ones((1, wide))
    white = np.array([0.62, 0.62, 0.61]) * (1 + 0.06 * _streaks(rng, high, wide, 3, 90))[..., None]
    if studio.edge_kind in ("red", "wood"):
        wander = 0.02 * _streaks(rng, 1, wide, 1, 60)
        start, stop = rng.uniform(0.08, 0.25), rng.uniform(0.08, 0.20)
        line = (across > start + wander) & (across < start + stop + wander)
        worn = _streaks(rng, high, wide, 6, 160) > 1.0
        red = np.array([0.085, 0.036, 0.022]) * rng.uniform(0.7, 1.4)
        white = np.where((line & ~worn)[..., None], red, white)
    chips = (_streaks(rng, high, wide, 8, 300) > 2.3)[..., None]
    white = np.where(chips, np.array([0.10, 0.06, 0.045]), white)
    return np.clip(white, 0.01, 0.8).astype(np.float32)


def below_texture(studio: Studio, size: int = 1024) -> np.ndarray:
    """What lies beyond the lip (size, size, 3), linear: columns run towards the camera."""
    rng = np.random.default_rng([studio.seed, 3])
    base = np.asarray({
        "dark": (0.026, 0.025, 0.024), "wood": (0.13, 0.075, 0.042), "red": (0.50, 0.49, 0.48),
    }.get(studio.edge_kind, (0.45, 0.45, 0.44)))  # fmt: skip
    rough = 0.45 if studio.edge_kind in ("dark", "wood") else 0.10
    tone = (
        1
        + rough * _streaks(rng, size, size, 5, 170)
        + 0.5 * rough * _streaks(rng, size, size, 200, 300)
    )
    texture = base * np.clip(tone, 0.25, 3)[..., None]
    if studio.edge_kind == "dark":  # scraps of paper and chipped paint
        for _ in range(int(rng.integers(4, 14))):
            row, column = rng.integers(0, size, 2)
            long, wide = rng.integers(2, 9), rng.integers(1, 3)
            texture[row : row + long, column : column + wide] = rng.uniform(0.2, 0.5) * np.array(
                [1.0, 0.9, 0.65]
            )
    if studio.edge_kind == "wood":  # posts
        for row in range(int(rng.integers(0, 170)), size, 170):
            texture[row : row + 5] = (0.30, 0.25, 0.18)
    return np.clip(texture, 0.004, 0.8).astype(np.float32)


def _streaks(rng: np.random.Generator, high: int, wide: int, rows: int, columns: int) -> np.ndarray:
    """Smooth noise (high, wide) of unit deviation from a grid of rows x columns values."""
    grid = rng.standard_normal((rows, columns)).astype(np.float32)
    field = cv2.resize(grid, (wide, high), interpolation=cv2.INTER_CUBIC)
    return field / max(float(field.std()), 1e-6)
