"""The pictures that `predict` writes for one photo: mask or labels, cut-out, another background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from .class_pictures import overlay_classes
from .config import TrainConfig
from .cutout import cut_out, keep_largest_component, replace_background
from .dataset import read_photo
from .inference import predict_probabilities, save_png
from .labels import label_picture


def write_pictures(
    path: str | Path,
    model: nn.Module,
    config: TrainConfig,
    to: str | Path,
    *,
    background: np.ndarray | None = None,
    largest_component: bool = False,
) -> str:
    """Predict the photo at `path`, write its pictures into the folder `to`, and say what was found.

    NAME_mask.png (one channel, 255 is not background, 0 is), NAME_cutout.png (RGB and alpha), with
    a background NAME_on_background.png; with more than two classes also NAME_labels.png (a palette
    picture that holds the class indices) and NAME_overlay.png. background: RGB uint8 (H, W, 3).
    largest_component: keep only the largest connected piece of what is not background.
    Returns one line: the name, the size, the share of each class. Raises CourseError for a photo
    that cannot be read and a folder that cannot be written to.
    """
    path, photo = Path(path), read_photo(path)  # (H, W, 3)
    shares = predict_probabilities(model, photo, (config.height, config.width))  # (C, H, W)
    labels = shares.argmax(axis=0).astype(np.uint8)  # (H, W)
    # (H, W): the probability of anything but background
    inside = shares[1] if len(shares) == 2 else 1 - shares[0]
    mask = (labels > 0).astype(np.uint8)
    if largest_component:
        mask = keep_largest_component(mask)
        labels = labels * mask
    cut = cut_out(photo, inside, largest_component=largest_component)

    def save(picture: object, what: str) -> None:
        save_png(picture, Path(to) / f"{path.stem}_{what}.png")

    save(mask * 255, "mask")
    save(cut, "cutout")
    if config.class_count > 2:
        save(label_picture(labels, config.class_count), "labels")
        save(overlay_classes(photo, labels, config.class_count), "overlay")
    if background is not None:
        save(replace_background(photo, cut[..., 3], background), "on_background")
    named = enumerate(config.class_names[1:], start=1)
    found = ", ".join(f"{(labels == index).mean():.1%} {name}" for index, name in named)
    return f"{path.name}: {photo.shape[0]}×{photo.shape[1]}, {found}"
