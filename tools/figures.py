"""Draws every picture in figures/ again: python tools/figures.py (or make figures)."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from tools.drawings.cars import pair_of, studio_cars  # noqa: E402
from tools.drawings.road import road  # noqa: E402
from tools.drawings.unet import unet  # noqa: E402
from unet_helpers.checkpoint import load_model  # noqa: E402
from unet_helpers.inference import predict_mask, predict_probability, replace_background  # noqa: E402
from unet_helpers.pictures import figure_png, overlay, plot_photos  # noqa: E402

AREA = cv2.INTER_AREA
SHEET_ANGLES, THUMBNAIL = range(1, 17, 2), (96, 144)
# Rows of the table in transfer.png, and where tools/benchmark.py transfer --json has their figures.
TRANSFER_ROWS = [
    ("mean over all photos", "dice_mean"),
    ("a tenth of the photos is below", "dice_p10"),
    ("worst of the 16 angles", "worst_angle"),
    ("worst car", "worst_car"),
    ("for scale: one mean mask for all", "mean_mask"),
    ("one mean mask for each angle", "mean_mask_per_angle"),
]


def evening_sky(height: int, width: int) -> np.ndarray:
    """A drawn background: a sky from blue to orange over a dark ground, uint8 (H, W, 3)."""
    down = np.linspace(0, 1, height)[:, None, None]  # (H, 1, 1)
    sky = (1 - down) * np.array([40, 80, 150]) + down * np.array([250, 150, 80])  # (H, 1, 3)
    ground = np.full((1, 1, 3), 60.0) * (1.5 - down)
    picture = np.where(down < 0.62, sky, ground)
    return np.broadcast_to(picture, (height, width, 3)).round().astype(np.uint8)


def hero() -> bytes:
    """Photo, true mask, prediction and new background of the darkest car of the test split."""
    model, config = load_model(ROOT / "data" / "weights" / "studio.safetensors")
    with studio_cars() as prepared:
        pairs = [pair_of(prepared, car) for car in prepared.cars("test")]
    photo, mask = min(pairs, key=lambda pair: pair[0][pair[1] > 0].mean())
    size = (config.height, config.width)
    soft = predict_probability(model, photo, size)
    placed = replace_background(photo, soft, evening_sky(*photo.shape[:2]))
    pictures = [photo, mask, predict_mask(model, photo, size), placed]
    titles = ["a photo the network has not seen", "its mask", "the network's mask", "and away"]
    figure = plot_photos(pictures, titles, columns=4, width=12)
    png = figure_png(figure, dpi=110)
    plt.close(figure)
    return png


def contact_sheet() -> bytes:
    """A car of each style (rows) at every other angle (columns)."""
    with (ROOT / "data" / "studio" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cars = {row["style"]: row["id"] for row in reversed(rows)}  # the first car of each style
    size, styles = (len(cars), len(SHEET_ANGLES)), sorted(cars)
    with studio_cars() as prepared:
        photos = [
            cv2.resize(pair_of(prepared, cars[s], a)[0], THUMBNAIL[::-1], interpolation=AREA)
            for s in styles for a in SHEET_ANGLES
        ]  # fmt: skip
    figure, axes = plt.subplots(
        *size, figsize=(1.5 * size[1] + 0.4, 1.02 * size[0] + 0.2),
        gridspec_kw={"wspace": 0.02, "hspace": 0.02},
    )  # fmt: skip
    for axis, photo in zip(axes.flat, photos, strict=True):
        axis.imshow(photo)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, style in zip(axes[:, 0], styles, strict=True):
        axis.set_ylabel(style, fontsize=8)
    for axis, angle in zip(axes[0], SHEET_ANGLES, strict=True):
        axis.set_title(f"{angle:02d}", fontsize=8)
    png = figure_png(figure, dpi=96)
    plt.close(figure)
    return png


def transfer() -> bytes:
    """What was trained on drawn cars, on a drawn car, and its figures on photographed ones."""
    model, config = load_model(ROOT / "data" / "weights" / "studio.safetensors")
    record = json.loads((ROOT / "data" / "records" / "transfer.json").read_text(encoding="utf-8"))
    with studio_cars() as prepared:
        photo, _ = pair_of(prepared, prepared.cars("test")[0])
    predicted = predict_mask(model, photo, (config.height, config.width))
    figure, axes = plt.subplots(1, 3, figsize=(12, 2.8), layout="constrained")
    for axis, picture, title in zip(
        axes, [photo, overlay(photo, predicted)],
        ["trained on drawn cars like this one …", "… it finds a new one …"], strict=False,
    ):  # fmt: skip
        axis.imshow(picture)
        axis.set_title(title, fontsize=10)
    axes[2].set_title(f"… and cars on {record['images']:,} real photos", fontsize=10)
    table = axes[2].table(
        [[name, f"{record[key]:.3f}"] for name, key in TRANSFER_ROWS],
        colLabels=["", "Dice"], colWidths=[0.78, 0.22], loc="center", cellLoc="left",
    )  # fmt: skip
    table.scale(1, 1.5)
    for axis in axes:
        axis.set_axis_off()
    png = figure_png(figure, dpi=96)
    plt.close(figure)
    return png


FIGURES = {
    "hero.png": hero,
    "road.png": road,
    "unet.png": unet,
    "contact_sheet.png": contact_sheet,
    "transfer.png": transfer,
}


def main() -> None:
    folder = ROOT / "figures"
    folder.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        (folder / name).write_bytes(draw())
        print(f"figures/{name}")


if __name__ == "__main__":
    main()
