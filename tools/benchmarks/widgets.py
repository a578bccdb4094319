"""How long each widget takes to redraw when one of its controls is moved, at 480×320.

Two made-up photos of 320×480, one of them at 1280×1920 for its windows, and an untrained U-Net.
Counted is what the kernel does: from the control's new value to the finished PNG. Figures are
medians, in milliseconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import torch

from unet_helpers.model import UNET
from unet_helpers.records import BARS
from unet_helpers.widgets import (
    AblationExplorer,
    AmdahlExplorer,
    AugmentationPlayground,
    BackgroundSwap,
    LiveCurve,
    MaskOverlay,
    ShapeWalker,
    ThresholdExplorer,
    Turntable,
    WindowGrid,
)

HEIGHT, WIDTH = 320, 480
ROUNDS = 40
LIMIT_MS = 150

Move = Callable[[], object]


def made_up(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo of soft blots, a mask, and a probability that is nearly right."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    photo = cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (WIDTH // 2, HEIGHT // 2), (150, 80), 5 * seed, 0, 360, 1, -1)
    probability = cv2.GaussianBlur(np.roll(mask, 4, axis=1).astype(np.float32), (0, 0), 3)
    return photo, mask, np.clip(0.9 * probability + 0.05, 0, 1)


def moving(control: object, values: Iterable) -> Iterator[Move]:
    """Give the control one value after the other, for ever."""
    for value in cycle(values):
        yield lambda value=value: setattr(control, "value", value)


def in_turn(*moves: Iterator[Move]) -> Iterator[Move]:
    """One move of each, again and again."""
    for several in zip(*moves, strict=True):
        yield from several


def widgets_with_moves() -> dict[str, Iterator[Move]]:
    """Name -> moves of its controls."""
    photos, masks, probabilities = (list(part) for part in zip(*map(made_up, (1, 2)), strict=True))
    turn = [made_up(angle) for angle in range(1, 17)]
    torch.manual_seed(0)
    model = UNET(features=(16, 32, 64, 128))
    overlay = MaskOverlay(photos, masks, probabilities)
    table = Turntable("car", lambda stem: turn[int(stem[-2:]) - 1])
    augmented = AugmentationPlayground(photos, masks, width=WIDTH)
    threshold = ThresholdExplorer(photos, masks, probabilities)
    walker = ShapeWalker(model, photos)
    swap = BackgroundSwap(photos, probabilities)
    curve = LiveCurve(ROUNDS, steps=10)
    rows = ({"epoch": n, "train_loss": 1 / n, "val_loss": 1.1 / n, "dice_mean": 1 - 1 / (n + 1),
             "dice_p10": 0.5} for n in range(1, 10_000))  # fmt: skip
    records = [{"question": "q", "variant": f"variant {n}", "seed": seed,
                "dice": 1 - 1 / (n + seed)}
               for n in range(12) for seed in (1, 2, 3)]  # fmt: skip
    ablations = AblationExplorer(records)
    grid = WindowGrid(cv2.resize(photos[0], (1920, 1280)), width=WIDTH)
    amdahl = AmdahlExplorer({"reading": 16.0, "forward": 3.0, "backward": 5.0}, width=WIDTH)
    return {
        "mask_overlay": in_turn(
            moving(overlay.opacity, (0.2, 0.4, 0.6)),
            moving(overlay.mode, ("mask", "prediction", "differences")),
            moving(overlay.style_, ("outline", "fill")),
            moving(overlay.photo, (1, 0)),
        ),
        "turntable": moving(table.angle, (*range(2, 17), 1)),
        "augmentation_playground": in_turn(
            (augmented.again.click for _ in cycle([0])), moving(augmented.limits["turn"], (8, 16))
        ),
        "threshold_explorer": moving(threshold.threshold, np.linspace(0.1, 0.9, 17).tolist()),
        "shape_walker": moving(walker.step, (*range(1, len(walker.step.options)), 0)),
        "live_curve": ((lambda row=row: curve(row)) for row in rows),
        "background_swap": in_turn(
            moving(swap.feather, (1, 2, 3)), moving(swap.background, ("dusk", "sky", "showroom"))
        ),
        "window_grid": in_turn(
            moving(grid.overlap, (0.5, 0.7, 0.1)), moving(grid.number, (2, 3, 1))
        ),
        "amdahl_explorer": moving(amdahl.sliders["reading"], (2, 4, 8)),
        "ablation_explorer": moving(ablations.bars, (*BARS[1:], BARS[0])),
    }


def measure(real: Path) -> dict[str, object]:
    """Median time of a redraw for each widget, and whether all stay below the limit.

    <widget>_ms is what a learner waits; <widget>_cpu_ms is what the processor worked for it, which
    is the steadier figure on a machine that is busy with other things. `real` is not read.
    """
    waited, worked = {}, {}
    for name, moves in widgets_with_moves().items():
        times = []
        for move in islice(moves, ROUNDS):
            start = time.perf_counter(), time.process_time()
            move()
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        waited[name], worked[name] = (
            round(1000 * statistics.median(column), 1) for column in zip(*times, strict=True)
        )
    return {
        "height": HEIGHT,
        "width": WIDTH,
        "moves": ROUNDS,
        **{f"{name}_ms": value for name, value in waited.items()},
        **{f"{name}_cpu_ms": value for name, value in worked.items()},
        "slowest_ms": max(waited.values()),
        "limit_ms": LIMIT_MS,
        "within_limit": max(waited.values()) <= LIMIT_MS,
    }


def report(figures: dict[str, object]) -> str:
    """The figures as a short table."""
    lines = [f"Widgets, redrawn at {WIDTH}×{HEIGHT}, medians of {figures['moves']} moves in ms:"]
    for name in figures:
        widget = name.removesuffix("_cpu_ms")
        if widget != name:
            waited = figures[f"{widget}_ms"]
            lines.append(f"  {widget:<24}{waited:6.1f} (processor {figures[name]:.1f})")
    return "\n".join(lines)
