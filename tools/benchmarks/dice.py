"""Time to Dice: the course's recipe against the tutorial's, on real photos and two CPU cores.

20 cars for training and 12 other cars for validation, 128×192, the same seconds of training for
each run. The tutorial's recipe is the one that the well-known U-Net tutorial describes: Adam with a
constant learning rate of 1e-4, binary cross-entropy, turns by up to 35° and flips, batches of 16,
features 64 to 512, batches in the default memory layout.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from pathlib import Path

import torch

from unet_helpers.checkpoint import model_from_config
from unet_helpers.config import TrainConfig
from unet_helpers.dataset import set_epoch
from unet_helpers.environment import pick_precision, seed_everything
from unet_helpers.loaders import loaders_from_config, until
from unet_helpers.losses import make_loss
from unet_helpers.sources import open_source
from unet_helpers.split import Prepared, prepare
from unet_helpers.training import check_accuracy, fit, train_fn

TRAIN_CARS, VAL_CARS = 20, 12
COURSE = TrainConfig(name="course", augment="gentle", ema_decay=0.98, device="cpu")
TUTORIAL = TrainConfig(
    name="tutorial",
    features=(64, 128, 256, 512),
    learning_rate=1e-4,
    weight_decay=0.0,
    loss="bce",
    augment="tutorial",
    batch_size=16,
    clip_norm=None,
    channels_last=False,
    device="cpu",
)
TUTORIAL_SMALL = TUTORIAL.model_copy(update={"features": COURSE.features})


def prepare_real(real: Path, to: Path) -> Prepared:
    """Real photos split by car: 12 cars for validation, the first 20 others are trained on."""
    return prepare(open_source(real), to, val_cars=VAL_CARS, test_cars=VAL_CARS, seed=42)


def seconds_per_step(config: TrainConfig, loader, steps: int = 6) -> float:
    """Median cost of one training step, measured on a throwaway copy of the model."""
    model = model_from_config(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    loss_fn, times = make_loss(config.loss), []
    for images, masks, _ in itertools.islice(loader, steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss_fn(model(images), masks).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run_course(prepared: Prepared, seconds: float, out: Path) -> list[dict]:
    """The course's recipe; as many epochs as fit the time, so that the cosine ends with it."""
    train, val = loaders_from_config(COURSE, prepared, train_cars=TRAIN_CARS)
    start = time.perf_counter()
    epoch = seconds_per_step(COURSE, train) * len(train)
    left = seconds - (time.perf_counter() - start)  # measuring the speed costs training time
    config = COURSE.model_copy(update={"epochs": max(1, int(0.97 * left / epoch))})
    seed_everything(config.seed)
    return fit(model_from_config(config), train, val, config, out, max_seconds=left)


def run_tutorial(config: TrainConfig, prepared: Prepared, seconds: float) -> float:
    """The tutorial's recipe for so many seconds; returns the Dice at the end."""
    seed_everything(config.seed)
    train, val = loaders_from_config(config, prepared, train_cars=TRAIN_CARS)
    model = model_from_config(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    loss_fn, scaler = make_loss(config.loss), torch.amp.GradScaler("cpu", enabled=False)
    precision = pick_precision(torch.device("cpu"))
    start = time.perf_counter()
    epoch = 0
    while time.perf_counter() - start < seconds:
        epoch += 1
        set_epoch(train, epoch)
        train_fn(
            until(train, start + seconds), model, optimizer, loss_fn, scaler, precision=precision
        )
        print(
            f"{config.name} {config.features}: epoch {epoch}, {time.perf_counter() - start:.0f} s"
        )
    return check_accuracy(val, model).dice_mean


def measure(real: Path, seconds: float = 240.0) -> dict[str, float]:
    """All three runs, one after the other on an otherwise idle machine: about 13 minutes."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_real(real, Path(folder) / "prepared")
        history = run_course(prepared, seconds, Path(folder) / "run")
        small = run_tutorial(TUTORIAL_SMALL, prepared, seconds)
        large = run_tutorial(TUTORIAL, prepared, seconds)
    spent, reached = 0.0, None
    for row in history:
        spent += row["seconds"]
        if reached is None and row["dice_mean"] >= small:
            reached = spent
    return {
        "seconds": round(spent, 1),
        "dice": history[-1]["dice_mean"],  # of the last epoch: no choosing by this very set
        "tutorial_dice": large,
        "tutorial_small_dice": small,
        "seconds_to_tutorial_small": reached,
        "epochs": len(history),
        "images": VAL_CARS * 16,
    }
