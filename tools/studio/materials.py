"""Paints, glass and the rest, as the renderer's material descriptions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# name: (share of the fleet, list of linear RGB colours)
PAINTS = {
    "white": (0.22, [(0.56, 0.56, 0.555), (0.53, 0.515, 0.48), (0.61, 0.61, 0.615)]),
    "black": (0.19, [(0.008, 0.008, 0.009), (0.012, 0.012, 0.013), (0.010, 0.011, 0.016)]),
    "grey": (0.17, [(0.10, 0.10, 0.105), (0.05, 0.052, 0.055), (0.16, 0.155, 0.15),
                    (0.07, 0.075, 0.085)]),
    "silver": (0.16, [(0.39, 0.395, 0.40), (0.32, 0.325, 0.33), (0.47, 0.47, 0.465)]),
    "blue": (0.09, [(0.02, 0.05, 0.16), (0.01, 0.025, 0.07), (0.05, 0.22, 0.55),
                    (0.25, 0.48, 0.68), (0.30, 0.38, 0.50)]),
    "red": (0.09, [(0.32, 0.012, 0.014), (0.16, 0.006, 0.012), (0.42, 0.02, 0.02),
                   (0.22, 0.01, 0.015), (0.36, 0.03, 0.012)]),
    "beige": (0.05, [(0.41, 0.37, 0.31), (0.32, 0.285, 0.23), (0.47, 0.445, 0.395),
                     (0.54, 0.505, 0.435)]),
    "brown": (0.02, [(0.07, 0.045, 0.035), (0.13, 0.095, 0.075), (0.05, 0.03, 0.03)]),
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
    tint: float  # share of the light that comes through tinted glass
    clear: float  # the same for clear glass
    top: tuple[float, float, float]  # a convertible's cloth
    gloss: float  # what the clear coat mirrors, seen straight on; 0 is matte
    roof: tuple[float, float, float]  # of a car painted in two tones


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
    # White, grey and silver keep their hue nearly; coloured paints may differ more.
    sway = 0.05 if paint in ("white", "black", "grey", "silver", "beige") else 0.4
    colour = np.array(shades[rng.integers(len(shades))]) * rng.uniform(0.85, 1.12, 3) ** sway
    colour = colour * rng.uniform(0.9, 1.08)
    solid, most = {"white": (0.7, 0.12), "black": (0.5, 0.5), "red": (0.4, 0.6),
                   "beige": (0.1, 0.5),
                   "silver": (0.05, 0.5)}.get(paint, (0.1, 0.8))  # fmt: skip
    metallic = 0.0 if rng.uniform() < solid else float(rng.uniform(0.6, 1.0)) * most
    cabins = [(0.02, 0.02, 0.022), (0.06, 0.06, 0.062), (0.16, 0.155, 0.15), (0.34, 0.30, 0.24)]
    tops = [(0.012, 0.012, 0.013), (0.20, 0.17, 0.13), (0.04, 0.045, 0.06)]
    return Finish(
        paint, tuple(float(min(c, 0.88)) for c in colour), metallic, dirt,
        cabins[rng.choice(4, p=[0.4, 0.25, 0.15, 0.2])],
        str(rng.choice(["silver", "dark", "chrome"], p=[0.72, 0.16, 0.12])),
        float(rng.uniform(0.08, 0.28)), float(rng.uniform(0.40, 0.62)),
        tops[rng.choice(len(tops), p=[0.75, 0.15, 0.10])],
        0.0 if rng.uniform() < 0.03 else 0.045 * (1 - 0.5 * dirt),
        (0.78, 0.78, 0.77) if paint not in ("white", "silver") and rng.uniform() < 0.25
        else (0.008, 0.008, 0.009),
    )  # fmt: skip


def _rgb(*value) -> dict:
    colour = list(value) if len(value) == 3 else [value[0]] * 3
    return {"type": "rgb", "value": [float(c) for c in colour]}


def _diffuse(colour) -> dict:
    return {"type": "diffuse", "reflectance": _rgb(*colour)}


def _principled(colour, roughness, metallic=0.0, specular=0.5, **more) -> dict:
    return {
        "type": "principled", "base_color": _rgb(*colour), "roughness": roughness,
        "metallic": metallic, "specular": specular, **more,
    }  # fmt: skip


# material: (reflectance seen straight on, sway of the ribs in a lamp's lens)
GLOSS = {
    "paint": (0.045, 0.0), "glass": (0.05, 0.0), "privacy_glass": (0.05, 0.0),
    "chrome": (0.62, 0.0), "gloss_black": (0.04, 0.0), "dark_glass": (0.05, 0.0),
    "lamp_clear": (0.30, 0.30), "lamp_bulb": (0.35, 0.12), "lamp_amber": (0.08, 0.2),
    "lamp_red": (0.07, 0.12), "lamp_pale": (0.12, 0.2),
    "lamp_deep": (0.07, 0.1), "badge": (0.5, 0.0), "rim": (0.05, 0.0),
}  # fmt: skip


def gloss(finish: Finish) -> dict[str, tuple[float, float]]:
    """GLOSS with this car's clear coat."""
    return GLOSS | {"paint": (finish.gloss, 0.0), "roof": (finish.gloss, 0.0)}


