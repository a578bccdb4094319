"""Saving and loading: checkpoints a run resumes from, and small weight files to share.

A checkpoint is one dict in one file. `last.pt` holds all that a run needs to go on: model (the
training weights), optimizer, scheduler, scaler, ema (averaged weights or None), epoch, history,
config and rng. `best.pt` holds the evaluated weights (the averaged ones where ema is on) with
config, epoch and history: a model to use, not a run to resume.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from .config import TrainConfig
from .environment import CourseError
from .files import write_atomically
from .model import UNET

FORMAT = 1  # raise it when an older version of the course cannot read any more what is written
MODEL_OPTIONS = ("in_channels", "out_channels", "features", "norm", "up", "skips")


def model_from_config(config: TrainConfig) -> UNET:
    """The UNET that a config describes, freshly initialised, on the CPU."""
    model = UNET(**{option: getattr(config, option) for option in MODEL_OPTIONS})
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model


def bare_model(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of torch.compile and DistributedDataParallel."""
    while True:
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def save_checkpoint(state: dict, path: str | Path) -> Path:
    """Write a checkpoint atomically (new file, fsync, rename).

    state: a dict of tensors and plain Python values (numbers, strings, lists, dicts), so that
    `load_checkpoint` can read it without running any code.
    Raises CourseError when the disk is full or read-only; an earlier checkpoint then survives.
    """
    return write_atomically(path, lambda file: torch.save(state, file))


def save_weights(model: nn.Module, config: TrainConfig, path: str | Path) -> Path:
    """Write a model to share: safetensors, half precision, its config in the file's metadata.

    Half the size of a checkpoint's weights. Read it back with `load_model`.
    Raises CourseError when a weight is too large for fp16 (65504), or the disk is full.
    """
    from safetensors.torch import save

    weights = {}
    for key, value in bare_model(model).state_dict().items():
        half = value.half() if value.is_floating_point() else value
        if half.is_floating_point() and not torch.isfinite(half).all():
            raise CourseError(
                f"{path}: {key}",
                expected="finite weights of at most 65504, which fp16 can hold",
                found=f"{value.abs().max().item():g}",
                mend="train again with a lower learning rate; this model has diverged",
            )
        weights[key] = half.detach().cpu().contiguous()
    data = save(weights, {"config": config.model_dump_json()})
    return write_atomically(path, lambda file: file.write(data))


def load_checkpoint(
    path: str | Path,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    scaler: Any = None,
    map_location: str | torch.device = "cpu",
) -> dict:
    """Read a checkpoint and put its state into whatever is given; returns the whole dict.

    The file is read with weights_only=True: tensors and plain values, no code is run.
    Raises CourseError for a file that is absent, cut short or something else, and for a model of
    another shape; nothing that was given is changed then.
    """
    state = _read_checkpoint(Path(path), map_location)
    apply_checkpoint(state, path, model, optimizer, scheduler, scaler)
    return state


def apply_checkpoint(
    state: dict,
    path: str | Path,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    scaler: Any = None,
) -> None:
    """Put a checkpoint's state into whatever is given; errors as in `load_checkpoint`."""
    if model is not None:
        _check_fit(state["model"], bare_model(model), path)
    given = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    wanted = {name: part for name, part in given.items() if part is not None}
    for name in wanted:
        if state.get(name) is None:
            raise CourseError(
                path,
                expected=f"the state of a run, with its {name}",
                found=f"a checkpoint without {name}; best.pt holds a model only",
                mend="resume from last.pt of the same folder",
            )
    if model is not None:
        bare_model(model).load_state_dict(state["model"])
    for name, part in wanted.items():
        if state[name]:  # a disabled scaler has saved an empty state, which no other one takes
            part.load_state_dict(state[name])


