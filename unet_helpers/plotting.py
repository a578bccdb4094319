"""Curves and distributions of the course, and the one place notebooks import pictures from.

``plot_`` functions return a matplotlib figure, ``show(fig, alt)`` displays one, and ``show_``
functions do both. The pictures themselves live in :mod:`unet_helpers.pictures`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from unet_helpers.class_pictures import (
    overlay_classes,
    plot_class_bars,
    plot_classes,
    plot_confusion,
    show_classes,
)
from unet_helpers.environment import CourseError
from unet_helpers.pictures import (
    difference,
    overlay,
    plot_photos,
    plot_predictions,
    show,
    show_pairs,
    show_photos,
    show_picture,
    show_predictions,
)
from unet_helpers.records import bar
from unet_helpers.sources import parse_stem

__all__ = [
    "dice_by_angle",
    "difference",
    "draw_seeds",
    "overlay",
    "overlay_classes",
    "plot_class_bars",
    "plot_classes",
    "plot_confusion",
    "plot_dice_by_angle",
    "plot_dice_histogram",
    "plot_history",
    "plot_photos",
    "plot_predictions",
    "plot_time_bars",
    "show",
    "show_classes",
    "show_pairs",
    "show_photos",
    "show_picture",
    "show_predictions",
    "show_worst",
]

# Okabe and Ito's palette: these colours stay apart under every common form of colour blindness.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, GREY = "#56B4E9", "#7F7F7F"
SEED_MARKS = "o^sDvP"  # one shape a seed, the same in every row

STYLE = {
    "figure.dpi": 90,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
}

# The parts of an epoch in the order in which a photo goes through them.
TIME_PARTS = {
    "decode": ORANGE,
    "augment": SKY,
    "transfer": "#F0E442",
    "forward": GREEN,
    "backward": BLUE,
    "step": GREY,
}

Row = Mapping[str, object]


def plot_history(history: Sequence[Row]) -> Figure:
    """Loss and Dice by epoch, from the rows that ``training.fit`` returns.

    Raises CourseError for an empty history.
    """
    rows = list(history)
    if not rows:
        raise CourseError(
            "a training history",
            expected="at least one epoch",
            found="no rows",
            mend="train for an epoch first, or read history.csv of a finished run",
        )
    epochs = [float(row["epoch"]) for row in rows]
    with plt.rc_context(STYLE):
        fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        for key, label, colour in (
            ("train_loss", "training", GREY),
            ("val_loss", "validation", BLUE),
        ):
            left.plot(epochs, _column(rows, key), "o-", ms=3, color=colour, label=label)
        for key, label, colour in (
            ("dice_mean", "mean over images", BLUE),
            ("dice_p10", "10th percentile", ORANGE),
        ):
            right.plot(epochs, _column(rows, key), "o-", ms=3, color=colour, label=label)
        for axis, title in ((left, "Loss"), (right, "Validation Dice")):
            axis.set(title=title, xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend()
    return fig


def _column(rows: Sequence[Row], key: str) -> list[float]:
    values = [row.get(key) for row in rows]
    return [float("nan") if value in (None, "") else float(value) for value in values]


def _dices(per_image: Iterable[Row | float]) -> np.ndarray:
    values = [row["dice"] if isinstance(row, Mapping) else row for row in per_image]
    if not values:
        raise CourseError(
            "Dice per image",
            expected="at least one image",
            found="none",
            mend="pass scores.per_image of check_accuracy",
        )
    return np.asarray(values, dtype=np.float64)


def plot_dice_histogram(per_image: Iterable[Row | float], bins: int = 30) -> Figure:
    """How many images reach which Dice, with the mean and the 10th percentile marked.

    per_image: rows with a "dice" (``scores.per_image``) or plain numbers in 0–1.
    """
    dices = _dices(per_image)
    with plt.rc_context(STYLE):
        fig, axis = plt.subplots(figsize=(7, 3), layout="constrained")
        axis.hist(dices, bins=bins, color=SKY, edgecolor="white")
        marks = (
            ("mean", dices.mean(), BLUE, "-"),
            ("10th percentile", np.quantile(dices, 0.1), RED, "--"),
        )
        for label, value, colour, line in marks:
            axis.axvline(value, color=colour, linestyle=line, label=f"{label} {value:.3f}")
        axis.set(xlabel="Dice of one image", ylabel="images")
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    return fig


def dice_by_angle(per_image: Iterable[Row]) -> dict[int, list[float]]:
    """Angle number (1–16, in the order the turntable takes them) -> Dice of its images."""
    groups: defaultdict[int, list[float]] = defaultdict(list)
    for row in per_image:
        groups[parse_stem(str(row["stem"]))[1]].append(float(row["dice"]))
    return {angle: groups[angle] for angle in sorted(groups)}


def plot_dice_by_angle(per_image: Iterable[Row]) -> Figure:
    """Dice of every image over its angle number, with the mean of each angle.

    per_image: rows with "stem" (``<car>_<NN>``) and "dice". Angles without an image stay empty.
    """
    groups = dice_by_angle(per_image)
    with plt.rc_context(STYLE):
        fig, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
        for angle, values in groups.items():
            label = "one image" if angle == next(iter(groups)) else None
            axis.plot([angle] * len(values), values, "o", color=SKY, ms=4, alpha=0.6, label=label)
        means = [float(np.mean(values)) for values in groups.values()]
        axis.plot(list(groups), means, "_", color=BLUE, ms=16, mew=2.5, label="mean of the angle")
        axis.set(xlabel="angle (the 16 photos of one turn, 22.5° apart)", ylabel="Dice")
        axis.set_xticks(range(1, 17))
        axis.set_xlim(0.4, 16.6)
        axis.legend(loc="lower right")
    return fig


def draw_seeds(
    axis: plt.Axes,
    groups: Mapping[str, Mapping[int, float]],
    label: str,
    bars: str = "standard deviation",
    asked: int = 3,
) -> None:
    """A line for each group: a mark for each seed, their mean, and an error bar around it.

    A seed has the same shape in every group, and thin lines join its marks: what is compared seed
    by seed belongs together. The shapes are labelled, so that a legend can name the seeds.

    groups: name -> score by seed, as ``records.by_variant`` gives them; the first stands on top.
    label: what the scores are. bars: what the error bars show, one of ``records.BARS``. asked: how
    many seeds there should be; a group with fewer says so beside its name.
    """
    names = []
    for row, (name, scores) in enumerate(groups.items()):
        values = list(scores.values())
        few = f"\n{len(values)} of {asked} seeds" if len(values) < asked else ""
        names.append(f"{name}{few}")
        if not values:
            continue
        reach = bar(values, bars)
        axis.errorbar(
            np.mean(values), row, xerr=None if np.isnan(reach) else reach, fmt="|", color=BLUE,
            ms=14, mew=2.5, elinewidth=1.5, capsize=4,
        )  # fmt: skip
    seeds = sorted({seed for scores in groups.values() for seed in scores})
    for seed, mark in zip(seeds, cycle(SEED_MARKS), strict=False):
        # The marks stand a little below the bar, or they would hide it.
        marks = [(s[seed], row + 0.22) for row, s in enumerate(groups.values()) if seed in s]
        x, y = zip(*marks, strict=True)
        axis.plot(x, y, color=GREY, lw=0.8, zorder=1)
        axis.plot(x, y, mark, color=ORANGE, ms=5, mec="white", mew=0.4, label=f"seed {seed}")
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=label, ylim=(len(names) - 0.5, -0.5))


def plot_time_bars(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """One bar a row, made of the milliseconds per photo that each part of an epoch takes.

    rows: label -> part -> milliseconds; parts as in TIME_PARTS, others in grey. The figure at the
    end of a bar is their sum.
    """
    with plt.rc_context(STYLE):
        fig, axis = plt.subplots(figsize=(9, 1.1 + 0.42 * len(rows)), layout="constrained")
        seen: set[str] = set()
        for number, parts in enumerate(rows.values()):
            left = 0.0
            for name, value in parts.items():
                label = name if name not in seen else None
                colour = TIME_PARTS.get(name, GREY)
                axis.barh(number, value, left=left, color=colour, edgecolor="white", label=label)
                seen.add(name)
                left += value
            axis.text(left, number, f" {left:.1f}", va="center")
        axis.set_yticks(range(len(rows)), list(rows))
        axis.set(xlabel="milliseconds a photo")
        axis.margins(x=0.08)
        axis.invert_yaxis()
        axis.grid(False, axis="y")
        fig.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return fig


def show_worst(
    per_image: Iterable[Row],
    look_up: Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]],
    count: int = 4,
) -> None:
    """The ``count`` images with the lowest Dice, worst first, in :func:`plot_predictions`' rows.

    per_image: rows with "stem" and "dice"; look_up(stem) gives photo, mask and prediction of one
    image, so only the images that are drawn are ever held in memory.
    """
    worst = sorted(per_image, key=lambda row: (float(row["dice"]), str(row["stem"])))[:count]
    photos, masks, predictions = zip(*(look_up(str(row["stem"])) for row in worst), strict=True)
    titles = [f"{row['stem']}  Dice {float(row['dice']):.3f}" for row in worst]
    alt = f"The {len(worst)} images with the lowest Dice, worst first: {'; '.join(titles)}."
    show_predictions(photos, masks, predictions, titles, alt=alt)
