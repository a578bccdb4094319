"""What is cut out of the body shell: arches, glass, tail lamps, trim, shut lines.

Every cut returns what is left of the shell and appends the pieces to parts. Regions are functions
of (x, y, z, normal) in car coordinates that are negative inside.
"""

from __future__ import annotations

import numpy as np

from .geometry import Mesh
from .hull import SEAM, Shell, carve, rounded_box
from .part import BODY, LIGHT, WINDOW, Part


def cut_arches(shell: Shell, body: Mesh) -> Mesh:
    """Openings for the wheels, through the sides and the floor."""
    s = shell.spec
    for axle in (s.front_axle, s.rear_axle):

        def arch(x, y, z, n, axle=axle):
            ring = np.hypot(x - axle, (z - s.wheel_radius) * 0.97) - shell.arch
            return np.maximum(ring, s.width / 2 - 0.40 - np.abs(y))

        _, body = carve(body, arch)
    return body


def cut_glass(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """Windscreen, rear window, side windows with their pillars, soft top, sunroof."""
    body = _screens(shell, body, parts)
    body = _side_windows(shell, body, parts)
    return _roof_panels(shell, body, parts)


def _screens(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    s = shell.spec
    middle = (s.cowl[0] + s.rear_base[0]) / 2

    def share(x, y):
        return np.abs(y) / np.maximum(shell.cabin_width(x), 1e-3)

    def windscreen(x, y, z, n):
        roof = s.roof_front[1] - 0.045
        sides = (share(x, y) - 0.90 + 0.16 * np.clip(z - s.cowl[1], 0, 1)) * 0.7
        return np.maximum.reduce(
            [
                s.cowl[1] + 0.015 - z,
                z - roof,
                sides,
                middle - x,
                x - s.cowl[0] - 0.12,
                0.12 - n[:, 2],
            ]
        )

    def rear_window(x, y, z, n):
        low = (s.rear_base[1] if not shell.boxy else s.belt[1]) + 0.04
        high = s.roof_rear[1] - (0.06 if not shell.boxy else 0.10)
        wide = 0.82 - 0.14 * np.clip(z - low, 0, 1)
        facing = n[:, 0] + (0.16 if not shell.boxy else 0.35)
        behind = x - (s.roof_rear[0] + 0.02)
        return np.maximum.reduce([low - z, z - high, (share(x, y) - wide) * 0.7, facing, behind])

    glass = rear_glass(shell)
    screen, body = carve(body, windscreen)
    parts.append(Part("windscreen", screen, "glass", WINDOW))
    back, body = carve(body, rear_window)
    parts.append(Part("rear window", back, glass, WINDOW))
    return body


def rear_glass(shell: Shell) -> str:
    return "privacy_glass" if shell.spec.details["privacy"] else "glass"


def _side_windows(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    s, d = shell.spec, shell.spec.details
    middle = (s.cowl[0] + s.rear_base[0]) / 2
    glass = rear_glass(shell)
    rear_pillar = {"sedan": 0.30, "coupe": 0.34, "hatchback": 0.26, "convertible": 0.55}
    end = s.rear_base[0] + (0.05 if s.style != "pickup" else 0.16)
    slope = 0.25 if shell.boxy else 0.75
    if s.style in rear_pillar:
        end += rear_pillar[s.style]
    elif s.style != "pickup":
        end += 0.16

    def side(x, y, z, n):
        belt = np.interp(x, (s.rear_base[0], s.cowl[0]), s.belt[::-1]) + 0.035
        pillar = np.where(x > middle, 0.075, 0.085) - shell.depth_below_roof(x, z)
        rear = (end + slope * (z - s.belt[1]) - x) * 0.8
        outer = 0.30 - np.abs(n[:, 1])
        return np.maximum.reduce([belt - z, pillar, rear, outer, x - s.cowl[0] + 0.02])

    surround, body = carve(body, lambda *a: side(*a) - 0.016)
    windows, surround = carve(surround, side)
    parts.append(Part("surround", surround, "chrome" if d["chrome"] else "gloss_black", BODY))
    for x in s.pillars:
        wide = 0.045 if x > end + 0.2 else 0.035

        def pillar(px, y, z, n, x=x, wide=wide):
            return np.abs(px - x + 0.12 * (z - s.belt[0])) - wide

        post, windows = carve(windows, pillar)
        parts.append(Part("pillar", post, "gloss_black", BODY))
    first = s.pillars[0]
    front, rear = carve(windows, lambda x, y, z, n: first - x)
    parts += [Part("front windows", front, "glass", WINDOW), Part("windows", rear, glass, WINDOW)]
    return body


def _roof_panels(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    s, d = shell.spec, shell.spec.details
    if s.style == "convertible":
        ends = (s.rear_base[0] + 0.02, s.roof_front[0] - 0.03)

        def cloth(x, y, z, n):
            return np.maximum.reduce([shell.belt(x) + 0.03 - z, x - ends[1], ends[0] - x])

        top, body = carve(body, cloth)
        parts.append(Part("soft top", top, "fabric", BODY))
    if d["two_tone"]:
        ends = (s.rear_base[0] - 0.05, s.cowl[0] - 0.05)

        def upper(x, y, z, n):
            return np.maximum.reduce([shell.belt(x) + 0.05 - z, x - ends[1], ends[0] - x])

        roof, body = carve(body, upper)
        parts.append(Part("roof", roof, "roof", BODY))
    if d["sunroof"]:
        x0 = s.roof_front[0] - 0.22

        def hatch(x, y, z, n):
            return np.maximum(rounded_box(x, y, (x0 - 0.5, -0.38), (x0, 0.38), 0.06), 1.2 - z)

        pane, body = carve(body, hatch)
        parts.append(Part("sunroof", pane, "dark_glass", WINDOW))
    return body


def cut_rear(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """Tail lamps and the dark apron under the rear bumper."""
    s, d = shell.spec, shell.spec.details
    half, w, tail = s.length / 2, s.width / 2, s.roof_line[-1][1]
    tall_lamp = shell.boxy and d["rear_light"] > 0.35
    high = (s.belt[1] + 0.10 if shell.boxy else tail - 0.05) - 0.05 * d["rear_light"]
    if s.style == "pickup":
        high = tail - 0.07
    low = high - (0.20 + (0.30 if tall_lamp else 0.04) * d["rear_light"])
    inner = w * (0.88 - (0.40 if not tall_lamp else 0.12) * d["rear_light_wide"])
    outer = w * 1.02 + 0.10 + 0.12 * d["light_length"]

    def unrolled(x, y):
        return np.abs(y) + 0.8 * np.clip(half + x, 0, None)

    def lamp(x, y, z, n):
        zone = rounded_box(unrolled(x, y), z, (inner, low), (outer, high), 0.05)
        return np.maximum(zone, x + half - 0.75)

    lamps, body = carve(body, lamp)
    split = low + (high - low) * 0.42
    clear, lamps = carve(
        lamps, lambda x, y, z, n: np.abs(z - split) - 0.025 - 0.015 * d["rear_light"]
    )
    parts += [Part("tail lamp", lamps, "lamp_red", LIGHT), Part("clear", clear, "lamp_pale", LIGHT)]
    base = shell.bottom(-half)

    def apron(x, y, z, n):
        zone = rounded_box(y, z, (-w * 0.7, base - 0.2), (w * 0.7, base + 0.10), 0.05)
        return np.maximum(zone, x + half - 0.5)

    lower, body = carve(body, apron)
    parts.append(Part("diffuser", lower, "plastic", BODY))
    return body


def cut_trim(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """The pickup's bed, plastic sills and arches, shut lines."""
    s, d = shell.spec, shell.spec.details
    half = s.length / 2
    if s.style == "pickup":  # the open bed: everything on top behind the cab
        front, rear, side = s.rear_base[0] - 0.10, -half + 0.14, s.width / 2 - 0.15

        def bed(x, y, z, n):
            zone = rounded_box(x, y, (rear, -side), (front, side), 0.03)
            return np.maximum(zone, shell.top(x) - 0.12 - z)

        _, body = carve(body, bed)
    if d["cladding"]:

        def skirt(x, y, z, n):
            rings = [np.hypot(x - a, z - s.wheel_radius) - shell.arch - 0.05
                     for a in (s.front_axle, s.rear_axle)]  # fmt: skip
            return np.minimum.reduce([z - s.clearance - 0.13, *rings])
    else:

        def skirt(x, y, z, n):
            return z - s.clearance - 0.035

    lower, body = carve(body, skirt)
    parts.append(Part("sill", lower, "plastic", BODY))
    lines = [line for line in shell.seams if line != s.cowl[0] + 0.06]

    def seams(x, y, z, n):
        nearest = np.min([np.abs(x - line) for line in lines], axis=0)
        bonnet = np.abs(x - s.cowl[0] - 0.06) + 0.01 * (np.abs(n[:, 2]) < 0.7)
        doors = np.maximum.reduce([nearest, s.clearance + 0.11 - z, z - shell.belt(x) - 0.01])
        high = s.roof_line[-1][1] - 0.10
        boot = np.where(x < -half + 0.45, np.abs(np.abs(y) - s.width * 0.40) + (z < high - 0.3), 1)
        bumper = np.where(x < -half + 0.5, np.abs(z - high + 0.32), 1)
        return np.minimum.reduce([doors, bonnet, boot, bumper]) - SEAM

    dark, body = carve(body, seams)
    parts.append(Part("shut lines", dark, "black", BODY))
    return body
