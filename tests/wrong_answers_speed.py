"""Plausible wrong answers to the exercises of notebook 11, and words that the message must hold.

WRONG: exercise -> list of (answer, pattern); several answers, or values, stand in a tuple.
GIVEN: what the check's cell passes on besides.
"""

from __future__ import annotations

import math

GIVEN: dict[str, tuple] = {}


def parts_of_a_step(weigh="size", clear="start", steps=1, whole=False, cut=None):
    """step_in_parts with its faults chosen."""

    def step_in_parts(model, optimizer, loss_fn, images, masks, parts):
        if clear == "start":
            optimizer.zero_grad()
        pairs = zip(images.chunk(1 if whole else parts), masks.chunk(1 if whole else parts),
                    strict=True)  # fmt: skip
        for x, y in list(pairs)[:cut]:
            if clear == "each":
                optimizer.zero_grad()
            weight = {"size": len(x) / len(images), "parts": 1 / parts, "none": 1}[weigh]
            (loss_fn(model(x), y) * weight).backward()
            if steps == "each":
                optimizer.step()
        if steps == 1:
            optimizer.step()

    return step_in_parts


def filled_up(parts):
    longest = max(map(len, parts))
    every = [dice for part in parts for dice in part]
    every += [every[0]] * (longest * len(parts) - len(every))
    return sum(every) / len(every)


def emptied(parts):
    every = []
    for part in parts:
        while part:
            every.append(part.pop())
    return sum(every) / len(every)


def with_rounding(how):
    def fewest_parts(batch_size, per_photo, room):
        for parts in range(1, batch_size + 1):
            if how(batch_size / parts) * per_photo <= room:
                return parts

    return fewest_parts


def without_limit(parts, name, wanted):
    left = sum(parts.values()) / wanted - (sum(parts.values()) - parts[name])
    return parts[name] / left if left else 1e9


def in_place(parts, name, wanted):
    total, part = sum(parts.values()), parts.pop(name)
    return part / (total / wanted - sum(parts.values()))


def halved(batch_size, per_photo, room):
    parts = 1
    while parts <= batch_size and math.ceil(batch_size / parts) * per_photo > room:
        parts *= 2
    return parts if parts <= batch_size else None


WRONG = {
    "11.1": [
        (lambda parts, name, wanted: wanted, "only a part of the whole"),
        (lambda p, name, wanted: sum(p.values()) / wanted - sum(p.values()) + p[name], "may take"),
        (lambda p, name, wanted: (sum(p.values()) / wanted - sum(p.values()) + p[name]) / p[name],
         "turn the fraction"),
        (without_limit, "impossible"),
        (lambda parts, name, wanted: None, "it is possible"),
        (in_place, "changes the dictionary"),
        (lambda p, name, wanted: p[name] / (sum(p.values()) / wanted), "must become"),
    ],
    "11.2": [
        (parts_of_a_step(whole=True), "7 photos went through the model at once"),
        (parts_of_a_step(weigh="parts"), "must count for less"),
        (parts_of_a_step(weigh="none"), "their sum is no mean"),
        (parts_of_a_step(clear="never"), "earlier step"),
        (parts_of_a_step(clear="each"), "cleared between|must count for less"),
        (parts_of_a_step(steps="each"), "2 steps were made"),
        (parts_of_a_step(steps=0), "no optimizer.step"),
        (parts_of_a_step(cut=1), "4 photos went through the model in all"),
        (lambda *parts: None, "not seen a photo"),
    ],
    "11.3": [
        (with_rounding(math.floor), "the largest of"),
        (with_rounding(lambda x: x), "the largest of"),
        (halved, "would do|not even one|but"),
        (lambda batch_size, per_photo, room: batch_size, "but 1 would do"),
        (lambda batch_size, per_photo, room: math.ceil(batch_size * per_photo / room),
         "the largest of|not even one"),
        (lambda batch_size, per_photo, room: None, "is there a return"),
        (lambda batch_size, per_photo, room: 0, "are none"),
    ],
    "11.4": [
        (lambda parts: sum(sum(p) / len(p) for p in parts if p) / sum(bool(p) for p in parts),
         "mean of the processes' means"),
        (lambda parts: sum(parts[0]) / len(parts[0]), "first process"),
        (filled_up, "counts twice"),
        (emptied, "changes the lists"),
        (lambda parts: sum(sum(part) for part in parts), "mean over all photos is"),
        (lambda parts: [sum(part) for part in parts], "a number is wanted"),
    ],
}  # fmt: skip
