"""The camera: 16 turns of the table in Carvana's order, slightly raised, one set-up per car.

Angle 01 is the front, 05 a side with the front at the picture's left, 09 the rear; the table
turns by about 22.5 degrees from one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANGLES = tuple(range(1, 17))
# Degrees by which the real table's stops miss even steps, fitted to the real masks' edges.
STOPS = (-0.8, 2.3, 3.4, 1.8, -0.9, -4.5, -3.4, -1.5, 0.3, 2.6, 5.0, 3.8, 1.7, -2.9, -4.2, -1.9)


@dataclass(frozen=True)
class Camera:
    """One session's camera; lengths in metres, shares are of the picture's width or height."""

    distance: float
    height: float
    focal: float  # share of the picture's width
    horizon: float  # share of the picture's height, from the top
    shift: float  # sideways aim, radians
    roll: float  # degrees
    offset: tuple[float, float]  # where the car stands on the table
    turn: float  # radians added to every angle

    @property
    def field_of_view(self) -> float:
        """Horizontal field of view in degrees."""
        return float(np.degrees(2 * np.arctan(0.5 / self.focal)))


def draw_camera(rng: np.random.Generator, length: float, height: float) -> Camera:
    """Draw one session's camera for a car of this length and height in metres."""
    return Camera(
        distance=float(6.93 + rng.normal(0, 0.10)),
        height=float(1.665 + rng.normal(0, 0.03)),
        focal=float(1.067 * np.exp(rng.normal(0, 0.02))),
        horizon=float(np.clip(rng.normal(0.271, 0.056), 0.13, 0.42)),
        shift=float(rng.normal(0.008, 0.013)),
        roll=float(rng.normal(0, 0.25)),
        # Cars are driven on until the front is in place, so long ones stand further back.
        offset=(float(rng.normal(0.08 - 0.16 * (length - 4.72), 0.19)), float(rng.normal(0, 0.05))),
        turn=float(rng.normal(0.027, 0.02)),
    )


def car_turn(angle: int, camera: Camera) -> float:
    """Rotation of the car about z in radians for an angle 1..16."""
    return -np.radians(22.5 * (angle - 1) - STOPS[angle - 1]) + camera.turn


def aim(camera: Camera, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """(eye, target) in studio coordinates; aspect is width over height."""
    eye = np.array([camera.distance, 0.0, camera.height])
    drop = (0.5 - camera.horizon) / aspect / camera.focal
    target = eye + np.array([-1.0, np.tan(camera.shift), -drop])
    return eye, target
