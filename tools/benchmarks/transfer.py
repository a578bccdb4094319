"""Transfer: how well does a network that has only seen studio cars cut out photographed ones?

The CPU-profile network is trained on the built-in pack alone, with configs/studio.yaml but for
bf16 and more epochs, once per seed and at most ten minutes each on two cores; then it is scored on
every real photo at the config's size. No real photo has a say in a training: not in the epochs, nor
in the weights that are kept. (The strong augmentation was chosen with a tenth of them in sight.)
The other way round, 20 real cars against all studio cars, shows how hard the pack is.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from tools.benchmarks.dice import prepare_real
from tools.studio.measure import dice_of_mean_mask
from unet_helpers.checkpoint import model_from_config
from unet_helpers.config import TrainConfig, load_config
from unet_helpers.dataset import CarvanaDataset, eval_transform, find_pairs, make_loader, read_mask
from unet_helpers.environment import seed_everything
from unet_helpers.loaders import loaders_from_config
from unet_helpers.metrics import Scores
from unet_helpers.plotting import dice_by_angle
from unet_helpers.sources import open_source, parse_stem
from unet_helpers.split import Prepared, prepare
from unet_helpers.training import check_accuracy, fit

ROOT = Path(__file__).resolve().parents[2]
SEEDS, SECONDS = (1, 2, 3), 600.0
REAL_CARS, REVERSE_EPOCHS = 20, 16
# A processor that computes in bf16 takes two thirds of the time for a step: more of them fit in.
RECIPE = {"device": "cpu", "precision": "bf16", "epochs": 26}


def train(prepared: Prepared, config: TrainConfig, out: Path, seconds: float, **choice):
    """Train from scratch for at most so many seconds; the averaged weights of the last step."""
    seed_everything(config.seed)
    loaders, last = loaders_from_config(config, prepared, **choice), []
    fit(
        model_from_config(config), *loaders, config, out, max_seconds=seconds,
        on_epoch=lambda row, measured: last.append(measured),
    )  # fmt: skip
    return last[-1]


def score(model, folder: Path, config: TrainConfig) -> Scores:
    """Dice and the rest on every pair of folder/train and folder/train_masks."""
    size = (config.height, config.width)
    photos = CarvanaDataset(folder / "train", folder / "train_masks", eval_transform(*size))
    return check_accuracy(make_loader(photos, 16), model)


def worst(scores: Scores) -> tuple[float, float]:
    """Mean Dice of the angle, and of the car, that are segmented worst."""
    cars = defaultdict(list)
    for row in scores.per_image:
        cars[parse_stem(row["stem"])[0]].append(row["dice"])
    angle, car = (
        min(map(statistics.fmean, group.values()))
        for group in (dice_by_angle(scores.per_image), cars)
    )
    return angle, car


def mean_masks(folder: Path, size: tuple[int, int]) -> tuple[float, float]:
    """Mean Dice of a guess that ignores the photo: one mean mask for all, and one per angle.

    A mean mask is car where most masks are. What a network scores above this, it has seen.
    """
    pairs = find_pairs(folder / "train", folder / "train_masks")
    masks = np.stack([read_mask(pair.mask, size) for pair in pairs]).astype(bool)  # (N, H, W)
    angles = np.array([parse_stem(pair.stem)[1] for pair in pairs])
    by_angle = [dice_of_mean_mask(masks[angles == angle]) for angle in np.unique(angles)]
    return float(dice_of_mean_mask(masks).mean()), float(np.concatenate(by_angle).mean())


def measure(
    real: Path,
    seeds: tuple[int, ...] = SEEDS,
    seconds: float = SECONDS,
    pack: str | Path = "studio",
    **overrides,
) -> dict[str, float | list]:
    """Once per seed, and once the other way round; at most `seconds` of training each time."""
    chosen = load_config(ROOT / "configs" / "studio.yaml").model_copy(
        update={**RECIPE, **overrides}
    )
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        studio = prepare(open_source(pack), work / "studio", progress=False)
        prepared = prepare_real(real, work / "real")
        photographed, drawn = prepared.root / "originals", studio.root / "originals"
        runs = []
        for seed in seeds:
            config = chosen.model_copy(update={"seed": seed})
            model = train(studio, config, work / f"seed_{seed}", seconds)
            runs.append(score(model, photographed, config))
            print(f"seed {seed}, real photos: {runs[-1]}")
        # The reverse has the settings for real photos; on 20 cars an epoch is shorter.
        other = {"augment": "gentle", "epochs": REVERSE_EPOCHS} | overrides
        config = chosen.model_copy(update=other)
        model = train(prepared, config, work / "reverse", seconds, train_cars=REAL_CARS)
        reverse = score(model, drawn, config)
        size = (chosen.height, chosen.width)
        constant, per_angle = mean_masks(photographed, size)
        studio_constant, studio_per_angle = mean_masks(drawn, size)
    middle = {
        "dice_mean": [run.dice_mean for run in runs],
        "dice_p10": [run.dice_p10 for run in runs],
        "worst_angle": [worst(run)[0] for run in runs],
        "worst_car": [worst(run)[1] for run in runs],
    }
    return {
        **{name: statistics.median(values) for name, values in middle.items()},
        **{f"{name}_by_seed": values for name, values in middle.items()},
        "mean_mask": constant,
        "mean_mask_per_angle": per_angle,
        "images": runs[0].images,
        "height": chosen.height,
        "width": chosen.width,
        "real_cars": REAL_CARS,
        "studio_mean_mask": studio_constant,
        "studio_mean_mask_per_angle": studio_per_angle,
        "real_to_studio_dice": reverse.dice_mean,
        "studio_images": reverse.images,
    }


def report(figures: dict) -> str:
    """The figures as text."""
    lines = [
        f"Transfer, {figures['height']}×{figures['width']}, median of "
        f"{len(figures['dice_mean_by_seed'])} seeds:",
        f"  studio → {figures['images']} real photos: Dice {figures['dice_mean']:.3f}, tenth "
        f"percentile {figures['dice_p10']:.3f}, worst angle {figures['worst_angle']:.3f}, "
        f"worst car {figures['worst_car']:.3f}",
        f"  for comparison, a mean mask {figures['mean_mask']:.3f}, one per angle "
        f"{figures['mean_mask_per_angle']:.3f}",
        f"  {figures['real_cars']} real cars → {figures['studio_images']} studio photos: Dice "
        f"{figures['real_to_studio_dice']:.3f} (mean mask {figures['studio_mean_mask']:.3f})",
    ]
    return "\n".join(lines)
