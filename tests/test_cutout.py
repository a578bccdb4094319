"""Cut-outs against Pillow, SciPy and photos that are mixed by hand from a known car and wall."""

from __future__ import annotations

import numpy as np
import pytest
from ellipses import a_photo
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from unet_helpers.cutout import (
    cut_out,
    feather,
    foreground,
    keep_largest_component,
    replace_background,
    soft_alpha,
)
from unet_helpers.environment import CourseError
from unet_helpers.inference import save_png

# --- components ---------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1))
)
def test_the_largest_component_is_scipy_s(mask):
    kept = keep_largest_component(mask)
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    assert kept.shape == mask.shape and kept.dtype == np.uint8
    if count == 0:
        assert not kept.any()
        return
    # SciPy numbers the pieces in the order in which a reader meets them.
    assert np.array_equal(kept, labels == 1 + int(np.argmax(sizes)))


def test_values_of_255_count_like_1():
    mask = np.zeros((10, 10), np.uint8)
    mask[2:5, 2:5] = 255
    assert keep_largest_component(mask).sum() == 9
    assert keep_largest_component(mask > 0).max() == 1


# --- cut-outs -----------------------------------------------------------------------------------


def test_a_mask_cuts_hard_and_a_probability_softly():
    assert soft_alpha(np.array([[0, 1, 3]], np.uint8)).tolist() == [[0, 255, 255]]
    assert soft_alpha(np.array([[False, True]])).tolist() == [[0, 255]]
    soft = soft_alpha(np.array([[0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]], np.float32))
    assert soft.tolist() == [[0, 0, 64, 128, 191, 255, 255]]  # (p - 0.1) / 0.8 · 255
    assert soft.dtype == np.uint8


def test_a_cut_out_is_the_photo_with_its_opacity(tmp_path):
    photo, mask = a_photo(30, 40)
    cut = cut_out(photo, mask)
    assert cut.shape == (30, 40, 4) and cut.dtype == np.uint8
    path = save_png(cut, tmp_path / "cut" / "car.png")
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        red, green, blue, alpha = (np.asarray(band) for band in image.split())
    assert np.array_equal(np.dstack([red, green, blue]), photo)
    assert np.array_equal(alpha, mask * 255)


def test_an_island_is_left_out_of_the_cut_out():
    photo = np.full((20, 20, 3), 200, np.uint8)
    probability = np.zeros((20, 20), np.float32)
    probability[2:12, 2:12] = 0.7
    probability[15:18, 15:18] = 1.0
    assert cut_out(photo, probability)[16, 16, 3] == 255
    kept = cut_out(photo, probability, largest_component=True)[..., 3]
    assert not kept[13:].any() and (kept[2:12, 2:12] == 191).all()


def test_a_new_background_is_pillow_s_composite():
    rng = np.random.default_rng(0)
    photo, _ = a_photo(30, 40)
    alpha = rng.integers(0, 256, (30, 40), np.uint8)
    background = rng.integers(0, 256, (30, 40, 3), np.uint8)
    expected = Image.composite(*map(Image.fromarray, (photo, background, alpha)))
    result = replace_background(photo, alpha, background)
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - np.asarray(expected).astype(int)).max() <= 1

    plain = Image.composite(
        Image.fromarray(photo), Image.new("RGB", (40, 30), (10, 200, 30)), Image.fromarray(alpha)
    )
    result = replace_background(photo, alpha, (10, 200, 30))
    assert np.abs(result.astype(int) - np.asarray(plain).astype(int)).max() <= 1


def test_a_mask_of_0_and_1_replaces_the_background_too():
    photo, mask = a_photo(30, 40)
    expected = np.where(mask[..., None], photo, 7)
    for kind in (bool, np.uint8, np.float32, np.int64):
        assert np.array_equal(replace_background(photo, mask.astype(kind), (7, 7, 7)), expected)


@pytest.mark.parametrize("size", [(300, 400), (10, 80), (80, 10), (31, 41), (2, 2)])
def test_a_background_of_any_size_covers_the_photo_and_keeps_its_shape(size):
    height, width = size
    background = np.zeros((height, width, 3), np.uint8)
    background[..., 0] = np.linspace(0, 255, width)[None]  # left to right
    background[..., 1] = 77
    photo = np.zeros((30, 40, 3), np.uint8)
    result = replace_background(photo, np.zeros((30, 40), np.uint8), background)
    assert (result[..., 1] == 77).all()  # no uncovered edge
    middle = result[:, 19:21, 0].mean()
    assert middle == pytest.approx(127.5, abs=12)  # cropped around the middle
    # The gradient across the photo, in levels per pixel, is that of the scaled background.
    scale = max(30 / height, 40 / width)
    assert np.ptp(result[15, :, 0].astype(int)) <= 255 * 40 / (width * scale) + 2


def test_sizes_that_differ_are_refused():
    photo, mask = a_photo(30, 40)
    with pytest.raises(CourseError, match=r"mask: expected the photo's size \(30, 40\)"):
        cut_out(photo, mask[:-1])
    with pytest.raises(CourseError, match="alpha"):
        replace_background(photo, mask.T, (0, 0, 0))


# --- soft edges ---------------------------------------------------------------------------------


