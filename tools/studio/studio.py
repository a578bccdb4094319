"""The studio around the car: round wall with lettering, turntable, floor edge, light.

Studio coordinates: the turntable's middle is the origin, the camera stands at +x and looks
towards -x, so the picture's right is +y. One studio belongs to one car: it does not change over
the 16 angles, as in a real session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .geometry import Mesh, box, lathe, loft
from .lettering import WORDS, word_mask

OUT_OF_VIEW = 4.6  # metres towards the camera
COVE_RADIUS = 4.3  # where the floor begins to rise towards the wall
WALL_RADIUS, WALL_HEIGHT, FLOOR_SIZE = 7.0, 6.5, 20.0  # metres; the floor's texture is square


@dataclass(frozen=True)
class Studio:
    """One session's room; colours are linear RGB."""

    word: str
    bold_from: int
    letter_span: tuple[float, float]  # azimuth on the wall in radians, left and right end
    letter_height: tuple[float, float]  # metres, lower and upper edge
    letter_tone: float
    wall: tuple[float, float, float]
    floor: tuple[float, float, float]
    dust: float  # 0..1, how beige the turntable is
    skirting: float  # metres of the wall's foot that are painted like the floor
    platform: float  # radius of the turntable
    edge: float  # x at which the floor ends towards the camera
    edge_bend: float
    edge_kind: str  # what lies beyond: dark, wood, grey, white
    lights: int
    light_power: float
    seed: int


