"""The outline's measures against scipy and scikit-image, and against distances known by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from outlines import with_a_tree
from skimage.segmentation import find_boundaries

from unet_helpers import boundary as boundary_module
from unet_helpers.boundary import boundary, boundary_scores
from unet_helpers.environment import CourseError

SLOW = [HealthCheck.too_slow]  # a busy machine is no fault

masks = arrays(np.uint8, (17, 23), elements=st.integers(0, 1))


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(masks, masks, st.sampled_from([0, 1, 1.5, 2, 4]))
def test_both_measures_agree_with_a_search_for_nearest_neighbours(predicted, mask, tolerance):
    found = boundary_scores(predicted, mask, tolerance)
    assert found == pytest.approx(with_a_tree(predicted, mask, tolerance), abs=1e-12)
    assert found == pytest.approx(boundary_scores(mask, predicted, tolerance), abs=1e-12)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(masks)
def test_the_outline_is_scikit_image_s_inner_boundary_away_from_the_frame(mask):
    inner = find_boundaries(np.pad(mask, 1, mode="edge"), connectivity=1, mode="inner")
    assert np.array_equal(boundary(mask), inner[1:-1, 1:-1] & (mask > 0))


def square(top, left, side=40, shape=(100, 120)):
    mask = np.zeros(shape, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_squares_with_distances_known_by_hand():
    true = square(30, 30)
    assert boundary(true).sum() == 4 * 39
    assert boundary_scores(true, true) == (1.0, 0.0)
    larger = square(27, 27, 46)  # three pixels more on every side
    assert boundary_scores(larger, true, 2) == (0.0, pytest.approx(3, abs=0.05))
    # At the corners the larger outline is a little farther away than three pixels.
    assert boundary_scores(larger, true, 3).f1 == pytest.approx(0.93, abs=0.02)
    assert boundary_scores(larger, true, 4.3).f1 == 1.0


def test_outlines_far_from_the_frame_and_from_each_other():
    """Nothing between an outline and the frame counts, everything between the two outlines does."""
    cars = [square(150, 170, 40, (300, 500)), square(60, 330, 25, (300, 500))]
    speck = np.zeros((300, 500), np.uint8)
    speck[222, 77] = 1
    for one, other in itertools.permutations([*cars, speck, cars[0] | speck], 2):
        assert boundary_scores(one, other, 2) == pytest.approx(with_a_tree(one, other, 2), abs=1e-9)


def test_distances_are_taken_in_the_smallest_box_around_both_outlines(monkeypatch):
    """On a photo of 1918×1280 most pixels lie outside, and each would cost as much as another."""
    seen, real = [], boundary_module.ndimage.distance_transform_edt

    def spied(background):
        seen.append(background.shape)
        return real(background)

    monkeypatch.setattr(boundary_module.ndimage, "distance_transform_edt", spied)
    shape = (1280, 1918)
    boundary_scores(square(500, 700, 40, shape), square(490, 720, 40, shape))
    assert seen == [(50, 60)] * 2


def test_a_car_cut_off_by_the_frame_has_no_outline_there():
    mask = np.zeros((50, 80), np.uint8)
    mask[:, 60:] = 1
    assert boundary(mask).sum() == 50 and boundary(mask)[:, 60].all()


def test_nothing_against_something():
    nothing, all_car = np.zeros((30, 40), np.uint8), np.ones((30, 40), np.uint8)
    car = square(5, 5, 10, (30, 40))
    assert boundary_scores(nothing, nothing) == (1.0, 0.0) == boundary_scores(all_car, all_car)
    for one in (nothing, all_car):
        assert boundary_scores(one, car) == (0.0, np.inf) == boundary_scores(car, one)


def test_dice_hardly_sees_what_the_outline_shows():
    """Why the measure is there: the same three pixels weigh less the larger the car is."""
    small, large = square(30, 30), square(100, 100, 800, (1280, 1918))
    scores = []
    for mask in (small, large):
        moved = np.roll(mask, 3, axis=1)
        dice = 2 * (moved & mask).sum() / (moved.sum() + mask.sum())
        scores.append((dice, boundary_scores(moved, mask).distance))
    assert scores[1][0] - scores[0][0] > 0.06
    assert scores[0][1] == pytest.approx(scores[1][1], abs=0.1)


def test_bad_input():
    whole = np.zeros((3, 4), np.uint8)
    with pytest.raises(CourseError, match=r"one size; found \(3, 4\) and \(4, 3\)"):
        boundary_scores(whole, whole.T)
    with pytest.raises(CourseError, match="two masks"):
        boundary_scores(whole[..., None], whole[..., None])
    for tolerance in (-1, float("nan")):
        with pytest.raises(CourseError, match="tolerance"):
            boundary_scores(whole, whole, tolerance)


@pytest.mark.parametrize(
    "bad", [np.full((3, 4), 0.3), np.full((3, 4), np.nan), np.zeros((0, 0), int), [["car"] * 4] * 3]
)
def test_what_is_no_mask_has_no_outline(bad):
    with pytest.raises(CourseError, match=r"the mask: .*probability > 0\.5"):
        boundary(bad)
    good = np.zeros(np.shape(bad), np.uint8)
    for pair in ((bad, good), (good, bad)):
        with pytest.raises(CourseError, match="the mask"):
            boundary_scores(*pair)
    with pytest.raises(CourseError, match="the mask"):
        boundary(np.zeros((3, 4, 3), np.uint8))
