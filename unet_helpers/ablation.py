"""Many short trainings that differ in one thing: what is asked, how it is run, what is kept.

The questions stand in configs/ablations.yaml, the answers in data/records/ablations.jsonl: one line
a training. `tools/ablate.py` runs them all, notebook 12 reads them and runs one of them again.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from unet_helpers.boundary import boundary_scores
from unet_helpers.checkpoint import model_from_config
from unet_helpers.config import TrainConfig, UniqueKeyLoader
from unet_helpers.dataset import CarvanaDataset, eval_transform, make_loader, train_transform
from unet_helpers.environment import CourseError, seed_everything
from unet_helpers.model import count_parameters
from unet_helpers.records import VERSION, key_of
from unet_helpers.sources import parse_stem
from unet_helpers.split import Prepared
from unet_helpers.training import check_accuracy, fit

__all__ = ["Row", "deal", "missing", "read_grid", "run_row", "settings_of"]

REAL_CARS = 20  # of the real ones, the same in every row
TOLERANCE = 1.0  # pixels by which an outline may be off, at 96×144
DATA_KEYS = ("cars", "held", "split")
CURVE = ("epoch", "train_loss", "dice_mean")  # of each epoch, on the photos held back


@dataclass(frozen=True)
class Row:
    """One training: the question it belongs to, its name there, its settings, data and seed.

    cars, held: how many cars it learns from and how many are held back from it, out of those for
    training and validation, chosen by seed. split: "car", or "image": as many photos are held
    back, but of the same cars that it learns from.
    """

    question: str
    variant: str
    config: TrainConfig
    cars: int
    held: int
    split: str

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells a row from all others of a grid."""
        return self.question, self.variant, self.seed

    def settings(self) -> dict[str, Any]:
        """Everything that decides the outcome, as it stands in a record."""
        return {**self.config.model_dump(mode="json"), **{k: getattr(self, k) for k in DATA_KEYS}}


