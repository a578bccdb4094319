"""Photos, masks and predictions as a learner hands them to a widget, checked one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from unet_helpers.cutout import check_photo
from unet_helpers.environment import CourseError

CAR = ("background", "car")


def several(values: Any, what: str, dimensions: int) -> list:
    """A list of arrays, from a list or from one array; an array of one dimension more is a stack.

    dimensions: of one item, 3 for photos and 2 for masks. Raises CourseError for no item at all,
    or for something that is no list.
    """
    found = getattr(values, "ndim", None)
    if found == dimensions:
        return [values]
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise CourseError(
            what,
            expected=f"a list of {what}",
            found=type(values).__name__,
            mend=f"pass [one] for one, or a list of all {what}",
        )
    items = list(values)
    if not items:
        raise CourseError(
            what,
            expected="at least one",
            found="an empty list",
            mend="look at what should have filled the list: a folder name, a split, a filter",
        )
    return items


def as_many(values: Any, photos: Sequence, what: str, dimensions: int = 2) -> list | None:
    """`several`, one for each photo; None stays None. Raises CourseError for another number."""
    if values is None:
        return None
    items = several(values, what, dimensions)
    if len(items) != len(photos):
        raise CourseError(
            what,
            expected=f"one for each of the {len(photos)} photos",
            found=str(len(items)),
            mend="build both lists from the same files, in the same order",
        )
    return items


def titles_for(titles: Sequence[str] | str | None, photos: Sequence) -> list[str]:
    """One title a photo: those given, or "photo 1", "photo 2", …"""
    if titles is None:
        return [f"photo {number}" for number in range(1, len(photos) + 1)]
    items = [titles] if isinstance(titles, str) else [str(title) for title in titles]
    return as_many(items, photos, "titles", 0) or []


def a_photo(photo: Any) -> np.ndarray:
    """The photo, RGB uint8 (H, W, 3); CourseError for anything else."""
    array = np.asarray(photo)
    check_photo(array)
    return array


def a_mask(
    mask: Any, photo: np.ndarray, names: Sequence[str] = CAR, what: str = "the mask"
) -> np.ndarray:
    """Class indices, uint8 (H, W), one for each pixel of the photo.

    mask: whole numbers from 0 to len(names) - 1, of any type. CourseError for another size than
    the photo's, and for values that are no class.
    """
    array = _sized(mask, photo, what)
    found = np.unique(array)
    if (found != np.floor(found)).any() or found[0] < 0 or found[-1] >= len(names):
        two = len(names) == 2
        raise CourseError(
            what,
            expected=f"class indices from 0 to {len(names) - 1} ({', '.join(names)})",
            found=_values(found),
            mend="compare with > 0 before you pass it, or name the classes: classes=[…]"
            if two
            else "give classes= one name for each class index, the background first",
        )
    return array.astype(np.uint8)


def a_probability(values: Any, photo: np.ndarray, what: str = "the prediction") -> np.ndarray:
    """Probabilities, float32 (H, W) in 0 to 1, one for each pixel of the photo.

    CourseError for another size than the photo's, for values outside 0 to 1, and for no numbers.
    """
    array = _sized(values, photo, what)
    if array.dtype == bool or np.issubdtype(array.dtype, np.integer):
        array = a_mask(array, photo, CAR, what)
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise CourseError(
            what,
            expected="probabilities from 0 to 1",
            found=_values(np.unique(array)),
            mend="if these are logits, take torch.sigmoid(logits) first",
        )
    return array.astype(np.float32)


def a_prediction(
    values: Any,
    photo: np.ndarray,
    names: Sequence[str] = CAR,
    threshold: float = 0.5,
) -> np.ndarray:
    """Class indices, uint8 (H, W), from class indices or, for two classes, from probabilities."""
    what = "the prediction"
    array = np.asarray(values)
    if array.dtype != bool and np.issubdtype(array.dtype, np.floating) and len(names) == 2:
        probability = a_probability(array, photo, what)
        return (probability > np.float32(threshold)).astype(np.uint8)
    return a_mask(array, photo, names, what)


def _sized(values: Any, photo: np.ndarray, what: str) -> np.ndarray:
    array = np.asarray(values)
    numbers = array.dtype == bool or np.issubdtype(array.dtype, np.number)
    if not numbers or array.shape != photo.shape[:2]:
        shape = "×".join(map(str, array.shape)) if numbers else type(values).__name__
        raise CourseError(
            what,
            expected=f"the photo's size, {photo.shape[0]}×{photo.shape[1]}",
            found=shape or "a single number",
            mend="read or predict both at the same size; a mask is enlarged with nearest neighbour",
        )
    return array


def _values(found: np.ndarray) -> str:
    """The values in a few words: all of them if they are few, else the lowest and the highest."""
    if not np.isfinite(found).all():
        return "values that are no number"
    if len(found) <= 4:
        return "the values " + ", ".join(f"{value:g}" for value in found)
    return f"values from {found[0]:g} to {found[-1]:g}"
