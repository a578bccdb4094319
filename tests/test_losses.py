"""Losses against hand-worked values, SciPy and PyTorch, and against what any loss must do."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import dice as scipy_dice_distance
from torch.nn import functional as F

from unet_helpers.config import TrainConfig
from unet_helpers.environment import CourseError
from unet_helpers.losses import (
    LOSSES,
    bce_dice_loss,
    bce_loss,
    check_classes,
    cross_entropy_dice_loss,
    dice_loss,
    make_loss,
    soft_dice,
)

BINARY = [bce_loss, dice_loss, bce_dice_loss]
MANY = ("ce_dice", "ce")  # losses for many classes
SURE = 1e4  # a logit so large that its probability is exactly 0 or 1


def batch(seed: int, images: int = 3, classes: int = 1, height: int = 9, width: int = 7):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, height, width, generator=g) * 3
    mask = torch.randint(0, max(2, classes), (images, height, width), generator=g)
    return logits, mask.to(torch.uint8)


def sure_logits(mask: torch.Tensor, classes: int = 1) -> torch.Tensor:
    """Logits (B, C, H, W) that predict exactly this mask."""
    if classes == 1:
        return (mask.unsqueeze(1).float() * 2 - 1) * SURE
    return F.one_hot(mask.long(), classes).movedim(-1, 1).float() * SURE


# --- values --------------------------------------------------------------------------------------


def test_bce_by_hand():
    # probabilities 0.5, 0.75, 0.2 for true pixels 1, 1, 0 -> -(log 0.5 + log 0.75 + log 0.8) / 3
    logits = torch.tensor([0.0, math.log(3), math.log(0.25)]).view(1, 1, 1, 3)
    mask = torch.tensor([[[1, 1, 0]]], dtype=torch.uint8)
    expected = -(math.log(0.5) + math.log(0.75) + math.log(0.8)) / 3
    assert bce_loss(logits, mask).item() == pytest.approx(expected, rel=1e-6)


def test_dice_by_hand_is_per_image_and_not_pooled():
    # Image 1: 4 true pixels, all at probability 0.5 -> (2*2 + 1) / (2 + 4 + 1) = 5/7.
    # Image 2: 1 true pixel at 0, 3 false ones at 0.5 -> (0 + 1) / (1.5 + 1 + 1) = 2/7.
    # Pooled over both it would be (4 + 1) / (3.5 + 5 + 1) = 10/19.
    logits = torch.zeros(2, 1, 2, 2)
    logits[1, 0, 0, 0] = -SURE
    mask = torch.tensor([[[1, 1], [1, 1]], [[1, 0], [0, 0]]], dtype=torch.uint8)
    assert dice_loss(logits, mask).item() == pytest.approx(1 - (5 / 7 + 2 / 7) / 2, rel=1e-6)


def test_empty_mask():
    mask = torch.zeros(2, 4, 4, dtype=torch.uint8)
    assert dice_loss(sure_logits(mask), mask).item() == 0
    # 16 false pixels: 1 - 1 / (16 + 1)
    assert dice_loss(-sure_logits(mask), mask).item() == pytest.approx(16 / 17)
    logits = torch.zeros(2, 1, 4, 4, requires_grad=True)
    dice_loss(logits, mask).backward()
    assert (logits.grad > 0).all()  # towards less car, everywhere


def test_bce_dice_is_the_sum():
    logits, mask = batch(0)
    expected = bce_loss(logits, mask) + dice_loss(logits, mask)
    torch.testing.assert_close(bce_dice_loss(logits, mask), expected)


@pytest.mark.parametrize("seed", range(5))
def test_soft_dice_of_hard_masks_against_scipy(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 3, 4, 6, 5)) < 0.4
    found = soft_dice(torch.tensor(a).float(), torch.tensor(b).float(), smooth=0.0)
    for i, c in np.ndindex(3, 4):
        expected = 1 - scipy_dice_distance(a[i, c].ravel(), b[i, c].ravel())
        assert found[i, c].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_bce_against_pytorch_in_float64(seed):
    logits, mask = batch(seed)
    expected = torch.nn.BCELoss()(logits[:, 0].double().sigmoid(), mask.double())
    assert bce_loss(logits, mask).item() == pytest.approx(expected.item(), rel=1e-5)


def plain_cross_entropy_dice(
    logits: torch.Tensor, mask: torch.Tensor, ignore_index: int | None = None
) -> float:
    """The same in NumPy, one image, one class, at a time."""
    z = logits.double().numpy()
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    m = mask.numpy()
    nats, scores = [], []
    for image in range(len(m)):
        keep = np.ones(m[image].shape, bool) if ignore_index is None else m[image] != ignore_index
        rows, columns = np.nonzero(keep)
        nats += [
            -np.log(p[image, m[image, r, c], r, c]) for r, c in zip(rows, columns, strict=True)
        ]
        for index in range(p.shape[1]):
            true, found = (m[image] == index)[keep], p[image, index][keep]
            scores.append((2 * found[true].sum() + 1) / (found.sum() + true.sum() + 1))
    return (np.mean(nats) if nats else 0.0) + 1 - np.mean(scores)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("ignore_index", [None, 0, 1, 255])
def test_cross_entropy_dice_against_plain_loops(classes, ignore_index):
    logits, mask = batch(classes, classes=classes)
    if ignore_index is not None:
        mask[:, ::3] = ignore_index
    expected = plain_cross_entropy_dice(logits, mask, ignore_index)
    found = cross_entropy_dice_loss(logits, mask, ignore_index)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_rare_class_is_not_pooled_away():
    # 100 pixels, 4 of them class 1, all missed. Pooled Dice would be the pixel accuracy, 0.96.
    mask = torch.zeros(1, 10, 10, dtype=torch.uint8)
    mask[0, 0, :4] = 1
    logits = sure_logits(torch.zeros_like(mask), classes=2)
    cross_entropy = F.cross_entropy(logits, mask.long()).item()
    by_hand = 1 - ((2 * 96 + 1) / (100 + 96 + 1) + 1 / (0 + 4 + 1)) / 2
    assert cross_entropy_dice_loss(logits, mask).item() - cross_entropy == pytest.approx(
        by_hand, abs=1e-4
    )
    assert by_hand > 0.4


def test_ignored_pixels_change_nothing_and_learn_nothing():
    logits, mask = batch(1, classes=3)
    mask[:, :2] = 255
    logits.requires_grad_()
    loss = cross_entropy_dice_loss(logits, mask, ignore_index=255)
    loss.backward()
    assert (logits.grad[:, :, :2] == 0).all()
    assert (logits.grad[:, :, 2:] != 0).any()
    other = logits.detach().clone()
    other[:, :, :2] = torch.randn(3, 3, 2, 7) * 50
    torch.testing.assert_close(cross_entropy_dice_loss(other, mask, ignore_index=255), loss)


def test_a_batch_of_only_ignored_pixels_costs_nothing():
    logits, mask = batch(2, classes=3)
    logits.requires_grad_()
    loss = cross_entropy_dice_loss(logits, torch.full_like(mask, 255), ignore_index=255)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


# --- properties ----------------------------------------------------------------------------------

seeds = st.integers(0, 10_000)
sizes = st.integers(1, 12)


def call(name: str, seed: int, images: int, height: int, width: int):
    classes = 3 if name in MANY else 1
    return make_loss(name), *batch(seed, images, classes, height, width)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(LOSSES)), seeds, st.integers(1, 5), sizes, sizes)
def test_bounds_order_and_flips(name, seed, images, height, width):
    loss, logits, mask = call(name, seed, images, height, width)
    value = loss(logits, mask)
    assert value.dtype == torch.float32
    assert value.shape == ()
    assert value >= -1e-6
    if name == "dice":
        assert value <= 1
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(loss(logits[order], mask[order]), value)
    torch.testing.assert_close(loss(logits.flip(-1, -2), mask.flip(-1, -2)), value)
    alone = [loss(logits[i : i + 1], mask[i : i + 1]) for i in range(images)]
    torch.testing.assert_close(torch.stack(alone).mean(), value)  # every image weighs the same


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(LOSSES)), seeds, st.integers(1, 5), sizes, sizes)
def test_a_perfect_prediction_costs_nothing_and_a_step_downhill_helps(
    name, seed, images, height, width
):
    loss, logits, mask = call(name, seed, images, height, width)
    assert loss(sure_logits(mask, logits.shape[1]), mask).item() == pytest.approx(0, abs=1e-6)
    logits.requires_grad_()
    before = loss(logits, mask)
    before.backward()
    after = loss(logits.detach() - 1e-2 * logits.grad, mask)
    assert after <= before + 1e-6


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(LOSSES)),
    seeds,
    st.sampled_from([1e2, 1e4, -1e4]),
    st.sampled_from(["random", "empty", "full"]),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_extreme_logits_stay_finite(name, seed, scale, kind, dtype):
    loss, logits, mask = call(name, seed, 2, 6, 5)
    if kind != "random":
        mask = torch.full_like(mask, int(kind == "full"))
    logits = (logits.sign() * scale).to(dtype).requires_grad_()
    value = loss(logits, mask)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_car_and_background_are_symmetric_in_bce(seed):
    logits, mask = batch(seed)
    torch.testing.assert_close(bce_loss(-logits, 1 - mask), bce_loss(logits, mask))


@settings(max_examples=25, deadline=None)
@given(seeds, st.permutations(range(4)))
def test_the_names_of_the_classes_do_not_matter(seed, order):
    logits, mask = batch(seed, classes=4)
    order = torch.tensor(order)
    renamed = torch.argsort(order)[mask.long()].to(torch.uint8)
    torch.testing.assert_close(
        cross_entropy_dice_loss(logits[:, order], renamed), cross_entropy_dice_loss(logits, mask)
    )


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_any_whole_type_of_mask_gives_the_same(name):
    loss, logits, mask = call(name, 3, 2, 6, 5)
    for dtype in (torch.int64, torch.int32, torch.bool if name not in MANY else torch.int16):
        torch.testing.assert_close(loss(logits, mask.to(dtype)), loss(logits, mask))


# --- precision -----------------------------------------------------------------------------------


def in_float64(name: str, logits: torch.Tensor, mask: torch.Tensor) -> float:
    if name == "ce_dice":
        return plain_cross_entropy_dice(logits, mask)
    if name == "ce":
        return F.cross_entropy(logits.double(), mask.long()).item()
    z, m = logits[:, 0].double(), mask.double()
    p = z.sigmoid()
    scores = (2 * (p * m).sum((1, 2)) + 1) / (p.sum((1, 2)) + m.sum((1, 2)) + 1)
    parts = {"bce": F.binary_cross_entropy(p, m), "dice": 1 - scores.mean()}
    return sum(value for part, value in parts.items() if part in name.split("_")).item()


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [True, False])
def test_computed_in_float32_whatever_comes_in(name, dtype, autocast):
    # 200 × 150 pixels: a sum in bfloat16 would be off in the third digit.
    loss, logits, mask = call(name, 4, 2, 200, 150)
    logits = logits.to(dtype)
    lower, full = (x.clone().requires_grad_() for x in (logits, logits.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = loss(lower, mask)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(in_float64(name, logits, mask), rel=2e-6)
    # A gradient leaves in the type of the logits: up to two roundings, 2 ** -8 each in bfloat16,
    # and in float16 numbers below 6e-8 become 0.
    loss(full, mask).backward()
    rtol = 0 if dtype == torch.float32 else 2**-6
    torch.testing.assert_close(lower.grad.float(), full.grad, rtol=rtol, atol=1.2e-7)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", BINARY)
@pytest.mark.parametrize(
    ("logits", "mask", "said"),
    [
        ((2, 4, 5), (2, 4, 5), ["logits", "(B, 1, H, W)", "(2, 4, 5)"]),
        ((2, 3, 4, 5), (2, 4, 5), ["logits", "(B, 1, H, W)", "(2, 3, 4, 5)", "ce_dice"]),
        ((2, 1, 4, 5), (2, 1, 4, 5), ["mask", "(2, 4, 5)", "(2, 1, 4, 5)"]),
        ((2, 1, 4, 5), (2, 5, 4), ["mask", "(2, 4, 5)", "(2, 5, 4)"]),
        ((2, 1, 4, 5), (1, 4, 5), ["mask", "(2, 4, 5)", "(1, 4, 5)"]),
    ],
)
def test_wrong_shapes_for_two_classes(loss, logits, mask, said):
    with pytest.raises(CourseError) as error:
        loss(torch.zeros(logits), torch.zeros(mask, dtype=torch.uint8))
    assert all(part in str(error.value) for part in said)


@pytest.mark.parametrize(
    ("logits", "mask", "said"),
    [
        ((2, 1, 4, 5), (2, 4, 5), ["C of 2 or more", "(2, 1, 4, 5)"]),
        ((3, 4, 5), (4, 5), ["C of 2 or more", "(3, 4, 5)"]),
        ((2, 3, 4, 5), (2, 3, 4, 5), ["(2, 4, 5)", "found (2, 3, 4, 5)"]),
    ],
)
def test_wrong_shapes_for_many_classes(logits, mask, said):
    with pytest.raises(CourseError) as error:
        cross_entropy_dice_loss(torch.zeros(logits), torch.zeros(mask, dtype=torch.uint8))
    assert all(part in str(error.value) for part in said)


@pytest.mark.parametrize("loss", BINARY)
def test_a_mask_of_0_and_255_is_refused(loss):
    logits, mask = batch(5)
    with pytest.raises(CourseError, match=r"class indices 0 to 1; found the value 255\..*binarise"):
        loss(logits, mask * 255)


def test_classes_out_of_range_are_refused():
    logits, mask = batch(6, classes=3)
    mask[1, 2, 3] = 3
    with pytest.raises(CourseError, match="class indices 0 to 2; found the value 3") as refused:
        cross_entropy_dice_loss(logits, mask)
    assert "binarise" not in str(refused.value)  # that would throw the classes away
    with pytest.raises(CourseError, match="found the value 3"):
        cross_entropy_dice_loss(logits, mask, ignore_index=255)
    assert torch.isfinite(cross_entropy_dice_loss(logits, mask, ignore_index=3))
    with pytest.raises(CourseError, match="found the value -1"):
        check_classes(torch.full((1, 2, 2), -1), 3)
    with pytest.raises(CourseError, match=r"^labels: .*found the values 2, 254, 255"):
        check_classes(torch.tensor([[[0, 2, 255], [1, 254, 2]]]), 2, what="labels")
    with pytest.raises(CourseError, match="found the values 3, 4, 5, 6, 7, 8, 9, 10, …"):
        check_classes(torch.arange(12).view(1, 3, 4), 3)


def test_a_mask_of_fractions_is_refused():
    with pytest.raises(CourseError, match=r"as uint8; found torch\.float32"):
        bce_loss(torch.zeros(1, 1, 2, 2), torch.full((1, 2, 2), 0.5))


def test_losses_are_the_ones_a_config_may_name():
    names = get_args(TrainConfig.__annotations__["loss"]) or get_args(
        TrainConfig.model_fields["loss"].annotation
    )
    assert sorted(names) == sorted(LOSSES)
    assert make_loss("bce_dice") is bce_dice_loss
    with pytest.raises(CourseError, match="bce_dice, bce, dice, ce_dice, ce; found 'focal'"):
        make_loss("focal")


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_mask_on_an_accelerator_is_not_read_back(name):
    # The "meta" device has shapes and no values: reading one, as a check of classes does, fails.
    loss, logits, mask = call(name, 7, 2, 6, 5)
    assert loss(logits.to("meta"), mask.to("meta")).shape == ()
    with pytest.raises(CourseError, match="mask"):
        loss(logits.to("meta"), mask[:1].to("meta"))