def draw_studio(rng: np.random.Generator) -> Studio:
    """Draw one session's room: mostly alike, as in a real studio, never the same."""
    word = str(rng.choice(WORDS))
    cool = float(rng.uniform(-1, 1))
    base = rng.uniform(0.175, 0.245)
    floor = base * np.array([0.985 - 0.02 * cool, 1.0, 1.0 + 0.03 * cool])
    dust = float(rng.uniform(0, 1))
    wall = rng.uniform(0.84, 0.89) * np.array([1 - 0.008 * cool, 1.0, 0.99 + 0.008 * cool])
    left = rng.normal(-0.79, 0.03)
    low = rng.uniform(0.76, 0.86)
    return Studio(
        word=word, bold_from=round(len(word) * rng.uniform(0.38, 0.55)),
        letter_span=(float(left), float(left + rng.uniform(1.46, 1.60))),
        letter_height=(float(low), float(low + rng.uniform(1.30, 1.60))),
        letter_tone=float(rng.uniform(0.05, 0.13)),
        wall=tuple(wall), floor=tuple(floor), dust=dust,
        skirting=float(low - rng.uniform(0.0, 0.05)),
        platform=float(rng.uniform(2.95, 3.25)),
        edge=float(rng.uniform(2.95, 3.4) if rng.uniform() < 0.30 else OUT_OF_VIEW),
        edge_bend=float(rng.uniform(-0.06, 0.03)),
        edge_kind=str(rng.choice(["dark", "wood", "grey", "white"], p=[0.5, 0.2, 0.15, 0.15])),
        lights=int(rng.integers(3, 6)), light_power=float(rng.uniform(1.8, 3.2)),
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


def wall_mesh() -> Mesh:
    """Cylinder behind the car; u runs from picture left to right, v from the foot up."""
    azimuth = np.linspace(-2.0, 2.0, 96)
    height = np.array([0.0, WALL_HEIGHT])
    x = -WALL_RADIUS * np.cos(azimuth)
    y = WALL_RADIUS * np.sin(azimuth)
    points = np.stack([np.stack([x, y, np.full_like(x, z)], -1) for z in height])
    mesh = loft(points)
    mesh.uv = np.stack(
        [np.tile((azimuth + 2.0) / 4.0, 2), np.repeat(1 - height / WALL_HEIGHT, len(azimuth))], -1
    )
    return mesh


def cove_mesh(studio: Studio) -> Mesh:
    """The curved foot of the wall, painted like the floor, so that no line shows between."""
    azimuth = np.linspace(-2.0, 2.0, 96)
    bend = np.linspace(0, np.pi / 2, 16)
    radius = COVE_RADIUS + (WALL_RADIUS - COVE_RADIUS - 0.01) * np.sin(bend)
    height = 0.001 + studio.skirting * (1 - np.cos(bend))
    points = np.stack([
        np.stack([-r * np.cos(azimuth), r * np.sin(azimuth), np.full_like(azimuth, z)], -1)
        for r, z in zip(radius, height, strict=True)
    ])  # fmt: skip
    mesh = loft(points)
    mesh.uv = mesh.vertices[:, :2] / FLOOR_SIZE + 0.5
    return mesh


def floor_mesh(studio: Studio) -> Mesh:
    """Floor from the wall to its edge in front of the camera."""
    y = np.linspace(-FLOOR_SIZE / 2, FLOOR_SIZE / 2, 80)
    far = np.full_like(y, -FLOOR_SIZE / 2)
    near = edge_line(studio, y)
    points = np.stack([np.stack([x, y, np.zeros_like(y)], -1) for x in (near, far)])
    mesh = loft(points)
    if mesh.normals[0, 2] < 0:
        mesh = Mesh(mesh.vertices, -mesh.normals, mesh.faces[:, ::-1])
    mesh.uv = mesh.vertices[:, :2] / FLOOR_SIZE + 0.5
    return mesh


def edge_line(studio: Studio, y: np.ndarray) -> np.ndarray:
    return studio.edge + studio.edge_bend * y**2


def edge_meshes(studio: Studio) -> dict[str, Mesh]:
    """The white lip at the floor's edge, the step under it, and what lies below."""
    y = np.linspace(-6, 6, 60)
    x = edge_line(studio, y)
    rows = [(0.0, 0.002), (0.0, 0.02), (0.05, 0.02), (0.05, -0.03)]
    lip = loft(np.stack([np.stack([x + dx, y, np.full_like(y, z)], -1) for dx, z in rows]))
    rows = [(0.05, -0.03), (0.05, -0.25)]
    step = loft(np.stack([np.stack([x + dx, y, np.full_like(y, z)], -1) for dx, z in rows]))
    below = box([1.0, -6, -0.30], [9.0, 6, -0.25])
    return {"lip": lip, "step": step, "below": below}


def ring_mesh(studio: Studio) -> Mesh:
    """The dark joint around the turntable, a hair above the floor."""
    r = studio.platform
    return lathe_z(np.array([(r - 0.008, 0.0015), (r + 0.008, 0.0015)]))


def lathe_z(profile: np.ndarray) -> Mesh:
    mesh = lathe(profile, 160)
    swap = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    return mesh.turned(swap)


def wall_texture(studio: Studio, width: int = 3072) -> np.ndarray:
    """Wall colours (H, W, 3), linear, first row at the top."""
    height = int(width * WALL_HEIGHT / (4.0 * WALL_RADIUS))
    rng = np.random.default_rng([studio.seed, 1])
    tone = 1 + 0.025 * _noise(rng, 2, width, 9)[:1] + 0.012 * _noise(rng, height, width, 8)
    texture = np.asarray(studio.wall) * tone[..., None]
    metre = height / WALL_HEIGHT
    left, right = (int((a + 2.0) / 4.0 * width) for a in studio.letter_span)
    low, high = (height - int(z * metre) for z in studio.letter_height)
    letters = word_mask(studio.word, right - left, low - high, studio.bold_from)[..., None]
    patch = texture[high:low, left:right]
    texture[high:low, left:right] = patch * (1 - letters) + studio.letter_tone * letters
    x0 = left + int(0.40 * (right - left))
    y0 = high - int(0.18 * metre)
    frame = np.zeros((height, width), bool)
    frame[y0 : y0 + 3, x0 : x0 + int(0.24 * (right - left))] = True
    frame[y0:high, x0 : x0 + 3] = True
    texture[frame] *= 0.95
    return np.clip(texture, 0.01, 0.92).astype(np.float32)


def floor_texture(studio: Studio, size: int = 2048) -> np.ndarray:
    """Floor colours (size, size, 3), linear; row is -y to +y flipped, as the renderer reads it."""
    rng = np.random.default_rng([studio.seed, 2])
    grid = (np.arange(size) + 0.5) / size * FLOOR_SIZE - FLOOR_SIZE / 2
    x, y = np.meshgrid(grid, -grid)
    radius = np.hypot(x, y)
    tone = 1 + 0.02 * _noise(rng, size, size, 8) + 0.012 * _noise(rng, size, size, 60)
    tone += 0.012 * rng.standard_normal((size, size))
    inside = radius < studio.platform
    stains = np.clip(_noise(rng, size, size, 46) - 1.2, 0, None) * inside
    tone -= 0.08 * studio.dust * stains
    turn = rng.uniform(0, np.pi)
    for k in range(3):
        a = turn + k * np.pi / 3
        line = np.abs(x * np.sin(a) - y * np.cos(a)) < 0.006
        tone = np.where(line & inside, tone * 0.78, tone)
    for _ in range(int(rng.integers(0, 5))):  # tyres leave arcs where cars drive on and off
        gone = np.hypot(x - rng.normal(0, 6), y - rng.normal(0, 6))
        mark = np.exp(-(((gone - rng.uniform(3, 8)) / 0.09) ** 2))
        tone -= rng.uniform(0.02, 0.10) * mark * np.clip(_noise(rng, size, size, 14) + 0.6, 0, 1.5)
    for _ in range(int(rng.integers(0, 4))):  # scratches
        a, at = rng.uniform(0, np.pi), rng.uniform(-2.4, 2.4, 2)
        along = (x - at[0]) * np.cos(a) + (y - at[1]) * np.sin(a)
        across = (x - at[0]) * np.sin(a) - (y - at[1]) * np.cos(a) + 0.05 * along**2
        tone *= np.where((np.abs(across) < 0.008) & (np.abs(along) < 0.22), 0.55, 1.0)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1]))):  # glare, as of a low sun
        at, wide, long = rng.uniform(-3.5, 3.5, 2), rng.uniform(0.15, 0.5), rng.uniform(0.5, 1.6)
        spot = ((x - at[0]) / long) ** 2 + ((y - at[1]) / wide) ** 2
        tone += rng.uniform(0.1, 0.45) * np.exp(-spot)
    tone *= np.where(inside, rng.uniform(0.97, 1.12), 1.0)
    back = np.clip((-x - 1.0) / 3.3, 0, 1)
    tone *= 1 + 0.30 * back * back * (
        3 - 2 * back
    )  # the wall keeps light off it; not so in reality
    worn = np.clip(0.6 + 0.5 * _noise(rng, size, size, 9), 0, 1.4) * inside * studio.dust
    tint = 1 + worn[..., None] * np.array([0.025, -0.02, -0.17])
    texture = np.asarray(studio.floor) * tone[..., None] * tint
    return np.clip(texture, 0.01, 0.85).astype(np.float32)


