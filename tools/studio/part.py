"""A piece of a car, and the classes that the labels know."""

from __future__ import annotations

from dataclasses import dataclass

from .geometry import Mesh

BACKGROUND, BODY, WINDOW, WHEEL, LIGHT = range(5)
CLASSES = ("background", "body", "window", "wheel", "light")


@dataclass(frozen=True)
class Part:
    """One piece of the car: everything in it has one material and one class label."""

    name: str
    mesh: Mesh
    material: str
    label: int
