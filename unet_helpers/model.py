"""The U-Net, built in notebook 04: DoubleConv, the way up, and the network that joins them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from unet_helpers.environment import CourseError

__all__ = [
    "UNET",
    "Decoder",
    "DoubleConv",
    "Encoder",
    "check_photo_size",
    "count_parameters",
    "up_sampling",
]


class DoubleConv(nn.Module):
    """Two rounds of 3×3 convolution, BatchNorm, ReLU: the block at every level of the U-Net.

    Input (B, in_channels, H, W), output (B, out_channels, H, W): padding 1 keeps height and width.
    `norm` is "batch" or "none"; anything else raises CourseError.
    Weights start as in the paper (He initialisation; Ronneberger et al. 2015, section 3).
    """

    def __init__(self, in_channels: int, out_channels: int, norm: str = "batch") -> None:
        super().__init__()
        norms = {"batch": nn.BatchNorm2d, "none": nn.Identity}
        if norm not in norms:
            mend = "choose one of the two"
            raise CourseError("norm", expected="'batch' or 'none'", found=repr(norm), mend=mend)
        # BatchNorm subtracts the mean, and any bias with it, and then adds a bias of its own.
        bias = norm == "none"
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias),
            norms[norm](out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=bias),
            norms[norm](out_channels),
            nn.ReLU(inplace=True),
        )
        for conv in (self.layers[0], self.layers[3]):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)  # (B, out_channels, H, W)


def up_sampling(in_channels: int, out_channels: int, up: str = "transposed") -> nn.Module:
    """Make the layer that doubles height and width: (B, in, H, W) to (B, out, 2H, 2W).

    "transposed" learns a 2×2 kernel with stride 2. "bilinear" changes the channels with a 1×1
    convolution and then interpolates; in this order the convolution sees a quarter of the pixels,
    and since both steps are linear the result is the same. Anything else raises CourseError.
    """
    if up == "transposed":
        return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
    if up == "bilinear":
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )
    mend = "choose one of the two"
    raise CourseError("up", expected="'transposed' or 'bilinear'", found=repr(up), mend=mend)


def check_photo_size(x: torch.Tensor, levels: int) -> None:
    """Raise CourseError for a photo (B, C, H, W) with a side below 2 ** levels."""
    height, width = x.shape[-2:]
    least = 2**levels
    if min(height, width) < least:
        raise CourseError(
            "the photo given to UNET",
            expected=f"at least {least}×{least} pixels for {levels} levels",
            found=f"{height}×{width}",
            mend="use larger photos or fewer features",
        )


class Encoder(nn.Module):
    """The way down (the paper's contracting path): a DoubleConv at each level, pooling between.

    Input (B, in_channels, H, W). Output: the bottleneck's map, (B, 2 * features[-1], H/16, W/16)
    at four levels, sizes rounded up, and the list of what each level keeps for the way up, the
    largest map first. CourseError for a height or width below 2 ** len(features).
    """

    def __init__(self, in_channels: int, features: tuple[int, ...], norm: str) -> None:
        super().__init__()
        widths = (in_channels, *features)
        self.downs = nn.ModuleList(DoubleConv(i, o, norm) for i, o in pairwise(widths))
        self.pool = nn.MaxPool2d(kernel_size=2, ceil_mode=True)
        self.bottleneck = DoubleConv(features[-1], 2 * features[-1], norm)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        check_photo_size(x, len(self.downs))
        kept = []
        for down in self.downs:
            x = down(x)  # (B, width, H, W)
            kept.append(x)
            x = self.pool(x)  # (B, width, H/2, W/2), rounded up
        return self.bottleneck(x), kept  # (B, 2 * width, H/16, W/16) at four levels


class Decoder(nn.Module):
    """The way up (the paper's expansive path): double the size, join what was kept, DoubleConv.

    Input: both outputs of Encoder. Output (B, features[0], H, W), the size of the photo. The maps
    are taken off the list one by one, so that no memory is held longer than needed.
    """

    def __init__(self, features: tuple[int, ...], norm: str, up: str, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.ups, self.merges = nn.ModuleList(), nn.ModuleList()
        channels = 2 * features[-1]
        for width in reversed(features):
            self.ups.append(up_sampling(channels, width, up))
            self.merges.append(DoubleConv(2 * width if skips else width, width, norm))
            channels = width

    def forward(self, x: torch.Tensor, kept: list[torch.Tensor]) -> torch.Tensor:
        for up, merge in zip(self.ups, self.merges, strict=True):
            x = up(x)  # (B, width, 2H, 2W)
            skip = kept.pop()  # the map of this level
            x = x[..., : skip.shape[-2], : skip.shape[-1]]  # one row or column less, if odd
            if self.skips:
                x = torch.cat([skip, x], dim=1)  # (B, 2 * width, H, W)
            del skip  # outside of training its memory is free again from here on
            x = merge(x)  # (B, width, H, W)
        return x


class UNET(nn.Module):
    """The U-Net: down through DoubleConvs and pooling, up again, joined by skip connections.

    Input (B, in_channels, H, W), output logits (B, out_channels, H, W) for every height and width
    from 2 ** len(features) on (16 at four levels); CourseError below that. One output channel
    means car against background; more mean one logit per class.

    After Ronneberger, Fischer and Brox, "U-Net" (2015), section 2, with these differences:
    - padding 1 where the paper's convolutions have none, so the mask is as large as the photo
      (the paper's 572×572 photo gives a 388×388 mask);
    - BatchNorm between convolution and ReLU, published in the same year: it bears higher learning
      rates;
    - any size: pooling keeps the last row or column of an odd map as a window of its own
      (ceil_mode), and the up-sampled map is cropped to the size of its skip. The paper crops the
      skip. Nothing is padded or stretched, so every pixel still lies below its own coarse
      feature, and at even sizes the crop does nothing;
    - up-sampling by a transposed 2×2 convolution ("bilinear" comes closer to the paper's words:
      up-sampling followed by a convolution), and no dropout.

    `skips=False` leaves the skip connections out, to see what they are worth.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        features: tuple[int, ...] = (64, 128, 256, 512),
        norm: str = "batch",
        up: str = "transposed",
        skips: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, features, norm)
        self.decoder = Decoder(features, norm, up, skips)
        self.final_conv = nn.Conv2d(features[0], out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, kept = self.encoder(x)  # (B, 2 * last, H/16, W/16) at four levels, one map a level
        x = self.decoder(x, kept)  # (B, first, H, W)
        return self.final_conv(x)  # (B, out_channels, H, W)


def count_parameters(model: nn.Module) -> int:
    """Count the numbers that training can change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
