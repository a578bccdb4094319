"""The list of exercises, and the two functions that a notebook calls: `check` and `hint`."""

from __future__ import annotations

import inspect
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch

from unet_helpers.checks.answers import Untried, Wrong, described, shown

HINTS_AT_MOST = 3
WIDTH = 90  # characters; JupyterLab breaks longer lines in the middle of a word


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name ("05.2": the second of notebook 05), its test, and its hints.

    The test takes what the check's cell passes on. It raises Untried or Wrong, or returns None or
    a sentence to print behind "right."
    """

    which: str
    test: Callable[..., str | None]
    hints: tuple[str, ...]

    @property
    def number(self) -> int:
        """The number of the exercise within its notebook, from 1."""
        return int(self.which.partition(".")[2])


EXERCISES: dict[str, Exercise] = {}
_given: Counter[str] = Counter()


def exercise(which: str, *hints: str) -> Callable[[Callable[..., str | None]], Callable]:
    """Enter the decorated test as exercise `which`, with one to three hints, the faintest first."""
    if which in EXERCISES or not 1 <= len(hints) <= HINTS_AT_MOST:
        raise ValueError(f"exercise {which}: twice, or without one to {HINTS_AT_MOST} hints")

    def enter(test: Callable[..., str | None]) -> Callable[..., str | None]:
        EXERCISES[which] = Exercise(which, test, hints)
        return test

    return enter


def check(which: str, *answers: Any) -> None:
    """Print about an answer: right, not tried yet, or the first thing that is wrong.

    `which` names the exercise ("05.2"); `answers` are what its cell passes on. Whatever they are,
    nothing is raised: a notebook with open exercises still runs to its end.
    """
    _say(verdict(which, *answers))


def verdict(which: str, *answers: Any) -> str:
    """What `check` prints, on one line."""
    found = EXERCISES.get(which) if isinstance(which, str) else None
    if found is None:
        return f"There is no exercise {shown(which)}. There are {', '.join(sorted(EXERCISES))}."
    head = f"Exercise {found.number}"
    try:
        said = _tested(found, answers)
    except Untried:
        return f'{head}: not tried yet. checks.hint("{which}") gives a first hint.'
    except Wrong as wrong:
        return f"{head}: not yet. {_as_sentence(str(wrong), found, answers)}"
    except (Exception, SystemExit) as error:
        return f"{head}: not yet. The check cannot make anything of this: {described(error)}."
    return f"{head}: right." + (f" {said}" if said else "")


def _tested(found: Exercise, answers: tuple[Any, ...]) -> str | None:
    wanted = inspect.signature(found.test)
    try:
        wanted.bind(*answers)
    except TypeError:
        names = ", ".join([f'"{found.which}"', *wanted.parameters])
        raise Wrong(f"this check is called as checks.check({names}).") from None
    # The notebook's own random numbers, warnings and gradient mode stay as they are.
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        return found.test(*answers)


def _as_sentence(text: str, found: Exercise, answers: tuple[Any, ...]) -> str:
    """The text with a capital, unless it starts with a name from the learner's code."""
    names = {*inspect.signature(found.test).parameters}
    names |= {a.__name__ for a in answers if issubclass(type(a), FunctionType | type)}
    first = text.partition(" ")[0].rstrip(",:")
    return text[:1].upper() + text[1:] if first.isalpha() and first not in names else text


def hint(which: str) -> None:
    """Print the next hint for an exercise ("05.2"): the first call the first one, and so on."""
    found = EXERCISES.get(which) if isinstance(which, str) else None
    if found is None:
        _say(f"There is no exercise {shown(which)}. There are {', '.join(sorted(EXERCISES))}.")
    elif _given[which] < len(found.hints):
        _given[which] += 1
        _say(f"Hint {_given[which]} of {len(found.hints)}: {found.hints[_given[which] - 1]}")
    else:
        del _given[which]
        _say(
            "There are no more hints. The solution stands in the folder solutions, in the notebook "
            f"whose name begins with {which[:2]}. The next call starts again with the first hint."
        )


def _say(text: str) -> None:
    """Print a text on lines that end between two words."""
    print(textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False))
