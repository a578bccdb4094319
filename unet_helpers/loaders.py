"""The loaders that a config asks for, from a prepared folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import torch
from torch.utils.data import DataLoader

from .config import TrainConfig
from .dataset import CarvanaDataset, eval_transform, get_loaders, make_loader, train_transform
from .environment import pick_device, pick_workers
from .split import Prepared


def loaders_from_config(
    config: TrainConfig,
    prepared: Prepared,
    *,
    device: torch.device | str | None = None,
    train_cars: int | None = None,
) -> tuple[DataLoader, DataLoader]:
    """Training and validation loader of a prepared folder, as the config asks for them.

    Sizes, augmentation, batch size, workers, cache and seed come from the config. device: where
    the batches will go (None: what the config says). train_cars: use only that many training cars.
    """
    device = torch.device(device) if device is not None else pick_device(config.device)
    return get_loaders(
        prepared.images("train"),
        prepared.masks("train"),
        prepared.images("val"),
        prepared.masks("val"),
        config.batch_size,
        train_transform(config.height, config.width, config.augment),
        eval_transform(config.height, config.width),
        pick_workers(device) if config.workers == "auto" else config.workers,
        device.type == "cuda",
        size=(config.height, config.width),
        cache_dir=prepared.root / "cache" if config.cache else None,
        seed=config.seed,
        train_cars=train_cars,
    )


def split_loader(config: TrainConfig, prepared: Prepared, split: str) -> DataLoader:
    """Every image of one split ("train", "val" or "test"), in order, without augmentation."""
    size = (config.height, config.width)
    dataset = CarvanaDataset(
        prepared.images(split), prepared.masks(split), eval_transform(*size), size=size
    )
    return make_loader(
        dataset, config.batch_size, shuffle=False, num_workers=0, pin_memory=False, seed=config.seed
    )


def until(loader: Iterable, deadline: float) -> Iterator:
    """The batches of a loader, up to the one at which the time is over; always at least one."""
    for batch in loader:
        yield batch
        if time.perf_counter() >= deadline:
            return
