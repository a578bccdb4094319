"""The small things: mirrors, handles, antenna, spoiler, exhausts, interior."""

from __future__ import annotations

import numpy as np

from .geometry import MIRROR_Y, Mesh, box, disc, ellipsoid, rotation, tube
from .hull import Shell
from .part import BODY, LIGHT, WINDOW

Row = tuple[str, Mesh, str, int]


def all_details(shell: Shell) -> list[Row]:
    """Rows of (name, mesh, material, label), in car coordinates."""
    rows = _mirrors(shell) + _handles(shell) + _interior(shell)
    rows += _roof(shell) + _rear(shell) + _under(shell)
    if shell.spec.style == "pickup":
        rows += _bed(shell)
    return rows


def both(name: str, mesh: Mesh, material: str, label: int = BODY) -> list[Row]:
    return [(name, mesh, material, label), (name, mesh.turned(MIRROR_Y), material, label)]


def _mirrors(shell: Shell) -> list[Row]:
    s = shell.spec
    big = s.style in ("pickup", "van", "suv")
    size = np.array([0.075, 0.115, 0.085]) * (1.18 if big else 1.0)
    if s.style == "pickup":
        size = size * [0.9, 1.0, 1.35]
    x = s.cowl[0] - 0.30
    z = float(np.interp(x, (s.rear_base[0], s.cowl[0]), s.belt[::-1])) + 0.07
    y = float(shell.half_width(np.array(x))) * 0.955
    shape = ellipsoid([0, 0, 0], size, power=2.8)
    lean = shape.turned(rotation("z", -0.12)).moved([x, y + size[1] * 0.95, z + size[2] * 0.4])
    stalk = box([x - 0.055, y - 0.16, z - 0.05], [x + 0.055, y + 0.08, z + 0.01])
    material = "paint" if s.details["shoulder"] > 0.25 else "plastic"
    glass = disc([0, 0, 0], 1.0, "x").turned(rotation("z", np.pi))
    glass = glass.turned(np.diag([1.0, size[1] * 0.8, size[2] * 0.8]))
    glass = glass.moved([x - size[0] * 0.985, y + size[1] * 0.95, z + size[2] * 0.4])
    rows = (
        both("mirror", lean, material)
        + both("stalk", stalk, "plastic")
        + both("mirror glass", glass, "chrome")
    )
    if s.details["mirror_lamp"]:
        at = [x + size[0] * 0.80, y + size[1] * 1.25, z + size[2] * 0.35]
        tone = "lamp_amber" if s.details["waist"] < 0.35 else "lamp_pale"
        rows += both("mirror lamp", ellipsoid(at, [0.024, 0.045, 0.010], 3), tone, LIGHT)
    return rows


def _handles(shell: Shell) -> list[Row]:
    s = shell.spec
    rows: list[Row] = []
    spots = [s.pillars[0] + 0.20]
    if s.doors >= 4 and s.style != "pickup":
        spots.append(max(s.pillars[1] + 0.16, s.rear_axle + 0.22))
    elif s.style == "pickup" and s.doors >= 4:
        spots.append(s.rear_base[0] + 0.16)
    for x in spots:
        z = float(np.interp(x, (s.rear_base[0], s.cowl[0]), s.belt[::-1])) - 0.10
        y = shell.side(x, z)
        bowl = ellipsoid([x + 0.01, y - 0.004, z - 0.012], [0.085, 0.008, 0.030], power=2.5)
        grip = ellipsoid([x, y + 0.014, z], [0.105, 0.022, 0.017], power=3)
        rows += both("handle", grip, "chrome" if s.details["chrome"] else "paint")
        rows += both("bowl", bowl, "black")
    return rows


def _roof(shell: Shell) -> list[Row]:
    s, d = shell.spec, shell.spec.details
    rows: list[Row] = []
    if d["top_down"]:
        return rows
    back = s.roof_rear[0] + 0.12
    if d["antenna"] == "fin":
        fin = ellipsoid([back, 0, float(shell.top(np.array(back)))], [0.085, 0.018, 0.06], 2.2)
        rows.append(("antenna", fin, "paint", BODY))
    elif d["antenna"] == "rod":
        foot = np.array([back, 0.0, float(shell.top(np.array(back))) - 0.01])
        tip = foot + np.array([-0.14, 0, 0.16 + 0.16 * d["tumble"]])
        rows.append(("antenna", tube(np.linspace(foot, tip, 6), 0.006), "plastic", BODY))
    return rows


def _rear(shell: Shell) -> list[Row]:
    s, d = shell.spec, shell.spec.details
    half, rows = s.length / 2, []
    if d["spoiler"] and s.style != "pickup":
        wide = float(shell.cabin_width(np.array(s.rear_base[0]))) * 0.80
        if shell.boxy:
            rows.append(("spoiler", _roof_spoiler(shell, 0.95 * wide), "paint", BODY))
        else:
            x = -half + 0.13
            z = float(shell.top(np.array(x))) - 0.012
            high = 0.012 + 0.012 * d["crease"]  # a lip that lies on the boot
            if d["wing"]:
                rows += _wing(shell, x, z, wide)
            else:
                lip = ellipsoid([x, 0, z + high], [0.09, wide, 0.03], 4)
                rows.append(("spoiler", lip, "paint", BODY))
    z = shell.bottom(-half) + 0.035
    for y in [0.45, -0.45][: d["exhausts"]]:
        path = np.array([[-half + 0.02, y, z], [-half + 0.12, y, z], [-half + 0.3, y, z]])
        rows.append(("exhaust", tube(path, 0.035, 20), "chrome", BODY))
    return rows


