"""Checks for notebook 11: a law turned round, a batch in parts, a small GPU, processes' scores."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from unet_helpers.checks.answers import Wrong, call, near, number, require, run, shown, whole
from unet_helpers.checks.register import exercise
from unet_helpers.losses import bce_dice_loss

TIMES = {"decode": 12.0, "augment": 3.0, "forward": 5.0, "backward": 10.0}


@exercise(
    "11.1",
    "With wanted = 2 the epoch may take half of what it takes now. How much of that do the other "
    "parts need?",
    "total / wanted is what there is; the other parts take total - part of it. What is left must "
    "be enough for part / times.",
    "left = total / wanted - (total - part); return part / left if left > 0 else None",
)
def needed_speed(needed: Any) -> str:
    """needed(parts, name, wanted): how many times as fast a part must become; None: impossible."""
    given = dict(TIMES)
    total = sum(TIMES.values())
    for name, wanted in (("decode", 1.5), ("backward", 1.2), ("decode", 2), ("augment", 1.2),
                         ("decode", total / 18)):  # fmt: skip
        part = TIMES[name]
        left = total / wanted - (total - part)
        found = run(needed, given, name, wanted)
        require(given == TIMES, "needed changes the dictionary that it was given: work it out.")
        case = f"for the whole to be {wanted:.3g} times as fast by {name} alone"
        if left < 1e-9:
            why = f"{total - part:g} of {total:g} s stay, whatever {name} takes"
            require(found is None, f"{case}: impossible, {why}: return None.")
            continue
        require(found is not None, f"{case}: it is possible, and needed returns None.")
        times, right = number(found, "what needed returns"), part / left
        same = near(times, wanted) and not near(right, wanted)
        require(not same, f"{case}: {name} is only a part of the whole, so more is needed.")
        require(not near(times, left), f"{case}: {left:g} s is what {name} may take: how many "
                "times as fast is that?")  # fmt: skip
        require(not near(times, 1 / right), f"{case}: turn the fraction over.")
        require(near(times, right), f"{case}, {name} must become {right:.3g} times as fast, not "
                f"{times:.3g}.")  # fmt: skip
    return "Twice as fast is out of reach here by decoding alone: 18 of the 30 s are not decoding."


class _Noting(nn.Module):
    """A convolution that notes how many photos it was given at a time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 1, 3, padding=1)
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        return self.conv(x)


class _Counting(torch.optim.SGD):
    """Plain gradient descent that counts its steps."""

    made = 0

    def step(self, closure: Any = None) -> None:
        self.made += 1
        return super().step(closure)


@exercise(
    "11.2",
    "images.chunk(parts) cuts a tensor into parts; the last one may be smaller.",
    "The loss of the batch is a mean over photos. How much does a part of 3 of 7 photos count?",
    "For each pair of chunks: (loss_fn(model(x), y) * len(x) / len(images)).backward(); one "
    "zero_grad before all of them, one step after.",
)
def step_in_parts(step_in_parts: Any) -> None:
    """step_in_parts(model, optimizer, loss_fn, images, masks, parts): one step, part by part."""
    for count, parts in ((7, 2), (6, 3), (5, 4)):
        generator = torch.Generator().manual_seed(count)
        images = torch.rand(count, 3, 8, 12, generator=generator)
        masks = (torch.rand(count, 8, 12, generator=generator) < 0.3).to(torch.uint8)
        masks[-1] = 0  # the last photo is another kind of photo, so its weight shows
        model = _Noting()
        right = copy.deepcopy(model)
        bce_dice_loss(right(images), masks).backward()
        for weight in model.parameters():  # what an earlier step has left
            weight.grad = torch.full_like(weight, 5.0)
        optimizer = _Counting(model.parameters(), lr=1.0)
        start = model.conv.weight.detach().clone()
        run(step_in_parts, model, optimizer, bce_dice_loss, images, masks, parts)
        _compare_steps(model, optimizer, right, start, count, parts)


