"""The widgets without a browser: their controls are moved, their pictures and words compared with
what must come out, forward passes counted, and the stop button pressed in a real kernel."""

from __future__ import annotations

import asyncio
import base64
import datetime
import html
import io
import re
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import ipywidgets
import nbformat
import numpy as np
import pytest
import torch
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage
from torchmetrics.functional import classification as oracle

from unet_helpers.augment import train_transform
from unet_helpers.environment import CourseError, course_root
from unet_helpers.model import UNET, count_parameters
from unet_helpers.plotting import draw_seeds
from unet_helpers.records import by_variant
from unet_helpers.widgets import (
    AblationExplorer,
    AmdahlExplorer,
    AugmentationPlayground,
    BackgroundSwap,
    LiveCurve,
    MaskOverlay,
    ShapeWalker,
    ThresholdExplorer,
    Turntable,
    WindowGrid,
    clicks,
)
from unet_helpers.widgets import augment as augment_module
from unet_helpers.widgets.background import SCENES
from unet_helpers.widgets.base import SWITCH
from unet_helpers.widgets.drawing import CLASS_COLOURS, class_colours, outline
from unet_helpers.widgets.steps import walk
from unet_helpers.widgets.threshold import Chart, ThresholdScores
from unet_helpers.widgets.uploads import picture_in

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import run_notebooks

HEIGHT, WIDTH = 24, 36
BLUE, ORANGE = (0, 114, 178), (230, 159, 0)  # missed and extra


def a_photo(seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def a_mask(shift: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[8:18, 10 + shift : 26 + shift] = 1
    return mask


PHOTOS, MASKS, PREDICTIONS = [a_photo(0), a_photo(1)], [a_mask(), a_mask(2)], [a_mask(3)] * 2


def pixels(widget) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(widget.picture.value)))


def shown_text(widget) -> str:
    """What stands on the page: the caption, its legend, and the message."""
    text = re.sub("<[^>]*>", "", widget.caption.value + widget.message.value)
    return html.unescape(text)


def figure(widget, name: str) -> float:
    return float(re.search(rf"{name} (\d\.\d+)", shown_text(widget))[1])


def f1(predicted, mask) -> float:
    return oracle.binary_f1_score(torch.as_tensor(predicted), torch.as_tensor(mask)).item()


def controls(widget):
    for child in getattr(widget, "children", ()):
        yield from controls(child)
    if hasattr(widget, "disabled"):
        yield widget


# --- MaskOverlay ---------------------------------------------------------------------------------


def overlay(**options) -> MaskOverlay:
    options = {"masks": MASKS, "predictions": PREDICTIONS, "width": WIDTH, **options}
    return MaskOverlay(PHOTOS, titles=["one", "two"], **options)


def test_fill_mixes_inside_and_leaves_outside_alone():
    widget = overlay(mode="mask", opacity=0.25)
    inside = MASKS[0] > 0
    expected = PHOTOS[0].astype(float)
    expected[inside] = 0.75 * expected[inside] + 0.25 * np.array(ORANGE)
    assert np.abs(pixels(widget) - expected).max() <= 0.5
    widget.opacity.value = 0.0
    assert np.array_equal(pixels(widget), PHOTOS[0])


def test_outline_is_what_erosion_takes_away():
    widget = overlay(mode="mask", style="outline", opacity=1.0)
    inner = ndimage.binary_erosion(MASKS[0], np.ones((3, 3)), iterations=2, border_value=1)
    edge = (MASKS[0] > 0) & ~inner
    assert (pixels(widget)[edge] == ORANGE).all()
    assert np.array_equal(pixels(widget)[~edge], PHOTOS[0][~edge])
    touching = np.array([[2, 2, 1, 1]] * 6, np.uint8)  # two classes have an edge of their own each
    assert np.array_equal(outline(touching, 1), np.array([[0, 2, 1, 0]] * 6))


def test_differences_have_two_colours_on_grey():
    widget = overlay(mode="differences", opacity=1.0)
    missed = (MASKS[0] > 0) & (PREDICTIONS[0] == 0)
    extra = (MASKS[0] == 0) & (PREDICTIONS[0] > 0)
    shown = pixels(widget)
    assert (shown[missed] == BLUE).all() and (shown[extra] == ORANGE).all()
    rest = shown[~missed & ~extra]
    assert (rest[:, 0] == rest[:, 1]).all() and (rest >= 127).all()
    assert f"{missed.sum()} pixels missed, {extra.sum()} extra" in shown_text(widget)
    assert "missedextra" in shown_text(widget).replace(" ", "")  # the legend


def test_dice_is_that_of_the_photo_that_is_shown():
    widget = overlay()
    for number in (0, 1, 0):
        widget.photo.value = number
        assert figure(widget, "Dice") == pytest.approx(
            f1(PREDICTIONS[number], MASKS[number]), abs=1e-4
        )
        assert shown_text(widget).startswith(["one", "two"][number])


def test_probabilities_are_cut_at_the_threshold():
    probability = np.full((HEIGHT, WIDTH), 0.3, np.float32)
    probability[:12] = 0.7
    for threshold, car in (
        (0.5, probability > 0.5),
        (0.7, probability > 0.7),
        (0.2, probability > 0),
    ):
        widget = overlay(predictions=[probability] * 2, threshold=threshold)
        assert figure(widget, "Dice") == pytest.approx(f1(car.astype(int), MASKS[0]), abs=1e-4)


