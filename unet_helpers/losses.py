"""What training makes smaller, built in notebook 05: BCE, soft Dice, their sum, and many classes.

Every loss takes logits (B, C, H, W) of any float type and a mask (B, H, W) of class indices, and
returns one float32 number: the sums run over many thousand pixels, more than bfloat16 (8 bits of
precision) can add up, so the logits become float32 first, under autocast too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from unet_helpers.environment import CourseError

NO_INDEX = -100  # PyTorch's own default for ignore_index: a value that no mask holds

__all__ = [
    "balanced_weights",
    "bce_dice_loss",
    "bce_loss",
    "check_classes",
    "check_pair",
    "cross_entropy_dice_loss",
    "cross_entropy_loss",
    "dice_loss",
    "finite_number",
    "make_loss",
    "per_class_dice_loss",
    "pixel_weight",
    "soft_dice",
]


def bce_loss(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, mean over all pixels, in nats: 0 at best, log 2 for a coin toss.

    Logits (B, 1, H, W), mask (B, H, W) of 0 and 1; CourseError for anything else (see check_pair).
    """
    check_pair(logits, mask, binary=True)
    target = mask.unsqueeze(1).float()  # (B, 1, H, W)
    return F.binary_cross_entropy_with_logits(logits.float(), target)


def soft_dice(probability: torch.Tensor, target: torch.Tensor, smooth: float = 1.0) -> torch.Tensor:
    """Dice of probabilities against 0-or-1 targets, both (B, C, H, W), as (B, C) in 0 to 1.

    `smooth` counts as that many pixels of agreement, so that an empty mask met by an empty
    prediction scores 1 and not 0/0. After Milletari et al., "V-Net" (2016), section 3, with plain
    sums in the denominator in place of squares.
    """
    overlap = (probability * target).sum(dim=(2, 3))  # (B, C)
    total = (probability + target).sum(dim=(2, 3))  # (B, C)
    return (2 * overlap + smooth) / (total + smooth)


