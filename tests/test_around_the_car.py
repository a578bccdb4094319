"""Augmentations that know the mask: what they may change, and what never."""

from __future__ import annotations

import albumentations as A
import numpy as np
import pytest

from unet_helpers.around_the_car import BoxesBehind, ReflectionBelow, ShadowBelow, ToneApart

HEIGHT, WIDTH = 60, 90
CAR = np.zeros((HEIGHT, WIDTH), np.uint8)
CAR[20:40, 25:65] = 2  # any class but 0 is car
CAR[15:20, 30:50] = 1


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def results(step: A.BasicTransform, image: np.ndarray, mask: np.ndarray = CAR, times: int = 30):
    transform = A.Compose([step], seed=3)
    return [transform(image=image, mask=mask) for _ in range(times)]


@pytest.mark.parametrize("kind", [BoxesBehind, ToneApart, ShadowBelow, ReflectionBelow])
def test_the_mask_and_the_callers_photo_stay_as_they_are(kind):
    image = photo()
    for out in results(kind(p=1.0), image):
        np.testing.assert_array_equal(out["mask"], CAR)
        assert out["image"].dtype == np.uint8 and out["image"].shape == image.shape
    np.testing.assert_array_equal(image, photo())


@pytest.mark.parametrize("kind", [BoxesBehind, ShadowBelow, ReflectionBelow])
def test_what_changes_the_background_leaves_the_car_alone(kind):
    image, changed = photo(), 0
    for out in results(kind(p=1.0), image):
        np.testing.assert_array_equal(out["image"][CAR > 0], image[CAR > 0])
        changed += (out["image"] != image).any()
    assert changed == 30


@pytest.mark.parametrize("kind", [BoxesBehind, ToneApart, ShadowBelow, ReflectionBelow])
@pytest.mark.parametrize("value", [0, 1])
def test_a_photo_without_car_or_without_background_is_no_trouble(kind, value):
    mask = np.full((HEIGHT, WIDTH), value, np.uint8)
    for out in results(kind(p=1.0), photo(), mask, times=10):
        assert out["image"].shape == (HEIGHT, WIDTH, 3)
        if value == 1 and kind is not ToneApart:
            np.testing.assert_array_equal(out["image"], photo())


@pytest.mark.parametrize("kind", [ToneApart, ShadowBelow, ReflectionBelow])
def test_the_seed_decides(kind):
    first, again = (results(kind(p=1.0), photo(), times=3) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def test_tone_is_a_function_of_the_value_on_the_car_and_another_one_behind_it():
    """Each value becomes one new value in each part and channel, and the order is kept."""
    image, different = photo(), 0
    for out in results(ToneApart(p=1.0), image, times=10):
        lines = []
        for part in (CAR > 0, CAR == 0):
            before, after = image[part][:, 0], out["image"][part][:, 0]
            line = [after[before == value] for value in range(256) if (before == value).any()]
            assert all(len(np.unique(values)) == 1 for values in line)
            means = [values[0] for values in line]
            assert means == sorted(means)
            lines.append(means[len(means) // 2])
        different += abs(int(lines[0]) - int(lines[1])) > 3
    assert different >= 7


def test_a_shadow_never_brightens_a_bright_floor_and_is_strongest_under_the_car():
    bright = np.full((HEIGHT, WIDTH, 3), 220, np.uint8)
    bright[CAR > 0] = 128  # a tinted shadow takes this colour
    darkening = np.zeros((HEIGHT, WIDTH))
    for out in results(ShadowBelow(p=1.0), bright):
        assert (out["image"][CAR == 0] <= 220).all()
        darkening += 220 - out["image"].mean(axis=2)
    under, above, far = darkening[41:43, 30:60], darkening[8:13, 30:60], darkening[:, :10]
    assert under.mean() > 5 * above.mean()
    assert far.mean() < 0.05 * under.mean()


def test_a_reflection_shows_the_cars_lowest_rows_first_and_nothing_beside_it():
    """A car of dark rows above light ones, on a middle grey floor: below it comes light first."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    image[15:34][CAR[15:34] > 0], image[34:40, 25:65] = 0, 255
    total = np.zeros((HEIGHT, WIDTH))
    for out in results(ReflectionBelow(p=1.0), image):
        total += out["image"].mean(axis=2) - 128
    assert total[40:44, 30:60].min() > 0  # rows 39, 38, 37, 36, seen in the floor
    assert total[48:52, 30:60].mean() < 0  # rows 31 … 28
    beside = np.ones(WIDTH, bool)
    beside[22:68] = False
    assert (total[:, beside] == 0).all() and (total[:12] == 0).all()
