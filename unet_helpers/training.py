"""Training: one epoch, the measurement after it, and a run that can be stopped and resumed."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch import nn

from .checkpoint import capture_rng, restore_rng
from .config import TrainConfig, save_config
from .dataset import set_epoch
from .distributed import current_world
from .environment import Precision, pick_device, pick_precision, seed_everything
from .evaluation import check_accuracy, checked, evaluate, measure
from .loaders import loaders_from_config, until
from .losses import finite_number, make_loss
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
from .shares import photos_at_a_time, require_shared, shares
from .speed import divisor_of, explained, recomputing, slower_averages, train_in_parts

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
    Several processes (distributed.joined) train together when each calls fit with its share of the
    loaders; the first one writes the files and calls on_epoch, the history is the same in all.
    Raises CourseError for a folder that holds another run, changed settings on resuming, a loss
    that is no number, a full disk, too little memory, a process that has ended. Nothing that
    existed before is lost.
    """
    out, world = Path(out), current_world()
    require_shared(world, train_loader=train_loader, val_loader=val_loader)
    device = torch.device(device) if device is not None else pick_device(config.device)
    precision = pick_precision(device, config.precision)
    run = prepare_run(model, config, device, precision, len(train_loader), world)
    progress = progress and world.first
    _start(run, out, resume)
    board = open_tensorboard(out / "tensorboard", len(run.history) + 1) if world.first else None
    spent = 0.0
    try:
        with explained(config, world, out):
            for epoch in range(len(run.history) + 1, config.epochs + 1):
                if stopped_improving(run.history, config.patience):
                    said = f"No better Dice in the last {config.patience} epochs: stopped early."
                    _say(run, said)
                    break
                budget = None if max_seconds is None else max_seconds - spent
                row = _one_epoch(
                    run, epoch, train_loader, val_loader, precision, budget, progress, on_step
                )
                spent += row["seconds"]
                _keep(run, row, out, board)
                if on_epoch is not None and _told_to_stop(run, on_epoch, row):
                    break
                if max_seconds is not None and world.any(spent >= max_seconds):
                    break
    except KeyboardInterrupt:
        done = len(run.history)
        _say(
            run,
            f"Stopped. {out.name}/last.pt holds the run after {done} finished "
            f"epoch{'' if done == 1 else 's'}; to go on, call fit(..., resume=True) or add "
            "--resume on the command line.",
        )
        raise
    finally:
        if board is not None:
            board.close()
    return run.history


def _start(run: RunState, out: Path, resume: bool) -> None:
    """Go on from last.pt, or begin: the first process looks, and all do the same."""
    last, world = out / "last.pt", run.world
    if world.from_first(lambda: resume and (last.exists() or holds_run(out))):
        changed = run.load(last)
        if changed:
            _say(run, changed)
    else:
        if resume:
            _say(run, f"Nothing to resume in {out}: starting at epoch 1.")
        world.from_first(lambda: refuse_existing(out))
        seed_everything(run.config.seed)
        # Saved before the first step: a disk that cannot take it shows now, not after an epoch.
        world.from_first(lambda: run.save_last(last))
    world.from_first(lambda: save_config(run.config, out / "config.yaml"))


def _say(run: RunState, text: str) -> None:
    if run.world.first:
        print(text)


def _told_to_stop(run: RunState, on_epoch: Callable, row: dict) -> bool:
    stop = run.world.from_first(lambda: _call(on_epoch, row, run.evaluated) is False)
    if stop:
        _say(
            run,
            f"Stopped after epoch {row['epoch']} of {run.config.epochs}, as asked; "
            "fit(..., resume=True) goes on.",
        )
    return stop


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
        deadline = None if budget is None else start + budget
        train_loss = _train(run, train_loader, loss_fn, precision, deadline, advance)
        seconds = max(run.world.gather(time.perf_counter() - start))
        bar.set_description(f"{title}, measuring")
        # What does not fit into training does not fit into measuring either.
        most = photos_at_a_time(run.config, run.world) if _cuts(run) else None
        how = {"loss_fn": loss_fn, "ignore_index": ignored, "at_a_time": most}
        scores, val_loss = measure(val_loader, run.evaluated, precision, **how)
    facts = {"epoch": epoch, "learning_rate": run.last_rate(), "seconds": seconds}
    row = history_row(run.config, scores, train_loss, val_loss, **facts)
    if progress:
        print(
            f"{title}: loss {train_loss:.4f}, validation loss {val_loss:.4f}, "
            f"Dice {scores.dice_mean:.4f}, {seconds:.0f} s"
        )
    return row


def _cuts(run: RunState) -> bool:
    """Whether batches go through the network in parts, or in several processes."""
    return run.config.accumulate > 1 or run.world.size > 1


def _train(
    run: RunState,
    loader: Iterable,
    loss_fn: Callable,
    precision: Precision,
    deadline: float | None,
    progress: Callable[[float], object],
) -> float:
    """The training part of an epoch, as the config's switches want it; returns its mean loss."""
    config, world = run.config, run.world
    with ExitStack() as ways, warnings.catch_warnings():
        # When fp16 overflows in the very first step, that step is skipped, and torch takes the
        # schedule to be ahead of the optimizer.
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        batches, train = loader, train_fn
        if _cuts(run):
            batches = shares(loader, world)
            weigh = divisor_of(config)
            train = partial(train_in_parts, parts=config.accumulate, world=world, weigh=weigh)
            ways.enter_context(slower_averages(run.model, config.accumulate))
        if config.activation_checkpointing:
            ways.enter_context(recomputing(run.model))
        batches = checked(batches, config)
        loss = train(
            batches if deadline is None else until(batches, deadline, world),
            run.trained,
            run.optimizer,
            loss_fn,
            run.scaler,
            precision=precision,
            scheduler=run.scheduler,
            clip_norm=config.clip_norm,
            ema=run.ema,
            progress=progress,
        )
    # Each process has kept BatchNorm's running averages of its own photos.
    averaged = [] if run.ema is None else list(run.ema.module.buffers())
    world.average([*run.model.buffers(), *averaged])
    return loss


def _keep(run: RunState, row: dict, out: Path, board: object) -> None:
    """Add a row to the history; the first process writes the files."""
    best = max((old["dice_mean"] for old in run.history), default=-1.0)
    run.history.append(row)

    def write() -> None:
        if row["dice_mean"] > best:  # best.pt first, since last.pt speaks of it
            run.save_best(out / "best.pt")
        run.save_last(out / "last.pt")
        write_history(run.history, out / "history.csv")
        write_curves(board, row)

    run.world.from_first(write)
