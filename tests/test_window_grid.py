"""The widget WindowGrid without a browser: numbers by hand, its shares, its words when wrong."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unet_helpers.widgets import WindowGrid
from unet_helpers.widgets.drawing import RED
from unet_helpers.widgets.grid import CHART, shares
from unet_helpers.windows import WEIGHTS, window_starts

SLOW = [HealthCheck.too_slow]  # a busy machine is no fault


def grid_of(height=1280, width=1918, window=(512, 768), **how):
    photo = np.full((height, width, 3), 90, np.uint8)
    return WindowGrid(photo, window, **how)


def pixels(widget):
    return np.asarray(Image.open(io.BytesIO(widget.picture.value)))


def test_the_grid_of_a_carvana_photo_by_hand():
    """1280 = 512 + 2 · 384; 1920 = 768 + 2 · 576: three rows of three."""
    widget = grid_of()
    assert widget.text.startswith("9 windows of 512×768 in 3 rows of 3: 1.44 times")
    assert "Window 1 starts at row 0, column 0" in widget.text
    widget.number.value = 9
    assert "Window 9 starts at row 768, column 1152" in widget.text
    widget.overlap.value = 0.0
    assert "9 windows" in widget.text and "1.44 times" in widget.text  # 1280 is no multiple of 512
    widget.size.value = 0
    assert widget.text.startswith("25 windows of 256×384 in 5 rows of 5: 1.00 times")
    assert "Window 9 starts at row 256, column 1152" in widget.text  # second row, fourth window


def test_fewer_windows_bring_the_number_down():
    widget = grid_of(overlap=0.75, window=(256, 384), first=30)
    assert "Window 30 " in widget.text
    widget.size.value = 3
    widget.overlap.value = 0.0
    assert widget.number.max == 4 == widget.number.value and "Window 4 " in widget.text


def test_the_chosen_window_is_framed_in_red_where_it_lies():
    widget = grid_of(width=1920)
    widget.number.value = 5
    red = np.argwhere((pixels(widget)[:320] == RED).all(axis=2))
    scale = 480 / 1920
    wanted = np.array([384, 576, 384 + 512, 576 + 768]) * scale
    assert np.abs(np.concatenate([red.min(0), red.max(0) + 1]) - wanted).max() <= 1


@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.integers(1, 12), min_size=3, max_size=3), st.sampled_from(WEIGHTS))
def test_shares_add_up_to_one_at_every_pixel(sizes, kind):
    stride, window, length = sorted(16 * size for size in sizes)
    found = shares(window_starts(length, window, stride), window, length, kind)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert (found >= 0).all() and ((found > 0).sum(axis=1) <= window).all()


def test_what_is_wrong_is_said_in_the_widget():
    assert "smaller window" in grid_of(200, 300).text
    assert "read_photo" in WindowGrid(np.zeros((20, 20))).text
    widget = grid_of(600, 800)
    assert "512×768" in widget.text
    widget.size.value = 3
    assert "side that they have to cover" in widget.text
    widget.size.value = 0
    assert widget.text.startswith("9 windows of 256×384 in 3 rows of 3")


@pytest.mark.parametrize("weight", WEIGHTS)
def test_each_weight_gives_another_picture(weight):
    others = [pixels(grid_of(weight=kind)) for kind in WEIGHTS if kind != weight]
    assert all((pixels(grid_of(weight=weight)) != other).any() for other in others)


def test_the_chart_has_a_scale_from_0_to_1():
    """Black digits stand at the right end of its upper line and of its lower one."""
    chart = pixels(grid_of())[-CHART:, -10:]
    black = (chart < 80).all(axis=2).any(axis=1)  # (rows,)
    assert black[: CHART // 4].any() and black[-CHART // 4 :].any()
    assert not black[CHART // 4 : -CHART // 4].any()
