"""The benchmark's dispatcher and the input comparison, on made-up pairs and without clocks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from make_pairs import make_archive_pair

from unet_helpers.sources import extract_pair

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmarks(monkeypatch):
    """The package tools.benchmarks, wherever pytest was started."""
    monkeypatch.syspath_prepend(str(ROOT))
    import tools.benchmarks.input

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


def test_missing_photos_end_in_one_line(tmp_path):
    call = [sys.executable, ROOT / "tools" / "benchmark.py", "input", "--real", tmp_path]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
