"""The U-Net as a picture: drawn from what the real module does to a real photo, not by hand.

Forward hooks write down every block's output. Sizes, channels, order and skip connections are all
read off these; the front of each stack of maps is the channel of that block that varies most.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import nn

from tools.drawings.cars import pair_of, studio_cars
from unet_helpers.checkpoint import load_model
from unet_helpers.dataset import eval_transform
from unet_helpers.environment import course_root
from unet_helpers.model import UNET, DoubleConv
from unet_helpers.pictures import figure_png
from unet_helpers.plotting import BLUE, GREEN, GREY, RED

GAP = 0.55  # between two stacks, in the drawing's units; the photo is 2 of them high
ARROWS = {
    "first": ("black", "DoubleConv: a stack of maps, channels × height × width"),
    "pool": (RED, "max pooling: half the size"),
    "up": (BLUE, "transposed convolution: twice the size"),
    "skip": (GREY, "skip connection: kept, and joined along the channels"),
    "last": (GREEN, "1×1 convolution: one logit per pixel"),
}


@dataclass(frozen=True)
class Block:
    """One DoubleConv at work: channels that went in, and the map (C, H, W) that came out."""

    channels_in: int
    map: torch.Tensor

    @property
    def label(self) -> str:
        return " × ".join(str(number) for number in self.map.shape)


@dataclass(frozen=True)
class Trace:
    """A pass through the network: its blocks in order, the skips as pairs of them, the logits."""

    blocks: list[Block]
    skips: list[tuple[int, int]]
    logits: torch.Tensor  # (C, H, W)


@dataclass(frozen=True)
class Card:
    """Where a map stands in the drawing."""

    left: float
    middle: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.middle - self.height / 2

    @property
    def top(self) -> float:
        return self.middle + self.height / 2


@torch.no_grad()
def trace(model: UNET, image: torch.Tensor) -> Trace:
    """Send one image (3, H, W) through the network and write down what its blocks do."""
    blocks: list[Block] = []
    raised: list[int] = []  # channels that the last up-sampling gave

    def note(module: nn.Module, given: tuple[torch.Tensor], result: torch.Tensor) -> None:
        blocks.append(Block(given[0].shape[1], result[0]))

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, DoubleConv)]
    hooks += [
        up.register_forward_hook(lambda module, given, result: raised.append(result.shape[1]))
        for up in model.decoder.ups
    ]
    try:
        logits = model.eval()(image[None])[0]  # (C, H, W)
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(blocks, find_skips(blocks, raised), logits)


def find_skips(blocks: list[Block], raised: list[int]) -> list[tuple[int, int]]:
    """Pairs (from, to) of blocks: one that gets more channels than were raised gets an older map.

    The older map is the one of the same size with just the channels that are missing.
    """
    skips, first = [], len(blocks) - len(raised)
    for index, channels in enumerate(raised, start=first):
        block = blocks[index]
        missing = block.channels_in - channels
        same = [
            other
            for other in range(first)
            if blocks[other].map.shape[1:] == block.map.shape[1:]
            and blocks[other].map.shape[0] == missing
        ]
        skips += [(same[0], index)] if missing else []
    return skips


def place(trace: Trace) -> list[Card]:
    """One card a block, and one before and after them for photo and mask.

    A side is drawn as the square root of the real one: to scale, the bottom would be a dot.
    """
    full = trace.logits.shape[1]
    maps = [trace.logits, *(block.map for block in trace.blocks), trace.logits]
    levels = [round(np.log2(full / one.shape[1])) for one in maps]
    cards, left = [], 0.0
    for one, level in zip(maps, levels, strict=True):
        height = 2 * np.sqrt(one.shape[1] / full)
        width = height * one.shape[2] / one.shape[1]
        cards.append(Card(left, -1.75 * level, width, height))
        left += width + GAP
    return cards


def liveliest(block: Block) -> np.ndarray:
    """The channel that varies most over the map, (H, W), scaled to 0 to 1."""
    spread = block.map.flatten(1).std(dim=1)
    one = block.map[spread.argmax()]
    return (one / one.max().clamp(min=1e-6)).numpy()


def draw_card(axis: Axes, card: Card, picture: np.ndarray, label: str, behind: int = 0) -> None:
    """A picture, with the edges of as many cards behind it as it has doublings of channels."""
    for step in range(behind, 0, -1):
        corner = (card.left + 0.04 * step, card.bottom + 0.04 * step)
        axis.add_patch(plt.Rectangle(corner, card.width, card.height, fc="white", ec=GREY, lw=0.7))
    extent = (card.left, card.right, card.bottom, card.bottom + card.height)
    axis.imshow(picture, extent=extent, cmap="gray", zorder=2)
    axis.add_patch(
        plt.Rectangle(
            (card.left, card.bottom), card.width, card.height, fc="none", ec="black", lw=0.8,
            zorder=3,
        )
    )  # fmt: skip
    middle = card.left + card.width / 2
    axis.text(middle, card.bottom - 0.1, label, ha="center", va="top", fontsize=9)


def draw_arrow(axis: Axes, start: tuple, end: tuple, kind: str, bend: str = "arc3") -> None:
    style = {
        "arrowstyle": "-|>", "color": ARROWS[kind][0], "lw": 1.8, "shrinkA": 2, "shrinkB": 2,
        "connectionstyle": bend, "linestyle": "--" if kind == "skip" else "-",
    }  # fmt: skip
    axis.annotate("", end, start, arrowprops=style, zorder=4)


def draw_arrows(axis: Axes, cards: list[Card], skips: list[tuple[int, int]]) -> None:
    """Ways between the cards: into the first block, down, up, across, and out of the last one."""
    for one, two in pairwise(cards):
        if two.middle < one.middle:
            end = (two.left + 0.25 * two.width, two.top)
            draw_arrow(axis, (one.right, one.middle), end, "pool", "angle,angleA=0,angleB=90")
        elif two.middle > one.middle:
            start = (one.left + 0.75 * one.width, one.top)
            draw_arrow(axis, start, (two.left, two.middle), "up", "angle,angleA=90,angleB=0")
        else:
            kind = "first" if one is cards[0] else "last"
            draw_arrow(axis, (one.right, one.middle), (two.left, two.middle), kind)
    for first, second in skips:
        one, two = cards[first + 1], cards[second + 1]
        height = one.middle + 0.3 * one.height
        draw_arrow(axis, (one.right + 0.3, height), (two.left, height), "skip")


def draw_unet(photo: np.ndarray, seen: Trace) -> Figure:
    """The whole picture: photo, blocks, mask, and the ways between them."""
    cards = place(seen)
    fig, axis = plt.subplots(figsize=(13, 5.4), layout="constrained")
    height, width = photo.shape[:2]
    draw_card(axis, cards[0], photo, f"3 × {height} × {width}")
    for card, block in zip(cards[1:-1], seen.blocks, strict=True):
        behind = round(np.log2(block.map.shape[0]))
        draw_card(axis, card, liveliest(block), block.label, behind)
    probability = torch.sigmoid(seen.logits[0]).numpy()
    shape = " × ".join(str(number) for number in seen.logits.shape)
    draw_card(axis, cards[-1], probability, shape)
    for card, title in ((cards[0], "photo"), (cards[-1], "logits, as probability")):
        axis.text(card.left + card.width / 2, card.top + 0.1, title, ha="center", fontsize=9)
    draw_arrows(axis, cards, seen.skips)
    handles = [
        Line2D([], [], color=colour, lw=2, ls="--" if kind == "skip" else "-", label=label)
        for kind, (colour, label) in ARROWS.items()
    ]
    axis.legend(handles=handles, loc="lower left", frameon=False, fontsize=9)
    axis.set_aspect("equal")
    lowest = min(card.bottom for card in cards)
    axis.set(xlim=(-0.3, cards[-1].right + 0.3), ylim=(lowest - 0.5, 1.5))
    axis.set_axis_off()
    return fig


def unet() -> bytes:
    """The shipped network (the CPU profile's size) at work on a test car, as a PNG."""
    model, config = load_model(course_root() / "data" / "weights" / "studio.safetensors")
    size = (config.height, config.width)
    with studio_cars() as prepared:
        photo, _ = pair_of(prepared, prepared.cars("test")[1], size=size)
    seen = trace(model, eval_transform(*size)(image=photo)["image"])
    fig = draw_unet(photo, seen)
    png = figure_png(fig, dpi=100)
    plt.close(fig)
    return png
