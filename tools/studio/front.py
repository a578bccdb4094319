"""The face of a car: head lamps, grille, air intake and fog lamps, cut out of the shell.

Every cut returns what is left of the shell and appends the pieces to parts.
"""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, refine
from .hull import Shell, carve, engrave, rounded_box
from .part import BODY, LIGHT, Part


def cut_front(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """Head lamps, grille, air intake and fog lamps."""
    s, d = shell.spec, shell.spec.details
    top = s.roof_line[0][1] * (0.90 - 0.06 * d["light_height"])
    body = _head_lamps(shell, body, parts, top)
    deep = {"slot": 0.02, "hexagon": 0.26, "box": 0.24, "twin": 0.16}.get(d["grille_shape"], 0.12)
    high, low = top - 0.02, top - 0.10 - deep * (0.5 + d["grille_height"]) * s.height / 1.5
    low = max(low, shell.bottom(s.length / 2) + 0.20)
    body = _grille(shell, body, parts, low, high)
    return _intake(shell, body, parts, low)


def _across_nose(shell: Shell, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Way from the middle across the nose, then back along the wing, in metres."""
    return np.abs(y) + 0.8 * np.clip(shell.spec.length / 2 - x, 0, None)


def _lamp_frame(shell: Shell, top: float) -> tuple[float, float, float, float, float]:
    """(inner, outer, height, slant, corner radius) of the head lamp's shape, in metres."""
    d, w = shell.spec.details, shell.spec.width / 2
    inner = w * (0.50 + 0.12 * d["light_slant"])
    outer = w * 0.98 + 0.12 + 0.22 * d["light_length"]
    tall = 0.10 + 0.10 * d["light_height"] * (1.4 if shell.boxy else 1)
    slant = 0.06 + 0.12 * d["light_slant"]
    return {
        "slim": (inner * 0.95, outer, 0.07 + 0.03 * d["light_height"], slant, 0.03),
        "tall": (w * 0.70, w * 0.98 + 0.06, 0.22 + 0.10 * d["light_height"], 0.02, 0.05),
        "block": (w * 0.62, w * 0.98 + 0.05, 0.15 + 0.06 * d["light_height"], 0.0, 0.015),
        "round": (w * 0.80 - 0.11, w * 0.80 + 0.11, 0.22, 0.0, 0.11),
        "teardrop": (inner, outer + 0.05, tall + 0.06, slant * 1.2, 0.05),
    }.get(d["lamp_shape"], (inner, outer, tall, slant, 0.05))


def _head_lamps(shell: Shell, body: Mesh, parts: list[Part], top: float) -> Mesh:
    s, d = shell.spec, shell.spec.details
    half = s.length / 2
    inner, outer, tall, slant, radius = _lamp_frame(shell, top)

    def place(x, y, z):
        q = _across_nose(shell, x, y)
        share = np.clip((q - inner) / (outer - inner), 0, 1)
        if d["lamp_shape"] == "teardrop":  # it grows from a point at the grille
            z = top - (top - z) / (0.35 + 0.65 * np.sin(0.3 + 1.9 * share))
        return q, z - slant * (q - inner)

    def lamp(x, y, z, n):
        q, z = place(x, y, z)
        zone = rounded_box(q, z, (inner, top - tall), (outer, top), radius)
        return np.maximum(zone, half - 0.9 - x)

    lamps, body = carve(body, lamp)
    dark, lamps = carve(refine(lamps, 2), lambda *at: -lamp(*at) - 0.012)
    parts.append(Part("lamp edge", dark, "gloss_black", LIGHT))
    size = min(tall * 0.40, 0.075)
    spots = [(inner + size * 1.25, top - tall / 2), (inner + size * 3.6, top - tall / 2)]
    if d["lamp_shape"] in ("tall", "round"):
        middle = (inner + outer) / 2
        size = min(tall * 0.21, 0.07) if d["lamp_shape"] == "tall" else 0.062
        spots = [(middle, top - size * 1.5), (middle, top - tall + size * 1.5)]
    if d["lamp_shape"] == "round":
        spots = [((inner + outer) / 2, top - tall / 2)]
    for across, height in spots:  # a bright reflector in a dark ring

        def far(x, y, z, n, across=across, height=height):
            q, z = place(x, y, z)
            return np.hypot(q - across, z - height)

        bright, lamps = carve(lamps, lambda *at, f=far: f(*at) - size * 0.72)
        ring, lamps = carve(lamps, lambda *at, f=far: f(*at) - size)
        parts += [Part("bulb", bright, "lamp_bulb", LIGHT), Part("ring", ring, "black", LIGHT)]

    def strip(x, y, z, n):  # lit by day
        return np.abs(place(x, y, z)[1] - (top - tall + 0.028)) - 0.011

    lit, lamps = carve(lamps, strip)

    def corner(x, y, z, n):
        q, height = place(x, y, z)
        return np.maximum(outer - 0.07 - q, height - top + 0.45 * tall)

    amber, lamps = carve(lamps, corner)
    parts += [Part("strip", lit, "lamp_pale", LIGHT), Part("amber", amber, "lamp_amber", LIGHT)]
    parts.append(Part("lamp", lamps, "lamp_clear", LIGHT))
    return body


def _grille_shape(shell: Shell, low: float, high: float):
    """Signed distance of the grille's opening as a function of (y, z), metres."""
    d, w = shell.spec.details, shell.spec.width / 2
    wide, kind = w * (0.38 + 0.18 * d["grille_width"]), d["grille_shape"]
    taper, middle = 0.5 * (d["grille_width"] - 0.5), (low + high) / 2
    radius = {"oval": 0.5 * (high - low), "box": 0.015, "hexagon": 0.02}.get(kind, 0.05)

    def shape(y, z):
        if kind == "twin":
            inner = 0.02
            side = (inner, low), (inner + 0.55 * wide, high)
            return rounded_box(np.abs(y), z, *side, 0.05)
        across = y / np.maximum(1 + taper * (high - z), 0.2)
        if kind == "hexagon":
            across = y * (1 + 0.45 * np.abs(z - middle) / (high - low))
        return rounded_box(across, z, (-wide, low), (wide, high), radius)

    return shape


def _grille(shell: Shell, body: Mesh, parts: list[Part], low: float, high: float) -> Mesh:
    s, d = shell.spec, shell.spec.details
    shape = _grille_shape(shell, low, high)
    period = 0.035 + 0.05 * d["grille_bars"]

    def opening(x, y, z, n, grow=0.0):
        return np.maximum(shape(y, z) - grow, s.length / 2 - 0.45 - x)

    def bar(x, y, z, n):
        across = np.abs(np.mod(z - low, period) - period / 2) - period / 5
        upright = np.abs(np.mod(y, period) - period / 2) - period / 5
        if d["grille_fill"] == "mesh":
            return np.minimum(across, upright) + period / 14
        return across if d["grille_fill"] == "across" else upright

    frame, body = carve(body, lambda *a: opening(*a, grow=0.022))
    mesh, frame = carve(refine(frame, 2), opening)
    bars, mesh = carve(mesh, bar)
    bright = "chrome" if d["chrome"] else "gloss_black"
    parts += [Part("grille frame", frame, bright, BODY), Part("grille", mesh, "black", BODY)]
    parts.append(Part("grille bars", bars, bright if d["grille_bars"] > 0.4 else "plastic", BODY))
    return body


def _intake(shell: Shell, body: Mesh, parts: list[Part], below: float) -> Mesh:
    s, d = shell.spec, shell.spec.details
    half, w = s.length / 2, s.width / 2
    base = shell.bottom(half)
    reach, upper = w * (0.45 + 0.3 * d["intake"]), min(base + 0.17, below - 0.05)
    slope = 0.8 * (d["intake"] - 0.4)  # wider at its foot, or at its top

    def opening(x, y, z, n):
        across = y * (1 + slope * (z - base))
        zone = rounded_box(across, z, (-reach, base + 0.05), (reach, upper), 0.04)
        return np.maximum(zone, half - 0.5 - x)

    intake, body = carve(body, opening)
    slats, intake = carve(refine(intake), lambda x, y, z, n: np.abs(np.mod(z, 0.055) - 0.03) - 0.01)
    parts += [Part("intake", intake, "black", BODY), Part("slats", slats, "plastic", BODY)]
    line, body = engrave(body, lambda x, y, z, n: np.where(x > half - 0.55, z - below + 0.035, 1))
    parts.append(Part("bumper line", line, "black", BODY))
    return _fog_lamps(shell, body, parts, (base + 0.05 + upper) / 2 + 0.03)


def _fog_lamps(shell: Shell, body: Mesh, parts: list[Part], height: float) -> Mesh:
    s, d = shell.spec, shell.spec.details
    w = s.width / 2
    if not d["fog"]:
        return body
    tall = 0.05 + 0.06 * d["wide_face"]
    lower, upper = height - tall, height + 0.06

    def around(x, y, z, n):
        q = _across_nose(shell, x, y)
        zone = rounded_box(q, z, (w * 0.78, lower), (w * 1.02, upper), 0.03)
        return np.maximum(zone, s.length / 2 - 0.6 - x)

    def bulb(x, y, z, n):
        return np.hypot(_across_nose(shell, x, y) - w * 0.90, z - height) - 0.045

    pocket, body = carve(body, around)
    fog, pocket = carve(refine(pocket), bulb)
    rim, pocket = carve(pocket, lambda *at: bulb(*at) - 0.014)
    parts += [Part("fog", fog, "lamp_bulb", LIGHT), Part("pocket", pocket, "black", BODY)]
    parts.append(Part("fog rim", rim, "chrome" if d["chrome"] else "plastic", BODY))
    return body
