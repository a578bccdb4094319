"""tools/record_run.py: what is kept of a run is what its folder and the test cars say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from make_pairs import make_archive_pair

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import record_run  # noqa: E402
from unet_helpers import cli  # noqa: E402
from unet_helpers.records import read_run_record  # noqa: E402

TINY = ("height=32", "width=48", "features=[4, 8]", "augment=none", "device=cpu", "epochs=2")


@pytest.fixture
def trained(tmp_path):
    """A prepared folder of five cars and a run of two epochs."""
    cars = make_archive_pair(tmp_path / "cars", cars=5, angles=4).folder
    data, out = tmp_path / "prepared", tmp_path / "run"
    counts = ("--val-cars", "1", "--test-cars", "2")
    assert cli.main(["prepare", str(cars), "--to", str(data), *counts]) == 0
    words = ["train", str(ROOT / "configs" / "studio.yaml"), *TINY]
    assert cli.main([*words, "--data", str(data), "--out", str(out)]) == 0
    return data, out


def test_a_record_says_what_evaluate_says_and_keeps_the_history(
    trained, tmp_path, monkeypatch, capsys
):
    data, out = trained
    monkeypatch.setattr(record_run, "RECORDS", tmp_path / "records")
    words = [out, "--data", data, "--name", "toy", "--machine", "a toy"]
    words += ["--note", "a note: it's odd"]
    monkeypatch.setattr(sys, "argv", ["record_run.py", *map(str, words)])
    record_run.main()
    capsys.readouterr()
    record = read_run_record(tmp_path / "records" / "toy.yaml", "time")
    assert record["note"] == "a note: it's odd"

    assert cli.main(["evaluate", str(out / "best.pt"), "--data", str(data), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    for key in ("dice_mean", "dice_p10", "iou_mean", "accuracy"):
        assert record["test"][key] == pytest.approx(said[key], abs=5e-5), key
    assert record["test"]["images"] == said["images"] == 8
    assert record["photos"] == {"train": 8, "val": 4, "test": 8}
    assert record["cars"] == {"train": 2, "val": 1, "test": 2}
    assert record["config"] == yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert record["time"]["machine"] == "a toy"
    history = tmp_path / "records" / "toy.csv"
    assert history.read_bytes() == (out / "history.csv").read_bytes()


def test_time_is_that_of_all_epochs_and_speed_that_of_the_median_one(tmp_path):
    header = "epoch,train_loss,val_loss,dice_mean,dice_p10,iou_mean,accuracy,learning_rate,seconds"
    rows = [f"{n},1,1,0.5,0.5,0.5,0.5,0.1,{s}" for n, s in ((1, 3000), (2, 100), (3, 500))]
    (tmp_path / "history.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    assert record_run.time_of(tmp_path, 2000) == {"hours": 1.0, "photos_per_second": 4.0}
