"""Checks for notebook 03: resizing a mask, darkness, normalising, and an own augmentation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from unet_helpers.augment import MEAN, STD
from unet_helpers.checks.answers import (
    Wrong,
    array,
    binary_mask,
    call,
    require,
    sequence,
    shown,
    tensor,
)
from unet_helpers.checks.register import exercise

CALLS = 24


def _car_before_wall() -> tuple[np.ndarray, np.ndarray]:
    """A made-up photo (90, 140, 3) of a light car before a darker wall, and its mask (90, 140)."""
    mask = np.zeros((90, 140), np.uint8)
    mask[46:66, 12:84] = 1  # not in the middle, so a mirrored car lies elsewhere
    mask[30:46, 20:56] = 1
    wall = np.linspace(70, 110, 90)[:, None, None] * np.ones((90, 140, 3))
    paint = np.array([225, 190, 120]) + np.linspace(-20, 20, 140)[None, :, None]
    return np.where(mask[..., None] == 1, paint, wall).round().astype(np.uint8), mask


@exercise(
    "03.1",
    "cv2.resize averages unless told otherwise; it has a parameter interpolation.",
    "cv2 wants (width, height), and size is (height, width): size[::-1] turns it round.",
    "cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)",
)
def shrink_mask(shrink: Any) -> None:
    """shrink(mask, size): the mask (H, W) at size (height, width), no new values in it."""
    mask = np.zeros((90, 140), np.uint8)
    mask[20:70, 31:101], mask[30:45, 45:75] = 1, 7  # the car, and a window of another class
    found = array(call(shrink, mask.copy(), (40, 64)), "the small mask")
    turned = found.shape == (64, 40)
    require(not turned, "height and width are exchanged: cv2 wants (width, height), so size[::-1].")
    require(found.shape == (40, 64), f"the shape is {found.shape}, not (40, 64).")
    values = sorted(set(np.unique(found).tolist()))
    strange = [value for value in values if value not in (0, 1, 7)]
    why = "between background (0), car (1) and window (7) there are no classes"
    averaged = f"averaging has made new values ({strange[0]:g}, for one)" if strange else ""
    require(not strange, f"{averaged}: {why}. Nearest neighbour makes none.")
    require(found.dtype == np.uint8, f"the type is {found.dtype}, not uint8.")
    require(values == [0, 1, 7], f"of the classes 0, 1 and 7 only {shown(values)} are left.")
    wanted = cv2.resize(mask, (64, 40), interpolation=cv2.INTER_NEAREST)
    same = (found == wanted).mean()
    require(same > 0.93, f"only {same:.0%} of the pixels are where they belong: cut, or turned?")


@exercise(
    "03.2",
    "Does the mask depend on the light at all?",
    "0.4 * photo makes a new array of decimals; .astype(np.uint8) makes whole numbers of them.",
    "Multiply rather than subtract: below 0, uint8 goes on at 255.",
)
def night_shift(night: Any) -> None:
    """night(photo, mask): the photo at less than half its brightness, and the mask that fits."""
    photo, mask = _car_before_wall()
    photo[70:] //= 8  # a dark floor: what is subtracted from it goes below 0
    given = photo.copy(), mask.copy()
    dark, its_mask = sequence(call(night, *given), "what night returns", 2)
    unchanged = np.array_equal(given[0], photo) and np.array_equal(given[1], mask)
    require(unchanged, "the arrays that night was given have changed: work on a copy.")
    dark = array(dark, "the photo", photo.shape)
    its_mask = array(its_mask, "the mask", mask.shape)
    require(dark.dtype == np.uint8, f"the photo's type is {dark.dtype}, not uint8.")
    require(its_mask.any(), "the mask is empty: light moves nothing, the mask stays what it was.")
    require(np.array_equal(its_mask, mask), "light moves nothing: the mask stays what it was.")
    around = "some pixels have become brighter: below 0, uint8 goes on at 255. Multiply instead."
    require((dark <= photo).all(), around)
    share = dark.mean() / photo.mean()
    require(share < 0.5, f"it is still at {share:.0%} of its brightness.")
    require(dark.std() > 0.02 * photo.std(), "nothing can be seen any more: darker, not black.")


@exercise(
    "03.3",
    "Three steps: to 0–1, then minus the mean, then divided by the spread, channel by channel.",
    "torch.tensor(MEAN) has three numbers, and the last axis of the photo has three channels: they "
    "fit each other as they stand.",
    "((photo / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1), channels first.",
)
def normalise(normalise: Any) -> None:
    """normalise(photo): uint8 (H, W, 3) as a float32 tensor (3, H, W), less MEAN, over STD."""
    photo = _car_before_wall()[0][:60]  # (60, 140, 3)
    given = photo.copy()
    try:
        found = tensor(call(normalise, given), "the result")
    except Wrong as wrong:
        if "'Tensor' and 'tuple'" in str(wrong):
            raise Wrong(f"{wrong} MEAN and STD are tuples: torch.tensor(MEAN).") from None
        raise
    require(np.array_equal(given, photo), "the photo itself has changed: work on a copy.")
    last = tuple(found.shape) == photo.shape
    require(not last, f"the channels are still last, {tuple(found.shape)}: permute(2, 0, 1).")
    wanted = (3, *photo.shape[:2])
    require(tuple(found.shape) == wanted, f"the shape is {tuple(found.shape)}, not {wanted}.")
    values = found.double().numpy()
    unit, mean, std = photo / 255, np.array(MEAN), np.array(STD)
    right = (unit - mean) / std  # (H, W, 3)
    for other, why in (
        ((photo - mean) / std, "the division by 255 is missing: MEAN and STD belong to 0–1."),
        (unit, "that is 0–1 only: subtract MEAN and divide by STD as well."),
        (unit - mean, "the division by STD is missing."),
        (unit / std, "MEAN is not subtracted."),
        ((unit - std) / mean, "MEAN and STD are exchanged."),
        (unit / std - mean, "subtract MEAN first, then divide by STD."),
        ((unit[..., ::-1] - mean) / std, "red and blue are exchanged."),
        ((unit - unit.mean((0, 1))) / unit.std((0, 1)), "the mean is MEAN, not this photo's own."),
    ):
        require(not np.allclose(values, np.moveaxis(other, -1, 0), atol=1e-3), why)
    scrambled = np.allclose(values, right.reshape(wanted), atol=1e-3)
    require(not scrambled, "reshape scrambles the pixels; permute(2, 0, 1) moves the axes.")
    require(np.allclose(values, np.moveaxis(right, -1, 0), atol=1e-3), "the values are not those.")
    require(found.dtype == torch.float32, f"the type is {found.dtype}: networks want float32.")


@exercise(
    "03.4",
    "Sections 3 and 4 show what moves a photo: mirroring, turning, shifting. Take two of them.",
    "A.Compose([...]) does one after the other, each with its own p, and takes image= and mask=.",
    "A.HorizontalFlip(p=0.5) and A.Affine(rotate=(-10, 10), border_mode=cv2.BORDER_REFLECT_101, "
    "mask_interpolation=cv2.INTER_NEAREST, p=0.7), both in one call with image= and mask=.",
)
def own_augmentation(augment: Any) -> str:
    """augment(photo, mask): both changed at random, so that the mask still lies on the car."""
    photo, mask = _car_before_wall()
    seen, moved, fits, kept = set(), 0, [], []
    for _ in range(CALLS):
        given = photo.copy(), mask.copy()
        result = call(augment, *given)
        whole = 'albumentations gives a dictionary: return its "image" and its "mask", in order.'
        require(not isinstance(result, dict), whole)
        image, its_mask = sequence(result, "what augment returns", 2)
        unchanged = np.array_equal(given[0], photo) and np.array_equal(given[1], mask)
        require(unchanged, "the arrays that augment was given have changed: work on copies.")
        image = array(image, "the photo", photo.shape)
        require(image.dtype == np.uint8, f"the photo's type is {image.dtype}, not uint8.")
        its_mask = binary_mask(its_mask, "the mask", mask.shape)
        seen.add(image.tobytes())
        moved += not np.array_equal(its_mask, mask)
        kept.append(its_mask.sum() / mask.sum())
        fits.append(_agreement(image, its_mask))
    require(
        len(seen) > 1, f"the same photo comes out {CALLS} times: augmentation is left to chance."
    )
    low = min(kept)
    require(low > 0.5, f"once only {low:.0%} of the car was left in the picture: move it less.")
    apart = sum(fit < 0.6 for fit in fits)
    why = "what moves the photo must move the mask, in one call"
    require(
        apart <= CALLS // 6, f"in {apart} of {CALLS} pictures the mask lies beside the car: {why}."
    )
    require(moved > CALLS // 12, f"in {moved} of {CALLS} pictures the car has moved: more often.")
    return f"{len(seen)} different pictures in {CALLS} calls, and the mask follows the car."


def _agreement(image: np.ndarray, mask: np.ndarray) -> float:
    """How well a mask marks what is of another brightness: 1 entirely, 0 not at all."""
    grey = image.mean(axis=2)
    if grey.std() == 0 or mask.std() == 0:
        return 0.0
    return abs(float(np.corrcoef(grey.ravel(), mask.ravel())[0, 1]))
