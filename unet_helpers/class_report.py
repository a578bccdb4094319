"""Scores of many classes, as `evaluate` says them: means without the background, and each."""

from __future__ import annotations

from collections.abc import Sequence

from .metrics import Scores, iou, pool


def class_facts(scores: Scores, names: Sequence[str]) -> dict:
    """What `evaluate --json` says about many classes: the means without the background, and each.

    iou_pooled_per_class is taken over all pixels of the set, the others per image, then averaged.
    """
    pooled = iou(pool(scores.counts))[0].tolist()
    columns = {
        "dice_per_class": scores.per_class_dice,
        "iou_per_class": scores.per_class_iou,
        "iou_pooled_per_class": pooled,
    }
    return {
        "dice_foreground": scores.dice_foreground,
        "iou_foreground": scores.iou_foreground,
        **{key: dict(zip(names, values, strict=True)) for key, values in columns.items()},
    }


def class_table(scores: Scores, names: Sequence[str]) -> str:
    """`class_facts` as lines to print."""
    facts, width = class_facts(scores, names), max(map(len, names))
    columns = ("dice_per_class", "iou_per_class", "iou_pooled_per_class")
    lines = [f"without {names[0]}: Dice {facts['dice_foreground']:.4f}, IoU "
             f"{facts['iou_foreground']:.4f}",
             f"{'':<{width}}{'Dice':>8}{'IoU':>8}{'IoU, all images as one':>25}"]  # fmt: skip
    for name in names:
        one, two, three = (facts[column][name] for column in columns)
        lines.append(f"{name:<{width}}{one:8.4f}{two:8.4f}{three:25.4f}")
    return "\n".join(lines) + "\n"
