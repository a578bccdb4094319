"""Training: one epoch, the measurement after it, and a run that can be stopped and resumed."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn

from .checkpoint import capture_rng, restore_rng
from .config import TrainConfig, save_config
from .dataset import set_epoch
from .environment import CourseError, Precision, pick_device, pick_precision, seed_everything
from .loaders import loaders_from_config, split_loader, until
from .losses import finite_number, make_loss
from .metrics import Scores, SegmentationMetrics, predict_classes
from .pets import Pets
from .progress import progress_bar
from .run_folder import (
    history_row,
    holds_run,
    open_tensorboard,
    refuse_existing,
    stopped_improving,
    write_curves,
    write_history,
)
from .run_state import RunState, prepare_run
from .split import Prepared

__all__ = [
    "check_accuracy",
    "evaluate",
    "fit",
    "loaders_from_config",
    "train_fn",
]


def train_fn(loader, model, optimizer, loss_fn, scaler, *, precision, scheduler=None,
             clip_norm=None, ema=None, progress=None):  # fmt: skip
    """Train for one epoch; returns the mean loss per image.

    loader: batches of images float32 (B, 3, H, W), masks uint8 (B, H, W) and their B stems.
    scaler: a GradScaler; a disabled one passes everything through. progress: called with the
    loss of each batch. Raises CourseError, before the weights are touched, for a loss that is no
    number. Loss scaling: Micikevicius et al., "Mixed Precision Training" (2018), section 3.2.
    """
    model.train()
    device, total, seen = next(model.parameters()).device, 0.0, 0
    for images, masks, stems in loader:
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast():
            logits = model(images.to(device, non_blocking=True))  # (B, 3, H, W) to (B, 1, H, W)
            loss = loss_fn(logits, masks.to(device, non_blocking=True))
        value = finite_number(loss, stems)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)  # clipping must see the gradients at their true size
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        scaler.step(optimizer)  # skipped where fp16 gradients overflowed; update() mends that
        scaler.update()
        if scheduler is not None:
            scheduler.step()
        if ema is not None:
            ema.update_parameters(model)
        total, seen = total + value * len(images), seen + len(images)
        if progress is not None:
            progress(value)
    return total / seen


@torch.inference_mode()
def _validate(
    loader: Iterable,
    model: nn.Module,
    precision: Precision,
    threshold: float = 0.5,
    loss_fn: Callable | None = None,
    ignore_index: int | None = None,
) -> tuple[Scores, float]:
    """Scores and mean loss per image of a whole loader; the model's mode is then as before."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    metrics, total, seen = None, 0.0, 0
    for images, masks, stems in loader:
        masks = masks.to(device, non_blocking=True)
        with precision.autocast():
            logits = model(images.to(device, non_blocking=True))  # (B, C, H, W)
            loss = loss_fn(logits, masks) if loss_fn is not None else torch.zeros(())
        metrics = metrics or SegmentationMetrics(max(2, logits.shape[1]), ignore_index)
        metrics.update(predict_classes(logits, threshold), masks, stems)
        total, seen = total + loss.item() * len(masks), seen + len(masks)
    model.train(was_training)
    if metrics is None:
        raise CourseError(
            "the images to measure",
            expected="at least one batch",
            found="none",
            mend="check that this split of the prepared folder holds images",
        )
    return metrics.compute(), total / seen


def check_accuracy(
    loader: Iterable,
    model: nn.Module,
    device: torch.device | str | None = None,
    precision: Precision | None = None,
    threshold: float = 0.5,
    ignore_index: int | None = None,
) -> Scores:
    """Measure a model on every image of a loader: Dice, IoU and accuracy, per image, then averaged.

    The resolution measured at is the loader's. device: where the model is moved to (None: where
    it is). precision: None computes in fp32. ignore_index: of pixels that do not count. Raises
    CourseError for a loader without images.
    """
    if device is not None:
        model.to(device)
    precision = precision or pick_precision(next(model.parameters()).device, "fp32")
    return _validate(loader, model, precision, threshold, ignore_index=ignore_index)[0]


