"""Checks of what a program does around the network: predict, step, optimizer, checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from unet_helpers.checkpoint import load_checkpoint
from unet_helpers.diagnose.findings import Finding, Patient, first_line
from unet_helpers.environment import CourseError

SCALE = 2.0**12  # a factor that any fp32 gradient bears
SURE = 8.0  # a logit that leaves no doubt


class Oracle(nn.Module):
    """A network whose answer is known: car where the photo's first channel is above 0.

    Logits (B, C, H, W); of several channels the last one is the car's.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.here = nn.Parameter(torch.zeros(1))  # programs ask a model where its parameters are

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        car = torch.where(images[:, :1] > 0, SURE, -SURE) + self.here  # (B, 1, H, W)
        if self.channels == 1:
            return car
        rest = torch.full_like(car, -2 * SURE).expand(-1, self.channels - 2, -1, -1)
        return torch.cat([-car, rest, car], dim=1)  # (B, C, H, W)


def _disc(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Two made-up photos (2, 3, H, W): a disc of 1 on -1, off the middle, and a smaller one."""
    rows = torch.linspace(-1, 1, height, device=device)[:, None]
    columns = torch.linspace(-1, 1, width, device=device)[None]
    far = (rows - 0.2) ** 2 + (columns + 0.2) ** 2  # (H, W)
    discs = torch.stack([far < 0.36, far < 0.16])  # (2, H, W)
    return torch.where(discs, 1.0, -1.0)[:, None].repeat(1, 3, 1, 1)


def check_prediction(patient: Patient, predict: Callable) -> Finding | None:
    """Where a network says car, the program's mask says car, and its picture shows it."""
    height, width = patient.batches[0][0].shape[-2:]
    images = _disc(height, width, patient.device)
    known = (images[:, 0] > 0).cpu()  # (2, H, W)
    given = predict(Oracle(patient.channels).to(patient.device).eval(), images)
    pictures = _is_picture(given)
    found = _as_masks(given)  # (2, H, W), raw values
    if tuple(found.shape) != tuple(known.shape):
        said = f"masks of shape {tuple(found.shape)} for {tuple(known.shape)}"
        return Finding("prediction", said, "take away the channel axis: logits[:, 0]")
    right = _agreement(found > (0.5 if found.max() <= 1 else 0), known)
    if right < 0.9:
        share = f"{(found > 0).float().mean():.0%} of the mask, where {known.float().mean():.0%}"
        return Finding(
            "prediction",
            f"a network that is sure of its car comes out with car in {share} are right",
            "with one channel use sigmoid(logits) > 0.5, with several argmax(dim=1); "
            "predict_classes knows both",
        )
    if pictures and found.max() <= max(1, patient.classes - 1):
        return Finding(
            "picture",
            f"the brightest pixel of the saved mask is {int(found.max())} of 255, black to the eye",
            "multiply by 255 for a picture (save_predictions_as_imgs does), and only for a picture",
        )
    return None


def _is_picture(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(isinstance(one, Image.Image) for one in given)


def _as_masks(given: Any) -> torch.Tensor:
    """Whatever a program calls masks, as float (B, H, W) on the CPU."""
    if _is_picture(given):  # as the eye sees it: a palette may show class 1 bright
        given = [one.convert("L") for one in given]
    if isinstance(given, list | tuple):
        given = np.stack([np.asarray(one.cpu() if torch.is_tensor(one) else one) for one in given])
    masks = torch.as_tensor(given).detach().float().cpu()
    return masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks


def _agreement(found: torch.Tensor, known: torch.Tensor) -> float:
    both = (found & known).sum().item()
    return 2 * both / max(1, (found.sum() + known.sum()).item())


def check_mode(patient: Patient, predict: Callable) -> Finding | None:
    """A photo's mask depends on this photo alone, and predicting leaves the network as it was."""
    images = patient.batches[0][0].to(patient.device)
    model = copy.deepcopy(patient.model).train()  # as training has left it
    before = {name: value.clone() for name, value in model.named_buffers()}
    together = _as_masks(predict(model, images))
    changed = [n for n, b in model.named_buffers() if not torch.equal(b, before[n])]
    cure = "model.eval() before predicting, model.train() before training again"
    if changed:
        averages = [name for name in changed if not name.endswith("num_batches_tracked")]
        found = f"predicting has changed {len(averages)} of BatchNorm's averages"
        if not averages:  # a momentum of 0 keeps them, and only the counters tell
            found = f"predicting has moved on {len(changed)} of BatchNorm's counters"
        return Finding("mode", found, cure)
    alone = _as_masks(predict(model.train(), images[:1]))
    # Batches of another size are added up in another order: a pixel on the edge may tip over.
    differing = ((alone[0] - together[0]).abs() > 1e-3).float().mean()
    if differing > 1e-3:
        return Finding("mode", "a photo alone gets another mask than in company", cure)
    return None


def check_step(patient: Patient, step: Callable) -> Finding | None:
    """A training step moves the weights, and a GradScaler's factor does not change how far."""
    if patient.device.type not in ("cpu", "cuda"):
        return None  # no GradScaler there in the oldest torch that the course runs on
    moved = [_moved_by(patient, step, scale) for scale in (1.0, SCALE)]
    length, scaled = (vector.norm().item() for vector in moved)
    if length == 0 or scaled == 0:
        cure = "is there a backward() and a step(), and are the gradients kept in between?"
        return Finding("step", "no weight changes in a training step", cure.rstrip("?"))
    if torch.allclose(*moved, rtol=1e-2, atol=1e-3 * length):
        return None
    return Finding(
        "clipping",
        f"with a scale of {SCALE:,.0f} a step is {scaled / length:.2g} times as long as without",
        "call scaler.unscale_(optimizer) before clip_grad_norm_, as train_fn does: scale, "
        "backward, unscale, clip, step, update",
    )


def _moved_by(patient: Patient, step: Callable, scale: float) -> torch.Tensor:
    """How one step with SGD changes all weights together; scale: the GradScaler's factor."""
    images, masks, _ = patient.batches[0]
    model = copy.deepcopy(patient.model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(patient.device.type, init_scale=scale)
    before = torch.cat([p.detach().clone().flatten() for p in model.parameters()])
    torch.manual_seed(0)  # dropout must drop the same in both
    step(
        model, optimizer, patient.loss, scaler, images.to(patient.device), masks.to(patient.device)
    )
    return torch.cat([p.detach().flatten() for p in model.parameters()]) - before


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> Finding | None:
    """The optimizer holds the weights of this model: every one that is to learn."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trainable = [p for p in model.parameters() if p.requires_grad]
    missing = sum(id(p) not in held for p in trainable)
    if not missing:
        return None
    return Finding(
        "optimizer",
        f"{missing} of the model's {len(trainable)} weight tensors are not in it",
        "make the optimizer after the model has its last form, from model.parameters()",
    )


def check_checkpoint(model: nn.Module, path: str | Path) -> Finding | None:
    """A checkpoint fits the model; the model given stays as it is."""
    try:
        load_checkpoint(path, copy.deepcopy(model))
    except CourseError as error:
        subject = str(error.subject).replace(str(path), Path(path).name)
        found = f"{subject}: expected {error.expected}, found {error.found}"
        return Finding("checkpoint", found, str(error.mend))
    return None


def guarded(name: str, check: Callable, *arguments: Any) -> Finding | None:
    """The check's finding; a part of the program that raises is one, too."""
    try:
        return check(*arguments)
    except Exception as error:  # predict and step are the learner's own
        return Finding(name, f"it raised {first_line(error)}", "call it by itself, on one batch")
