"""Photos and masks as batches: the data set, its augmentation by epoch, and the loaders."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from unet_helpers.augment import (
    MEAN,
    STD,
    AugmentedDataset,
    NormalizeToTensor,
    denormalize,
    eval_transform,
    train_transform,
)
from unet_helpers.cache import open_cache
from unet_helpers.decode import read_labels, read_mask, read_pair, read_photo
from unet_helpers.environment import CourseError
from unet_helpers.pairs import Pair, find_pairs
from unet_helpers.sources import parse_stem

__all__ = [
    "MEAN",
    "STD",
    "CarvanaDataset",
    "EpochSampler",
    "NormalizeToTensor",
    "Pair",
    "denormalize",
    "eval_transform",
    "find_pairs",
    "get_loaders",
    "make_loader",
    "read_labels",
    "read_mask",
    "read_pair",
    "read_photo",
    "set_epoch",
    "train_transform",
]


class CarvanaDataset(AugmentedDataset):
    """Photos with their masks, decoded at the size that is needed, augmented by epoch.

    dataset[i] without a transform: photo RGB uint8 (H, W, 3), mask uint8 (H, W), stem. The mask
    is 1 on the car and 0 elsewhere; with `classes` given, it holds class indices 0 to classes - 1
    (or ignore_index), as `read_labels` reads them.
    With a transform (an A.Compose that ends in tensors): image float32 (3, H, W), mask uint8
    (H, W), stem.

    size: (height, width); left out, it is that of a Resize at the start of the transform, else
    each photo's own. cache_dir: decoded pairs are kept there (see `cache.open_cache`) and read
    from there ever after. scaled_decode: as `scaled` of `read_photo`. stems, cars: only these; cars
    may be a number (that many, chosen by seed). Raises CourseError for missing, unpaired or damaged
    files and an unknown stem or car.

    After set_epoch(e), augmentation is a function of (seed, e, i): the same numbers for any number
    of workers, in any order, and in a run that was resumed. Before the first set_epoch every call
    draws anew. `make_loader` calls set_epoch by itself.
    """

    def __init__(
        self,
        image_dir: str | Path,
        mask_dir: str | Path,
        transform: A.Compose | None = None,
        *,
        size: tuple[int, int] | None = None,
        cache_dir: str | Path | None = None,
        stems: Iterable[str] | None = None,
        cars: Iterable[str] | int | None = None,
        classes: int | None = None,
        ignore_index: int | None = None,
        seed: int = 42,
        scaled_decode: bool = True,
        progress: bool = True,
    ) -> None:
        super().__init__(transform, seed)
        self.size = tuple(size) if size is not None else _leading_size(transform)
        self.pairs = _choose(find_pairs(image_dir, mask_dir), image_dir, stems, cars, seed)
        self.stems = [pair.stem for pair in self.pairs]
        how = {"classes": classes, "ignore_index": ignore_index, "scaled": scaled_decode}
        self._read = partial(read_pair, size=self.size, **how)
        self._cache = None
        if cache_dir is not None:
            if self.size is None:
                raise CourseError(
                    "CarvanaDataset(cache_dir=…)",
                    expected="a size for the cached photos",
                    found="none",
                    mend="give size=(height, width), or a transform that starts with A.Resize",
                )
            every = stems is None and cars is None
            selection = (
                "all" if every else hashlib.sha256("/".join(self.stems).encode()).hexdigest()
            )
            if classes is not None:
                selection += f", {classes} classes, ignoring {ignore_index}"
            if not scaled_decode:  # which differs a little, so it is kept apart
                selection += ", decoded whole"
            self._cache = open_cache(
                self.pairs,
                self.size,
                cache_dir,
                selection=selection,
                read=self._read,
                progress=progress,
            )

    def __getitem__(self, index: int) -> tuple[Any, Any, str]:
        index = range(len(self.pairs))[index]  # IndexError past the end; -1 is the last one
        photo, mask = self._cache[index] if self._cache else self._read(self.pairs[index])
        return self.transformed(index, photo, mask)


def _leading_size(transform: Any) -> tuple[int, int] | None:
    first = transform.transforms[0] if isinstance(transform, A.Compose) and len(transform) else None
    return (first.height, first.width) if isinstance(first, A.Resize) else None


def _choose(
    pairs: list[Pair],
    folder: str | Path,
    stems: Iterable[str] | None,
    cars: Iterable[str] | int | None,
    seed: int,
) -> list[Pair]:
    """The wanted pairs, in order of their stems."""
    if cars is not None:
        by_car = {pair.stem: parse_stem(pair.stem)[0] for pair in pairs}
        known = sorted(set(by_car.values()))
        if isinstance(cars, int):
            cars = sorted(random.Random(seed).sample(known, min(max(cars, 1), len(known))))
        wanted = _known(cars, set(known), "car", folder)
        pairs = [pair for pair in pairs if by_car[pair.stem] in wanted]
    if stems is not None:
        wanted = _known(stems, {pair.stem for pair in pairs}, "stem", folder)
        pairs = [pair for pair in pairs if pair.stem in wanted]
    if not pairs:
        mend = "choose at least one car or stem"
        raise CourseError(folder, expected="pairs to use", found="an empty choice", mend=mend)
    return pairs


def _known(wanted: Iterable[str], known: set[str], kind: str, folder: str | Path) -> set[str]:
    wanted = set(wanted)
    if unknown := sorted(wanted - known):
        raise CourseError(
            folder,
            expected=f"every {kind} that was asked for",
            found=f"no {', '.join(unknown)}",
            mend=f"ask for some of: {', '.join(sorted(known)[:5])}, …",
        )
    return wanted


class EpochSampler(Sampler):
    """Indices of a data set in an order that is a function of (seed, epoch).

    Every pass through it is one epoch: set_epoch(e) says which, else the one after the last. It
    tells the data set, so that the augmentation follows.
    """

    def __init__(self, dataset: Dataset, shuffle: bool, seed: int) -> None:
        self.dataset, self.shuffle, self.seed, self.epoch = dataset, shuffle, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)
        if not self.shuffle:
            return iter(range(len(self.dataset)))
        digest = hashlib.blake2b(f"{self.seed}, {epoch}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
        return iter(torch.randperm(len(self.dataset), generator=generator).tolist())


def make_loader(
    dataset: Dataset,
    batch_size: int,
    shuffle: bool = False,
    num_workers: int = 0,
    pin_memory: bool = False,
    seed: int = 42,
) -> DataLoader:
    """Batches of image float32 (B, 3, H, W), mask uint8 (B, H, W) and a list of B stems.

    The last, shorter batch is kept. Order and augmentation are functions of seed and epoch.
    """
    return DataLoader(
        dataset,
        batch_size,
        sampler=EpochSampler(dataset, shuffle, seed),
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator().manual_seed(seed),  # leaves the global stream alone
    )


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Make the loader's next pass epoch `epoch`: its order and its augmentation."""
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    if hasattr(loader.dataset, "set_epoch"):
        loader.dataset.set_epoch(epoch)


