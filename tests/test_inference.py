from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import Blobs
from ellipses import a_photo
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from unet_helpers.dataset import MEAN, STD
from unet_helpers.environment import CourseError
from unet_helpers.inference import (
    predict_mask,
    predict_probability,
    save_png,
    save_predictions_as_imgs,
)


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


class Column(nn.Module):
    """A network that is not the same in the mirror: the logit rises from left to right."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(8.0))
        self.seen = []

    def forward(self, images):
        self.seen.append(tuple(images.shape))
        ramp = torch.linspace(-0.5, 0.5, images.shape[-1])
        return (self.slope * ramp + 0.3 * images[:, 1:2]).float()


def test_flips_are_the_mean_of_the_photo_s_answer_and_the_mirror_s():
    photo, _ = a_photo(24, 36)
    plain = predict_probability(Column(), photo, (24, 36))
    mirror = predict_probability(Column(), photo[:, ::-1].copy(), (24, 36))[:, ::-1]
    model = Column().train()
    both = predict_probability(model, photo, (24, 36), flips=True)
    assert np.abs(plain - mirror).max() > 0.3  # the two differ, and neither is the mean
    np.testing.assert_allclose(both, (plain + mirror) / 2, atol=1e-6)
    assert model.seen == [(2, 3, 24, 36)] and model.training
    mask = predict_mask(Column(), photo, (24, 36), flips=True, threshold=0.4)
    assert np.array_equal(mask, both > 0.4)


def test_with_flips_a_mirrored_photo_gets_the_mirrored_answer():
    """True of any network, however lopsided, at any size of the photo."""
    photo, _ = a_photo(51, 83)
    answers = [
        predict_probability(Column(), np.ascontiguousarray(shown), (24, 36), flips=True)
        for shown in (photo, photo[:, ::-1])
    ]
    np.testing.assert_allclose(answers[0], answers[1][:, ::-1], atol=1e-5)


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
