"""Plausible wrong answers to the exercises of 10, and words that the message must hold.

WRONG: exercise -> list of (answer, pattern); several answers, or values, stand in a tuple.
GIVEN: what the check's cell passes on besides.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from unet_helpers.boundary import boundary
from unet_helpers.windows import window_starts


def distances(predicted, mask):
    """As the notebook defines it."""
    edges = [boundary(one) for one in (predicted, mask)]
    away = [ndimage.distance_transform_edt(~edge) for edge in edges]
    return away[1][edges[0]], away[0][edges[1]]


def costs(count, times=None):
    """An answer with its faults chosen: count and factor from starts per side."""

    def cost_of_windows(size, window, stride):
        sides = [len(window_starts(*side)) for side in zip(size, window, stride, strict=True)]
        number = count(*sides, size, window, stride)
        share = window[0] * window[1] / (size[0] * size[1])
        return number, (times or (lambda n, s: n * s))(number, share)

    return cost_of_windows


def right(rows, columns, *rest):
    return rows * columns


def without_the_last(rows, columns, size, window, stride):
    return int(np.prod([(s - w) // d for s, w, d in zip(size, window, stride, strict=True)]))


def always_one_more(rows, columns, size, window, stride):
    return int(np.prod([(s - w) // d + 2 for s, w, d in zip(size, window, stride, strict=True)]))


def rounded_down(rows, columns, size, window, stride):
    return int(np.prod([(s - w) // d + 1 for s, w, d in zip(size, window, stride, strict=True)]))


def decoded(first=1, order="C", end=False, kind=np.uint8, value=1):
    def decode(rle, shape):
        flat = np.zeros(shape[0] * shape[1], kind)
        words = [int(word) for word in rle.split()]
        for start, length in zip(words[::2], words[1::2], strict=True):
            flat[start - first : (length if end else start - first + length)] = value
        return flat.reshape(shape, order=order)

    return decode


def worst(take, part=slice(None)):
    return lambda predicted, mask: take(np.concatenate(distances(predicted, mask)[part]))


def swapped_only(predicted, mask):
    return np.percentile(distances(predicted, mask)[1], 95)


GIVEN = {"10.3": (distances,)}
WRONG = {
    "10.1": [
        (costs(without_the_last), "do not reach the last rows"),
        (costs(lambda rows, columns, *rest: rows + columns), "the sum of rows and columns"),
        (costs(always_one_more), "not 16"),
        (costs(rounded_down), "32×64 every 16×64.*4 · 2 windows, not 3"),
        (costs(right, lambda n, share: 1 / (n * share)), "upside down"),
        (costs(right, lambda n, share: n), "number of windows again"),
        (costs(right, lambda n, share: n * share * 100), "1.44 times 1280·1920, and you give 144"),
        (lambda size, window, stride: 9, "list or a tuple is wanted"),
    ],
    "10.2": [
        (decoded(first=0), "one pixel too late"),
        (decoded(order="F"), "row by row"),
        (decoded(end=True), "nothing is set"),
        (decoded(kind=bool), "type bool"),
        (decoded(value=255), "still holds 255"),
        (lambda rle, shape: np.zeros(shape, np.uint8), "empty: nothing is set"),
        (lambda rle, shape: decoded()(rle, (1, shape[0] * shape[1])), "the shape of the mask"),
        (lambda rle, shape: decoded()(rle or "1 1", shape), "empty text is an empty mask"),
    ],
    "10.3": [
        (worst(np.mean), "the mean over both"),
        (worst(np.max), "largest distance of all"),
        (worst(lambda values: np.percentile(values, 0.95)), "95, not 0.95"),
        (worst(np.median), "half lie below"),
        (worst(lambda v: np.percentile(v, 95), slice(1)), "only the predicted outline"),
        (swapped_only, "only the true outline"),
        (worst(lambda values: values), "one number is wanted"),
    ],
}
