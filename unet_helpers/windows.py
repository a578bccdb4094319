"""A photo of any size through the network window by window, built in notebook 10.

Windows overlap, and where they do, their answers are averaged with weights that fall towards a
window's rim, where the network sees least. What is needed in memory beyond the photo and the
answer is one batch of windows in the network, and a few strips as high as a window and as wide as
the photo (about 20 bytes a pixel of such a strip). The height of the photo plays no part.

Windows start at multiples of 16, as the overlap-tile strategy of the U-Net paper does (Ronneberger
et al. 2015, section 2): a network that halves four times gives the same answers for a photo
shifted by 16 pixels, and for no shorter shift.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from unet_helpers.augment import NormalizeToTensor
from unet_helpers.cutout import check_photo
from unet_helpers.environment import CourseError

__all__ = [
    "MULTIPLE",
    "WEIGHTS",
    "fitting_window",
    "mask_by_windows",
    "pad_to_multiple",
    "probability_by_windows",
    "probability_strips",
    "window_starts",
    "window_stride",
    "window_weight",
]

MULTIPLE = 16  # four levels, each halves
NORMALISE = NormalizeToTensor()
WEIGHTS = ("cosine", "gaussian", "flat")


def pad_to_multiple(
    photo: np.ndarray, multiple: int = MULTIPLE
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The photo, mirrored outwards until both sides are multiples, and where it lies in that.

    photo: (H, W) or (H, W, 3). Returns padded and inside; padded[inside] is the photo again. What
    is added is shared between the two sides: 1918 columns become 1920, one more at each side.
    CourseError for a multiple below 1.
    """
    _check_count("multiple", multiple, such_as=MULTIPLE)
    (rows, up), (columns, along) = (_mirrored(side, multiple) for side in photo.shape[:2])
    return photo[np.ix_(rows, columns)], (up, along)


