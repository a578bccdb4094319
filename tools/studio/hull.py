"""The body shell of a car: one closed loft, from which windows, lamps and lines are then cut."""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, cut, loft, merge, refine
from .styles import CarSpec

STATIONS = 130
SEAM = 0.0045  # half width of a shut line in metres
LOWER, SHOULDER, UPPER = 30, 7, 32  # points of a half section


class Shell:
    """The shape of one body as functions of x, and the lofted surface.

    top(x), belt(x), half_width(x) and cabin_width(x) are heights and half widths in metres.
    """

    def __init__(self, spec: CarSpec):
        self.spec = spec
        d = spec.details
        self.boxy = spec.style in ("suv", "van", "pickup", "wagon", "hatchback")
        x = np.array([p[0] for p in spec.roof_line])[::-1]
        z = np.array([p[1] for p in spec.roof_line])[::-1]
        self._x = np.linspace(-spec.length / 2 - 0.3, spec.length / 2 + 0.3, 900)
        step = self._x[1] - self._x[0]
        self._top = _smooth(np.interp(self._x, x, z), 0.045 / step)
        self._top = np.maximum(self._top, np.interp(self._x, x, z) - 0.03)
        self._top = _smooth(self._top, 0.03 / step)
        square = 4.0 * spec.square
        self.front_power = 4.6 + 2.4 * (1 - d["front_round"]) + 1.5 * self.boxy + square
        self.rear_power = 6.0 + 3.0 * (1 - d["rear_round"]) + 5.0 * self.boxy + square
        self._up = np.linspace(0, 1, LOWER)
        self.arch = spec.wheel_radius * 1.0 + (0.065 if spec.style == "pickup" else 0.045)

    @property
    def seams(self) -> list[float]:
        """x of the shut lines of doors and bonnet."""
        s = self.spec
        lines = [s.cowl[0] - 0.02, s.pillars[0] + 0.02, s.cowl[0] + 0.06]
        if s.doors >= 4:
            lines.append(s.pillars[1] + 0.03 if len(s.pillars) > 1 else s.rear_base[0] + 0.09)
        if s.style == "pickup":
            lines.append(s.rear_base[0] - 0.06)
        return lines

    def top(self, x: np.ndarray) -> np.ndarray:
        return np.interp(x, self._x, self._top)

    def belt(self, x: np.ndarray) -> np.ndarray:
        s = self.spec
        ends = (s.rear_base[0], s.cowl[0])
        line = np.interp(x, ends, s.belt[::-1])
        line += np.clip(x - s.cowl[0], 0, None) * -0.06
        crown = np.interp(x, [s.rear_base[0], s.cowl[0], s.length / 2], [0.05, 0.045, 0.09])
        return np.minimum(line, self.top(x) - crown)

    def half_width(self, x: np.ndarray) -> np.ndarray:
        s = self.spec
        share = np.clip(2 * x / s.length, -1, 1)
        power = np.where(share > 0, self.front_power, self.rear_power)
        plan = np.clip(1 - np.abs(share) ** power, 0, 1) ** (1 / power)
        return s.width / 2 * plan * (1 - 0.025 * np.clip(-share, 0, 1))

    def cabin_width(self, x: np.ndarray) -> np.ndarray:
        s = self.spec
        ledge = 0.03 + 0.045 * s.details["shoulder"]
        if s.style == "pickup":
            ledge = np.where(x < s.rear_base[0], 0.005, ledge)
        return np.maximum(self.half_width(x) * 0.965 - ledge, 0.3 * self.half_width(x))

    def surface(self) -> Mesh:
        """The whole loft, closed at both ends."""
        wide = np.linspace(0, 0.93, 36)  # close to both ends the width, not x, sets the step
        front = (1 - wide**self.front_power) ** (1 / self.front_power)
        rear = -((1 - wide**self.rear_power) ** (1 / self.rear_power))
        middle = np.linspace(rear[-1], front[-1], STATIONS)[1:-1]
        x = np.concatenate([rear, middle, front[::-1]]) * self.spec.length / 2
        # A shut line is narrower than the grid: stations on both its sides make it cut cleanly.
        seams = [line + side for line in self.seams for side in (-2 * SEAM, 0, 2 * SEAM)]
        x = np.unique(np.concatenate([x, seams]))
        half = np.stack([self._half_section(station) for station in x])
        mirrored = half[:, -2:0:-1] * np.array([1.0, -1.0, 1.0])
        points = np.concatenate([half, mirrored], axis=1)
        return loft(self._bent(points), closed=True)

    def _half_section(self, x: float) -> np.ndarray:
        """Points (n, 3) of one half section, from the bottom's middle to the roof's."""
        s, d = self.spec, self.spec.details
        width, belt, top = self.half_width(x), float(self.belt(x)), float(self.top(x))
        low = self.bottom(x)
        up = np.linspace(0, 1, LOWER)
        lower = np.stack([width * self._bulge(up), low + (belt - low) * up], -1)
        floor = np.stack([np.linspace(0, lower[0, 0], 8)[:-1], np.full(7, low)], -1)
        inner = float(self.cabin_width(x))
        t = np.linspace(0, 1, SHOULDER + 1)[1:]
        rise = min(0.02, (top - belt) * 0.3)
        shoulder = np.stack(
            [lower[-1, 0] + (inner - lower[-1, 0]) * t**1.5, belt + rise * np.sin(t * np.pi / 2)],
            -1,
        )
        base = shoulder[-1]
        phi = np.linspace(0, 1, UPPER + 1)[1:]
        phi = (1 - (1 - phi) ** 1.7) * np.pi / 2  # finer towards the roof's middle
        corner = 2.9 + 1.3 * d["roof_corner"] + (0.8 if s.style in ("van", "pickup") else 0)
        corner += 1.5 * s.square
        rise_share = np.sin(phi) ** (2 / 2.6)
        z = base[1] + (top - base[1]) * rise_share
        lean = 0.30 + 0.12 * d["tumble"] - (0.12 if self.boxy else 0) - 0.12 * s.square
        y = base[0] * np.cos(phi) ** (2 / corner) * (1 - lean * (z - base[1]))
        y[-1] = 0.0
        section = np.concatenate([floor, lower, shoulder, np.stack([y, z], -1)])
        return np.column_stack([np.full(len(section), x), section])

    def _bulge(self, up: np.ndarray) -> np.ndarray:
        """Half width as a share of the widest, over the height from sill (0) to belt (1)."""
        shares = [0.9, 0.945, 0.975, 1.0, 0.998, 0.985, 0.965]
        line = np.interp(self._up, [0, 0.06, 0.2, 0.5, 0.72, 0.9, 1], shares)
        d = self.spec.details
        line = _smooth(line, 1.3 * LOWER / 24)
        for at, size in ((0.62 + 0.2 * d["crease"], 0.010), (0.22 + 0.2 * d["waist"], 0.007)):
            line = line + size * np.exp(-(((self._up - at) / 0.045) ** 2))
        return np.interp(up, self._up, line)

    def side(self, x: float, z: float) -> float:
        """Half width of the body in metres at a height between sill and belt."""
        low = self.bottom(x)
        up = (z - low) / max(float(self.belt(np.array(x))) - low, 0.05)
        return float(self.half_width(np.array(x)) * self._bulge(np.clip(np.array(up), 0, 1)))

    def roof(self, x: float, y: float) -> float:
        """Height in metres of the roof, or of the bonnet or boot lid, at (x, y)."""
        upper = self._half_section(x)[-UPPER:]
        return float(np.interp(y, upper[::-1, 1], upper[::-1, 2]))

    def end(self, y: float, z: float, front: bool) -> float:
        """x of the nose's or the tail's surface at (y, z), both in metres."""
        s, half = self.spec, self.spec.length / 2
        power = self.front_power if front else self.rear_power
        low = self.bottom(half if front else -half)
        belt = s.roof_line[0 if front else -1][1] - 0.06
        bulge = self._bulge(np.clip(np.array((z - low) / (belt - low)), 0, 1))
        wide = min(abs(y) / float(s.width / 2 * bulge * (1 if front else 0.975)), 0.999)
        x = half * (1 - wide**power) ** (1 / power) * (1 if front else -1)
        return float(self._bent(np.array([[[x, y, z]]]))[0, 0, 0])

    def bottom(self, x: float) -> float:
        """Height of the body's lower edge, a little higher towards both bumpers."""
        s = self.spec
        front = np.clip((x - s.front_axle) / (s.length / 2 - s.front_axle), 0, 1)
        rear = np.clip((s.rear_axle - x) / (s.length / 2 + s.rear_axle), 0, 1)
        return float(s.clearance + 0.025 * front**2 + (0.075 if self.boxy else 0.06) * rear**1.5)

    def _bent(self, points: np.ndarray) -> np.ndarray:
        """Lean and bow both ends: bumpers stand out, bonnet edge and sill draw back."""
        s = self.spec
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        half, width = s.length / 2, s.width / 2
        nose, tail = s.roof_line[0][1], s.roof_line[-1][1]
        near_front = _ramp(x, half - 1.0, half)
        near_rear = _ramp(-x, half - 0.9, half)
        lean = 0.08 if s.style in ("pickup", "suv", "van") else 0.15
        front = np.interp(
            z / nose, [0.1, 0.3, 0.42, 0.62, 0.8, 1.0], [0.12, 0.03, 0, 0.02, 0.07, 0.07]
        )
        front = np.where(z / nose > 0.8, 0.07 + (z / nose - 0.8) / 0.2 * (lean - 0.07), front)
        rear = np.interp(z / tail, [0.1, 0.35, 0.5, 0.7, 1.0], [0.14, 0.05, 0.0, 0.04, 0.075])
        bent = x - near_front * np.clip(front, 0, 0.3) + near_rear * np.clip(rear, 0, 0.3)
        cabin = (s.cowl[0] + s.rear_base[0]) / 2
        bow = 0.11 * (y / width) ** 2
        upper = _ramp(z, s.belt[0] - 0.1, s.belt[0] + 0.1)
        bent -= bow * upper * _ramp(x, cabin, s.cowl[0]) * (1 - near_front)
        bent += 0.5 * bow * upper * _ramp(-x, -cabin, -s.rear_base[0]) * (not self.boxy)
        return np.stack([bent, y, z], -1)

    def depth_below_roof(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Distance in the side view from (x, z) to the roof line: the width of a pillar there."""
        line = np.stack([self._x, self._top], -1)[::3]
        best = np.full(len(x), np.inf)
        for start in range(0, len(x), 8192):
            piece = slice(start, start + 8192)
            square = (x[piece, None] - line[None, :, 0]) ** 2
            square += (z[piece, None] - line[None, :, 1]) ** 2
            best[piece] = np.sqrt(square.min(axis=1))
        return np.where(z > self.top(x), -best, best)


def carve(mesh: Mesh, region, where=None) -> tuple[Mesh, Mesh]:
    """Cut out the part of a mesh where region(x, y, z, normals) is negative: (inside, rest)."""
    x, y, z = mesh.vertices.T
    return cut(mesh, region(x, y, z, mesh.normals))


def carve_fine(mesh: Mesh, region, margin: float = 0.022, times: int = 2) -> tuple[Mesh, Mesh]:
    """carve() for shapes finer than the grid: only margin metres around them is refined first."""
    zone, rest = carve(mesh, lambda *at: region(*at) - margin)
    inside, zone = carve(refine(zone, times), region)
    return inside, merge([rest, zone])


def engrave(body: Mesh, distance, half_width: float = SEAM) -> tuple[Mesh, Mesh]:
    """A line half_width metres to either side of distance(x, y, z, normals) = 0: (line, rest)."""
    return carve_fine(body, lambda *at: np.abs(distance(*at)) - half_width, 0.02)


def rounded_box(a: np.ndarray, b: np.ndarray, low, high, radius: float) -> np.ndarray:
    """Signed distance to a rectangle with round corners in the plane (a, b): negative inside."""
    ca, cb = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    radius = min(radius, (high[0] - low[0]) / 2, (high[1] - low[1]) / 2)
    qa = np.abs(a - ca) - (high[0] - low[0]) / 2 + radius
    qb = np.abs(b - cb) - (high[1] - low[1]) / 2 + radius
    outside = np.hypot(np.clip(qa, 0, None), np.clip(qb, 0, None))
    return outside + np.minimum(np.maximum(qa, qb), 0) - radius


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    reach = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(values, reach, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
