"""Using the trained model: a photo of any size in, its mask, a cut-out or a new background out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from .dataset import eval_transform
from .environment import CourseError
from .files import write_atomically
from .metrics import predict_classes

# A probability up to the first value is background in a cut-out, from the second on it is car;
# in between lies the soft edge. The network is never quite at 0 or 1, and without this the whole
# background would shine through faintly.
SOFT_EDGE = (0.1, 0.9)


def predict_probability(
    model: nn.Module,
    photo: np.ndarray,
    size: tuple[int, int],
    device: torch.device | str | None = None,
) -> np.ndarray:
    """The probability that a pixel is car, float32 (H, W) in 0..1, at the photo's own size.

    photo: RGB uint8 (H, W, 3), any H and W. size: (height, width) that the network sees, that is
    config.height and config.width. device: where to compute (None: where the model is).
    The photo is brought to `size`, the probability back to (H, W): a threshold after that gives a
    smooth outline, where a mask brought back would have steps.
    Raises CourseError for an array that is no such photo, or a model with more than one channel.
    """
    _check_photo(photo)
    height, width = photo.shape[:2]
    device = torch.device(device) if device is not None else next(model.parameters()).device
    small = _resize(photo, size)
    batch = eval_transform(*size)(image=small)["image"].unsqueeze(0).to(device)  # (1, 3, h, w)
    was_training = model.training
    model.to(device).eval()
    with torch.inference_mode():
        logits = model(batch)  # (1, 1, h, w)
    model.train(was_training)
    if logits.shape[1] != 1:
        raise CourseError(
            "the model",
            expected="one output channel: car or not",
            found=f"{logits.shape[1]}",
            mend="take the class of the largest logit with metrics.predict_classes",
        )
    probability = torch.sigmoid(logits[0, 0].float()).cpu().numpy()  # (h, w)
    return np.clip(_resize(probability, (height, width)), 0.0, 1.0)


def predict_mask(
    model: nn.Module,
    photo: np.ndarray,
    size: tuple[int, int],
    device: torch.device | str | None = None,
    *,
    threshold: float = 0.5,
    largest_component: bool = False,
) -> np.ndarray:
    """The mask of a photo, uint8 (H, W) of 0 and 1, at the photo's own size.

    threshold: a pixel is car above it. largest_component: keep only the largest connected piece.
    Everything else as in `predict_probability`.
    """
    mask = (predict_probability(model, photo, size, device) > threshold).astype(np.uint8)
    return keep_largest_component(mask) if largest_component else mask


def keep_largest_component(mask: np.ndarray) -> np.ndarray:
    """The mask without all but its largest connected piece, uint8 (H, W) of 0 and 1.

    mask: (H, W), everything above 0 counts. Pixels that touch at a corner are connected. An empty
    mask stays empty; of two pieces of one size the upper one is kept.
    """
    filled = (np.asarray(mask) > 0).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]  # row 0 is the background
    if len(areas) == 0:
        return filled
    largest = np.flatnonzero(areas == areas.max()) + 1
    # Labels may come in any order; the upper one is the one met first, row by row.
    first = labels.ravel()[np.argmax(np.isin(labels, largest))]
    return (labels == first).astype(np.uint8)


def soft_alpha(mask: np.ndarray) -> np.ndarray:
    """Opacity uint8 (H, W), 0 to 255, from a mask of 0 and 1, or from probabilities.

    Whole numbers and booleans are a mask and give a hard edge; a float array in 0..1 is a
    probability and gives a soft one, 0 up to 0.1 and 255 from 0.9 on.
    """
    mask = np.asarray(mask)
    if not np.issubdtype(mask.dtype, np.floating):
        return np.where(mask > 0, 255, 0).astype(np.uint8)
    low, high = SOFT_EDGE
    return np.rint(np.clip((mask - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def cut_out(photo: np.ndarray, mask: np.ndarray, *, largest_component: bool = False) -> np.ndarray:
    """The car without its background: RGBA uint8 (H, W, 4), to be saved as PNG.

    photo: RGB uint8 (H, W, 3). mask: (H, W), a mask (hard edge) or a probability (soft edge).
    largest_component: drop everything that does not hang together with the largest piece.
    Raises CourseError when the sizes differ.
    """
    _check_photo(photo)
    alpha = soft_alpha(mask)
    _check_same_size(photo, alpha, "mask")
    if largest_component:
        alpha = alpha * keep_largest_component(alpha)
    return np.dstack([photo, alpha])


def replace_background(
    photo: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray | tuple[int, int, int],
) -> np.ndarray:
    """The car of a photo before another background, RGB uint8 (H, W, 3).

    photo: RGB uint8 (H, W, 3). alpha: (H, W), the opacity 0..255 that is the fourth channel of
    `cut_out`, or a probability, or a mask of 0 and 1. background: an RGB colour, or a photo of
    any size, which is scaled until it covers (H, W) and cropped around its middle.
    Raises CourseError when the sizes of photo and alpha differ.
    """
    _check_photo(photo)
    alpha = np.asarray(alpha)
    _check_same_size(photo, alpha, "alpha")
    is_opacity = alpha.dtype == np.uint8 and alpha.max() > 1
    opacity = alpha if is_opacity else soft_alpha(alpha)
    share = opacity.astype(np.float32)[..., None] / 255  # (H, W, 1)
    if isinstance(background, tuple):
        behind = np.broadcast_to(np.array(background, np.float32), photo.shape)
    else:
        _check_photo(background)
        behind = _fill(background, photo.shape[:2]).astype(np.float32)
    return np.rint(photo * share + behind * (1 - share)).astype(np.uint8)


def save_predictions_as_imgs(
    loader: Iterable,
    model: nn.Module,
    folder: str | Path = "saved_images",
    device: torch.device | str | None = None,
) -> list[Path]:
    """Save pred_<stem>.png and true_<stem>.png for every image of a loader; returns the paths.

    White is car. The size is the loader's. device: where to compute (None: where the model is).
    """
    folder = Path(folder)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    was_training = model.training
    model.to(device).eval()
    paths = []
    for images, masks, stems in loader:
        with torch.inference_mode():
            predicted = predict_classes(model(images.to(device))).cpu()  # (B, H, W)
        for kind, batch in (("pred", predicted), ("true", masks)):
            for stem, mask in zip(stems, batch.numpy(), strict=True):
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


def _resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) or (H, W, 3) brought to size (height, width): averaged if it shrinks, else linear."""
    height, width = size
    if array.shape[:2] == (height, width):
        return array
    shrinks = array.shape[0] > height or array.shape[1] > width  # as dataset.read_photo does it
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(array, (width, height), interpolation=method)


def _fill(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A photo scaled until it covers size (height, width), cropped around its middle."""
    height, width = size
    scale = max(height / photo.shape[0], width / photo.shape[1])
    scaled = (max(height, round(photo.shape[0] * scale)), max(width, round(photo.shape[1] * scale)))
    large = _resize(photo, scaled)
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    return large[top : top + height, left : left + width]


def _check_photo(photo: np.ndarray) -> None:
    if not (
        isinstance(photo, np.ndarray)
        and photo.dtype == np.uint8
        and photo.ndim == 3
        and photo.shape[2] == 3
        and photo.size
    ):
        found = f"{getattr(photo, 'dtype', type(photo).__name__)} {getattr(photo, 'shape', '')}"
        raise CourseError(
            "the photo",
            expected="an RGB array, uint8 (H, W, 3)",
            found=found.strip(),
            mend="read it with dataset.read_photo(path)",
        )


def _check_same_size(photo: np.ndarray, other: np.ndarray, name: str) -> None:
    if other.shape != photo.shape[:2]:
        raise CourseError(
            name,
            expected=f"the photo's size {photo.shape[:2]}",
            found=str(other.shape),
            mend="predict it with predict_mask or predict_probability, which keep the size",
        )
