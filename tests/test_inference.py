from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import Blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage
from torch import nn
from torch.utils.data import DataLoader

from unet_helpers.dataset import MEAN, STD
from unet_helpers.environment import CourseError
from unet_helpers.inference import (
    cut_out,
    keep_largest_component,
    predict_mask,
    predict_probability,
    replace_background,
    save_png,
    save_predictions_as_imgs,
    soft_alpha,
)

BITS = st.integers(0, 1)


class Green(nn.Module):
    """A network that can be checked by hand: the logit is ten times the green value less 0.5."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(10.0))
        self.channels = channels
        self.seen = []

    def forward(self, images):
        self.seen.append((tuple(images.shape), self.training))
        green = images[:, 1:2] * STD[1] + MEAN[1]  # back to 0..1
        return (self.gain * (green - 0.5)).expand(-1, self.channels, -1, -1)


def a_photo(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Photo with a green ellipse before purple noise, and the ellipse's mask (H, W) bool."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    inside = ((y - height * 0.5) / (height * 0.3)) ** 2 + ((x - width * 0.45) / (width * 0.35)) ** 2
    mask = inside < 1
    photo = rng.integers(0, 60, (height, width, 3))
    photo[..., 1] += np.where(mask, 190, 0)
    photo[..., 2] += 120
    return photo.astype(np.uint8), mask


def test_the_probability_is_the_network_s_at_its_own_size():
    photo, _ = a_photo(48, 64)
    model = Green().train()
    probability = predict_probability(model, photo, (48, 64))
    expected = 1 / (1 + np.exp(-10 * (photo[..., 1] / 255 - 0.5)))
    np.testing.assert_allclose(probability, expected, atol=1e-4)
    assert probability.dtype == np.float32
    assert model.seen == [((1, 3, 48, 64), False)]  # in eval mode, and …
    assert model.training  # … put back


@pytest.mark.parametrize("size", [(1280, 1918), (97, 201), (480, 320), (20, 30), (33, 7)])
def test_a_photo_of_any_size_gets_a_mask_of_its_own_size(size):
    photo, true = a_photo(*size)
    model = Green()
    mask = predict_mask(model, photo, (128, 192), "cpu")
    assert mask.shape == size and mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    assert model.seen == [((1, 3, 128, 192), False)]
    overlap = 2 * (mask & true).sum() / (mask.sum() + true.sum())
    assert overlap > 0.97


def test_the_probability_is_enlarged_bilinearly():
    """Pillow's bilinear filter, with pixel centres at halves, is the oracle."""
    photo, _ = a_photo(32, 48)
    small = predict_probability(Green(), photo, (32, 48))
    large = np.asarray(Image.fromarray(photo).resize((480, 320), Image.Resampling.BOX))
    result = predict_probability(Green(), large, (32, 48))  # the box average is the photo again
    expected = Image.fromarray(small).resize((480, 320), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(result, np.asarray(expected), atol=2e-3)


def test_the_threshold_is_taken_of_the_probability():
    photo, _ = a_photo(40, 60)
    probability = predict_probability(Green(), photo, (20, 30))
    for threshold in (0.05, 0.5, 0.9):
        mask = predict_mask(Green(), photo, (20, 30), threshold=threshold)
        assert np.array_equal(mask, probability > threshold)


def test_only_the_largest_piece_where_asked():
    photo = np.zeros((60, 90, 3), np.uint8)
    photo[10:40, 10:50, 1] = 255
    photo[45:55, 70:80, 1] = 255  # an island
    everything = predict_mask(Green(), photo, (60, 90))
    largest = predict_mask(Green(), photo, (60, 90), largest_component=True)
    assert everything.sum() == 1300 and largest.sum() == 1200
    assert largest[10:40, 10:50].all()


def test_what_is_no_photo_and_what_has_many_classes_is_refused():
    photo, _ = a_photo(32, 32)
    for wrong in (photo[..., 0], photo.astype(np.float32), np.zeros((0, 5, 3), np.uint8), "a.jpg"):
        with pytest.raises(CourseError, match="read_photo"):
            predict_probability(Green(), wrong, (32, 32))
    with pytest.raises(CourseError, match=r"one output channel.*found 3"):
        predict_probability(Green(channels=3), photo, (32, 32))


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


# --- saving -------------------------------------------------------------------------------------


def test_predictions_are_saved_by_stem(tmp_path):
    blobs = Blobs(5, height=20, width=30)
    model = Green().train()
    paths = save_predictions_as_imgs(DataLoader(blobs, 2), model, tmp_path / "saved", "cpu")
    names = {f"{kind}_blob_{i}.png" for kind in ("pred", "true") for i in range(5)}
    assert (
        {path.name for path in paths} == names == {p.name for p in (tmp_path / "saved").iterdir()}
    )
    for image, mask, stem in blobs:
        green = image[1].numpy() * STD[1] + MEAN[1]
        for kind, expected in (("pred", green > 0.5), ("true", mask.numpy() == 1)):
            with Image.open(tmp_path / "saved" / f"{kind}_{stem}.png") as picture:
                assert picture.mode == "L"
                assert np.array_equal(np.asarray(picture), expected * 255)
    assert model.training


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_keeps_the_earlier_picture(tmp_path):
    path = save_png(np.zeros((8, 8), np.uint8), tmp_path / "car.png")
    before = path.read_bytes()
    (tmp_path / f".car.png.{os.getpid()}.tmp").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    with pytest.raises(CourseError, match="full disk"):
        save_png(noise, path)
    assert path.read_bytes() == before
