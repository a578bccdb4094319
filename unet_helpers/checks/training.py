"""Checks for notebook 06: scaling, prediction in the right mode, half batches, a learning rate."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from unet_helpers.checks.answers import Wrong, call, near, number, require, run, tensor
from unet_helpers.checks.register import exercise
from unet_helpers.losses import bce_dice_loss
from unet_helpers.model import UNET

STEPS, GOAL = 15, 0.15


@exercise(
    "06.1",
    "torch.tensor(1e-9).half() is 0. What is (torch.tensor(1e-9) * 1024).half()?",
    "Try 1, 2, 4, 8, … in a loop, until the result is not 0 any more.",
    "smallest = 1, and while (torch.tensor(1e-9) * smallest).half() == 0: smallest *= 2.",
)
def least_scaling(smallest: Any) -> str:
    """smallest: the least power of two that keeps 1e-9 from becoming 0 in fp16."""
    factor = number(smallest, "smallest")
    require(factor > 0, f"{factor:g} is no factor to multiply with.")
    power = math.log2(factor) % 1 == 0
    require(power, f"{factor:g} is no power of two, as 4 or 1024 are.")
    kept = (torch.tensor(1e-9) * factor).half().item()
    require(kept > 0, f"1e-9 times {factor:g} is still 0 in fp16: larger.")
    require(math.isfinite(kept), f"1e-9 times {factor:g} is infinite in fp16: smaller.")
    half = (torch.tensor(1e-9) * factor / 2).half().item()
    require(half == 0, f"{factor / 2:g} is enough: it gives {half:.1e}. There is a smaller one.")
    return f"1e-9 times {factor:g} becomes {kept:.1e}."


class _Witness(nn.Module):
    """A small network with BatchNorm that notes how it is used; logits from about -1 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1)
        self.modes: list[bool] = []
        self.gradients: list[bool] = []
        nn.init.constant_(self.conv.weight, 0.5)
        nn.init.constant_(self.conv.bias, 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.norm.training)
        self.gradients.append(torch.is_grad_enabled())
        return self.norm(self.conv(x))  # (B, 1, H, W)


@exercise(
    "06.2",
    "BatchNorm must use the averages that it has learned, not those of this batch: which call?",
    "model.eval() before, with torch.no_grad(): around; was = model.training remembers the mode, "
    "and model.train(was) brings it back.",
    "(torch.sigmoid(logits)[:, 0] > 0.5).byte() is the mask (B, H, W).",
)
def predict_in_eval_mode(predict_batch: Any) -> None:
    """predict_batch(model, images): uint8 masks (B, H, W), in eval mode, without gradients."""
    images = torch.linspace(-1, 1, 3 * 4 * 6 * 6).reshape(4, 3, 6, 6)
    for mode in (True, False):
        model = _Witness().train(mode)
        given = call(predict_batch, model, images.clone())
        after = model.training
        require(model.modes, "the model has not seen the images.")
        forgotten = "model.eval() is missing: BatchNorm still takes its averages from this batch"
        require(not any(model.modes), f"{forgotten}, so a photo's mask depends on its neighbours.")
        why = "gradients are recorded, which costs memory for nothing: torch.no_grad() is missing."
        require(not any(model.gradients), why)
        _compare_masks(tensor(given, "what predict_batch returns"), model, images)
        was, now = ("training", "in eval mode") if mode else ("in eval mode", "training")
        require(after == mode, f"the model was {was}, and now it is {now}: put its mode back.")


def _compare_masks(found: torch.Tensor, model: nn.Module, images: torch.Tensor) -> None:
    shape = tuple(found.shape)
    require(
        shape != (4, 1, 6, 6), f"the shape is {shape}, one axis too many: [:, 0] takes it away."
    )
    require(shape == (4, 6, 6), f"the shape is {shape}, not (B, H, W), here (4, 6, 6).")
    with torch.no_grad():
        logits = model.eval()(images)[:, 0]
    values, right = found.float(), (logits > 0).float()
    raw = torch.equal(values, (logits > 0.5).float())
    why = "you compare logits with 0.5, but a logit of 0 is a probability of 0.5 already"
    require(not raw, f"the sigmoid is missing: {why}.")
    classes = set(values.unique().tolist())
    require(classes != {0, 255}, "the masks hold 255; the class of the car is 1.")
    why = "these are no classes, 0 or 1: compare the probability with 0.5."
    require(classes <= {0, 1}, why)
    require(not torch.equal(values, 1 - right), "car and background are exchanged.")
    require(torch.equal(values, right), "the masks are not those of sigmoid(logits) > 0.5.")
    require(found.dtype == torch.uint8, f"the type is {found.dtype}: .byte() makes it uint8.")


def _whole_step(model: nn.Module, optimizer: Any, loss_fn: Any, images: Any, masks: Any) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss_fn(model(images), masks).backward()
    optimizer.step()


