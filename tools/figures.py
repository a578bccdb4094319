"""Draws every picture in figures/ again: python tools/figures.py (or make figures)."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from unet_helpers.checkpoint import load_model  # noqa: E402
from unet_helpers.dataset import read_mask, read_photo  # noqa: E402
from unet_helpers.inference import predict_mask, predict_probability, replace_background  # noqa: E402
from unet_helpers.pictures import figure_png, plot_photos  # noqa: E402
from unet_helpers.sources import open_source  # noqa: E402
from unet_helpers.split import prepare  # noqa: E402

ANGLE = 3  # three quarters from the front


def evening_sky(height: int, width: int) -> np.ndarray:
    """A drawn background: a sky from blue to orange over a dark ground, uint8 (H, W, 3)."""
    down = np.linspace(0, 1, height)[:, None, None]  # (H, 1, 1)
    sky = (1 - down) * np.array([40, 80, 150]) + down * np.array([250, 150, 80])  # (H, 1, 3)
    ground = np.full((1, 1, 3), 60.0) * (1.5 - down)
    picture = np.where(down < 0.62, sky, ground)
    return np.broadcast_to(picture, (height, width, 3)).round().astype(np.uint8)


def hero() -> bytes:
    """Photo, true mask, prediction and new background of a studio car from the test split."""
    model, config = load_model(ROOT / "data" / "weights" / "studio.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(open_source("studio"), Path(folder), progress=False)
        stem = f"{prepared.cars('test')[1]}_{ANGLE:02d}"
        photo = read_photo(prepared.images("test") / f"{stem}.jpg")
        mask = read_mask(prepared.masks("test") / f"{stem}_mask.gif")
    size = (config.height, config.width)
    soft = predict_probability(model, photo, size)
    placed = replace_background(photo, soft, evening_sky(*photo.shape[:2]))
    pictures = [photo, mask, predict_mask(model, photo, size), placed]
    titles = ["a photo the network has not seen", "its mask", "the network's mask", "and away"]
    figure = plot_photos(pictures, titles, columns=4, width=12)
    png = figure_png(figure, dpi=110)
    plt.close(figure)
    return png


FIGURES = {"hero.png": hero}


def main() -> None:
    folder = ROOT / "figures"
    folder.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        (folder / name).write_bytes(draw())
        print(f"figures/{name}")


if __name__ == "__main__":
    main()
