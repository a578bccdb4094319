"""Plausible wrong answers to the exercises 04 to 08, and words that the message must hold.

WRONG: exercise -> list of (answer, pattern); several answers, or values, stand in a tuple.
GIVEN: what the check's cell passes on besides.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from unet_helpers.metrics import accuracy, count_pixels, dice, iou
from unet_helpers.model import DoubleConv
from unet_helpers.scenes import STREET

TRUTH = torch.zeros(48, 72, dtype=torch.uint8)
TRUTH[18:40, 20:38] = 1
WIDE = F.max_pool2d(TRUTH[None].float(), 15, stride=1, padding=7)[0].byte()
CARS = ("00087a6bd4dc", "02159e548029", "0795e132d090")
# The second car has the lowest mean, the first one the worst photo.
ROWS = [
    {"stem": f"{car}_{angle:02d}", "dice": value}
    for car, values in zip(
        CARS, ((0.5, 0.99, 0.99), (0.7, 0.7, 0.7), (0.95, 0.96, 0.97)), strict=True
    )
    for angle, value in enumerate(values, start=1)
]
STREET_DICE = {"": 0.6, **dict(zip(STREET, (0.62, 0.75, 0.61, 0.58, 0.64), strict=True))}
COSTLIEST, LEAST = STREET[1], STREET[3]
GIVEN = {"05.4": (TRUTH,), "07.1": (ROWS,), "08.4": (STREET_DICE.get,)}


def block(around, joined):
    """A residual block with its faults chosen."""

    class ResidualConv(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.block = DoubleConv(in_channels, out_channels)
            self.around = around(in_channels, out_channels)

        def forward(self, x):
            return joined(self.block(x), self.around(x))

    return ResidualConv


def one_by_one(i, o):
    return nn.Conv2d(i, o, kernel_size=1)


class NoSuper(nn.Module):
    def __init__(self, in_channels, out_channels):
        self.block = DoubleConv(in_channels, out_channels)


def soft_iou(score, mask, dims=(1, 2, 3), smooth=1, twice=1):
    target = mask.unsqueeze(1).float()
    overlap = (score * target).sum(dims)
    union = (score + target).sum(dims) - twice * overlap
    return ((overlap + smooth) / (union + smooth)).mean()


def soft_dice_loss(logits, mask):
    p, target = torch.sigmoid(logits), mask.unsqueeze(1).float()
    both = (p + target).sum((1, 2, 3))
    return 1 - ((2 * (p * target).sum((1, 2, 3)) + 1) / (both + 1)).mean()


def edge_of(mask, width):
    near = [
        F.max_pool2d(m.float(), 2 * width + 1, stride=1, padding=width) for m in (mask, 1 - mask)
    ]
    return near[0] * near[1] > 0


def dice_where(predicted, mask, where, dims=(1, 2)):
    tp = (where & (predicted == 1) & (mask == 1)).sum(dims)
    wrong = (where & (predicted != mask)).sum(dims)
    return torch.where(2 * tp + wrong == 0, 1.0, 2 * tp / (2 * tp + wrong).clamp(min=1))


def outer_edge_only(predicted, mask, width):
    edge = (F.max_pool2d(mask.float(), 2 * width + 1, stride=1, padding=width) > 0) & (mask == 0)
    tp = (edge & (predicted == 1) & (mask == 1)).sum((1, 2))
    return 2 * tp / (2 * tp + (edge & (predicted != mask)).sum((1, 2)))


def outer(model, images, before=True, grad=False, cut=lambda z: torch.sigmoid(z)[:, 0] > 0.5,
          after=True):  # fmt: skip
    """predict_batch with its faults chosen."""
    was = model.training
    if before:
        model.eval()
    with torch.set_grad_enabled(grad):
        found = cut(model(images))
    if after:
        model.train(was)
    return found


def predicting(**faults):
    def predict_batch(model, images):
        found = outer(model, images, **faults)
        return found.byte() if found.dtype == torch.bool else found

    return predict_batch


def halves(
    model, optimizer, loss_fn, images, masks, *, clear="start", part=2, each=False, step=True
):
    if clear == "start":
        optimizer.zero_grad()
    for half in (slice(0, 2), slice(2, 4)):
        if clear == "each":
            optimizer.zero_grad()
        (loss_fn(model(images[half]), masks[half]) / part).backward()
        if each:
            optimizer.step()
    if step and not each:
        optimizer.step()


def in_halves(**faults):
    return lambda *parts: halves(*parts, **faults)


def whole_batch(model, optimizer, loss_fn, images, masks):
    optimizer.zero_grad()
    loss_fn(model(images), masks).backward()
    optimizer.step()


def first_half_only(model, optimizer, loss_fn, images, masks):
    whole_batch(model, optimizer, loss_fn, images[:2], masks[:2])


def ties_count_as_better(dices, patience):
    best, waited = -1, 0
    for epoch, value in enumerate(dices, start=1):
        waited = 0 if value >= best else waited + 1
        best = max(best, value)
        if waited == patience:
            return epoch
    return len(dices)


def against_the_last(dices, patience):
    waited = 0
    for epoch in range(2, len(dices) + 1):
        waited = 0 if dices[epoch - 1] > dices[epoch - 2] else waited + 1
        if waited == patience:
            return epoch
    return len(dices)


def never_in_a_row(dices, patience):
    best, waited = -1, 0
    for epoch, value in enumerate(dices, start=1):
        waited += value <= best
        best = max(best, value)
        if waited == patience:
            return epoch
    return len(dices)


def by_gap_only(history):
    gap = history[-1]["val_loss"] - history[-1]["train_loss"]
    return "overfitting" if gap > 0.2 else "good fit"


def shaded(photo, alpha, background):
    share = alpha[..., None] / 255
    return share * photo + (1 - share) * background


def closed(mask):
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))


def eight_connected(mask, connectivity=8, rim=True):
    _, pieces = cv2.connectedComponents((mask == 0).astype(np.uint8), connectivity=connectivity)
    edge = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    edge = edge if rim else pieces[0]
    return np.where(np.isin(pieces, edge) & (mask == 0), 0, 1).astype(np.uint8)


def cropped(cut, margin, above=0, end=1, clamp=True, use_margin=True):
    rows, columns = np.nonzero(cut[..., 3] > above)
    margin = margin if use_margin else 0
    top, left = rows.min() - margin, columns.min() - margin
    if clamp:
        top, left = max(top, 0), max(left, 0)
    return cut[top : rows.max() + end + margin, left : columns.max() + end + margin]


WRONG = {
    "04.1": [
        (lambda skip, x: torch.cat([x, skip], dim=1), "swapped: the decoder puts the skip first"),
        (lambda skip, x: torch.cat([skip, x]), "photos of the batch"),
        (lambda skip, x: torch.cat([skip, x], dim=2), "the rows: channels are axis 1"),
        (lambda skip, x: skip + x, "you add the two"),
        (lambda skip, x: torch.stack([skip, x], dim=1), "stack does not"),
        (lambda skip, x: torch.cat([skip, skip], dim=1), "values are not those"),
    ],
    "04.2": [
        (lambda i, o, norm: 9 * i * o + 9 * o * o, "the weights alone"),
        (lambda i, o, norm: 9 * i * o + 9 * o * o + 6 * o, "no bias"),
        (lambda i, o, norm: 9 * i * o + 4 * o, "two convolutions"),
        (lambda i, o, norm: 9 * i * o + 9 * o * o + 2 * o, "a scale and a shift"),
        (lambda i, o, norm: 9 * i * o + 9 * o * o + 4 * o, "norm is 'none' here"),
        (lambda i, o, norm: 18 * i * o + 4 * o, "o channels in, not i"),
    ],
    "04.3": [
        (block(one_by_one, lambda a, b: torch.cat([a, b], dim=1)), "Here they are added"),
        (block(lambda i, o: nn.Conv2d(i, o, 3, padding=1), torch.add), "1×1 would be"),
        (block(one_by_one, lambda a, b: torch.relu(a + b)), "no ReLU"),
        (block(one_by_one, lambda a, b: a), "is around added"),
        (block(one_by_one, lambda a, b: 2 * a + b), "not self.block"),
        (block(lambda i, o: nn.Identity(), torch.add), "raised RuntimeError"),
        (NoSuper, "raised AttributeError"),
        (block(one_by_one, torch.add)(3, 8), "the class itself"),
    ],
    "04.4": [
        (((16, 32, 64, 128),), "1,942,577 parameters"),
        (((32, 64, 64),), "68 pixels"),
        ((64,), "list or a tuple"),
        (((8, 16, 32, -1),), "-1 channels"),
        (((8.5, 16, 32, 64),), "whole number"),
        (([1] * 12,), "cannot be halved that often"),
    ],
    "05.1": [
        (lambda p, m: accuracy(count_pixels(p, m)).mean(), "accuracy"),
        (lambda p, m: iou(count_pixels(p, m)).mean(), "IoU"),
        (lambda p, m: 2 * (p * m).sum().item() / (p.sum() + m.sum()).clamp(min=1).item(),
         "thrown together. Take Dice per image"),
        (lambda p, m: dice(count_pixels(p, m)), "take their mean"),
        (lambda p, m: (2 * (p * m).sum((1, 2)) / (p.sum((1, 2)) + m.sum((1, 2)))).mean(),
         "0 was divided by 0"),
        (lambda p, m: (2 * (p * m).sum((1, 2)) / (p.sum((1, 2)) + m.sum((1, 2)) + 1e-8)).mean(),
         "counts as 1"),
        (lambda p, m: ((p * m).sum((1, 2)) / (p.sum((1, 2)) + m.sum((1, 2)))).mean(), "half of it"),
    ],
    "05.2": [
        (lambda z, m: 1 - soft_iou(z, m), "sigmoid is missing"),
        (lambda z, m: 1 - soft_iou(z, m, (0, 1, 2, 3), smooth=0), "is the sigmoid missing"),
        (lambda z, m: 1 - soft_iou(z.sigmoid(), m, (0, 1, 2, 3)), "batch are thrown together"),
        (lambda z, m: soft_iou(z.sigmoid(), m), "IoU itself"),
        (soft_dice_loss, "that is Dice"),
        (lambda z, m: 1 - soft_iou(z.sigmoid(), m, twice=0), "union twice"),
        (lambda z, m: 1 - soft_iou(z.sigmoid(), m, smooth=0), "1 above and below"),
        (lambda z, m: 1 - soft_iou((z > 0).float(), m), "no slope"),
        (lambda z, m: 1 - soft_iou(z.sigmoid(), m).detach(), "no gradient"),
        (lambda z, m: (1 - soft_iou(z.sigmoid(), m)).item(), "a tensor is wanted"),
    ],
    "05.3": [
        (lambda p, m, w: dice_where(p, m, m >= 0), "Dice over all pixels"),
        (lambda p, m, w: dice_where(p, m, edge_of(m, w) & (m == 1)), "edge has two sides"),
        (lambda p, m, w: dice_where(p, m, edge_of(m, 1)), "2 · width"),
        (lambda p, m, w: dice_where(p, m, edge_of(m, w)).mean(), "one for each is wanted"),
        (outer_edge_only, "0 is divided by 0.*two sides"),
        (lambda p, m, w: 1 - dice_where(p, m, edge_of(m, w)), "scores 1, not 0"),
    ],
    "05.4": [
        ((WIDE, 0 * TRUTH), "swapped"),
        ((0 * TRUTH, 255 * WIDE), "by_dice still holds 255"),
        ((TRUTH, 0 * TRUTH), "Dice should like the second"),
        ((0 * TRUTH, TRUTH), "accuracy should like the first"),
        ((0 * TRUTH, 0 * TRUTH), "same one"),
        ((0 * TRUTH, WIDE[:10]), "shape of by_dice"),
    ],
    "06.1": [
        ((16,), "still 0"),
        ((64,), "32 is enough"),
        ((65536,), "smaller one"),
        ((30,), "no power of two"),
        ((-32,), "no factor"),
    ],
    "06.2": [
        (predicting(before=False), "eval.. is missing"),
        (predicting(after=False), "put its mode back"),
        (predicting(grad=True), "no_grad"),
        (predicting(cut=lambda z: z[:, 0] > 0.5), "sigmoid is missing"),
        (predicting(cut=lambda z: z > 0), "one axis too many"),
        (predicting(cut=lambda z: z[:, 0].sigmoid()), "no classes"),
        (predicting(cut=lambda z: (z[:, 0] > 0).byte() * 255), "hold 255"),
        (predicting(cut=lambda z: z[:, 0] < 0), "exchanged"),
        (outer, "type is torch.bool"),
    ],
    "06.3": [
        (whole_batch, "4 of 4 photos went through the model at once"),
        (first_half_only, "2 photos went through"),
        (in_halves(part=1), "twice as long"),
        (in_halves(each=True), "2 steps were made"),
        (in_halves(step=False), "no optimizer.step"),
        (in_halves(clear="never"), "clear them once, at the start"),
        (in_halves(clear="each"), "cleared between the two"),
        (lambda *parts: None, "not seen a photo"),
    ],
    "06.4": [
        ((3e-3,), "longer steps"),
        ((30,), "shorter steps"),
        ((0,), "nothing is learned"),
        ((-0.1,), "nothing is learned"),
    ],
    "07.1": [
        ((CARS[2],), "easiest car"),
        ((CARS[0],), "worst single photo"),
        ((f"{CARS[1]}_01",), "is a photo"),
        (("ffffffffffff",), "not among the test cars"),
        ((0.7,), "name is wanted"),
    ],
    "07.2": [
        (ties_count_as_better, "> and not >="),
        (against_the_last, "no better than the best so far"),
        (never_in_a_row, "count starts again"),
        (lambda dices, patience: len(dices), "so it stops there"),
        (lambda dices, patience: dices.index(max(dices)) + 1, "two more before it stops"),
        (lambda dices, patience: ties_count_as_better(dices, patience - 1), "one more is trained"),
    ],
    "07.3": [
        (lambda cars, width, wanted: math.ceil(cars * width / wanted), "square root"),
        (lambda cars, width, wanted: math.ceil(cars * (wanted / width) ** 2), "Turn the fraction"),
        (lambda cars, width, wanted: int(cars * (width / wanted) ** 2 + 1e-9), "Round up"),
        (lambda cars, width, wanted: cars * (width / wanted) ** 2, "whole number"),
        (lambda cars, width, wanted: math.ceil(cars * (width / wanted) ** 2 + 1e-9), "33"),
    ],
    "07.4": [
        (lambda history: "good fit", "4 of 12.*parted"),
        (by_gap_only, "8 of 12.*both are high"),
        (lambda history: "overfit", "three answers"),
        (lambda history: "underfitting" if history[0]["train_loss"] > 0.4 else "good fit",
         "parted|low and close"),
        (lambda history: None, "returns nothing"),
    ],
    "08.1": [
        (lambda p, a, b: shaded(b, a, p).round().astype(np.uint8), "exchanged"),
        (lambda p, a, b: (a[..., None] * p + (255 - a[..., None]) * b) // 255, "begins again at 0"),
        (shaded, "float64"),
        (lambda p, a, b: shaded(p, a, b).astype(np.uint8), "round before|should give"),
        (lambda p, a, b: np.where(a[..., None] > 127, p, b), "nothing in between"),
        (lambda p, a, b: a / 255 * p + (1 - a / 255) * b, "raised ValueError"),
    ],
    "08.2": [
        (lambda cut, margin: cropped(cut, margin, above=127), "above 0, not above the middle"),
        (lambda cut, margin: cropped(cut, margin, end=0), "so \\+ 1"),
        (lambda cut, margin: cropped(cut, margin, clamp=False), "negative start"),
        (lambda cut, margin: cropped(cut, margin, use_margin=False), "margin plays no part"),
        (lambda cut, margin: cut, "nothing is cut off"),
        (lambda cut, margin: cropped(cut, margin)[..., :3], "four channels"),
    ],
    "08.3": [
        (closed, "bay that is open"),
        (eight_connected, "connectivity=4"),
        (lambda mask: eight_connected(mask, 4, rim=False), "lower edge"),
        (lambda mask: mask, "hole is still there"),
        (lambda mask: np.ones_like(mask), "background around the car"),
        (lambda mask: eight_connected(mask, 4) * 255, "still holds 255"),
        (lambda mask: eight_connected(mask, 4) > 0, "type bool"),
    ],
    "08.4": [
        ((LEAST, STREET_DICE), "the least of all"),
        ((STREET[0], STREET_DICE), "another thing brings more"),
        (("dogs", STREET_DICE), "is not one of"),
        ((COSTLIEST, {k: v - 0.6 for k, v in STREET_DICE.items()}), "not how much it changes"),
        ((COSTLIEST, {k: v for k, v in STREET_DICE.items() if k}), "full street"),
        ((COSTLIEST, {k: v + 0.1 for k, v in STREET_DICE.items()}), "measured again"),
    ],
}  # fmt: skip
