"""The studio around the car: round wall with lettering, turntable, floor edge, light.

Studio coordinates: the turntable's middle is the origin, the camera stands at +x and looks
towards -x, so the picture's right is +y. One studio belongs to one car: it does not change over
the 16 angles, as in a real session.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Mesh, lathe, loft
from .lettering import WORDS, word_mask

OUT_OF_VIEW = 4.6  # metres towards the camera
COVE_RADIUS = 4.3  # where the floor begins to rise towards the wall
WALL_RADIUS, WALL_HEIGHT, FLOOR_SIZE = 7.0, 6.5, 20.0  # metres; the floor's texture is square


# kind: (share of the sessions, x of the edge in metres (low, high)). In the real set about 5 % show
# the dark beam, 10 % the red line, 2 % wood, 25 % bright corners; what is mistaken for a car is
# drawn a little more often here.
EDGES = {
    "none": (0.45, (OUT_OF_VIEW, OUT_OF_VIEW)),
    "corner": (0.21, (3.40, 3.80)),
    "red": (0.13, (2.85, 3.20)),
    "dark": (0.12, (2.66, 2.95)),
    "wood": (0.05, (2.70, 3.00)),
    "white": (0.04, (2.95, 3.30)),
}


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
    edge_tilt: float
    edge_kind: str  # what shows of it: see EDGES
    lights: int
    light_power: float
    seed: int


def draw_studio(rng: np.random.Generator) -> Studio:
    """Draw one session's room: mostly alike, as in a real studio, never the same."""
    word = str(rng.choice(WORDS))
    cool = float(rng.uniform(-1, 1))
    base = rng.uniform(0.165, 0.265)
    floor = base * np.array([0.985 - 0.02 * cool, 1.0, 1.0 + 0.03 * cool])
    dust = float(rng.uniform(0, 1))
    wall = rng.uniform(0.84, 0.89) * np.array([1 - 0.008 * cool, 1.0, 0.99 + 0.008 * cool])
    left = rng.normal(-0.79, 0.03)
    low = rng.uniform(0.76, 0.86)
    kind = str(rng.choice(list(EDGES), p=[share for share, _ in EDGES.values()]))
    lean = 0.06 if kind == "corner" else 0.008
    return Studio(
        word=word, bold_from=round(len(word) * rng.uniform(0.38, 0.55)),
        letter_span=(float(left), float(left + rng.uniform(1.46, 1.60))),
        letter_height=(float(low), float(low + rng.uniform(1.30, 1.60))),
        letter_tone=float(rng.uniform(0.05, 0.13)),
        wall=tuple(wall), floor=tuple(floor), dust=dust,
        skirting=float(low - rng.uniform(0.0, 0.05)),
        platform=float(rng.uniform(2.95, 3.25)),
        edge=float(rng.uniform(*EDGES[kind][1])), edge_kind=kind,
        edge_bend=float(rng.uniform(-0.05, -0.01) if kind != "none" else 0.0),
        edge_tilt=float(rng.normal(0, lean)),
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
    """x at which the floor ends, at y; both in metres."""
    return studio.edge + studio.edge_tilt * y + studio.edge_bend * y**2


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
    grid = ((np.arange(size) + 0.5) / size * FLOOR_SIZE - FLOOR_SIZE / 2).astype(np.float32)
    x, y = np.meshgrid(grid, -grid)
    tone = 1 + 0.02 * _noise(rng, size, size, 8) + 0.012 * _noise(rng, size, size, 60)
    tone += 0.012 * rng.standard_normal((size, size), dtype=np.float32)
    inside = np.hypot(x, y) < studio.platform
    tone -= 0.08 * studio.dust * np.clip(_noise(rng, size, size, 46) - 1.2, 0, None) * inside
    tone = _wear(tone, x, y, inside, rng)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.5, 0.25, 0.15, 0.1]))):  # as of a low sun
        at, wide, long = rng.uniform(-3.5, 3.5, 2), rng.uniform(0.12, 0.5), rng.uniform(0.5, 1.8)
        lean = float(rng.uniform(-0.6, 0.6))
        far, side = x - float(at[0]), y - float(at[1])
        spot = ((far + lean * side) / float(long)) ** 2 + ((side - lean * far) / float(wide)) ** 2
        tone += float(rng.uniform(0.1, 0.5)) * np.exp(-spot)
    tone *= np.where(inside, np.float32(rng.uniform(0.97, 1.12)), np.float32(1))
    # The wall keeps light off the floor before it; not so in reality.
    back = np.clip((-x - 1.0) / 3.3, 0, 1)
    tone *= 1 + 0.36 * back * back * (3 - 2 * back)
    worn = np.clip(0.6 + 0.5 * _noise(rng, size, size, 9), 0, 1.4) * inside * studio.dust
    tints = zip(studio.floor, (0.025, -0.02, -0.17), strict=True)
    texture = np.stack([float(base) * tone * (1 + shift * worn) for base, shift in tints], -1)
    return np.clip(texture, 0.01, 0.85, out=texture)


def _wear(tone: np.ndarray, x: np.ndarray, y: np.ndarray, inside: np.ndarray, rng) -> np.ndarray:
    """Joints of the turntable's plates, arcs left by tyres, scratches; x and y in metres."""
    turn = float(rng.uniform(0, np.pi))
    for k in range(3):
        a = turn + k * np.pi / 3
        line = np.abs(x * float(np.sin(a)) - y * float(np.cos(a))) < 0.006
        tone = np.where(line & inside, tone * np.float32(0.78), tone)
    for _ in range(int(rng.integers(0, 5))):  # where cars drive on and off
        gone = np.hypot(x - float(rng.normal(0, 6)), y - float(rng.normal(0, 6)))
        mark = np.exp(-(((gone - float(rng.uniform(3, 8))) / 0.09) ** 2))
        worn = np.clip(_noise(rng, *tone.shape, 14) + 0.6, 0, 1.5)
        tone = tone - float(rng.uniform(0.02, 0.10)) * mark * worn
    for _ in range(int(rng.integers(0, 4))):
        a, at = float(rng.uniform(0, np.pi)), rng.uniform(-2.4, 2.4, 2)
        far, side, along_a, across_a = x - float(at[0]), y - float(at[1]), np.cos(a), np.sin(a)
        along = far * float(along_a) + side * float(across_a)
        across = far * float(across_a) - side * float(along_a) + 0.05 * along**2
        tone = np.where((np.abs(across) < 0.008) & (np.abs(along) < 0.22), tone * 0.55, tone)
    return tone


def cove_texture(floor: np.ndarray) -> np.ndarray:
    """The floor's colours, brighter towards the wall: in the real room both are nearly one tone."""
    size = len(floor)
    grid = (np.arange(size) + 0.5) / size * FLOOR_SIZE - FLOOR_SIZE / 2
    radius = np.hypot(*np.meshgrid(grid, grid))
    up = np.clip((radius - COVE_RADIUS) / (WALL_RADIUS - COVE_RADIUS), 0, 1)
    return np.clip(floor * (1 + 0.40 * up**1.5)[..., None], 0, 0.9).astype(np.float32)


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
    field = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return field / max(float(field.std()), 1e-6)