def _roof_spoiler(shell: Shell, wide: float) -> Mesh:
    """A blade at the roof's rear edge, wide metres to either side, bent along the roof's crown."""
    at = shell.spec.roof_rear[0]
    blade = ellipsoid([at - 0.06, 0, shell.roof(at, 0.0) - 0.012], [0.17, wide, 0.022], 4)
    drop = [shell.roof(at, abs(y)) - shell.roof(at, 0.0) for y in np.linspace(0, wide, 40)]
    bent = np.interp(np.abs(blade.vertices[:, 1]), np.linspace(0, wide, 40), drop)
    return Mesh(blade.vertices + bent[:, None] * [0.0, 0.0, 1.0], blade.normals, blade.faces)


def _wing(shell: Shell, x: float, z: float, wide: float) -> list[Row]:
    """A wing that stands on two feet, each reaching well into the boot lid."""
    blade = ellipsoid([x - 0.02, 0, z + 0.13], [0.11, wide, 0.016], 4)
    foot = ellipsoid([x + 0.02, wide * 0.62, z + 0.05], [0.055, 0.022, 0.10], 4)
    return [("spoiler", blade, "paint", BODY), *both("foot", foot, "paint")]


def _under(shell: Shell) -> list[Row]:
    """Dark floor pan between the wheels, so that nothing shines through from below."""
    s = shell.spec
    low, inner = s.clearance + 0.02, s.width / 2 - 0.37
    pan = box([-s.length / 2 + 0.35, -inner, low], [s.length / 2 - 0.35, inner, low + 0.18])
    rows = [("floor pan", pan, "black", BODY)]
    if s.details["steps"]:  # running boards between the wheels
        ends = [s.rear_axle + shell.arch + 0.12, s.front_axle - shell.arch - 0.12]
        path = np.array([[x, s.width / 2 - 0.03, s.clearance - 0.01] for x in (*ends,)])
        bright = "chrome" if s.details["chrome"] else "plastic"
        rows += both("step", tube(np.linspace(path[0], path[1], 8), 0.035, 14), bright)
    for axle in (s.front_axle, s.rear_axle):
        rod = np.array([[axle, -s.width / 2 + 0.2, s.wheel_radius], [axle, 0, s.wheel_radius],
                        [axle, s.width / 2 - 0.2, s.wheel_radius]])  # fmt: skip
        rows.append(("axle", tube(rod, 0.045), "black", BODY))
    return rows


def _bed(shell: Shell) -> list[Row]:
    s = shell.spec
    front, rear, side = s.rear_base[0] - 0.10, -s.length / 2 + 0.14, s.width / 2 - 0.15
    top = float(shell.top(np.array((front + rear) / 2))) - 0.02
    low = top - 0.5
    walls = [
        box([rear, -side, low], [front, side, low + 0.02]),
        box([rear, side - 0.02, low], [front, side + 0.02, top]),
        box([rear, -side - 0.02, low], [front, -side + 0.02, top]),
        box([rear - 0.02, -side, low], [rear + 0.02, side, top]),
        box([front - 0.02, -side, low], [front + 0.02, side, top]),
    ]
    rows = [("bed", wall, "plastic", BODY) for wall in walls]
    bumper = ellipsoid(
        [-s.length / 2 - 0.02, 0, s.clearance + 0.24], [0.09, s.width * 0.47, 0.10], 5
    )
    if s.details["chrome"]:
        rows.append(("bumper", bumper, "chrome", BODY))
    return rows


def _interior(shell: Shell) -> list[Row]:
    s = shell.spec
    floor, width = s.belt[0] - 0.30, float(shell.cabin_width(np.array(0.0)))
    rows: list[Row] = []
    first = s.cowl[0] - 0.95 - 0.25 * (s.roof_front[0] < s.cowl[0] - 0.6)
    benches = [first]
    if s.doors >= 4:
        benches.append(max(first - 0.85, s.rear_base[0] + 0.35))
    for x in benches:
        for y in (-0.36, 0.36):
            head = min(float(shell.top(np.array(x - 0.15))) - 0.16, s.belt[0] + 0.33)
            seat = ellipsoid([0, 0, 0], [0.09, 0.235, 0.36], 3.5).turned(rotation("y", -0.30))
            rest = ellipsoid([x - 0.16, y, head], [0.05, 0.125, 0.085], 3)
            rows.append(("seat", seat.moved([x, y, head - 0.36]), "interior", WINDOW))
            rows.append(("head rest", rest, "interior", WINDOW))
            rows.append(("cushion", ellipsoid([x + 0.28, y, floor - 0.05], [0.28, 0.24, 0.10], 4),
                         "interior", WINDOW))  # fmt: skip
    dash = ellipsoid([s.cowl[0] - 0.30, 0, s.belt[0] - 0.10], [0.26, width * 0.82, 0.13], 4)
    rows.append(("dashboard", dash, "interior_dark", WINDOW))
    turn = np.linspace(0, 2 * np.pi, 28)
    ring = np.column_stack([0.06 * np.sin(turn), 0.185 * np.cos(turn), 0.175 * np.sin(turn)])
    wheel = tube(ring + np.array([s.cowl[0] - 0.66, 0.36, s.belt[0] + 0.02]), 0.016)
    rows.append(("steering wheel", wheel, "interior_dark", WINDOW))
    tub = box(
        [s.rear_base[0] + 0.1, -width * 0.9, floor - 0.3],
        [s.cowl[0] - 0.3, width * 0.9, floor - 0.22],
    )
    rows.append(("tub", tub, "interior_dark", WINDOW))
    return rows
