"""The command line: check, prepare, train, evaluate, predict, submit.

Every command imports what it needs inside its function, so that `check` answers when torch or
another package cannot be imported, and `--help` answers at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_photos import add_submit_options, find_photos, submit
from .environment import CourseError, data_dir, pick_device, pick_precision, runs_dir

if TYPE_CHECKING:
    import torch

    from .config import TrainConfig
    from .pets import Pets
    from .split import Prepared

PROGRAM = "python -m unet_helpers"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (`check` found something), 2 (bad input), 130.

    argv: the words after `python -m unet_helpers`; None takes them from the process. Arguments
    that cannot be parsed end in SystemExit with code 2, as argparse does it.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = parse(words)
    try:
        return options.run(options)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, no permission: whatever no module has foreseen
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
            # Of torchrun's own options, nothing is known here.
            if os.environ.get("RANK") == "0":
                print("Stopped. To go on: the same command with --resume", file=sys.stderr)
            return 130
        if options.command == "train" and not options.resume:
            words.append("--resume")
        print(f"Stopped. To go on: {PROGRAM} {shlex.join(words)}", file=sys.stderr)
        return 130


def parse(words: list[str]) -> argparse.Namespace:
    """The options of one command line."""
    parser = build_parser()
    options, rest = parser.parse_known_args(words)
    # argparse closes a list of words at the first option; here they may stand around options.
    unknown = [word for word in rest if word.startswith("-") or options.many is None]
    if unknown:
        parser.error(f"unknown argument: {' '.join(unknown)} (see {options.command} --help)")
    if rest:
        getattr(options, options.many).extend(rest)
    return options


def build_parser() -> argparse.ArgumentParser:
    """The parser of all six commands."""
    parser = argparse.ArgumentParser(PROGRAM, description="U-Net from Scratch", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, text, many=None):
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run, many=many)
        return added

    add = command("check", check, "Is this machine ready, and if not, what mends it").add_argument
    text = "studio, kaggle or a folder (default: $UNET_COURSE_DATA, else studio)"
    add("--source", help=text, default=os.environ.get("UNET_COURSE_DATA") or "studio")

    add = command("prepare", prepare, "Unpack a source and split it by car").add_argument
    add("source", metavar="SOURCE", help="studio, kaggle, or a folder with an archive pair")
    add("--to", metavar="DIR", type=Path, required=True, help="the prepared folder to make")
    text = "what the masks hold: the car, or its parts (train_parts.zip, as studio has)"
    add("--labels", choices=("car", "parts"), default="car", help=text)
    add("--val-cars", metavar="N", type=int, help="cars for validation (default: an eighth)")
    add("--test-cars", metavar="N", type=int, help="cars for the test (default: an eighth)")
    add("--seed", metavar="S", type=int, default=42, help="decides which cars (default: 42)")

    text = "Train a U-Net (several processes: torchrun --nproc-per-node N -m unet_helpers train …)"
    add = command("train", train, text, many="settings").add_argument
    add("config", metavar="CONFIG", type=Path, help="a YAML file, such as configs/studio.yaml")
    add("settings", metavar="key=value", nargs="*", help="change a setting of the file")
    add("--data", metavar="DIR", type=Path, help="prepared folder (default: data/prepared/NAME)")
    add("--out", metavar="DIR", type=Path, help="folder of the run (default: runs/NAME)")
    add("--resume", action="store_true", help="go on where the run in this folder stopped")

    add = command("evaluate", evaluate, "Measure a trained model on a split").add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="best.pt or last.pt of a run")
    add("--data", metavar="DIR", type=Path, required=True, help="prepared folder (or that of pets)")
    add("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    add("--json", action="store_true", help="print one JSON object and nothing else")

    add = command("predict", predict, "Cut the car out of photos", many="photos").add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="best.pt or last.pt of a run")
    add("photos", metavar="PHOTO", nargs="+", help="photos of any size, or folders of photos")
    add("--to", metavar="DIR", type=Path, required=True, help="where the pictures go: for each "
        "photo NAME_mask.png (one channel, 255 is car, 0 is not) and NAME_cutout.png (RGB and "
        "alpha), with --background NAME_on_background.png, and with many classes NAME_labels.png "
        "(class indices with a palette) and NAME_overlay.png")  # fmt: skip
    add("--background", metavar="IMAGE", type=Path, help="a picture to put the car on")
    add("--largest-component", action="store_true", help="keep only the largest connected piece")

    add_submit_options(command("submit", submit, "Write a submission for Kaggle, and send it"))
    return parser


def check(options: argparse.Namespace) -> int:
    from .health import print_checks, run_checks

    return 0 if print_checks(run_checks(options.source)) else 1


def prepare(options: argparse.Namespace) -> int:
    from . import sources, split

    pair = sources.open_source(options.source, labels=options.labels)
    print(f"{pair.name}: {sources.verify_pair(pair)}")
    prepared = split.prepare(
        pair,
        options.to,
        val_cars=options.val_cars,
        test_cars=options.test_cars,
        seed=options.seed,
    )
    print(prepared.summary())
    return 0


def train(options: argparse.Namespace) -> int:
    from . import distributed
    from .config import load_config

    with distributed.once():
        config = load_config(options.config, options.settings)
        # The data belongs to the file: another name=… on the command line names another run only.
        prepared = _open_data(config, options.data, load_config(options.config).name)
        distributed.per_process(config.batch_size, distributed.started_processes())
    device = distributed.own_device(config.device)
    precision = pick_precision(device, config.precision)
    out = options.out or runs_dir() / config.name
    with distributed.joined(device) as world:
        if world.first:
            size, kind = f"{config.height}×{config.width}", f"{world}{device.type}"
            print(prepared.summary())
            print(f"{config.name}: {size}, {kind}, {precision.name}, {out}")
        _train(config, prepared, device, out, options.resume)
    return 0


def _train(
    config: TrainConfig, prepared: Prepared, device: torch.device, out: Path, resume: bool
) -> None:
    """Train, alone or as one of several processes; the first one reports."""
    from .checkpoint import load_model, model_from_config
    from .distributed import current_world
    from .environment import seed_everything
    from .inference import save_predictions_as_imgs
    from .shares import in_parts, photos_at_a_time
    from .training import fit, loaders_from_config

    seed_everything(config.seed)
    train_loader, val_loader = loaders_from_config(config, prepared, device=device)
    model = model_from_config(config)
    rows = fit(model, train_loader, val_loader, config, out, resume=resume, device=device)
    if not current_world().first:
        return
    best = max(rows, key=lambda row: row["dice_mean"])
    model, _ = load_model(out / "best.pt", device)
    batch = in_parts(itertools.islice(val_loader, 1), photos_at_a_time(config, current_world()))
    save_predictions_as_imgs(batch, model, out / "saved_images", device)
    print(
        f"best validation Dice {best['dice_mean']:.4f} ({config.height}×{config.width}, "
        f"{prepared.count('val')} images) in epoch {best['epoch']}: {out / 'best.pt'}"
    )


def evaluate(options: argparse.Namespace) -> int:
    from . import training
    from .checkpoint import load_model
    from .class_report import class_facts, class_table

    model, config = load_model(options.checkpoint)
    prepared = _open_data(config, options.data)
    scores = training.evaluate(model, prepared, options.split, config, pick_device())
    facts = {
        "dice_mean": scores.dice_mean,
        "dice_p10": scores.dice_p10,
        "iou_mean": scores.iou_mean,
        "accuracy": scores.accuracy,
        "images": scores.images,
        "height": config.height,
        "width": config.width,
        "split": options.split,
        "checkpoint": str(options.checkpoint),
    }
    many = config.class_count > 2
    if many:
        facts |= class_facts(scores, config.class_names)
    if options.json:
        print(json.dumps(facts))
    else:
        print(
            f"{options.split} Dice {scores.dice_mean:.4f} ({config.height}×{config.width}, "
            f"{scores.images} images), tenth percentile {scores.dice_p10:.4f}, "
            f"IoU {scores.iou_mean:.4f}, accuracy {scores.accuracy:.4f}"
        )
        print(class_table(scores, config.class_names) if many else "", end="")
    return 0


def predict(options: argparse.Namespace) -> int:
    photos = find_photos(options.photos)

    from .checkpoint import load_model
    from .dataset import read_photo
    from .heap import return_large_blocks
    from .predictions import write_pictures

    return_large_blocks()
    model, config = load_model(options.checkpoint, pick_device())
    background = read_photo(options.background) if options.background else None
    wishes = {"background": background, "largest_component": options.largest_component}
    for path in photos:
        print(write_pictures(path, model, config, options.to, **wishes))
    print(f"{len(photos)} photos done, see {options.to}")
    return 0


def _open_data(config: TrainConfig, folder: Path | None, name: str = "") -> Prepared | Pets:
    """The data of a config; the error for a missing folder gives the command that makes it."""
    place = data_dir() / ("pets" if config.dataset == "pets" else f"prepared/{name}")
    folder = folder or place
    if config.dataset != "pets" and not (folder / "split.csv").is_file():
        known = {"studio": "studio", "carvana": "kaggle", "parts": "studio --labels parts"}
        raise CourseError(
            folder,
            expected="a prepared folder with a split.csv",
            found="no split.csv" if folder.is_dir() else "no such folder",
            mend=f"{PROGRAM} prepare {known.get(name, 'SOURCE')} --to {shlex.quote(str(folder))}"
            "   (a source is studio, kaggle, or a folder with train.zip and train_masks.zip)",
        )
    from .loaders import open_data

    return open_data(config, folder)
