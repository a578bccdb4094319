"""What is cut out of the body shell: arches, glass, trim, shut lines.

Every cut returns what is left of the shell and appends the pieces to parts. Regions are functions
of (x, y, z, normal) in car coordinates that are negative inside.
"""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, merge, refine
from .hull import SEAM, Shell, carve, carve_fine, engrave, rounded_box
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
    if shell.spec.details["top_down"]:
        return _open_top(shell, _screens(shell, body, parts), parts)
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
        wide = 0.82 - 0.14 * np.clip(z - low, 0, 1) - 0.09 * s.details["rear_pillar"]
        facing = n[:, 0] + (0.16 if not shell.boxy else 0.35)
        behind = x - (s.roof_rear[0] + 0.02)
        return np.maximum.reduce([low - z, z - high, (share(x, y) - wide) * 0.7, facing, behind])

    glass = rear_glass(shell)
    screen, body = carve(body, windscreen)
    screen = _on_windscreen(shell, screen, parts)
    parts.append(Part("windscreen", screen, "glass", WINDOW))
    if s.details["top_down"]:
        return body
    back, body = carve(body, rear_window)
    back = _on_rear_window(shell, back, parts)
    parts.append(Part("rear window", back, glass, WINDOW))
    return body


def _segment(a: np.ndarray, b: np.ndarray, start, stop) -> np.ndarray:
    """Distance in the plane (a, b) to a straight segment between two points (a, b), metres."""
    way = np.subtract(stop, start)
    t = np.clip(((a - start[0]) * way[0] + (b - start[1]) * way[1]) / (way @ way), 0, 1)
    return np.hypot(a - start[0] - t * way[0], b - start[1] - t * way[1])


def _on_windscreen(shell: Shell, screen: Mesh, parts: list[Part]) -> Mesh:
    """Wipers, the dark band printed on the glass, the inner mirror, papers behind the glass."""
    s, d = shell.spec, shell.spec.details
    low, high = s.cowl[1] + 0.015, s.roof_front[1] - 0.045

    def wipers(x, y, z, n):
        arms = [((-0.62, low + 0.06), (0.02, low + 0.035)), ((0.0, low + 0.07), (0.62, low + 0.04))]
        return np.min([_segment(y, z, *arm) for arm in arms], axis=0) - 0.011

    def band(x, y, z, n):
        mirror = rounded_box(y, z, (-0.11, high - 0.13), (0.11, high - 0.065), 0.02)
        return np.minimum.reduce([z - low - 0.022, high - 0.02 - z, mirror])

    at = (-0.62, -0.50) if d["fuel_left"] else (0.48, 0.60)

    def paper(x, y, z, n):
        zone = rounded_box(y, z, (at[0], low + 0.04), (at[1], low + 0.10), 0.005)
        return zone if d["stickers"] else np.full_like(zone, 1.0)

    regions = {"wipers": (wipers, "black"), "band": (band, "black"), "paper": (paper, "paper")}
    # The neighbourhood of all three is refined at once: refined twice it would be too fine.
    zone, screen = carve(
        screen, lambda *at: np.min([region(*at) for region, _ in regions.values()], axis=0) - 0.015
    )
    zone = refine(zone)
    for name, (region, material) in regions.items():
        piece, zone = carve(zone, region)
        parts.append(Part(name, piece, material, WINDOW))
    return merge([screen, zone])


def _on_rear_window(shell: Shell, back: Mesh, parts: list[Part]) -> Mesh:
    """The third brake lamp at its upper edge, a wiper on upright ones."""
    if back.empty:
        return back
    high, low = back.vertices[:, 2].max(), back.vertices[:, 2].min()
    lamp, back = carve_fine(
        back, lambda x, y, z, n: np.maximum(np.abs(y) - 0.16, np.abs(z - high + 0.03) - 0.014)
    )
    parts.append(Part("brake lamp", lamp, "lamp_red", LIGHT))
    if shell.boxy and shell.spec.style != "pickup" and shell.spec.details["rear_wiper"]:
        arm = ((0.0, low + 0.02), (0.34, low + 0.10))
        wiper, back = carve_fine(back, lambda x, y, z, n: _segment(y, z, *arm) - 0.012)
        parts.append(Part("rear wiper", wiper, "black", WINDOW))
    return back


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
        end += rear_pillar[s.style] + 0.14 * d["rear_pillar"]
    elif s.style != "pickup":  # a pillar of sheet metal beside the tailgate, slim or broad
        end += 0.14 + 0.26 * d["rear_pillar"]

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
    if d["stickers"] > 1:
        x0, z0 = s.pillars[0] - 0.30, s.belt[1] + 0.16

        def paper(x, y, z, n):
            zone = rounded_box(x, z, (x0 - 0.06, z0), (x0 + 0.06, z0 + 0.08), 0.005)
            return np.maximum(zone, -y if d["fuel_left"] else y)

        white, windows = carve_fine(windows, paper)
        parts.append(Part("paper", white, "paper", WINDOW))
    first = s.pillars[0]
    front, rear = carve(windows, lambda x, y, z, n: first - x)
    parts += [Part("front windows", front, "glass", WINDOW), Part("windows", rear, glass, WINDOW)]
    return body