def test_many_classes_have_a_legend_and_can_be_switched_off():
    names = ["background", "body", "glass", "wheel"]
    mask = np.random.default_rng(2).integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    predicted = np.random.default_rng(3).integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    widget = MaskOverlay(
        PHOTOS[0], mask, predicted, classes=names, mode="mask", opacity=1.0, width=WIDTH
    )
    assert (pixels(widget)[mask == 2] == CLASS_COLOURS[1]).all()
    widget.shown[1].value = False
    assert np.array_equal(pixels(widget)[mask == 2], PHOTOS[0][mask == 2])
    assert (pixels(widget)[mask == 3] == CLASS_COLOURS[2]).all()
    legend = shown_text(widget).partition("wheel 0.")[2]
    assert "wheel" in legend and "glass" not in legend
    each = oracle.multiclass_f1_score(
        torch.from_numpy(predicted), torch.from_numpy(mask), num_classes=4, average=None
    )
    assert figure(widget, "Dice") == pytest.approx(each.mean().item(), abs=1e-4)
    assert figure(widget, "glass") == pytest.approx(each[2].item(), abs=1e-3)


def test_differences_of_one_class_alone():
    mask, predicted = np.array([[1, 1, 2, 0, 0]], np.uint8), np.array([[1, 2, 1, 1, 2]], np.uint8)
    widget = MaskOverlay(
        a_photo(0, (1, 5)), mask, predicted, classes=["ground", "a", "b"], opacity=1.0, width=5
    )
    grey, names = (127, 127, 127), {BLUE: "missed", ORANGE: "extra"}

    def seen() -> list[str]:
        return [names.get(tuple(value), "") for value in pixels(widget)[0].tolist()]

    assert seen() == ["", "missed", "missed", "extra", "extra"]
    widget.shown[1].value = False  # only class a
    assert seen() == ["", "missed", "extra", "extra", ""]
    assert (pixels(widget)[0, 0] >= grey).all()


def test_a_large_photo_is_shown_smaller_and_scored_at_its_own_size():
    photo = a_photo(0, (2 * HEIGHT, 2 * WIDTH))
    mask = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    mask[3:20, 5:40] = 1
    predicted = np.roll(mask, 1, axis=1)
    widget = MaskOverlay(photo, mask, predicted, width=WIDTH)
    assert pixels(widget).shape == (HEIGHT, WIDTH, 3)
    assert figure(widget, "Dice") == pytest.approx(f1(predicted, mask), abs=1e-4)


# Viénot, Brettel and Mollon 1999, linear RGB: protanopia and deuteranopia.
@pytest.mark.parametrize(
    "matrix",
    [
        [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    ],
)
def test_class_colours_stay_apart_for_the_colour_blind(matrix):
    linear = (np.array(CLASS_COLOURS) / 255) ** 2.2
    seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=2) + 10 * np.eye(len(seen))
    assert distance.min() > 0.1
    assert len(set(class_colours(14))) == 14


# --- Turntable -----------------------------------------------------------------------------------


class Cars:
    """A look_up that counts how often it is asked."""

    def __init__(self, parts: int = 3) -> None:
        self.asked, self.parts = [], parts

    def __call__(self, stem: str):
        self.asked.append(stem)
        angle = int(stem[-2:])
        mask = a_mask()
        return (a_photo(angle), mask, np.roll(mask, angle, axis=1))[: self.parts]


def test_the_turntable_shows_each_angle_with_its_dice_and_asks_once():
    cars = Cars()
    widget = Turntable(["aa", "bb"], cars, width=WIDTH * 8)
    wanted = {n: f1(np.roll(a_mask(), n, axis=1), a_mask()) for n in range(1, 17)}
    seen = []
    for angle in range(1, 17):
        widget.angle.value = angle
        assert figure(widget, "Dice") == pytest.approx(wanted[angle], abs=1e-4)
        seen.append(widget.picture.value)
    assert len(set(seen)) == 16
    assert widget.figures() == pytest.approx(wanted, abs=1e-6)
    lowest = min(wanted, key=wanted.get)
    assert f"lowest at angle {lowest}" in shown_text(widget)
    for mode in ("photo", "mask", "prediction", "differences"):
        widget.mode.value = mode
    assert sorted(cars.asked) == [f"aa_{angle:02d}" for angle in range(1, 17)]
    widget.car.value = 1
    assert "bb" in shown_text(widget) and len(cars.asked) == 32


def test_the_turntable_without_predictions_says_how_much_is_car():
    widget = Turntable("aa", Cars(parts=2), width=WIDTH)
    assert list(widget.mode.options) == ["photo", "mask"]
    assert f"{a_mask().mean():.1%} of the photo is car" in shown_text(widget)
    widget.mode.value = "photo"
    assert np.array_equal(pixels(widget)[:HEIGHT], a_photo(1))


def test_dice_that_is_known_is_not_worked_out_again():
    widget = Turntable(["aa"], Cars(), dices={"aa_01": 0.1234}, width=WIDTH)
    assert figure(widget, "Dice") == 0.1234


# --- AugmentationPlayground ----------------------------------------------------------------------


def playground(**options) -> AugmentationPlayground:
    return AugmentationPlayground(PHOTOS, MASKS, width=WIDTH, **options)


def set_limits(widget, **values) -> None:
    for name, slider in widget.limits.items():
        slider.value = values.get(name, type(slider.value)(0))


def test_the_sliders_show_the_limits_of_the_strength():
    assert augment_module.limits_of("gentle") == {
        "shift": 5, "zoom": 10, "turn": 5, "brightness": 15, "contrast": 15, "mirror": 1,
        "boxes": 1,
    }  # fmt: skip
    widget = playground(strength="tutorial")
    assert (widget.limits["turn"].value, widget.limits["shift"].value) == (35, 0)
    widget.strength.value = "strong"
    assert (widget.limits["turn"].value, widget.limits["zoom"].value) == (12, 25)
    steps = [type(step) for step in widget.transform().transforms]
    assert steps == [type(s) for s in train_transform(64, 96, "strong").transforms[1:-1]]


def test_a_slider_takes_over_and_rounding_by_the_page_does_not():
    widget = playground(strength="gentle")
    widget.limits["shift"].value = 5.000000000000001
    assert widget.strength.value == "gentle"
    widget.limits["turn"].value = 20
    assert widget.strength.value == augment_module.OWN
    widget.strength.value = "gentle"
    assert widget.limits["turn"].value == 5