def clearness(finish: Finish) -> dict[str, float]:
    """Share of the light behind a pane that comes through it, by the pane's material."""
    return {"glass": finish.clear, "privacy_glass": finish.tint}


def all_materials(finish: Finish) -> dict[str, dict]:
    """Material descriptions by the names that the car's parts use; gloss is added later."""
    dusty = np.array(finish.colour) * (1 - 0.12 * finish.dirt) + 0.03 * finish.dirt
    paint = _diffuse(dusty)
    if finish.metallic > 0:
        paint = _principled(
            np.minimum(dusty * (1 + finish.metallic), 0.92), 0.28, finish.metallic, 0.0
        )
    lining = _diffuse(np.array(finish.interior) * 0.6 + 0.05)
    rim = {
        "silver": _principled((0.60, 0.60, 0.61), 0.35, 0.6),
        "dark": _principled((0.05, 0.05, 0.055), 0.3, 0.5),
        "chrome": _principled((0.75, 0.75, 0.76), 0.22, 0.9),
    }[finish.rim]
    materials = {
        "rim": rim,
        "chrome": _diffuse((0.10, 0.10, 0.10)),
        "roof": _diffuse(finish.roof),
        "badge": _diffuse((0.12, 0.12, 0.12)),
        "gloss_black": _diffuse((0.006, 0.006, 0.006)),
        "plastic": _principled((0.022, 0.022, 0.023), 0.5, 0.0, 0.35),
        "black": _diffuse((0.005, 0.005, 0.005)),
        "rubber": _principled((0.016, 0.016, 0.016), 0.65, 0.0, 0.25),
        "brake": _principled((0.16, 0.155, 0.15), 0.45, 0.7),
        "fabric": _diffuse(finish.top),
        "interior": _diffuse(finish.interior),
        "interior_dark": _diffuse(np.array(finish.interior) * 0.35 + 0.006),
        "lamp_clear": _diffuse((0.10, 0.10, 0.105)),
        "lamp_bulb": _diffuse((0.42, 0.43, 0.45)),
        "lamp_amber": _diffuse((0.60, 0.18, 0.02)),
        "lamp_red": _diffuse((0.40, 0.010, 0.014)),
        "lamp_pale": _diffuse((0.55, 0.48, 0.48)),
        "lamp_deep": _diffuse((0.13, 0.004, 0.006)),
        "paper": _diffuse((0.72, 0.72, 0.71)),
        "plate": _principled((0.72, 0.74, 0.76), 0.4),
        "plate_band": _principled((0.05, 0.22, 0.55), 0.4),
        "dark_glass": _diffuse((0.004, 0.004, 0.005)),
    }
    described = {name: {"type": "twosided", "bsdf": value} for name, value in materials.items()}
    # Outside paint, inside the lining that shows through the windows.
    described["paint"] = {"type": "twosided", "outside": paint, "inside": lining}
    # Panes are black here: what they mirror and what is seen through them are added as layers.
    described["glass"] = described["privacy_glass"] = {
        "type": "twosided", "bsdf": _diffuse((0.0, 0.0, 0.0)),
    }  # fmt: skip
    return described
