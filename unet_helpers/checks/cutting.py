"""Checks for notebook 08: blending, cropping a cut-out, closing holes, and the costliest thing."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_helpers.checks.answers import (
    Untried,
    array,
    binary_mask,
    call,
    near,
    number,
    require,
    shown,
)
from unet_helpers.checks.register import exercise
from unet_helpers.scenes import STREET


@exercise(
    "08.1",
    "At opacity 255 only the photo is seen, at 0 only the background, and in between a mixture.",
    "alpha[..., None] has the shape (H, W, 1), and so it fits all three colours.",
    "share = alpha[..., None] / 255; share * photo + (1 - share) * background, then np.rint and "
    ".astype(np.uint8).",
)
def blend(blend: Any) -> None:
    """blend(photo, alpha, background): the photo before the background, uint8 (H, W, 3)."""
    photo, other = np.full((2, 3, 3), 200, np.uint8), np.full((2, 3, 3), 100, np.uint8)
    alpha = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)
    given = photo.copy(), alpha.copy(), other.copy()
    found = array(call(blend, *given), "the picture", (2, 3, 3))
    kept = all(np.array_equal(a, b) for a, b in zip(given, (photo, alpha, other), strict=True))
    require(kept, "the arrays that blend was given have changed: work on copies.")
    row, wanted = [float(v) for v in found[..., 0].ravel()], [100, 120, 140, 160, 180, 200]
    why = "at opacity 0 the photo is seen and at 255 the background: the two are exchanged."
    require(row[0] != 200 or row[-1] != 100, why)
    why = "200 before 100 can only be between them. Divide alpha by 255: uint8 begins again at 0"
    require(min(row) >= 99 and max(row) <= 201, f"values from {min(row):g} to {max(row):g}: {why}.")
    half = row[1:5] in ([100] * 4, [200] * 4) or set(row[1:5]) == {100, 200}
    require(not half, "photo or background, and nothing in between: alpha has 256 steps.")
    same = all(near(a, b, 1) for a, b in zip(row, wanted, strict=True))
    require(same, f"200 before 100 should give {wanted}, and you give {shown(row)}.")
    require(found.dtype == np.uint8, f"the type is {found.dtype}, not uint8.")
    # 128 / 255 of the way from 102 to 201 is 151.69.
    rounded = call(blend, photo + 1, np.full((2, 3), 128, np.uint8), other + 2)
    value = array(rounded, "the picture", (2, 3, 3))[0, 0, 0]
    require(value == 152, f"151.69 becomes 152, not {value}: round before you make uint8 of it.")


@exercise(
    "08.2",
    "cut[..., 3] is the opacity. In which rows and columns is it above 0?",
    "np.nonzero(cut[..., 3]) gives the rows and the columns of all visible pixels.",
    "Top: max(rows.min() - margin, 0). Bottom: rows.max() + 1 + margin. The same for columns.",
)
def crop_to_car(crop_to_car: Any) -> None:
    """crop_to_car(cut, margin): the part of an RGBA picture that is visible, and a margin."""
    cut = np.zeros((20, 30, 4), np.uint8)
    cut[..., 0] = 10 + np.arange(30, dtype=np.uint8)  # every column has a red of its own
    cut[..., 1] = 10 + np.arange(20, dtype=np.uint8)[:, None]  # every row a green
    cut[5:10, 8:20, 3] = 255
    cut[4, 12, 3] = 40  # a soft pixel above the car

    def found(margin: int) -> np.ndarray:
        part = array(call(crop_to_car, cut.copy(), margin), "the part")
        channels = part.ndim == 3 and part.shape[2] == 4
        require(channels, f"all four channels are wanted; the shape is {part.shape}.")
        return part

    part = found(0)
    shape = part.shape
    require(
        shape != cut.shape, "nothing is cut off: look at the opacity, channel 3, not at colours."
    )
    soft = "the pixel with an opacity of 40 is visible too: above 0, not above the middle"
    require(shape != (5, 12, 4), f"{soft}.")
    why = "the last row and the last column are missing: a slice ends before its end, so + 1."
    require(shape != (5, 11, 4), why)
    require(
        shape == (6, 12, 4), f"with margin 0 it is (6, 12, 4), rows 4–9, columns 8–19; not {shape}."
    )
    require(np.array_equal(part, cut[4:10, 8:20]), "the size is right, but it begins elsewhere.")
    shape = found(2).shape
    require(shape != (6, 12, 4), "the margin plays no part.")
    require(shape == (10, 16, 4), f"margin 2 on each side is (10, 16, 4), not {shape}.")
    part = found(6)
    why = "only 4 rows are above the car, and a negative start counts from the end: max(…, 0)."
    require(
        part.size and part.shape == (16, 24, 4), f"margin 6 is (16, 24, 4), not {part.shape}: {why}"
    )
    require(np.array_equal(part, cut[:16, 2:26]), "margin 6: the size is right, the place is not.")


@exercise(
    "08.3",
    "A hole is a piece of background from which no way leads to the edge of the picture.",
    "cv2.connectedComponents((mask == 0).astype(np.uint8), connectivity=4) numbers the pieces. "
    "Which numbers occur in the first and last row and column?",
    "np.isin(pieces, numbers) & (mask == 0) is the outside; everything else is car.",
)
def fill_holes(fill_holes: Any) -> None:
    """fill_holes(mask): the mask (H, W) with every enclosed piece of background made car."""
    ring = np.zeros((9, 12), np.uint8)
    ring[2:7, 2:10], ring[4, 4:6] = 1, 0  # a car with a hole
    bay, low = ring.copy(), np.zeros((6, 6), np.uint8)
    bay[2:5, 8] = 0  # a bay that is open at the top
    low[3:, 1:5], low[4:, 2:4] = 1, 0  # a gap that reaches the lower edge of the picture

    def found(mask: np.ndarray) -> np.ndarray:
        return binary_mask(call(fill_holes, mask.copy()), "the mask", mask.shape)

    filled = found(ring)
    require(not np.array_equal(filled, 1 - ring), "car and background are exchanged.")
    outside = filled[0].any() or filled[-1].any()
    require(not outside, "the background around the car has become car as well.")
    require(filled[4, 4:6].all(), "the hole is still there.")
    extra = int(filled.sum()) - 40
    word = "too many" if extra > 0 else "too few"
    require(extra == 0, f"the filled car has 40 pixels; yours has {abs(extra)} {word}.")
    why = "a bay that is open to the outside is no hole: a way leads from it to the edge."
    require(not found(bay)[2:5, 8].any(), why)
    why = "a gap that touches the lower edge of the picture is no hole."
    require(not found(low)[4:, 2:4].any(), why)
    corner = np.ones((7, 7), np.uint8)
    corner[0], corner[:, 0], corner[2, 2], corner[1, 1] = 0, 0, 0, 0  # it touches at a corner only
    why = "between car pixels that touch at a corner nothing gets through: connectivity=4."
    require(found(corner)[2, 2] == 1, why)


@exercise(
    "08.4",
    'dices = {thing: dice_without(thing) for thing in ("", *STREET)} measures everything once.',
    "Leaving out what costs most brings the greatest gain: in which street is Dice the highest?",
    "max(STREET, key=dices.get)",
)
def costliest_thing(costliest: Any, dices: Any, dice_without: Any) -> str:
    """costliest: a thing of STREET; dices: Dice without each, "" for the full street."""
    if costliest is ... or dices is ...:
        raise Untried
    require(isinstance(dices, dict), f"dices is {shown(dices)}: a dictionary is wanted.")
    missing = [thing for thing in ("", *STREET) if thing not in dices]
    require(not missing, f'dices has no {missing[:1]}; "" stands for the full street.')
    values = {thing: number(dices[thing], f"dices[{thing!r}]") for thing in ("", *STREET)}
    inside = all(0.001 < value <= 1 for value in values.values())
    require(inside, "Dice itself is wanted in dices, between 0 and 1, not how much it changes.")
    require(isinstance(costliest, str), f"costliest is {shown(costliest)}: a name is wanted.")
    require(costliest in STREET, f"{shown(costliest)} is not one of {', '.join(STREET)}.")
    gain = values[costliest] - values[""]
    text = f"without {costliest} Dice changes by {gain:+.3f}"
    least = values[costliest] == min(values[thing] for thing in STREET)
    best = max(STREET, key=values.get)
    require(costliest == best or not least, f"{text}, the least of all. Which change is greatest?")
    require(costliest == best, f"{text}; leaving out another thing brings more.")
    measured = number(call(dice_without, costliest), "what dice_without returns")
    why = f"measured again, Dice without {costliest} is {measured:.3f}, and dices says"
    require(near(measured, values[costliest], 0.005), f"{why} {values[costliest]:.3f}.")
    return f"{text[0].upper()}{text[1:]}."
