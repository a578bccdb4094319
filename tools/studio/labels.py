"""Exact labels: which class covers each pixel, by votes of finer rays."""

from __future__ import annotations

import cv2
import numpy as np

from .part import CLASSES


def vote(label: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Reduce fine labels (factor*H, factor*W) to (parts (H, W) uint8, coverage (H, W) in 0..1).

    A pixel belongs to the car when at least half of its rays meet the car; its part is the one
    that most of those rays meet.
    """
    high, wide = label.shape[0] // factor, label.shape[1] // factor
    blocks = label.reshape(high, factor, wide, factor)
    counts = np.stack([(blocks == k).sum(axis=(1, 3)) for k in range(len(CLASSES))])
    coverage = 1 - counts[0] / factor**2
    parts = np.where(coverage >= 0.5, 1 + counts[1:].argmax(axis=0), 0)
    return parts.astype(np.uint8), coverage


def tidy(parts: np.ndarray, smallest: float = 0.0004) -> np.ndarray:
    """Drop stray pieces and fill pinholes smaller than a share of the picture's area.

    A filled hole takes the part of the pixel above it.
    """
    parts = parts.copy()
    limit = max(4, int(smallest * parts.size))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(
        (parts > 0).astype(np.uint8), None, None, None, 8
    )
    if count > 2:
        largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        parts[(pieces != largest) & (pieces > 0) & (stats[pieces, cv2.CC_STAT_AREA] < limit)] = 0
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(
        (parts == 0).astype(np.uint8), None, None, None, 4
    )
    for k in range(1, count):
        left, top, wide, high, area = stats[k]
        at_edge = (
            left == 0 or top == 0 or left + wide == parts.shape[1] or top + high == parts.shape[0]
        )
        if area < limit and not at_edge:
            rows, columns = np.nonzero(pieces == k)
            for row, column in zip(rows, columns, strict=True):
                parts[row, column] = max(1, parts[row - 1, column])
    return parts
