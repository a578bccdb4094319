"""Plausible wrong answers to the exercises of notebook 13, and words that the message must hold.

WRONG: exercise -> list of (answer, pattern); several answers, or values, stand in a tuple.
GIVEN: what the check's cell passes on besides.
"""

from __future__ import annotations

from pathlib import Path

import torch

from unet_helpers.losses import bce_dice_loss


def pairs_by(same):
    return lambda photos, masks: [p for p, m in zip(photos, masks, strict=True) if not same(p, m)]


def step(order, *, clear=True, norm=None):
    """clipped_step with its lines in any order: b(ackward), u(nscale), c(lip), s(tep), U(pdate)."""

    def clipped_step(model, optimizer, loss_fn, scaler, images, masks, clip_norm):
        if clear:
            optimizer.zero_grad()
        parts = {
            "b": lambda: scaler.scale(loss_fn(model(images), masks)).backward(),
            "u": lambda: scaler.unscale_(optimizer),
            "c": lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), norm or clip_norm),
            "s": lambda: scaler.step(optimizer),
            "S": optimizer.step,
            "U": scaler.update,
        }
        for letter in order:
            parts[letter]()

    return clipped_step


def planned(*, weights=4, divide=True, none=(0, 0), cap=True):
    def plan(one_photo, weight_bytes, memory, wanted):
        room = memory - weights * weight_bytes
        for batch in range(wanted if cap else 10 * wanted, 0, -1):
            if batch * one_photo <= room and (not divide or wanted % batch == 0):
                return batch, -(-wanted // batch)
        return none

    return plan


GIVEN: dict = {}
WRONG = {
    "13.1": [
        (pairs_by(lambda p, m: Path(p).stem == Path(m).stem), "belong together"),
        (pairs_by(lambda p, m: m.startswith(Path(p).stem)), "begins with"),
        (pairs_by(lambda p, m: p[0] == m[0]), "3 of 3 are missing"),
        (lambda p, m: m[:3], "these are the masks"),
        (lambda p, m: 3, "a list or a tuple is wanted"),
        (lambda p, m: [], "3 of 3 are missing"),
        (lambda p, m: ["1.jpg"], "2 of 3 are missing"),
        (lambda p, m: ["11.jpg", "10.jpg", "1.jpg"], "order of the photos"),
        (lambda p, m: p[:3], "Carvana's own names"),
    ],
    "13.2": [
        (step("bcusU"), "too short"),
        (step("bcsU"), "too short"),
        (step("busU"), "is the gradient clipped"),
        (step("bcuU"), "not changed"),
        (step("bS"), "still multiplied by the scale"),
        (step("bucs"), "scaler.update.. at the end"),
        (step("bucsU", clear=False), "are the gradients from before cleared"),
        (step("bucsU", norm=0.001), "long, not 0.0"),
    ],
    "13.3": [
        (planned(divide=False), "7 does not divide 16"),
        (planned(weights=0), "the weights 4"),
        (planned(weights=1), "the weights 4"),
        (lambda o, w, m, n: planned()(o, w, m, n)[::-1], r"\(8, 2\), not"),
        (planned(none=(1, 16)), "not even one photo fits"),
        (lambda o, w, m, n: planned()(o, w, m, n)[0], "a list or a tuple"),
        (lambda o, w, m, n: (2, 8), "is right"),
        (lambda o, w, m, n: (4, 3), "does not make 16"),
        (planned(none=None), "a list or a tuple|returns nothing"),
    ],
    "13.4": [
        (bce_dice_loss, "learns with it"),
        (lambda z, m: bce_dice_loss(z, m).detach(), "diagnose finds it: gradient"),
        (lambda z, m: 0 * z.sum(), "diagnose finds it: gradient"),
        (lambda z, m: bce_dice_loss(z, m).item(), "a tensor of one number"),
        (lambda z, m: z[:, 0], "one number is wanted"),
        (lambda z, m: z.sum() / 0, "diagnose finds it: non-finite"),
        (lambda z, m: ((z[:, 0] > 0) == m).float().mean(), "diagnose finds it: gradient"),
    ],
}  # fmt: skip
