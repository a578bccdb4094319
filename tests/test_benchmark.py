"""The benchmark's dispatcher and the input comparison, on made-up pairs and without clocks."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from make_pairs import make_archive_pair
from PIL import Image

from unet_helpers.metrics import Scores
from unet_helpers.sources import extract_pair

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmarks(monkeypatch):
    """The package tools.benchmarks, wherever pytest was started."""
    monkeypatch.syspath_prepend(str(ROOT))
    import tools.benchmarks.dice
    import tools.benchmarks.fullres
    import tools.benchmarks.input
    import tools.benchmarks.transfer

    return tools.benchmarks


def test_input_names_its_figures(benchmarks, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks.input, "ROUNDS", 1)
    pair = make_archive_pair(tmp_path / "zips", cars=1, angles=2)
    unpacked = extract_pair(pair, tmp_path / "pairs", progress=False)
    figures = benchmarks.input.compare(unpacked / "train", unpacked / "train_masks", 2)
    assert {"plain_images_per_s", "first_pass_ratio", "cached_ratio"} <= figures.keys()
    assert all(value > 0 for value in figures.values())
    small = {f"small_{name}": value for name, value in figures.items()}
    assert "from the cache" in benchmarks.input.report(figures | small)
    json.dumps(figures)


def test_plain_way_loads_the_same_car(benchmarks, tmp_path):
    """The two ways are comparable: the same shapes, and the same mask up to how it was shrunk."""
    pair = make_archive_pair(tmp_path / "zips", cars=1, height=320, width=480, angles=1)
    unpacked = extract_pair(pair, tmp_path / "pairs", progress=False)
    folders = unpacked / "train", unpacked / "train_masks"
    ours = benchmarks.input.opened(*folders, "none", None, 0)
    plain = benchmarks.input.plain_transform()
    plain.transforms = [plain.transforms[0], *plain.transforms[-2:]]  # nothing random
    image, mask = benchmarks.input.load_plainly(ours.pairs[0], plain)
    assert image.shape == ours[0][0].shape == (3, 160, 240)
    assert (mask.numpy() == ours[0][1].numpy()).mean() > 0.98


def test_full_size_figures_stand_beside_what_is_asked(
    benchmarks, tmp_path, monkeypatch, one_thread
):
    fullres = benchmarks.fullres
    monkeypatch.setattr(fullres, "HALF", (64, 96))
    monkeypatch.setattr(fullres, "WINDOW", (64, 96))
    monkeypatch.setattr(fullres, "return_large_blocks", lambda: True)  # not in the tests' process
    pair = make_archive_pair(tmp_path / "zips", cars=1, angles=3)
    unpacked = extract_pair(pair, tmp_path / "pairs", progress=False)
    figures = fullres._time_rle(next((unpacked / "train_masks").iterdir()))
    for way in fullres.WAYS:
        found = fullres.predict_all(unpacked / "train", way)
        figures |= {f"{way}_{key}": value for key, value in found.items()}
    assert all(value > 0 for value in figures.values())
    figures |= {"half_seconds": 2.345, "half_peak_mib": 901.2, "rle_encode_ms": 1.25}
    said = fullres.report(figures)
    assert "2.35 s (2 s), 901 MiB (900 MiB)" in said and "1.25 ms (5 ms)" in said
    json.dumps(figures)


def test_missing_photos_end_in_one_line(tmp_path):
    call = [sys.executable, ROOT / "tools" / "benchmark.py", "input", "--real", tmp_path]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worst_angle_and_car_are_means_of_groups(benchmarks):
    dices = {("a" * 12, 1): 0.9, ("a" * 12, 2): 0.7, ("b" * 12, 1): 1.0, ("b" * 12, 2): 0.8}
    rows = [{"stem": f"{car}_{angle:02d}", "dice": dice} for (car, angle), dice in dices.items()]
    scores = Scores(0.85, 0.7, 0.8, 0.9, 4, [], [], rows)
    # Angles: 0.95 and 0.75. Cars: 0.8 and 0.9.
    assert benchmarks.transfer.worst(scores) == pytest.approx((0.75, 0.8))


def test_a_mean_mask_is_car_where_most_masks_are(benchmarks, tmp_path):
    """Four masks: angle 01 is the left half, angle 02 once left, once right half."""
    left = np.zeros((16, 16), np.uint8)
    left[:, :8] = 1
    for folder in ("train", "train_masks"):
        (tmp_path / folder).mkdir()
    masks = {"a_01": left, "b_01": left, "a_02": left, "b_02": 1 - left}
    for name, mask in masks.items():
        stem = f"{name[0] * 12}{name[1:]}"
        Image.new("RGB", (16, 16)).save(tmp_path / "train" / f"{stem}.jpg")
        Image.fromarray(mask, "P").save(tmp_path / "train_masks" / f"{stem}_mask.gif")
    constant, per_angle = benchmarks.transfer.mean_masks(tmp_path, (16, 16))
    assert constant == pytest.approx(3 / 4)  # the left half: right three times in four
    assert per_angle == pytest.approx(2 / 4)  # in angle 02 no pixel has a majority: no car at all


def test_seconds_until_counts_whole_epochs(benchmarks):
    history = [{"seconds": 10.0, "dice_mean": dice} for dice in (0.5, 0.8, 0.7, 0.9)]
    assert benchmarks.dice.seconds_until(history, 0.75) == 20
    assert benchmarks.dice.seconds_until(history, 0.85) == 40
    assert benchmarks.dice.seconds_until(history, 0.95) is None


def test_widgets_are_timed_each_and_compared_with_the_limit(benchmarks, monkeypatch, tmp_path):
    import tools.benchmarks.widgets as widgets

    monkeypatch.setattr(widgets, "ROUNDS", 2)
    monkeypatch.setattr(widgets, "LIMIT_MS", 1e9)
    figures = widgets.measure(tmp_path)
    names = ("mask_overlay", "turntable", "augmentation_playground", "threshold_explorer",
             "shape_walker", "live_curve", "background_swap", "window_grid", "amdahl_explorer",
             "ablation_explorer")  # fmt: skip
    assert all(figures[f"{name}_ms"] > 0 for name in names)
    assert figures["slowest_ms"] == max(figures[f"{name}_ms"] for name in names)
    assert figures["within_limit"] and (figures["height"], figures["width"]) == (320, 480)
    assert all(name in widgets.report(figures) for name in names)
    json.dumps(figures)
    monkeypatch.setattr(widgets, "LIMIT_MS", 0)
    assert not widgets.measure(tmp_path)["within_limit"]


def test_every_move_of_the_widget_benchmark_draws_anew(benchmarks):
    """A move that changed nothing would cost no time and flatter the figures."""
    import tools.benchmarks.widgets as widgets
    from unet_helpers.widgets.base import CourseWidget

    drawn = []
    plain = CourseWidget.redraw
    CourseWidget.redraw = lambda self, change=None: (plain(self, change), drawn.append(type(self)))
    try:
        for name, moves in widgets.widgets_with_moves().items():
            for move in islice(moves, 12):
                drawn.clear()
                move()
                assert drawn, name
    finally:
        CourseWidget.redraw = plain
