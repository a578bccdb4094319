"""What makes a step of training faster, or smaller, without changing what it computes.

`wrapped` compiles the network and shares it between processes, `train_in_parts` is `train_fn` for
batches that are too large for one GPU or lie in several processes, `recomputing` trades time for
memory, and `explained` says what to do when the memory does not suffice.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from .config import TrainConfig
from .distributed import ALONE, World
from .environment import CourseError
from .losses import finite_number, pixel_weight
from .model import DoubleConv
from .shares import Share, photos, photos_at_a_time

__all__ = ["divisor_of", "explained", "recomputing", "slower_averages", "train_in_parts", "wrapped"]


def wrapped(
    model: nn.Module, config: TrainConfig, device: torch.device, world: World = ALONE
) -> nn.Module:
    """The model as the steps of training call it; weights and their names stay those of `model`.

    config.compile: through torch.compile. Several processes: through DistributedDataParallel, which
    starts them all from the first one's weights and averages their gradients. BatchNorm then takes
    its statistics over the photos of all processes on GPUs, over those of each process on CPUs, for
    which torch has no SyncBatchNorm; `fit` averages the running ones at the end of an epoch.
    """
    if world.size > 1 and device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if config.compile:
        # It warns that a machine without a GPU has none.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        model = torch.compile(model)
    if world.size > 1:
        ids = [device.index] if device.type == "cuda" else None
        with warnings.catch_warnings():
            # Newer versions of torch would like another name, which older ones do not know.
            warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            model = DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)
    return model


def train_in_parts(batches: Iterable[Share], model, optimizer, loss_fn, scaler, *, precision,
                   parts=1, world=ALONE, weigh=None, scheduler=None, clip_norm=None, ema=None,
                   progress=None):  # fmt: skip
    """Train for one epoch as `train_fn` does, on batches that come in pieces; returns the loss.

    batches: this process's shares (`shares.shares`). parts: each share goes through the network in
    so many parts, one after the other, and only one part's feature maps are kept at a time. weigh:
    `divisor_of` the config. The gradient of a step is that of the whole batch: parts and shares
    weigh as much as they have images, and cross-entropy that weighs pixels is divided by the weight
    of the whole batch. Only BatchNorm differs: it takes mean and spread over a part. Raises as
    train_fn does.
    """
    model.train()
    device, total, seen = next(model.parameters()).device, 0.0, 0
    for share in batches:
        optimizer.zero_grad(set_to_none=True)
        value, done = 0.0, 0
        heavy = None if weigh is None else _weight_of_an_image(share, world, weigh)
        for images, masks in zip(share.images.chunk(parts), share.masks.chunk(parts), strict=True):
            done += len(images)
            with exchange_gradients(model, done == len(share.images)):
                with precision.autocast():
                    logits = model(images.to(device, non_blocking=True))  # (b, C, H, W)
                    divided = {} if heavy is None else {"divisor": heavy * len(images)}
                    loss = loss_fn(logits, masks.to(device, non_blocking=True), **divided)
                loss = loss * (len(images) / len(share.images))
                value += finite_number(loss, share.stems)
                scaler.scale(loss * share.weight).backward()  # adds to the gradients of the others
        scaler.unscale_(optimizer)
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        scaler.step(optimizer)
        scaler.update()
        if scheduler is not None:
            scheduler.step()
        if ema is not None:
            ema.update_parameters(model)
        total, seen = total + value * share.count, seen + share.count
        if progress is not None:
            progress(value)
    totals, counts = zip(*world.gather((total, seen)), strict=True)
    return sum(totals) / sum(counts)


def divisor_of(config: TrainConfig) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What the config's loss divides by, from masks to a number; None for a mean over all pixels.

    With class weights or an ignored index, images differ in how much their pixels weigh.
    """
    if config.class_weights is None and config.ignore_index is None:
        return None
    return partial(
        pixel_weight, class_weights=config.class_weights, ignore_index=config.ignore_index
    )


def _weight_of_an_image(share: Share, world: World, weigh: Callable) -> float:
    """The mean over all images of a batch, those in other processes included."""
    own = weigh(share.masks[: share.count]).item()
    weights, counts = zip(*world.gather((own, share.count)), strict=True)
    return max(sum(weights) / sum(counts), 1e-9)  # where all pixels are ignored, the loss is 0


