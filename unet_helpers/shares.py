"""How the processes of a run share the photos: each batch in training, each photo in measuring.

And how many of its share a process takes at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from .config import TrainConfig
from .dataset import EpochSampler
from .distributed import ALONE, World, per_process
from .environment import CourseError


class SharedSampler(EpochSampler):
    """One process's share of the order that EpochSampler gives to all of them.

    The processes take turns (torch's DistributedSampler), so their k-th batches together are the
    k-th batch of one process. pad: repeat photos at the end until every process has equally many,
    as training needs it (`shares` takes them out again); without, each photo comes once.
    """

    def __init__(
        self, dataset: Dataset, shuffle: bool, seed: int, world: World, pad: bool = True
    ) -> None:
        super().__init__(dataset, shuffle, seed)
        self.world, self.pad = world, pad
        self._turns = DistributedSampler(dataset, world.size, world.rank, shuffle=False)

    def __len__(self) -> int:
        rest = range(self.world.rank, len(self.dataset), self.world.size)
        return len(self._turns) if self.pad else len(rest)

    def __iter__(self) -> Iterator[int]:
        order = list(super().__iter__())
        turns = self._turns if self.pad else range(self.world.rank, len(order), self.world.size)
        return (order[turn] for turn in turns)


def shared(loader: DataLoader, world: World) -> DataLoader:
    """This process's share of a loader of `make_loader`; alone, the loader as it is.

    A shuffled (training) loader keeps its batches, each of which the processes share equally;
    CourseError if that cannot be. Any other keeps its photos, each of them in one process.
    """
    if world.size == 1:
        return loader
    sampler = loader.sampler
    mine = SharedSampler(loader.dataset, sampler.shuffle, sampler.seed, world, sampler.shuffle)
    size = per_process(loader.batch_size, world.size) if sampler.shuffle else loader.batch_size
    return DataLoader(
        loader.dataset,
        size,
        sampler=mine,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        persistent_workers=loader.persistent_workers,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
    )


def photos_at_a_time(config: TrainConfig, world: World = ALONE) -> int:
    """How many photos of a batch are in the network of a process together, at most."""
    return -(-config.batch_size // (world.size * config.accumulate))


def photos(count: int) -> str:
    """So many photos, in words."""
    return f"{count} photo{'' if count == 1 else 's'}"


def in_parts(batches: Iterable, most: int) -> Iterator[tuple]:
    """The batches of a loader, each cut into parts of `most` photos; a last one may have fewer."""
    for images, masks, stems in batches:
        names = (stems[first : first + most] for first in range(0, len(stems), most))
        yield from zip(images.split(most), masks.split(most), names, strict=True)


@dataclass(frozen=True)
class Share:
    """What a process has of a batch: images (b, 3, H, W), masks (b, H, W), their stems.

    weight: what the mean over these images counts in the mean over the whole batch, times the
    number of processes (DistributedDataParallel divides by that): 1 where all have equally many.
    count: images of the share, 0 where it holds nothing but a repeated one.
    """

    images: torch.Tensor
    masks: torch.Tensor
    stems: list[str]
    weight: float
    count: int


def shares(loader: Iterable, world: World) -> Iterator[Share]:
    """The batches of a loader as shares of the whole ones, repeated photos taken out."""
    if world.size == 1:
        for images, masks, stems in loader:
            yield Share(images, masks, stems, 1.0, len(images))
        return
    total, whole = len(loader.dataset), loader.batch_size * world.size
    for number, (images, masks, stems) in enumerate(loader):
        together = min(whole, total - number * whole)  # photos of this batch in all processes
        own = max(0, -(-(together - world.rank) // world.size))
        kept = slice(max(own, 1))  # DistributedDataParallel needs a backward pass from everyone
        yield Share(images[kept], masks[kept], stems[kept], own * world.size / together, own)


def world_of(loader: Iterable) -> World:
    """The processes that share a loader; ALONE for a loader that holds everything."""
    return getattr(getattr(loader, "sampler", None), "world", ALONE)


def require_shared(world: World, **loaders: Iterable) -> None:
    """Raise CourseError in a run of several processes for a loader that gives all to each."""
    for name, loader in loaders.items():
        if world_of(loader).size != world.size:
            raise CourseError(
                f"{name} given to fit",
                expected=f"a loader that {world.size} processes share",
                found="one that gives every photo to each of them",
                mend="make the loaders with loaders_from_config, or pass them through "
                "loaders.shared(loader, current_world())",
            )
