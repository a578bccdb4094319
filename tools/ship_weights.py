"""Trains the small model that the course ships: python tools/ship_weights.py [key=value …].

Trains configs/studio.yaml on the built-in pack, and writes data/weights/studio.safetensors and its
run record: data/records/studio.csv (the history) and data/records/studio.yaml (settings, split and
test score). The run itself stays in runs/shipped.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from unet_helpers.checkpoint import load_model, model_from_config, save_weights  # noqa: E402
from unet_helpers.config import load_config  # noqa: E402
from unet_helpers.environment import prepared_dir, runs_dir, seed_everything  # noqa: E402
from unet_helpers.sources import open_source  # noqa: E402
from unet_helpers.split import prepare  # noqa: E402
from unet_helpers.training import evaluate, fit, loaders_from_config  # noqa: E402


def main(overrides: list[str]) -> None:
    config = load_config(ROOT / "configs" / "studio.yaml", overrides)
    prepared = prepare(open_source("studio"), prepared_dir("studio"))
    out = runs_dir() / "shipped"
    train, val = loaders_from_config(config, prepared)
    seed_everything(config.seed)
    fit(model_from_config(config), train, val, config, out)
    model, _ = load_model(out / "best.pt")
    weights = ROOT / "data" / "weights" / "studio.safetensors"
    save_weights(model, config, weights)
    # Measured as shipped: read back from the file, in half precision.
    scores = evaluate(load_model(weights)[0], prepared, "test", config)
    record = {
        "config": config.model_dump(mode="json"),
        "photos": {split: prepared.count(split) for split in ("train", "val", "test")},
        "test": {
            "dice_mean": round(scores.dice_mean, 4),
            "dice_p10": round(scores.dice_p10, 4),
            "iou_mean": round(scores.iou_mean, 4),
            "accuracy": round(scores.accuracy, 4),
            "images": scores.images,
            "height": config.height,
            "width": config.width,
        },
    }
    records = ROOT / "data" / "records"
    shutil.copyfile(out / "history.csv", records / "studio.csv")
    text = yaml.safe_dump(record, sort_keys=False, default_flow_style=None)
    (records / "studio.yaml").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