def _mirrored(length: int, multiple: int) -> tuple[np.ndarray, slice]:
    """For each pixel of a padded side the pixel of the photo it repeats, and where that lies."""
    gap = -length % multiple
    places = np.pad(np.arange(length), (gap // 2, gap - gap // 2), mode="symmetric")
    return places, slice(gap // 2, gap // 2 + length)


def fitting_window(window: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """`window` itself if a photo of `size` can be seen through it, else the nearest one that fits.

    Both (height, width). A window fits if its sides are multiples of 16 and no longer than those of
    the photo padded to such multiples. CourseError for what is not two whole numbers.
    """
    try:
        height, width = map(operator.index, window)
    except (TypeError, ValueError) as error:
        raise CourseError(
            "window",
            expected="height and width, two whole numbers",
            found=repr(window),
            mend="use for example window=(256, 384)",
        ) from error
    return _fitting(height, size[0]), _fitting(width, size[1])


def _fitting(length: int, side: int) -> int:
    return min(max(MULTIPLE, round(length / MULTIPLE) * MULTIPLE), side + -side % MULTIPLE)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where the windows along one side start: every `stride` pixels, the last one at the end.

    All are multiples of 16 if length, window and stride are. CourseError for a window longer than
    the side, or a stride that would leave gaps.
    """
    if not 0 < stride <= window <= length:
        raise CourseError(
            f"windows of {window} pixels, {stride} apart",
            expected=f"0 < stride ≤ window ≤ {length}, the side that they have to cover",
            found=f"stride {stride}, window {window}",
            mend="choose a smaller window, or a smaller stride",
        )
    return [*range(0, length - window, stride), length - window]


def window_stride(window: int, overlap: float) -> int:
    """How far apart windows start that share `overlap` (0 to below 1) of their side, in pixels.

    A multiple of 16, 16 at least; the overlap grows a little to get there. CourseError for an
    overlap outside its range.
    """
    if not 0 <= overlap < 1:
        mend = "give the share of its side that a window has in common with the next, such as 0.25"
        raise CourseError("overlap", expected="0 up to, not including, 1", found=overlap, mend=mend)
    return max(MULTIPLE, int(window * (1 - overlap)) // MULTIPLE * MULTIPLE)


def window_weight(length: int, kind: str = "cosine") -> np.ndarray:
    """How much a window's answer counts along one side, float32 (length,), above 0, at most 1.

    "cosine": a raised cosine. "gaussian": a bell of standard deviation length / 8, as nnU-Net has
    it (Isensee et al. 2021). "flat": 1 everywhere. In two dimensions the weight is the product of
    that of the row and that of the column. CourseError for any other kind.
    """
    place = (np.arange(length) + 0.5) / length  # 0 to 1, at the middle of each pixel
    kinds = {
        "cosine": np.sin(np.pi * place) ** 2,
        "gaussian": np.exp(-0.5 * ((place - 0.5) * 8) ** 2),
        "flat": np.ones(length),
    }
    if kind not in kinds:
        mend = "choose one of them"
        raise CourseError("weight", expected=", ".join(WEIGHTS), found=repr(kind), mend=mend)
    return kinds[kind].astype(np.float32)


def probability_strips(
    model: nn.Module,
    photo: np.ndarray,
    window: tuple[int, int] = (256, 384),
    device: torch.device | str | None = None,
    *,
    overlap: float = 0.25,
    weight: str = "cosine",
    batch_size: int = 2,
    flips: bool = False,
) -> Iterator[np.ndarray]:
    """The probability of car from top to bottom, in strips float32 (some rows, W) in 0..1.

    photo: RGB uint8 (H, W, 3). window: (height, width), multiples of 16, no larger than the photo
    padded to such multiples. device: where to compute (None: where the model is). overlap: of
    neighbouring windows, as a share of their side, at least. weight: see `window_weight`.
    batch_size: windows in the network at a time. flips: ask about every window's mirror image as
    well and take the mean, in twice the time. The model is in eval mode while the strips come.
    CourseError for what is no photo, a window that does not fit, a batch_size below 1, or a model
    with many channels.
    """
    check_photo(photo)
    _check_window(window, photo.shape[:2])
    _check_count("batch_size", batch_size, such_as=2)
    # The photo is never padded as a whole, only the belt of it that the next windows see.
    (rows, inside), (columns, along) = (_mirrored(side, MULTIPLE) for side in photo.shape[:2])
    height, width = len(rows), len(columns)
    tops, lefts = (
        window_starts(side, length, window_stride(length, overlap))
        for side, length in zip((height, width), window, strict=True)
    )
    weights = [window_weight(length, weight) for length in window]
    # The grid is regular, so the sum of all weights at a pixel is a product as well.
    across = _summed(weights[1], lefts, width)  # (W,)
    down = _summed(weights[0], tops, height)  # (H,)
    both = np.outer(*weights)  # (h, w)
    strip = np.zeros((window[0], width), np.float32)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    was_training = model.training
    model.to(device).eval()
    try:
        for top, after in zip(tops, [*tops[1:], height], strict=True):
            belt = photo[np.ix_(rows[top : top + window[0]], columns)]  # (h, W, 3)
            for left, answer in _answers(model, belt, lefts, window, device, batch_size, flips):
                strip[:, left : left + window[1]] += both * answer
            done = after - top  # no later window reaches these rows
            first, last = max(inside.start - top, 0), min(inside.stop - top, done)
            if first < last:
                finished = strip[first:last] / down[top + first : top + last, None] / across
                yield np.clip(finished[:, along], 0.0, 1.0)
            strip[: window[0] - done] = strip[done:]
            strip[window[0] - done :] = 0
    finally:
        model.train(was_training)


def probability_by_windows(
    model: nn.Module, photo: np.ndarray, window: tuple[int, int] = (256, 384), device=None, **how
) -> np.ndarray:
    """The whole probability, float32 (H, W); arguments and errors as in `probability_strips`."""
    return np.concatenate(list(probability_strips(model, photo, window, device, **how)))


def mask_by_windows(
    model: nn.Module, photo: np.ndarray, window: tuple[int, int] = (256, 384), device=None, *,
    threshold: float = 0.5, **how,
) -> np.ndarray:  # fmt: skip
    """The mask uint8 (H, W) of 0 and 1, one byte a pixel; the probability is never held whole.

    threshold: a pixel is car above it. Other arguments and errors as in `probability_strips`.
    """
    strips = probability_strips(model, photo, window, device, **how)
    return np.concatenate([(strip > threshold).astype(np.uint8) for strip in strips])


def _check_window(window: tuple[int, int], size: tuple[int, int]) -> None:
    fits = fitting_window(window, size)
    if tuple(window) != fits:
        raise CourseError(
            f"window={tuple(window)}",
            expected=f"sides that are multiples of {MULTIPLE}, and no larger than the photo of "
            f"{size[0]}×{size[1]} (height × width)",
            found=f"{window[0]}×{window[1]}",
            mend=f"use window={fits}, or inference.predict_probability, which takes the photo "
            "as a whole",
        )


def _check_count(name: str, count: int, such_as: int) -> None:
    if not isinstance(count, numbers.Integral) or count < 1:
        mend = f"pass for example {name}={such_as}"
        raise CourseError(name, expected="a whole number of 1 or more", found=count, mend=mend)


def _summed(weight: np.ndarray, starts: list[int], length: int) -> np.ndarray:
    """The sum of the weights of all windows at each pixel of a side, float32 (length,)."""
    total = np.zeros(length, np.float32)
    for start in starts:
        total[start : start + len(weight)] += weight
    return total


def _answers(
    model: nn.Module,
    belt: np.ndarray,
    lefts: list[int],
    window: tuple[int, int],
    device: torch.device,
    batch_size: int,
    flips: bool,
) -> Iterator[tuple[int, np.ndarray]]:
    """Where each window of one row starts, and its probability, float32 (h, w)."""
    for first in range(0, len(lefts), batch_size):
        some = lefts[first : first + batch_size]
        crops = [NORMALISE.apply(belt[:, left : left + window[1]]) for left in some]
        batch = torch.stack(crops).to(device)  # (B, 3, h, w)
        if flips:
            batch = torch.cat([batch, batch.flip(-1)])  # (2B, 3, h, w): as they are, and mirrored
        # Convolutions on a CPU, and in half precision on a GPU, are faster with channels last.
        with torch.inference_mode():
            logits = model(batch.contiguous(memory_format=torch.channels_last))
        if logits.shape[1] != 1:
            raise CourseError(
                "the model",
                expected="one output channel: car or not",
                found=f"{logits.shape[1]}",
                mend="take the class of the largest logit with metrics.predict_classes",
            )
        answers = torch.sigmoid(logits[:, 0].float())  # (B, h, w), or (2B, h, w)
        if flips:
            answers = (answers[: len(some)] + answers[len(some) :].flip(-1)) / 2  # (B, h, w)
        yield from zip(some, answers.cpu().numpy(), strict=True)
