"""Paints, glass and the rest, as the renderer's material descriptions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# name: (share of the fleet, list of linear RGB colours)
PAINTS = {
    "white": (0.22, [(0.80, 0.80, 0.79), (0.76, 0.75, 0.72), (0.83, 0.83, 0.84)]),
    "black": (0.19, [(0.008, 0.008, 0.009), (0.012, 0.012, 0.013), (0.010, 0.011, 0.016)]),
    "grey": (0.17, [(0.10, 0.10, 0.105), (0.05, 0.052, 0.055), (0.16, 0.155, 0.15)]),
    "silver": (0.16, [(0.50, 0.505, 0.51), (0.42, 0.425, 0.43), (0.58, 0.58, 0.575)]),
    "blue": (0.09, [(0.02, 0.05, 0.16), (0.01, 0.025, 0.07), (0.05, 0.22, 0.55),
                    (0.25, 0.48, 0.68)]),
    "red": (0.09, [(0.32, 0.012, 0.014), (0.16, 0.006, 0.012), (0.42, 0.02, 0.02)]),
    "beige": (0.05, [(0.48, 0.43, 0.36), (0.36, 0.32, 0.26), (0.55, 0.52, 0.46)]),
    "brown": (0.02, [(0.07, 0.045, 0.035), (0.10, 0.07, 0.05)]),
    "green": (0.01, [(0.03, 0.08, 0.05), (0.35, 0.50, 0.40)]),
}  # fmt: skip


@dataclass(frozen=True)
class Finish:
    """The colours of one car; paint is one of PAINTS, colours are linear RGB."""

    paint: str
    colour: tuple[float, float, float]
    metallic: float
    dirt: float
    interior: tuple[float, float, float]
    rim: str  # silver, dark or chrome
    tint: float  # transmission of the rear glass


def pick_paints(count: int, rng: np.random.Generator) -> list[str]:
    """Paint names for a pack, in the fleet's shares, in random order."""
    names, shares = list(PAINTS), np.array([v[0] for v in PAINTS.values()])
    exact = shares / shares.sum() * count
    base = np.floor(exact).astype(int)
    for i in np.argsort(base - exact, kind="stable")[: count - base.sum()]:
        base[i] += 1
    paints = [name for name, n in zip(names, base, strict=True) for _ in range(n)]
    return [paints[i] for i in rng.permutation(count)]


def draw_finish(paint: str, dirt: float, rng: np.random.Generator) -> Finish:
    """Draw the colours of one car with a paint of this name."""
    shades = PAINTS[paint][1]
    colour = np.array(shades[rng.integers(len(shades))]) * rng.uniform(0.85, 1.12, 3) ** 0.4
    solid = {"white": 0.6, "black": 0.4, "red": 0.4}.get(paint, 0.1)
    metallic = 0.0 if rng.uniform() < solid else float(rng.uniform(0.25, 0.65))
    cabins = [(0.02, 0.02, 0.022), (0.06, 0.06, 0.062), (0.16, 0.155, 0.15), (0.34, 0.30, 0.24)]
    return Finish(
        paint, tuple(float(min(c, 0.88)) for c in colour), metallic, dirt,
        cabins[rng.choice(4, p=[0.4, 0.25, 0.15, 0.2])],
        str(rng.choice(["silver", "dark", "chrome"], p=[0.72, 0.16, 0.12])),
        float(rng.uniform(0.12, 0.3)),
    )  # fmt: skip


def _rgb(*value) -> dict:
    colour = list(value) if len(value) == 3 else [value[0]] * 3
    return {"type": "rgb", "value": [float(c) for c in colour]}


def _principled(colour, roughness, metallic=0.0, specular=0.5, **more) -> dict:
    return {
        "type": "principled", "base_color": _rgb(*colour), "roughness": roughness,
        "metallic": metallic, "specular": specular, **more,
    }  # fmt: skip


def _glass(transmission: float) -> dict:
    tint = [transmission * 0.97, transmission, transmission * 0.98]
    return {"type": "thindielectric", "int_ior": 1.52, "specular_transmittance": _rgb(*tint)}


def all_materials(finish: Finish) -> dict[str, dict]:
    """Material descriptions by the names that the car's parts use."""
    dusty = np.array(finish.colour) * (1 - 0.12 * finish.dirt) + 0.03 * finish.dirt
    solid = {
        "type": "plastic", "diffuse_reflectance": _rgb(*dusty), "int_ior": 1.55,
        "specular_reflectance": _rgb(1.0 - 0.5 * finish.dirt), "nonlinear": True,
    }  # fmt: skip
    flakes = _principled(np.minimum(dusty * 1.25, 0.9), 0.32, 0.85)
    paint = solid if finish.metallic == 0 else {
        "type": "blendbsdf", "weight": finish.metallic, "coat": solid, "flakes": flakes,
    }  # fmt: skip
    rim = {
        "silver": _principled((0.52, 0.52, 0.53), 0.3, 0.75),
        "dark": _principled((0.05, 0.05, 0.055), 0.3, 0.5, clearcoat=0.6),
        "chrome": _principled((0.75, 0.75, 0.76), 0.12, 1.0),
    }[finish.rim]
    materials = {
        "paint": paint,
        "rim": rim,
        "chrome": _principled((0.72, 0.72, 0.73), 0.15, 1.0),
        "gloss_black": _principled((0.01, 0.01, 0.01), 0.12),
        "plastic": _principled((0.028, 0.028, 0.029), 0.5, 0.0, 0.35),
        "black": _principled((0.006, 0.006, 0.006), 0.7, 0.0, 0.1),
        "rubber": _principled((0.018, 0.018, 0.018), 0.65, 0.0, 0.25),
        "brake": _principled((0.16, 0.155, 0.15), 0.45, 0.7),
        "fabric": _principled((0.016, 0.016, 0.017), 0.95, 0.0, 0.1),
        "interior": _principled(finish.interior, 0.8, 0.0, 0.2),
        "interior_dark": _principled(np.array(finish.interior) * 0.35 + 0.006, 0.7, 0.0, 0.2),
        "lamp_clear": _principled((0.22, 0.225, 0.23), 0.12, 0.3, 0.8),
        "lamp_bulb": _principled((0.62, 0.63, 0.64), 0.12, 0.3, 0.8, clearcoat=1.0),
        "lamp_amber": _principled((0.60, 0.18, 0.02), 0.1, 0.0, 0.8, clearcoat=1.0),
        "lamp_red": _principled((0.36, 0.008, 0.012), 0.08, 0.0, 0.8, clearcoat=1.0),
        "lamp_pale": _principled((0.62, 0.56, 0.56), 0.1, 0.2, 0.8, clearcoat=1.0),
        "plate": _principled((0.72, 0.74, 0.76), 0.4),
        "plate_band": _principled((0.05, 0.22, 0.55), 0.4),
        "dark_glass": _principled((0.008, 0.009, 0.010), 0.04, 0.0, 0.6),
    }
    described = {name: {"type": "twosided", "bsdf": value} for name, value in materials.items()}
    described["glass"] = _glass(0.55)
    described["privacy_glass"] = _glass(finish.tint)
    return described
