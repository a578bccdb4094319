"""The map of the course: one stop a notebook, with a picture of what is made there.

Numbers and titles are read from the notebooks; the pictures come from one test car of the built-in
pack, the shipped network and the records of trainings.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import nbformat
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from tools.drawings.cars import ANGLE, pair_of, studio_cars
from unet_helpers.checkpoint import load_model
from unet_helpers.class_pictures import overlay_classes
from unet_helpers.dataset import denormalize, train_transform
from unet_helpers.environment import course_root
from unet_helpers.inference import predict_probability, replace_background
from unet_helpers.labels import RED
from unet_helpers.pictures import difference, figure_png, overlay
from unet_helpers.plotting import BLUE, GREEN, GREY, ORANGE, TIME_PARTS
from unet_helpers.records import bar, by_variant, read_records
from unet_helpers.run_folder import read_history
from unet_helpers.scenes import gradient
from unet_helpers.windows import window_starts, window_stride

COLUMNS = 5
CLASSES = 5  # background, body, window, wheel, light


@dataclass(frozen=True)
class Car:
    """A test car seen from 16 sides, as the shipped network sees it; sizes those of its training.

    photos uint8 (16, H, W, 3), masks uint8 (16, H, W), probabilities float (16, H, W), parts: the
    class indices (H, W) of one angle; heaps: how many cars are for training, validation and test;
    history: one row an epoch of the training.
    """

    photos: np.ndarray
    masks: np.ndarray
    probabilities: np.ndarray
    parts: np.ndarray
    heaps: tuple[int, int, int]
    history: list[dict]

    @property
    def predicted(self) -> np.ndarray:
        return (self.probabilities > 0.5).astype(np.uint8)

    @property
    def dices(self) -> np.ndarray:
        shared = (self.masks & self.predicted).sum(axis=(1, 2))
        return 2 * shared / (self.masks.sum(axis=(1, 2)) + self.predicted.sum(axis=(1, 2)))


def look_up() -> Car:
    """The second test car of the built-in pack."""
    root = course_root()
    model, config = load_model(root / "data" / "weights" / "studio.safetensors")
    size = (config.height, config.width)
    with studio_cars() as prepared:
        car = prepared.cars("test")[1]
        pairs = [pair_of(prepared, car, angle, size) for angle in range(1, 17)]
        heaps = tuple(len(prepared.cars(split)) for split in ("train", "val", "test"))
    photos, masks = zip(*pairs, strict=True)
    probabilities = [predict_probability(model, photo, size) for photo in photos]
    history = read_history(root / "data" / "records" / "studio.csv")
    return Car(
        np.stack(photos), np.stack(masks), np.stack(probabilities), parts_of(car, size), heaps,
        history,
    )  # fmt: skip


def parts_of(car: str, size: tuple[int, int]) -> np.ndarray:
    """Part labels (H, W) of a built-in car at ANGLE."""
    with zipfile.ZipFile(course_root() / "data" / "studio" / "train_parts.zip") as archive:
        data = archive.read(f"train_parts/{car}_{ANGLE:02d}_parts.png")
    return np.asarray(Image.open(io.BytesIO(data)).resize(size[::-1], Image.Resampling.NEAREST))


def draw_result(axis: Axes, car: Car) -> None:
    axis.imshow(overlay(car.photos[ANGLE - 1], car.predicted[ANGLE - 1]))


def draw_pair(axis: Axes, car: Car) -> None:
    half = car.masks.shape[2] // 2
    mask = np.repeat(255 * car.masks[ANGLE - 1][..., None], 3, axis=2)
    axis.imshow(np.concatenate([car.photos[ANGLE - 1][:, :half], mask[:, half:]], axis=1))


def draw_heaps(axis: Axes, car: Car) -> None:
    """One square a car, in rows; colours say training, validation, test."""
    colours = [c for c, n in zip((GREY, ORANGE, BLUE), car.heaps, strict=True) for _ in range(n)]
    columns = int(np.ceil(np.sqrt(1.5 * len(colours))))
    for index, colour in enumerate(colours):
        row, column = divmod(index, columns)
        axis.add_patch(plt.Rectangle((column, -row), 0.8, 0.8, color=colour))
    rows = -(-len(colours) // columns)
    axis.set(xlim=(-0.3, columns + 0.1), ylim=(0.2 - rows, 1.1))


def draw_augmented(axis: Axes, car: Car) -> None:
    transform = train_transform(*car.masks.shape[1:], "strong")
    transform.set_random_seed(3)
    out = transform(image=car.photos[ANGLE - 1], mask=car.masks[ANGLE - 1])
    axis.imshow(overlay(denormalize(out["image"]), out["mask"].numpy(), alpha=0.35))


def draw_u(axis: Axes, car: Car) -> None:
    for index in range(9):
        level = min(index, 8 - index)
        height = 0.8 ** (2 * level)
        colour = GREEN if level == 4 else BLUE if index < 4 else ORANGE
        axis.add_patch(
            plt.Rectangle((index, -0.62 * level - height / 2), 0.55, height, color=colour)
        )
        if index < 4:
            axis.plot((index + 0.6, 7.95 - index), (-0.62 * level,) * 2, color=GREY, lw=1)
    axis.set(xlim=(-0.5, 9), ylim=(-3.1, 0.9))


def draw_difference(axis: Axes, car: Car) -> None:
    worst = int(car.dices.argmin())
    axis.imshow(difference(car.photos[worst], car.masks[worst], car.predicted[worst]))


def draw_curve(axis: Axes, car: Car) -> None:
    dices = [row["dice_mean"] for row in car.history]
    axis.plot(range(1, len(dices) + 1), dices, "o-", color=BLUE, ms=3)
    axis.set(xlim=(0, len(dices) + 1), ylim=(min(dices) - 0.05, 1.02))


def draw_angles(axis: Axes, car: Car) -> None:
    axis.bar(range(1, 17), car.dices, color=BLUE)
    axis.set(ylim=(car.dices.min() - 0.01, min(car.dices.max() + 0.005, 1)))


def draw_cut_out(axis: Axes, car: Car) -> None:
    sky = gradient(car.masks.shape[1:], (40, 80, 150), (250, 150, 80))
    axis.imshow(replace_background(car.photos[ANGLE - 1], car.probabilities[ANGLE - 1], sky))


def draw_parts(axis: Axes, car: Car) -> None:
    axis.imshow(overlay_classes(car.photos[ANGLE - 1], car.parts, CLASSES, opacity=0.8))


def draw_windows(axis: Axes, car: Car) -> None:
    """The photo under a grid of overlapping windows, one of them filled."""
    axis.imshow(car.photos[ANGLE - 1])
    window = car.masks.shape[1] // 2
    stride = window_stride(window, 0.5)
    tops, lefts = (window_starts(length, window, stride) for length in car.masks.shape[1:])
    for top in tops:
        for left in lefts:
            axis.add_patch(plt.Rectangle((left, top), window, window, ec=BLUE, fc="none", lw=0.8))
    middle = (lefts[len(lefts) // 2], tops[len(tops) // 2])
    axis.add_patch(plt.Rectangle(middle, window, window, ec=ORANGE, fc=to_rgba(ORANGE, 0.35), lw=2))


def draw_mispaired(axis: Axes, car: Car) -> None:
    """A photo under the mask of another angle, as a program that pairs by sort order takes it."""
    other = (ANGLE + 3) % len(car.masks)
    axis.imshow(overlay(car.photos[ANGLE - 1], car.masks[other], RED, alpha=0.6))


def draw_error_bars(axis: Axes, car: Car) -> None:
    """Test Dice over the learning rates, with BatchNorm and without: mean and spread of seeds."""
    records = read_records(course_root() / "data" / "records" / "ablations.jsonl")
    dices = by_variant(records, "batchnorm")
    for norm, colour in (("with", BLUE), ("without", ORANGE)):
        seeds = [list(v.values()) for name, v in dices.items() if name.startswith(f"{norm}, ")]
        scored = [place for place, values in enumerate(seeds) if values]  # not all diverged
        axis.errorbar(
            scored, [np.mean(seeds[place]) for place in scored],
            yerr=[bar(seeds[place]) for place in scored], fmt="o-", ms=3, capsize=2, color=colour,
        )  # fmt: skip


def draw_bars(axis: Axes, car: Car) -> None:
    """Three epochs as bars of their parts, each without what was the longest part before."""
    parts = {"decode": 12, "augment": 1, "forward": 4, "backward": 8}  # a sketch, not measured
    faster = ({}, {"decode": 12}, {"decode": 12, "forward": 2, "backward": 2})
    for line, times in enumerate(faster):
        left = 0.0
        for name, long in parts.items():
            length = long / times.get(name, 1)
            axis.barh(line, length, left=left, height=0.7, color=TIME_PARTS[name], ec="white")
            left += length
    axis.invert_yaxis()


PICTURES: dict[str, Callable[[Axes, Car], None]] = {
    "00": draw_result,
    "01": draw_pair,
    "02": draw_heaps,
    "03": draw_augmented,
    "04": draw_u,
    "05": draw_difference,
    "06": draw_curve,
    "07": draw_angles,
    "08": draw_cut_out,
    "09": draw_parts,
    "10": draw_windows,
    "11": draw_bars,
    "12": draw_error_bars,
    "13": draw_mispaired,
}


def stops() -> dict[str, str]:
    """Number and title of every notebook: {"00": "Start here", …}."""
    found = {}
    for path in sorted((course_root() / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        first = nbformat.read(path, as_version=4).cells[0].source
        match = re.match(r"# (\d\d) · (.+)", first)
        if match is None:
            raise SystemExit(
                f"error: {path.name}: expected a first line like '# 04 · Build the U-Net'"
            )
        found[match[1]] = match[2]
    return found


def draw_road(titles: dict[str, str], car: Car) -> Figure:
    """Stops in rows, the second from right to left, joined by a line."""
    rows = -(-len(titles) // COLUMNS)
    fig = plt.figure(figsize=(12, 2.1 * rows))
    back = fig.add_axes((0, 0, 1, 1))
    back.set(xlim=(0, COLUMNS), ylim=(-rows, 0))
    back.set_axis_off()
    places = []
    for index in range(len(titles)):
        row, column = divmod(index, COLUMNS)
        places.append((column + 0.5 if row % 2 == 0 else COLUMNS - column - 0.5, -row - 0.42))
    back.plot(*zip(*places, strict=True), color=ORANGE, lw=5, alpha=0.6, solid_joinstyle="round")
    for (number, title), (x, y) in zip(titles.items(), places, strict=True):
        box = ((x - 0.36) / COLUMNS, 1 + (y - 0.3) / rows, 0.72 / COLUMNS, 0.6 / rows)
        axis = fig.add_axes(box)
        if number in PICTURES:
            PICTURES[number](axis, car)
        axis.set(xticks=[], yticks=[])
        text = back.text(x, y - 0.34, f"{number} · {title}", ha="center", va="top", fontsize=11)
        text.set_bbox({"fc": "white", "ec": "none", "pad": 2})
    return fig


def road() -> bytes:
    """The map as a PNG."""
    fig = draw_road(stops(), look_up())
    png = figure_png(fig, dpi=96)
    plt.close(fig)
    return png
