"""Checks for notebook 13: pairs by name, a clipped step, a batch that fits, a fault unseen."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from unet_helpers.checks.answers import Wrong, call, near, require, run, sequence, shown, whole
from unet_helpers.checks.register import exercise
from unet_helpers.checks.training import drawn_batch
from unet_helpers.diagnose import diagnose
from unet_helpers.losses import bce_dice_loss
from unet_helpers.metrics import count_pixels, dice, predict_classes
from unet_helpers.model import UNET

PHOTOS = ["1.jpg", "10.jpg", "11.jpg", "2.jpg", "3.jpg"]
MASKS = ["10_mask.gif", "11_mask.gif", "1_mask.gif", "2_mask.gif", "3_mask.gif"]
LIMIT, SCALE = 0.01, 2.0**16
STEPS, LEARNED = 12, 0.05


@exercise(
    "13.1",
    "zip puts the two lists side by side; what must hold for the two names of a pair?",
    'Path("10.jpg").stem is "10", and Path("10_mask.gif").stem is "10_mask".',
    'A photo is mispaired where Path(photo).stem + "_mask" is not Path(mask).stem.',
)
def mispaired(mispaired: Any) -> None:
    """mispaired(photos, masks), two lists of names: the photos whose mask is another's."""
    found = sequence(call(mispaired, list(PHOTOS), list(MASKS)), "the result")
    right = PHOTOS[:3]
    require(found != MASKS[:3], "these are the masks: the photos' names are wanted.")
    why = '"1.jpg" with "10_mask.gif" is not there: that a name begins with "1" is not enough.'
    require("1.jpg" in found or not found, why)
    extra = [name for name in found if name not in right]
    listed = f"{shown(extra[0])} is among them" if extra else ""
    require(not extra, f'{listed}, but "2.jpg" and "2_mask.gif" belong together.')
    missing = [name for name in right if name not in found]
    require(not missing, f"{len(missing)} of 3 are missing, such as {shown(missing[:1])}.")
    require(found == right, f"{shown(found)}: each of them once, in the order of the photos.")
    carvana = [f"00087a6bd4dc_{n:02d}" for n in (1, 2)]
    names = [f"{stem}.jpg" for stem in carvana], [f"{stem}_mask.gif" for stem in carvana]
    found = sequence(call(mispaired, *names), "the result")
    require(not found, f"Carvana's own names are paired rightly, and you say {shown(found)}.")


def _steps(step: Any, calls: int) -> list[torch.Tensor]:
    """How the weights move in each call of a step with SGD and a scaled loss."""
    torch.manual_seed(0)
    images, masks = drawn_batch()
    model = nn.Conv2d(3, 1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0 * SCALE)  # left over from a backward()
    moved = []
    for _ in range(calls):
        before = model.weight.detach().clone()
        run(step, model, optimizer, bce_dice_loss, scaler, images.clone(), masks.clone(), LIMIT)
        moved.append(model.weight.detach() - before)
    return moved


def _right_step(
    model: nn.Module, optimizer: Any, loss_fn: Any, scaler: Any, images: Any, masks: Any, limit: Any
) -> None:
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss_fn(model(images), masks)).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), limit)
    scaler.step(optimizer)
    scaler.update()


@exercise(
    "13.2",
    "Which of the seven lines of section 8 stand in the wrong order?",
    "The limit must meet the gradient at its true size, so divide by the scale before clipping.",
    "Clear, scaler.scale(loss).backward(), scaler.unscale_(optimizer), clip_grad_norm_, "
    "scaler.step(optimizer), scaler.update().",
)
def clipped_step(clipped_step: Any) -> None:
    """clipped_step(model, optimizer, loss_fn, scaler, images, masks, clip_norm): one step."""
    steps = [_steps(step, 1)[0].flatten() for step in (_right_step, clipped_step)]
    right, found = (step.norm().item() for step in steps)
    require(found > 0, "the weights have not changed: scaler.step(optimizer) makes the step.")
    tiny = f"the step is {right / found:,.0f} times too short: the gradient is clipped while it is"
    require(found > right / 1000, f"{tiny} still multiplied by the scale.")
    long = f"the step is {found:.3g} long, and {LIMIT} is the limit"
    require(found < 100, f"{long}: the gradient is still multiplied by the scale.")
    why = "is the gradient clipped, and after zero_grad?"
    require(found <= LIMIT * 1.01, f"{long}: {why}")
    why = "the step goes elsewhere: are the gradients from before cleared?"
    require(torch.cosine_similarity(*steps, dim=0) > 0.99, why)
    require(near(found, right, right / 50), f"the step is {found:.3g} long, not {right:.3g}.")
    try:
        moved = _steps(clipped_step, 2)
    except Wrong as wrong:
        if "unscale_()" not in str(wrong):  # torch's words for a scaler that was not updated
            raise
        why = "the second step fails: scaler.update() at the end is missing, or unscale_ is twice."
        raise Wrong(why) from None
    twice = _steps(_right_step, 2)
    why = "the second step differs: are the gradients of the first one cleared?"
    require(torch.allclose(moved[1], twice[1], rtol=1e-2, atol=1e-6), why)


