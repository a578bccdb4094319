"""Checks for notebook 09: trimaps, IoU from a confusion matrix, two channels, the car in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from unet_helpers.checks.answers import array, call, near, require, run, shown, tensor
from unet_helpers.checks.register import exercise

TRIMAP = np.array([[2, 2, 3, 3, 2], [2, 3, 1, 3, 2], [2, 3, 1, 1, 3]], np.uint8)
MATRIX = torch.tensor([[50, 4, 0, 0], [6, 20, 4, 0], [0, 2, 8, 0], [0, 0, 0, 0]])  # rows: true


@exercise(
    "09.1",
    "Make a new array, and fill it class by class: found[trimap == 1] = 1, and so on.",
    "A table does it in one step: what stands at place 1, 2 and 3 of it is the new value of 1, "
    "2 and 3.",
    "np.array([0, 1, 0, 2], np.uint8)[trimap]",
)
def pet_labels(labels_of: Any) -> None:
    """labels_of(trimap): uint8 (H, W), 1 pet, 2 background, 3 border to 1, 0, 2."""
    given = TRIMAP.copy()
    found = array(call(labels_of, given), "the result", TRIMAP.shape)
    why = "the trimap itself was changed: what reads it next finds other values. Fill a new array"
    require((given == TRIMAP).all(), f"{why}.")
    got = {int(v): np.unique(found[v == TRIMAP]).astype(float).tolist() for v in (1, 2, 3)}
    for what, stored in (("pet", 1), ("background", 2), ("border", 3)):
        mixed = f"the {what} has become several values, {got[stored]}: each is one class."
        require(len(got[stored]) == 1, mixed)
    pet, background, border = (got[value][0] for value in (1, 2, 3))
    said = f"pet, background and border have become {pet:g}, {background:g} and {border:g}"
    require(background != pet, f"{said}: pet and background are one class now.")
    require(
        border != background,
        f"{said}: the border has become background. If you replace one value after the other, mind "
        "the order: what has just become 2 must not be replaced again.",
    )
    require(border != pet, f"{said}: the border is a class of its own here.")
    require(background == 0, f"{said}: class index 0 is the background, everywhere in this course.")
    require((pet, border) == (1, 2), f"{said}, where 1, 0 and 2 are wanted.")
    kind = f"the type is {found.dtype}: class indices are uint8, so .astype(np.uint8)."
    require(found.dtype == np.uint8, kind)


@exercise(
    "09.2",
    "The diagonal is what was right, tp. A row holds all that a class is, a column all that was "
    "called so.",
    "The union is row + column - diagonal: what was right stands in both and counts once.",
    "tp = matrix.diagonal(); union = matrix.sum(1) + matrix.sum(0) - tp; then "
    "torch.where(union == 0, 1.0, tp / union.clamp(min=1)).",
)
def iou_of_classes(class_iou: Any) -> None:
    """class_iou(matrix): IoU (C,) of each class from a confusion matrix (C, C), rows true."""
    found = tensor(call(class_iou, MATRIX.clone()), "the result")
    one = "one number comes back; one a class is wanted, (C,). The mean can be taken afterwards."
    require(found.numel() != 1, one)
    shape = tuple(found.shape)
    require(shape == (4,), f"one number a class is wanted: the shape is {shape}, not (4,).")
    found = found.double()
    diagonal = MATRIX.diagonal().double()
    true, called = MATRIX.sum(dim=1).double(), MATRIX.sum(dim=0).double()
    for other, why in (
        (diagonal / true, "is the recall: what was wrongly called so is missing below"),
        (diagonal / called, "is the precision: what was missed is missing below"),
        (2 * diagonal / (true + called), "is Dice"),
        (diagonal / (true + called), "is too low: in row + column the diagonal stands twice"),
        (diagonal / MATRIX.sum(), "is a share of all pixels: divide by the union of the class"),
        (diagonal, "is the diagonal itself: divide by the union"),
    ):
        same = torch.allclose(found[:3], other[:3], atol=1e-4)
        require(not same, f"for class 1, {found[1]:.4f} {why}.")
    right = diagonal / (true + called - diagonal)
    wrong = f"for class 1 it is 20 / (30 + 26 - 20) = 0.5556, not {found[1]:.4f}."
    require(near(found[1].item(), right[1].item(), 1e-4), wrong)
    require(torch.allclose(found[:3], right[:3], atol=1e-4), "class 1 is right, another is not.")
    last = found[3].item()
    why = "class 3 is in no pixel and was called nowhere, 0/0. In this course that counts as 1"
    require(near(last, 1), f"{why}, not as {last:g}.")


@exercise(
    "09.3",
    "softmax looks at the difference of the two logits only. The one logit must be just that.",
    "The difference of two linear layers is a linear layer: weight[1] - weight[0], and the same "
    "with the bias.",
    "new = nn.Conv2d(conv.in_channels, 1, kernel_size=1); under torch.no_grad(): "
    "new.weight.copy_(conv.weight[1:] - conv.weight[:1]), and so with bias.",
)
def as_one_channel(one_channel: Any) -> None:
    """one_channel(conv): a 1×1 Conv2d with one channel, sigmoid of which is conv's softmax."""
    torch.manual_seed(9)
    conv, x = nn.Conv2d(6, 2, kernel_size=1), torch.randn(2, 6, 5, 7)
    before = {key: value.clone() for key, value in conv.state_dict().items()}
    new = call(one_channel, conv)
    require(isinstance(new, nn.Module), f"{shown(new)} comes back: a layer is wanted.")
    kept = all(torch.equal(value, before[key]) for key, value in conv.state_dict().items())
    require(kept, "the layer that was given has other weights now: make a new one.")
    with torch.no_grad():
        two, one = conv(x), tensor(run(new, x), "the output of your layer")  # (2, 1, 5, 7)
        shape = tuple(one.shape)
        require(shape == (2, 1, 5, 7), f"its output is {shape}; (2, 1, 5, 7) is wanted.")
        background, car = two[:, :1], two[:, 1:]
        bias = (conv.bias[1] - conv.bias[0]).item()
        for other, why in (
            (
                background - car,
                "the two are exchanged: class 1 is the car, so channel 1 - channel 0",
            ),
            (car, "that is channel 1 alone. What channel 0 says for the background counts as well"),
            (car + background, "a sum: what counts is the difference"),
            ((car - background) / 2, "half of the difference: the answer would be less sure"),
            (2 * (car - background), "twice the difference: the answer would be too sure"),
            (car - background - bias, "the bias is missing"),
            (car - background - bias + conv.bias[1], "the bias is that of channel 1 alone"),
        ):
            require(not torch.allclose(one, other, atol=1e-4), f"{why}.")
        apart = (torch.sigmoid(one) - two.softmax(dim=1)[:, 1:]).abs().max().item()
    said = f"the sigmoid and softmax(…)[:, 1] of before differ by up to {apart:.2f}"
    require(apart < 1e-4, f"{said}; weights that you do not set are random.")


