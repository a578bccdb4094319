"""The built-in cars, for the drawings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from unet_helpers.dataset import read_mask, read_photo
from unet_helpers.sources import open_source
from unet_helpers.split import Prepared, prepare

ANGLE = 3  # three quarters from the front


@contextmanager
def studio_cars() -> Iterator[Prepared]:
    """The built-in pack, prepared in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield prepare(open_source("studio"), Path(folder), progress=False)


def pair_of(
    prepared: Prepared, car: str, angle: int = ANGLE, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Photo uint8 (H, W, 3) and mask (H, W) of a car, whatever split it is in."""
    originals, stem = prepared.root / "originals", f"{car}_{angle:02d}"
    return (
        read_photo(originals / "train" / f"{stem}.jpg", size),
        read_mask(originals / "train_masks" / f"{stem}_mask.gif", size),
    )
