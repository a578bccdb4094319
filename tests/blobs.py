"""A tiny task for the tests of training: find the bright rectangle. Learnt in a few epochs."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, Dataset

from unet_helpers.config import TrainConfig


class Blobs(Dataset):
    """Noise with a brighter rectangle: image float32 (3, H, W), mask uint8 (H, W), stem."""

    def __init__(self, count: int, height: int = 32, width: int = 48, first: int = 0) -> None:
        self.count, self.height, self.width, self.first = count, height, width, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, str]:
        if index >= self.count:
            raise IndexError(index)
        random = torch.Generator().manual_seed(self.first + index)
        mask = torch.zeros(self.height, self.width, dtype=torch.uint8)
        top = int(torch.randint(0, self.height // 2, (), generator=random))
        left = int(torch.randint(0, self.width // 2, (), generator=random))
        mask[top : top + self.height // 2, left : left + self.width // 2] = 1
        image = torch.randn(3, self.height, self.width, generator=random) * 0.5 + 2 * mask
        return image, mask, f"blob_{self.first + index}"


def blob_loaders(train: int = 20, val: int = 6, batch_size: int = 8):
    """Training loader (three batches, the last one short) and validation loader."""
    return (
        DataLoader(Blobs(train), batch_size),
        DataLoader(Blobs(val, first=1000), batch_size),
    )


def blob_config(**changes) -> TrainConfig:
    settings = {
        "height": 32,
        "width": 48,
        "features": (4, 8),
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 0.01,
        "device": "cpu",
    }
    return TrainConfig(**settings | changes)