@exercise(
    "09.4",
    "A car is body, window, wheel or light: everything but background.",
    "Probabilities come from softmax over the classes, dim=1. Of one pixel they add up to 1.",
    "1 - logits.softmax(dim=1)[:, 0]",
)
def car_of_parts(car_probability: Any) -> None:
    """car_probability(logits): (B, C, H, W) logits of parts, 0 background, to (B, H, W)."""
    generator = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(2, 5, 4, 6, generator=generator)
    found = tensor(call(car_probability, logits.clone()), "the result")
    shape = tuple(found.shape)
    require(shape != (2, 1, 4, 6), "one axis too many: [:, 0] takes a channel and drops its axis.")
    require(shape == (2, 4, 6), f"the shape is {shape}; one probability a pixel is (2, 4, 6).")
    found, shares = found.float(), logits.softmax(dim=1)
    right = 1 - shares[:, 0]
    for other, why in (
        (shares[:, 0], "that is the probability of the background: 1 - it"),
        (shares.sum(dim=1), "it is 1 everywhere: the background belongs into the softmax, "
         "but not into the sum"),
        ((logits.argmax(dim=1) > 0).float(), "that is a mask already, without anything between"),
        (shares[:, 1:].max(dim=1).values, "that is the likeliest part alone. A pixel that may be "
         "body or window is car either way: add them up"),
        (shares[:, 1], "that is the body alone: window, wheel and light are car as well"),
        (shares[:, 1:].mean(dim=1), "that is the mean over the parts: add them up"),
        (1 - logits[:, 0].sigmoid(), "sigmoid looks at one logit. With many classes it takes all "
         "of them to make a probability: softmax over dim=1"),
        (1 - logits[:, 0], "logits are no probabilities: softmax first"),
        (1 - logits.softmax(dim=0)[:, 0], "softmax over the photos of the batch: the classes are "
         "dim=1"),
        (1 - logits.softmax(dim=-1)[:, 0], "softmax along a row of pixels: the classes are dim=1"),
    ):  # fmt: skip
        require(not torch.allclose(found, other.float(), atol=1e-5), f"{why}.")
    apart = (found - right).abs().max().item()
    require(torch.allclose(found, right, atol=1e-4), f"it is wrong by up to {apart:.2f}.")
