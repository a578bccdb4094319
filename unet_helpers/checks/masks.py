"""Checks for notebook 01: angles from 1 to 16, pairs by name, palettes, and averaged masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from unet_helpers.checks.answers import binary_mask, call, number, require, sequence, shown, whole
from unet_helpers.checks.register import exercise


@exercise(
    "01.1",
    "shares[0] holds the sixteen shares of the first car, one for each angle.",
    "np.argmax gives the position of the largest value.",
    "Positions are counted from 0 and angles from 1, so one has to be added.",
)
def largest_angle(largest: Any, shares: Any) -> str:
    """largest: an angle, 1 to 16; shares (16,): the car's share of the photo at each angle."""
    shares = np.asarray(shares, dtype=float)
    require(shares.shape == (16,), "the check needs shares[0], as the notebook computed it.")
    found = number(largest, "largest")
    why = "that is how much of the photo is car. The angle at which it is so much is asked for."
    require(not abs(found - shares.max()) < 1e-3, f"{found:g}: {why}")
    angle, right = whole(largest, "largest"), int(shares.argmax()) + 1
    counted = angle + 1 == right
    require(not counted, f"{angle} is the position, counted from 0; angles are counted from 1.")
    require(1 <= angle <= 16, f"{angle} is no angle: they go from 1 to 16.")
    least = angle == int(shares.argmin()) + 1
    require(not least, f"at angle {angle} there is the least car: argmax in place of argmin.")
    more = f"at angle {angle} {shares[angle - 1]:.1%} of the photo is car, and elsewhere more."
    require(shares[angle - 1] == shares.max(), more)
    return f"At angle {angle} {shares.max():.1%} of the photo is car."


@exercise(
    "01.2",
    'Cut every name down to what photo and mask share: name.removesuffix("_mask.gif"), for one.',
    "Make a set of each, and subtract them: photos - masks are the photos without a mask.",
    "It takes both differences, each turned into file names again, and sorted().",
)
def unpaired_names(unpaired: Any) -> None:
    """unpaired(photos, masks): the sorted names without a partner in the other list."""

    def found(photos: list[str], masks: list[str]) -> list[str]:
        names = call(unpaired, list(photos), list(masks))
        kind = f"a sorted list is wanted, not {shown(names)}."
        require(isinstance(names, list | tuple), kind)
        return sequence(names, "the result")

    result = found(["a_01.jpg", "a_02.jpg"], ["a_01_mask.gif"])
    require(result != ["a_02"], "you return the stem a_02; the file's name is a_02.jpg.")
    require("a_01.jpg" not in result, "a_01.jpg does have a mask: a_01_mask.gif.")
    require(result == ["a_02.jpg"], f"a_02.jpg has no mask; you return {shown(result)}.")
    result = found(["b_01.jpg"], ["b_01_mask.gif", "c_01_mask.gif"])
    require(result, "a mask without a photo counts too, and you miss it: c_01_mask.gif.")
    right = result == ["c_01_mask.gif"]
    require(right, f"only c_01_mask.gif has no partner; you return {shown(result)}.")
    result = found(["a_01.jpg", "a_02.jpg"], ["a_02_mask.gif", "a_03_mask.gif"])
    why = "as many masks as photos, but two names are alone, a_01.jpg and a_03_mask.gif"
    require(sorted(map(str, result)) == ["a_01.jpg", "a_03_mask.gif"], f"{why}: {shown(result)}.")
    result = found(["b.jpg", "a.jpg"], ["c_mask.gif"])
    wanted = ["a.jpg", "b.jpg", "c_mask.gif"]
    require(sorted(map(str, result)) == wanted, f"all three are alone; you return {shown(result)}.")
    require(result == wanted, f"the names are right but not sorted: {shown(result)}.")
    require(found([], []) == [], "of two empty lists nobody is alone: return an empty list.")


@exercise(
    "01.3",
    "The number of a palette image is a place in a table of colours. White may be at place 0.",
    'image.convert("L") looks the colours up and gives grey values from 0 to 255, for any mode.',
    "Nearer to white than to black is a grey value above 127. Then .astype(np.uint8).",
)
def white_is_car(white_is_car: Any) -> None:
    """white_is_car(image): a uint8 mask (H, W), 1 where a PIL image of any mode is whitish."""
    truth = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
    black_white = Image.fromarray(truth * 255)
    turned = Image.fromarray(1 - truth)  # index 0 is white, index 1 is black
    turned.putpalette([255, 255, 255, 0, 0, 0])
    greys = Image.fromarray(np.array([[100, 200, 255], [0, 30, 160]], np.uint8))
    for name, image in (
        ("grey image (mode L)", black_white),
        ("RGB image", black_white.convert("RGB")),
        ("palette image whose index 0 is white", turned),
        ("one-bit image (mode 1)", black_white.convert("1")),
        ("grey image with the values 100 and 160", greys),
    ):
        given = call(white_is_car, image.copy())
        three = np.ndim(given) == 3 if isinstance(given, np.ndarray) else False
        require(not three, f"{name}: one number a pixel is wanted, and there are three channels.")
        found = binary_mask(given, f"the mask of the {name}", (2, 3))
        dark = image is greys and found[0, 0] == 1
        require(not dark, f"{name}: 100 is nearer to black (0) than to white (255), so no car.")
        turn = "car and background are exchanged: you read the index, not its colour."
        require(not np.array_equal(found, 1 - truth), f"{name}: {turn}")
        why = "car and background are mixed up"
        require(np.array_equal(found, truth), f"{name}: {why}: {found.tolist()}.")


@exercise(
    "01.4",
    "The averaged mask holds grey values from 0 to 255. A pixel half on the car has about half.",
    "Try some values: count (shrunk > value).sum() and compare with the nearest-neighbour mask.",
    "A pixel should count as car when more than half of it is car: somewhere near 127.",
)
def fair_threshold(threshold: Any, grey: Any) -> str:
    """threshold: between 0 and 255; grey: the mask as a PIL image of 0 and 255."""
    value = number(threshold, "threshold")
    require(isinstance(grey, Image.Image), "the check needs grey, as section 5 made it.")
    shrunk = np.asarray(grey.convert("L").resize((96, 64), Image.Resampling.BILINEAR))
    wanted = (np.asarray(grey.convert("L")) > 127).mean() * shrunk.size
    require(wanted > 0, "the check needs a mask with a car in it, as section 5 made it.")
    ratio = (shrunk > value).sum() / wanted
    require(ratio > 0, f"nothing is above {value:g}: the grey values end at 255.")
    require(ratio < 2, f"everything is above {value:g}: background is 0, and it is not above 0.")
    scale = (
        "the grey values go to 255 and not to 1, so this is as good as 0." if 0 < value < 1 else ""
    )
    why = scale or "pixels count as car that are mostly background."
    require(ratio <= 1.03, f"with > {value:g} the car grows by {ratio - 1:.0%}: {why}")
    why = "pixels are given away that are mostly car."
    require(ratio >= 0.97, f"with > {value:g} the car shrinks by {1 - ratio:.0%}: {why}")
    return f"With > {value:g} the car is {ratio:.1%} of its size."
