"""A whole car as a list of parts, each with its mesh, its material's name and its label."""

from __future__ import annotations

import numpy as np

from . import details, front, panels, rear, trim, wheels
from .geometry import merge
from .hull import Shell
from .part import BODY, CLASSES, WHEEL, Part
from .styles import CarSpec


def build_car(spec: CarSpec) -> list[Part]:
    """All parts of a car standing at the origin, front towards +x, tyres on z = 0."""
    shell = Shell(spec)
    parts: list[Part] = []
    body = shell.surface()
    body = panels.cut_arches(shell, body)
    body = panels.cut_glass(shell, body, parts)
    body = front.cut_front(shell, body, parts)
    body = rear.cut_rear(shell, body, parts)
    body = panels.cut_trim(shell, body, parts)
    parts.append(Part("shell", body, "paint", BODY))
    parts += _wheels(shell)
    parts += [Part(*part) for part in details.all_details(shell)]
    parts += [Part(*part) for part in trim.all_trim(shell)]
    return _merged([part for part in parts if not part.mesh.empty])


def _merged(parts: list[Part]) -> list[Part]:
    """One part per material and label: fewer shapes for the renderer to hold."""
    groups: dict[tuple[str, int], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.material, part.label), []).append(part)
    return [
        Part(f"{CLASSES[label]}_{material}", merge([p.mesh for p in group]), material, label)
        for (material, label), group in groups.items()
    ]


def _wheels(shell: Shell) -> list[Part]:
    s = shell.spec
    rubber, (rim, dark), brake = wheels.tyre(s), wheels.rim(s), wheels.brake(s)
    parts = []
    for axle in (s.front_axle, s.rear_axle):
        flush = float(shell.half_width(np.array(axle))) * 0.985 - s.tyre_width / 2 - 0.01
        liner = wheels.arch_liner(s, shell.arch, float(shell.half_width(np.array(axle))))
        for left in (True, False):
            spot = (axle, flush, s.wheel_radius, left)
            for mesh, material in (
                (rubber, "rubber"),
                (rim, "rim"),
                (dark, "black"),
                (brake, "brake"),
            ):
                parts.append(Part("wheel", wheels.place(mesh, *spot), material, WHEEL))
            turned = wheels.place(liner, axle, 0.0, s.wheel_radius, left)
            parts.append(Part("arch", turned, "black", BODY))
    return parts
