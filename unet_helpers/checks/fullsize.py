"""Checks for notebook 10: the cost of windows, run-length text, the worst part of an outline."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_helpers.checks.answers import (
    array,
    binary_mask,
    call,
    near,
    number,
    require,
    sequence,
    shown,
    whole,
)
from unet_helpers.checks.register import exercise


@exercise(
    "10.1",
    "Along one side: the first window starts at 0, the last one ends at the end. In between they "
    "start every `stride` pixels.",
    "window_starts(length, window, stride) lists the starts of one side; count those of both.",
    "count = len(rows) * len(columns); the pixels that go through the network are count * h * w.",
)
def cost_of_windows(cost_of_windows: Any) -> None:
    """cost_of_windows(size, window, stride): how many, and times the photo's pixels."""

    def found(size: tuple, window: tuple, stride: tuple) -> tuple[int, float]:
        answer = sequence(call(cost_of_windows, size, window, stride), "the answer", 2)
        return whole(answer[0], "the number of windows"), number(answer[1], "the factor")

    count, times = found((1280, 1920), (512, 768), (384, 576))
    require(count != 4, "4 windows do not reach the last rows and columns: one more at each end.")
    require(count != 6, "6 is the sum of rows and columns; windows lie in rows of columns: 3 · 3.")
    require(count == 9, f"512×768 every 384×576 pixels in 1280×1920 are 9 windows, not {count}.")
    why = "the windows' pixels belong above the line and the photo's below it"
    require(not near(times, 1 / 1.44, 1e-3), f"the factor is upside down: {why}.")
    require(not near(times, 9), "9 is the number of windows again; each has 0.16 of the pixels.")
    right = f"9 windows of 512·768 pixels are 1.44 times 1280·1920, and you give {times:g}."
    require(near(times, 1.44, 1e-3), right)
    count, times = found((256, 384), (256, 384), (192, 288))
    require(count == 1, f"a window as large as the photo is 1 window, not {count}.")
    count, times = found((64, 96), (32, 32), (32, 32))
    why = "where the stride fits exactly, no window is added at the end"
    require(count == 6, f"32×32 side by side in 64×96 are 6 windows, not {count}: {why}.")
    count, times = found((70, 100), (32, 64), (16, 64))
    require(count == 8, f"32×64 every 16×64 pixels in 70×100 are 4 · 2 windows, not {count}.")
    require(near(times, 8 * 32 * 64 / 7000, 1e-3), f"the factor there is 2.341, not {times:g}.")


@exercise(
    "10.2",
    "A run of two numbers: pixels start to start + length - 1, counted from 1.",
    "numbers = [int(word) for word in rle.split()]; numbers[::2] are the starts.",
    "In a flat array: flat[start - 1 : start - 1 + length] = 1. At the end reshape(shape).",
)
def decode(decode: Any) -> None:
    """decode(rle, shape): the mask uint8 (H, W) that run-length text describes."""

    def found(rle: str, shape: tuple[int, int]) -> np.ndarray:
        return array(call(decode, rle, shape), "the mask", shape)

    mask = found("3 2 10 1", (3, 4))
    wanted = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], np.uint8)
    require(mask.any(), "the mask is empty: nothing is set to 1.")
    later, down = np.roll(wanted.ravel(), 1).reshape(3, 4), np.zeros(12, np.uint8)
    down[[2, 3, 9]] = 1
    one_off = np.array_equal(mask > 0, later)
    require(not one_off, "every run starts one pixel too late: pixel 1 has the index 0.")
    across = np.array_equal(mask > 0, down.reshape(4, 3).T)
    require(not across, "you number from top to bottom first; it is left to right, row by row.")
    few = int((mask > 0).sum())
    require(few == 3, f'"3 2 10 1" are 2 + 1 car pixels, and your mask has {few}: start, length.')
    require(np.array_equal(mask > 0, wanted), "three pixels are set, but not 3, 4 and 10.")
    require(not found("", (2, 3)).any(), "empty text is an empty mask.")
    full = found("1 6", (2, 3))
    require((full > 0).all(), '"1 6" fills a mask of 2×3 to its last pixel.')
    binary_mask(full, "the mask", (2, 3))
    over = found("4 3 12 1", (3, 4))
    why = 'a run goes on in the next row: "4 3" are pixels 4, 5 and 6.'
    require(over[0, 3] and over[1, :2].all() and over.sum() == 4 and over[2, 3], why)


@exercise(
    "10.3",
    "distances(predicted, mask) gives the distances of both outlines; you need them in one array.",
    "np.percentile(values, 95) is the value below which 95 % of them lie.",
    "np.percentile(np.concatenate(distances(predicted, mask)), 95)",
)
def worst_distance(worst_distance: Any, distances: Any) -> str:
    """worst_distance(predicted, mask): below it lie 95 % of both outlines' distances, in pixels.

    distances: what the notebook has defined.
    """
    true, ours = np.zeros((2, 60, 80), np.uint8)
    true[20:40, 20:50] = 1
    ours[21:42, 20:53] = 1
    ours[28:32, 53:70] = 1  # a thin thing that sticks out: few pixels, far away
    both = sequence(call(distances, ours, true), "what distances returns", 2)
    parts = [array(part, "a part of distances") for part in both]
    together = np.concatenate(parts)
    found = number(call(worst_distance, ours.copy(), true.copy()), "the distance")
    wanted = float(np.percentile(together, 95))
    guesses = {
        float(together.mean()): "that is the mean over both outlines; the 95th percentile is asked",
        float(together.max()): "that is the largest distance of all; 95 % lie below what is asked",
        float(np.median(together)): "that is the median: half lie below it, not 95 %",
        float(np.percentile(parts[0], 95)): "only the predicted outline counts in yours; take both",
        float(np.percentile(parts[1], 95)): "only the true outline counts in yours; take both",
        float(np.percentile(together, 0.95)): "np.percentile counts in per cent: 95, not 0.95",
    }
    for value, why in guesses.items():
        require(near(found, wanted, 1e-3) or not near(found, value, 1e-3), f"{why}.")
    require(near(found, wanted, 1e-3), f"{wanted:.2f} pixels are right here, not {shown(found)}.")
    again = number(call(worst_distance, true.copy(), true.copy()), "the distance")
    require(again == 0, f"a mask against itself has the distance 0, not {again:g}.")
    mean = float(together.mean())
    return f"In the check's example 95 % lie below {wanted:.1f} pixels, and the mean is {mean:.1f}."
