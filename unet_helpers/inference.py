"""Using the trained model: a photo of any size in, its mask, a cut-out or a new background out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from .cutout import (
    SOFT_EDGE,
    check_photo,
    cut_out,
    feather,
    foreground,
    keep_largest_component,
    replace_background,
    resize,
    soft_alpha,
)
from .dataset import eval_transform
from .environment import CourseError
from .files import write_atomically
from .labels import label_picture
from .metrics import predict_classes

__all__ = [
    "SOFT_EDGE",
    "cut_out",
    "feather",
    "foreground",
    "keep_largest_component",
    "predict_labels",
    "predict_mask",
    "predict_probabilities",
    "predict_probability",
    "replace_background",
    "save_png",
    "save_predictions_as_imgs",
    "soft_alpha",
]


def predict_probability(
    model: nn.Module,
    photo: np.ndarray,
    size: tuple[int, int],
    device: torch.device | str | None = None,
    *,
    flips: bool = False,
) -> np.ndarray:
    """The probability that a pixel is car, float32 (H, W) in 0..1, at the photo's own size.

    photo: RGB uint8 (H, W, 3), any H and W. size: (height, width) that the network sees, that is
    config.height and config.width. device: where to compute (None: where the model is). flips:
    ask about the mirrored photo as well and take the mean of both answers (test-time
    augmentation); that takes twice the time.
    The photo is brought to `size`, the probability back to (H, W): a threshold after that gives a
    smooth outline, where a mask brought back would have steps.
    Raises CourseError for an array that is no such photo, or a model with more than one channel.
    """
    logits = _logits(model, photo, size, device, flips)  # (1, 1, h, w), or (2, 1, h, w)
    if logits.shape[1] != 1:
        raise CourseError(
            "the model",
            expected="one output channel: car or not",
            found=f"{logits.shape[1]}",
            mend="ask predict_probabilities, or for the class of each pixel predict_labels",
        )
    probability = _both(torch.sigmoid(logits.float()))[0].cpu().numpy()  # (h, w)
    return np.clip(resize(probability, photo.shape[:2]), 0.0, 1.0)


def predict_probabilities(
    model: nn.Module,
    photo: np.ndarray,
    size: tuple[int, int],
    device: torch.device | str | None = None,
    *,
    flips: bool = False,
) -> np.ndarray:
    """The probability of every class, float32 (C, H, W) in 0..1 with sum 1, at the photo's size.

    Everything as in `predict_probability`, for a model with any number of output channels: of one
    channel the classes are background and car. 1 - result[0] is the probability of anything but
    background.
    """
    logits = _logits(model, photo, size, device, flips).float()  # (1, C, h, w), or (2, C, h, w)
    if logits.shape[1] == 1:
        car = torch.sigmoid(logits)
        shares = torch.cat([1 - car, car], dim=1)
    else:
        shares = logits.softmax(dim=1)
    shares = _both(shares).cpu().numpy()  # (C, h, w)
    large = np.stack([resize(share, photo.shape[:2]) for share in shares])  # (C, H, W)
    return np.clip(large, 0.0, 1.0)


def predict_labels(
    model: nn.Module,
    photo: np.ndarray,
    size: tuple[int, int],
    device: torch.device | str | None = None,
    *,
    flips: bool = False,
) -> np.ndarray:
    """The class index of every pixel, uint8 (H, W), at the photo's own size.

    Everything as in `predict_probabilities`. The largest probability is taken at the photo's size,
    which gives smooth outlines, where class indices brought back would have steps.
    """
    return predict_probabilities(model, photo, size, device, flips=flips).argmax(0).astype(np.uint8)


def _logits(
    model: nn.Module,
    photo: np.ndarray,
    size: tuple[int, int],
    device: torch.device | str | None,
    flips: bool,
) -> torch.Tensor:
    """The logits of one photo at `size`, (1, C, h, w); with flips also its mirror image's."""
    check_photo(photo)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    small = resize(photo, size)
    batch = eval_transform(*size)(image=small)["image"].unsqueeze(0).to(device)  # (1, 3, h, w)
    batch = batch.contiguous(memory_format=torch.channels_last)  # less memory than without
    if flips:
        batch = torch.cat([batch, batch.flip(-1)])  # (2, 3, h, w): as it is, and mirrored
    was_training = model.training
    model.to(device).eval()
    with torch.inference_mode():
        logits = model(batch)  # (1, C, h, w), or (2, C, h, w)
    model.train(was_training)
    return logits


def _both(answers: torch.Tensor) -> torch.Tensor:
    """The mean of both answers, the second mirrored back onto the first; one is left as it is."""
    if len(answers) == 2:
        answers = torch.stack([answers[0], answers[1].flip(-1)])
    return answers.mean(dim=0)  # (C, h, w)


def predict_mask(
    model: nn.Module,
    photo: np.ndarray,
    size: tuple[int, int],
    device: torch.device | str | None = None,
    *,
    threshold: float = 0.5,
    largest_component: bool = False,
    flips: bool = False,
) -> np.ndarray:
    """The mask of a photo, uint8 (H, W) of 0 and 1, at the photo's own size.

    threshold: a pixel is car above it. largest_component: keep only the largest connected piece.
    Everything else as in `predict_probability`.
    """
    probability = predict_probability(model, photo, size, device, flips=flips)
    mask = (probability > threshold).astype(np.uint8)
    return keep_largest_component(mask) if largest_component else mask


def save_predictions_as_imgs(
    loader: Iterable,
    model: nn.Module,
    folder: str | Path = "saved_images",
    device: torch.device | str | None = None,
) -> list[Path]:
    """Save pred_<stem>.png and true_<stem>.png for every image of a loader; returns the paths.

    White is car; with many classes both are palette pictures that hold the class indices. The size
    is the loader's. device: where to compute (None: where the model is).
    """
    folder = Path(folder)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    was_training = model.training
    model.to(device).eval()
    paths = []
    for images, masks, stems in loader:
        with torch.inference_mode():
            logits = model(images.to(device))  # (B, C, H, W)
        predicted, classes = predict_classes(logits).cpu(), logits.shape[1]  # (B, H, W)
        for kind, batch in (("pred", predicted), ("true", masks)):
            for stem, mask in zip(stems, batch.numpy(), strict=True):
                if classes > 1:
                    picture = label_picture(mask.astype(np.uint8), classes)
                else:
                    picture = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))
                paths.append(save_png(picture, folder / f"{kind}_{stem}.png"))
    model.train(was_training)
    return sorted(paths)


def save_png(picture: Image.Image | np.ndarray, path: str | Path) -> Path:
    """Write a picture as PNG, atomically; an array may be (H, W), (H, W, 3) or (H, W, 4) uint8.

    Raises CourseError when the folder cannot be written to or the disk is full.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    return write_atomically(path, lambda file: image.save(file, "PNG"))
