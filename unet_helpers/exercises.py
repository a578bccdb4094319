"""The exercises' check: runs a test on the learner's answer and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable


def check(number: int, test: Callable[..., None], *answers: object) -> None:
    """Run ``test(*answers)`` and print one line: "Exercise 1: right." or what is still wrong.

    The test uses plain ``assert condition, "what is wrong"``. Whatever else it raises counts as
    wrong too and is named, so a notebook with open exercises still runs to its end.
    """
    try:
        test(*answers)
    except AssertionError as wrong:
        print(f"Exercise {number}: not yet. {wrong}")
    except Exception as error:
        print(f"Exercise {number}: not yet. Your answer raised {type(error).__name__}: {error}")
    else:
        print(f"Exercise {number}: right.")
