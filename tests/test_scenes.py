"""Drawn scenes: sizes, labels that tell the truth, and things that do not move when others go."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unet_helpers.environment import CourseError
from unet_helpers.scenes import STREET, draw_showroom, draw_street, gradient


def test_a_gradient_by_hand():
    picture = gradient((5, 3), (0, 100, 255), (200, 100, 55))
    assert picture.dtype == np.uint8 and picture.shape == (5, 3, 3)
    assert picture[:, 0].tolist() == [
        [0, 100, 255], [50, 100, 205], [100, 100, 155], [150, 100, 105], [200, 100, 55],
    ]  # fmt: skip
    assert (picture == picture[:, :1]).all()  # from the top down, not from the left


@pytest.mark.parametrize("size", [(320, 480), (97, 61), (128, 192), (1, 1), (5, 400)])
def test_scenes_come_in_any_size(size):
    street, labels = draw_street(size)
    for picture in (street, draw_showroom(size)):
        assert picture.shape == (*size, 3) and picture.dtype == np.uint8
    assert labels.shape == size and labels.max() <= len(STREET)


def test_a_scene_looks_the_same_at_every_size():
    """The large one, averaged down, is the small one, but for grain and rounding."""
    for draw in (lambda size: draw_street(size)[0], draw_showroom):
        small, large = draw((64, 96)).astype(float), draw((256, 384)).astype(float)
        averaged = large.reshape(64, 4, 96, 4, 3).mean(axis=(1, 3))
        assert np.abs(small - averaged).mean() < 6


def test_every_kind_is_in_the_full_street_and_only_what_was_asked_for_in_another():
    _, labels = draw_street((240, 360))
    assert set(np.unique(labels)) == set(range(len(STREET) + 1))
    for number, thing in enumerate(STREET, start=1):
        _, labels = draw_street((240, 360), (thing,))
        assert set(np.unique(labels)) == {0, number}
    street, labels = draw_street((240, 360), ())
    assert not labels.any() and (street == street[:, :1]).all()  # an empty sky


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("thing", STREET)
def test_a_label_is_where_the_thing_is_drawn(thing, seed):
    """Drawn on top of what lies behind it, it changes its own pixels and, edges aside, no other."""
    place = STREET.index(thing)
    with_it, labels = draw_street((240, 360), STREET[: place + 1], seed)
    without, _ = draw_street((240, 360), STREET[:place], seed)
    changed = np.abs(with_it.astype(int) - without).max(axis=2) > 24
    here = labels == 1 + place
    near = ndimage.binary_dilation(here, np.ones((3, 3)))
    assert not (changed & ~near).any()
    assert changed[here].mean() > 0.5


@pytest.mark.parametrize("thing", STREET)
def test_leaving_a_thing_out_moves_no_other(thing):
    _, everything = draw_street((240, 360))
    _, fewer = draw_street((240, 360), [name for name in STREET if name != thing])
    number = 1 + STREET.index(thing)
    assert not (fewer == number).any()
    assert np.array_equal(fewer[everything != number], everything[everything != number])


def test_a_seed_gives_one_street_and_another_seed_another():
    one, again, other = (draw_street((120, 180), seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert np.abs(one.astype(int) - other).mean() > 5


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(CourseError, match=r"things.*parked cars.*found dogs"):
        draw_street((20, 30), ("trees", "dogs"))
    for size in ((0, 5), (5.0, 5), (5,)):
        for draw in (draw_street, draw_showroom, lambda s: gradient(s, (0, 0, 0), (9, 9, 9))):
            with pytest.raises(CourseError, match="size"):
                draw(size)
