"""Pictures of many classes: class-coloured overlays with a legend, confusion matrices, bars.

Notebooks import all of this from :mod:`unet_helpers.plotting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from unet_helpers.environment import CourseError
from unet_helpers.labels import Colour, class_colours
from unet_helpers.pictures import plot_photos, show

WRONG_COLOUR = (213, 94, 0)
IGNORED_COLOUR = (255, 255, 255)


def paint(
    picture: np.ndarray, labels: np.ndarray, colours: Sequence[Colour], opacity: float
) -> np.ndarray:
    """Tint the pixels with label 1, 2, … in the first, second, … colour; label 0 stays as it is.

    picture (H, W, 3) uint8, labels (H, W) from 0 to len(colours), opacity 0 to 1. Returns a new
    picture.
    """
    table = np.array([(0, 0, 0), *colours], np.float32)
    inside = labels > 0
    painted = picture.copy()
    mixed = (1 - opacity) * picture[inside] + opacity * table[labels[inside]]
    painted[inside] = np.rint(mixed).astype(np.uint8)
    return painted


def overlay_classes(
    photo: np.ndarray,
    labels: np.ndarray,
    classes: int,
    opacity: float = 0.6,
    ignore_index: int | None = None,
) -> np.ndarray:
    """The photo with the pixels of every class but the background tinted in its colour.

    photo (H, W, 3) uint8, labels (H, W) uint8 of 0 to classes - 1, opacity 0 to 1; pixels with
    ignore_index become white. Returns a new (H, W, 3) uint8. Raises CourseError for another size
    than the photo's, and for a value that is no class.
    """
    labels = np.asarray(labels)
    if labels.shape != photo.shape[:2]:
        raise CourseError(
            "labels drawn on a photo",
            expected=f"labels of the photo's size, {photo.shape[0]}×{photo.shape[1]}",
            found="×".join(map(str, labels.shape)),
            mend="resize the labels with nearest neighbour, or read both at the same size",
        )
    ignored = labels == (-1 if ignore_index is None else ignore_index)
    shown = np.where(ignored, 0, labels)
    if shown.min() < 0 or shown.max() >= classes:
        raise CourseError(
            "labels drawn on a photo",
            expected=f"class indices from 0 to {classes - 1}",
            found=f"values from {shown.min()} to {shown.max()}",
            mend="pass the number of classes, the background included, or an ignore_index",
        )
    picture = paint(photo, shown, class_colours(classes - 1), opacity)
    picture[ignored] = IGNORED_COLOUR
    return picture


def plot_classes(
    photos: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    names: Sequence[str],
    predictions: Sequence[np.ndarray] | None = None,
    titles: Sequence[str] | None = None,
    *,
    width: float = 10.0,
    ignore_index: int | None = None,
) -> Figure:
    """One row a photo: photo, labels and, if given, the prediction and where it is wrong.

    photos (H, W, 3) uint8; labels and predictions (H, W) uint8 class indices; names: one a class,
    the background first. In the last column pixels of a wrong class are orange-red.
    """
    count, pictures, heads = len(names), [], []
    for number, (photo, truth) in enumerate(zip(photos, labels, strict=True)):
        pictures += [photo, overlay_classes(photo, truth, count, ignore_index=ignore_index)]
        heads += [titles[number] if titles else "photo", "labels"]
        if predictions is not None:
            predicted = predictions[number]
            wrong = (predicted != truth) & (truth != (-1 if ignore_index is None else ignore_index))
            grey = (photo.mean(axis=2, keepdims=True) * 0.5 + 127).repeat(3, axis=2)
            grey[wrong] = WRONG_COLOUR
            pictures += [overlay_classes(photo, predicted, count), grey.astype(np.uint8)]
            heads += ["prediction", "wrong"]
    fig = plot_photos(pictures, heads, columns=2 if predictions is None else 4, width=width)
    patches = [
        Patch(color=np.asarray(colour) / 255, label=name)
        for colour, name in zip(class_colours(count - 1), names[1:], strict=True)
    ]
    if ignore_index is not None:
        patches.append(Patch(facecolor="white", edgecolor="grey", label="ignored"))
    fig.set_figheight(fig.get_figheight() + 0.3)
    fig.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False,
               fontsize=9)  # fmt: skip
    return fig


def show_classes(
    photos: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    names: Sequence[str],
    predictions: Sequence[np.ndarray] | None = None,
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    width: float = 10.0,
    ignore_index: int | None = None,
) -> None:
    """:func:`plot_classes`, displayed with its alt text."""
    options = {"width": width, "ignore_index": ignore_index}
    show(plot_classes(photos, labels, names, predictions, titles, **options), alt)


def plot_confusion(matrix: torch.Tensor | np.ndarray, names: Sequence[str]) -> Figure:
    """A confusion matrix, rows the true classes, as shares of each row.

    matrix: (C, C) counts of pixels. Darker is more; the diagonal is what was right. A class that
    does not occur has an empty row. Raises CourseError for a matrix that does not fit the names.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.shape != (len(names), len(names)):
        raise CourseError(
            "the confusion matrix",
            expected=f"({len(names)}, {len(names)}), a row and a column for each name",
            found=str(counts.shape),
            mend="sum it over the images first: confusion_matrix(…).sum(dim=0)",
        )
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.full_like(counts, np.nan), where=rows > 0)
    side = 1.8 + 0.62 * len(names)
    fig, axis = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
    axis.imshow(np.nan_to_num(shares) ** 0.5, cmap="Blues", vmin=0, vmax=1)  # small shares show
    for (row, column), share in np.ndenumerate(shares):
        text = "" if np.isnan(share) else f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"
        colour = "white" if share > 0.4 else "black"
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="called", ylabel="is")
    axis.tick_params(length=0)
    return fig


def plot_class_bars(
    scores: Mapping[str, Sequence[float]], names: Sequence[str], ylabel: str = "Dice"
) -> Figure:
    """Bars side by side: for each class one of every entry of `scores`, in 0 to 1.

    scores: what the legend says -> one value a class. names: one a class. Raises CourseError for
    another number of values.
    """
    for label, values in scores.items():
        if len(values) != len(names):
            raise CourseError(
                f"the bars of {label}",
                expected=f"{len(names)} values, one for each of {', '.join(names)}",
                found=str(len(values)),
                mend="give the score of every class, such as per_class_dice",
            )
    fig, axis = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    width, middle = 0.8 / len(scores), np.arange(len(names))
    for number, (label, values) in enumerate(scores.items()):
        places = middle + (number - (len(scores) - 1) / 2) * width
        colour = np.asarray(BAR_COLOURS[number % len(BAR_COLOURS)]) / 255
        bars = axis.bar(places, values, width * 0.94, color=colour, label=label)
        axis.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
    axis.set_xticks(middle, names)
    axis.set(ylabel=ylabel, ylim=(0, 1.1))
    axis.spines[["top", "right"]].set_visible(False)
    if len(scores) > 1:
        fig.legend(loc="outside upper center", ncols=len(scores), frameon=False, fontsize=9)
    return fig


BAR_COLOURS = ((86, 180, 233), (0, 114, 178), (230, 159, 0), (0, 158, 115))
