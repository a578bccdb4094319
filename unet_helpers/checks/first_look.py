"""Checks for notebook 00: what a mask's mean says, what accuracy does not, and a box as a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_helpers.checks.answers import dice_of, given_mask, near, number, require, sequence, whole
from unet_helpers.checks.register import exercise

BOX_DICE = 0.7


@exercise(
    "00.1",
    "mask holds 1 on the car and 0 elsewhere. What does its sum count?",
    "A share is a part divided by the whole. The whole photo has mask.size pixels.",
    "The mean of ones and zeros is the share of the ones.",
)
def share_of_car(share: Any, mask: Any) -> None:
    """share: the car's share of the photo; mask (H, W): from the notebook."""
    value, mask = number(share, "share"), given_mask(mask)
    car, right = np.count_nonzero(mask), np.count_nonzero(mask) / mask.size
    for other, why in (
        (car, "that is how many pixels are car. For their share, divide by all pixels, mask.size."),
        (100 * right, "that is per cent. As a share, 24 % is 0.24: leave out the 100."),
        (1 - right, "that is the share of the background."),
        (car / len(mask), "len(mask) is the number of rows. Divide by mask.size, all pixels."),
        (car / mask.shape[1], "that divides by one row only. Divide by mask.size, all pixels."),
    ):
        require(not near(value, other, 1e-3), why)
    require(0 <= value <= 1, f"{value:g} is no share: that lies between 0 and 1.")
    why = "count the ones in mask, and divide by the number of all pixels, mask.size."
    require(near(value, right, 1e-3), f"{value:g} is not it: {why}")


@exercise(
    "00.2",
    "lazy says 0 everywhere. Where is that right? Where mask is 0 too.",
    "mask == lazy is True wherever the two agree, and the mean of True and False is a share.",
    "For Dice take the function of section 3: dice_of(mask, lazy).",
)
def lazy_network(accuracy: Any, lazy_dice: Any, mask: Any) -> None:
    """accuracy, lazy_dice: of an empty prediction; mask (H, W): from the notebook."""
    accuracy, lazy = number(accuracy, "accuracy"), number(lazy_dice, "lazy_dice")
    mask = given_mask(mask)
    right = np.count_nonzero(mask == 0) / mask.size
    swapped = near(accuracy, 0) and near(lazy, right, 1e-3)
    require(not swapped, "the two are swapped: accuracy comes first, then Dice.")
    why = "that is the share of the car. A lazy network is right on all the rest."
    require(not near(accuracy, 1 - right, 1e-3), f"accuracy {accuracy:.3f}: {why}")
    require(not near(accuracy, 100 * right, 0.1), "accuracy in per cent: leave out the 100.")
    why = "it is the share of pixels where mask and lazy hold the same."
    require(near(accuracy, right, 1e-3), f"accuracy {accuracy:g}: {why}")
    why = "that is accuracy again. Dice counts only what the two share on the car."
    require(not near(lazy, right, 1e-3), f"lazy_dice {lazy:.3f}: {why}")
    why = "mask and lazy share no car pixel at all, so nothing stands above the fraction line."
    require(near(lazy, 0), f"lazy_dice {lazy:g}: {why}")


@exercise(
    "00.3",
    "Rows are counted from the top, columns from the left, both from 0; photo.shape says how many.",
    "Show the mask with show_photos and read the car's edges off, or ask mask.any(axis=1), which "
    "says for each row whether there is car in it.",
    "np.flatnonzero(mask.any(axis=1)) lists the rows with car: the first is top, the last + 1 is "
    "bottom. The same with axis=0 gives left and right.",
)
def box_around_the_car(box: Any, mask: Any) -> str:
    """box: (top, bottom, left, right), bottom and right not included; mask (H, W)."""
    sides = ("top", "bottom", "left", "right")
    values = sequence(box, "box", 4)
    shares = all(isinstance(v, float) and 0 <= v <= 1 for v in values) and any(values)
    require(not shares, "rows and columns are wanted, counted in pixels, not shares of the photo.")
    top, bottom, left, right = (whole(v, n) for v, n in zip(values, sides, strict=True))
    mask = given_mask(mask)
    height, width = mask.shape
    for swapped, order in (
        ((left, right, top, bottom), "(top, bottom, left, right); yours begins with the columns."),
        (
            (top, left, bottom, right),
            "(top, bottom, left, right); yours is top, left, bottom, right.",
        ),
    ):
        fits = _box_dice(swapped, mask) > max(BOX_DICE, _box_dice((top, bottom, left, right), mask))
        require(not fits, f"the order is {order}")
    require(top < bottom, f"top {top} is not above bottom {bottom}: rows are counted downwards.")
    require(left < right, f"left {left} is not left of right {right}.")
    inside = min(top, left) >= 0 and bottom <= height and right <= width
    require(inside, f"the box leaves the photo, which has {height} rows and {width} columns.")
    dice = _box_dice((top, bottom, left, right), mask)
    missed = 1 - mask[top:bottom, left:right].sum() / mask.sum()
    wall = 1 - mask[top:bottom, left:right].mean()
    why = f"{missed:.0%} of the car lie outside your box, and {wall:.0%} of the box are background."
    require(dice > BOX_DICE, f"Dice {dice:.3f}, above {BOX_DICE} is wanted. {why}")
    return f"Dice {dice:.3f} without any network; {wall:.0%} of your box are background."


def _box_dice(box: tuple[int, int, int, int], mask: np.ndarray) -> float:
    top, bottom, left, right = (max(0, min(v, max(mask.shape))) for v in box)
    filled = np.zeros_like(mask)
    filled[top:bottom, left:right] = 1
    return dice_of(filled, mask)