@exercise(
    "06.3",
    "backward adds to the gradients that are there. So two calls of it add up two halves.",
    "The mean over the whole batch is half of the sum of the two means: divide each loss by 2.",
    "Clear the gradients once at the start; then for each half forward and (loss / 2).backward(); "
    "at the end one optimizer.step().",
)
def step_in_halves(step_in_halves: Any) -> None:
    """step_in_halves(model, optimizer, loss_fn, images, masks): one step, half a batch a time."""
    images = torch.linspace(0, 1, 768).reshape(4, 3, 8, 8)
    masks = (images[:, 0] > 0.5).byte()  # (4, 8, 8)
    moved: list[torch.Tensor] = []
    for step in (_whole_step, step_in_halves):
        torch.manual_seed(0)
        model, seen, steps = nn.Conv2d(3, 1, 1), [], []
        model.register_forward_hook(
            lambda _, inputs, output, seen=seen: seen.append(len(inputs[0]))
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        optimizer.register_step_post_hook(lambda *_, steps=steps: steps.append(1))
        # A gradient left over from before must not count.
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        first = model.weight.detach().clone()
        run(step, model, optimizer, bce_dice_loss, images.clone(), masks.clone())
        moved.append(model.weight.detach() - first)
    whole, halves = moved
    require(seen, "the model has not seen a photo yet.")
    require(max(seen) <= 2, f"{max(seen)} of 4 photos went through the model at once.")
    require(sum(seen) == 4, f"{sum(seen)} photos went through the model, not 4.")
    require(steps, "the weights have not changed: there is no optimizer.step().")
    require(
        len(steps) == 1, f"{len(steps)} steps were made. One, with the gradient of both halves."
    )
    _compare_steps(whole, halves)


def _compare_steps(whole: torch.Tensor, halves: torch.Tensor) -> None:
    if torch.allclose(whole, halves, rtol=1e-3, atol=1e-6):
        return
    why = "the gradients from before this step are still in it: clear them once, at the start."
    require(not torch.allclose(whole, halves + 1, rtol=1e-3, atol=1e-5), why)
    ratio = (halves.norm() / whole.norm()).item()
    twice = (
        "twice as long as with the whole batch: a mean over all is half of the sum of two means."
    )
    require(not near(ratio, 2, 0.01), f"the step is {twice}")
    why = "the gradient of one half is lost if it is cleared between the two."
    require(ratio > 0.01, f"the weights have hardly changed: {why}")
    raise Wrong(f"the step is {ratio:.2f} times as long as with the whole batch: {why}")


def drawn_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four made-up photos (4, 3, 32, 48), cars in another colour than the wall, and masks."""
    images = torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(0)) / 2 - 0.25
    masks = torch.zeros(4, 32, 48, dtype=torch.uint8)
    paint = torch.tensor([0.6, -0.2, 0.3])[:, None, None]
    for n in range(4):
        masks[n, 12 + n : 24 + n, 6 + 4 * n : 26 + 4 * n] = 1
        masks[n, 8 + n : 12 + n, 12 + 4 * n : 20 + 4 * n] = 1
        images[n] += (masks[n].float() - 0.5) * paint
    return images, masks


@exercise(
    "06.4",
    "Try powers of ten first: 0.001, 0.01, 0.1, 1. On which side of the best one are you?",
    "Too short a step: the loss falls slowly. Too long: it jumps up at first, or never settles.",
    "This network is tiny and has one batch to learn, so it bears far more than 0.003: try 0.2.",
)
def learning_rate(learning_rate: Any) -> str:
    """learning_rate: for AdamW, such that a tiny U-Net learns one batch within a few steps."""
    rate = number(learning_rate, "learning_rate")
    require(rate > 0, f"{rate:g}: with a step of no length, or backwards, nothing is learned.")
    torch.manual_seed(0)
    images, masks = drawn_batch()
    model = UNET(features=(4, 8))
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=rate), []
    for _ in range(STEPS):
        loss = bce_dice_loss(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        losses.append(bce_dice_loss(model(images), masks).item())
    last, highest = losses[-1], max(losses)
    said = f"after {STEPS} steps the loss is {last:.3f}, below {GOAL} is wanted"
    finite = all(math.isfinite(loss) for loss in losses)
    require(finite and highest < 1.2 * losses[0],
            f"the loss jumps from {losses[0]:.2f} up to {highest:.2f}: shorter steps.")  # fmt: skip
    steady = sum(b < a for a, b in pairwise(losses)) >= STEPS - 1
    require(last < GOAL or not steady, f"{said}. It falls all the time, but slowly: longer steps.")
    require(last < GOAL, f"{said}. It does not fall steadily: shorter or longer steps?")
    return f"After {STEPS} steps the loss has come from {losses[0]:.2f} to {last:.3f}."
