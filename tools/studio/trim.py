"""What is mounted on the outside: plates, badges, mouldings, sills, mirror lamps, roof rails."""

from __future__ import annotations

import numpy as np

from .details import Row, both
from .geometry import box, disc, ellipsoid, tube
from .hull import Shell
from .part import BODY, LIGHT
from .rear import plate_height


def all_trim(shell: Shell) -> list[Row]:
    """Rows of (name, mesh, material, label), in car coordinates."""
    return plates(shell) + _badges(shell) + _sides(shell) + rails(shell) + _folded_top(shell)


def plates(shell: Shell) -> list[Row]:
    """Number plates in their frames, 31 by 16 cm, flush with the surface they are screwed to."""
    s, d = shell.spec, shell.spec.details
    z = plate_height(shell)
    places = [(-1, z)]
    if d["front_plate"]:
        places.append((1, shell.bottom(s.length / 2) + 0.20 + 0.10 * d["plate_height"]))
    rows: list[Row] = []
    for way, z in places:
        x = max(way * shell.end(y, h, way > 0) for y in (0.0, 0.155) for h in (z - 0.08, z + 0.08))
        for thick, name, inset in ((0.012, "plate frame", -0.012), (0.016, "plate", 0.0)):
            wide, tall = 0.155 - inset, 0.080 - inset
            ends = sorted((way * (x - 0.05), way * (x + thick)))
            material = "plate" if inset == 0 else "gloss_black"
            rows.append((name, box([ends[0], -wide, z - tall], [ends[1], wide, z + tall]),
                         material, BODY))  # fmt: skip
        ends = sorted((way * x, way * (x + 0.018)))
        for at, half, material in ((-0.055, 0.018, "plate_band"), (0.012, 0.022, "plate_band")):
            wide = 0.15 if at < 0 else 0.09
            mark = box([ends[0], -wide, z + at - half], [ends[1], wide, z + at + half])
            rows.append(("plate band", mark, material, BODY))
    return rows


def _badges(shell: Shell) -> list[Row]:
    """A round badge at either end, letters of the model's name beside the rear plate."""
    s = shell.spec
    nose, tail = s.roof_line[0][1], s.roof_line[-1][1]
    rows: list[Row] = []
    for way, z in ((1, nose * 0.84), (-1, tail - 0.07)):
        x = shell.end(0.0, z, way > 0) + way * 0.006
        badge = disc([0, 0, 0], 0.05, "x").turned(np.diag([way, way, 1.0]))
        rows.append(("badge", badge.moved([x, 0, z]), "badge", BODY))
    z = tail - 0.10
    for side in (-1, 1):
        start = 0.30 + 0.2 * s.details["rear_light_wide"]
        for k in range(3 + int(3 * s.details["spokes"])):
            y = side * (start + 0.035 * k)
            if abs(y) > 0.62 * s.width / 2:
                continue
            x = shell.end(y, z, False)
            letter = box([x - 0.004, y - 0.011, z - 0.014], [x + 0.03, y + 0.011, z + 0.014])
            rows.append(("letter", letter, "badge", BODY))
    return rows


def _along(shell: Shell, start: float, stop: float, z: float, out: float) -> np.ndarray:
    """Path (24, 3) along the left side at one height, out metres outside the sheet."""
    return np.array([[x, shell.side(x, z) + out, z] for x in np.linspace(start, stop, 24)])


def _sides(shell: Shell) -> list[Row]:
    """Mouldings and bright sills between the wheels, lamps in the mirrors and on the wings."""
    s, d = shell.spec, shell.spec.details
    ends = (s.rear_axle + shell.arch + 0.07, s.front_axle - shell.arch - 0.07)
    rows: list[Row] = []
    if d["moulding"] != "none":
        z = s.clearance + 0.26 + 0.10 * d["waist"]
        rows += both("moulding", tube(_along(shell, *ends, z, 0.002), 0.018), d["moulding"])
    if d["bright_sill"] and not d["cladding"]:
        sill = tube(_along(shell, *ends, s.clearance + 0.055, 0.0), 0.014)
        rows += both("bright sill", sill, "chrome")
    z = s.wheel_radius * 2 + 0.06
    x = s.front_axle - shell.arch - 0.10
    lamp = ellipsoid([x, shell.side(x, z), z], [0.045, 0.010, 0.018], 3)
    if not d["mirror_lamp"]:
        rows += both("side lamp", lamp, "lamp_amber", LIGHT)
    if d["wide_face"] > 0.75:  # an air outlet behind the front wheel
        vent = ellipsoid([x - 0.03, shell.side(x, z + 0.05), z + 0.05], [0.09, 0.012, 0.03], 5)
        rows += both("outlet", vent, "chrome" if d["chrome"] else "gloss_black")
    if d["arch_lip"] > 0.6 and not d["cladding"]:
        rows += _arch_lips(shell)
    return rows


def _arch_lips(shell: Shell) -> list[Row]:
    """The rolled edge around each wheel's opening: it catches the light."""
    s, rows = shell.spec, []
    for axle in (s.front_axle, s.rear_axle):
        turn = np.linspace(0.06 * np.pi, 0.94 * np.pi, 40)
        reach = shell.arch + 0.012
        x, z = axle + reach * np.cos(turn), s.wheel_radius + reach * np.sin(turn)
        y = [shell.side(float(a), float(b)) for a, b in zip(x, z, strict=True)]
        rows += both("arch lip", tube(np.column_stack([x, y, z]), 0.014), "paint")
    return rows


def rails(shell: Shell) -> list[Row]:
    """Roof rails: lying on the roof, or raised on feet that stand on it; bars across."""
    s, d = shell.spec, shell.spec.details
    rows: list[Row] = []
    if not d["rails"]:
        return rows
    x = np.linspace(s.roof_rear[0] + 0.05, s.roof_front[0] - 0.14, 24)
    y = float(shell.cabin_width(np.array(0.0))) * 0.74
    roof = np.array([shell.roof(float(at), y) for at in x])
    lift = 0.008 if d["crease"] < 0.45 else 0.05
    ramp = np.clip(np.linspace(0, 12, 24), 0, 1) * np.clip(np.linspace(12, 0, 24), 0, 1)
    height = roof - 0.006 + lift * ramp
    material = "chrome" if d["chrome"] else "plastic"
    rows += both("rail", tube(np.column_stack([x, np.full(24, y), height]), 0.017), material)
    for k in (2, 12, 21) if lift > 0.02 else ():
        foot = box([x[k] - 0.05, y - 0.015, roof[k] - 0.03], [x[k] + 0.05, y + 0.015, height[k]])
        rows += both("rail foot", foot, material)
    if d["bars"]:
        for k in (6, 17):
            path = np.array([[x[k], side * y, height[k] + 0.012] for side in (-1.0, 0.0, 1.0)])
            path[1, 2] = max(path[1, 2], shell.roof(float(x[k]), 0.0) + 0.03)
            rows.append(("bar", tube(path, 0.014), "plastic", BODY))
    return rows


def _folded_top(shell: Shell) -> list[Row]:
    """The cloth of an open car, folded behind the seats, and hoops above its rear seats."""
    s = shell.spec
    if not s.details["top_down"]:
        return []
    width = float(shell.cabin_width(np.array(s.rear_base[0])))
    at = [s.rear_base[0] + 0.14, 0.0, s.rear_base[1] - 0.005]
    return [("folded top", ellipsoid(at, [0.26, width * 0.90, 0.075], 3.5), "fabric", BODY)]
