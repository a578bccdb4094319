"""Losses of many classes: PyTorch's own cross-entropy as oracle, hand-worked values, and the proof
that one channel with a sigmoid and two channels with a softmax are the same problem.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torchmetrics.functional.segmentation import dice_score

from unet_helpers.environment import CourseError
from unet_helpers.losses import (
    balanced_weights,
    bce_loss,
    cross_entropy_dice_loss,
    cross_entropy_loss,
    dice_loss,
    make_loss,
    per_class_dice_loss,
    pixel_weight,
)

WEIGHTS = (0.25, 1.5, 1.0, 3.0)


def batch(seed: int, classes: int = 4, images: int = 2, height: int = 6, width: int = 5):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, height, width, generator=generator)
    mask = torch.randint(0, classes, (images, height, width), generator=generator)
    return logits, mask.to(torch.uint8)


# --- weights and ignored pixels ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ignore_index", [None, 255, 2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_against_pytorch(seed, ignore_index, weights):
    logits, mask = batch(seed)
    if ignore_index is not None:
        mask[:, :2] = ignore_index
    expected = F.cross_entropy(
        logits.double(),
        mask.long(),
        None if weights is None else torch.tensor(weights).double(),
        ignore_index=-100 if ignore_index is None else ignore_index,
    )
    found = cross_entropy_loss(logits, mask, weights, ignore_index)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weighted_cross_entropy_by_hand():
    """Two pixels, called right with probability 1/2 and 1/4, weights 1 and 3."""
    logits = torch.log(torch.tensor([[0.5, 0.75], [0.5, 0.25]])).view(1, 2, 1, 2)
    mask = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    by_hand = (1 * np.log(2) + 3 * np.log(4)) / (1 + 3)
    assert cross_entropy_loss(logits, mask, (1, 3)).item() == pytest.approx(by_hand)


def test_only_the_ratio_of_the_weights_counts_and_equal_ones_change_nothing():
    logits, mask = batch(0)
    plain = cross_entropy_loss(logits, mask)
    torch.testing.assert_close(cross_entropy_loss(logits, mask, (2.0,) * 4), plain)
    torch.testing.assert_close(
        cross_entropy_loss(logits, mask, WEIGHTS),
        cross_entropy_loss(logits, mask, [10 * w for w in WEIGHTS]),
    )


def test_a_heavier_class_pulls_harder():
    logits, mask = batch(1)

    def pull(weights) -> float:
        given = logits.clone().requires_grad_()
        cross_entropy_loss(given, mask, weights).backward()
        return given.grad[:, 3][mask == 3].abs().sum().item()

    assert pull((1, 1, 1, 5)) > 1.5 * pull((1, 1, 1, 1))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_only_ignored_pixels_cost_nothing_and_pull_nowhere(weights):
    logits, mask = batch(0)
    logits.requires_grad_()
    loss = cross_entropy_loss(logits, torch.full_like(mask, 255), weights, 255)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_the_dice_part_is_torchmetrics_dice_where_predictions_are_sure():
    """Probabilities of 0 and 1: soft Dice is Dice, but for the pixel of `smooth`."""
    _, mask = batch(2, height=40, width=40)
    _, predicted = batch(3, height=40, width=40)
    logits = 60.0 * F.one_hot(predicted.long(), 4).permute(0, 3, 1, 2)
    expected = dice_score(
        predicted.long(), mask.long(), 4, average="none", input_format="index"
    ).mean()
    found = 1 - per_class_dice_loss(logits, mask)
    assert found.item() == pytest.approx(expected.item(), abs=2e-3)


def test_the_sum_is_the_sum_and_a_config_gets_it():
    logits, mask = batch(4)
    mask[0, 0] = 255
    parts = cross_entropy_loss(logits, mask, WEIGHTS, 255) + per_class_dice_loss(logits, mask, 255)
    whole = cross_entropy_dice_loss(logits, mask, 255, WEIGHTS)
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(make_loss("ce_dice", WEIGHTS, 255)(logits, mask), parts)
    assert make_loss("ce_dice") is cross_entropy_dice_loss
    alone = cross_entropy_loss(logits, mask, WEIGHTS, 255)
    torch.testing.assert_close(make_loss("ce", WEIGHTS, 255)(logits, mask), alone)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_parts_of_a_batch_divided_by_the_weight_of_all_of_it_add_up(weights):
    """Image 0 has a single pixel that counts, image 1 all of them."""
    logits, mask = batch(5)
    mask[0] = 255
    mask[0, 0, 0] = 3
    whole = pixel_weight(mask, weights, 255)
    parts = [
        cross_entropy_loss(logits[i : i + 1], mask[i : i + 1], weights, 255, divisor=whole)
        for i in range(2)
    ]
    torch.testing.assert_close(sum(parts), cross_entropy_loss(logits, mask, weights, 255))
    by_hand = sum(1 if weights is None else weights[c] for c in mask.flatten().tolist() if c < 255)
    assert whole.item() == pytest.approx(by_hand)


def test_a_class_without_a_weight_is_named():
    with pytest.raises(CourseError, match="class indices 0 to 2"):
        pixel_weight(batch(0)[1], (1, 2, 3))


@pytest.mark.parametrize(
    "weights", [(1, 2, 3), (1, 2, 3, 0), (1, 2, 3, float("inf")), (1, 1, 1, -1), "balanced"]
)
def test_weights_that_do_not_fit(weights):
    with pytest.raises(CourseError, match="4 numbers above 0, one a class"):
        cross_entropy_loss(*batch(0), weights)


def test_weights_with_a_binary_loss_are_refused():
    with pytest.raises(CourseError, match=r"ce_dice or ce; found 'bce'"):
        make_loss("bce", class_weights=(1, 2))
    with pytest.raises(CourseError, match=r"ce_dice or ce; found 'dice'"):
        make_loss("dice", ignore_index=255)


@pytest.mark.parametrize("wrong", [4, 17, 255])
def test_a_label_out_of_range_is_named(wrong):
    logits, mask = batch(0)
    mask[0, 0, 0] = wrong
    for loss in (cross_entropy_loss, per_class_dice_loss, cross_entropy_dice_loss):
        with pytest.raises(CourseError, match=rf"indices 0 to 3; found the value {wrong}\."):
            loss(logits, mask)


@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_balanced_weights_have_mean_one_and_fall_with_the_share(power):
    shares = torch.tensor([0.79, 0.146, 0.038, 0.021, 0.005])
    weights = torch.tensor(balanced_weights(shares, power))
    assert weights.mean().item() == pytest.approx(1)
    ratio = (shares[0] / shares[4]) ** power
    assert (weights[4] / weights[0]).item() == pytest.approx(ratio.item(), rel=1e-5)


def test_with_full_balance_every_class_has_the_same_say():
    _, mask = batch(5, height=30, width=30)
    shares = np.bincount(mask.flatten(), minlength=4) / mask.numel()
    says = [
        share * weight for share, weight in zip(shares, balanced_weights(shares, 1), strict=True)
    ]
    assert says == pytest.approx([says[0]] * 4)


def test_a_class_that_does_not_occur_has_no_weight():
    for wrong in (0.0, float("inf"), float("nan")):
        with pytest.raises(CourseError, match="one share above 0"):
            balanced_weights([0.9, 0.1, wrong])


# --- one channel and two channels ----------------------------------------------------------------

# softmax over (a, b) gives the second class 1 / (1 + exp(a - b)) = sigmoid(b - a): what counts is
# the difference of the two logits, and the difference is what a single channel holds.


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 30))
def test_one_channel_is_the_difference_of_two(seed, scale):
    logits, mask = batch(seed, classes=2)
    logits = scale * logits
    one = logits[:, 1:] - logits[:, :1]  # (B, 1, H, W)
    torch.testing.assert_close(
        logits.softmax(dim=1)[:, 1:], torch.sigmoid(one), atol=1e-6, rtol=1e-4
    )
    torch.testing.assert_close(
        cross_entropy_loss(logits, mask), bce_loss(one, mask), atol=1e-6, rtol=1e-4
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_of_two_channels_is_that_of_one_with_both_signs(seed):
    two, mask = batch(seed, classes=2)
    two.requires_grad_()
    one = (two[:, 1:] - two[:, :1]).detach().requires_grad_()
    cross_entropy_loss(two, mask).backward()
    bce_loss(one, mask).backward()
    torch.testing.assert_close(two.grad[:, 1:], one.grad)
    torch.testing.assert_close(two.grad[:, :1], -one.grad)


def test_the_dice_parts_differ_by_the_background_alone():
    """Per-class Dice also scores the background; the car's half is the binary loss."""
    two, mask = batch(9, classes=2)
    one = two[:, 1:] - two[:, :1]
    background = dice_loss(-one, 1 - mask)
    torch.testing.assert_close(
        per_class_dice_loss(two, mask), (dice_loss(one, mask) + background) / 2
    )
