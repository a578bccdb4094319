"""Time to Dice: the course's recipe against the tutorial's, on real photos and two CPU cores.

20 cars for training and 12 other cars for validation, 128×192, the same seconds of training for
each run. Which 20 cars they are matters: without a pickup among them, the pickups are segmented
badly. So the course's recipe runs on three draws, fixed beforehand, and the median counts; the
tutorial's runs on the first.

The tutorial's recipe is the one that the well-known U-Net tutorial describes: Adam with a constant
learning rate of 1e-4, binary cross-entropy, turns by up to 35° and flips, batches of 16, features
64 to 512, batches in the default memory layout.
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
SEEDS = (1, 2, 3)
# In minutes, a shorter warm-up and longer steps than the configs' pay off.
COURSE = TrainConfig(
    name="course",
    learning_rate=5e-3,
    warmup=0.05,
    augment="gentle",
    ema_decay=0.98,
    device="cpu",
)
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


def prepare_real(real: Path, to: Path, seed: int = 42) -> Prepared:
    """Real photos dealt by car, 12 cars for validation; the training loader takes 20 others."""
    return prepare(open_source(real), to, val_cars=VAL_CARS, test_cars=VAL_CARS, seed=seed)


def seconds_per_step(config: TrainConfig, loader, steps: int = 16, first: int = 6) -> float:
    """Median cost of one training step, loading included, on a throwaway copy of the model.

    The first steps do not count: in them memory is fetched and the convolutions are set up.
    """
    model = model_from_config(config).train()
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    loss_fn, ends = make_loss(config.loss), []
    for images, masks, _ in itertools.islice(loader, steps):
        optimizer.zero_grad()
        loss_fn(model(images), masks).backward()
        optimizer.step()
        ends.append(time.perf_counter())
    return statistics.median(later - sooner for sooner, later in itertools.pairwise(ends[first:]))


def run_course(config: TrainConfig, prepared: Prepared, seconds: float, out: Path) -> list[dict]:
    """The course's recipe; as many epochs as fit the time, so that the cosine ends with it."""
    train, val = loaders_from_config(config, prepared, train_cars=TRAIN_CARS)
    start = time.perf_counter()
    epoch = seconds_per_step(config, train) * len(train)
    left = seconds - (time.perf_counter() - start)  # measuring the speed costs training time
    config = config.model_copy(update={"epochs": max(1, int(0.97 * left / epoch))})
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


def seconds_until(history: list[dict], dice: float) -> float | None:
    """Seconds of training after which an epoch first had that validation Dice; None if none did."""
    spent = itertools.accumulate(row["seconds"] for row in history)
    return next(
        (s for s, row in zip(spent, history, strict=True) if row["dice_mean"] >= dice), None
    )


def measure(
    real: Path, seconds: float = 240.0, seeds: tuple[int, ...] = SEEDS
) -> dict[str, float | list]:
    """All five runs, one after the other on an otherwise idle machine: about 22 minutes."""
    histories = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draws = [prepare_real(real, folder / f"draw_{seed}", seed) for seed in seeds]
        for seed, prepared in zip(seeds, draws, strict=True):
            config = COURSE.model_copy(update={"seed": seed})
            histories.append(run_course(config, prepared, seconds, folder / f"run_{seed}"))
        small, large = (
            run_tutorial(config.model_copy(update={"seed": seeds[0]}), draws[0], seconds)
            for config in (TUTORIAL_SMALL, TUTORIAL)
        )
    # Of the last epoch, not of the best one: no choosing by this very set.
    dices = [history[-1]["dice_mean"] for history in histories]
    spent = [sum(row["seconds"] for row in history) for history in histories]
    return {
        "seconds": round(statistics.median(spent), 1),
        "dice": statistics.median(dices),
        "dice_by_seed": dices,
        "tutorial_dice": large,
        "tutorial_small_dice": small,
        "seconds_to_tutorial_small": seconds_until(histories[0], small),
        "epochs": len(histories[0]),
        "images": VAL_CARS * 16,
    }
