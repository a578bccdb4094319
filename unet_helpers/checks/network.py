"""Checks for notebook 04: joining a skip, counting parameters, a residual block, a small U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from unet_helpers.checks.answers import (
    Untried,
    call,
    require,
    sequence,
    shown,
    tensor,
    whole,
)
from unet_helpers.checks.register import exercise
from unet_helpers.model import DoubleConv, count_parameters

BUDGET, SIGHT = 500_000, 100


@exercise(
    "04.1",
    "The channels are axis 1 of (B, C, H, W).",
    "torch.cat takes a list of tensors and the axis, dim, along which they are laid.",
    "The decoder puts what was kept first: [skip, x].",
)
def join_skip(join: Any) -> None:
    """join(skip, x): both (B, C, H, W), as (B, 2 C, H, W), the skip's channels first."""
    skip, x = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 5, 7)
    found = tensor(call(join, skip.clone(), x.clone()), "what join returns")
    added = found.shape == skip.shape and torch.allclose(found, skip + x)
    require(not added, "you add the two. Laid behind each other they make twice the channels.")
    axes = {(4, 3, 5, 7): "the photos of the batch", (2, 3, 10, 7): "the rows"}
    axes[(2, 3, 5, 14)] = "the columns"
    shape = tuple(found.shape)
    require(shape not in axes, f"joined along {axes.get(shape)}: channels are axis 1, dim=1.")
    require(
        found.ndim == 4, f"the shape is {shape}: cat lays them behind each other, stack does not."
    )
    require(shape == (2, 6, 5, 7), f"the shape is {shape}, not (2, 6, 5, 7).")
    swapped = torch.equal(found, torch.cat([x, skip], dim=1))
    why = "the decoder puts the skip first, and trained weights rely on the order"
    require(not swapped, f"the two are swapped: {why}.")
    require(
        torch.equal(found, torch.cat([skip, x], dim=1)), "the values are not those of skip and x."
    )


@exercise(
    "04.2",
    "Two convolutions: the first from i to o channels, the second from o to o.",
    "Each has 9 weights for every pair of a channel in and a channel out.",
    "With BatchNorm, each is followed by a scale and a shift per channel, 2·o numbers; without it, "
    "each has a bias per channel, o numbers.",
)
def block_parameters(double_conv_parameters: Any) -> None:
    """double_conv_parameters(i, o, norm): the parameters of DoubleConv(i, o, norm)."""
    for norm in ("batch", "none"):
        for i, o in ((3, 16), (16, 16), (128, 64)):
            found = whole(call(double_conv_parameters, i, o, norm), "the number")
            both = 9 * i * o + 9 * o * o
            reasons = {
                both: "the weights alone; BatchNorm has parameters too",
                both + 2 * o: "BatchNorm has a scale and a shift, two numbers a channel",
                both + 6 * o: "before BatchNorm a convolution has no bias",
                9 * i * o + 4 * o: "there are two convolutions",
                2 * 9 * i * o + 4 * o: "the second convolution has o channels in, not i",
            }
            if norm == "none":
                reasons = {
                    both: "without BatchNorm each convolution has a bias",
                    both + 4 * o: "that is with BatchNorm; norm is 'none' here",
                    both + o: "both convolutions have a bias",
                }
            right = count_parameters(DoubleConv(i, o, norm))
            why = reasons.get(found, "count the weights, then what belongs to each channel")
            asked = f"double_conv_parameters({i}, {o}, {norm!r})"
            require(found == right, f"{asked} is {found}, but the block has {right}: {why}.")


