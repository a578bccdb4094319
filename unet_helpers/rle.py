"""Masks as run-length text, the form in which Kaggle's Carvana competition takes them.

The pixels of a mask are numbered from 1, left to right, then top to bottom. "3 2 10 1" means: two
car pixels from number 3 on, and one at number 10. (Source: the competition's evaluation page.)
"""

from __future__ import annotations

import math
import operator
import re

import numpy as np

from unet_helpers.environment import CourseError

__all__ = ["check_shape", "read_runs", "rle_decode", "rle_encode"]

# Python's int() reads "1_0", "+3" and digits of other scripts as well; no other reader has to.
STRANGE = re.compile(r"[^0-9\s-]", re.ASCII)
NUMBERS = "whole numbers with spaces between them"


def rle_encode(mask: np.ndarray) -> str:
    """The runs of car pixels as "start length start length …", in ascending order.

    mask: whole numbers or bool (H, W); what is above 0 is car. A mask without car gives "".
    CourseError for another shape, and for fractions: a probability needs its threshold first.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise CourseError(
            "rle_encode(mask)",
            expected="a mask (H, W) of whole numbers or of True and False",
            found=f"{mask.dtype} {mask.shape}",
            mend="a probability becomes a mask by probability > 0.5",
        )
    framed = np.zeros(mask.size + 2, dtype=bool)  # background before the first pixel and behind all
    framed[1:-1] = mask.ravel() > 0
    edges = np.flatnonzero(framed[1:] != framed[:-1]) + 1  # starts and ends in turn, from 1
    edges[1::2] -= edges[::2]  # from where a run ends to how long it is
    return " ".join(map(str, edges.tolist()))


def rle_decode(rle: str, shape: tuple[int, int]) -> np.ndarray:
    """The mask uint8 (H, W) of 0 and 1 that `rle` describes; shape: (height, width).

    CourseError as in `read_runs` and `check_shape`.
    """
    height, width = check_shape(shape)
    starts, lengths = read_runs(rle, (height, width))
    steps = np.zeros(height * width + 1, dtype=np.int8)
    steps[starts - 1] += 1  # up where a run starts …
    steps[starts - 1 + lengths] -= 1  # … and down behind its end
    return np.cumsum(steps[:-1], dtype=np.int8).astype(np.uint8).reshape(height, width)


def check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width as two whole numbers of 1 or more; CourseError for anything else."""
    try:
        height, width = map(operator.index, shape)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        mend = "pass (height, width), such as photo.shape[:2]"
        raise CourseError("shape", expected="height and width", found=repr(shape), mend=mend)
    return height, width


def read_runs(
    rle: str, shape: tuple[int, int] | None = None, name: str = "the run-length text"
) -> tuple[np.ndarray, np.ndarray]:
    """Starts (from 1) and lengths of the runs, int64 (runs,) each.

    shape: (height, width) that the runs must lie in; None: any. name: what an error calls the text.
    CourseError for what is no text, no whole number, a number without its partner, a start or a
    length below 1, runs that descend or overlap, and a run beyond the last pixel. Runs may touch.
    Also for what is no shape (see `check_shape`).
    """
    pixels = math.prod(check_shape(shape)) if shape is not None else None
    numbers = _numbers(rle, name)
    starts, lengths = numbers[::2], numbers[1::2]
    ends = starts + lengths - 1  # the last pixel of each run
    least = np.minimum(starts, lengths)
    if (wrong := np.flatnonzero(least < 1)).size:
        raise _bad(name, "starts and lengths of 1 or more", _pair(numbers, wrong[0]))
    if (wrong := np.flatnonzero(np.diff(starts) <= 0)).size:
        found = f"{_pair(numbers, wrong[0] + 1)} behind {_pair(numbers, wrong[0])}"
        raise _bad(name, "runs in ascending order", found)
    if (wrong := np.flatnonzero(starts[1:] <= ends[:-1])).size:
        found = f"{_pair(numbers, wrong[0])} and {_pair(numbers, wrong[0] + 1)}"
        raise _bad(name, "runs that do not overlap", found)
    if pixels is not None and ends.size and ends[-1] > pixels:
        found = f"{_pair(numbers, len(starts) - 1)}, which ends at {ends[-1]:,}"
        what = f"runs within the {pixels:,} pixels of {shape[0]}×{shape[1]} (height × width)"
        raise _bad(name, what, found)
    return starts, lengths


def _numbers(rle: str, name: str) -> np.ndarray:
    """The numbers of the text, int64 (2 · runs,)."""
    if not isinstance(rle, str):
        found = f"{type(rle).__name__} {rle!r:.40}"
        mend = "pandas reads an empty field as nan: read_csv(…, keep_default_na=False) keeps it"
        raise CourseError(name, expected="text", found=found, mend=mend)
    if strange := STRANGE.search(rle):
        around = rle[max(0, strange.start() - 8) : strange.end() + 8]
        raise _bad(name, NUMBERS, f"{strange[0]!r} in {around!r}")
    try:
        numbers = np.array([int(word) for word in rle.split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise _bad(name, NUMBERS, str(error)) from error
    if len(numbers) % 2:
        raise _bad(name, "a length for every start", f"{len(numbers)} numbers")
    # Sums of two numbers must stay exact; no photo has more pixels than this.
    if numbers.size and numbers.max() > 2**60:
        raise _bad(name, "numbers of pixels", f"{numbers.max()}")
    return numbers


def _pair(numbers: np.ndarray, run: int) -> str:
    return f'"{numbers[2 * run]} {numbers[2 * run + 1]}"'


def _bad(name: str, expected: str, found: str) -> CourseError:
    mend = "write the runs with rle_encode(mask)"
    return CourseError(name, expected=expected, found=found, mend=mend)
