"""Scores against torchmetrics image by image, hand-worked masks, and any cut into batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_accuracy
from torchmetrics.functional.segmentation import dice_score, mean_iou

from unet_helpers.environment import CourseError
from unet_helpers.metrics import (
    Counts,
    SegmentationMetrics,
    accuracy,
    count_pixels,
    dice,
    iou,
    predict_classes,
)


def pair(seed: int, images: int, classes: int = 2, height: int = 8, width: int = 6):
    """Prediction and mask, uint8 (B, H, W); some classes are missing from some images."""
    rng = np.random.default_rng(seed)
    made = np.zeros((2, images, height, width), np.uint8)
    for part, image in np.ndindex(2, images):
        present = rng.choice(classes, size=rng.integers(1, classes + 1), replace=False)
        made[part, image] = rng.choice(present, size=(height, width))
    return torch.from_numpy(made[0]), torch.from_numpy(made[1])


def oracle(function, predicted, mask, classes, **options) -> torch.Tensor:
    """torchmetrics per image and class; it marks a class in neither with NaN (or -1): 1.0 here."""
    predicted, mask = predicted.long(), mask.long()
    values = function(predicted, mask, num_classes=classes, input_format="index", **options)
    absent = torch.stack(
        [((predicted != c) & (mask != c)).all(dim=(1, 2)) for c in range(classes)], dim=1
    )
    return torch.where(absent, 1.0, values.double())


# --- values --------------------------------------------------------------------------------------


def test_counts_by_hand():
    predicted = torch.tensor([[[1, 1, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=torch.uint8)
    mask = torch.tensor([[[1, 0, 0], [1, 1, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=torch.uint8)
    counts = count_pixels(predicted, mask)
    assert [part.tolist() for part in (counts.tp, counts.fp, counts.fn, counts.tn)] == [
        [[2], [0]],
        [[1], [0]],
        [[1], [0]],
        [[2], [6]],
    ]
    assert counts.tp.dtype == torch.int64
    assert dice(counts).tolist() == [[pytest.approx(4 / 6)], [1.0]]
    assert iou(counts).tolist() == [[pytest.approx(2 / 4)], [1.0]]
    assert accuracy(counts).tolist() == [pytest.approx(4 / 6), 1.0]


def test_empty_against_something_is_zero():
    full, empty = torch.ones(1, 3, 3, dtype=torch.uint8), torch.zeros(1, 3, 3, dtype=torch.uint8)
    for predicted, mask in [(full, empty), (empty, full)]:
        counts = count_pixels(predicted, mask)
        assert [dice(counts).item(), iou(counts).item(), accuracy(counts).item()] == [0, 0, 0]


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_dice_and_iou_per_image_against_torchmetrics(classes, seed):
    predicted, mask = pair(seed, 7, classes)
    counts = count_pixels(predicted, mask, classes)
    expected_dice = oracle(dice_score, predicted, mask, classes, average="none")
    expected_iou = oracle(mean_iou, predicted, mask, classes, per_class=True)
    if classes == 2:  # the car alone
        expected_dice, expected_iou = expected_dice[:, 1:], expected_iou[:, 1:]
    torch.testing.assert_close(dice(counts), expected_dice, rtol=1e-6, atol=0)
    torch.testing.assert_close(iou(counts), expected_iou, rtol=1e-6, atol=0)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_accuracy_per_image_against_torchmetrics(classes):
    predicted, mask = pair(9, 7, classes)
    found = accuracy(count_pixels(predicted, mask, classes))
    for i in range(7):
        expected = multiclass_accuracy(
            predicted[i].flatten(), mask[i].long().flatten(), classes, average="micro"
        )
        assert found[i].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_means_over_images(classes):
    predicted, mask = pair(11, 9, classes)
    metrics = SegmentationMetrics(classes)
    metrics.update(predicted, mask)
    scores = metrics.compute()
    per_class = oracle(dice_score, predicted, mask, classes, average="none").numpy()
    per_class_iou = oracle(mean_iou, predicted, mask, classes, per_class=True).numpy()
    if classes == 2:
        per_class, per_class_iou = per_class[:, 1:], per_class_iou[:, 1:]
    per_image = per_class.mean(axis=1)
    assert scores.images == 9
    assert scores.dice_mean == pytest.approx(per_image.mean(), rel=1e-6)
    assert scores.dice_p10 == pytest.approx(np.percentile(per_image, 10), rel=1e-6)
    assert scores.iou_mean == pytest.approx(per_class_iou.mean(), rel=1e-6)
    assert scores.accuracy == pytest.approx((predicted == mask).float().mean().item(), rel=1e-6)
    assert scores.per_class_dice == pytest.approx(per_class.mean(axis=0), rel=1e-6)
    assert scores.per_class_iou == pytest.approx(per_class_iou.mean(axis=0), rel=1e-6)
    assert [row["dice"] for row in scores.per_image] == pytest.approx(per_image, rel=1e-6)


def test_a_small_car_weighs_as_much_as_a_big_one():
    # One image all right (64 pixels of car), one all wrong (1 pixel): 0.5, where the pooled Dice
    # is 128 / 129.
    mask = torch.zeros(2, 8, 8, dtype=torch.uint8)
    mask[0] = 1
    mask[1, 0, 0] = 1
    predicted = mask.clone()
    predicted[1] = 0
    metrics = SegmentationMetrics()
    metrics.update(predicted, mask)
    assert metrics.compute().dice_mean == 0.5


def test_large_photos_are_counted_exactly():
    # More pixels than float32 can number (2 ** 24), with one of them wrong.
    mask = torch.ones(1, 4097, 4097, dtype=torch.uint8)
    predicted = mask.clone()
    predicted[0, 0, 0] = 0
    counts = count_pixels(predicted, mask)
    assert counts.tp.item() == 4097**2 - 1
    assert 1 - accuracy(counts).item() == pytest.approx(1 / 4097**2, rel=1e-6)


def test_ignored_pixels_are_not_counted():
    predicted, mask = pair(3, 5, classes=3, height=10)
    ignored = mask.clone()
    ignored[:, :4] = 255
    found = count_pixels(predicted, ignored, 3, ignore_index=255)
    expected = count_pixels(predicted[:, 4:], mask[:, 4:], 3)
    for part in ("tp", "fp", "fn", "tn"):
        assert torch.equal(getattr(found, part), getattr(expected, part))
    nothing = count_pixels(predicted, torch.full_like(mask, 255), 3, ignore_index=255)
    assert accuracy(nothing).tolist() == [1.0] * 5


# --- properties ----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.lists(st.integers(1, 5), min_size=1))
def test_any_cut_into_batches_gives_the_same_scores(seed, classes, batches):
    images = sum(batches)
    predicted, mask = pair(seed, images, classes)
    stems = [f"car_{i:02d}" for i in range(images)]
    whole, cut = SegmentationMetrics(classes), SegmentationMetrics(classes)
    whole.update(predicted, mask, stems)
    start = 0
    for size in batches:
        part = slice(start, start + size)
        cut.update(predicted[part], mask[part], stems[part])
        start += size
    assert cut.compute() == whole.compute()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 5))
def test_bounds_and_symmetry(seed, images, classes):
    predicted, mask = pair(seed, images, classes)
    counts, swapped = count_pixels(predicted, mask, classes), count_pixels(mask, predicted, classes)
    for score in (dice, iou, accuracy):
        values = score(counts)
        assert ((values >= 0) & (values <= 1)).all()
        assert torch.equal(values, score(swapped))
        assert (score(count_pixels(mask, mask, classes)) == 1).all()
    d, j = dice(counts), iou(counts)
    torch.testing.assert_close(d, 2 * j / (1 + j))
    assert torch.equal(counts.tp + counts.fp + counts.fn + counts.tn, torch.full_like(d, 48).long())


# --- predictions ---------------------------------------------------------------------------------


def test_one_channel_is_cut_at_the_threshold():
    probability = torch.tensor([0.0, 0.1, 0.49, 0.51, 0.9, 1.0])
    logits = torch.logit(probability).view(1, 1, 2, 3)
    for threshold, expected in [
        (0.5, [0, 0, 0, 1, 1, 1]),
        (0.05, [0, 1, 1, 1, 1, 1]),
        (0.95, [0, 0, 0, 0, 0, 1]),
    ]:
        found = predict_classes(logits, threshold)
        assert found.dtype == torch.uint8
        assert found.shape == (1, 2, 3)
        assert found.flatten().tolist() == expected
    assert predict_classes(torch.zeros(1, 1, 1, 1)).item() == 0  # exactly 0.5 is not above it


def test_many_channels_give_the_likeliest_class():
    logits = torch.randn(2, 5, 4, 3, dtype=torch.bfloat16)
    found = predict_classes(logits)
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), logits.float().numpy().argmax(axis=1))


# --- use and bad input ---------------------------------------------------------------------------


def test_stems_rows_and_reset():
    predicted, mask = pair(5, 3)
    metrics = SegmentationMetrics()
    metrics.update(predicted[:2], mask[:2], ("a_01", "a_02"))
    metrics.update(predicted[2:], mask[2:])
    rows = metrics.compute().per_image
    assert [row["stem"] for row in rows] == ["a_01", "a_02", "image_0002"]
    assert set(rows[0]) == {"stem", "dice", "iou", "accuracy"}
    metrics.reset()
    metrics.update(mask, mask)
    assert metrics.compute().dice_mean == 1
    assert metrics.compute().images == 3


def test_scores_read_as_one_line():
    mask = torch.zeros(2, 2, 2, dtype=torch.uint8)
    mask[:, 0] = 1
    predicted = mask.clone()
    predicted[1, 0, 0] = 0  # Dice 2/3, IoU 1/2, accuracy 3/4
    metrics = SegmentationMetrics()
    metrics.update(predicted, mask)
    text = "Dice 0.8333 (tenth percentile 0.7000), IoU 0.7500, accuracy 0.8750, 2 images"
    assert str(metrics.compute()) == text
    metrics.reset()
    metrics.update(mask[:1], mask[:1])
    assert str(metrics.compute()).endswith("1 image")


@pytest.mark.parametrize(
    ("predicted", "mask", "said"),
    [
        ((2, 1, 4, 4), (2, 4, 4), "(2, 1, 4, 4) and (2, 4, 4)"),
        ((2, 4, 4), (2, 4, 5), "(2, 4, 4) and (2, 4, 5)"),
        ((4, 4), (4, 4), "(4, 4) and (4, 4)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(predicted, mask, said):
    with pytest.raises(CourseError) as error:
        count_pixels(
            torch.zeros(predicted, dtype=torch.uint8), torch.zeros(mask, dtype=torch.uint8)
        )
    assert said in str(error.value)


def test_values_that_are_no_classes_are_refused():
    predicted, mask = pair(6, 2)
    mask[:] = 1
    with pytest.raises(CourseError, match=r"^mask: .*indices 0 to 1; found the value 255"):
        count_pixels(predicted, mask * 255)
    with pytest.raises(CourseError, match=r"^mask: .*indices 0 to 2; found the value 7"):
        count_pixels(mask, torch.where(predicted == 1, 7, mask), 3)
    with pytest.raises(CourseError, match=r"^prediction: .*indices 0 to 1; found the value 9"):
        count_pixels(torch.full_like(mask, 9), mask)
    with pytest.raises(CourseError, match=r"^prediction: .*whole class indices"):
        count_pixels(torch.rand(2, 8, 6), mask)


def test_bad_use_is_refused():
    with pytest.raises(CourseError, match="at least one image; found none"):
        SegmentationMetrics().compute()
    for classes in (1, 257):  # a class index is a uint8
        with pytest.raises(CourseError, match=r"2 or more .* at most 256"):
            SegmentationMetrics(num_classes=classes)
    predicted, mask = pair(7, 2)
    metrics = SegmentationMetrics()
    with pytest.raises(CourseError, match="expected 2, one per image; found 3"):
        metrics.update(predicted, mask, ["a", "b", "c"])
    metrics.update(predicted, mask, ["a", "b"])
    assert metrics.compute().images == 2  # the refused batch left nothing behind
    assert not math.isnan(metrics.compute().dice_mean)
    assert isinstance(count_pixels(predicted, mask), Counts)