def get_loaders(
    train_dir: str | Path,
    train_maskdir: str | Path,
    val_dir: str | Path,
    val_maskdir: str | Path,
    batch_size: int,
    train_transform: A.Compose,
    val_transform: A.Compose,
    num_workers: int = 0,
    pin_memory: bool = False,
    *,
    size: tuple[int, int] | None = None,
    cache_dir: str | Path | None = None,
    scaled_decode: bool = True,
    seed: int = 42,
    train_cars: Iterable[str] | int | None = None,
    classes: int | None = None,
    ignore_index: int | None = None,
) -> tuple[DataLoader, DataLoader]:
    """Training loader (shuffled) and validation loader of the folders of a prepared data set.

    size, cache_dir, scaled_decode, classes, ignore_index: as for CarvanaDataset. train_cars: use
    only these training cars, or only so many of them (chosen by seed).
    """
    common = {"size": size, "cache_dir": cache_dir, "scaled_decode": scaled_decode, "seed": seed}
    common |= {"classes": classes, "ignore_index": ignore_index}
    train = CarvanaDataset(train_dir, train_maskdir, train_transform, cars=train_cars, **common)
    val = CarvanaDataset(val_dir, val_maskdir, val_transform, **common)
    return (
        make_loader(train, batch_size, True, num_workers, pin_memory, seed),
        make_loader(val, batch_size, False, num_workers, pin_memory, seed),
    )
