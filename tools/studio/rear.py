"""The back of a car: tail lamps, plate recess, boot lines, reflectors and apron, cut out.

Every cut returns what is left of the shell and appends the pieces to parts.
"""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, refine
from .hull import Shell, carve, engrave, rounded_box
from .part import BODY, LIGHT, Part


def cut_rear(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """Tail lamps, recess of the plate, bumper with its lines and reflectors, dark apron."""
    body = _tail_lamps(shell, body, parts)
    body = _recess(shell, body, parts)
    body = _bumper(shell, body, parts)
    return _apron(shell, body, parts)


def _unrolled(shell: Shell, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Way from the middle across the tail, then forwards along the side, in metres."""
    return np.abs(y) + 0.8 * np.clip(shell.spec.length / 2 + x, 0, None)


def _lamp_box(shell: Shell) -> tuple[float, float, float, float]:
    """(inner, outer, low, high) of a tail lamp in metres, across the tail and upwards."""
    s, d = shell.spec, shell.spec.details
    w, tail = s.width / 2, s.roof_line[-1][1]
    high = (s.belt[1] + 0.10 if shell.boxy else tail - 0.05) - 0.05 * d["rear_light"]
    outer = w * 1.02 + 0.10 + 0.12 * d["light_length"]
    inner = w * (0.86 - 0.36 * d["rear_light_wide"])
    tall = 0.17 + 0.08 * d["rear_light"]
    if s.style == "pickup":
        high, inner, outer, tall = tail - 0.07, w * 0.86, w * 1.02 + 0.06, 0.34
    elif d["tail_shape"] == "tall" and shell.boxy:
        inner, tall = w * (0.88 - 0.1 * d["rear_light_wide"]), 0.32 + 0.30 * d["rear_light"]
    elif d["tail_shape"] == "bracket":
        tall += 0.05
    elif d["tail_shape"] == "round":
        inner, tall = w * 0.84 - 0.11, 0.22
        outer = inner + 0.22
    return inner, outer, high - tall, high


def _tail_lamps(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    d, half = shell.spec.details, shell.spec.length / 2
    kind = d["tail_shape"] if shell.spec.style != "pickup" else "wrap"
    inner, outer, low, high = _lamp_box(shell)

    def lamp(x, y, z, n):
        q = _unrolled(shell, x, y)
        share = np.clip((outer - q) / (outer - inner), 0, 1)  # 1 at the inner end
        foot = low + (high - low) * (0.55 * share if kind == "wedge" else 0)
        height = (z - high) / (high - foot) * (high - low) + high
        radius = 0.11 if kind == "round" else 0.04
        zone = rounded_box(q, height, (inner, low), (outer, high), radius)
        if kind == "bracket":  # a corner cut out: an L lying on its side
            zone = np.maximum(zone, -np.maximum(q - (inner + outer) / 2 + 0.05, z - high + 0.10))
        return np.maximum(zone, x + half - 0.75)

    lamps, body = carve(body, lamp)
    edge, lamps = carve(refine(lamps, 2), lambda *at: -lamp(*at) - 0.010)
    parts.append(Part("lamp edge", edge, "gloss_black", LIGHT))
    split, thick = low + (high - low) * 0.42, 0.022 + 0.02 * d["rear_light"]
    pale, lamps = carve(lamps, lambda x, y, z, n: np.abs(z - split) - thick)
    if kind == "wrap":  # the reversing lamp fills the inner end only
        rest, pale = carve(pale, lambda x, y, z, n: (inner + outer) / 2 - _unrolled(shell, x, y))
        parts.append(Part("dark red", rest, "lamp_red", LIGHT))
    glow, lamps = carve(lamps, lambda *at: np.abs(lamp(*at) + 0.035) - 0.009)
    parts += [Part("tail lamp", lamps, "lamp_red", LIGHT), Part("pale", pale, "lamp_pale", LIGHT)]
    parts.append(Part("glow", glow, "lamp_deep", LIGHT))
    if not d["full_width_light"]:
        return body
    band, body = carve(
        body, lambda x, y, z, n: np.maximum(np.abs(z - (low + high) / 2) - 0.03, x + half - 0.4)
    )
    parts.append(Part("band", band, "lamp_red", LIGHT))
    return body


def plate_height(shell: Shell) -> float:
    """Height in metres of the middle of the rear plate: in the boot lid or in the bumper."""
    s, d = shell.spec, shell.spec.details
    low, tail = shell.bottom(-s.length / 2), s.roof_line[-1][1]
    if d["plate_low"] or s.style == "pickup":
        return low + 0.26 + 0.04 * d["plate_height"]
    return tail * (0.70 + 0.08 * d["plate_height"]) - (0.02 if shell.boxy else 0.05)


def _recess(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """The shaded hollow around the plate, and the bright or dark strip above it."""
    s, d = shell.spec, shell.spec.details
    half, z0 = s.length / 2, plate_height(shell)
    wide = 0.26 + 0.10 * d["wide_face"]

    def hollow(x, y, z, n):
        across = y * (1 + 0.5 * (z - z0))
        zone = rounded_box(across, z, (-wide, z0 - 0.10), (wide, z0 + 0.11), 0.03)
        return np.maximum(zone, x + half - 0.4)

    zone, body = carve(body, hollow)
    zone = refine(zone)
    strip, zone = carve(
        zone, lambda x, y, z, n: np.maximum(z0 + 0.085 - z, np.abs(y) - wide + 0.03)
    )
    edge, zone = carve(zone, lambda *at: -hollow(*at) - 0.012)
    parts.append(Part("strip", strip, "chrome" if d["chrome"] else "gloss_black", BODY))
    parts += [Part("edge", edge, "plastic", BODY), Part("recess", zone, "paint", BODY)]
    return body


def _bumper(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    """Shut lines of boot lid and bumper, reflectors in the bumper."""
    s, d = shell.spec, shell.spec.details
    half, w, tail = s.length / 2, s.width / 2, s.roof_line[-1][1]
    seam = max(tail - 0.42 - 0.10 * d["rear_round"], shell.bottom(-half) + 0.18)

    def lines(x, y, z, n):
        bumper = np.where((x < -half + 0.55) & (n[:, 2] < 0.7), z - seam, 1.0)
        lid = np.where((x < -half + 0.5) & (z > seam), np.abs(y) - 0.80 * w, 1.0)
        if shell.boxy:
            lid = np.where(z > s.roof_rear[1] - 0.10, 1.0, lid)
        return np.where(np.abs(bumper) < np.abs(lid), bumper, lid)

    dark, body = engrave(body, lines)
    parts.append(Part("boot lines", dark, "black", BODY))
    if not d["reflectors"]:
        return body
    z0 = (seam + shell.bottom(-half)) / 2

    def reflector(x, y, z, n):
        q = _unrolled(shell, x, y)
        zone = rounded_box(q, z, (w * 0.76, z0 - 0.02), (w * 0.98, z0 + 0.02), 0.015)
        return np.maximum(zone, x + half - 0.4)

    red, body = carve(body, reflector)
    parts.append(Part("reflector", red, "lamp_red", LIGHT))
    return body


def _apron(shell: Shell, body: Mesh, parts: list[Part]) -> Mesh:
    s, w = shell.spec, shell.spec.width / 2
    half, base = s.length / 2, shell.bottom(-s.length / 2)

    def apron(x, y, z, n):
        zone = rounded_box(y, z, (-w * 0.7, base - 0.2), (w * 0.7, base + 0.10), 0.05)
        return np.maximum(zone, x + half - 0.5)

    lower, body = carve(body, apron)
    parts.append(Part("diffuser", lower, "plastic", BODY))
    return body
