"""What cars there are: eight body styles, their proportions, and a draw of one car.

Lengths are metres; a profile is a list of (position, height) along the roof line, the position
as a share of the length from the front (0) to the rear (1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# style: share of the fleet. Sedans and SUVs are most of what the real studio photographs.
SHARES = {
    "sedan": 0.29,
    "suv": 0.26,
    "hatchback": 0.12,
    "coupe": 0.09,
    "wagon": 0.07,
    "pickup": 0.07,
    "van": 0.05,
    "convertible": 0.05,
}


@dataclass(frozen=True)
class Style:
    """Ranges from which a car of one style is drawn (low, high), in metres or as shares."""

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    clearance: tuple[float, float]
    wheel: tuple[float, float]  # tyre radius
    overhang: tuple[float, float]  # front overhang
    wheelbase: tuple[float, float]  # share of the length
    nose: tuple[float, float]  # height of the bonnet's front edge, share of the height
    cowl: tuple[float, float, float, float]  # position low, high; height share low, high
    roof_front: tuple[float, float]
    roof_rear: tuple[float, float]
    rear_base: tuple[float, float, float, float]  # foot of the rear window: position, height share
    tail: tuple[float, float]  # height of the body's rear edge, share of the height
    pillars: tuple[float, ...]  # B, C, ... along the cabin, share of cowl to rear base
    doors: int


# fmt: off
STYLES = {
    "sedan": Style((4.45, 5.10), (1.76, 1.90), (1.42, 1.51), (0.15, 0.19), (0.310, 0.345),
                   (0.86, 0.97), (0.575, 0.600), (0.46, 0.52), (0.255, 0.295, 0.645, 0.68),
                   (0.435, 0.475), (0.64, 0.70), (0.835, 0.875, 0.69, 0.74), (0.66, 0.72),
                   (0.46, 0.86), 4),
    "suv": Style((4.35, 5.15), (1.81, 2.02), (1.62, 1.90), (0.19, 0.25), (0.345, 0.400),
                 (0.83, 0.95), (0.575, 0.605), (0.53, 0.60), (0.245, 0.285, 0.635, 0.68),
                 (0.385, 0.425), (0.88, 0.93), (0.975, 0.99, 0.58, 0.66), (0.56, 0.62),
                 (0.40, 0.70, 0.84), 5),
    "hatchback": Style((3.75, 4.35), (1.69, 1.82), (1.44, 1.56), (0.15, 0.19), (0.295, 0.325),
                       (0.76, 0.88), (0.600, 0.630), (0.47, 0.54), (0.235, 0.275, 0.645, 0.69),
                       (0.405, 0.445), (0.80, 0.87), (0.955, 0.98, 0.64, 0.70), (0.62, 0.67),
                       (0.42, 0.78), 5),
    "coupe": Style((4.15, 4.85), (1.77, 1.92), (1.30, 1.41), (0.13, 0.16), (0.320, 0.350),
                   (0.83, 0.95), (0.575, 0.600), (0.46, 0.53), (0.29, 0.335, 0.655, 0.70),
                   (0.455, 0.495), (0.61, 0.67), (0.85, 0.90, 0.70, 0.75), (0.67, 0.73),
                   (0.62,), 2),
    "wagon": Style((4.45, 4.95), (1.76, 1.88), (1.45, 1.56), (0.15, 0.20), (0.310, 0.345),
                   (0.86, 0.96), (0.575, 0.600), (0.46, 0.53), (0.255, 0.29, 0.635, 0.68),
                   (0.415, 0.455), (0.87, 0.92), (0.965, 0.985, 0.62, 0.68), (0.60, 0.65),
                   (0.39, 0.69, 0.85), 5),
    "pickup": Style((5.30, 5.90), (1.90, 2.03), (1.78, 1.96), (0.25, 0.32), (0.385, 0.420),
                    (0.90, 0.99), (0.600, 0.630), (0.56, 0.61), (0.215, 0.25, 0.635, 0.67),
                    (0.315, 0.345), (0.54, 0.59), (0.575, 0.62, 0.64, 0.67), (0.63, 0.66),
                    (0.50,), 4),
    "van": Style((4.80, 5.25), (1.92, 2.03), (1.72, 1.95), (0.16, 0.20), (0.325, 0.355),
                 (0.90, 1.00), (0.580, 0.600), (0.50, 0.56), (0.185, 0.225, 0.59, 0.63),
                 (0.345, 0.395), (0.91, 0.95), (0.98, 0.992, 0.55, 0.60), (0.53, 0.57),
                 (0.30, 0.60, 0.84), 5),
    "convertible": Style((3.95, 4.70), (1.72, 1.84), (1.26, 1.39), (0.13, 0.16), (0.305, 0.340),
                         (0.80, 0.90), (0.585, 0.610), (0.48, 0.54), (0.30, 0.34, 0.67, 0.72),
                         (0.45, 0.485), (0.60, 0.65), (0.77, 0.82, 0.72, 0.77), (0.68, 0.74),
                         (0.66,), 2),
}
# fmt: on


@dataclass(frozen=True)
class CarSpec:
    """Everything that makes one car: sizes in metres, choices by name."""

    style: str
    length: float
    width: float
    height: float
    clearance: float
    wheel_radius: float
    tyre_width: float
    rim_share: float  # rim radius as a share of the tyre's
    front_axle: float  # x
    rear_axle: float
    roof_line: tuple[tuple[float, float], ...]  # (x, z), front to rear
    cowl: tuple[float, float]
    roof_front: tuple[float, float]
    roof_rear: tuple[float, float]
    rear_base: tuple[float, float]
    belt: tuple[float, float]  # height of the belt line at the cowl and at the rear
    pillars: tuple[float, ...]  # x
    doors: int
    details: dict = field(default_factory=dict)  # free choices, by name, each in 0..1 or a name


def pick_styles(count: int, rng: np.random.Generator) -> list[str]:
    """Styles for a block of count cars in the fleet's shares; 32 cars have every style."""
    names, shares = list(SHARES), np.array(list(SHARES.values()))
    base = np.floor(shares / shares.sum() * count).astype(int)
    styles = [name for name, n in zip(names, base, strict=True) for _ in range(n)]
    while len(styles) < count:
        styles.append(str(rng.choice(names, p=shares / shares.sum())))
    return [styles[i] for i in rng.permutation(count)]


