"""Measuring a network: on a loader, on a split, after each epoch; and the check of its masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn

from .config import TrainConfig
from .environment import CourseError, Precision, pick_precision
from .loaders import split_loader
from .losses import check_classes
from .metrics import Scores, SegmentationMetrics, predict_classes
from .pets import Pets
from .shares import Share, in_parts, world_of
from .split import Prepared

__all__ = ["check_accuracy", "check_masks", "checked", "evaluate", "measure"]


def check_masks(
    masks: torch.Tensor, stems: Sequence[str], num_classes: int, ignore_index: int | None
) -> None:
    """check_classes for the masks of a batch (B, H, W), so that the error names the photo.

    Masks that lie on a GPU already are left unread, as the losses leave them (losses.check_pair).
    """
    if masks.device.type == "cpu":
        for mask, stem in zip(masks, stems, strict=True):
            check_classes(mask, num_classes, ignore_index, f"the mask of {stem}")


def checked(batches: Iterable, config: TrainConfig) -> Iterator:
    """The batches (or shares) of a loader as they come, their masks checked for config's classes.

    On a GPU an index that is no class would end the process without a word about the photo.
    """
    for batch in batches:
        masks, stems = (batch.masks, batch.stems) if isinstance(batch, Share) else batch[1:]
        check_masks(masks, stems, config.class_count, config.ignore_index)
        yield batch


@torch.inference_mode()
def measure(
    loader: Iterable,
    model: nn.Module,
    precision: Precision,
    threshold: float = 0.5,
    loss_fn: Callable | None = None,
    ignore_index: int | None = None,
    at_a_time: int | None = None,
) -> tuple[Scores, float]:
    """Scores and mean loss per image of a whole loader; the model's mode is then as before.

    The loss is that of each image by itself: the mean is then the same however the images are cut
    into batches, also where a loss weighs pixels. Of a loader that several processes share, the
    scores and the loss of all images, in each of them. at_a_time: so many images at most are in the
    network together (None: the loader's batches).
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    metrics, total, seen = None, 0.0, 0
    for images, masks, stems in loader if at_a_time is None else in_parts(loader, at_a_time):
        with precision.autocast():
            logits = model(images.to(device, non_blocking=True))  # (B, C, H, W)
            check_masks(masks, stems, max(2, logits.shape[1]), ignore_index)
            masks = masks.to(device, non_blocking=True)
            if loss_fn is not None:
                each = zip(logits.split(1), masks.split(1), strict=True)
                total += torch.stack([loss_fn(*image) for image in each]).sum().item()
        metrics = metrics or SegmentationMetrics(max(2, logits.shape[1]), ignore_index)
        metrics.update(predict_classes(logits, threshold), masks, stems)
        seen += len(masks)
    model.train(was_training)
    of_all = world_of(loader).gather((metrics, total, seen))
    counted = [metrics for metrics, _, seen in of_all if seen]
    if not counted:
        raise CourseError(
            "the images to measure",
            expected="at least one batch",
            found="none",
            mend="check that this split of the prepared folder holds images",
        )
    metrics = counted[0] if len(of_all) == 1 else SegmentationMetrics.from_turns(counted)
    return metrics.compute(), sum(part[1] for part in of_all) / sum(part[2] for part in of_all)


def check_accuracy(
    loader: Iterable,
    model: nn.Module,
    device: torch.device | str | None = None,
    precision: Precision | None = None,
    threshold: float = 0.5,
    ignore_index: int | None = None,
) -> Scores:
    """Measure a model on every image of a loader: Dice, IoU and accuracy, per image, then averaged.

    The resolution measured at is the loader's. device: where the model is moved to (None: where
    it is). precision: None computes in fp32. ignore_index: of pixels that do not count. Raises
    CourseError for a loader without images.
    """
    if device is not None:
        model.to(device)
    precision = precision or pick_precision(next(model.parameters()).device, "fp32")
    return measure(loader, model, precision, threshold, ignore_index=ignore_index)[0]


def evaluate(
    model: nn.Module,
    prepared: Prepared | Pets,
    split: str,
    config: TrainConfig,
    device: torch.device | str | None = None,
    threshold: float = 0.5,
) -> Scores:
    """Measure a model on a split ("train", "val" or "test") at the config's height and width.

    Every image counts once, without augmentation, in fp32. device: where to compute (None: where
    the model is).
    """
    loader, ignored = split_loader(config, prepared, split), config.ignore_index
    return check_accuracy(loader, model, device, threshold=threshold, ignore_index=ignored)