@exercise(
    "13.3",
    "First take away what is there anyway: four times the weights.",
    "Only a batch that divides `wanted` can be added up to it: wanted % batch == 0.",
    "Go through range(wanted, 0, -1), the largest first, and return at the first that fits.",
)
def plan(plan: Any) -> None:
    """plan(one_photo, weights, memory, wanted): (batch, times) with batch * times == wanted."""

    def found(*numbers: int) -> tuple[int, int]:
        given = sequence(call(plan, *numbers), "the result", 2)
        return whole(given[0], "batch"), whole(given[1], "times")

    case = "10 bytes a photo, 5 of weights, 90 bytes, 16 wanted"
    got = found(10, 5, 90, 16)
    require(got[0] != 7, f"{case}: 7 fit, but 7 does not divide 16.")
    require(got[0] != 8, f"{case}: 8 photos need 80 bytes, and the weights 4 · 5 besides.")
    require(got[0] * got[1] == 16, f"{case}: {got[0]} times {got[1]} does not make 16.")
    require(got == (4, 4), f"{case}: (4, 4) is right, not {got}.")
    got = found(10, 5, 100, 16)
    require(got == (8, 2), f"with 100 bytes 8 photos fit exactly: (8, 2), not {got}.")
    got = found(1, 0, 10**9, 12)
    require(got[0] <= 12, f"with plenty of memory 12 photos go at once, not {got[0]}.")
    require(got == (12, 1), f"with plenty of memory: (12, 1), not {got}.")
    got = found(10, 5, 25, 16)
    require(got == (0, 0), f"with 25 bytes not even one photo fits: (0, 0), not {got}.")
    got = found(10, 0, 95, 15)
    require(got == (5, 3), f"15 wanted, room for 9: (5, 3), not {got}.")


def _dice_after(loss: Any, images: torch.Tensor, masks: torch.Tensor) -> tuple[float, float]:
    """Mean Dice of a tiny U-Net before and after some steps with this loss."""
    torch.manual_seed(0)
    model = UNET(features=(4, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scores = []
    for step in range(STEPS + 1):
        logits = model(images)
        if step in (0, STEPS):
            scores.append(dice(count_pixels(predict_classes(logits), masks)).mean().item())
        optimizer.zero_grad()
        call(loss, logits, masks).backward()
        optimizer.step()
    return scores[0], scores[1]


@exercise(
    "13.4",
    "diagnose asks whether the loss is one finite number with a gradient. What does it not ask?",
    "It does not ask whether a smaller loss means a better mask.",
    "What if a loss that is right has the wrong sign? Or leaves the mask out?",
)
def unseen(loss: Any) -> str:
    """loss(logits, mask): diagnose is silent about it, and a network does not learn with it."""
    images, masks = drawn_batch()
    logits = torch.randn(4, 1, 32, 48, generator=torch.Generator().manual_seed(1))
    value = call(loss, logits.requires_grad_(), masks.clone())
    require(isinstance(value, torch.Tensor), f"{shown(value)}: a loss is a tensor of one number.")
    require(value.numel() == 1, f"the shape is {tuple(value.shape)}: one number is wanted.")
    batch = (images, masks, [f"drawn_{n}" for n in range(4)])
    torch.manual_seed(0)
    findings = diagnose([batch], UNET(features=(4, 8)), loss, quiet=True)
    if findings:
        raise Wrong(f"diagnose finds it: {findings[0].name}, {findings[0].found}.")
    _, learned = _dice_after(bce_dice_loss, images, masks)
    before, after = _dice_after(loss, images, masks)
    said = f"Dice goes from {before:.2f} to {after:.2f} in {STEPS} steps"
    require(after < before + LEARNED or after < learned / 2, f"{said}: the network learns with it.")
    return f"{said}; with bce_dice_loss it comes to {learned:.2f}."