def test_with_all_limits_at_zero_nothing_happens():
    widget = playground()
    set_limits(widget)
    out = widget.transform()(image=PHOTOS[0], mask=MASKS[0])
    assert np.array_equal(out["image"], PHOTOS[0]) and np.array_equal(out["mask"], MASKS[0])
    assert figure(widget, "Dice") == 1


def test_the_mask_goes_where_the_car_goes():
    """A white car on black: wherever it is moved, the moved mask must lie on it."""
    size = 120, 180
    mask = np.zeros(size, np.uint8)
    mask[40:90, 50:130] = 1
    photo = np.repeat(255 * mask[..., None], 3, axis=2)
    widget = AugmentationPlayground(photo, mask, width=size[1])
    set_limits(widget, shift=20, zoom=20, turn=30, mirror=True)
    moved = set()
    for _ in range(5):
        widget.again.click()
        out = widget.transform()(image=photo, mask=mask)
        assert f1((out["image"][..., 0] > 127).astype(int), out["mask"]) > 0.97
        assert figure(widget, "Dice") == pytest.approx(f1(out["mask"], mask), abs=1e-3)
        assert f"{out['mask'].mean():.1%} of the photo is car" in shown_text(widget)
        moved.add(widget.picture.value)
    assert len(moved) == 5


@pytest.mark.parametrize("name", ["zoom", "turn", "shift", "brightness"])
def test_a_limit_holds_in_both_directions(name):
    """A white stripe on grey, left of the middle: its size, slope, place and light, 30 throws."""
    photo, mask = np.full((120, 180, 3), 60, np.uint8), np.zeros((120, 180), np.uint8)
    mask[55:65, 40:120] = 1
    photo[mask > 0] = 180
    widget = AugmentationPlayground(photo, mask, width=180)
    set_limits(widget, **{name: 10})
    seen = []
    for _ in range(30):
        widget.again.click()
        out = widget.transform()(image=photo, mask=mask)
        rows, columns = np.nonzero(out["mask"])
        slope = np.polyfit(columns, rows, 1)[0]
        seen.append({"zoom": np.ptp(columns) / 79 - 1, "turn": np.degrees(np.arctan(slope)) / 100,
                     "shift": (columns.mean() - 79.5) / 180,
                     "brightness": (np.median(out["image"]) - 60) / 255}[name])  # fmt: skip
    assert -0.105 < min(seen) < -0.05 and 0.05 < max(seen) < 0.105


# --- ThresholdExplorer ---------------------------------------------------------------------------


def blurred(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 0.2, mask.shape).astype(np.float32)
    return 0.8 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2) + noise


def test_the_four_scores_are_those_of_an_independent_library():
    probability = blurred(MASKS[0])
    widget = ThresholdExplorer(PHOTOS[0], MASKS[0], probability, width=WIDTH * 6)
    pictures = []
    for threshold in (0.1, 0.42, 0.5, 0.77):
        widget.threshold.value = threshold
        answer = torch.from_numpy((probability > np.float32(threshold)).astype(np.int64))
        truth = torch.from_numpy(MASKS[0].astype(np.int64))
        for name, score in (
            ("Dice", oracle.binary_f1_score),
            ("IoU", oracle.binary_jaccard_index),
            ("precision", oracle.binary_precision),
            ("recall", oracle.binary_recall),
        ):
            assert figure(widget, name) == pytest.approx(score(answer, truth).item(), abs=1e-4)
        pictures.append(pixels(widget))
    # The mask's half and the curve's half have both moved.
    for first, second in pairwise(pictures):
        changed = (first != second).any(axis=(0, 2))
        assert changed[: WIDTH * 6].any() and changed[WIDTH * 6 + 6 :].any()


def test_a_pixel_at_the_threshold_is_not_above_it():
    probability = np.array([[0.5, 0.5, 0.6, 0.4]], np.float32)
    scores = ThresholdScores(probability, np.array([[1, 0, 1, 0]], np.uint8))
    assert scores(0.5)["recall"] == 0.5 and scores(0.5)["precision"] == 1
    assert scores(0.49)["recall"] == 1 and scores(0.49)["precision"] == pytest.approx(2 / 3)
    nothing = scores(0.6)
    assert nothing["precision"] == 1 and nothing["recall"] == 0 and nothing["Dice"] == 0