def fit(
    model: nn.Module,
    train_loader: Iterable,
    val_loader: Iterable,
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    device: torch.device | str | None = None,
    on_epoch: Callable[[dict, nn.Module], object] | None = None,
    on_step: Callable[[float], object] | None = None,
    progress: bool = True,
    max_seconds: float | None = None,
) -> list[dict]:
    """Train a model for config.epochs epochs; returns the history, one row an epoch.

    AdamW, a learning rate that rises and then follows a cosine step by step, the best epoch by
    validation Dice kept in out/best.pt, the latest in out/last.pt. A row holds epoch, train_loss,
    val_loss, dice_mean, dice_p10, iou_mean, accuracy, with many classes the Dice of each,
    learning_rate (of its last step) and seconds (of training, without the measurement).

    resume: go on from out/last.pt, as if the run had never stopped: the epoch that was broken off
    starts again. epochs may have grown; the cosine is then that of the longer run.
    on_epoch(row, model): called after each epoch with the model that was measured; if it returns
    False the run ends there, with all files as after any epoch. on_step(loss): called after each
    training step.
    max_seconds: of training in this call; the epoch in which they end is cut short, measured and
    saved like any other. config.patience: stop after that many epochs without a better Dice.
    Ctrl-C or the stop button leaves last.pt as it was after the last finished epoch.
    Raises CourseError for a folder that holds another run, changed settings on resuming, a loss
    that is no number, a full disk. Nothing that existed before is lost.
    """
    out = Path(out)
    device = torch.device(device) if device is not None else pick_device(config.device)
    precision = pick_precision(device, config.precision)
    run = prepare_run(model, config, device, precision, len(train_loader))
    if resume and ((out / "last.pt").exists() or holds_run(out)):
        run.load(out / "last.pt")
    else:
        refuse_existing(out)
        seed_everything(config.seed)
        # Saved before the first step: a disk that cannot take it shows now, not after an epoch.
        run.save_last(out / "last.pt")
    save_config(config, out / "config.yaml")
    board = open_tensorboard(out / "tensorboard", len(run.history) + 1)
    spent = 0.0
    try:
        for epoch in range(len(run.history) + 1, config.epochs + 1):
            if stopped_improving(run.history, config.patience):
                print(f"No better Dice in the last {config.patience} epochs: stopped early.")
                break
            budget = None if max_seconds is None else max_seconds - spent
            row = _one_epoch(
                run, epoch, train_loader, val_loader, precision, budget, progress, on_step
            )
            spent += row["seconds"]
            _keep(run, row, out)
            write_curves(board, row)
            if on_epoch is not None and _call(on_epoch, row, run.evaluated) is False:
                print(
                    f"Stopped after epoch {epoch} of {config.epochs}, as asked; "
                    "fit(..., resume=True) goes on."
                )
                break
            if max_seconds is not None and spent >= max_seconds:
                break
    except KeyboardInterrupt:
        done = len(run.history)
        print(
            f"Stopped. {out.name}/last.pt holds the run after {done} finished "
            f"epoch{'' if done == 1 else 's'}; to go on, call fit(..., resume=True) or add "
            "--resume on the command line."
        )
        raise
    finally:
        board.close()
    return run.history


def _call(callback: Callable, *values: object) -> object:
    """Call it so that random numbers which it may draw change nothing for the run."""
    before = capture_rng()
    answer = callback(*values)
    restore_rng(before)
    return answer


def _one_epoch(
    run: RunState,
    epoch: int,
    train_loader: Iterable,
    val_loader: Iterable,
    precision: Precision,
    budget: float | None,
    progress: bool,
    on_step: Callable[[float], object] | None,
) -> dict:
    """Train for one epoch and measure; returns its history row."""
    ignored = run.config.ignore_index
    loss_fn = make_loss(run.config.loss, run.config.class_weights, ignored)
    title = f"epoch {epoch}/{run.config.epochs}"
    dice = f"{run.history[-1]['dice_mean']:.4f}" if run.history else "…"
    quiet = not progress or bool(os.environ.get("TQDM_DISABLE"))
    with progress_bar(title=title, total=run.steps_per_epoch, leave=False, disable=quiet) as bar:

        def advance(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", Dice=dice, refresh=False)
            bar.update()
            if on_step is not None:
                _call(on_step, loss)

        set_epoch(train_loader, epoch)
        start = time.perf_counter()
        with warnings.catch_warnings():
            # When fp16 overflows in the very first step, that step is skipped, and torch takes
            # the schedule to be ahead of the optimizer.
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
            train_loss = train_fn(
                train_loader if budget is None else until(train_loader, start + budget),
                run.model,
                run.optimizer,
                loss_fn,
                run.scaler,
                precision=precision,
                scheduler=run.scheduler,
                clip_norm=run.config.clip_norm,
                ema=run.ema,
                progress=advance,
            )
        seconds = time.perf_counter() - start
        bar.set_description(f"{title}, measuring")
        scores, val_loss = _validate(
            val_loader, run.evaluated, precision, loss_fn=loss_fn, ignore_index=ignored
        )
    facts = {"epoch": epoch, "learning_rate": run.last_rate(), "seconds": seconds}
    row = history_row(run.config, scores, train_loss, val_loss, **facts)
    if progress:
        print(
            f"{title}: loss {train_loss:.4f}, validation loss {val_loss:.4f}, "
            f"Dice {scores.dice_mean:.4f}, {seconds:.0f} s"
        )
    return row


def _keep(run: RunState, row: dict, out: Path) -> None:
    """Add a row to the history and write the files; best.pt first, since last.pt speaks of it."""
    best = max((old["dice_mean"] for old in run.history), default=-1.0)
    run.history.append(row)
    if row["dice_mean"] > best:
        run.save_best(out / "best.pt")
    run.save_last(out / "last.pt")
    write_history(run.history, out / "history.csv")


def evaluate(
    model: nn.Module,
    prepared: Prepared | Pets,
    split: str,
    config: TrainConfig,
    device: torch.device | str | None = None,
    threshold: float = 0.5,
) -> Scores:
    """Measure a model on a split ("train", "val" or "test") at the config's height and width.

    Every image counts once, without augmentation, in fp32. device: where to compute (None: where
    the model is).
    """
    loader, ignored = split_loader(config, prepared, split), config.ignore_index
    return check_accuracy(loader, model, device, threshold=threshold, ignore_index=ignored)
