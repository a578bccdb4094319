"""Training speed on a GPU: bf16, channels_last and compile against plain fp32.

U-Net with features 64 to 512 at 512×512, on made-up photos that lie on the GPU already, so that
nothing but the network is measured. Both ways run in turn for several rounds; figures are medians.
Operations are counted by torch's FlopCounterMode, and compared with what a large bf16 matrix
product reaches on the same GPU in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from unet_helpers.environment import pick_device, pick_precision
from unet_helpers.losses import bce_dice_loss
from unet_helpers.model import UNET

SIZE, BATCH = 512, 16
WARMUP, STEPS, ROUNDS = 5, 20, 3
MATRIX = 8192


def training_step(fast: bool, batch: int = BATCH) -> Callable[[], None]:
    """One optimisation step on a fixed batch: plain fp32, or everything that makes it fast."""
    device = pick_device("cuda")
    model = UNET().to(device)
    images = torch.rand(batch, 3, SIZE, SIZE, device=device)  # (B, 3, H, W)
    masks = (torch.rand(batch, SIZE, SIZE, device=device) < 0.2).to(torch.uint8)  # (B, H, W)
    if fast:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fast)
    forward = torch.compile(model) if fast else model
    precision = pick_precision(device, "bf16" if fast else "fp32")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast():
            loss = bce_dice_loss(forward(images), masks)
        loss.backward()
        optimizer.step()

    return step


def seconds_each(work: Callable[[], object], times: int) -> float:
    """Seconds of one call, the GPU's queue emptied before and after."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def matrix_rate() -> float:
    """Operations a second of a large bf16 matrix product."""
    left, right = (
        torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2)
    )
    product = lambda: left @ right  # noqa: E731
    seconds_each(product, WARMUP)
    return 2 * MATRIX**3 / seconds_each(product, STEPS)


def operations_per_image() -> int:
    """Multiplications and additions of one training step on one image."""
    step = training_step(fast=False, batch=1)
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def measure(real: Path) -> dict[str, object]:
    """Images a second in training, plain and fast, and the share of the matrix product's rate.

    `real` is not read. Raises CourseError on a machine without an NVIDIA GPU.
    """
    device = pick_device("cuda")
    ways = {"plain_fp32": training_step(False), "fast_bf16": training_step(True)}
    for step in ways.values():
        seconds_each(step, WARMUP)  # compiling happens here
    speeds = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, step in ways.items():
            speeds[name].append(BATCH / seconds_each(step, STEPS))
    plain, fast = (statistics.median(speeds[name]) for name in ways)
    rate, needed = matrix_rate(), operations_per_image()
    return {
        "device": torch.cuda.get_device_name(device),
        "size": SIZE,
        "batch_size": BATCH,
        "plain_images_per_s": round(plain, 1),
        "fast_images_per_s": round(fast, 1),
        "ratio": round(fast / plain, 2),
        "matrix_tflops": round(rate / 1e12, 1),
        "share_of_matrix_rate": round(fast * needed / rate, 3),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
    }