def draw_car(style: str, rng: np.random.Generator) -> CarSpec:
    """Draw one car of a style: every proportion from the style's range."""
    s = STYLES[style]

    def draw(bounds: tuple[float, ...]) -> float:
        return float(rng.uniform(bounds[0], bounds[1]))

    length, width, height = draw(s.length), draw(s.width), draw(s.height)
    half = length / 2
    front_axle = half - draw(s.overhang)
    rear_axle = front_axle - draw(s.wheelbase) * length

    def at(position: float, share: float) -> tuple[float, float]:
        return (half - position * length, share * height)

    nose = at(0.0, draw(s.nose))
    cowl = at(draw(s.cowl), draw(s.cowl[2:]))
    roof_front = at(draw(s.roof_front), float(rng.uniform(0.955, 0.975)))
    roof_rear = at(draw(s.roof_rear), float(rng.uniform(0.955, 0.985)))
    rear_base = at(draw(s.rear_base), draw(s.rear_base[2:]))
    tail = at(1.0, draw(s.tail))
    bonnet = ((nose[0] * 0.6 + cowl[0] * 0.4), nose[1] * 0.42 + cowl[1] * 0.58)
    crown = ((roof_front[0] * 0.55 + roof_rear[0] * 0.45), height)
    line = [nose, bonnet, cowl, roof_front, crown, roof_rear, rear_base]
    if style == "pickup":
        line += [(rear_base[0] - 0.05, tail[1] + 0.01), (tail[0], tail[1])]
    else:
        line.append(tail)
    cabin = cowl[0] - rear_base[0]
    belt_front = cowl[1] - float(rng.uniform(0.02, 0.06))
    belt_rear = min(belt_front + float(rng.uniform(0.02, 0.10)), rear_base[1] + 0.06)
    return CarSpec(
        style=style, length=length, width=width, height=height, clearance=draw(s.clearance),
        wheel_radius=draw(s.wheel), tyre_width=float(rng.uniform(0.20, 0.25)),
        rim_share=float(rng.uniform(0.64, 0.76)), front_axle=front_axle, rear_axle=rear_axle,
        roof_line=tuple(line), cowl=cowl, roof_front=roof_front, roof_rear=roof_rear,
        rear_base=rear_base, belt=(belt_front, belt_rear),
        pillars=tuple(cowl[0] - share * cabin for share in s.pillars), doors=s.doors,
        details=_draw_details(style, rng),
    )  # fmt: skip


def _draw_details(style: str, rng: np.random.Generator) -> dict:
    """The free choices of one car: lights, grille, trim, extras."""
    tall = style in ("suv", "wagon", "pickup")
    uniform = {
        name: float(rng.uniform())
        for name in (
            "front_round", "rear_round", "tumble", "shoulder", "light_height", "light_length",
            "light_slant", "grille_width", "grille_height", "grille_bars", "intake", "rear_light",
            "rear_light_wide", "crease", "spokes", "spoke_width", "spoke_twist", "roof_corner",
        )
    }  # fmt: skip
    return uniform | {
        "rails": bool(rng.uniform() < (0.6 if style in ("suv", "wagon") else 0.04)),
        "antenna": str(rng.choice(["fin", "rod", "none"], p=[0.45, 0.30, 0.25])),
        "cladding": bool(rng.uniform() < (0.5 if tall else 0.06)),
        "spoiler": bool(
            rng.uniform() < (0.40 if style in ("hatchback", "suv", "wagon", "van") else 0.16)
        ),
        "sunroof": bool(rng.uniform() < 0.4 and style != "convertible"),
        "chrome": bool(rng.uniform() < 0.5),
        "fog": bool(rng.uniform() < 0.6),
        "front_plate": bool(rng.uniform() < 0.55),
        "exhausts": int(rng.integers(0, 3)),
        "privacy": bool(rng.uniform() < (0.55 if tall or style == "van" else 0.15)),
        "rim_style": str(rng.choice(["straight", "double", "mesh", "cap"], p=[0.4, 0.3, 0.2, 0.1])),
        "two_tone": bool(style not in ("pickup", "convertible") and rng.uniform() < 0.09),
        "bars": bool(rng.uniform() < (0.35 if tall and style != "pickup" else 0.05)),
        "steps": bool(rng.uniform() < (0.5 if style == "pickup" else 0.15 if tall else 0.0)),
        "wing": bool(rng.uniform() < 0.12),
        "dirt": float(rng.uniform(0, 1) ** 2),
    }
