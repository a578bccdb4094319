"""Trains the small model that the course ships: python tools/ship_weights.py [key=value …].

Trains configs/studio.yaml on the built-in pack, and writes data/weights/studio.safetensors and its
run record: data/records/studio.csv (the history) and data/records/studio.yaml (settings, split and
test score). The run itself stays in runs/shipped. With --run FOLDER nothing is trained: a run of
that split which is there already is shipped, for example one of `tools/benchmark.py transfer`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.record_run import write_record  # noqa: E402
from unet_helpers.checkpoint import load_model, model_from_config, save_weights  # noqa: E402
from unet_helpers.config import TrainConfig, load_config  # noqa: E402
from unet_helpers.environment import prepared_dir, runs_dir, seed_everything  # noqa: E402
from unet_helpers.sources import open_source  # noqa: E402
from unet_helpers.split import Prepared, prepare  # noqa: E402
from unet_helpers.training import evaluate, fit, loaders_from_config  # noqa: E402


def train(config: TrainConfig, prepared: Prepared) -> Path:
    """A fresh run in runs/shipped; returns its folder."""
    out = runs_dir() / "shipped"
    train_loader, val_loader = loaders_from_config(config, prepared)
    seed_everything(config.seed)
    fit(model_from_config(config), train_loader, val_loader, config, out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="ship this run, train nothing")
    options = parser.parse_args()
    base = options.run / "config.yaml" if options.run else ROOT / "configs" / "studio.yaml"
    config = load_config(base, options.overrides)
    prepared = prepare(open_source("studio"), prepared_dir("studio"))
    ship(config, prepared, options.run or train(config, prepared))


def ship(config: TrainConfig, prepared: Prepared, out: Path) -> None:
    """Weights and record of the run in folder `out`."""
    model, _ = load_model(out / "best.pt")
    weights = ROOT / "data" / "weights" / "studio.safetensors"
    # Another machine may lack the device and the precision of this run; the record keeps them.
    save_weights(model, config.model_copy(update={"device": "auto", "precision": "auto"}), weights)
    # Measured as shipped: read back from the file, in half precision.
    scores = evaluate(load_model(weights)[0], prepared, "test", config)
    print(write_record("studio", out, config, prepared, scores))


if __name__ == "__main__":
    main()