def load_model(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[nn.Module, TrainConfig]:
    """A trained model, ready to predict (eval mode), and the config it was trained with.

    path: best.pt or last.pt of a run (of last.pt the averaged weights where there are any, since
    those are what was evaluated), or a .safetensors file of `save_weights`; fp16 becomes fp32.
    Raises CourseError for a file that is absent, cut short, or not one of these.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        weights, saved = _read_safetensors(path)
    else:
        state = _read_checkpoint(path, "cpu")
        weights, saved = state.get("ema") or state["model"], state.get("config")
    try:
        config = TrainConfig(**saved)
    except (TypeError, ValidationError) as problem:
        found = "no config"
        if isinstance(problem, ValidationError):
            first = problem.errors()[0]
            found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CourseError(
            path,
            expected="a config of this course beside the weights",
            found=found,
            mend="use best.pt or last.pt of a run made by this version of the course",
        ) from problem
    model = model_from_config(config)
    _check_fit(weights, model, path)
    model.load_state_dict(weights)
    return model.to(device).eval(), config


def _read_checkpoint(path: Path, map_location: str | torch.device) -> dict:
    """The dict in a checkpoint file, checked for its outer form."""
    if not path.is_file():
        raise CourseError(
            path,
            expected="a checkpoint, such as best.pt or last.pt in the folder of a run",
            found="a folder" if path.is_dir() else "no such file",
            mend="check the path; training writes both files",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign formats: the error below says it
            state = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as problem:  # a broken or foreign file can fail in any way at all
        size = path.stat().st_size
        raise CourseError(
            path,
            expected="a checkpoint written by save_checkpoint",
            found=f"{size:,} bytes that are not one, or only a part of one "
            f"({type(problem).__name__}); nothing in the file was run",
            mend="use another checkpoint; a copy that was cut short must be copied again",
        ) from problem
    weights = state.get("model") if isinstance(state, dict) else None
    if not _is_state_dict(weights):
        keys = ", ".join(map(str, list(state)[:4])) if isinstance(state, dict) else "none"
        raise CourseError(
            path,
            expected='a checkpoint of this course, with the weights under "model"',
            found=f"a {type(state).__name__} (first keys: {keys})",
            mend="use best.pt or last.pt in the folder of a run",
        )
    if state.get("format", FORMAT) > FORMAT:
        raise CourseError(
            path,
            expected=f"a checkpoint of format {FORMAT}, which this version of the course reads",
            found=f"format {state['format']}, of a newer version",
            mend="bring the course up to date, or use a checkpoint that this version has written",
        )
    return state


def _is_state_dict(weights: Any) -> bool:
    return isinstance(weights, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    )


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """Weights and config of a .safetensors file."""
    from safetensors import safe_open

    if not path.is_file():
        raise CourseError(
            path, expected="a .safetensors file", found="no such file", mend="check the path"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(metadata["config"])
    except Exception as problem:  # as above: the file may be anything
        missing = isinstance(problem, KeyError)
        raise CourseError(
            path,
            expected="weights written by save_weights, with their config in the metadata",
            found="weights without a config" if missing else "a file that is not safetensors",
            mend="use a .safetensors file of this course, or best.pt of a run",
        ) from problem
    return weights, config


def _check_fit(weights: Mapping, model: nn.Module, path: str | Path) -> None:
    """Raise CourseError at the first weight that the file and the model do not share."""
    wanted = model.state_dict()
    for key in dict.fromkeys([*wanted, *weights]):
        expected, found = (
            f"shape {tuple(side[key].shape)}" if key in side else f"no weight {key}"
            for side in (wanted, weights)
        )
        if expected == found:
            continue
        here, there = unet_options(wanted), unet_options(weights)
        differing = [
            f"{option} is {here[option]} in the model and {there[option]} in the file"
            for option in here
            if there and here[option] != there[option]
        ]
        raise CourseError(
            f"{path}: {key}",
            expected=f"{expected} (the model)",
            found=f"{found} (the file)",
            mend=(f"{'; '.join(differing)}; " if differing else "")
            + "build the model with the file's own options, for instance with load_model(path)",
        )


def unet_options(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The options of the UNET that these weights belong to; empty when they are not a UNET's."""
    firsts = [f"encoder.downs.{level}.layers.0.weight" for level in range(len(weights))]
    widths = [weights[key].shape[0] for key in firsts if key in weights]
    merge, last = weights.get("decoder.merges.0.layers.0.weight"), weights.get("final_conv.weight")
    if not widths or merge is None or last is None:
        return {}
    return {
        "in_channels": weights[firsts[0]].shape[1],
        "out_channels": last.shape[0],
        "features": widths,
        "norm": "batch" if "encoder.downs.0.layers.1.weight" in weights else "none",
        "up": "transposed" if "decoder.ups.0.weight" in weights else "bilinear",
        "skips": merge.shape[1] == 2 * merge.shape[0],
    }


def capture_rng() -> dict:
    """The state of python's, numpy's and torch's random numbers (CPU and GPUs), as plain data."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng(state: dict) -> None:
    """Set all random numbers back to a state of `capture_rng`; absent GPUs are passed over."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    keys = keys.cpu().numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available():
        for index, values in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(values.cpu(), index)
