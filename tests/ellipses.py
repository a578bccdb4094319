"""A made-up photo whose mask is known exactly, for the tests of inference and of cut-outs."""

from __future__ import annotations

import numpy as np


def a_photo(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Photo with a green ellipse before purple noise, and the ellipse's mask (H, W) bool."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    inside = ((y - height * 0.5) / (height * 0.3)) ** 2 + ((x - width * 0.45) / (width * 0.35)) ** 2
    mask = inside < 1
    photo = rng.integers(0, 60, (height, width, 3))
    photo[..., 1] += np.where(mask, 190, 0)
    photo[..., 2] += 120
    return photo.astype(np.uint8), mask
