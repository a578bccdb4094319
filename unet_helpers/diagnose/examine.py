"""`diagnose`: all checks in the order in which faults hide each other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unet_helpers.diagnose import batches, network, program
from unet_helpers.diagnose.findings import Finding, Patient, first_line, report
from unet_helpers.environment import Precision, pick_precision

Check = tuple[str, Callable[[], Finding | None]]
# Wrong masks spoil all that follows, and a step that does not fit must not be tried.
ENDING = ("mask values", "pairs", "memory")


def diagnose(
    loader: Any,
    model: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    val_loader: Any = None,
    optimizer: torch.optim.Optimizer | None = None,
    predict: Callable | None = None,
    step: Callable | None = None,
    precision: Precision | None = None,
    checkpoint: str | Path | None = None,
    memory: int | None = None,
    trained: bool = False,
    ignore_index: int | None = None,
    seconds: float = 30.0,
    quiet: bool = False,
) -> list[Finding]:
    """Look for the common faults of a training program; prints findings with the cure.

    loader: a DataLoader, or a list of batches, of images float (B, 3, H, W), masks (B, H, W) or
    (B, 1, H, W) and, where there are any, stems. loss: called as loss(logits, masks). Always
    looked at: whether batches come within `seconds`, mask values, pairs, the loss and its
    gradient on one batch, batches of one photo.

    Looked at if given: val_loader (a leak, augmentation); optimizer (whose weights it holds);
    predict, called as predict(model, images), gives masks (B, H, W) or pictures of them (what it
    makes of known logits, and of a model in training mode); step, called as step(model, optimizer,
    loss, scaler, images, masks) (whether weights move, and clipping); precision (forward and loss
    under its autocast; None: fp32); checkpoint (whether it fits); memory, in bytes (None: that of
    the model's GPU); trained=True (whether the masks beat those of a network that never looks).
    ignore_index: a mask value that means no class (None: the one that the loss was made with).

    Costs about as much as a few training steps, on up to 24 photos. Everything is done on copies:
    model, optimizer, loaders and random numbers stay as they are. A fault of the loader or the
    masks, or a step too large for the memory, ends the examination: what follows would only echo
    it. Returns the findings, an empty list where nothing was found.
    """
    devices = [p.device for p in model.parameters() if p.device.type == "cuda"][:1]
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        patient, finding = _admit(loader, model, loss, ignore_index, seconds)
        if finding is not None:
            findings, looked, left = [finding], [finding.name], ["everything else"]
        else:
            precision = precision or pick_precision(patient.device, "fp32")
            checks = [
                *_checks_of_data(patient, val_loader),
                *_checks_of_network(patient, precision, memory, trained),
                *_checks_of_program(patient, model, optimizer, predict, step, checkpoint),
            ]
            findings, looked, left = _examine(checks)
    if not quiet:
        report(findings, looked, left)
    return findings


def _examine(checks: list[Check]) -> tuple[list[Finding], list[str], list[str]]:
    """Findings, and the names of the checks that were made and that were not."""
    findings, names = [], [name for name, _ in checks]
    for number, (name, check) in enumerate(checks, start=1):
        if (found := check()) is not None:
            findings.append(found)
            if name in ENDING:
                return findings, names[:number], names[number:]
    return findings, names, []


def _admit(
    loader: Any, model: nn.Module, loss: Callable, ignore_index: int | None, seconds: float
) -> tuple[Patient | None, Finding | None]:
    """Draw batches, copy the model, and see how many classes it tells apart."""
    drawn, finding = batches.draw_batches(loader, seconds)
    if finding is not None:
        return None, finding
    ignored = _ignored_by(loss) if ignore_index is None else ignore_index
    patient = Patient(loader, copy.deepcopy(model), loss, drawn, ignore_index=ignored)
    try:
        with torch.no_grad():
            logits = patient.model.eval()(drawn[0][0][:1].to(patient.device))  # (1, C, H, W)
        patient.channels = logits.shape[1]
    except Exception as error:  # a model of one's own may raise anything
        cure = "compare the shape of a batch with what the network takes, (B, 3, H, W)"
        return None, Finding("network", f"it raised {first_line(error)} on a photo", cure)
    return patient, None


def _ignored_by(loss: Callable) -> int | None:
    """The ignore_index that a loss carries: one of make_loss, or torch's nn.CrossEntropyLoss."""
    given = loss.keywords if isinstance(loss, partial) else getattr(loss, "__dict__", {})
    index = given.get("ignore_index")
    return index if isinstance(index, int) and index >= 0 else None  # torch's -100 means none


def _checks_of_data(patient: Patient, val_loader: Any) -> list[Check]:
    checks: list[Check] = [
        ("mask values", lambda: batches.check_masks(patient)),
        ("pairs", lambda: batches.check_pairs(patient)),
    ]
    if val_loader is not None:
        checks += [
            ("leak", lambda: batches.check_leak(patient, val_loader)),
            ("validation", lambda: batches.check_validation(val_loader)),
        ]
    return checks


def _checks_of_network(
    patient: Patient, precision: Precision, memory: int | None, trained: bool
) -> list[Check]:
    checks: list[Check] = [
        ("batch of one", lambda: network.check_batch_of_one(patient)),
        ("loss and gradient", lambda: network.check_loss(patient, precision)),
    ]
    if memory is not None or patient.device.type == "cuda":
        # First: the check of the loss runs a whole batch, which may not fit.
        checks.insert(0, ("memory", lambda: network.check_memory(patient, precision, memory)))
    if trained:
        checks.append(("useless mask", lambda: network.check_trained(patient)))
    return checks


def _checks_of_program(
    patient: Patient,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    predict: Callable | None,
    step: Callable | None,
    checkpoint: str | Path | None,
) -> list[Check]:
    checks: list[Check] = []
    if optimizer is not None:
        checks.append(("optimizer", lambda: program.check_optimizer(model, optimizer)))
    if step is not None:
        known = program.check_step
        checks.append(("step", lambda: program.guarded("step", known, patient, step)))
    if predict is not None:
        for name, check in (("prediction", program.check_prediction), ("mode", program.check_mode)):
            checks.append((name, _guard(name, check, patient, predict)))
    if checkpoint is not None:
        checks.append(("checkpoint", lambda: program.check_checkpoint(model, checkpoint)))
    return checks


def _guard(name: str, check: Callable, *arguments: Any) -> Callable[[], Finding | None]:
    return lambda: program.guarded(name, check, *arguments)