def _open_top(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """A roadster with its top down: no more than the windscreen in its frame stands up."""
    s = shell.spec
    ends = (s.rear_base[0] + 0.30, s.roof_front[0] + 0.02)

    def cabin(x, y, z, n):
        # The A pillar leans like the windscreen: what is behind it goes.
        t = np.clip((z - s.cowl[1]) / (s.roof_front[1] - s.cowl[1]), 0, 1)
        post = s.cowl[0] + t * (ends[1] - s.cowl[0]) - 0.10
        rear = np.where(z > s.rear_base[1] + 0.03, -1.0, ends[0] - x)
        return np.maximum.reduce([shell.belt(x) + 0.012 - z, x - post, rear])

    _, body = carve(body, cabin)
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

        def upper(x, y, z, n):  # above the boot lid as well as above the belt
            low = np.maximum(shell.belt(x) + 0.05, s.rear_base[1] + 0.05 * (not shell.boxy))
            return np.maximum.reduce([low - z, x - ends[1], ends[0] - x])

        roof, body = carve(body, upper)
        parts.append(Part("roof", roof, "roof", BODY))
    if d["sunroof"]:
        x0 = s.roof_front[0] - 0.22

        def hatch(x, y, z, n):
            return np.maximum(rounded_box(x, y, (x0 - 0.5, -0.38), (x0, 0.38), 0.06), 1.2 - z)

        pane, body = carve(body, hatch)
        parts.append(Part("sunroof", pane, "dark_glass", WINDOW))
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
    return _shut_lines(shell, body, parts)


def _shut_lines(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """Doors, bonnet and fuel lid, as narrow dark lines."""
    s, d = shell.spec, shell.spec.details
    lines = [line for line in shell.seams if line != s.cowl[0] + 0.06]

    def doors(x, y, z, n):
        nearest = np.min([np.abs(x - line) for line in lines], axis=0)
        sides = np.maximum.reduce([nearest, s.clearance + 0.11 - z, z - shell.belt(x) - 0.01])
        bonnet = np.abs(x - s.cowl[0] - 0.06) + 0.01 * (np.abs(n[:, 2]) < 0.7)
        return np.minimum(sides, bonnet) - SEAM

    dark, body = carve(body, doors)
    parts.append(Part("shut lines", dark, "black", BODY))
    lid = (s.rear_axle - 0.10, s.belt[1] - 0.16)
    side = 1 if d["fuel_left"] else -1
    foot = s.clearance + 0.10

    def fine(x, y, z, n):
        bonnet = np.where(
            (x > s.cowl[0] + 0.05) & (n[:, 2] > 0.55),
            np.abs(y) - shell.half_width(x) * (0.80 - 0.05 * d["wide_face"]), 1.0,
        )  # fmt: skip
        fuel = rounded_box(x, z, (lid[0] - 0.08, lid[1] - 0.075), (lid[0] + 0.08, lid[1] + 0.075),
                           0.04)  # fmt: skip
        fuel = np.where(y * side > 0.4, fuel, 1.0)
        low = np.where((x < s.cowl[0]) & (x > lines[-1]) & (np.abs(y) > 0.5), z - foot, 1.0)
        options = np.stack([bonnet, fuel, low])
        return np.take_along_axis(options, np.abs(options).argmin(axis=0)[None], axis=0)[0]

    dark, body = engrave(body, fine, 0.0035)
    parts.append(Part("fine lines", dark, "black", BODY))
    return body