def cove_texture(floor: np.ndarray) -> np.ndarray:
    """The floor's colours, brighter towards the wall: in the real room both are nearly one tone."""
    size = len(floor)
    grid = (np.arange(size) + 0.5) / size * FLOOR_SIZE - FLOOR_SIZE / 2
    radius = np.hypot(*np.meshgrid(grid, grid))
    up = np.clip((radius - COVE_RADIUS) / (WALL_RADIUS - COVE_RADIUS), 0, 1)
    return np.clip(floor * (1 + 0.40 * up**1.5)[..., None], 0, 0.9).astype(np.float32)


def below_texture(studio: Studio, size: int = 512) -> np.ndarray:
    """What lies beyond the floor's edge: dirty dark floor, wood, or grey concrete."""
    rng = np.random.default_rng([studio.seed, 3])
    base = {
        "dark": (0.032, 0.031, 0.030),
        "wood": (0.40, 0.27, 0.17),
        "grey": (0.20, 0.20, 0.20),
        "white": (0.45, 0.45, 0.44),
    }
    tone = 1 + 0.45 * _noise(rng, size, size, 12) + 0.35 * _noise(rng, size, size, 90)
    streak = _noise(rng, size, 1, 40) if studio.edge_kind == "wood" else 0.0
    texture = np.asarray(base[studio.edge_kind]) * np.clip(tone + 0.3 * streak, 0.15, 3)[..., None]
    return np.clip(texture, 0.004, 0.8).astype(np.float32)


def sky(studio: Studio, width: int = 256) -> np.ndarray:
    """Light from all around (H, W, 3): white room, darker towards the camera, strips overhead."""
    rng = np.random.default_rng([studio.seed, 4])
    height = width // 2
    turn = (np.arange(width) + 0.5) / width * 2 * np.pi
    polar = (np.arange(height) + 0.5) / height * np.pi
    turn, polar = np.meshgrid(turn, polar)
    wx, wy, wz = np.sin(polar) * np.sin(turn), np.sin(polar) * np.cos(turn), np.cos(polar)
    level = np.where(wz > 0, 0.66, 0.0)  # floor and wall hide the rest: no samples are wasted there
    level = np.where((wx < 0.2) & (wz < 0.45), 0.0, level)
    level = np.where((wx > 0.1) & (wz > 0), 0.42, level)  # little comes in low, most from above
    level = np.where((wx > 0.1) & (wz > 0.42) & (wz < 0.85), 1.35, level)
    slot = np.clip((wx - 0.86) / 0.06, 0, 1) * (wz < 0.25)
    level = level * (1 - 0.8 * slot)
    up = np.maximum(wz, 1e-3)
    px, py = wx / up, wy / up
    low = wz > 0.28
    along = rng.uniform(1.5, 2.3)
    for c in np.linspace(-1.5, 1.5, studio.lights) + rng.uniform(-0.08, 0.08):
        strip = (np.abs(py - c) < 0.20) & (np.abs(px) < along) & low
        level = np.where(strip, studio.light_power, level)
    tint = np.array([1.0, 0.995, 0.985])
    return (level[..., None] * tint).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth random field with unit deviation, about `cells` blobs across."""
    small = rng.standard_normal((max(2, cells * height // max(width, 1)), max(2, cells)))
    image = Image.fromarray(small.astype(np.float32))
    field = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return field / max(field.std(), 1e-6)