def read_grid(path: str | Path) -> list[Row]:
    """All rows of a grid, every variant of every question with every seed.

    Raises CourseError for a file that is none, for an unknown or impossible setting, and for two
    variants of one name.
    """
    path = Path(path)
    try:
        grid = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
        questions, seeds, base = grid["questions"], grid["seeds"], grid["base"]
        rows = [
            _row(question, str(variant), {**base, **_data(grid), **changes, "seed": seed})
            for question, variants in questions.items()
            for variant, changes in variants.items()
            for seed in seeds
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as problem:
        raise CourseError(
            path,
            expected="a grid: base, cars, held, split, seeds, and questions with their variants",
            found=f"{type(problem).__name__}: {problem}",
            mend="compare configs/ablations.yaml",
        ) from problem
    if not rows or len({row.key for row in rows}) < len(rows):
        raise CourseError(
            path,
            expected="at least one question, one variant of it and one seed, each named once",
            found=f"{len(rows)} trainings with the seeds {seeds}",
            mend="compare configs/ablations.yaml",
        )
    return rows


def _data(grid: dict) -> dict:
    return {key: grid[key] for key in DATA_KEYS}


def _row(question: str, variant: str, settings: dict) -> Row:
    data = {key: settings.pop(key) for key in DATA_KEYS}
    config = TrainConfig.model_validate({"name": "ablation", **settings})
    if data["split"] not in ("car", "image"):
        raise ValueError(f"{question}, {variant}: split is {data['split']}, expected car or image")
    for key in ("cars", "held"):
        if type(data[key]) is not int or data[key] < 1:
            raise ValueError(f"{question}, {variant}: {key} is {data[key]!r}, expected 1 or more")
    return Row(question, variant, config, **data)


def settings_of(record: dict) -> dict[str, Any]:
    """A record's settings; one that did not exist when it was made had its default then."""
    return {**TrainConfig().model_dump(mode="json"), **record["settings"]}


def missing(rows: Sequence[Row], records: Sequence[dict]) -> list[Row]:
    """The rows of a grid that have no record yet.

    Raises CourseError where a record has the name of a row and other settings.
    """
    made = {key_of(record): settings_of(record) for record in records}
    for row in rows:
        if row.key in made and made[row.key] != row.settings():
            now, then = row.settings(), made[row.key]
            differing = [key for key in {*now, *then} if now.get(key) != then.get(key)]
            raise CourseError(
                ", ".join(map(str, row.key)),
                expected="a record of the settings that the grid has",
                found="other " + ", ".join(sorted(differing)),
                mend="give the changed variant another name, or move the records aside",
            )
    return [row for row in rows if row.key not in made]


def deal(prepared: Prepared, row: Row) -> tuple[list[str], list[str]]:
    """Stems to learn from and stems held back, out of the cars for training and validation.

    Both splits take the same cars of the same seed: by car the last `held` ones are held back, by
    image a share of the photos, at random. CourseError where there are not so many cars.
    """
    cars = sorted({*prepared.cars("train"), *prepared.cars("val")})
    wanted = row.cars + row.held
    if wanted > len(cars):
        raise CourseError(
            f"{row.question}, {row.variant}",
            expected=f"{wanted} cars ({row.cars} to learn from, {row.held} held back)",
            found=f"{len(cars)} cars for training and validation in {prepared.root}",
            mend="ask for fewer cars",
        )
    draw = random.Random(row.seed)
    chosen = draw.sample(cars, wanted)
    stems = sorted(s for s in _stems(prepared) if parse_stem(s)[0] in chosen)
    if row.split == "image":
        draw.shuffle(stems)
        number = len(stems) * row.held // wanted
        return sorted(stems[number:]), sorted(stems[:number])
    held = set(chosen[row.cars :])
    split = {True: [], False: []}
    for stem in stems:
        split[parse_stem(stem)[0] in held].append(stem)
    return split[False], split[True]


def _stems(prepared: Prepared) -> list[str]:
    return [Path(entry.file).stem for entry in prepared.rows if entry.split in ("train", "val")]


def run_row(
    row: Row,
    prepared: Prepared,
    *,
    real: Path | None = None,
    progress: bool = False,
    on_epoch: Callable[[dict, torch.nn.Module], Any] | None = None,
) -> dict[str, Any]:
    """Train one row and measure it: its record, ready for `records.append_record`.

    Measured are the photos held back ("held_dice"), the test cars (Dice, its tenth percentile,
    boundary F1 and distance in pixels at the row's size), and the photos of `real`, a folder with
    train/ and train_masks/, where one is given. on_epoch: as for `fit`. A training whose loss
    becomes no number has the word of it under "diverged" and no scores. CourseError where the data
    are not enough.
    """
    train, held = deal(prepared, row)
    seed_everything(row.seed)
    model, last = model_from_config(row.config), []

    def watch(epoch: dict, measured: torch.nn.Module) -> Any:
        last.append(measured)
        return None if on_epoch is None else on_epoch(epoch, measured)

    record = {
        "version": VERSION,
        "question": row.question,
        "variant": row.variant,
        "seed": row.seed,
        "settings": row.settings(),
        "parameters": count_parameters(model),
        "photos": len(train),
    }
    with tempfile.TemporaryDirectory() as folder:
        loaders = _loaders(prepared, row, train, held, Path(folder))
        try:
            history = fit(
                model, *loaders, row.config, Path(folder) / "run", progress=progress,
                on_epoch=watch,
            )  # fmt: skip
        except CourseError as problem:
            if problem.subject != "the training loss":
                raise
            return {**record, "diverged": problem.found}
    record["history"] = [{key: entry[key] for key in CURVE} for entry in history]
    record["seconds"] = round(sum(entry["seconds"] for entry in history), 1)
    record["held_dice"] = history[-1]["dice_mean"]
    return {**record, **_measure(last[-1], prepared, row.config, real)}


def _loaders(prepared: Prepared, row: Row, train: list[str], held: list[str], cache: Path):
    """Loaders over the originals, whatever split of the folder the photos are in."""
    originals, size = prepared.root / "originals", (row.config.height, row.config.width)
    learn = train_transform(*size, row.config.augment)
    for stems, transform, shuffle in ((train, learn, True), (held, eval_transform(*size), False)):
        photos = CarvanaDataset(
            originals / "train", originals / "train_masks", transform, stems=stems, size=size,
            cache_dir=cache, seed=row.seed, progress=False,
        )  # fmt: skip
        yield make_loader(photos, row.config.batch_size, shuffle, seed=row.seed)


def _measure(
    model: torch.nn.Module, prepared: Prepared, config: TrainConfig, real: Path | None
) -> dict[str, float | int]:
    """Scores on the test cars, and on real photos where there are some."""
    size = (config.height, config.width)
    test = CarvanaDataset(
        prepared.images("test"), prepared.masks("test"), eval_transform(*size), size=size
    )
    scores = check_accuracy(make_loader(test, 16), model)
    outlines = [
        boundary_scores(logits[0].numpy() > 0, mask.numpy(), TOLERANCE)
        for images, masks, _ in make_loader(test, 16)
        for logits, mask in zip(_ask(model, images), masks, strict=True)
    ]
    distances = [o.distance for o in outlines if np.isfinite(o.distance)]
    measured = {
        "dice": scores.dice_mean,
        "dice_p10": scores.dice_p10,
        "boundary_f1": statistics.fmean(o.f1 for o in outlines),
        "boundary_distance": statistics.fmean(distances) if distances else None,
        "without_outline": len(outlines) - len(distances),
        "images": scores.images,
    }
    if real is not None:
        photos = CarvanaDataset(
            real / "train", real / "train_masks", eval_transform(*size), cars=REAL_CARS, seed=0
        )
        found = check_accuracy(make_loader(photos, 16), model)
        measured |= {"real_dice": found.dice_mean, "real_images": found.images}
    return measured


@torch.inference_mode()
def _ask(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model.eval()(images.to(next(model.parameters()).device)).cpu()
