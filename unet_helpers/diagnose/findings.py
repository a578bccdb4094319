"""A finding, and the material that the checks work on."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor, list[str]]
WIDTH = 90  # characters of a line, as in the exercises' checks


@dataclass(frozen=True)
class Finding:
    """One fault: the name of the check, what it found, and the cure."""

    name: str
    found: str
    cure: str

    def __str__(self) -> str:
        found, cure = f"FOUND  {self.name}: {self.found}.", f"       cure: {self.cure}."
        return f"{_lines(found, indent=7)}\n{_lines(cure, indent=13)}"


def _lines(text: str, indent: int = 0) -> str:
    """A text on lines that end between two words; all but the first start with `indent` spaces."""
    return textwrap.fill(
        text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


@dataclass
class Patient:
    """What is examined.

    model: a copy, which checks may train and change. batches: images (B, 3, H, W), masks (B, H, W)
    and stems of a few photos, on the CPU. channels: of the network's output.
    """

    loader: Any
    model: nn.Module
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    batches: list[Batch] = field(default_factory=list)
    channels: int = 1
    ignore_index: int | None = None

    @property
    def classes(self) -> int:
        """How many classes the network tells apart: two with one channel."""
        return max(2, self.channels)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def masks(self) -> list[torch.Tensor]:
        """The masks of all photos, each (H, W), whatever they hold."""
        return [mask for _, masks, _ in self.batches for mask in plain_masks(masks)]

    @property
    def images(self) -> list[torch.Tensor]:
        """All photos, each (3, H, W)."""
        return [image for images, _, _ in self.batches for image in images]


def plain_masks(masks: torch.Tensor) -> torch.Tensor:
    """Masks as (B, H, W); many programs keep a channel axis, (B, 1, H, W)."""
    return masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks


def first_line(error: BaseException) -> str:
    """An error's type and the first line of its text, at most 160 characters long."""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return said if len(said) <= 160 else f"{said[:159]}…"


def mib(number: float) -> str:
    """Bytes in MiB or GiB, for people."""
    return f"{number / 2**20:,.0f} MiB" if number < 2**30 else f"{number / 2**30:,.1f} GiB"


def report(findings: Sequence[Finding], looked: Sequence[str], left: Sequence[str]) -> None:
    """Print the findings with their cures, and what was not looked at because of them."""
    for finding in findings:
        print(finding)
    if not findings:
        print(_lines(f"Nothing found. Looked at: {', '.join(looked)}."))
    elif left:
        print(_lines(f"Not looked at before this is mended: {', '.join(left)}."))