def test_a_feather_rises_across_a_straight_edge():
    """Pixel centres lie 0.5, 1.5, … from the outline: (0.5 ± distance / 4) · 255 by hand."""
    mask = np.zeros((9, 12), np.uint8)
    mask[:, 6:] = 1
    row = feather(mask, 2)[4]
    assert row.tolist() == [0, 0, 0, 0, 32, 96, 159, 223, 255, 255, 255, 255]
    assert row.dtype == np.uint8


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(2, 14), st.integers(2, 14)), elements=st.integers(0, 1)),
    st.sampled_from([0.5, 1.0, 2.5]),
)
def test_a_feather_follows_scipy_s_distances(mask, radius):
    alpha = feather(mask, radius)
    if mask.min() == mask.max():
        assert np.array_equal(alpha, mask * 255)
        return
    inside, outside = (ndimage.distance_transform_edt(one) - 0.5 for one in (mask, 1 - mask))
    signed = np.where(mask > 0, inside, -outside)
    expected = np.clip(0.5 + signed / (2 * radius), 0, 1) * 255
    assert np.abs(alpha - expected).max() <= 1
    assert np.array_equal(alpha > 127, mask > 0)  # the outline stays where it was


def test_a_feather_takes_a_probability_by_its_outline_and_none_for_a_hard_edge():
    _, mask = a_photo(30, 40)
    probability = np.where(mask, 0.7, 0.4).astype(np.float32)
    assert np.array_equal(feather(probability, 3), feather(mask, 3))
    assert np.array_equal(feather(mask * np.uint8(255), 3), feather(mask, 3))
    assert np.array_equal(feather(mask, 0), mask * 255)
    for radius in (-1, float("nan")):
        with pytest.raises(CourseError, match="radius"):
            feather(mask, radius)


def test_a_cut_out_can_be_feathered():
    photo, mask = a_photo(30, 40)
    assert np.array_equal(cut_out(photo, mask, radius=2)[..., 3], feather(mask, 2))


def mixed(car: np.ndarray, wall: tuple[int, int, int], share: np.ndarray) -> np.ndarray:
    """What a camera sees of a car (H, W, 3) before a wall, uint8 (H, W, 3)."""
    share = share[..., None]
    return np.rint(car * share + np.array(wall) * (1 - share)).astype(np.uint8)


def test_the_edge_gets_the_car_s_own_colours():
    """Known car, known wall: before black the rim of the white wall is gone."""
    _, mask = a_photo(80, 120)
    alpha = feather(mask, 3)
    share = alpha / 255
    car = np.zeros((80, 120, 3))
    car[:, :60], car[:, 60:] = (200, 30, 30), (30, 30, 160)  # two paints
    photo = mixed(car, (255, 255, 255), share)
    wanted = mixed(car, (0, 0, 0), share)
    own = foreground(photo, alpha)
    one_paint = np.r_[:56, 64:120]  # between the two, colours may mix
    errors = [
        np.abs(replace_background(one, alpha, (0, 0, 0)).astype(int) - wanted)[:, one_paint].max()
        for one in (photo, own)
    ]
    assert errors[0] > 50 and errors[1] <= 2
    solid = ndimage.binary_erosion(alpha == 255, iterations=3)
    assert np.array_equal(own[solid], photo[solid])  # the inside stays
    assert np.array_equal(photo, mixed(car, (255, 255, 255), share))  # and so does the argument


def test_colours_are_carried_no_further_than_needed_and_thin_parts_are_left_alone():
    photo, _ = a_photo(60, 90)
    alpha = np.zeros((60, 90), np.uint8)
    alpha[20:40, 20:40] = 255
    alpha[30, 40:80] = 255  # an antenna, one pixel thin
    own = foreground(photo, alpha, depth=1)
    assert np.array_equal(own[30, 60:80], photo[30, 60:80])
    assert np.array_equal(own[:, 60:], photo[:, 60:])
    for nothing in (np.zeros((60, 90), np.uint8), np.zeros((60, 90), np.float32)):
        assert np.array_equal(foreground(photo, nothing), photo)


def test_a_car_at_the_picture_s_border_is_not_eaten_from_there():
    photo, _ = a_photo(40, 60)
    assert np.array_equal(foreground(photo, np.ones((40, 60), np.uint8), depth=3), photo)


# --- the shadow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 8])
def test_a_shadow_lies_under_the_car_and_nowhere_else(scale):
    mask = np.zeros((80, 120), np.uint8)
    mask[30:60, 20:100] = 1  # the body, and two wheels
    mask[60:66, 25:37] = mask[60:66, 83:95] = 1
    mask = np.repeat(np.repeat(mask, scale, 0), scale, 1)
    photo = np.full((*mask.shape, 3), 90, np.uint8)
    plain = replace_background(photo, mask, (200, 200, 200))
    dark = replace_background(photo, mask, (200, 200, 200), shadow=0.8)
    assert (dark[mask > 0] == 90).all()
    change = (plain.astype(int) - dark)[..., 0]
    between = change[61 * scale : 64 * scale, 50 * scale : 70 * scale]
    assert between.min() > 60  # between the wheels
    assert change[: 40 * scale].max() <= 2  # nothing beside the roof
    assert change[-1].max() <= 20 and change.min() >= 0
    half = replace_background(photo, mask, (200, 200, 200), shadow=0.4)
    np.testing.assert_allclose((plain.astype(int) - half)[..., 0], change / 2, atol=1.01)


def test_no_car_casts_no_shadow():
    photo, mask = a_photo(30, 40)
    dark = replace_background(photo, np.zeros_like(mask), (9, 8, 7), shadow=1.0)
    assert (dark == (9, 8, 7)).all()
