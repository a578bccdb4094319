"""How well an outline is met, in pixels: what Dice hardly sees on a large photo.

The outline of a mask are its car pixels that touch background above, below, left or right. The
frame of the picture is no outline: a car that is cut off there has no edge of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from unet_helpers.environment import CourseError

__all__ = ["BoundaryScores", "boundary", "boundary_scores"]

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class BoundaryScores(NamedTuple):
    """f1: 0 (no pixel of one outline lies near the other) to 1; distance: in pixels, 0 is best."""

    f1: float
    distance: float


def boundary(mask: np.ndarray) -> np.ndarray:
    """The outline of a mask (H, W), bool (H, W): car with background on one of its four sides.

    mask: whole numbers or bool; what is above 0 is car. CourseError for another shape, a mask
    without pixels, and fractions: a probability needs its threshold first.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "bui":
        raise CourseError(
            "the mask",
            expected="pixels (H, W), whole numbers or True and False",
            found=f"{mask.dtype} {mask.shape}",
            mend="a probability becomes a mask by probability > 0.5",
        )
    mask = (mask > 0).astype(np.uint8)
    return (mask > 0) & (cv2.erode(mask, CROSS) == 0)  # erode takes the frame's outside for car


def boundary_scores(
    predicted: np.ndarray, mask: np.ndarray, tolerance: float = 2.0
) -> BoundaryScores:
    """Boundary F1 and mean surface distance of a predicted mask, both masks (H, W).

    Boundary F1: precision is the share of the predicted outline that has a pixel of the true one
    within `tolerance` pixels, recall the other way round, F1 their harmonic mean (Csurka et al.,
    "What is a good evaluation measure for semantic segmentation?", 2013). Distance: the mean over
    all pixels of both outlines of the distance to the other outline (average symmetric surface
    distance; Heimann et al., "Comparison and evaluation of methods for liver segmentation", 2009).
    No outline in either is perfect: 1 and 0; in only one of them: 0 and infinity.
    CourseError for masks of two sizes, and for what is no mask (see `boundary`).
    """
    if np.ndim(predicted) != 2 or np.shape(predicted) != np.shape(mask):
        raise CourseError(
            "boundary_scores(predicted, mask)",
            expected="two masks (H, W) of one size",
            found=f"{np.shape(predicted)} and {np.shape(mask)}",
            mend="bring the prediction to the size of the mask first: that is what is scored",
        )
    if not tolerance >= 0:
        mend = "give the number of pixels that an outline may be off, such as 2"
        raise CourseError("tolerance", expected="0 or more", found=tolerance, mend=mend)
    found, true = boundary(predicted), boundary(mask)
    if not found.any() or not true.any():
        both = not found.any() and not true.any()
        return BoundaryScores(1.0, 0.0) if both else BoundaryScores(0.0, float("inf"))
    box = _box(found | true)  # both outlines lie in it, so no distance changes
    found, true = found[box], true[box]
    from_found, from_true = _distance_to(true)[found], _distance_to(found)[true]
    precision, recall = (from_found <= tolerance).mean(), (from_true <= tolerance).mean()
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    distance = np.concatenate([from_found, from_true]).mean(dtype=np.float64)
    return BoundaryScores(float(f1), float(distance))


def _box(outlines: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns from the first to the last True of a bool (H, W)."""
    some = (np.flatnonzero(outlines.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(places[0], places[-1] + 1) for places in some)
    return rows, columns


def _distance_to(outline: np.ndarray) -> np.ndarray:
    """The distance of every pixel to the nearest one of the outline, float64 (H, W)."""
    # OpenCV's is faster, but its last digits depend on where in memory the array lies
    # (opencv/opencv issue 24082), and whether a pixel at just `tolerance` counts must not.
    return ndimage.distance_transform_edt(~outline)
