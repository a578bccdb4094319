"""What a check asks of an answer: each helper returns it in a known form, or says what is wrong.

Answers come from anywhere: from a stub that nobody has touched to objects that raise when they are
looked at. So checks never use an answer before one of these helpers has seen it.
"""

from __future__ import annotations

import math
import reprlib
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch


class Untried(Exception):  # noqa: N818 - what was found, said plainly
    """The `...` of the exercise is still there."""


class Wrong(Exception):  # noqa: N818 - what was found, said plainly
    """What is wrong with an answer, in the learner's terms."""


def require(condition: Any, message: str) -> None:
    """Raise Wrong with this message unless the condition holds."""
    if not bool(condition):
        raise Wrong(message)


def near(value: float, other: float, tolerance: float = 1e-6) -> bool:
    """Whether two numbers differ by at most `tolerance`."""
    return abs(value - other) <= tolerance


def shown(value: Any) -> str:
    """A few words for any value, on one line and at most 100 characters long; never raises."""
    try:
        if isinstance(value, np.ndarray | torch.Tensor):
            kind = "array" if isinstance(value, np.ndarray) else "tensor"
            return f"{'an' if kind == 'array' else 'a'} {kind} of shape {tuple(value.shape)}"
        if callable(value):
            return f"the {'class' if isinstance(value, type) else 'function'} {value.__name__}"
        text = " ".join(reprlib.repr(value).split())
    except Exception:
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def described(error: BaseException) -> str:
    """An error's type and the first line of its text, at most 200 characters long; never raises."""
    try:
        text = str(error).strip().partition("\n")[0]
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__


def call(function: Any, *arguments: Any) -> Any:
    """What the learner's function returns.

    Raises Untried if it is or returns `...`, and Wrong if it is no function, raises (with the line
    that did), or returns None.
    """
    result = run(function, *arguments)
    name = getattr(function, "__name__", "it")
    require(result is not None, f"{name} returns nothing: is there a return at its end?")
    return result


def run(function: Any, *arguments: Any) -> Any:
    """The same as `call`, for a function that need not return anything."""
    if function is ...:
        raise Untried
    require(callable(function), f"{shown(function)} is not a function that can be called.")
    try:
        result = function(*arguments)
    except NotImplementedError:
        raise Untried from None
    except (Exception, SystemExit) as error:
        message = described(error)
        if isinstance(error, TypeError) and "ellipsis" in message:  # a part of the stub is left
            raise Untried from None
        name = getattr(function, "__name__", "it")
        raise Wrong(f"{name} raised {message}{_line_of(error, function)}.") from None
    if result is ...:
        raise Untried
    return result


def _line_of(error: BaseException, function: Callable[..., Any]) -> str:
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [f.line for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    return f' (in the line "{lines[-1]}")' if lines and lines[-1] else ""


def number(value: Any, name: str) -> float:
    """A finite number from a Python, NumPy or torch number; Wrong for anything else."""
    if value is ...:
        raise Untried
    given = value
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        count = value.numel() if isinstance(value, torch.Tensor) else value.size
        require(count == 1, f"{name} is {shown(value)}: one number is wanted.")
        value = value.item()
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    require(fits, f"{name} is {shown(given)}: a number is wanted.")
    value = float(value)
    require(math.isfinite(value), f"{name} is {value}: somewhere 0 was divided by 0, or the like.")
    return value


def whole(value: Any, name: str) -> int:
    """A whole number; Wrong for anything else."""
    found = number(value, name)
    require(found == int(found), f"{name} is {found:g}: a whole number is wanted.")
    return int(found)


def sequence(value: Any, name: str, length: int | None = None) -> list[Any]:
    """A list or tuple (an array of one axis, too) as a list; Wrong for anything else."""
    if value is ...:
        raise Untried
    if isinstance(value, np.ndarray | torch.Tensor) and value.ndim == 1:
        value = value.tolist()
    fits = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    require(fits, f"{name} is {shown(value)}: a list or a tuple is wanted.")
    wanted = f"{name} holds {len(value)} value{'' if len(value) == 1 else 's'}, not {length}."
    require(length is None or len(value) == length, wanted)
    if any(part is ... for part in value):
        raise Untried
    return list(value)


def array(value: Any, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A NumPy array of numbers from an array or a tensor; Wrong for anything else."""
    if value is ...:
        raise Untried
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    require(isinstance(value, np.ndarray), f"{name} is {shown(value)}: an array is wanted.")
    require(value.dtype.kind in "buif", f"{name} holds {value.dtype}, no numbers.")
    wanted = f"the shape of {name} is {value.shape}, not {shape}."
    require(shape is None or value.shape == shape, wanted)
    return value


def tensor(value: Any, name: str, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    """A torch tensor, on the CPU, its gradient history kept; Wrong for anything else."""
    if value is ...:
        raise Untried
    require(isinstance(value, torch.Tensor), f"{name} is {shown(value)}: a tensor is wanted.")
    wanted = f"the shape of {name} is {tuple(value.shape)}, not {shape}."
    require(shape is None or tuple(value.shape) == shape, wanted)
    return value.cpu()


def binary_mask(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A mask as the course wants it: uint8, 0 and 1; Wrong says which of the three it is not."""
    found = array(value, name, shape)
    values = np.unique(found)
    require(
        values.max() != 255,
        f"{name} still holds 255: compare with > 0 (or > 127) before returning.",
    )
    listed = ", ".join(f"{v:g}" for v in values[:4].astype(float)) + (
        "" if len(values) < 5 else ", …"
    )
    require(set(values.tolist()) <= {0, 1}, f"{name} holds {listed}: only 0 and 1 are wanted.")
    require(
        found.dtype == np.uint8, f"{name} has the type {found.dtype}: .astype(np.uint8) mends it."
    )
    return found


def given_mask(value: Any) -> np.ndarray:
    """The mask (H, W) that the notebook hands to a check, not the learner's answer."""
    asked = "the check needs the mask as the notebook made it: run the cells above again."
    if isinstance(value, torch.Tensor):
        value = value.cpu().numpy()
    require(isinstance(value, np.ndarray) and value.ndim == 2 and value.size, asked)
    require(set(np.unique(value).tolist()) == {0, 1}, asked)
    return value


def dice_of(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two masks of 0 and 1."""
    one, other = one > 0, other > 0
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
