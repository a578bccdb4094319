"""Checks of network and loss: non-finite numbers, gradients, memory, batches of one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.data import DataLoader

from unet_helpers.diagnose.batches import batch_size_of
from unet_helpers.diagnose.findings import Finding, Patient, first_line, mib
from unet_helpers.environment import CourseError, Precision
from unet_helpers.metrics import SegmentationMetrics, predict_classes

IN_FP32 = (
    "compute this in fp32: logits.float() at the start of a loss, as the course's losses do; "
    "where bf16 is at hand, it reaches as far as fp32"
)


class FirstNonFinite(TorchFunctionMode):
    """Within it, the first torch function whose result is not finite is kept in `found`.

    found: its name, and the result; None as long as every result is finite.
    """

    found: tuple[str, torch.Tensor] | None = None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if self.found is None and torch.is_tensor(result) and not result.isfinite().all():
            self.found = resolve_name(function), result.detach()
        return result


def first_nonfinite(model: nn.Module, images: torch.Tensor) -> str | None:
    """Name of the first layer whose output is not finite, for photos (B, 3, H, W); None if none."""
    names, hooks = [], []

    def watch(name: str) -> Callable:
        def look(layer: nn.Module, inputs: Any, output: Any) -> None:
            if torch.is_tensor(output) and not output.isfinite().all():
                names.append(name)

        return look

    for name, layer in model.named_modules():
        hooks.append(layer.register_forward_hook(watch(name or "the network itself")))
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return names[0] if names else None


def check_loss(patient: Patient, precision: Precision) -> Finding | None:
    """Forward, loss and backward of one batch: they run, stay finite, and leave a gradient."""
    images, masks, _ = patient.batches[0]
    images, masks = images.to(patient.device), masks.to(patient.device)
    model = copy.deepcopy(patient.model).train()  # a forward pass moves BatchNorm's averages
    model.zero_grad(set_to_none=True)
    if not images.isfinite().all():
        cure = "look at the photos of this batch, and at what normalises them"
        return Finding("non-finite", "the photos themselves hold inf or nan", cure)
    try:
        with precision.autocast():
            logits = model(images)  # (B, C, H, W)
            with FirstNonFinite() as watch:
                loss = patient.loss(logits, masks)
    except CourseError as error:
        return Finding("loss", f"{error.subject}: found {error.found}", str(error.mend))
    except Exception as error:  # a loss of one's own may raise anything
        cure = "run loss(model(images), masks) by itself, and compare the shapes and types of both"
        return Finding("loss", f"it raised {first_line(error)}", cure)
    if not logits.isfinite().all():
        with precision.autocast():
            layer = first_nonfinite(model, images)
        found = f"the first layer to give inf or nan is {layer}, in {logits.dtype}"
        return Finding("non-finite", found, "a lower learning rate, clipping, or fp32 there")
    fault = _check_gradient(model, loss)
    # An infinity that comes to nothing, such as a logit of minus infinity before softmax, may be.
    spoilt = fault is not None or not loss.isfinite().all()
    if watch.found is None or not spoilt:
        return fault
    name, result = watch.found
    bad = result[~result.isfinite()].flatten()[0].item()
    where = f"the network's output is finite; in the loss, {name.removeprefix('torch.')}"
    return Finding("non-finite", f"{where} gives {bad} in {_short(result.dtype)}", IN_FP32)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_gradient(model: nn.Module, loss: torch.Tensor) -> Finding | None:
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        cure = "set requires_grad=True for what is to learn"
        return Finding("gradient", "every weight is frozen", cure)
    if not torch.is_tensor(loss) or not loss.requires_grad:
        return Finding(
            "gradient",
            "none flows back from the loss",
            "in the loss work with tensors all the way: no .item(), .detach(), numpy, argmax or "
            "threshold",
        )
    loss.mean().backward()
    gradients = [p.grad for p in trainable if p.grad is not None]
    model.zero_grad(set_to_none=True)
    if not all(gradient.isfinite().all() for gradient in gradients):
        return Finding(
            "gradient",
            "it holds inf or nan",
            "look in the loss for a square root, a logarithm or a division that meets 0, and keep "
            "it away from there with clamp(min=…)",
        )
    if any(gradient.any() for gradient in gradients):
        return None
    return Finding(
        "gradient",
        "it is zero for every weight",
        "a threshold or argmax in the loss has no slope; use probabilities",
    )


# --- memory --------------------------------------------------------------------------------------


def saved_bytes(model: nn.Module, images: torch.Tensor, precision: Precision | None = None) -> int:
    """Bytes that a forward pass of these photos keeps for backward, weights not counted.

    Counted, not estimated: autograd is asked for every tensor that it saves, and those that share
    their memory count once. Works on any device.
    """
    images = images.clone()  # part of a larger batch would count as all of it
    known = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with saved_tensors_hooks(count, lambda tensor: tensor):
        if precision is None:
            model(images)
        else:
            with precision.autocast():
                model(images)
    return sum(storage.nbytes() for storage in kept.values())


def check_memory(patient: Patient, precision: Precision, memory: int | None) -> Finding | None:
    """A training step fits the memory: what backward needs, gradients, and AdamW's two averages."""
    if memory is None and patient.device.type != "cuda":
        return None
    if memory is None:
        free, _ = torch.cuda.mem_get_info(patient.device)
        kept = torch.cuda.memory_reserved(patient.device)
        memory = free + kept - torch.cuda.memory_allocated(patient.device)
    images, size = patient.batches[0][0], batch_size_of(patient.loader)
    size = size or len(images)
    try:
        one = saved_bytes(
            copy.deepcopy(patient.model).train(), images[:1].to(patient.device), precision
        )
    except torch.OutOfMemoryError:
        one = memory
    except ValueError:  # BatchNorm and a single photo: check_batch_of_one speaks of that
        return None
    weights = sum(p.nbytes for p in patient.model.parameters())
    needed = one * size + 3 * weights
    if needed <= memory:
        return None
    found = f"a step with {size} photos needs about {mib(needed)}; there are {mib(memory)}"
    fits = int((memory - 3 * weights) // max(one, 1))
    return Finding(
        "memory",
        found,
        f"in this order: a smaller batch (here up to {max(fits, 0)}) with gradients added up over "
        "several; activation checkpointing, which costs time; smaller photos. On a GPU half "
        "precision should be on before all of these (precision=auto)",
    )


# --- BatchNorm, and what has been learned --------------------------------------------------------


def has_batchnorm(model: nn.Module) -> bool:
    """Whether a network has a layer that looks at the whole batch."""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())


