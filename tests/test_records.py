"""The record of the long run on real photos: whole, dealt by car, checked, and shown as it is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import nbformat
import pytest
import yaml

from unet_helpers.config import TrainConfig, load_config
from unet_helpers.environment import CourseError
from unet_helpers.records import RUN_VERSION, read_run_record
from unet_helpers.run_folder import read_history

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "data" / "records"


@pytest.fixture
def record():
    return read_run_record(RECORDS / "carvana_cpu.yaml", "time", "note")


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_record_of_a_run_is_read_whole(path):
    assert read_run_record(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


GOOD = {"version": RUN_VERSION, **{key: {"a": 1} for key in ("config", "photos", "cars", "test")}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (yaml.safe_dump(GOOD | {"version": 2}), "one of version 2"),
        (yaml.safe_dump(GOOD | {"version": "1"}), "one of version '1'"),
        (yaml.safe_dump(GOOD | {"version": True}), "one of version True"),
        (yaml.safe_dump({k: v for k, v in GOOD.items() if k != "version"}), "without a version"),
        (yaml.safe_dump(GOOD | {"test": None}), "without test, time"),
        (yaml.safe_dump(GOOD), "without time"),
        ("- 1", "a list"),
        ("a: [", "while parsing"),
        (b"\xff\xfe\x00", "decode"),
        (None, "no such file"),
    ],
)
def test_a_record_of_another_version_or_of_none_is_refused_by_name(tmp_path, text, found):
    path = tmp_path / "odd.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CourseError, match=r"odd\.yaml") as refused:
        read_run_record(path, "time")
    error = refused.value
    assert found in error.found and f"version {RUN_VERSION}" in error.expected
    assert "tools/record_run.py" in error.mend


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
    where = time["machine"].split(",")[0]  # in the sentence above the table, too
    assert f"What comes of it on {where}: " in readme


def test_the_command_in_the_recipe_is_that_of_the_record(record):
    recipe = ROOT / "configs" / "carvana.yaml"
    said = recipe.read_text(encoding="utf-8").replace("\\\n#", "")
    (words,) = re.findall(r"train configs/carvana\.yaml (name=carvana_cpu .*)", said)
    config = load_config(recipe, shlex.split(words))
    assert config == TrainConfig(**record["config"])


def test_notebook_07_reads_it_through_the_check_and_shows_it_beside_its_settings(record):
    path = ROOT / "notebooks" / "07_read_the_curves.ipynb"
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert any("read_run_record(" in cell.source for cell in code)
    assert not any("import yaml" in cell.source for cell in code)
    shown = "\n".join(output.get("text", "") for cell in code for output in cell.outputs)
    test, config, time = record["test"], record["config"], record["time"]
    for wanted in (
        f"test Dice {test['dice_mean']:.4f}, tenth percentile {test['dice_p10']:.4f} "
        f"({test['height']}×{test['width']}, {test['images']} images of {record['cars']['test']}",
        f"features {config['features']}, {config['epochs']} epochs of {record['photos']['train']}",
        f"batches of {config['batch_size']}, learning rate {config['learning_rate']}",
        f"loss {config['loss']}, augmentation {config['augment']}",
        f"{time['hours']} hours",
        f"{time['photos_per_second']} photos a second",
        time["machine"],
        record["note"],
    ):
        assert wanted in shown, wanted
