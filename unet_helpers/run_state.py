"""The moving parts of a training run, and how they are saved, loaded and made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from .checkpoint import (
    FORMAT,
    apply_checkpoint,
    bare_model,
    capture_rng,
    load_checkpoint,
    restore_rng,
    save_checkpoint,
    unet_options,
)
from .config import TrainConfig
from .distributed import ALONE, World
from .environment import CourseError, Precision
from .run_folder import check_resumable
from .shares import photos
from .speed import wrapped


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: a linear rise, then half a cosine down to 0.

    step: from 0. steps: of the whole run. warmup: share of them that rises. The cosine is that of
    Loshchilov and Hutter, "SGDR" (2017), section 3, without restarts.
    """
    rising = min(round(warmup * steps), steps - 1)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def ema_update(decay: float) -> Callable:
    """Make the rule of an exponential moving average, for AveragedModel's multi_avg_fn.

    After n steps a step keeps min(decay, (1 + n) / (10 + n)) of the average. A run's first weights
    are random, and with the full decay they would still be a good part of it an epoch later. The
    ramp is that of TensorFlow's ExponentialMovingAverage with num_updates. Counters (BatchNorm's
    num_batches_tracked) are copied.
    """

    @torch.no_grad()
    def update(averaged: list, current: list, steps: torch.Tensor) -> None:
        # A tensor to the end: reading a number back from a GPU would make the CPU wait for it.
        moved = 1 - ((1 + steps) / (10 + steps)).clamp(max=decay)
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, moved.to(old.dtype))
            else:
                old.copy_(new)

    return update


@dataclass
class RunState:
    """What changes while a run goes on, and so what last.pt holds.

    trained: what the steps of training call: the model itself, or a wrapper that computes the same
    faster or together with other processes (see speed.py).
    """

    model: nn.Module
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None
    config: TrainConfig
    steps_per_epoch: int
    history: list[dict]
    world: World = ALONE

    @property
    def evaluated(self) -> nn.Module:
        """The model that is measured and kept as best: the averaged one where there is one."""
        return self.model if self.ema is None else self.ema.module

    def last_rate(self) -> float:
        """The learning rate of the step just made."""
        step = max(0, self.scheduler.last_epoch - 1)
        return self.scheduler.base_lrs[0] * self.scheduler.lr_lambdas[0](step)

    def save_best(self, path: Path) -> None:
        state = {"model": bare_model(self.evaluated).state_dict(), **self._facts()}
        save_checkpoint(state, path)

    def save_last(self, path: Path) -> None:
        state = {
            "model": bare_model(self.model).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "ema_updates": 0 if self.ema is None else int(self.ema.n_averaged),
            "steps_per_epoch": self.steps_per_epoch,
            "processes": self.world.size,
            "rng": capture_rng(),
            **self._facts(),
        }
        save_checkpoint(state, path)

    def _facts(self) -> dict:
        epoch = self.history[-1]["epoch"] if self.history else 0
        config = self.config.model_dump(mode="json")
        history = list(self.history)
        return {"epoch": epoch, "history": history, "config": config, "format": FORMAT}

    def load(self, path: Path) -> str | None:
        """Go back to the state that last.pt holds. CourseError when it does not fit this run.

        Only the first process reads the file. Returns what is different from the earlier part of
        the run, if it had another number of processes.
        """
        state = self.world.from_first(lambda: load_checkpoint(path))
        check_resumable(state, self.config, self.steps_per_epoch, path)
        apply_checkpoint(state, path, self.model, self.optimizer, self.scheduler, self.scaler)
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
            self.ema.n_averaged.fill_(state["ema_updates"])
        # With another number of epochs the schedule is another one from this step on.
        step = self.scheduler.last_epoch
        for group, rate, factor in zip(
            self.optimizer.param_groups,
            self.scheduler.base_lrs,
            self.scheduler.lr_lambdas,
            strict=True,
        ):
            group["lr"] = rate * factor(step)
        self.history = state["history"]
        restore_rng(state["rng"])
        return self._changed(state.get("processes", 1))

    def _changed(self, before: int) -> str | None:
        batch, now = self.config.batch_size, self.world.size
        if before == now:
            return None
        different = (
            f"BatchNorm takes mean and spread over {photos(batch // now)} in place of "
            f"{batch // before} (between GPUs over all {batch}, as one process does)"
        )
        were = f"{'was' if before == 1 else 'were'} {before}"
        return (
            f"Resumed after epoch {len(self.history)}, with {now} process{'es' * (now > 1)} where "
            f"there {were}. The same: batches of {photos(batch)} ({batch // now} for each process "
            f"in place of {batch // before}), their order, augmentation and schedule. "
            f"Different: {'nothing' if self.config.norm == 'none' else different}."
        )


def prepare_run(
    model: nn.Module,
    config: TrainConfig,
    device: torch.device,
    precision: Precision,
    steps: int,
    world: World = ALONE,
) -> RunState:
    """Model on its device, and the optimizer, schedule, scaler and average that go with it."""
    found = unet_options(bare_model(model).state_dict())
    for option, value in found.items():
        wanted = config.model_dump(mode="json")[option]
        if value != wanted:
            raise CourseError(
                "the model given to fit",
                expected=f"{option}={wanted}, as the config says",
                found=f"{option}={value}",
                mend="build it with model_from_config(config), or change the config: the "
                "checkpoints keep the config to rebuild the model from",
            )
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model.to(device=device, memory_format=layout)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(step, steps * config.epochs, config.warmup),
    )
    ema = None
    if config.ema_decay is not None:
        average = ema_update(config.ema_decay)
        # Buffers too: BatchNorm's averages must belong to the averaged weights.
        ema = AveragedModel(bare_model(model), multi_avg_fn=average, use_buffers=True)
    scaler = torch.amp.GradScaler(device.type, enabled=precision.use_scaler)
    trained = wrapped(model, config, device, world)
    return RunState(model, trained, optimizer, scheduler, scaler, ema, config, steps, [], world)
