"""The record of the long run on real photos: whole, dealt by car, and shown as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from unet_helpers.config import TrainConfig
from unet_helpers.run_folder import read_history

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "data" / "records"


@pytest.fixture
def record():
    return yaml.safe_load((RECORDS / "carvana_cpu.yaml").read_text(encoding="utf-8"))


def test_its_settings_are_a_config_and_its_history_has_every_epoch(record):
    config = TrainConfig(**record["config"])
    history = read_history(RECORDS / "carvana_cpu.csv")
    assert [row["epoch"] for row in history] == list(range(1, config.epochs + 1))
    hours = sum(row["seconds"] for row in history) / 3600
    assert record["time"]["hours"] == pytest.approx(hours, abs=0.005)


def test_it_counts_160_20_and_20_cars_of_sixteen_photos(record):
    assert record["cars"] == {"train": 160, "val": 20, "test": 20}
    assert record["photos"] == {name: 16 * cars for name, cars in record["cars"].items()}
    assert record["test"]["images"] == record["photos"]["test"]


def test_readme_shows_it_beside_its_settings(record):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in readme.splitlines() if line.startswith("| **0.")]
    test, config, time = record["test"], record["config"], record["time"]
    for shown in (
        f"**{test['dice_mean']:.4f}**",
        f"{test['dice_p10']:.4f}",
        f"{test['height']}×{test['width']}",
        f"{test['images']} photos of {record['cars']['test']} cars",
        f"{config['epochs']} epochs of {record['photos']['train']} photos",
        f"{time['hours']} h, {time['photos_per_second']} photos/s",
        time["machine"],
    ):
        assert shown in row, shown