def _leaves_one(loader: Any) -> bool:
    if not isinstance(loader, DataLoader):
        return isinstance(loader, list) and any(len(batch[0]) == 1 for batch in loader)
    size = batch_size_of(loader)
    if size is None or loader.drop_last:
        return size == 1
    return size == 1 or len(loader.sampler) % size == 1


def check_batch_of_one(patient: Patient) -> Finding | None:
    """A batch of one photo, where there is one, has more than one value for BatchNorm."""
    if not has_batchnorm(patient.model) or not _leaves_one(patient.loader):
        return None
    every = batch_size_of(patient.loader) == 1
    which = "every batch" if every else "the last batch of an epoch"
    found = f"{which} holds a single photo, and BatchNorm averages over the batch"
    model = copy.deepcopy(patient.model).train()
    try:
        with torch.no_grad():
            model(patient.batches[0][0][:1].to(patient.device))
    except ValueError as error:
        found += f"; it raises {first_line(error)}"
    else:
        if not every:
            return None  # one odd batch of many pixels does no harm
    cure = "batches of several photos, drop_last=True for the rest, or norm='none' in the network"
    return Finding("batch of one", found, cure)


def check_trained(patient: Patient) -> Finding | None:
    """A trained network does better than calling every pixel the same, whatever that is."""
    model = patient.model.eval()
    trained, *lazy = (
        SegmentationMetrics(patient.classes, patient.ignore_index)
        for _ in range(1 + patient.classes)
    )
    with torch.inference_mode():
        for images, masks, _ in patient.batches:
            answer = predict_classes(model(images.to(patient.device))).cpu()  # (B, H, W)
            truth = masks.reshape(answer.shape).long()
            trained.update(answer, truth)
            for index, score in enumerate(lazy):
                score.update(torch.full_like(answer, index), truth)
    network, dices = trained.compute(), [score.compute().dice_mean for score in lazy]
    if network.dice_mean > max(dices):
        return None
    best = dices.index(max(dices))
    called = f"class {best}" if patient.classes > 2 else ("background", "car")[best]
    loss = "cross_entropy_dice_loss" if patient.channels > 1 else "bce_dice_loss"
    return Finding(
        "useless mask",
        f"accuracy {network.accuracy:.3f}, but Dice {network.dice_mean:.3f}; calling every pixel "
        f"{called} has Dice {max(dices):.3f}",
        f"watch Dice, not accuracy, and train with {loss}: without the Dice part what is small is "
        "outvoted by the background",
    )
