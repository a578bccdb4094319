"""From a mask to a picture: the largest piece, soft edges, the cut-out, another background.

A pixel at a car's edge is a mixture, ``opacity · car + (1 - opacity) · background`` (Porter and
Duff, *Compositing digital images*, 1984). Opacity is uint8 0..255, as in a PNG's fourth channel.
"""

from __future__ import annotations

import cv2
import numpy as np

from .environment import CourseError

# A probability up to the first value is background in a cut-out, from the second on it is car;
# in between lies the soft edge. The network is never quite at 0 or 1, and without this the whole
# background would shine through faintly.
SOFT_EDGE = (0.1, 0.9)


def keep_largest_component(mask: np.ndarray) -> np.ndarray:
    """The mask without all but its largest connected piece, uint8 (H, W) of 0 and 1.

    mask: (H, W), everything above 0 counts. Pixels that touch at a corner are connected. An empty
    mask stays empty; of two pieces of one size the upper one is kept.
    """
    filled = (np.asarray(mask) > 0).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]  # row 0 is the background
    if len(areas) == 0:
        return filled
    largest = np.flatnonzero(areas == areas.max()) + 1
    # Labels may come in any order; the upper one is the one met first, row by row.
    first = labels.ravel()[np.argmax(np.isin(labels, largest))]
    return (labels == first).astype(np.uint8)


