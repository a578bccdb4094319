"""Checks of what the loader gives: workers, mask values, pairs, the split, validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, Subset

from unet_helpers.diagnose.findings import Batch, Finding, Patient, first_line, plain_masks
from unet_helpers.environment import CourseError
from unet_helpers.sources import parse_stem

PHOTOS = 24  # enough for a verdict, few enough to read in a second
ALIKE = 0.9  # Dice from which two masks count as the same: neighbouring angles of one car
OUTLINE = 40  # pixels of outline below which chance decides
BEATEN = 0.15  # share of other masks that may fit a photo better than its own

VALUES_OF_TWO = (
    "binarise with mask > 0 where the mask is read (read_mask does), or give the network one "
    "output channel per class"
)
VALUES_OF_CLASSES = (
    "give the network one output channel per class (out_channels), and name a value that means no "
    "class as ignore_index, to the loss and here"
)


def draw_batches(loader: Any, seconds: float) -> tuple[list[Batch], Finding | None]:
    """A few batches of a loader, or the reason why there are none.

    Of a DataLoader the photos are taken at even distances from the whole data set, by as many
    workers as it has; its own sampler and workers are not touched. Anything else is iterated.
    """
    try:
        batches = list(_sample(loader, seconds))
        if not batches:
            return [], Finding("batch", "the loader is empty", "check the folder and the choice")
        return [_as_batch(batch) for batch in batches], None
    except RuntimeError as error:
        if _worker_trouble(error):
            return [], Finding(
                "workers",
                f"no batch from {loader.num_workers} worker(s) within {seconds:g} s",
                "try num_workers=0: if that works, something in the program is not safe to fork "
                "(a lock, a thread, an open file); start the workers before it, or use "
                'multiprocessing_context="spawn", and give the DataLoader a timeout',
            )
        return [], _unreadable(error)
    except Exception as error:  # a data set may raise anything
        return [], _unreadable(error)


def _worker_trouble(error: RuntimeError) -> bool:
    text = str(error)
    return "timed out" in text or "exited unexpectedly" in text or "killed by signal" in text


def _unreadable(error: Exception) -> Finding:
    if isinstance(error, CourseError) and error.mend is not None:
        return Finding("batch", f"{error.subject}: found {error.found}", str(error.mend))
    return Finding(
        "batch",
        f"the loader raised {first_line(error)}",
        "call loader.dataset[0] by itself: there the error has its own traceback",
    )


def _sample(loader: Any, seconds: float) -> Iterator[Any]:
    mapped = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    size = batch_size_of(loader)
    if not mapped or size is None:
        return islice(iter(loader), 3)
    photos = min(len(loader.dataset), max(PHOTOS, size))
    places = torch.linspace(0, len(loader.dataset) - 1, photos).round().int().tolist()
    workers = loader.num_workers
    return iter(
        DataLoader(
            loader.dataset,
            size,
            sampler=places,
            num_workers=workers,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context if workers else None,
            timeout=seconds if workers else 0,
            generator=torch.Generator(),  # leaves the program's random numbers alone
        )
    )


def batch_size_of(loader: Any) -> int | None:
    """Photos in a full batch; None where the loader does not say."""
    if isinstance(loader, DataLoader):
        size = loader.batch_size
        return getattr(loader.batch_sampler, "batch_size", None) if size is None else size
    return len(loader[0][0]) if isinstance(loader, Sequence) and len(loader) else None


def _as_batch(batch: Any) -> Batch:
    images, masks, *rest = batch
    if not (torch.is_tensor(images) and torch.is_tensor(masks) and images.ndim == 4):
        raise CourseError(
            "the batch",
            expected="images (B, 3, H, W) and masks (B, H, W), both tensors",
            found=f"{type(images).__name__} and {type(masks).__name__}",
            mend="end the transform with NormalizeToTensor(), and batch the photos",
        )
    return images, masks, [str(stem) for stem in rest[0]] if rest else []


# --- masks ---------------------------------------------------------------------------------------


def check_masks(patient: Patient) -> Finding | None:
    """Masks hold class indices, all of them whole, and at least two different ones."""
    values = torch.cat([mask.flatten().float() for mask in patient.masks]).unique()
    if patient.ignore_index is not None:
        values = values[values != patient.ignore_index]
    between = values[values != values.round()]
    if len(between):
        return Finding(
            "mask fractions",
            f"{len(between)} different values that are no class, such as {between[0]:.3g}",
            "resize masks with nearest neighbour (cv2.INTER_NEAREST_EXACT; read_mask(path, size) "
            "does), and only photos with linear interpolation",
        )
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if low < 0 or high >= patient.classes:
        return Finding(
            "mask values",
            f"values from {low} to {high}, where class indices 0 to {patient.classes - 1} belong",
            VALUES_OF_CLASSES if patient.channels > 1 else VALUES_OF_TWO,
        )
    if len(values) < 2:
        held = "no car" if high == 0 else "no background"
        return Finding(
            "empty masks",
            f"{held} in any of {len(patient.masks)} masks",
            "look at np.unique of one mask file: a GIF with a palette stores 0 and 1, so == 255 "
            "finds nothing; compare with > 0 (read_mask does)",
        )
    return None


def check_pairs(patient: Patient) -> Finding | None:
    """Every photo fits its own mask better than most masks of other photos.

    Where a mask has its outline, its photo should have edges. Photos are compared with those of
    the sample that have another mask. Cars so small that hardly any outline is left, and photos
    below 32 pixels, give no verdict.
    """
    scores, differs = _edge_scores(patient)
    judged = wrong = 0
    for own, (row, others) in enumerate(zip(scores, differs, strict=True)):
        if others.sum() >= 3:
            judged += 1
            # A few masks of other photos may fit by chance, above all at small sizes.
            wrong += bool((row[others] > row[own]).float().mean() > BEATEN)
    if judged < 4 or wrong <= judged / 4:
        return None
    return Finding(
        "pairs",
        f"{wrong} of {judged} photos fit the masks of other photos better than their own",
        "pair files by stem (find_pairs does), never by their place in two sorted lists; if the "
        "names are right, photo and mask go through different geometry",
    )


def _edge_scores(patient: Patient) -> tuple[torch.Tensor, torch.Tensor]:
    """How well photo i has its edges on the outline of mask j (N, N), and where masks differ."""
    images, masks = patient.images, patient.masks
    fits = [n for n, mask in enumerate(masks) if mask.shape == masks[0].shape and mask.any()]
    fits = [n for n in fits if images[n].shape[-2:] == masks[0].shape]
    fits = [n for n in fits if _outline(masks[n]).sum() >= OUTLINE][:PHOTOS]
    if len(fits) < 4 or min(masks[0].shape) < 32:
        return torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.bool)
    photo = torch.stack([images[n] for n in fits]).float()  # (N, 3, H, W)
    truth = torch.stack([masks[n] for n in fits]).float()  # (N, H, W)
    edges = _steps(photo).mean(dim=1)  # (N, H, W)
    # A loud photo must not count more, nor its one loudest edge: ranks do away with both.
    ranks = edges.flatten(1).argsort(dim=1).argsort(dim=1).float() / edges[0].numel()  # (N, H * W)
    outline = torch.stack([_outline(mask).flatten() for mask in truth]).float()  # (N, H * W)
    scores = ranks @ outline.T / outline.sum(dim=1)  # (N, N)
    inside = (truth > 0).float().flatten(1)
    total = inside.sum(dim=1)
    dice = 2 * inside @ inside.T / (total[:, None] + total[None]).clamp(min=1)
    return scores, dice < ALIKE


def _outline(mask: torch.Tensor) -> torch.Tensor:
    """Where the class changes to the right or below, bool (H, W)."""
    return _steps(mask.float()[None, None])[0, 0] > 0


def _steps(pictures: torch.Tensor) -> torch.Tensor:
    """Size of the step to the neighbours right and below, (N, C, H, W)."""
    right = F.pad(pictures.diff(dim=3).abs(), (0, 1))
    below = F.pad(pictures.diff(dim=2).abs(), (0, 0, 0, 1))
    return right + below


# --- the split -----------------------------------------------------------------------------------


def stems_of(loader: Any) -> list[str]:
    """Stems of every photo of a loader, as far as its data set knows them."""
    dataset, places = getattr(loader, "dataset", None), None
    while isinstance(dataset, Subset):
        within = dataset.indices
        places = list(within) if places is None else [within[place] for place in places]
        dataset = dataset.dataset
    stems = getattr(dataset, "stems", None)
    if stems is not None:
        return list(stems) if places is None else [stems[place] for place in places]
    if isinstance(loader, Sequence):
        return [stem for batch in loader for stem in (batch[2] if len(batch) > 2 else ())]
    return []


def _car(stem: str) -> str:
    try:
        return parse_stem(stem)[0]
    except CourseError:
        return stem  # names of another kind: at least no photo may be in both


def check_leak(patient: Patient, val_loader: Any) -> Finding | None:
    """No car of the validation photos is among the training photos."""
    trained = {_car(stem) for stem in stems_of(patient.loader)}
    held = stems_of(val_loader)
    known = [stem for stem in held if _car(stem) in trained]
    if not known:
        return None
    return Finding(
        "leak",
        f"{len(known)} of {len(held)} validation photos show a car that is trained on",
        "deal whole cars, not photos: prepare(…) does, and split.csv says which car went where",
    )


def check_validation(val_loader: Any) -> Finding | None:
    """A validation photo is the same however often it is asked for."""
    dataset = getattr(val_loader, "dataset", None)
    if dataset is None or isinstance(dataset, IterableDataset):
        return None
    inner = dataset
    while isinstance(inner, Subset):
        inner = inner.dataset
    epoch = getattr(inner, "epoch", None)
    places = torch.linspace(0, len(dataset) - 1, min(4, len(dataset))).round().int().tolist()
    draws = []
    try:
        for number in range(3):
            if hasattr(inner, "set_epoch") and epoch is not None:
                inner.set_epoch(number)
            draws.append([dataset[place][:2] for place in places])
    finally:
        if hasattr(inner, "set_epoch") and epoch is not None:
            inner.set_epoch(epoch)
    changing = sum(
        any(not _same(draw[n], draws[0][n]) for draw in draws[1:]) for n in range(len(places))
    )
    if not changing:
        return None
    return Finding(
        "validation",
        f"{changing} of {len(places)} validation photos look different each time",
        "augment the training photos only: eval_transform(height, width) for validation and test",
    )


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


__all__ = [
    "batch_size_of",
    "check_leak",
    "check_masks",
    "check_pairs",
    "check_validation",
    "draw_batches",
    "plain_masks",
    "stems_of",
]
