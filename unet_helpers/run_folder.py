"""The folder of one training run: what lies in it, and what keeps an earlier run safe.

best.pt, last.pt, history.csv, config.yaml, saved_images/ and tensorboard/.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoint import load_checkpoint
from .config import TrainConfig
from .environment import CourseError
from .files import write_atomically
from .metrics import Scores

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RUN_FILES = ("best.pt", "history.csv", "last.pt")
# What may change when a run is resumed: where and how long it computes, not what it learns from.
MAY_CHANGE = {"name", "epochs", "patience", "device", "precision", "channels_last", "workers"}
MAY_CHANGE |= {"cache", "pin_memory", "compile", "accumulate", "activation_checkpointing"}
# The scores of a history row that TensorBoard shows, and the names it shows them under.
CURVES = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "dice_mean": "Dice/mean",
    "dice_p10": "Dice/tenth percentile",
    "iou_mean": "IoU/mean",
    "accuracy": "accuracy",
    "learning_rate": "learning rate",
}


def holds_run(folder: str | Path) -> bool:
    """Whether a folder holds a run of at least one finished epoch."""
    best, history, last = (Path(folder) / name for name in RUN_FILES)
    if best.exists() or history.exists():
        return True
    try:  # a run that was stopped in its first epoch has left nothing but its first weights
        return last.exists() and load_checkpoint(last).get("epoch") != 0
    except CourseError:
        return True


def fresh_run(folder: str | Path) -> Path:
    """The folder, free for a new run: an earlier run in it is moved aside, to <name>-1, <name>-2, …

    For notebooks, where a cell runs more than once. Nothing is deleted; a printed line says where
    the earlier run is now. Raises CourseError when it cannot be moved.
    """
    folder = Path(folder)
    if not holds_run(folder):
        return folder
    number = 1
    while (aside := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    try:
        folder.rename(aside)
    except OSError as problem:
        raise CourseError(
            folder,
            expected="a folder that can be moved aside",
            found=problem.strerror or str(problem),
            mend="close the programs that have its files open, or train into another folder",
        ) from problem
    print(f"The earlier run in {folder.name} is kept as {aside.name}.")
    return folder


def refuse_existing(folder: Path) -> None:
    """Raise CourseError when a new run would overwrite an earlier one."""
    if holds_run(folder):
        raise CourseError(
            folder,
            expected="a folder without a run, for a new one",
            found=", ".join(name for name in RUN_FILES if (folder / name).exists()),
            mend="resume it (resume=True, or --resume on the command line), train into another "
            "folder, or call fresh_run(folder), which moves the earlier run aside",
        )


def history_row(
    config: TrainConfig, scores: Scores, train_loss: float, val_loss: float, **facts: float
) -> dict:
    """One epoch's row of a run's history; facts: epoch, learning_rate, seconds.

    A run with more than two classes also keeps the Dice of each, as "dice_<name>".
    """
    each = {}
    if len(scores.per_class_dice) > 1:
        named = zip(config.class_names, scores.per_class_dice, strict=True)
        each = {f"dice_{name}": value for name, value in named}
    return {
        "epoch": facts["epoch"],
        "train_loss": train_loss,
        "val_loss": val_loss,
        "dice_mean": scores.dice_mean,
        "dice_p10": scores.dice_p10,
        "iou_mean": scores.iou_mean,
        "accuracy": scores.accuracy,
        **each,
        "learning_rate": facts["learning_rate"],
        "seconds": round(facts["seconds"], 3),
    }


def check_resumable(state: dict, config: TrainConfig, steps_per_epoch: int, path: Path) -> None:
    """Raise CourseError when a run cannot go on with this config or these data.

    epochs and patience may change, and so may what decides only where and how fast the run
    computes (device, precision, workers, …). Every other key would make it another experiment.
    """
    missing = {"config", "optimizer", "rng", "history", "steps_per_epoch"} - state.keys()
    if missing:
        raise CourseError(
            path,
            expected="the whole state of a run",
            found=f"a checkpoint without {', '.join(sorted(missing))}; best.pt holds a model only",
            mend="resume from the last.pt that training wrote",
        )
    # A run of an earlier version knows nothing of later keys: it ran with what are defaults now.
    saved = TrainConfig().model_dump(mode="json") | state["config"]
    now = config.model_dump(mode="json")
    differing = [
        f"{key}: {saved.get(key)} → {value}"
        for key, value in now.items()
        if key not in MAY_CHANGE and saved.get(key) != value
    ]
    unknown = [
        f"{key}: {saved[key]} → no setting of this version of the course"
        for key in sorted(saved.keys() - now.keys())
    ]
    if differing or unknown:
        mend = f"take them from {path.with_name('config.yaml').name} in the same folder"
        if unknown:
            mend = "resume it with the version of the course that started it"
        raise CourseError(
            path,
            expected="the settings the run was started with",
            found=f"changed settings ({'; '.join(differing + unknown)})",
            mend=f"{mend}, or start a new run in another folder",
        )
    if state["steps_per_epoch"] != steps_per_epoch:
        raise CourseError(
            path,
            expected=f"the data the run was started with, {state['steps_per_epoch']} batches "
            "an epoch",
            found=f"{steps_per_epoch} batches an epoch",
            mend="give it the same prepared folder, or start a new run in another folder",
        )


def write_history(history: Sequence[dict], path: Path) -> None:
    """Write the rows of a run, one an epoch, as CSV with a header (atomically)."""
    text = io.StringIO()
    # Rows of an earlier version may lack a column.
    names = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(text, fieldnames=names, restval="nan", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def read_history(folder: str | Path) -> list[dict]:
    """The rows of a run's history.csv: epoch as int, everything else as float.

    folder: of the run, or a .csv file of such rows. Raises CourseError when there is no history.
    """
    path = Path(folder)
    path = path if path.suffix == ".csv" else path / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [
            {key: int(value) if key == "epoch" else float(value) for key, value in row.items()}
            for row in rows
        ]
    except (OSError, ValueError, TypeError) as problem:
        raise CourseError(
            path,
            expected="the history of a run, one row an epoch",
            found=getattr(problem, "strerror", None) or str(problem),
            mend="train first, or name the folder of a run",
        ) from problem


def stopped_improving(history: Sequence[dict], patience: int | None) -> bool:
    """Whether the last `patience` epochs have all been no better than the best before them."""
    if patience is None or len(history) <= patience:
        return False
    dice = [row["dice_mean"] for row in history]
    return max(dice[-patience:]) <= max(dice[:-patience])


def open_tensorboard(folder: Path, first_epoch: int) -> SummaryWriter:
    """A TensorBoard writer for a run; rows from first_epoch on replace those of a broken epoch."""
    # Where TensorFlow is installed (Colab), importing TensorBoard starts it, and it is talkative.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_epoch)


def write_curves(board: SummaryWriter, row: dict) -> None:
    """Add one history row to TensorBoard."""
    classes = {key: f"Dice/{key[5:]}" for key in row if key.startswith("dice_")}
    for key, name in (classes | CURVES).items():
        board.add_scalar(name, row[key], row["epoch"])
    board.flush()
