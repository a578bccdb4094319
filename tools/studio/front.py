"""The face of a car: head lamps, grille, air intake and fog lamps, cut out of the shell.

Every cut returns what is left of the shell and appends the pieces to parts.
"""

from __future__ import annotations

import numpy as np

from .geometry import Mesh
from .hull import Shell, carve, rounded_box
from .part import BODY, LIGHT, Part


def cut_front(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """Head lamps, grille, air intake and fog lamps."""
    s, d = shell.spec, shell.spec.details
    top = s.roof_line[0][1] * (0.90 - 0.06 * d["light_height"])
    body = _head_lamps(shell, body, parts, top)
    high, low = top - 0.02, top - 0.10 - (0.28 if shell.boxy else 0.22) * d["grille_height"]
    body = _grille(shell, body, parts, low, high)
    return _intake(shell, body, parts, low)


def _across_nose(shell: Shell, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Way from the middle across the nose, then back along the wing, in metres."""
    return np.abs(y) + 0.8 * np.clip(shell.spec.length / 2 - x, 0, None)


def _head_lamps(shell: Shell, body: Mesh, parts: list[Part], top: float) -> Mesh:
    s, d = shell.spec, shell.spec.details
    half, w = s.length / 2, s.width / 2
    tall = 0.10 + 0.10 * d["light_height"] * (1.4 if shell.boxy else 1)
    inner = w * (0.50 + 0.12 * d["light_slant"])
    outer = w * 0.98 + 0.12 + 0.22 * d["light_length"]
    slant = 0.10 + 0.20 * d["light_slant"]

    def lamp(x, y, z, n):
        q = _across_nose(shell, x, y)
        z = z - slant * (q - inner) * 0.6
        zone = rounded_box(q, z, (inner, top - tall), (outer, top), 0.05)
        return np.maximum(zone, half - 0.9 - x)

    lamps, body = carve(body, lamp)
    mid = (inner + outer) / 2
    for centre, size in ((inner * 0.65 + mid * 0.35, 0.36), (mid, 0.33)):

        def bulb(x, y, z, n, centre=centre, size=size):
            q = _across_nose(shell, x, y)
            height = top - tall / 2 + slant * (q - inner) * 0.6
            return np.hypot(q - centre, z - height) - tall * size

        bright, lamps = carve(lamps, bulb)
        parts.append(Part("bulb", bright, "lamp_bulb", LIGHT))
    amber, lamps = carve(lamps, lambda x, y, z, n: outer - 0.05 - _across_nose(shell, x, y))
    parts.append(Part("indicator", amber, "lamp_amber", LIGHT))
    parts.append(Part("lamp", lamps, "lamp_clear", LIGHT))
    return body


def _grille(shell: Shell, body: Mesh, parts: list[Part], low: float, high: float) -> Mesh:
    s, d = shell.spec, shell.spec.details
    half, wide = s.length / 2, s.width / 2 * (0.38 + 0.18 * d["grille_width"])
    taper, period = 0.5 * (d["grille_width"] - 0.5), 0.03 + 0.05 * d["grille_bars"]

    def opening(x, y, z, n, grow=0.0):
        across = y / (1 + taper * (high - z))
        zone = rounded_box(across, z, (-wide - grow, low - grow), (wide + grow, high + grow), 0.05)
        return np.maximum(zone, half - 0.45 - x)

    def bar(x, y, z, n):
        return np.abs(np.mod(z, period) - period / 2) - period / 5

    frame, body = carve(body, lambda *a: opening(*a, grow=0.022))
    mesh, frame = carve(frame, opening)
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

    def opening(x, y, z, n):
        zone = rounded_box(y, z, (-reach, base + 0.05), (reach, upper), 0.04)
        return np.maximum(zone, half - 0.5 - x)

    intake, body = carve(body, opening)
    parts.append(Part("intake", intake, "black", BODY))
    if not d["fog"]:
        return body
    zf = (base + 0.05 + upper) / 2 + 0.03

    def around(x, y, z, n):
        q = _across_nose(shell, x, y)
        zone = rounded_box(q, z, (w * 0.80, zf - 0.06), (w * 1.0, zf + 0.06), 0.04)
        return np.maximum(zone, half - 0.6 - x)

    def bulb(x, y, z, n):
        return np.hypot(_across_nose(shell, x, y) - w * 0.90, z - zf) - 0.042

    pocket, body = carve(body, around)
    fog, pocket = carve(pocket, bulb)
    parts += [Part("fog", fog, "lamp_bulb", LIGHT), Part("pocket", pocket, "black", BODY)]
    return body
