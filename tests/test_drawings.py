"""The drawn figures say what the module does: their labels are counted here by other means."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.drawings import road, unet  # noqa: E402
from unet_helpers.environment import PROFILES  # noqa: E402
from unet_helpers.model import UNET  # noqa: E402

CPU = PROFILES["cpu"]


@pytest.fixture(scope="module")
def seen() -> unet.Trace:
    torch.manual_seed(0)
    return unet.trace(UNET(features=CPU.features), torch.randn(3, CPU.height, CPU.width))


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts if text.get_text()]


def test_blocks_are_those_of_the_paper_at_the_profiles_widths(seen):
    """Down: width doubles, size halves; up: the reverse. Worked out from the profile alone."""
    widths = [CPU.features[0] * 2**level for level in (0, 1, 2, 3, 4, 3, 2, 1, 0)]
    halvings = (0, 1, 2, 3, 4, 3, 2, 1, 0)
    assert [tuple(block.map.shape) for block in seen.blocks] == [
        (width, CPU.height >> level, CPU.width >> level)
        for width, level in zip(widths, halvings, strict=True)
    ]
    assert seen.logits.shape == (1, CPU.height, CPU.width)


def test_skips_are_found_where_they_are_and_only_there(seen):
    assert sorted(seen.skips) == [(0, 8), (1, 7), (2, 6), (3, 5)]
    without = unet.trace(UNET(features=(4, 8), skips=False), torch.randn(3, 16, 24))
    assert without.skips == [] and len(without.blocks) == 5


def test_hooks_are_gone_afterwards():
    model = UNET(features=(4, 8))
    unet.trace(model, torch.randn(3, 16, 24))
    assert not [m for m in model.modules() if m._forward_hooks]


def test_the_picture_carries_every_shape_and_stays_inside_its_frame(seen):
    photo = np.zeros((CPU.height, CPU.width, 3), np.uint8)
    figure = unet.draw_unet(photo, seen)
    drawn = texts(figure)
    for shape in [(3, CPU.height, CPU.width), *(block.map.shape for block in seen.blocks)]:
        assert " × ".join(map(str, shape)) in drawn
    cards = unet.place(seen)
    low, high = figure.axes[0].get_xlim()
    assert all(low < card.left and card.right < high for card in cards)
    assert all(one.right < two.left for one, two in pairwise(cards))
    arrows = [getattr(text, "arrow_patch", None) for text in figure.axes[0].texts]
    dashed = [arrow for arrow in arrows if arrow is not None and arrow.get_linestyle() == "--"]
    assert len(dashed) == len(seen.skips)
    plt.close(figure)


def test_another_network_gives_another_picture():
    seen = unet.trace(UNET(features=(4, 8)), torch.randn(3, 32, 48))
    figure = unet.draw_unet(np.zeros((32, 48, 3), np.uint8), seen)
    assert "16 × 8 × 12" in texts(figure)
    plt.close(figure)


# --- the map -------------------------------------------------------------------------------------


def made_up_car() -> road.Car:
    rng = np.random.default_rng(0)
    masks = np.zeros((16, 32, 48), np.uint8)
    masks[:, 8:24, 8:40] = 1
    photos = rng.integers(0, 255, (16, 32, 48, 3), np.uint8)
    history = [{"dice_mean": 0.5 + 0.1 * epoch} for epoch in range(4)]
    probabilities = 0.8 * masks.astype(np.float32)
    return road.Car(photos, masks, probabilities, masks[0], (3, 1, 1), history)


def test_the_map_has_a_stop_and_a_picture_for_every_notebook():
    titles = road.stops()
    notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert list(titles) == [path.name[:2] for path in notebooks]
    assert set(titles) <= set(road.PICTURES), "draw a picture for the new notebook in road.py"
    figure = road.draw_road(titles, made_up_car())
    drawn = texts(figure)
    for path in notebooks:
        title = re.match(r"# (.+)", nbformat.read(path, as_version=4).cells[0].source)[1]
        assert title in drawn
    assert len(figure.axes) == 1 + len(notebooks)
    plt.close(figure)


def test_the_dice_of_the_map_is_dice():
    car = made_up_car()
    assert np.allclose(car.dices, 1)  # the prediction is the mask
    half = dataclasses.replace(car, probabilities=car.probabilities.copy())
    half.probabilities[:, 16:] = 0  # the lower half of the box is missed: 2 * 1/2 / (1 + 1/2)
    assert np.allclose(half.dices, 2 / 3)


def test_the_error_bars_of_the_map_are_those_of_the_records():
    """A line with BatchNorm and one without, a point a learning rate: means by other means."""
    axis = plt.figure().add_subplot()
    road.draw_error_bars(axis, made_up_car())
    lines = (ROOT / "data" / "records" / "ablations.jsonl").read_text(encoding="utf-8").splitlines()
    dices = {}
    for record in map(json.loads, lines):
        if record["question"] == "batchnorm":
            dices.setdefault(record["variant"], []).append(record.get("dice", np.nan))
    for drawn, norm in zip(axis.containers, ("with, ", "without, "), strict=True):
        means = [np.mean(values) for name, values in dices.items() if name.startswith(norm)]
        assert np.allclose(drawn.lines[0].get_ydata(), means)
    plt.close(axis.figure)


def test_the_figures_that_readme_and_notebooks_show_are_drawn_by_a_function():
    source = (ROOT / "tools" / "figures.py").read_text(encoding="utf-8")
    for path in (ROOT / "figures").glob("*"):
        assert f'"{path.name}"' in source, f"nothing in tools/figures.py draws {path.name}"
