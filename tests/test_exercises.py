"""The exercises' check never raises, and says what is wrong."""

from __future__ import annotations

import pytest

from unet_helpers.exercises import check


def is_four(answer):
    # Raised by hand: pytest would add its own words to an assert in this file.
    if answer is None:
        raise AssertionError("the answer is still None.")
    if answer + 0 != 4:
        raise AssertionError(f"{answer} is not 4.")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (4, "Exercise 3: right.\n"),
        (5, "Exercise 3: not yet. 5 is not 4.\n"),
        (None, "Exercise 3: not yet. the answer is still None.\n"),
    ],
)
def test_check_says_right_or_what_is_wrong(capsys, answer, said):
    check(3, is_four, answer)
    assert capsys.readouterr().out == said


def test_an_answer_that_raises_is_named_and_does_not_stop_the_notebook(capsys):
    check(1, is_four, "four")
    said = capsys.readouterr().out
    assert said.startswith("Exercise 1: not yet. Your answer raised TypeError: ")


def test_check_takes_several_answers(capsys):
    check(2, lambda a, b: is_four(a + b), 1, 3)
    assert capsys.readouterr().out == "Exercise 2: right.\n"