def exchange_gradients(model: nn.Module, now: bool) -> AbstractContextManager:
    """Context of a backward pass: processes exchange gradients in it, or wait for a later one."""
    waits = isinstance(model, DistributedDataParallel) and not now
    return model.no_sync() if waits else nullcontext()


@contextmanager
def slower_averages(model: nn.Module, parts: int) -> Iterator[None]:
    """BatchNorm's running averages move `parts` times in a step: each time by so much less.

    After a step the old average then counts as much as if the batch had come in one piece.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.momentum]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1 - (1 - norm.momentum) ** (1 / parts)
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


@contextmanager
def recomputing(model: nn.Module) -> Iterator[None]:
    """Activation checkpointing: each DoubleConv keeps its input only, and computes the rest again
    in the backward pass. The same numbers, less memory, about one more forward pass of time.

    After Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016). CourseError for a
    network without such blocks.
    """
    blocks = [module for module in model.modules() if isinstance(module, DoubleConv)]
    if not blocks:
        raise CourseError(
            "activation_checkpointing=true",
            expected="a network with DoubleConv blocks, such as UNET",
            found=type(model).__name__,
            mend="switch it off for this network",
        )
    for block in blocks:
        block.forward = partial(_kept_short, block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _kept_short(block: DoubleConv, x: torch.Tensor) -> torch.Tensor:
    forward = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return forward(x)
    if torch.compiler.is_compiling():  # there, what is computed again has no side effects
        return checkpoint(forward, x, use_reentrant=False)
    contexts = partial(_first_and_second_time, block)
    return checkpoint(forward, x, use_reentrant=False, context_fn=contexts)


def _first_and_second_time(block: nn.Module) -> tuple[AbstractContextManager, ...]:
    return nullcontext(), _statistics_left_alone(block)


@contextmanager
def _statistics_left_alone(block: nn.Module) -> Iterator[None]:
    """BatchNorm would count a batch twice that goes through it twice (pytorch issue 96136)."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


@contextmanager
def explained(config: TrainConfig, world: World = ALONE, out: Path | None = None) -> Iterator[None]:
    """Turn running out of memory, and a compiler that is missing, into an error with a way out."""
    try:
        yield
    except torch.OutOfMemoryError as problem:
        raise _out_of_memory(config, world, str(problem), out) from problem
    except RuntimeError as problem:
        if "DefaultCPUAllocator" in str(problem):
            raise _out_of_memory(config, world, str(problem), out) from problem
        if type(problem).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise CourseError(
                "compile=true",
                expected="a network and a machine for which torch.compile works",
                found=str(problem).strip().splitlines()[0],
                mend="install a C++ compiler (on Debian: apt-get install g++), or set "
                "compile=false: it changes the speed only",
            ) from problem
        raise


def _out_of_memory(config: TrainConfig, world: World, said: str, out: Path | None) -> CourseError:
    own, now = config.batch_size // world.size, photos_at_a_time(config, world)
    remedies = []
    if now > 1:
        parts = -(-own // (now // 2))
        remedies.append(
            f"accumulate={parts} ({photos(now // 2)} at a time and still {config.batch_size} in a "
            "step, so only BatchNorm sees fewer)"
        )
    if not config.activation_checkpointing:
        remedies.append(
            "activation_checkpointing=true (the same numbers, for one more forward pass a step)"
        )
    sides = [max(16, side // 2 // 16 * 16) for side in (config.height, config.width)]
    remedies.append(f"height={sides[0]} width={sides[1]} (fewer pixels, and coarser outlines)")
    order = "; ".join(f"{n}. {text}" for n, text in enumerate(remedies, start=1))
    kept = f"; the first {len(remedies) - 1} go with --resume" if out and len(remedies) > 1 else ""
    # How much was wanted; what follows on the same line is advice that competes with this one.
    found = ". ".join(said.strip().splitlines()[0].split(". ")[:2])
    return CourseError(
        "memory of the device",
        expected=f"room for {photos(now)} of {config.height}×{config.width} at a time, with "
        f"features {list(config.features)}",
        found=found,
        mend=f"try in this order: {order}{kept}. Other programs may also hold memory (nvidia-smi)",
    )
