"""Confusion matrices and the ways to one number: NumPy, torchmetrics and hand-worked values."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from unet_helpers.class_report import class_facts, class_table
from unet_helpers.environment import CourseError
from unet_helpers.metrics import (
    SegmentationMetrics,
    confusion_matrix,
    count_pixels,
    counts_from_confusion,
    dice,
    iou,
    mean_over_classes,
    pool,
)

NAMES = ("background", "body", "window", "wheel", "light")


def pair(seed: int, images: int = 5, classes: int = 5, size: tuple[int, int] = (7, 9)):
    rng = np.random.default_rng(seed)
    made = rng.integers(0, classes, (2, images, *size), np.uint8)
    return torch.from_numpy(made[0]), torch.from_numpy(made[1])


def by_loops(predicted, mask, classes, ignore_index=None) -> np.ndarray:
    matrix = np.zeros((len(mask), classes, classes), int)
    for place in np.ndindex(*mask.shape):
        if mask[place] != ignore_index:
            matrix[place[0], mask[place], predicted[place]] += 1
    return matrix


# --- the matrix ----------------------------------------------------------------------------------


def test_the_matrix_by_hand():
    mask = torch.tensor([[[0, 1, 1], [2, 2, 0]]], dtype=torch.uint8)
    predicted = torch.tensor([[[0, 1, 2], [2, 0, 0]]], dtype=torch.uint8)
    assert confusion_matrix(predicted, mask, 3).tolist() == [[[2, 0, 0], [0, 1, 1], [1, 0, 1]]]


@pytest.mark.parametrize("ignore_index", [None, 255, 3])
def test_the_matrix_against_plain_loops(ignore_index):
    predicted, mask = pair(0, images=3)
    mask[:, 0] = 0 if ignore_index is None else ignore_index
    found = confusion_matrix(predicted, mask, 5, ignore_index)
    assert found.shape == (3, 5, 5) and found.dtype == torch.int64
    np.testing.assert_array_equal(found, by_loops(predicted, mask, 5, ignore_index))


@pytest.mark.parametrize("ignore_index", [None, 255])
def test_the_sum_over_images_against_torchmetrics(ignore_index):
    predicted, mask = pair(1, images=4)
    if ignore_index is not None:
        mask[:, ::2] = ignore_index
    oracle = MulticlassConfusionMatrix(5, ignore_index=ignore_index)
    expected = oracle(predicted.long(), mask.long())
    assert torch.equal(confusion_matrix(predicted, mask, 5, ignore_index).sum(dim=0), expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), classes=st.integers(3, 7), ignored=st.booleans())
def test_the_counts_are_in_the_matrix(seed, classes, ignored):
    predicted, mask = pair(seed, 3, classes)
    ignore_index = 255 if ignored else None
    if ignored:
        mask[0] = 255  # a whole image, so that all its counts are 0
    direct = count_pixels(predicted, mask, classes, ignore_index)
    found = counts_from_confusion(confusion_matrix(predicted, mask, classes, ignore_index))
    for part in ("tp", "fp", "fn", "tn"):
        assert torch.equal(getattr(found, part), getattr(direct, part)), part


def test_two_classes_have_four_cells():
    predicted, mask = pair(2, classes=2)
    counts, matrix = count_pixels(predicted, mask), confusion_matrix(predicted, mask, 2)
    wanted = torch.cat([counts.tn, counts.fp, counts.fn, counts.tp], dim=1)
    assert torch.equal(matrix.flatten(1), wanted)


def test_what_is_no_class_is_refused():
    predicted, mask = pair(3)
    for wrong in ((predicted.clamp(min=4) + 1, mask), (predicted, mask + 1)):
        with pytest.raises(CourseError, match="class indices 0 to 4"):
            confusion_matrix(*wrong, 5)
    with pytest.raises(CourseError, match="both of one shape"):
        confusion_matrix(predicted[:, 1:], mask, 5)
    mask[0, 0, 0] = 255
    with pytest.raises(CourseError, match="0 to 4"):
        confusion_matrix(predicted, mask, 5)


# --- to one number -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_pooled_iou_is_torchmetrics_jaccard_index(seed):
    predicted, mask = pair(seed, images=6)
    oracle = MulticlassJaccardIndex(5, average=None)
    expected = oracle(predicted.long(), mask.long())
    found = iou(pool(count_pixels(predicted, mask, 5)))
    assert found.shape == (1, 5)
    torch.testing.assert_close(found[0].float(), expected)


def test_pooled_and_per_image_differ_where_images_do():
    """Class 2 has 9 pixels in the first image, all found, and 1 in the second, missed."""
    mask = torch.zeros(2, 4, 4, dtype=torch.uint8)
    mask[0, :3, :3], mask[1, 0, 0] = 2, 2
    predicted = mask.clone()
    predicted[1, 0, 0] = 0
    counts = count_pixels(predicted, mask, 3)
    assert dice(counts)[:, 2].tolist() == [1, 0]  # mean 0.5
    assert dice(pool(counts))[0, 2].item() == pytest.approx(18 / 19)
    assert iou(pool(counts))[0, 2].item() == pytest.approx(9 / 10)


def test_the_mean_with_and_without_background():
    values = torch.tensor([[0.9, 0.6, 0.0], [1.0, 0.2, 0.4]])
    torch.testing.assert_close(mean_over_classes(values), torch.tensor([0.5, 1.6 / 3]))
    torch.testing.assert_close(
        mean_over_classes(values, background=False), torch.tensor([0.3, 0.3])
    )
    alone = torch.tensor([[0.7]])  # two classes: the car is the only column
    assert mean_over_classes(alone, background=False).item() == pytest.approx(0.7)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_keep_their_counts_and_the_foreground(classes):
    predicted, mask = pair(7, classes=classes)
    metrics = SegmentationMetrics(classes)
    for part in range(5):
        metrics.update(predicted[part : part + 1], mask[part : part + 1])
    scores = metrics.compute()
    each = dice(scores.counts)  # (5, C)
    assert scores.dice_mean == pytest.approx(mean_over_classes(each).mean().item())
    without = each[:, 1:] if classes > 2 else each
    assert scores.dice_foreground == pytest.approx(without.mean().item())
    assert scores.iou_foreground == pytest.approx(
        (iou(scores.counts)[:, 1:] if classes > 2 else iou(scores.counts)).mean().item()
    )


def test_the_report_holds_every_class_once_and_is_json():
    predicted, mask = pair(8)
    metrics = SegmentationMetrics(5)
    metrics.update(predicted, mask)
    scores = metrics.compute()
    facts = json.loads(json.dumps(class_facts(scores, NAMES)))
    assert list(facts["dice_per_class"]) == list(NAMES)
    jaccard = MulticlassJaccardIndex(5, average=None)(predicted.long(), mask.long())
    assert list(facts["iou_pooled_per_class"].values()) == pytest.approx(jaccard.tolist())
    lines = class_table(scores, NAMES).splitlines()
    assert lines[0].startswith(f"without background: Dice {scores.dice_foreground:.4f}")
    assert lines[-1].split() == ["light", *(f"{facts[k]['light']:.4f}" for k in
        ("dice_per_class", "iou_per_class", "iou_pooled_per_class"))]  # fmt: skip
