"""Size statistics of a pack's masks, and how far they are from another pack's.

`python -m tools.studio.measure data/studio ../shared/carvana` prints the table of the card.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

COLUMNS = ("area", "left", "right", "top", "bottom")
SMALL = (128, 192)  # height, width at which mean masks are compared


def read_masks(folder: Path, every: int = 1) -> dict[int, list[np.ndarray]]:
    """Masks (H, W) bool by angle, of every n-th car, out of folder/train_masks.zip."""
    masks: dict[int, list[np.ndarray]] = {}
    with zipfile.ZipFile(folder / "train_masks.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".gif"))
        cars = sorted({Path(name).name[:12] for name in names})[::every]
        for name in names:
            car, angle = Path(name).name[:12], int(Path(name).name[13:15])
            if car in set(cars):
                image = Image.open(io.BytesIO(archive.read(name)))
                masks.setdefault(angle, []).append(np.asarray(image) > 0)
    return masks


def box(mask: np.ndarray) -> tuple[float, ...]:
    """(area, left, right, top, bottom) of one mask as shares of the picture."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    high, wide = mask.shape
    return (float(mask.mean()), columns[0] / wide, (columns[-1] + 1) / wide, rows[0] / high,
            (rows[-1] + 1) / high)  # fmt: skip


def size_table(masks: dict[int, list[np.ndarray]]) -> dict[int, np.ndarray]:
    """By angle: (2, 5) mean and standard deviation over cars of COLUMNS."""
    boxes = {angle: np.array([box(mask) for mask in masks[angle]]) for angle in sorted(masks)}
    return {angle: np.stack([b.mean(axis=0), b.std(axis=0)]) for angle, b in boxes.items()}


def mean_mask_dice(masks: dict[int, list[np.ndarray]]) -> float:
    """Mean Dice that the best constant mask (mean mask above one half) has on a pack."""
    small = [
        cv2.resize(mask.astype(np.uint8), SMALL[::-1], interpolation=cv2.INTER_NEAREST)
        for group in masks.values() for mask in group
    ]  # fmt: skip
    return float(dice_of_mean_mask(np.stack(small).astype(bool)).mean())


def dice_of_mean_mask(masks: np.ndarray) -> np.ndarray:
    """Dice (N,) that the mean mask, car where most of the masks are, has on each (N, H, W) bool."""
    guess = masks.mean(axis=0) > 0.5  # (H, W)
    both = (masks & guess).sum(axis=(1, 2))
    return 2 * both / (masks.sum(axis=(1, 2)) + guess.sum())


def main(folders: list[str]) -> None:
    packs = [read_masks(Path(folder)) for folder in folders]
    tables = [size_table(masks) for masks in packs]
    print("| angle | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for angle in tables[0]:
        cells = []
        for column in range(len(COLUMNS)):
            values = [f"{t[angle][0, column]:.3f} ± {t[angle][1, column]:.3f}" for t in tables]
            cells.append(" / ".join(values))
        print(f"| {angle:02d} | " + " | ".join(cells) + " |")
    print("mean mask Dice: " + " / ".join(f"{mean_mask_dice(masks):.3f}" for masks in packs))


if __name__ == "__main__":
    main(sys.argv[1:])
