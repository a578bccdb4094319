"""Wheels: tyre, rim with cut-out spokes, brake disc, and the dark liner of the wheel arch."""

from __future__ import annotations

import numpy as np

from .geometry import MIRROR_Y, Mesh, cut, disc, ellipsoid, lathe, loft, merge
from .styles import CarSpec


def tyre(spec: CarSpec) -> Mesh:
    """Tyre about the y axis, outer side towards +y, middle of the tread at y = 0."""
    r, rim, w = spec.wheel_radius, spec.wheel_radius * spec.rim_share, spec.tyre_width / 2
    side = (rim + r) / 2
    profile = [
        (rim * 0.98, w * 0.86), (rim * 1.03, w * 0.97), (side * 0.965, w * 1.01),
        (side * 0.97, w * 1.05), (side * 1.03, w * 1.05), (side * 1.035, w * 1.02),
        (r * 0.955, w * 0.93), (r * 0.99, w * 0.78), (r, w * 0.5), (r, -w * 0.5),
        (r * 0.99, -w * 0.78), (r * 0.955, -w * 0.93), ((rim + r) / 2, -w * 1.04), (rim, -w),
    ]  # fmt: skip
    return lathe(np.array(profile), 72)


def rim(spec: CarSpec) -> tuple[Mesh, Mesh]:
    """(rim with its spokes, dark parts behind it), outer side towards +y."""
    d = spec.details
    r, w = spec.wheel_radius * spec.rim_share, spec.tyre_width / 2
    edge = lathe(
        np.array([(r * 0.90, w * 0.45), (r * 0.915, w * 0.86), (r * 0.95, w * 0.95), (r, w * 0.9)]),
        72,
    )
    radii = np.linspace(0.0, 1.0, 12)
    dish = 0.70 + 0.12 * np.sin(radii * np.pi) - 0.10 * (radii < 0.2)
    angle = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    rr = radii[:, None] * r * 0.93
    points = np.stack(
        [rr * np.cos(angle), np.repeat((dish * w)[:, None], 160, 1), rr * np.sin(angle)], -1
    )
    face = loft(points, closed=True)
    x, _, z = face.vertices.T
    openings = _openings(np.hypot(x, z) / r, np.arctan2(z, x), r, d)
    _, spokes = cut(face, openings)
    cap = ellipsoid([0, w * 0.72, 0], [r * 0.13, w * 0.14, r * 0.13], 4)
    bolts = []
    for turn in np.arange(5) * 2 * np.pi / 5:
        at = [r * 0.21 * np.cos(turn), w * 0.66, r * 0.21 * np.sin(turn)]
        bolts.append(ellipsoid(at, [r * 0.035, w * 0.12, r * 0.035], 2, 6))
    barrel = lathe(np.array([(r * 0.9, w * 0.86), (r * 0.88, -w)]), 48)
    dark = merge([disc([0, w * 0.05, 0], r * 0.93), barrel, *bolts])
    return merge([edge, spokes, cap]), dark


def brake(spec: CarSpec) -> Mesh:
    """Brake disc behind the spokes."""
    r, w = spec.wheel_radius * spec.rim_share, spec.tyre_width / 2
    return disc([0, w * 0.25, 0], r * 0.68)


def _openings(radius: np.ndarray, angle: np.ndarray, r: float, d: dict) -> np.ndarray:
    """Negative where the rim's face is open; radius as a share of the rim's."""
    kind = d["rim_style"]
    spread = d["spokes"]
    count, width = {
        "straight": (5 + int(spread * 5.99), 0.085), "double": (5 + int(spread * 2.99), 0.045),
        "split": (5 + int(spread * 1.99), 0.06), "mesh": (12, 0.03), "cap": (9, 0.14),
        "steel": (14, 0.11),
    }[kind]  # fmt: skip
    # Many spokes are narrow ones, few are wide.
    width *= (0.8 + 0.5 * d["spoke_width"]) * (6 / count if kind == "straight" else 1)
    turned = angle + (d["spoke_twist"] - 0.5) * 0.5 * radius
    phase = np.mod(turned * count / (2 * np.pi), 1.0) - 0.5
    across = np.abs(phase) * 2 * np.pi / count * radius  # distance from a spoke's axis
    if kind == "double":
        across = np.abs(across - 0.075 * (0.6 + 0.6 * radius) * 5 / count)
    elif kind == "split":  # a Y: one spoke at the hub, two at the edge
        across = np.abs(across - 0.22 * np.clip(radius - 0.42, 0, None))
    hub = {"cap": 0.55, "steel": 0.62}.get(kind, 0.26)
    bounds = np.maximum(radius - (0.80 if kind == "steel" else 0.86), hub - radius)
    return np.maximum(width * (0.85 + 0.3 * (1 - radius)) - across, bounds) * r


def arch_liner(spec: CarSpec, arch: float, half_width: float) -> Mesh:
    """Dark tunnel above a wheel at the origin of its axle, towards +y."""
    # It ends where the body ends: lower down it would hang out like a mud flap.
    below = np.arcsin((spec.wheel_radius - spec.clearance - 0.035) / arch)
    angle = np.linspace(-below, np.pi + below, 64)
    ring = np.stack([np.cos(angle) * arch, np.zeros(64), np.sin(angle) * arch], -1)
    inner, outer = ring.copy(), ring.copy()
    inner[:, 1], outer[:, 1] = half_width - 0.36, half_width - 0.035
    middle = ring * 0.02 + np.array([0, half_width - 0.36, 0])
    return loft(np.stack([middle, inner, outer]))


def place(mesh: Mesh, x: float, y: float, z: float, left: bool) -> Mesh:
    """Put a wheel part made for the left side at an axle, mirrored for the right side."""
    return (mesh if left else mesh.turned(MIRROR_Y)).moved([x, y if left else -y, z])
