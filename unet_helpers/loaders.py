"""The data and the loaders that a config asks for: from a prepared folder, or the pets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import albumentations as A
import torch
from torch.utils.data import DataLoader

from .config import TrainConfig
from .dataset import CarvanaDataset, eval_transform, get_loaders, make_loader, train_transform
from .distributed import ALONE, World, current_world
from .environment import CourseError, pick_device, pick_workers
from .pairs import MASK_SUFFIXES
from .pets import PetDataset, Pets, open_pets
from .shares import photos_at_a_time, shared
from .split import SPLITS, Prepared, load_prepared

CAR_MASK = f"{MASK_SUFFIXES[0]}.gif"  # how the masks of an archive pair end


def open_data(config: TrainConfig, folder: str | Path) -> Prepared | Pets:
    """The data that a config is for, in `folder`: a prepared folder, or one with Oxford-IIIT Pet.

    Raises CourseError where it is not there, and for car masks where the config wants more than two
    classes: such a run would learn that there are no others.
    """
    if config.dataset == "pets":
        return open_pets(folder, config.seed)
    prepared = load_prepared(folder)
    if config.class_count > 2:
        masks = [path.name for split in SPLITS for path in prepared.masks(split).glob("*")]
        cars = [name for name in masks if name.endswith(CAR_MASK)]
        if cars:
            raise CourseError(
                folder,
                expected=f"labels of {', '.join(config.class_names)}",
                found=f"{len(cars)} masks of two, such as {min(cars)}",
                mend="prepare the part labels: `python -m unet_helpers prepare studio --labels "
                f"parts --to {folder}-parts`; or train with out_channels=1 and loss=bce_dice",
            )
    return prepared


def _labels(config: TrainConfig) -> dict[str, int | None]:
    """How the masks are read: one output channel means a car's mask, more mean class indices."""
    if config.out_channels == 1:
        return {}
    return {"classes": config.out_channels, "ignore_index": config.ignore_index}


def _pets(config: TrainConfig, pets: Pets, split: str, transform: A.Compose) -> PetDataset:
    border = 2 if config.ignore_index is None else config.ignore_index
    return PetDataset(pets, split, transform, border=border, seed=config.seed)


def loaders_from_config(
    config: TrainConfig,
    prepared: Prepared | Pets,
    *,
    device: torch.device | str | None = None,
    train_cars: int | None = None,
) -> tuple[DataLoader, DataLoader]:
    """Training and validation loader of what `open_data` gives, as the config asks for them.

    Sizes, augmentation, batch size, workers, cache and seed come from the config. device: where
    the batches will go (None: what the config says). train_cars: use only that many training cars
    (a prepared folder has them). In a run of several processes each gets its share of every batch
    and of the validation photos; CourseError when they cannot share a batch equally.
    """
    device = torch.device(device) if device is not None else pick_device(config.device)
    world = current_world()
    workers = (
        pick_workers(device) // world.local_size if config.workers == "auto" else config.workers
    )
    rest = (workers, config.pin_memory and device.type == "cuda", config.seed)
    training = train_transform(config.height, config.width, config.augment)
    measuring = eval_transform(config.height, config.width)
    if isinstance(prepared, Pets):
        train = _pets(config, prepared, "train", training)
        val = _pets(config, prepared, "val", measuring)
        loaders = (
            make_loader(train, config.batch_size, True, *rest),
            make_loader(val, config.batch_size, False, *rest),
        )
    else:
        loaders = _car_loaders(config, prepared, training, measuring, rest, train_cars)
    return tuple(shared(loader, world) for loader in loaders)


def _car_loaders(
    config: TrainConfig,
    prepared: Prepared,
    training: A.Compose,
    measuring: A.Compose,
    rest: tuple[int, bool, int],
    train_cars: int | None,
) -> tuple[DataLoader, DataLoader]:
    """The loaders of a prepared folder; rest: workers, pinned memory and seed."""
    workers, pinned, seed = rest
    return get_loaders(
        prepared.images("train"),
        prepared.masks("train"),
        prepared.images("val"),
        prepared.masks("val"),
        config.batch_size,
        training,
        measuring,
        workers,
        pinned,
        size=(config.height, config.width),
        cache_dir=prepared.root / "cache" if config.cache else None,
        scaled_decode=config.scaled_decode,
        seed=seed,
        train_cars=train_cars,
        **_labels(config),
    )


def split_loader(config: TrainConfig, prepared: Prepared | Pets, split: str) -> DataLoader:
    """Every image of one split ("train", "val" or "test"), in order, without augmentation.

    With accumulate, its batches are the parts in which a batch goes through the network.
    """
    size = (config.height, config.width)
    if isinstance(prepared, Pets):
        dataset = _pets(config, prepared, split, eval_transform(*size))
    else:
        folders = prepared.images(split), prepared.masks(split)
        how = {"size": size, "scaled_decode": config.scaled_decode, **_labels(config)}
        dataset = CarvanaDataset(*folders, eval_transform(*size), **how)
    return make_loader(dataset, photos_at_a_time(config), seed=config.seed)


def until(batches: Iterable, deadline: float, world: World = ALONE) -> Iterator:
    """The batches of a loader, up to the one at which the time is over; always at least one.

    Several processes stop at the same batch: the one at which the first of them is over time.
    """
    for batch in batches:
        yield batch
        if world.any(time.perf_counter() >= deadline):
            return
