"""The bodies that a style comes in: from tiny city cars to crew-cab pickups, in metres.

A base per style, and bodies that differ from it in what makes them another kind of car.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


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
    body: str = "standard"
    weight: float = 1.0  # how often this body is drawn within its style
    square: float = 0.0  # 0 rounded, 1 as square as a box, seen from above and from the front


# fmt: off
BASES = {
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
    "pickup": Style((5.25, 5.80), (1.90, 2.03), (1.78, 1.96), (0.25, 0.32), (0.385, 0.420),
                    (0.90, 0.99), (0.600, 0.630), (0.56, 0.61), (0.215, 0.25, 0.635, 0.67),
                    (0.315, 0.345), (0.555, 0.578), (0.585, 0.60, 0.64, 0.67), (0.63, 0.66),
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


def _bodies(style: str, standard: float, *others: dict) -> tuple[Style, ...]:
    base = replace(BASES[style], weight=standard)
    return (base, *(replace(base, **other) for other in others))


# fmt: off
STYLES: dict[str, tuple[Style, ...]] = {
    "sedan": _bodies("sedan", 4,
        {"body": "compact", "weight": 2, "length": (4.28, 4.52), "width": (1.69, 1.78),
         "height": (1.43, 1.50), "cowl": (0.24, 0.275, 0.64, 0.68)},
        {"body": "large", "weight": 3, "length": (4.98, 5.28), "width": (1.86, 1.93),
         "height": (1.46, 1.53), "wheel": (0.33, 0.36), "wheelbase": (0.58, 0.61)},
        {"body": "fastback", "weight": 1.5, "roof_rear": (0.58, 0.63),
         "rear_base": (0.90, 0.94, 0.68, 0.72), "tail": (0.66, 0.71)}),
    "suv": _bodies("suv", 4,
        {"body": "compact", "weight": 3, "length": (4.18, 4.46), "width": (1.75, 1.83),
         "height": (1.54, 1.67), "wheel": (0.325, 0.355)},
        {"body": "large", "weight": 2.5, "length": (4.95, 5.40), "width": (1.97, 2.05),
         "height": (1.84, 1.99), "wheel": (0.385, 0.42), "roof_front": (0.355, 0.39),
         "rear_base": (0.982, 0.993, 0.58, 0.64), "square": 0.6},
        {"body": "boxy", "weight": 2, "length": (4.05, 4.75), "width": (1.75, 1.90),
         "height": (1.62, 1.88), "cowl": (0.275, 0.31, 0.63, 0.67), "roof_front": (0.352, 0.375),
         "roof_rear": (0.95, 0.97), "rear_base": (0.985, 0.995, 0.58, 0.63),
         "nose": (0.56, 0.61), "square": 1.0}),
    "hatchback": _bodies("hatchback", 3,
        {"body": "city", "weight": 2, "length": (3.50, 3.75), "width": (1.60, 1.69),
         "height": (1.45, 1.54), "overhang": (0.62, 0.72), "wheelbase": (0.63, 0.66),
         "cowl": (0.22, 0.25, 0.64, 0.68), "wheel": (0.275, 0.295), "doors": 3,
         "pillars": (0.55,)},
        {"body": "flat roof", "weight": 2, "length": (3.75, 3.98), "width": (1.67, 1.73),
         "height": (1.39, 1.45), "cowl": (0.28, 0.305, 0.66, 0.69), "roof_front": (0.375, 0.40),
         "roof_rear": (0.88, 0.91), "rear_base": (0.965, 0.98, 0.66, 0.70), "doors": 3,
         "pillars": (0.52, 0.86), "square": 0.3},
        {"body": "upright", "weight": 2.5, "length": (4.00, 4.45), "width": (1.70, 1.83),
         "height": (1.52, 1.63), "cowl": (0.20, 0.235, 0.62, 0.66), "roof_rear": (0.86, 0.91)},
        {"body": "box", "weight": 1.5, "length": (3.90, 4.20), "width": (1.69, 1.80),
         "height": (1.58, 1.67), "cowl": (0.245, 0.27, 0.62, 0.66), "roof_front": (0.34, 0.365),
         "roof_rear": (0.93, 0.96), "rear_base": (0.982, 0.992, 0.60, 0.64),
         "nose": (0.53, 0.58), "square": 0.9}),
    "coupe": _bodies("coupe", 3,
        {"body": "fastback", "weight": 2, "length": (4.05, 4.50), "height": (1.27, 1.37),
         "roof_rear": (0.57, 0.61), "rear_base": (0.92, 0.955, 0.69, 0.73), "tail": (0.67, 0.72)},
        {"body": "muscle", "weight": 1.5, "length": (4.80, 5.05), "width": (1.89, 1.94),
         "height": (1.37, 1.45), "nose": (0.54, 0.58), "square": 0.5}),
    "wagon": _bodies("wagon", 3,
        {"body": "sloping", "weight": 1, "length": (4.85, 5.02), "width": (1.87, 1.96),
         "height": (1.57, 1.68), "roof_rear": (0.72, 0.78), "clearance": (0.18, 0.22)},
        {"body": "long box", "weight": 1, "length": (5.02, 5.22), "width": (1.90, 1.96),
         "height": (1.66, 1.74), "roof_rear": (0.94, 0.96), "square": 0.8,
         "rear_base": (0.98, 0.99, 0.58, 0.63)}),
    "pickup": _bodies("pickup", 3,
        {"body": "crew", "weight": 2.5, "length": (5.60, 5.90), "width": (1.99, 2.05),
         "height": (1.88, 2.00), "roof_rear": (0.59, 0.605), "rear_base": (0.615, 0.63, 0.64, 0.67),
         "pillars": (0.48,), "square": 0.6},
        {"body": "single", "weight": 1, "roof_rear": (0.43, 0.445),
         "rear_base": (0.457, 0.47, 0.64, 0.67), "pillars": (0.93,), "doors": 2},
        {"body": "midsize", "weight": 1.5, "length": (4.95, 5.30), "width": (1.80, 1.90),
         "height": (1.70, 1.80), "wheel": (0.36, 0.385)}),
    "van": _bodies("van", 3,
        {"body": "small", "weight": 2, "length": (4.25, 4.60), "width": (1.75, 1.83),
         "height": (1.58, 1.70), "wheel": (0.305, 0.33)},
        {"body": "tall", "weight": 1, "length": (4.40, 5.20), "width": (1.80, 1.98),
         "height": (1.86, 2.08), "roof_front": (0.30, 0.34), "square": 0.7}),
    "convertible": _bodies("convertible", 3,
        {"body": "top down", "weight": 2}),
}
# fmt: on
