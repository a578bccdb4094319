"""Checks for notebook 05: Dice per image, a soft IoU loss, Dice at the edge, two judges."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from unet_helpers.checks.answers import (
    binary_mask,
    call,
    dice_of,
    given_mask,
    near,
    number,
    require,
    sequence,
    tensor,
)
from unet_helpers.checks.register import exercise

MASK = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).byte()
PREDICTED = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]).byte()


@exercise(
    "05.1",
    "count_pixels counts every image of the batch, and dice makes one number for each.",
    "The mean is taken of these numbers, at the end, and never of the pixels.",
    "dice(count_pixels(predicted, masks)) has the shape (B, 1): .mean().item() makes it a number.",
)
def batch_dice(batch_dice: Any) -> None:
    """batch_dice(predicted, masks), both uint8 (B, H, W): the mean of the Dice of each image."""

    def found(predicted: torch.Tensor, masks: torch.Tensor) -> float:
        value = call(batch_dice, predicted.clone(), masks.clone())
        if isinstance(value, torch.Tensor | np.ndarray) and len(predicted) > 1:
            several = np.size(value) > 1 if isinstance(value, np.ndarray) else value.numel() > 1
            require(not several, "one number for each image comes back; take their mean.")
        return number(value, "the result")

    value = found(PREDICTED[None], MASK[None])
    for other, why in (
        (13 / 16, "is the accuracy: Dice leaves the background that both agree on out."),
        (5 / 8, "is the IoU: Dice counts the shared pixels twice, above and below."),
        (5 / 13, "is half of it: the shared pixels count twice."),
        (5 / 7, "is the precision: divide by the car pixels of both together."),
        (5 / 6, "is the recall: divide by the car pixels of both together."),
    ):
        require(not near(value, other, 1e-4), f"for the masks of section 1, {value:.4f} {why}")
    right = f"for the masks of section 1 it is 10 / 13 = 0.7692, not {value:.4f}."
    require(near(value, 10 / 13, 1e-4), right)
    large, small = torch.zeros(2, 20, 20, dtype=torch.uint8)
    large[2:18, 2:18], small[9:11, 9:11] = 1, 1
    masks, said = torch.stack([large, small]), torch.stack([large, torch.zeros_like(small)])
    value = found(said, masks)
    pooled = f"one of two cars is missed altogether, and you say {value:.3f}"
    why = "all pixels of the batch are thrown together. Take Dice per image, then the mean"
    require(not near(value, 512 / 516, 1e-3), f"{pooled}: {why}.")
    require(near(value, 0.5, 1e-4), f"{pooled}; the mean of 1 and 0 is 0.5.")
    nothing = torch.zeros(1, 20, 20, dtype=torch.uint8)
    value = found(nothing, nothing)
    why = "a photo without a car in which none is found is 0/0, and it is perfect: it counts as 1"
    require(near(value, 1), f"{why}, not as {value:g}.")


def _soft_iou(score: torch.Tensor, target: torch.Tensor, dims: tuple[int, ...]) -> float:
    overlap = (score * target).sum(dims)
    return (1 - (overlap + 1) / ((score + target).sum(dims) - overlap + 1)).mean().item()


@exercise(
    "05.2",
    "It is dice_loss of section 5 with another fraction: overlap over union.",
    "Union: all that one has plus all that the other has, less the overlap, which is in both.",
    "Probabilities come from torch.sigmoid(logits); sum over dim=(2, 3), so that each image keeps "
    "a number of its own; 1 is added above and below; then 1 - the mean.",
)
def iou_loss(iou_loss: Any) -> None:
    """iou_loss(logits, mask): 1 - soft IoU, 1 added above and below, per image, then the mean."""
    generator = torch.Generator().manual_seed(5)
    mask = torch.zeros(2, 12, 16, dtype=torch.uint8)
    mask[0, 2:11, 2:14], mask[1, 5:7, 5:8] = 1, 1
    target = mask.unsqueeze(1).float()  # (2, 1, 12, 16)
    logits = torch.randn(2, 1, 12, 16, generator=generator) + 1.5 * (target - 0.5)
    given = logits.clone().requires_grad_()
    loss = tensor(call(iou_loss, given, mask.clone()), "the loss")
    require(
        loss.numel() == 1, f"the shape is {tuple(loss.shape)}: one number, the mean over images."
    )
    value, p = number(loss, "the loss"), torch.sigmoid(logits)
    each, right = (1, 2, 3), _soft_iou(p, target, (1, 2, 3))
    overlap = (p * target).sum(each)
    both = (p + target).sum(each)
    hard = (p > 0.5).float()
    for other, why in (
        (_soft_iou(logits, target, each), "the sigmoid is missing: logits are no probabilities."),
        (_soft_iou(p.sigmoid(), target, each), "sigmoid is taken twice."),
        (_soft_iou(p, target, (0, 1, 2, 3)), "all pixels of the batch are thrown together: sum "
         "over dim=(2, 3) only, so that each image counts by itself."),
        (1 - right, "that is the IoU itself, and training would make it smaller: 1 - IoU."),
        ((1 - (2 * overlap + 1) / (both + 1)).mean(), "that is Dice: no 2 above in IoU."),
        ((1 - (overlap + 1) / (both + 1)).mean(), "the overlap is in the union twice."),
        ((1 - overlap / (both - overlap)).mean(), "the 1 above and below is missing."),
        (_soft_iou(hard, target, each), "cut at 0.5, a probability has no slope: no > in a loss."),
    ):  # fmt: skip
        require(not near(value, float(other), 1e-4), f"{value:.4f}: {why}")
    beyond = "a share lies between 0 and 1. Logits do not: is the sigmoid missing?"
    require(0 <= value <= 1, f"{value:.4f}: {beyond}")
    require(near(value, right, 1e-4), f"{value:.4f}, where {right:.4f} is right.")
    why = "no gradient comes back from it: work with tensors all the way, no .item() and no > 0.5."
    require(loss.requires_grad, why)
    (slope,) = torch.autograd.grad(loss.sum(), given)
    require(slope.abs().sum() > 0, why)


@exercise(
    "05.3",
    "A pixel lies at the edge if it can reach car and background within `width` steps.",
    "F.max_pool2d(mask.float(), 2 * width + 1, stride=1, padding=width) spreads the car; "
    "the same with 1 - mask spreads the background. Where both are above 0, there is the edge.",
    "Then count as for Dice, but with & edge: tp, and the wrong pixels, each .sum(dim=(1, 2)).",
)
def edge_dice(edge_dice: Any) -> None:
    """edge_dice(predicted, mask, width), uint8 (B, H, W): Dice (B,) over the pixels at the edge."""
    whole = torch.zeros(2, 20, 20, dtype=torch.uint8)
    whole[:, 5:15, 5:15] = 1
    hollow, thin, fat = whole.clone(), whole.clone(), whole.clone()
    hollow[:, 8:12, 8:12] = 0  # wrong in the inside only
    thin[:, 5] = 0  # wrong at the edge: one row is missing
    fat[:, 4, 5:15] = 1  # wrong at the edge, outside: one row too many

    def found(predicted: torch.Tensor, width: int) -> float:
        values = tensor(call(edge_dice, predicted.clone(), whole.clone(), width), "the result")
        shape = tuple(values.shape)
        require(shape != (), "one number comes back for two images; one for each is wanted, (B,).")
        require(shape == (2,), f"one number for each image: the shape is {shape}, not (2,).")
        empty = "0 is divided by 0: neither mask nor prediction has a car pixel at your edge. An "
        empty += "edge has two sides, and empty against empty counts as 1."
        require(not values.float().isnan().any(), empty)
        return number(values[0], "the result")

    value = found(whole, 1)
    require(near(value, 1, 1e-5), f"a perfect mask scores 1, not {value:.3f}.")
    value = found(hollow, 1)
    all_pixels = near(value, 2 * 84 / 184, 1e-3)
    require(not all_pixels, f"{value:.3f} is Dice over all pixels: a hole inside must not count.")
    require(near(value, 1, 1e-5), f"a hole far from the edge must not count: 1, not {value:.3f}.")
    # Width 1: 36 car pixels at the edge, and 44 of the background.
    value, right = found(thin, 1), 2 * 26 / (2 * 26 + 10)
    why = "of the 36 car pixels at the edge 10 are missed"
    require(near(value, right, 1e-4), f"one row missing: {why}, {right:.4f}, not {value:.4f}.")
    value, right = found(fat, 1), 2 * 36 / (2 * 36 + 10)
    why = "the edge has two sides, and on the outer one 10 pixels too many are called car"
    require(near(value, right, 1e-4), f"{why}: {right:.4f}, not {value:.4f}.")
    # Width 2: 36 + 28 car pixels at the edge.
    value, right = found(thin, 2), 2 * 54 / (2 * 54 + 10)
    window = "the window is 2 · width + 1 wide"
    require(near(value, right, 1e-4), f"width 2: {right:.4f}, not {value:.4f}; {window}.")


@exercise(
    "05.4",
    "Section 3 has an answer with a high accuracy and a Dice of 0.",
    "For the other: find all of the car, and call a good deal of wall car as well.",
    "F.max_pool2d(truth[None].float(), 2 * k + 1, stride=1, padding=k)[0].byte() is the car, wider "
    "by k pixels. Choose k so that more wall is added than there is car.",
)
def two_judges(by_accuracy: Any, by_dice: Any, truth: Any) -> str:
    """Two masks, uint8 (H, W), that accuracy and Dice put into opposite orders; truth (H, W)."""
    answers = sequence([by_accuracy, by_dice], "the two masks")
    truth, scores = given_mask(truth), []
    for name, answer in zip(("by_accuracy", "by_dice"), answers, strict=True):
        mask = binary_mask(answer, name, truth.shape)
        scores.append(((mask == truth).mean(), dice_of(mask, truth)))
    (accuracy_1, dice_1), (accuracy_2, dice_2) = scores
    said = f"accuracy {accuracy_1:.3f} and {accuracy_2:.3f}, Dice {dice_1:.3f} and {dice_2:.3f}"
    same = np.array_equal(*(np.asarray(answer) for answer in answers))
    require(not same, f"the two masks are the same one: {said}.")
    swapped = accuracy_2 > accuracy_1 and dice_1 > dice_2
    require(not swapped, f"the two are swapped: {said}.")
    why = "accuracy should like the first one better, by 0.01 at least"
    require(accuracy_1 >= accuracy_2 + 0.01, f"{why}: {said}.")
    why = "Dice should like the second one better, by 0.3 at least"
    require(dice_2 >= dice_1 + 0.3, f"{why}: {said}.")
    return f"{said[0].upper()}{said[1:]}."
