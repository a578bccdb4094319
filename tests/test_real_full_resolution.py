"""The road of notebook 10 on the five real photos of 1918×1280 pixels."""

from __future__ import annotations

import numpy as np
import pytest
from outlines import with_a_tree

from unet_helpers.boundary import boundary_scores
from unet_helpers.checkpoint import load_model
from unet_helpers.dataset import find_pairs, read_pair
from unet_helpers.environment import course_root
from unet_helpers.inference import predict_mask, predict_probability
from unet_helpers.rle import rle_decode, rle_encode
from unet_helpers.windows import mask_by_windows, pad_to_multiple, probability_by_windows

SIZE = (128, 192)  # what the shipped network sees


@pytest.fixture(scope="module")
def pairs(real_carvana):
    folder = real_carvana / "fullres"
    found = find_pairs(folder / "train", folder / "train_masks")
    assert len(found) == 5
    return [read_pair(pair) for pair in found]


@pytest.fixture(scope="module")
def model():
    return load_model(course_root() / "data" / "weights" / "studio.safetensors")[0]


def test_padding_makes_them_1920_wide_and_comes_off_again(pairs):
    for photo, mask in pairs:
        assert photo.shape == (1280, 1918, 3) and mask.shape == (1280, 1918)
        padded, inside = pad_to_multiple(photo, 16)
        assert padded.shape == (1280, 1920, 3)
        np.testing.assert_array_equal(padded[inside], photo)


def dice_of(found, mask):
    return 2 * (found & mask).sum() / (found.sum() + mask.sum())


@pytest.mark.parametrize("flips", [False, True])
def test_the_drawn_cars_network_finds_them_at_their_own_size(pairs, model, flips):
    """Far better than the best constant answer, and the outline within a coarse pixel, which is 10
    of the photo's: without flips and with them."""
    for photo, mask in pairs:
        found = predict_mask(model, photo, SIZE, flips=flips)
        assert found.shape == mask.shape
        assert dice_of(found, mask) > 0.95
        assert boundary_scores(found, mask).distance < 10


def test_in_windows_at_full_scale_a_network_of_small_photos_is_lost(pairs, model):
    """Why a small picture is asked first: a car ten times as large is none that it knows."""
    photo, mask = pairs[0]
    small = predict_mask(model, photo, SIZE, flips=True)
    pieces = mask_by_windows(model, photo, (512, 768), flips=True)
    assert pieces.shape == mask.shape and pieces.any()
    assert dice_of(small, mask) > dice_of(pieces, mask) + 0.2
    coarse, fine = boundary_scores(small, mask), boundary_scores(pieces, mask)
    assert coarse.f1 > fine.f1 + 0.1 and 5 * coarse.distance < fine.distance


def test_the_outline_s_measures_are_those_of_a_search_for_nearest_neighbours(pairs, model):
    photo, mask = pairs[0]
    found = predict_mask(model, photo, SIZE)
    assert boundary_scores(found, mask) == pytest.approx(with_a_tree(found, mask, 2), abs=1e-9)


def test_windows_see_the_photo_that_one_piece_sees(pairs, model):
    """Scaled to where the network knows cars, overlapping windows change few pixels."""
    photo, _ = pairs[0]
    scaled = np.ascontiguousarray(photo[::5, ::5])  # (256, 384, 3)
    whole = predict_probability(model, scaled, (256, 384)) > 0.5
    pieces = probability_by_windows(model, scaled, (256, 256)) > 0.5
    assert (whole != pieces).mean() < 0.05


def test_their_masks_as_text_and_back(pairs):
    for _, mask in pairs:
        np.testing.assert_array_equal(rle_decode(rle_encode(mask), mask.shape), mask)
