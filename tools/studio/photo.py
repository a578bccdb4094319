"""From noisy light to a photograph: denoise with the geometry's help, expose, camera noise."""

from __future__ import annotations

import cv2
import numpy as np

DARKEST = 0.02  # albedo by which light is divided at least


def average(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of factor x factor pixels."""
    high, wide = image.shape[0] // factor, image.shape[1] // factor
    return image.reshape(high, factor, wide, factor, -1).mean(axis=(1, 3))


def average_car(image: np.ndarray, label: np.ndarray, factor: int) -> np.ndarray:
    """Mean over the car's rays only, (H, W, C), of an image (factor*H, factor*W, C)."""
    car = (label > 0).astype(np.float32)[..., None]
    return (average(image * car, factor) / np.maximum(average(car, factor), 1e-3)).astype(
        np.float32
    )


def light_level(light: np.ndarray, hits: dict, where: np.ndarray) -> float:
    """Median of light over albedo where a mask on the finer grid says so."""
    k = where.shape[1] // light.shape[1]
    pure = average(where.astype(np.float32)[..., None], k)[..., 0] > 0.99
    ratio = light / np.maximum(average(hits["albedo"], k), DARKEST)
    return float(np.median(ratio[pure])) if pure.any() else 1.0


def smooth_plate(light: np.ndarray, hits: dict[str, np.ndarray]) -> np.ndarray:
    """The empty room without render noise (H, W, 3); hits are on a finer grid.

    Light is divided by the surface's colour, smoothed within each surface, multiplied again.
    """
    index, albedo = hits["index"], np.maximum(hits["albedo"], 0.02)
    k = albedo.shape[1] // light.shape[1]
    ratio = np.minimum(light, 3.0) / average(albedo, k)
    smooth = np.zeros_like(albedo)
    sigma = light.shape[1] / 24
    for surface in np.unique(index):
        inside = (index == surface).astype(np.float32)
        pure = average(inside[..., None], k)
        pure = np.where(pure > 0.99, 1.0, 0.02 * pure).astype(np.float32)
        weight = cv2.GaussianBlur(pure, (0, 0), sigma) + 1e-9
        blurred = cv2.GaussianBlur((ratio * pure).astype(np.float32), (0, 0), sigma)
        blurred /= weight[..., None]
        fine = cv2.resize(blurred, inside.shape[::-1], interpolation=cv2.INTER_LINEAR)
        smooth = np.where(inside[..., None] > 0, fine, smooth)
    return average(smooth * albedo, k).astype(np.float32)


def compose(
    plate: np.ndarray,
    light: np.ndarray,
    hits: dict,
    coverage: np.ndarray,
    crop: tuple[int, int, int, int],
    layers: dict[str, np.ndarray],
) -> np.ndarray:
    """Put the car, its shadow and its reflection on the plate (H, W, 3), linear light.

    light, hits (on a finer grid), coverage and layers belong to the crop of the picture. Layers
    are what the car mirrors, the share it mirrors, how clear its panes are, what is behind them.
    """
    left, top, wide, high = crop
    room = plate[top : top + high, left : left + wide]
    k = hits["floor"].shape[1] // wide
    floor = average(hits["floor"].astype(np.float32)[..., None], k)[..., 0] * (coverage == 0)
    shadow = _shadow(np.minimum(light, 4.0) / np.maximum(room, 0.01), floor, plate.shape[1] / 480)
    fade = _fade(high, wide, crop, plate.shape)
    on_floor = _spread(floor > 0, hits, coverage)
    shadow = 1 + (shadow - 1) * (fade * on_floor)[..., None]
    behind = room * shadow
    albedo = np.maximum(average_car(hits["albedo"], hits["label"], k), DARKEST)
    car = denoise(light, hits, coverage)
    car = filled(car / albedo) * albedo * (1 - layers["share"])
    car += layers["mirror"] + layers["clear"] * layers["behind"]
    out = plate.copy()
    alpha = coverage[..., None]
    out[top : top + high, left : left + wide] = behind * (1 - alpha) + car * alpha
    return out


def filled(level: np.ndarray) -> np.ndarray:
    """Light over albedo on the car, its upright sides filled in by up to 40 %.

    The real room is white behind the camera as well, so that sides are nearly as bright as roofs;
    light from there would wash out the shadow on the floor, which is dark in the real photos.
    Deep shade (below 0.08) and surfaces that face the lamps (above 1.4) stay as they are.
    """
    rise = np.clip((level - 0.08) / 0.27, 0, 1)
    return level * (1 + 0.40 * rise * rise * (3 - 2 * rise) * np.clip((1.4 - level) / 0.9, 0, 1))


def _shadow(ratio: np.ndarray, floor: np.ndarray, unit: float) -> np.ndarray:
    """How much darker or lighter the car makes the floor, smoothed over floor pixels only.

    unit is the width of the whole picture in pixels over 480.
    """
    ratio, blurred = np.clip(ratio, 0, 1.6), []
    for sigma in (3.0, 5.0, 9.0):
        weight = cv2.GaussianBlur(floor.astype(np.float32), (0, 0), sigma * unit)
        spread = (ratio * floor[..., None]).astype(np.float32)
        total = cv2.GaussianBlur(spread, (0, 0), sigma * unit)
        blurred.append(total / np.maximum(weight, 1e-4)[..., None])
    near, middle, far = blurred
    # Contact shadow keeps its edge; the lighter the shadow, the wider it may be smoothed.
    level = middle.mean(-1, keepdims=True)
    result = near + (middle - near) * np.clip((level - 0.06) / 0.14, 0, 1)
    result = result + (far - result) * np.clip((level - 0.38) / 0.25, 0, 1)
    return np.where(floor[..., None] + (far > 0) > 0, result, 1.0)


def _fade(high: int, wide: int, crop, shape) -> np.ndarray:
    """0 at a crop's border inside the picture, 1 further in: no seam on the floor."""
    left, top, _, _ = crop
    reach = 0.05 * shape[1]
    x, y = np.arange(wide) + 0.5, np.arange(high) + 0.5
    gap_x = np.minimum(
        x + (1e9 if left == 0 else 0), wide - x + (1e9 if left + wide == shape[1] else 0)
    )
    gap_y = high - y + (1e9 if top + high == shape[0] else 0)
    return np.clip(gap_x / reach, 0, 1)[None] * np.clip(gap_y / reach, 0, 1)[:, None]


def _spread(floor: np.ndarray, hits: dict, coverage: np.ndarray) -> np.ndarray:
    """Floor pixels, grown by one into the mixed pixels at the car's edge."""
    grown = cv2.dilate(floor.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.where(coverage > 0, grown, floor).astype(np.float32)


def denoise(light: np.ndarray, hits: dict, coverage: np.ndarray) -> np.ndarray:
    """Edge-avoiding à-trous filter of the pixels with coverage 1, guided by normal and albedo.

    Light is divided by the surface's colour first, so that painted edges stay sharp. Four passes
    with steps of 1, 2, 4 and 8 pixels (Dammertz et al. 2010, section 3), in log light.
    """
    k = hits["label"].shape[1] // light.shape[1]
    inside = (coverage > 0.99).astype(np.float32)
    if coverage.min() < 1:
        albedo = average_car(hits["albedo"], hits["label"], k)
    else:
        albedo = average(hits["albedo"], k)
    albedo = np.maximum(albedo, DARKEST)
    guide = np.concatenate([average(hits["normal"], k) / 0.16, np.sqrt(albedo) / 0.12], axis=-1)
    guide = guide.astype(np.float32)
    ratio = np.clip(light, 0, 6) / np.maximum(average(hits["albedo"], k), DARKEST)
    ratio = np.log1p(np.minimum(ratio, 8) * 4).astype(np.float32)
    spread = np.full(inside.shape, 2.5, np.float32)
    for step in (1, 2, 4, 8):
        ratio, inside = _pass(ratio, guide, inside, spread / step, step)
    return np.expm1(ratio) / 4 * albedo


def _pass(light, guide, inside, spread, step: int) -> tuple[np.ndarray, np.ndarray]:
    """One pass; pixels at the car's edge take the colour of the car's inner pixels near them."""
    guess = cv2.GaussianBlur(light, (0, 0), 1.2)
    stacked = np.concatenate([light, guide, guess, inside[..., None]], axis=-1)
    reach = 2 * step
    padded = np.pad(stacked, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    high, wide = inside.shape
    total, weights = np.zeros_like(light), np.full(inside.shape, 1e-6, np.float32)
    kernel = (1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16)
    end = 3 + guide.shape[-1]
    for row, ky in enumerate(kernel):
        for column, kx in enumerate(kernel):
            near = padded[row * step : row * step + high, column * step : column * step + wide]
            far = ((near[..., 3:end] - guide) ** 2).sum(-1)
            bright = ((near[..., end : end + 3] - guess) ** 2).sum(-1) / spread
            far = np.where(inside > 0, far + bright, 0.1 * far)
            weight = ky * kx * np.exp(-far) * near[..., -1]
            total += near[..., :3] * weight[..., None]
            weights += weight
    found = weights > 1e-4
    smooth = np.where(found[..., None], total / weights[..., None], light)
    return smooth, np.maximum(inside, (found & (inside > 0)).astype(np.float32))


def develop(light: np.ndarray, rng: np.random.Generator, look: dict) -> np.ndarray:
    """Linear light (H, W, 3) to an 8-bit photo: exposure, tone, blur, sensor noise.

    look holds the session's exposure, balance (3,), contrast (a power), blur in pixels of a
    384-pixel-wide picture, and noise in grey levels.
    """
    image = light * look["exposure"] * np.asarray(look["balance"])
    # A little stray light in the lens keeps black from being quite black.
    image = 0.0022 + np.maximum(image, 0) ** look["contrast"]
    image = np.where(image > 0.6, 0.6 + 0.4 * np.tanh((image - 0.6) / 0.4), image)
    image = np.clip(image, 0, 1)
    sigma = look["blur"] * light.shape[1] / 384
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), max(sigma, 0.3))
    image = np.where(image < 0.0031308, image * 12.92, 1.055 * image ** (1 / 2.4) - 0.055)
    grain = rng.standard_normal(image.shape[:2])[..., None] * 0.8
    grain = grain + rng.standard_normal(image.shape) * 0.5
    image = image * 255 + cv2.GaussianBlur(grain, (0, 0), 0.5) * 1.6 * look["noise"]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def draw_look(rng: np.random.Generator) -> dict:
    """One session's exposure, white balance, blur and noise."""
    warm = float(rng.normal(0.004, 0.014))
    return {
        "exposure": float(np.exp(rng.normal(0.53, 0.08))),
        "balance": [1 + warm, 1.0, 1 - warm],
        "contrast": float(rng.uniform(1.10, 1.26)),
        "blur": float(rng.uniform(0.22, 0.42)),
        "noise": float(rng.uniform(0.15, 0.6)),
    }