@exercise(
    "04.3",
    "The sum needs two arrays of one shape. Padding keeps height and width; channels must match.",
    "self.block = DoubleConv(in_channels, out_channels); self.around is an nn.Conv2d.",
    "kernel_size=1 for the way around, and forward returns self.block(x) + self.around(x).",
)
def residual_conv(residual_conv: Any) -> None:
    """ResidualConv(in, out): block, a DoubleConv, plus around, a 1×1 convolution of the input."""
    made = not isinstance(residual_conv, nn.Module)
    require(made, "give the check the class itself, ResidualConv, and not one of its objects.")
    layer, given = call(residual_conv, 3, 8), torch.randn(2, 3, 12, 10)
    require(isinstance(layer, nn.Module), f"{shown(layer)} is no layer: a class is wanted.")
    for part in ("block", "around"):
        if getattr(layer, part, None) is ...:
            raise Untried
        require(hasattr(layer, part), f"there is no self.{part}.")
        kind = f"self.{part} is {shown(getattr(layer, part))}, no layer."
        require(isinstance(getattr(layer, part), nn.Module), kind)
    out = tensor(call(layer, given), "what forward returns")
    doubled = tuple(out.shape) == (2, 16, 12, 10)
    require(not doubled, "16 channels, so you join the two. Here they are added.")
    require(
        tuple(out.shape) == (2, 8, 12, 10), f"the shape is {tuple(out.shape)}, not (2, 8, 12, 10)."
    )
    is_conv = isinstance(layer.around, nn.Conv2d)
    require(is_conv, f"self.around is {type(layer.around).__name__}: a 1×1 convolution is wanted.")
    kernel = tuple(layer.around.weight.shape)
    require(kernel == (8, 3, 1, 1), f"around's weight is {kernel}; 1×1 would be (8, 3, 1, 1).")
    with torch.no_grad():
        way = layer.around(given)
        both = torch.allclose(layer(given), layer.block(given) + way, atol=1e-5)
        for weight in layer.block.parameters():
            weight.zero_()
        silent = layer(given)  # BatchNorm's scale and shift are 0: block says nothing
    clipped = torch.allclose(silent, way.clamp(min=0)) and not torch.allclose(silent, way)
    require(not clipped, "negative numbers are lost behind the sum: no ReLU there.")
    require(silent.abs().max() > 0, "with a silent block nothing is left: is around added?")
    why = "with a silent block, exactly what went around should remain."
    require(torch.allclose(silent, way, atol=1e-6), why)
    require(both, "the output is not self.block(x) + self.around(x).")


def unet_parameters(features: Sequence[int]) -> int:
    """The parameters of UNET(features=features), without building it: it may be far too large."""

    def double_conv(i: int, o: int) -> int:
        return 9 * i * o + 9 * o * o + 4 * o

    widths = [3, *features, 2 * features[-1]]
    down = sum(double_conv(i, o) for i, o in pairwise(widths))
    up = sum(4 * i * o + o + double_conv(2 * o, o) for o, i in pairwise(widths[1:]))
    return down + up + features[0] + 1


@exercise(
    "04.4",
    "Halving all features makes about a quarter of the parameters: a convolution has its weights "
    "for every pair of a channel in and a channel out.",
    "How far it sees depends on the number of levels alone (section 11): 3 levels see 68 pixels.",
    "Four levels see 140 pixels. With (16, 32, 64, 128) there are 1.9 million parameters.",
)
def small_unet(features: Any) -> str:
    """features: those of a UNET with few parameters whose bottleneck still sees far."""
    widths = [whole(value, "a feature") for value in sequence(features, "features")]
    require(len(widths) > 0, "features is empty: one number a level is wanted.")
    require(min(widths) >= 1, f"a level cannot have {min(widths)} channels.")
    require(len(widths) <= 7, f"{len(widths)} levels: our photos cannot be halved that often.")
    require(max(widths) <= 4096, f"{max(widths)} channels are too many for any level here.")
    parameters = unet_parameters(widths)
    sees = 1 + sum(4 * 2**level for level in range(len(widths) + 1))
    sees += sum(2**level for level in range(len(widths)))  # the poolings
    short = f"{len(widths)} level{'' if len(widths) == 1 else 's'} see {sees} pixels, {SIGHT} are"
    require(sees >= SIGHT, f"{short} wanted: more levels.")
    many = f"{parameters:,} parameters, and {BUDGET:,} are the limit: narrower levels."
    require(parameters <= BUDGET, many)
    return f"{parameters:,} parameters, and the bottleneck sees {sees} pixels."
