"""Keeps what a finished run has shown: python tools/record_run.py RUN --data DIR --name NAME.

Scores RUN/best.pt on the test cars of the prepared folder DIR and writes data/records/NAME.yaml
(settings, split, test score, time) and NAME.csv (the history). Notebook 07 and README show the
record of the real photos; --machine says in words what it ran on, since hours mean little without,
and --note what else a reader should know. `unet_helpers.records.read_run_record` reads it back.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from unet_helpers.checkpoint import load_model  # noqa: E402
from unet_helpers.config import TrainConfig, load_config  # noqa: E402
from unet_helpers.metrics import Scores  # noqa: E402
from unet_helpers.records import RUN_VERSION  # noqa: E402
from unet_helpers.run_folder import read_history  # noqa: E402
from unet_helpers.split import Prepared, load_prepared  # noqa: E402
from unet_helpers.training import evaluate  # noqa: E402

RECORDS = ROOT / "data" / "records"
SPLITS = ("train", "val", "test")


def write_record(
    name: str, run: Path, config: TrainConfig, prepared: Prepared, test: Scores, **more: Any
) -> str:
    """Write RECORDS/name.yaml and .csv for the run in that folder; returns the YAML text."""
    record = {
        "version": RUN_VERSION,
        "config": config.model_dump(mode="json"),
        "photos": {split: prepared.count(split) for split in SPLITS},
        "cars": {split: len(prepared.cars(split)) for split in SPLITS},
        "test": {
            "dice_mean": round(test.dice_mean, 4),
            "dice_p10": round(test.dice_p10, 4),
            "iou_mean": round(test.iou_mean, 4),
            "accuracy": round(test.accuracy, 4),
            "images": test.images,
            "height": config.height,
            "width": config.width,
        },
        **more,
    }
    RECORDS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "history.csv", RECORDS / f"{name}.csv")
    text = yaml.safe_dump(record, sort_keys=False, default_flow_style=None)
    (RECORDS / f"{name}.yaml").write_text(text, encoding="utf-8")
    return text


def time_of(run: Path, photos: int) -> dict[str, float]:
    """Hours of all epochs, and the median epoch's photos a second (validation included)."""
    seconds = [row["seconds"] for row in read_history(run)]
    speed = photos / statistics.median(seconds)
    return {"hours": round(sum(seconds) / 3600, 2), "photos_per_second": round(speed, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder it learned from")
    parser.add_argument("--name", required=True, help="of the record, for example carvana_cpu")
    parser.add_argument("--machine", required=True, help='in words: "two CPU cores", "one T4"')
    parser.add_argument("--note", help="a sentence on why it was run like this, kept as it is")
    options = parser.parse_args()
    prepared, config = load_prepared(options.data), load_config(options.run / "config.yaml")
    test = evaluate(load_model(options.run / "best.pt")[0], prepared, "test", config)
    time = time_of(options.run, prepared.count("train")) | {"machine": options.machine}
    more = {"time": time} | ({"note": options.note} if options.note else {})
    print(write_record(options.name, options.run, config, prepared, test, **more))


if __name__ == "__main__":
    main()
