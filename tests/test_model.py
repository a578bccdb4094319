"""The network against a second one written out by hand, and against its own promises."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unet_helpers.environment import CourseError
from unet_helpers.model import UNET, DoubleConv, count_parameters, up_sampling

SMALL = (4, 6, 8, 10)
BATCHNORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def small(**options: object) -> UNET:
    torch.manual_seed(0)
    return UNET(**{"features": SMALL, **options}).eval()


def photo(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


# --- size and number of parameters ---------------------------------------------------------------


def double_conv_parameters(i: int, o: int, norm: str) -> int:
    extra = 2 * o if norm == "batch" else o  # BatchNorm: scale and shift; without it: the bias
    return 9 * i * o + extra + 9 * o * o + extra


@pytest.mark.parametrize(
    ("norm", "up", "skips", "known"),
    [
        # The first is the number every PyTorch U-Net of these widths reports for one class.
        ("batch", "transposed", True, 31_037_633),
        ("none", "transposed", True, 31_031_745),
        ("batch", "bilinear", True, 28_948_673),
        ("batch", "transposed", False, 27_904_193),
    ],
)
def test_parameters_of_the_full_width_follow_from_the_layers(norm, up, skips, known):
    kernel = 4 if up == "transposed" else 1
    total = 0
    for i, o in [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]:
        total += double_conv_parameters(i, o, norm)
    for i, o in [(1024, 512), (512, 256), (256, 128), (128, 64)]:
        total += kernel * i * o + o + double_conv_parameters(2 * o if skips else o, o, norm)
    total += 64 * 1 + 1
    model = UNET(norm=norm, up=up, skips=skips)
    assert count_parameters(model) == total == known


def test_frozen_parameters_are_not_counted():
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("up", ["transposed", "bilinear"])
@pytest.mark.parametrize("skips", [True, False])
def test_logits_have_the_size_of_the_photo(norm, up, skips):
    model = small(norm=norm, up=up, skips=skips, out_channels=3)
    sizes = [(16, 16), (17, 17), (16, 31), (33, 47), (64, 96), (161, 161)]
    for height, width in sizes:
        assert model(photo(height, width)).shape == (1, 3, height, width)


@pytest.mark.parametrize(("height", "width"), [(1280, 1918), (1918, 1280)])
def test_full_resolution(height, width):
    model = UNET(features=(2, 2, 2, 2)).eval()
    with torch.inference_mode():
        assert model(photo(height, width)).shape == (1, 1, height, width)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_levels_follow_the_features_and_set_the_least_size(levels):
    model = UNET(features=(4,) * levels).eval()
    least = 2**levels
    assert model(photo(least, least)).shape == (1, 1, least, least)
    for height, width in [(least - 1, 64), (64, least - 1)]:
        with pytest.raises(CourseError) as error:
            model(photo(height, width))
        assert f"{least}×{least}" in str(error.value)
        assert f"{height}×{width}" in str(error.value)


def test_other_numbers_of_channels():
    model = UNET(in_channels=1, out_channels=5, features=(4, 7))  # 7: no doubling needed
    assert model(torch.randn(2, 1, 20, 24)).shape == (2, 5, 20, 24)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: UNET(norm="group"), ["norm", "'batch' or 'none'", "'group'"]),
        (lambda: DoubleConv(3, 4, norm=None), ["norm", "None"]),
        (lambda: UNET(up="nearest"), ["up", "'transposed' or 'bilinear'", "'nearest'"]),
    ],
)
def test_unknown_options_are_refused_by_name(build, said):
    with pytest.raises(CourseError) as error:
        build()
    assert all(part in str(error.value) for part in said)


# --- what it computes ----------------------------------------------------------------------------


def by_hand(weights: dict[str, torch.Tensor], x: torch.Tensor, levels: int = 4) -> torch.Tensor:
    """The same network from its weights alone, layer by layer, with sizes worked out apart."""

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in [(0, 1), (3, 4)]:
            x = F.conv2d(x, weights[f"{name}.layers.{conv}.weight"], padding=1)
            part = {key: weights[f"{name}.layers.{norm}.{key}"] for key in ("weight", "bias")}
            mean = weights[f"{name}.layers.{norm}.running_mean"].view(-1, 1, 1)
            var = weights[f"{name}.layers.{norm}.running_var"].view(-1, 1, 1)
            x = (x - mean) / (var + 1e-5).sqrt()
            x = x * part["weight"].view(-1, 1, 1) + part["bias"].view(-1, 1, 1)
            x = x.clamp(min=0)
        return x

    kept = []
    for level in range(levels):
        x = block(f"encoder.downs.{level}", x)
        kept.append(x)
        # Every 2×2 window, the last ones cut off by the edge: fill up with minus infinity.
        height, width = x.shape[-2:]
        x = F.pad(x, (0, width % 2, 0, height % 2), value=float("-inf"))
        x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-1, -2))
    x = block("encoder.bottleneck", x)
    for level in range(levels):
        kernel, bias = weights[f"decoder.ups.{level}.weight"], weights[f"decoder.ups.{level}.bias"]
        # Stride and kernel are both 2, so each pixel becomes a 2×2 patch of its own.
        x = torch.einsum("bihw,iopq->bohpwq", x, kernel).flatten(4, 5).flatten(2, 3)
        x = x + bias.view(-1, 1, 1)
        skip = kept.pop()
        rows, columns = skip.shape[-2:]
        x = block(f"decoder.merges.{level}", torch.cat([skip, x[:, :, :rows, :columns]], dim=1))
    weight, bias = weights["final_conv.weight"], weights["final_conv.bias"]
    return torch.einsum("bihw,oi->bohw", x, weight[:, :, 0, 0]) + bias.view(-1, 1, 1)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (35, 49)])
def test_the_network_is_the_papers_figure(height, width):
    model = small()
    model.train()
    with torch.no_grad():
        for seed in range(3):  # running statistics that are not 0 and 1
            torch.manual_seed(seed)
            model(torch.randn(4, 3, 32, 32) * 2 + 1)
    model.eval()
    x = photo(height, width, batch=2)
    torch.testing.assert_close(model(x), by_hand(model.state_dict(), x), rtol=1e-4, atol=1e-4)


def test_bilinear_up_sampling_equals_interpolating_first():
    layer = up_sampling(6, 3, "bilinear")
    x = torch.randn(2, 6, 5, 7)
    large = F.interpolate(x, size=(10, 14), mode="bilinear", align_corners=False)
    expected = F.conv2d(large, layer[0].weight, layer[0].bias)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("skips", [True, False])
def test_skips_carry_the_photo_past_the_bottleneck(skips):
    model = small(skips=skips)
    bottleneck = model.encoder.bottleneck
    bottleneck.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    first, second = model(photo(32, 32)), model(photo(32, 32) * -2 + 1)
    assert torch.equal(first, second) == (not skips)


@pytest.mark.parametrize("size", [17, 33, 47, 161])
def test_the_last_corner_of_an_odd_photo_sees_its_coarse_feature(size):
    model = small(skips=False)
    seen = {}

    def keep(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        output.retain_grad()
        seen["coarse"] = output

    model.encoder.bottleneck.register_forward_hook(keep)
    model(photo(size, size))[0, 0, -1, -1].backward()
    assert seen["coarse"].shape[-1] == -(-size // 16)
    assert seen["coarse"].grad[0, :, -1, -1].abs().sum() > 0


def test_batchnorm_stands_between_convolution_and_relu():
    torch.manual_seed(0)
    block = DoubleConv(3, 8)
    out = block.layers[:2](torch.randn(8, 3, 16, 16) * 5 + 3)
    # In training mode BatchNorm sees the convolution itself: mean 0 and spread 1, both signs.
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std(dim=(0, 2, 3)), torch.ones(8), atol=1e-2, rtol=0)
    assert block(torch.randn(2, 3, 16, 16)).min() >= 0


def test_convolutions_have_a_bias_only_without_batchnorm():
    for norm, expected in [("batch", False), ("none", True)]:
        convs = [m for m in DoubleConv(3, 4, norm).modules() if isinstance(m, nn.Conv2d)]
        assert [conv.bias is not None for conv in convs] == [expected, expected]


def test_he_initialisation_keeps_the_size_of_the_signal_without_batchnorm():
    torch.manual_seed(0)
    blocks = nn.Sequential(*[DoubleConv(64, 64, norm="none") for _ in range(4)])
    x = torch.randn(1, 64, 64, 64)
    with torch.no_grad():
        gain = blocks(x).pow(2).mean() / x.pow(2).mean()
    assert 0.3 < gain < 3  # PyTorch's own start gives about 6 ** -8


# --- how it is used ------------------------------------------------------------------------------


def test_channels_last_gives_the_same_logits():
    model, x = small(), photo(33, 47)
    with torch.no_grad():
        expected = model(x)
        moved = model.to(memory_format=torch.channels_last)
        found = moved(x.to(memory_format=torch.channels_last))
    assert moved.encoder.downs[0].layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_compiles_into_one_graph():
    model, x = small(), photo(33, 47)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)


def test_every_parameter_learns():
    for norm, up, skips in itertools.product(
        ["batch", "none"], ["transposed", "bilinear"], [True, False]
    ):
        model = small(norm=norm, up=up, skips=skips).train()
        model(photo(32, 32, batch=2)).square().mean().backward()
        idle = [name for name, p in model.named_parameters() if p.grad is None]
        assert idle == []


def test_learns_a_small_mask_by_heart():
    torch.manual_seed(0)
    model = UNET(features=(8, 16))
    x = torch.rand(2, 3, 24, 24)
    mask = (F.avg_pool2d(x[:, :1], 5, stride=1, padding=2) > 0.5).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), mask).backward()
        optimizer.step()
    assert ((model(x) > 0) == mask.bool()).float().mean() > 0.95


def test_names_in_the_state_dict_stay():
    """Shipped weights are loaded by these names; a change here breaks every checkpoint."""
    block = [
        "layers.0.weight",
        *(f"layers.1.{key}" for key in BATCHNORM),
        "layers.3.weight",
        *(f"layers.4.{key}" for key in BATCHNORM),
    ]
    expected = [
        *(f"encoder.downs.{i}.{key}" for i in range(2) for key in block),
        *(f"encoder.bottleneck.{key}" for key in block),
        *(f"decoder.ups.{i}.{key}" for i in range(2) for key in ("weight", "bias")),
        *(f"decoder.merges.{i}.{key}" for i in range(2) for key in block),
        "final_conv.weight",
        "final_conv.bias",
    ]
    assert list(UNET(features=(4, 8)).state_dict()) == expected