def test_the_line_stands_at_the_threshold_and_the_dots_on_the_curves():
    scores = ThresholdScores(blurred(MASKS[0]), MASKS[0])
    chart = Chart(scores, 300, 200)
    columns = [chart.column(threshold) for threshold in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert np.diff(columns, 2).tolist() == pytest.approx([0, 0, 0], abs=1)
    drawn = chart.at(0.25, {name: value.item() for name, value in scores(0.25).items()})
    changed = (drawn != chart.picture).any(axis=2)
    assert changed[:, columns[1]].sum() > 100 and not changed[:, columns[2]].any()


def test_a_good_networks_curves_use_the_chart_and_no_dot_leaves_it():
    chart = Chart(ThresholdScores(0.98 * MASKS[0] + np.float32(0.01), MASKS[0]), 300, 200)

    def dots_at(score: float) -> np.ndarray:
        """The rows in which dots of that score are drawn, without the line through them."""
        drawn = chart.at(0.5, dict.fromkeys(("Dice", "IoU", "precision", "recall"), score))
        columns = chart.column(0.5) + np.array([-3, -2, 2, 3])
        return np.flatnonzero((drawn != chart.picture)[:, columns].any(axis=(1, 2)))

    assert dots_at(0.95).mean() - dots_at(1.0).mean() > 200 / 4
    assert dots_at(0.0).max() < 200 - 20  # above the numbers below the axis


def test_the_mean_over_all_photos_and_the_best_threshold():
    probabilities = [blurred(mask, seed) for seed, mask in enumerate(MASKS)]
    widget = ThresholdExplorer(PHOTOS, MASKS, probabilities, threshold=0.4, width=WIDTH)
    both = [f1((p > 0.4).astype(int), m) for p, m in zip(probabilities, MASKS, strict=True)]
    assert figure(widget, "all 2 photos") == pytest.approx(np.mean(both), abs=1e-4)
    pairs = list(zip(probabilities, MASKS, strict=True))
    grid = [[f1((p > t).astype(int), m) for p, m in pairs] for t in np.linspace(0, 1, 101)]
    assert figure(widget, "best Dice") == pytest.approx(max(np.array(grid)[:, 0]), abs=1e-4)
    assert figure(widget, ", best") == pytest.approx(np.mean(grid, axis=1).max(), abs=1e-4)


# --- ShapeWalker ---------------------------------------------------------------------------------


class Counter:
    """Counts the forward passes of a model."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.passes = 0
        model.register_forward_hook(self.count)

    def count(self, *_) -> None:
        self.passes += 1


def a_model(**options) -> UNET:
    torch.manual_seed(0)
    return UNET(features=(4, 8), **options)


def test_the_model_runs_once_a_photo_whatever_else_is_moved():
    model = a_model().train()
    counter = Counter(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    widget = ShapeWalker(model, PHOTOS, width=120)
    seen = set()
    for _, step in widget.step.options:
        widget.step.value = step
        seen.add(widget.picture.value)
    widget.order.value = "by number"
    widget.step.value = 3
    widget.channel.value = 2
    assert counter.passes == 1 and len(seen) == len(widget.step.options)
    widget.photo.value = 1
    widget.photo.value = 0
    assert counter.passes == 2
    assert model.training and not any(
        hook for m in model.encoder.modules() for hook in m._forward_hooks
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_shapes_and_parameters_by_arithmetic():
    model = a_model()
    widget = ShapeWalker(model, PHOTOS[0], size=(17, 22), width=120)
    shapes = [step.shape[1:] for step in widget.steps(0)]
    assert shapes == [
        (3, 17, 22), (4, 17, 22), (4, 9, 11), (8, 9, 11), (8, 5, 6), (16, 5, 6),
        (8, 10, 12), (16, 9, 11), (8, 9, 11), (4, 18, 22), (8, 17, 22), (4, 17, 22),
        (1, 17, 22), (1, 17, 22),
    ]  # fmt: skip
    parameters = [step.parameters for step in widget.steps(0)]
    assert sum(parameters) == count_parameters(model)
    # Two 3×3 convolutions without bias, and two numbers for each channel in each BatchNorm.
    assert parameters[1] == 9 * 3 * 4 + 9 * 4 * 4 + 2 * 8
    widget.step.value = 5
    assert "shape (1, 16, 5, 6)" in shown_text(widget) and "14×14" not in shown_text(widget)
    with torch.inference_mode():
        model.eval()
        image = train_transform(17, 22, "none")(image=PHOTOS[0])["image"]
        logits = model(image[None])[0]
    assert torch.allclose(widget.steps(0)[-2].maps, logits)
    assert torch.allclose(widget.steps(0)[-1].maps, torch.sigmoid(logits))


@pytest.mark.parametrize(
    "options", [{}, {"up": "bilinear"}, {"skips": False}], ids=["plain", "bilinear", "no skips"]
)
def test_the_receptive_field_is_what_a_nan_can_reach(options):
    """One column of the photo is no number: a position is none either if it sees that column."""
    model, side = a_model(**options).eval(), 96
    steps = walk(model, torch.zeros(3, 4, side))
    reached = [np.zeros((side, step.maps.shape[2]), int) for step in steps]
    for column in range(side):
        image = torch.zeros(3, 4, side)
        image[:, :, column] = float("nan")
        for seen, step in zip(reached, walk(model, image), strict=True):
            seen[column] = step.maps.isnan().any(dim=1).any(dim=0)  # position by position
    assert [seen.sum(axis=0).max() for seen in reached] == [step.sees for step in steps]
    # Every pixel in between is seen, too.
    assert all((np.diff(one, prepend=0) == 1).sum() == 1 for seen in reached for one in seen.T)


def test_a_photo_that_is_too_small_does_not_stop_the_others():
    widget = ShapeWalker(a_model(), [a_photo(0, (2, 30)), PHOTOS[0]], width=120)
    assert "at least 4×4 pixels" in shown_text(widget)
    widget.photo.value, widget.step.value = 1, 5
    assert f"shape (1, 16, {HEIGHT // 4}, {WIDTH // 4})" in shown_text(widget)


def test_another_model_is_refused_in_words():
    widget = ShapeWalker(torch.nn.Conv2d(3, 1, 1), PHOTOS)
    assert "expected a UNET" in shown_text(widget)


# --- LiveCurve -----------------------------------------------------------------------------------


def a_row(epoch: int, dice: float = 0.5) -> dict:
    return {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 1.2 / epoch, "dice_mean": dice,
            "dice_p10": dice / 2}  # fmt: skip


def test_the_curve_grows_and_says_where_it_stands():
    curve = LiveCurve(3, steps=2, width=400)
    assert "no epoch finished yet" in shown_text(curve)
    seen = {curve.picture.value}
    for epoch, dice in enumerate((0.4, 0.8, 0.7), start=1):
        curve.step(1.0)
        curve.step(0.9)
        assert curve(a_row(epoch, dice)) is True
        assert figure(curve, "validation Dice") == dice
        seen.add(curve.picture.value)
    assert len(seen) >= 4 and "best 0.8000 in epoch 2" in shown_text(curve)
    assert [at for at, _ in curve.losses] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert curve.button.disabled and curve.button.description == "Finished"


def test_the_button_is_honest():
    curve = LiveCurve(5, width=400)
    assert curve(a_row(1)) is True
    curve.button.click()
    assert "will stop" in curve.button.description.lower()
    assert curve(a_row(2)) is False
    assert curve.button.description == "Stopped after epoch 2" and curve.button.disabled
    assert curve(a_row(3)) is True  # the run goes on, with the same curve
    assert [row["epoch"] for row in curve.rows] == [1, 2, 3] and not curve.button.disabled
    curve(a_row(2))  # and once more from the second epoch
    assert [row["epoch"] for row in curve.rows] == [1, 2]


def test_a_wrong_number_of_epochs_is_said_and_training_goes_on():
    curve = LiveCurve("8")
    assert "a whole number above 0" in shown_text(curve)
    assert curve(a_row(1)) is True and curve(a_row(2)) is True


def test_a_loss_that_is_missing_leaves_a_gap():
    curve = LiveCurve(2, width=400)
    curve({**a_row(1), "val_loss": ""})
    assert "after epoch 1" in shown_text(curve)


BEFORE = """
import importlib.util, time
import ipywidgets
spec = importlib.util.spec_from_file_location("clicks", {path!r})
clicks = importlib.util.module_from_spec(spec)  # alone, without what the other widgets import
spec.loader.exec_module(clicks)
button, order, limit = ipywidgets.Button(), [], 60
button.on_click(lambda pressed: order.append("click"))
print(clicks.can_look(), button.model_id)
"""
RUNNING = """
end = time.monotonic() + limit
while not clicks.handle_clicks(button) and time.monotonic() < end:
    time.sleep(0.02)
order.append("end of the cell")
"""


def test_a_click_arrives_while_the_cell_runs_and_the_next_cells_wait():
    """As a page does it: the cells are all sent at once, then the button is pressed."""
    folder = tempfile.TemporaryDirectory(prefix="kernel-")  # a short name, see lab_server
    line = run_notebooks.kernel_line(Path(folder.name))
    manager = KernelManager(kernel_name="python3", config=line)
    manager.start_kernel(extra_arguments=["--log-level=ERROR"])
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=180)
        path = course_root() / "unet_helpers" / "widgets" / "clicks.py"
        first = client.execute(BEFORE.format(path=str(path)))
        can_look, model_id = outputs_of(client, [first])[first].split()
        cells = [client.execute(RUNNING)]
        cells += [client.execute(f"order.append({n})") for n in (1, 2)]
        time.sleep(0.3)
        for comm in ("another", model_id):
            data = {"method": "custom", "content": {"event": "click"}}
            content = {"comm_id": comm, "data": data}
            client.shell_channel.send(client.session.msg("comm_msg", content))
        cells.append(client.execute("print(order)"))
        said = outputs_of(client, cells)
        broken = [
            client.execute(f"limit = 1\n{RUNNING}\n1 / 0"),
            client.execute("print('too late')"),
        ]
        said |= outputs_of(client, broken, errors=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        folder.cleanup()
    assert can_look == "True"
    assert said[cells[-1]].strip() == "['click', 'end of the cell', 1, 2]"
    assert said[broken[1]] == ""  # a cell that fails still takes the waiting ones with it


@pytest.mark.parametrize("kind", ["plain", "coroutine"])  # what ipykernel 6 and 7 give the stream
def test_what_comes_while_a_cell_runs_keeps_its_order(kind, monkeypatch):
    """Looked at twice, with a message between and one behind: no look lets a later one pass."""
    import zmq
    from tornado.ioloop import IOLoop
    from zmq.eventloop.zmqstream import ZMQStream

    handled, context = [], zmq.Context()
    page, cell = context.socket(zmq.PAIR), context.socket(zmq.PAIR)

    def plain(frames):
        handled.append(frames[0].bytes)

    async def coroutine(frames):
        handled.append(frames[0].bytes)

    async def a_cell_and_what_follows():
        stream = ZMQStream(cell, IOLoop.current())
        stream.on_recv({"plain": plain, "coroutine": coroutine}[kind], copy=False)
        kernel = SimpleNamespace(io_loop=IOLoop.current(), session=Session())
        monkeypatch.setattr(clicks, "_inbox", lambda: (kernel, stream))
        for message in (b"one", b"two"):
            page.send(message)
            assert clicks.handle_clicks(ipywidgets.Button()) == 0
        page.send(b"three")
        while len(handled) < 3:
            await asyncio.sleep(0)
        stream.close()

    try:
        page.bind("inproc://page")
        cell.connect("inproc://page")
        asyncio.run(asyncio.wait_for(a_cell_and_what_follows(), 60))
    finally:
        context.destroy(linger=0)
    assert handled == [b"one", b"two", b"three"]


def outputs_of(client, requests: list[str], errors: bool = False) -> dict[str, str]:
    said, waiting = dict.fromkeys(requests, ""), set(requests)
    while waiting:
        message = client.get_iopub_msg(timeout=60)
        request, content = message["parent_header"].get("msg_id"), message["content"]
        assert errors or message["msg_type"] != "error", content
        if request in said and message["msg_type"] == "stream":
            said[request] += content["text"]
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            waiting.discard(request)
    return said


# --- BackgroundSwap ------------------------------------------------------------------------------


def swap(tmp_path, probabilities=MASKS, photos=PHOTOS, **options) -> BackgroundSwap:
    widget = BackgroundSwap(
        photos,
        probabilities,
        ["one", "two"][: len(photos)],
        folder=tmp_path,
        width=WIDTH,
        **options,
    )
    with widget.together():
        widget.shadow.value, widget.clean.value, widget.largest.value = 0, False, False
    return widget


def test_the_car_stays_and_the_background_goes(tmp_path):
    widget = swap(tmp_path, background="white", feather=0)
    expected = np.where(MASKS[0][..., None] > 0, PHOTOS[0], 255)
    assert np.array_equal(pixels(widget), expected)
    widget.colour.value = "#102030"
    assert widget.background.value == "colour"
    assert (pixels(widget)[MASKS[0] == 0] == (16, 32, 48)).all()
    seen = set()
    for name in [*SCENES][:-1]:
        widget.background.value = name
        seen.add(widget.picture.value)
        assert np.array_equal(pixels(widget)[MASKS[0] > 0], PHOTOS[0][MASKS[0] > 0])
        assert f"“{name}”" in shown_text(widget)
    assert len(seen) == len(SCENES) - 1


def test_a_feather_mixes_across_the_outline_only(tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 18:] = 1  # the outline lies between columns 17 and 18
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    widget = swap(tmp_path, [mask], [black], background="white", feather=2)
    # The ramp is 4 pixels wide: its middles lie 1.5 and 0.5 pixels to either side.
    share = np.clip(0.5 + (np.arange(WIDTH) - 17.5) / 4, 0, 1)
    assert np.abs(pixels(widget)[5, :, 0] - 255 * (1 - share)).max() <= 1.5
    assert f"{4 / WIDTH:.1%} soft edge" in shown_text(widget)


def test_what_is_saved_has_alpha_its_own_size_and_a_name_of_its_own(tmp_path):
    large = np.kron(MASKS[0], np.ones((3, 3), np.uint8))
    photo = a_photo(5, large.shape)
    widget = swap(tmp_path, [large], [photo], feather=0)
    widget.save_cut_out.click()
    widget.save_cut_out.click()
    widget.save_picture.click()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["one_cut_out.png", "one_cut_out_2.png", "one_showroom.png"]
    saved = np.asarray(Image.open(tmp_path / "one_cut_out.png"))
    assert saved.shape == (3 * HEIGHT, 3 * WIDTH, 4)
    assert np.array_equal(saved[..., 3], 255 * large) and np.array_equal(saved[..., :3], photo)
    link = re.search(r'href="data:image/png;base64,([^"]+)"', widget.saved.value)[1]
    assert base64.b64decode(link) == (tmp_path / "one_showroom.png").read_bytes()


def as_png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


def upload(control, name: str, content: bytes) -> None:
    """As the page does it, in both versions of ipywidgets."""
    if isinstance(control.value, dict):
        control.metadata, control.data = (
            [{"name": name, "type": "", "size": len(content)}],
            [content],
        )
        control._counter += 1
    else:
        now = datetime.datetime.now(datetime.UTC)
        entry = {"name": name, "type": "", "size": len(content), "last_modified": now}
        control.value = ({**entry, "content": memoryview(content)},)


def test_the_learners_own_background(tmp_path):
    widget = swap(tmp_path, feather=0)
    upload(widget.own_background, "notes.txt", b"not a picture at all")
    assert "notes.txt: expected a picture" in shown_text(widget)
    green = np.full((50, 75, 3), (10, 200, 30), np.uint8)
    upload(widget.own_background, "green.png", as_png(green))
    assert widget.background.value == "own picture" and "expected" not in shown_text(widget)
    assert (pixels(widget)[MASKS[0] == 0] == (10, 200, 30)).all()
    upload(widget.own_background, "broken.png", as_png(a_photo(0, (90, 90)))[:600])
    assert "broken.png" in shown_text(widget)
    widget.photo.value = 1
    assert "broken.png" not in shown_text(widget) and "two" in shown_text(widget)


def test_the_learners_own_photo_is_predicted_once(tmp_path):
    asked = []

    def predict(photo):
        asked.append(photo.shape)
        return np.where(photo[..., 0] > 100, 0.9, 0.1).astype(np.float32)

    widget = swap(tmp_path, predict=predict, feather=0, background="white")
    car = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    car[4:9, 4:9] = 200
    upload(widget.own_photo, "mine.png", as_png(car))
    assert widget.photo.label == "mine.png" and "mine.png" in shown_text(widget)
    assert np.array_equal(pixels(widget), np.where(car > 0, car, 255))
    for control, value in ((widget.feather, 3), (widget.background, "dusk"), (widget.photo, 0),
                           (widget.photo, 2)):  # fmt: skip
        control.value = value
    assert asked == [(HEIGHT, WIDTH, 3)]


def test_uploads_stand_upright_and_on_white():
    sideways = Image.fromarray(np.repeat(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), 8, 0))
    file, tag = io.BytesIO(), Image.Exif()
    tag[0x0112] = 6  # to be turned clockwise by 90°
    sideways.save(file, "png", exif=tag)
    turned = picture_in("x.png", file.getvalue())
    assert turned.shape == (2, 8, 3) and (turned[0] == (255, 0, 0)).all()
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2] = (9, 9, 9, 255)
    seen = picture_in("x.png", as_png(clear))
    assert (seen[:2] == 9).all() and (seen[2:] == 255).all()


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture_is_named(content):
    with pytest.raises(CourseError, match=r"a\.png: expected a picture"):
        picture_in("a.png", content)


# --- bad input -----------------------------------------------------------------------------------

SMALL = a_mask(size=(10, 36))
LOGITS = (blurred(MASKS[0]) * 8 - 4).astype(np.float32)
PAIR = {"aa_01": (PHOTOS[0], MASKS[0]), "aa_02": (PHOTOS[1], SMALL)}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MaskOverlay([], []), "an empty list"),
        (lambda: MaskOverlay(PHOTOS, MASKS[:1]), "one for each of the 2 photos; found 1"),
        (lambda: MaskOverlay(PHOTOS[0], SMALL), "24×36; found 10×36"),
        (lambda: MaskOverlay(PHOTOS[0], 255 * MASKS[0]), "the values 0, 255"),
        (
            lambda: MaskOverlay(PHOTOS[0], MASKS[0], LOGITS),
            "probabilities from 0 to 1; found values",
        ),
        (lambda: MaskOverlay(PHOTOS[0], MASKS[0], MASKS[0] * np.nan), "values that are no number"),
        (lambda: MaskOverlay(PHOTOS[0] / 255, MASKS[0]), "uint8 (H, W, 3); found float64"),
        (lambda: MaskOverlay(None), "a list of photos; found NoneType"),
        (lambda: MaskOverlay(PHOTOS[0], "mask.gif"), "a list of masks; found str"),
        (lambda: MaskOverlay(PHOTOS[0], [None]), "24×36; found NoneType"),
        (lambda: Turntable([], Cars()), "an empty list"),
        (lambda: Turntable("aa", lambda stem: None), "photo and mask"),
        (lambda: Turntable("aa", {}.__getitem__), "KeyError: 'aa_01'"),
        (lambda: Turntable("aa", lambda stem: (PHOTOS[0], SMALL)), "found 10×36"),
        (lambda: AugmentationPlayground([], []), "an empty list"),
        (lambda: AugmentationPlayground(PHOTOS, MASKS, strength="wild"), "found 'wild'"),
        (lambda: AugmentationPlayground(PHOTOS[0], SMALL), "found 10×36"),
        (lambda: ThresholdExplorer([], [], []), "an empty list"),
        (lambda: ThresholdExplorer(PHOTOS[0], MASKS[0], LOGITS), "torch.sigmoid(logits)"),
        (
            lambda: ThresholdExplorer(PHOTOS[0], MASKS[0], None),
            "probabilities: expected at least one",
        ),
        (lambda: ShapeWalker(UNET(features=(2,)), []), "an empty list"),
        (lambda: ShapeWalker(None, PHOTOS), "NoneType"),
        (lambda: ShapeWalker(UNET(features=(2, 2, 2, 2, 2)), PHOTOS), "at least 32×32 pixels"),
        (lambda: LiveCurve(0), "a whole number above 0"),
        (lambda: BackgroundSwap([], []), "an empty list"),
        (lambda: BackgroundSwap(PHOTOS[0], LOGITS), "torch.sigmoid(logits)"),
        (lambda: BackgroundSwap(PHOTOS[0], SMALL), "found 10×36"),
        (lambda: AblationExplorer([]), "an empty list"),
        (lambda: AblationExplorer([{"dice": 1}]), "records of trainings"),
        (lambda: AblationExplorer(RECORDS, score="iou"), "found iou"),
        (lambda: AblationExplorer(RECORDS, bars="range"), "found range"),
        (lambda: AblationExplorer(RECORDS, score="real_dice"), "choose another score"),
    ],
)
def test_bad_input_is_said_in_the_widgets_own_area(make, said):
    widget = make()
    assert said in shown_text(widget)
    assert widget.message.layout.display is None and widget.caption.value == ""
    bundle, _ = widget.still()
    assert set(bundle) == {"text/plain"} and said in bundle["text/plain"]


def test_one_bad_photo_does_not_stop_the_others():
    widget = MaskOverlay(PHOTOS, [SMALL, MASKS[1]], PREDICTIONS, width=WIDTH)
    assert "found 10×36" in shown_text(widget)
    widget.photo.value = 1
    assert figure(widget, "Dice") > 0 and "expected" not in shown_text(widget)
    assert widget.picture.layout.display is None and widget.message.layout.display == "none"
    widget.photo.value = 0
    assert "found 10×36" in shown_text(widget) and widget.picture.layout.display == "none"
    widget = Turntable("aa", PAIR.__getitem__, angles=[1, 2, 3], width=WIDTH)
    for angle, said in ((2, "found 10×36"), (3, "KeyError"), (1, "of the photo is car")):
        widget.angle.value = angle
        assert said in shown_text(widget)
    widget = ThresholdExplorer(PHOTOS, MASKS, [LOGITS, blurred(MASKS[1])], width=WIDTH)
    widget.photo.value = 1
    assert figure(widget, "Dice") > 0 and "mean Dice" not in shown_text(widget)


# --- AblationExplorer ----------------------------------------------------------------------------

# Two questions, three seeds; one training of "without" diverged, and "wild" has no score at all.
DICES = {"with": (0.9, 0.92, 0.94), "without": (0.7, None, 0.72), "wild": (None, None, None)}
RECORDS = [
    {"question": question, "variant": variant, "seed": seed, "settings": {}, "version": 1}
    | ({"diverged": "nan"} if dice is None else {"dice": dice, "boundary_distance": 1 - dice})
    for question in ("skips", "more skips")
    for variant, dices in DICES.items()
    for seed, dice in enumerate(dices, start=1)
]


def test_the_best_variant_is_compared_with_the_next_over_seeds_that_both_have():
    widget = AblationExplorer(RECORDS, question="more skips")
    assert shown_text(widget) == (
        "more skips, error bars: standard deviation. Best: with, 0.9200; next: without, 0.7100; "
        "seed by seed +0.2100 ± 0.1271 (95 % interval): clear."
    )
    widget.score.value = "distance"  # less is better, and the difference is then below 0
    assert "Best: with, 0.0800; next: without, 0.2900; seed by seed -0.2100" in shown_text(widget)


def test_moving_the_bars_or_the_question_draws_anew_and_a_score_that_is_not_there_is_said():
    widget = AblationExplorer(RECORDS)
    before = pixels(widget)
    widget.bars.value = "standard error"
    assert not np.array_equal(pixels(widget), before)
    widget.score.value = "photographed"
    assert "choose another score" in shown_text(widget)
    widget.score.value, widget.bars.value, widget.question.value = "Dice", widget.bars.options[0], 1
    assert np.array_equal(pixels(widget), before) and "more skips" in shown_text(widget)


def test_the_chart_draws_mean_bar_and_dots_where_they_belong():
    axis = Figure().add_subplot()
    groups = by_variant(RECORDS, "skips")
    draw_seeds(axis, groups, "Dice", "standard error")
    means = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "|"][::3]
    named = {line.get_label(): line for line in axis.lines if line.get_label().startswith("seed")}
    rows = {name: line.get_ydata().astype(int).tolist() for name, line in named.items()}
    assert rows == {"seed 1": [0, 1], "seed 2": [0], "seed 3": [0, 1]}, "diverged: no mark"
    assert [list(line.get_xdata()) for line in named.values()] == [[0.9, 0.7], [0.92], [0.94, 0.72]]
    assert len({line.get_marker() for line in named.values()} - {"None", ""}) == 3, "own shapes"
    (bars, others) = (container[2][0].get_segments()[0] for container in axis.containers)
    assert means[0] == pytest.approx(0.92) and axis.yaxis_inverted()
    assert (bars[1][0] - bars[0][0]) / 2 == pytest.approx(0.02 / 3**0.5)
    assert (others[1][0] - others[0][0]) / 2 == pytest.approx(0.01)
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["with", "without\n2 of 3 seeds", "wild\n0 of 3 seeds"]


# --- what all of them share ----------------------------------------------------------------------

EVERY = {
    "mask-overlay": lambda: overlay(),
    "turntable": lambda: Turntable(["aa", "bb"], Cars(), width=WIDTH),
    "augmentation-playground": lambda: playground(),
    "threshold-explorer": lambda: ThresholdExplorer(
        PHOTOS, MASKS, [blurred(mask) for mask in MASKS], width=WIDTH
    ),
    "shape-walker": lambda: ShapeWalker(a_model(), PHOTOS, width=120),
    "live-curve": lambda: LiveCurve(3, width=400),
    "background-swap": lambda: BackgroundSwap(PHOTOS, MASKS, width=WIDTH),
    "amdahl-explorer": lambda: AmdahlExplorer({"decode": 9.0, "forward": 3.0}, width=400),
    "window-grid": lambda: WindowGrid(a_photo(0, (96, 144)), (48, 64), sizes=[(32, 48)]),
    "ablation-explorer": lambda: AblationExplorer(RECORDS),
}
each_widget = pytest.mark.parametrize("name", EVERY)


@each_widget
def test_controls_are_core_widgets_with_labels_and_names(name):
    widget = EVERY[name]()
    assert {"unet-widget", f"unet-{name}"} <= set(widget._dom_classes)
    found = list(controls(widget))
    for control in found:
        assert type(control).__module__.startswith("ipywidgets.")
        assert control.description.strip(), type(control)
        assert any(c.startswith("unet-control-") for c in control._dom_classes)
    assert found or name == "live-curve"  # outside a kernel no click could arrive
    # In ipywidgets 8 a tooltip on a picture breaks the page: it looks for a description there.
    assert not getattr(widget.picture, "tooltip", None)


@each_widget
def test_the_still_picture_says_what_it_shows(name):
    widget = EVERY[name]()
    bundle, metadata = widget.still()
    alt = metadata["image/png"]["alt"]
    assert bundle["text/plain"] == alt and len(alt.split()) > 5
    assert widget.text.rstrip(".") in alt
    still = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    live = pixels(widget)
    # The picture is in it, and below it the caption.
    assert still.width == live.shape[1] and still.height > live.shape[0]
    shown = np.asarray(still.convert("RGB"))[: live.shape[0]].astype(int)
    assert np.abs(shown - live).mean() < 12  # reduced to 256 colours
    assert shown_text(widget).startswith(widget.text)


@each_widget
def test_outside_a_notebook_the_sentence_is_printed(name, capsys):
    EVERY[name]().show()
    assert capsys.readouterr().out.startswith("[picture: ")


def test_in_a_notebook_the_still_picture_is_all_that_is_kept(tmp_path):
    source = (
        f"import sys; sys.path.insert(0, {str(course_root())!r})\n"
        "import numpy as np\nfrom unet_helpers.widgets import LiveCurve, MaskOverlay\n"
        "photo, mask = np.zeros((20, 30, 3), np.uint8), np.eye(20, 30, dtype=np.uint8)\n"
    )
    rows = "curve = LiveCurve(2)\ncurve.show()\nfor epoch in (1, 2):\n    curve(dict(epoch=epoch, "
    rows += "train_loss=1, val_loss=1, dice_mean=epoch / 4, dice_p10=0))"
    cells = [source + "MaskOverlay(photo, mask, mask, 'a car')", rows, "MaskOverlay([])"]
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    path = tmp_path / "00_try.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    environment = run_notebooks.course_environment("studio")
    executed = run_notebooks.execute(path, environment, timeout=300)
    views = [o for o in executed.cells[0].outputs if any("widget" in kind for kind in o.data)]
    assert len(views) == 1 and views[0] is executed.cells[0].outputs[-1]
    overlaid, curve, empty = (cell.outputs for cell in run_notebooks.clean(executed).cells)
    for outputs, words in ((overlaid, "a car: Dice 1.0000"), (curve, "after epoch 2 of 2")):
        (output,) = outputs
        assert set(output.data) == {"image/png", "text/plain"}
        assert words in output.metadata["image/png"]["alt"] and words in output.data["text/plain"]
    assert [set(output.data) for output in empty] == [{"text/plain"}]


def test_only_the_switch_is_thrown_away_not_a_table_with_a_style():
    table = "<style scoped>td {color: red}</style><style>b {}</style><table><td>7</td></table>"
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": ""}
    bundles = [{"text/html": SWITCH, "text/plain": ""}, view, {"text/html": table}]
    outputs = [nbformat.v4.new_output("display_data", data) for data in bundles]
    cell = nbformat.v4.new_code_cell("1", outputs=outputs)
    cleaned = run_notebooks.clean(nbformat.v4.new_notebook(cells=[cell]))
    assert [output.data for output in cleaned.cells[0].outputs] == [{"text/html": table}]


def test_both_versions_of_ipywidgets_are_known():
    major = int(ipywidgets.__version__.partition(".")[0])
    assert major in (7, 8)
    slider = overlay().opacity
    hint = slider.tooltip if major == 8 else slider.description_tooltip
    assert hint == "0: the photo alone"
