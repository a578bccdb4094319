"""What cars there are: eight body styles in the fleet's shares, and a draw of one car.

Lengths are metres; a profile is a list of (position, height) along the roof line, the position
as a share of the length from the front (0) to the rear (1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .bodies import STYLES, Style

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
    body: str = "standard"  # which of the style's bodies
    square: float = 0.0  # 0 rounded, 1 as square as a box
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
    """Draw one car of a style: one of its bodies, every proportion from that body's range."""
    bodies = STYLES[style]
    weights = np.array([body.weight for body in bodies])
    s = bodies[int(rng.choice(len(bodies), p=weights / weights.sum()))]

    def draw(bounds: tuple[float, ...]) -> float:
        return float(rng.uniform(bounds[0], bounds[1]))

    # Within a body wide cars are mostly high as well, and a little longer.
    size = float(rng.uniform())
    length, width, height = (
        float(np.interp(share * size + (1 - share) * rng.uniform(), [0, 1], bounds))
        for share, bounds in ((0.3, s.length), (0.75, s.width), (0.75, s.height))
    )
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
    belt_rear = min(belt_front + float(rng.uniform(-0.01, 0.11)), rear_base[1] + 0.06)
    return CarSpec(
        style=style, length=length, width=width, height=height, clearance=draw(s.clearance),
        wheel_radius=draw(s.wheel), tyre_width=float(rng.uniform(0.20, 0.25)),
        rim_share=float(rng.uniform(0.64, 0.76)), front_axle=front_axle, rear_axle=rear_axle,
        roof_line=tuple(line), cowl=cowl, roof_front=roof_front, roof_rear=roof_rear,
        rear_base=rear_base, belt=(belt_front, belt_rear),
        pillars=tuple(cowl[0] - share * cabin for share in s.pillars), doors=s.doors,
        body=s.body, square=s.square, details=_draw_details(style, rng) | _draw_face(s, rng),
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
            "plate_height", "waist", "arch_lip", "wide_face", "rear_pillar",
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
        "rim_style": str(
            rng.choice(
                ["straight", "double", "split", "mesh", "cap", "steel"],
                p=[0.32, 0.22, 0.18, 0.13, 0.08, 0.07],
            )
        ),
        "two_tone": bool(style not in ("pickup", "convertible") and rng.uniform() < 0.09),
        "bars": bool(rng.uniform() < (0.35 if tall and style != "pickup" else 0.05)),
        "steps": bool(rng.uniform() < (0.5 if style == "pickup" else 0.15 if tall else 0.0)),
        "wing": bool(rng.uniform() < 0.12),
        "dirt": float(rng.uniform(0, 1) ** 2),
    }


def _draw_face(body: Style, rng: np.random.Generator) -> dict:
    """Shapes of lamps, grille and trim of one car, by name; some suit square bodies only."""

    def pick(shares: dict[str, float]) -> str:
        return str(rng.choice(list(shares), p=np.array([*shares.values()]) / sum(shares.values())))

    square, round_face = body.square > 0.5, body.body in ("city", "flat roof", "boxy")
    return {
        "lamp_shape": pick({"slant": 3, "teardrop": 2, "slim": 2, "tall": 1.5,
                            "block": 2.5 if square else 0.7, "round": 2.0 if round_face else 0.3}),
        "grille_shape": pick({"trapeze": 3, "hexagon": 2, "oval": 1.5, "twin": 1, "slot": 2,
                              "box": 2 if square else 0.5}),
        "grille_fill": pick({"across": 3, "upright": 1.5, "mesh": 2}),
        "tail_shape": pick({"wrap": 3, "wedge": 2, "bracket": 1.5, "round": 0.8, "tall": 2}),
        "plate_low": bool(rng.uniform() < 0.35),
        "full_width_light": bool(rng.uniform() < 0.12),
        "top_down": body.body == "top down",
        "moulding": pick({"none": 5, "chrome": 2, "plastic": 2}),
        "stickers": int(rng.choice([0, 1, 2], p=[0.45, 0.35, 0.20])),
        "bright_sill": bool(rng.uniform() < 0.25),
        "mirror_lamp": bool(rng.uniform() < 0.45),
        "fuel_left": bool(rng.uniform() < 0.5),
        "rear_wiper": bool(rng.uniform() < 0.85),
        "reflectors": bool(rng.uniform() < 0.75),
    }  # fmt: skip