def _compare_steps(
    model: _Noting, optimizer: _Counting, right: nn.Module, start: torch.Tensor, count: int,
    parts: int,
) -> None:  # fmt: skip
    case, most = f"with {count} photos in {parts} parts", -(-count // parts)
    require(model.sizes, "the model has not seen a photo.")
    seen = f"{case}, {max(model.sizes)} photos went through the model at once"
    require(max(model.sizes) <= most, f"{seen}; {most} are enough.")
    total = sum(model.sizes)
    require(total == count, f"{case}, {total} photos went through the model in all: not {count}.")
    require(optimizer.made > 0, "the weights have not moved: there is no optimizer.step().")
    require(optimizer.made == 1, f"{optimizer.made} steps were made; one is wanted, at the end.")
    step, wanted = start - model.conv.weight.detach(), right.conv.weight.grad
    if torch.allclose(step, wanted, rtol=1e-3, atol=1e-6):
        return
    old = torch.allclose(step - 5, wanted, rtol=1e-2, atol=1e-3)
    require(not old, "the gradients of an earlier step are still in it: zero_grad, once, first.")
    ratio = (step.norm() / wanted.norm()).item()
    much = f"{case}, the step is {ratio:.2f} times as long as with the whole batch"
    require(ratio > 0.7, f"{much}: are gradients cleared between the parts?")
    require(ratio < 1.5, f"{much}: the losses of the parts are means, and their sum is no mean.")
    raise Wrong(f"{much}, and points elsewhere: a part with fewer photos must count for less.")


@exercise(
    "11.3",
    "Try 1 part, 2 parts, 3 parts, …, up to as many as there are photos.",
    "With 8 photos in 3 parts the largest part has 3. Which division, rounded which way?",
    "for parts in range(1, batch_size + 1): if math.ceil(batch_size / parts) * per_photo <= room: "
    "return parts. After the loop: return None",
)
def fewest_parts(fewest_parts: Any) -> None:
    """fewest_parts(batch_size, per_photo, room): least accumulate that fits, None if none does."""
    for batch, each, room in ((8, 100, 800), (8, 100, 300), (8, 100, 450), (16, 70, 150),
                              (7, 100, 399), (5, 100, 100), (4, 100, 99)):  # fmt: skip
        right = next((n for n in range(1, batch + 1) if -(-batch // n) * each <= room), None)
        case = f"{batch} photos of {each} MB, and room for {room} MB"
        found = run(fewest_parts, batch, each, room)
        if right is None:
            require(found is None, f"{case}: not even one photo fits, so None is wanted.")
            continue
        require(found is not None, f"{case}: None, but {right} parts fit: is there a return?")
        parts = whole(found, "what fewest_parts returns")
        require(parts >= 1, f"{case}: {parts} parts are none.")
        largest = -(-batch // parts)
        need = f"the largest of {parts} has {largest} photos and takes {largest * each} MB"
        require(largest * each <= room, f"{case}: {need}.")
        require(parts == right, f"{case}: {parts} parts fit, but {right} would do.")


@exercise(
    "11.4",
    "Process 0 counted three photos, process 1 only two. Should both means weigh the same?",
    "Put all the photos' Dice into one list first: [dice for part in parts for dice in part].",
    "together = [dice for part in parts for dice in part]; return sum(together) / len(together)",
)
def dice_of_all(dice_of_all: Any) -> None:
    """dice_of_all(parts): mean over photos; parts: each process's list of Dice, empty ones too."""
    cases = (
        [[0.9, 0.8, 0.4], [0.6, 0.5]],
        [[0.9, 0.7, 0.8], [0.3], []],
        [[0.5], [1.0]],
    )
    for parts in cases:
        given = copy.deepcopy(parts)
        found = number(call(dice_of_all, given), "what dice_of_all returns")
        require(given == parts, "dice_of_all changes the lists that it was given.")
        every = [dice for part in parts for dice in part]
        right = sum(every) / len(every)
        means = [sum(part) / len(part) for part in parts if part]
        case = f"of {shown(parts)}"
        unequal = not near(sum(means) / len(means), right)
        require(not (unequal and near(found, sum(means) / len(means))),
                f"{case} you took the mean of the processes' means, {found:.3f}: a photo of the "
                "shorter list then weighs more.")  # fmt: skip
        first = near(found, means[0]) and not near(means[0], right)
        require(not first, f"{case} only the first process has a say.")
        padded = [*every, *(max(map(len, parts)) * len(parts) - len(every)) * [every[0]]]
        twice = near(found, sum(padded) / len(padded)) and len(padded) > len(every)
        require(not twice, f"{case} a photo counts twice, to fill up the shorter list.")
        require(near(found, right), f"{case} the mean over all photos is {right:.3f}, not "
                f"{found:.3f}.")  # fmt: skip
