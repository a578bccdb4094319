"""From files to augmented tensors: the course's way against the plain way of the tutorial.

The plain way decodes both files with Pillow at full size and lets albumentations resize, turn by up
to 35° and flip them, every epoch. The course does the same augmentation after decoding at the size
that is needed (first pass, cache written on the way) and from the cache (every pass after it).
One process, 160×240, the three ways in turn for several rounds: what else the machine does then
slows all of them, and the ratios hold. Figures are medians over the rounds.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import albumentations as A
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from PIL import Image

from unet_helpers.dataset import CarvanaDataset, Pair, find_pairs, train_transform
from unet_helpers.environment import CourseError
from unet_helpers.sources import extract_pair, open_source

HEIGHT, WIDTH = 160, 240
ROUNDS, COPIES, SMALL_CARS = 5, 8, 5


def plain_transform() -> A.Compose:
    """The tutorial's augmentation."""
    return A.Compose(
        [
            A.Resize(HEIGHT, WIDTH),
            A.Rotate(limit=35, p=1.0),
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.1),
            A.Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), max_pixel_value=255.0),
            ToTensorV2(),
        ]
    )


def load_plainly(pair: Pair, transform: A.Compose) -> tuple[torch.Tensor, torch.Tensor]:
    """One pair as the tutorial's data set loads it."""
    photo = np.array(Image.open(pair.image).convert("RGB"))
    mask = np.array(Image.open(pair.mask).convert("L"), dtype=np.float32)
    mask[mask == 255.0] = 1.0
    out = transform(image=photo, mask=mask)
    return out["image"], out["mask"]


def per_second(load: Callable, items: Iterable) -> float:
    """Calls of `load` a second, over all items."""
    items = list(items)
    start = time.perf_counter()
    for item in items:
        load(item)
    return len(items) / (time.perf_counter() - start)


def compare(images: Path, masks: Path, plain_count: int) -> dict[str, float]:
    """All ways over the pairs of two folders; images per second and ratios to the plain way."""
    pairs, plain = find_pairs(images, masks), plain_transform()
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as cache:
            rate = {"plain": per_second(lambda p: load_plainly(p, plain), pairs[:plain_count])}
            start = time.perf_counter()
            data = opened(images, masks, "tutorial", cache, number)
            for index in range(len(data)):
                data[index]
            rate["first_pass"] = len(data) / (time.perf_counter() - start)
            rate["cached"] = per_second(data.__getitem__, [*range(len(data))] * 3)
            gentle = opened(images, masks, "gentle", cache, number)
            rate["cached_gentle"] = per_second(gentle.__getitem__, [*range(len(data))] * 3)
            uncached = opened(images, masks, "tutorial", None, number)
            rate["uncached"] = per_second(uncached.__getitem__, range(len(data)))
        rounds.append(rate)
    rounds = rounds[1:]  # the first one warms up
    figures = {f"{way}_images_per_s": _median(rounds, way) for way in rounds[0]}
    for way in ("first_pass", "cached", "cached_gentle", "uncached"):
        figures[f"{way}_ratio"] = statistics.median(r[way] / r["plain"] for r in rounds)
    return figures


def opened(
    images: Path, masks: Path, strength: str, cache: str | None, epoch: int
) -> CarvanaDataset:
    """The course's data set, at an epoch."""
    transform = train_transform(HEIGHT, WIDTH, strength)
    data = CarvanaDataset(images, masks, transform, cache_dir=cache, progress=False)
    data.set_epoch(epoch)
    return data


def _median(rounds: list[dict[str, float]], way: str) -> float:
    return statistics.median(rate[way] for rate in rounds)


def measure(real: Path) -> dict[str, float]:
    """The figures: full-resolution pairs under plain names, the 512×512 pairs with "small_"."""
    torch.set_num_threads(1)
    if not (real / "fullres" / "train").is_dir():
        raise CourseError(
            real,
            expected="a folder with fullres/train and fullres/train_masks (1918×1280)",
            found="none",
            mend="give the folder of real photos: --real DIR",
        )
    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder) / "full", Path(folder) / "small"
        for kind in ("train", "train_masks"):
            (full / kind).mkdir(parents=True)
            for file in sorted((real / "fullres" / kind).iterdir()):
                for copy in range(COPIES):  # so that the cost of starting does not count
                    shutil.copy(file, full / kind / f"{copy:012x}{file.name[12:]}")
        figures = compare(full / "train", full / "train_masks", plain_count=20)
        unpacked = extract_pair(open_source(real), small / "all", progress=False)
        cars = sorted({path.name[:12] for path in (unpacked / "train").iterdir()})[:SMALL_CARS]
        for kind in ("train", "train_masks"):
            (small / kind).mkdir()
            for car in cars:
                for file in (unpacked / kind).glob(f"{car}_*"):
                    file.rename(small / kind / file.name)
        few = compare(small / "train", small / "train_masks", plain_count=40)
    return figures | {f"small_{name}": value for name, value in few.items()}


def report(figures: dict[str, float]) -> str:
    """The figures as a small table."""
    lines = [f"Input, to augmented {HEIGHT}×{WIDTH} tensors, one process (medians of {ROUNDS}):"]
    for title, prefix in (("1918×1280", ""), ("512×512", "small_")):
        plain = figures[f"{prefix}plain_images_per_s"]
        lines.append(f"  {title}: plain way {plain:.0f} images/s")
        for way, text in (
            ("first_pass", "first pass, cache written"),
            ("uncached", "every pass without a cache"),
            ("cached", "from the cache, the same augmentation"),
            ("cached_gentle", "from the cache, the course's own augmentation"),
        ):
            rate, ratio = figures[f"{prefix}{way}_images_per_s"], figures[f"{prefix}{way}_ratio"]
            lines.append(f"    {text}: {rate:.0f} images/s, {ratio:.1f}×")
    return "\n".join(lines)
