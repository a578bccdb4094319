"""A walk through a U-Net: what stands after each of its steps, from one forward pass with hooks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from unet_helpers.environment import CourseError
from unet_helpers.model import count_parameters


@dataclass(frozen=True, eq=False)
class Step:
    """One step of the way: what it does, and what it leaves.

    name: in words; level: 1 at the photo's size, one more below each pooling; way: "down", "bottom"
    or "up". maps: float32 (C, H, W) on the CPU. sees: width in pixels of the piece of the photo
    that one position depends on, at the most. parameters: of this step alone.
    """

    name: str
    level: int
    way: str
    maps: torch.Tensor
    sees: int
    parameters: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(1, C, H, W)."""
        return (1, *self.maps.shape)


def walk(model: nn.Module, image: torch.Tensor) -> list[Step]:
    """All steps for one photo, float32 (3, H, W), in their order; the model runs once.

    model: a UNET, the course's own or one with the same parts, built in a notebook. It runs in eval
    mode, and is left in the mode it was in. Raises CourseError for another kind of model.
    """
    for part in ("encoder.downs", "encoder.pool", "encoder.bottleneck", "decoder.ups",
                 "decoder.merges", "final_conv"):  # fmt: skip
        if not _has(model, part):
            raise CourseError(
                "the model",
                expected="a UNET with encoder, decoder and final_conv",
                found=f"{type(model).__name__} without {part}",
                mend="pass a UNET of unet_helpers.model",
            )
    seen = _run(model, image)
    down, reaches = _way_down(model, image, seen)
    return [*down, *_way_up(model, seen, reaches)]


def _has(model: nn.Module, path: str) -> bool:
    for name in path.split("."):
        model = getattr(model, name, None)
    return isinstance(model, nn.Module)


def _run(model: nn.Module, image: torch.Tensor) -> dict[nn.Module, list[torch.Tensor]]:
    """Module -> what it put out, and for the merges also what they were given, call by call."""
    seen: dict[nn.Module, list[torch.Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        kept = [inputs[0], output] if module in merges else [output]
        seen.setdefault(module, []).extend(one[0].float().cpu() for one in kept)

    encoder, decoder, merges = model.encoder, model.decoder, set(model.decoder.merges)
    watched = [*encoder.downs, encoder.pool, encoder.bottleneck, *decoder.ups, *decoder.merges]
    hooks = [part.register_forward_hook(keep) for part in (*watched, model.final_conv)]
    was_training = model.training
    try:
        device = next(model.parameters()).device
        with torch.inference_mode():
            model.eval()(image[None].to(device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return seen


@dataclass(frozen=True)
class Reach:
    """Which stretch of one side of the photo each position of a map depends on.

    first, last: int (positions,), the first and the last pixel. Followed position by position, for
    with bilinear up-sampling neighbours do not see equally far.
    """

    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of_photo(cls, pixels: int) -> Reach:
        return cls(np.arange(pixels), np.arange(pixels))

    @property
    def width(self) -> int:
        """Of the position that sees furthest, in pixels."""
        return int((self.last - self.first).max()) + 1

    def double_conv(self) -> Reach:
        """Two 3×3 convolutions: two positions on each side."""
        first, last = np.pad(self.first, 2, mode="edge"), np.pad(self.last, 2, mode="edge")
        return Reach(first[:-4], last[4:])

    def pooled(self) -> Reach:
        return Reach(self.first[::2], self.last[1::2])

    def doubled(self, up: nn.Module) -> Reach:
        first, last = np.repeat(self.first, 2), np.repeat(self.last, 2)
        if any(isinstance(part, nn.Upsample) for part in up.modules()):
            # Bilinear: an even position lies between its own coarse one and the one before, an odd
            # position between its own and the one after.
            first[2::2], last[1:-1:2] = self.first[:-1], self.last[1:]
        return Reach(first, last)

    def joined(self, other: Reach) -> Reach:
        return Reach(np.minimum(self.first, other.first), np.maximum(self.last, other.last))


def _way_down(model: nn.Module, image: torch.Tensor, seen: dict) -> tuple[list[Step], list[Reach]]:
    """The steps down to the bottleneck, and the reach at each level, the bottleneck's last."""
    encoder = model.encoder
    steps = [Step("the photo, as the network gets it", 1, "down", image.float().cpu(), 1, 0)]
    reach, kept = Reach.of_photo(64 * 2 ** len(encoder.downs)), []
    for level, (down, pooled) in enumerate(
        zip(encoder.downs, seen[encoder.pool], strict=True), start=1
    ):
        reach = reach.double_conv()
        kept.append(reach)
        name = f"level {level}, way down: DoubleConv"
        steps.append(Step(name, level, "down", seen[down][0], reach.width, count_parameters(down)))
        reach = reach.pooled()
        name = f"pooling, to level {level + 1}"
        steps.append(Step(name, level + 1, "down", pooled, reach.width, 0))
    reach, bottom = reach.double_conv(), encoder.bottleneck
    level, name = len(encoder.downs) + 1, "bottleneck: DoubleConv"
    last = Step(name, level, "bottom", seen[bottom][0], reach.width, count_parameters(bottom))
    return [*steps, last], [*kept, reach]


def _way_up(model: nn.Module, seen: dict, reaches: list[Reach]) -> list[Step]:
    steps, decoder = [], model.decoder
    *kept, reach = reaches
    for level, up, merge in zip(range(len(kept), 0, -1), decoder.ups, decoder.merges, strict=True):
        reach = reach.doubled(up)
        given, out = seen[merge]
        maps = seen[up][0]
        name = f"up-sampling, to level {level}"
        steps.append(Step(name, level, "up", maps, reach.width, count_parameters(up)))
        if given.shape[0] > maps.shape[0]:
            reach = reach.joined(kept[level - 1])
            name = f"level {level}: joined with what the way down kept"
            steps.append(Step(name, level, "up", given, reach.width, 0))
        reach = reach.double_conv()
        name = f"level {level}, way up: DoubleConv"
        steps.append(Step(name, level, "up", out, reach.width, count_parameters(merge)))
    return [*steps, *_ending(model, seen[model.final_conv][0], reach.width)]


def _ending(model: nn.Module, logits: torch.Tensor, sees: int) -> list[Step]:
    """The 1×1 convolution, and what makes its logits probabilities."""
    one = len(logits) == 1
    probability = torch.sigmoid(logits) if one else torch.softmax(logits, dim=0)
    what = "sigmoid: the probability of car" if one else "softmax: a probability for each class"
    name = (
        "1×1 convolution: one logit a pixel" if one else "1×1 convolution: a logit for each class"
    )
    return [
        Step(name, 1, "up", logits, sees, count_parameters(model.final_conv)),
        Step(what, 1, "up", probability, sees, 0),
    ]