def soft_alpha(mask: np.ndarray) -> np.ndarray:
    """Opacity uint8 (H, W), 0 to 255, from a mask of 0 and 1, or from probabilities.

    Whole numbers and booleans are a mask and give a hard edge; a float array in 0..1 is a
    probability and gives a soft one, 0 up to 0.1 and 255 from 0.9 on.
    """
    mask = np.asarray(mask)
    if not np.issubdtype(mask.dtype, np.floating):
        return np.where(mask > 0, 255, 0).astype(np.uint8)
    low, high = SOFT_EDGE
    return np.rint(np.clip((mask - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def feather(mask: np.ndarray, radius: float) -> np.ndarray:
    """Opacity uint8 (H, W) that rises from 0 to 255 across the outline of a mask.

    mask: (H, W), a mask of 0 and 1, or a probability, whose outline lies at 0.5. radius: how far
    the ramp reaches to either side, in pixels; 0 gives a hard edge. On the outline itself, halfway
    between the last car pixel and the first background pixel, the car is half opaque.
    Raises CourseError for a negative radius.
    """
    mask = np.asarray(mask)
    if not radius >= 0:
        mend = "give the number of pixels to either side of the outline, such as 2"
        raise CourseError("radius", expected="0 or more", found=radius, mend=mend)
    inside = (mask > (0.5 if np.issubdtype(mask.dtype, np.floating) else 0)).astype(np.uint8)
    if radius == 0 or inside.min() == inside.max():
        return inside * np.uint8(255)
    # To the outline it is half a pixel less than to the first pixel beyond it.
    distances = [cv2.distanceTransform(one, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5
                 for one in (inside, 1 - inside)]  # fmt: skip
    signed = np.where(inside > 0, distances[0], -distances[1])
    return np.rint(np.clip(0.5 + signed / (2 * radius), 0, 1) * 255).astype(np.uint8)


def foreground(photo: np.ndarray, alpha: np.ndarray, depth: int | None = None) -> np.ndarray:
    """The photo with its edge in the car's own colours, uint8 (H, W, 3), for a new background.

    At the edge a photo has mixed the car with the background that it was taken before, and that
    colour would stand around the car as a rim. So there, every pixel takes the colour of the
    nearest sure car pixel: one that lies more than `depth` pixels inside the solid part. What has
    no sure pixel near it, such as an antenna, stays as it is.
    alpha: as for `replace_background`. depth: None for 1/400 of the photo's longer side.
    Raises CourseError when the sizes differ.
    """
    check_photo(photo)
    depth = max(1, round(max(photo.shape) / 400)) if depth is None else depth
    solid = (_share(photo, alpha)[..., 0] > 0.99).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * depth + 1, 2 * depth + 1))
    sure = cv2.erode(solid, disc) > 0  # the picture's border is no edge: OpenCV leaves it alone
    out = photo.copy()
    if not sure.any():
        return out
    # Every sure pixel gets a number of its own, every other one the number of its nearest.
    distance, numbers = cv2.distanceTransformWithLabels(
        (~sure).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((numbers.max() + 1, 3), np.uint8)
    colours[numbers[sure]] = photo[sure]
    near = ~sure & (distance <= 12 * depth)
    out[near] = colours[numbers[near]]
    out[near] = cv2.blur(out, (4 * depth + 1, 4 * depth + 1))[near]  # no streaks
    return out


def cut_out(
    photo: np.ndarray,
    mask: np.ndarray,
    *,
    largest_component: bool = False,
    radius: float | None = None,
) -> np.ndarray:
    """The car without its background: RGBA uint8 (H, W, 4), to be saved as PNG.

    photo: RGB uint8 (H, W, 3). mask: (H, W), a mask (hard edge) or a probability (soft edge).
    largest_component: drop everything that does not hang together with the largest piece.
    radius: soften the mask's outline over so many pixels to either side instead, see `feather`.
    Raises CourseError when the sizes differ.
    """
    check_photo(photo)
    alpha = soft_alpha(mask) if radius is None else feather(mask, radius)
    _check_same_size(photo, alpha, "mask")
    if largest_component:
        alpha = alpha * keep_largest_component(alpha)
    return np.dstack([photo, alpha])


def replace_background(
    photo: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray | tuple[int, int, int],
    *,
    shadow: float = 0.0,
) -> np.ndarray:
    """The car of a photo before another background, RGB uint8 (H, W, 3).

    photo: RGB uint8 (H, W, 3). alpha: (H, W), the opacity 0..255 that is the fourth channel of
    `cut_out`, or a probability, or a mask of 0 and 1. background: an RGB colour, or a photo of
    any size, which is scaled until it covers (H, W) and cropped around its middle. shadow: how
    dark the ground is under the car, 0 (no shadow) to 1 (black).
    Raises CourseError when the sizes of photo and alpha differ.
    """
    check_photo(photo)
    share = _share(photo, alpha)  # (H, W, 1)
    if isinstance(background, tuple):
        behind = np.broadcast_to(np.array(background, np.float32), photo.shape)
    else:
        check_photo(background)
        behind = _fill(background, photo.shape[:2]).astype(np.float32)
    if shadow > 0:
        behind = behind * (1 - min(shadow, 1.0) * _under_the_car(share[..., 0])[..., None])
    return np.rint(photo * share + behind * (1 - share)).astype(np.uint8)


def _under_the_car(share: np.ndarray) -> np.ndarray:
    """How much a drawn shadow darkens the ground, float32 (H, W) in 0..1, from the opacity.

    The ground under a car lies between its wheels: in the convex hull of the car's lower part. A
    guess from the outline alone; where the light comes from is not in it.
    """
    # A shadow is soft: worked out on a small picture it looks the same, in a fraction of the time.
    full, scale = share.shape, min(1.0, 480 / max(share.shape))
    share = resize(share, (max(1, round(full[0] * scale)), max(1, round(full[1] * scale))))
    rows, columns = np.nonzero(share > 0.5)
    if len(rows) == 0:
        return np.zeros(full, np.float32)
    height = rows.max() - rows.min() + 1
    low = rows > rows.max() - 0.35 * height
    points = np.column_stack([columns[low], rows[low]]).astype(np.int32)
    area = np.zeros(share.shape, np.float32)
    cv2.fillConvexPoly(area, cv2.convexHull(points), 1.0)
    # One blur for the dark line where the tyres stand, a wider one for the soft surroundings.
    close, wide = (cv2.GaussianBlur(area, (0, 0), max(0.3, part * height)) for part in (0.02, 0.07))
    return resize(0.6 * close + 0.4 * wide, full)


def resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) or (H, W, 3) brought to size (height, width): averaged if it shrinks, else linear."""
    height, width = size
    if array.shape[:2] == (height, width):
        return array
    shrinks = array.shape[0] > height or array.shape[1] > width  # as dataset.read_photo does it
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(array, (width, height), interpolation=method)


def check_photo(photo: np.ndarray) -> None:
    """Raises CourseError for anything but an RGB array, uint8 (H, W, 3)."""
    if not (
        isinstance(photo, np.ndarray)
        and photo.dtype == np.uint8
        and photo.ndim == 3
        and photo.shape[2] == 3
        and photo.size
    ):
        found = f"{getattr(photo, 'dtype', type(photo).__name__)} {getattr(photo, 'shape', '')}"
        raise CourseError(
            "the photo",
            expected="an RGB array, uint8 (H, W, 3)",
            found=found.strip(),
            mend="read it with dataset.read_photo(path)",
        )


def _share(photo: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Opacity, probability or mask as the car's share of each pixel, float32 (H, W, 1) in 0..1."""
    alpha = np.asarray(alpha)
    _check_same_size(photo, alpha, "alpha")
    is_opacity = alpha.dtype == np.uint8 and alpha.max() > 1
    opacity = alpha if is_opacity else soft_alpha(alpha)
    return opacity.astype(np.float32)[..., None] / 255


def _fill(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A photo scaled until it covers size (height, width), cropped around its middle."""
    height, width = size
    scale = max(height / photo.shape[0], width / photo.shape[1])
    scaled = (max(height, round(photo.shape[0] * scale)), max(width, round(photo.shape[1] * scale)))
    large = resize(photo, scaled)
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    return large[top : top + height, left : left + width]


def _check_same_size(photo: np.ndarray, other: np.ndarray, name: str) -> None:
    if other.shape != photo.shape[:2]:
        raise CourseError(
            name,
            expected=f"the photo's size {photo.shape[:2]}",
            found=str(other.shape),
            mend="predict it with predict_mask or predict_probability, which keep the size",
        )