def dice_loss(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice, taken per image and then averaged, so a small car weighs as much as a big one.

    Logits (B, 1, H, W), mask (B, H, W) of 0 and 1, result in 0 to 1; CourseError as in bce_loss.
    """
    check_pair(logits, mask, binary=True)
    probability = torch.sigmoid(logits.float())  # (B, 1, H, W)
    target = mask.unsqueeze(1).float()  # (B, 1, H, W)
    return 1 - soft_dice(probability, target).mean()


def bce_dice_loss(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """BCE + Dice loss: BCE steers every pixel from the first step on, Dice counts what we score.

    Shapes and errors as in bce_loss.
    """
    return bce_loss(logits, mask) + dice_loss(logits, mask)


def cross_entropy_loss(
    logits: torch.Tensor,
    mask: torch.Tensor,
    class_weights: Sequence[float] | None = None,
    ignore_index: int | None = None,
    divisor: float | None = None,
) -> torch.Tensor:
    """Cross-entropy: the surprise -log p of the true class, mean over pixels, in nats.

    Logits (B, C, H, W) with C of 2 or more, mask (B, H, W) of class indices 0 … C-1; CourseError
    for anything else. class_weights: C numbers above 0, one a class; the mean is then a weighted
    one, Σ w·surprise / Σ w over the pixels, so multiplying all of them by one number changes
    nothing. Pixels whose mask is `ignore_index` do not count; a batch of only such pixels costs 0.
    divisor: what to divide by in place of Σ w, for a part of a batch (see speed.train_in_parts).
    """
    check_pair(logits, mask, binary=False, ignore_index=ignore_index)
    weights = _weights(class_weights, logits)  # (C,), or None
    ignored = NO_INDEX if ignore_index is None else ignore_index
    total = F.cross_entropy(
        logits.float(), mask.long(), weights, ignore_index=ignored, reduction="sum"
    )
    if divisor is not None:
        return total / divisor
    least = 1 if weights is None else weights.min()
    return total / pixel_weight(mask, weights, ignore_index).clamp(min=least)


def pixel_weight(
    mask: torch.Tensor,
    class_weights: Sequence[float] | torch.Tensor | None = None,
    ignore_index: int | None = None,
) -> torch.Tensor:
    """Σ w over the pixels of a mask (B, H, W), by which cross_entropy_loss divides: one number."""
    target = mask.long()
    valid = target != (NO_INDEX if ignore_index is None else ignore_index)  # (B, H, W)
    if class_weights is None:
        return valid.sum()
    weights = torch.as_tensor(class_weights, dtype=torch.float32, device=mask.device)
    if mask.device.type == "cpu":
        check_classes(mask, len(weights), ignore_index)
    return (weights[torch.where(valid, target, 0)] * valid).sum()


def per_class_dice_loss(
    logits: torch.Tensor, mask: torch.Tensor, ignore_index: int | None = None
) -> torch.Tensor:
    """1 - soft Dice, taken per image and class (the background is one of them), then averaged.

    Logits, mask, ignore_index and errors as in cross_entropy_loss; result in 0 to 1. Classes are
    never pooled: pooled Dice is pixel accuracy by another name.
    """
    check_pair(logits, mask, binary=False, ignore_index=ignore_index)
    target = mask.long().unsqueeze(1)  # (B, 1, H, W)
    valid = target != (NO_INDEX if ignore_index is None else ignore_index)  # (B, 1, H, W)
    classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
    one_hot = ((target == classes) & valid).float()  # (B, C, H, W)
    probability = logits.float().softmax(dim=1) * valid  # (B, C, H, W)
    return 1 - soft_dice(probability, one_hot).mean()


def cross_entropy_dice_loss(
    logits: torch.Tensor,
    mask: torch.Tensor,
    ignore_index: int | None = None,
    class_weights: Sequence[float] | None = None,
    divisor: float | None = None,
) -> torch.Tensor:
    """Cross-entropy + Dice loss for many classes: what bce_dice_loss is for two.

    Everything as in cross_entropy_loss and per_class_dice_loss. The weights go into the
    cross-entropy only: in the Dice part each class has the same say already.
    """
    cross_entropy = cross_entropy_loss(logits, mask, class_weights, ignore_index, divisor)
    return cross_entropy + per_class_dice_loss(logits, mask, ignore_index)


def _weights(values: Sequence[float] | None, logits: torch.Tensor) -> torch.Tensor | None:
    if values is None:
        return None
    given = () if isinstance(values, str) else values
    weights = torch.as_tensor(given, dtype=torch.float32)
    if weights.shape != logits.shape[1:2] or not (weights > 0).all() or weights.isinf().any():
        raise CourseError(
            "class_weights",
            expected=f"{logits.shape[1]} numbers above 0, one a class",
            found=repr(values) if isinstance(values, str) else str(weights.tolist()),
            mend="give one a class, or None; a class that shall not count is an ignore_index",
        )
    return weights.to(logits.device, non_blocking=True)


def balanced_weights(frequencies: Sequence[float], power: float = 0.5) -> tuple[float, ...]:
    """Class weights from the share of the pixels that each class has: rare classes weigh more.

    Each weight is 1 / share ** power, and all are scaled to a mean of 1. power: 1 gives every class
    the same total say, 0 every pixel; 0.5 lies between. Raises CourseError for a share of 0: what
    does not occur cannot be weighed up.
    """
    shares = torch.as_tensor(frequencies, dtype=torch.float64)
    if shares.ndim != 1 or not (shares > 0).all() or shares.isinf().any():
        raise CourseError(
            "the frequencies of the classes",
            expected="one share above 0 for each class",
            found=str(shares.tolist()),
            mend="count over more photos, or leave out a class that never occurs",
        )
    weights = shares**-power
    return tuple((weights / weights.mean()).tolist())


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "bce_dice": bce_dice_loss,
    "bce": bce_loss,
    "dice": dice_loss,
    "ce_dice": cross_entropy_dice_loss,
    "ce": cross_entropy_loss,
}


def make_loss(
    name: str,
    class_weights: Sequence[float] | None = None,
    ignore_index: int | None = None,
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Look up a loss, called as loss(logits, mask), by its name in a config.

    Names: "bce_dice", "bce", "dice" (one output channel), "ce_dice", "ce" (many classes, with
    class_weights and ignore_index where given); CourseError for any other.
    """
    if name not in LOSSES:
        expected = ", ".join(LOSSES)
        raise CourseError("loss", expected=expected, found=repr(name), mend="choose one of these")
    if class_weights is None and ignore_index is None:
        return LOSSES[name]
    if name not in ("ce_dice", "ce"):
        raise CourseError(
            "class_weights and ignore_index",
            expected="the loss ce_dice or ce",
            found=repr(name),
            mend="leave both out, or give the model one output channel per class",
        )
    return partial(LOSSES[name], ignore_index=ignore_index, class_weights=class_weights)


def check_pair(
    logits: torch.Tensor, mask: torch.Tensor, *, binary: bool, ignore_index: int | None = None
) -> None:
    """Raise CourseError unless logits and mask fit each other in shape, type and class indices.

    Class indices are read only where the mask lies on the CPU: reading a value back from a GPU
    would make the CPU wait for the whole forward pass in every step. `fit`, `evaluate` and
    `check_accuracy` read them before they send a batch there (evaluation.check_masks). `train_fn`
    alone does not: with a GPU and a loader of your own, call check_classes on the masks first.
    """
    channels = logits.shape[1] if logits.ndim == 4 else 0
    if logits.ndim != 4 or (channels != 1 if binary else channels < 2):
        raise CourseError(
            "logits",
            expected="(B, 1, H, W)" if binary else "(B, C, H, W) with C of 2 or more",
            found=str(tuple(logits.shape)),
            mend="for one channel use bce, dice or bce_dice, for many classes ce_dice",
        )
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(mask.shape) != expected:
        raise CourseError(
            "mask",
            expected=f"(B, H, W) = {expected}, to match logits {tuple(logits.shape)}",
            found=str(tuple(mask.shape)),
            mend="drop the mask's channel axis, and resize photo and mask to one size",
        )
    if mask.device.type == "cpu":
        check_classes(mask, max(2, channels), ignore_index)


def check_classes(
    mask: torch.Tensor, num_classes: int, ignore_index: int | None = None, what: str = "mask"
) -> None:
    """Raise CourseError unless every pixel of the mask is a class index 0 … num_classes - 1.

    Pixels equal to `ignore_index` pass. what: how the error calls the mask. Takes about 0.1 ms for
    a uint8 mask batch on the CPU; on a GPU it waits for the work queued before it.
    """
    if mask.is_floating_point() or mask.is_complex():
        raise CourseError(
            what,
            expected="whole class indices, as uint8",
            found=str(mask.dtype),
            mend="read masks with read_mask, or convert them with mask.to(torch.uint8)",
        )
    inside = mask if ignore_index is None else mask[mask != ignore_index]
    if inside.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(inside))
    if low < 0 or high >= num_classes:
        wrong = inside[(inside < 0) | (inside >= num_classes)].unique().tolist()
        shown = ", ".join(map(str, wrong[:8])) + ", …" * (len(wrong) > 8)
        # With more classes than two this would throw the labels away.
        binarise = "binarise with mask > 0, " if num_classes == 2 else ""
        raise CourseError(
            what,
            expected=f"class indices 0 to {num_classes - 1}",
            found=f"the value{'s' * (len(wrong) > 1)} {shown}",
            mend=f"{binarise}give the model one output channel per class, or, for pixels that "
            "shall not count, name their ignore_index",
        )


def finite_number(loss: torch.Tensor, stems: Sequence[str]) -> float:
    """The loss of a batch as a Python number.

    Raises CourseError when it is infinite or not a number: with which photos, and what helps.
    """
    value = loss.item()
    if math.isfinite(value):
        return value
    raise CourseError(
        "the training loss",
        expected="a finite number",
        found=f"{value} on the batch of {', '.join(map(str, stems))}",
        mend="try a learning_rate ten times lower, clip_norm=1.0, or precision=fp32 in place of "
        "fp16; if it stops at the same photos again, look at them and their masks",
    )
