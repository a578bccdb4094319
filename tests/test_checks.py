"""The exercises' checks: they accept the solution, refuse what is wrong with a message that fits,
know an untouched stub, and survive any answer.

Solutions and stubs come from the notebooks in notebooks/solutions; the wrong answers stand in
wrong_answers_*.py.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import nbformat
import numpy as np
import pytest
import torch
import wrong_answers_ablations
import wrong_answers_classes
import wrong_answers_clinic
import wrong_answers_data
import wrong_answers_fullsize
import wrong_answers_network
import wrong_answers_speed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wrong_answers_data import CAR, GREY, MASK, SHARES
from wrong_answers_network import CARS, ROWS, TRUTH

from unet_helpers import checks
from unet_helpers.checks import register
from unet_helpers.checks.network import unet_parameters
from unet_helpers.model import UNET, count_parameters

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import exercises  # noqa: E402

SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))
ANSWERS = (
    wrong_answers_data,
    wrong_answers_network,
    wrong_answers_classes,
    wrong_answers_clinic,
    wrong_answers_fullsize,
    wrong_answers_ablations,
    wrong_answers_speed,
)
WRONG = {which: cases for module in ANSWERS for which, cases in module.WRONG.items()}
GIVEN = {which: given for module in ANSWERS for which, given in module.GIVEN.items()}
WHICH = sorted(checks.EXERCISES)
DEFINING = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
each = pytest.mark.parametrize("which", WHICH)


def cells_of(which: str) -> tuple[list, str, str]:
    """Code cells before the first exercise, and this exercise's solution and check."""
    path = next(path for path in SOLUTIONS if path.name.startswith(which[:2]))
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    tags = [cell.metadata.get("tags", []) for cell in code]
    number = int(which[3:])
    solution = [c.source for c, t in zip(code, tags, strict=True) if "exercise" in t][number - 1]
    call = [c.source for c, t in zip(code, tags, strict=True) if "check" in t][number - 1]
    first = next(n for n, t in enumerate(tags) if "exercise" in t)
    return (
        [c.source for c, t in zip(code[:first], tags[:first], strict=True) if not t],
        solution,
        call,
    )


def as_tuple(answer: object) -> tuple:
    return answer if isinstance(answer, tuple) else (answer,)


def street_look_up(stem: str) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((64, 96), np.uint8)
    mask[30:56, 20:80] = 1
    return np.where(mask[..., None] == 1, 30, 210).astype(np.uint8) * np.ones(3, np.uint8), mask


def sees_darkness(model, photo, size, device):
    """A network that calls everything dark a car."""
    return 1 - photo.mean(axis=2) / 255


# What the notebook has computed when its exercises begin, in small.
NOTEBOOK = {
    "00": {"mask": MASK},
    "01": {"shares": SHARES[None], "grey": GREY, "small": (96, 64)},
    "05": {"truth": TRUTH},
    "07": {
        "scores": SimpleNamespace(per_image=ROWS),
        "by_car": {car: [row["dice"] for row in ROWS if row["stem"][:12] == car] for car in CARS},
    },
    "08": {
        "look_up": street_look_up, "predict_probability": sees_darkness, "LARGE": (64, 96),
        "SIZE": None, "model": None, "device": None, "street_stems": ["a"] * 8,
    },
    "10": {"distances": wrong_answers_fullsize.distances},
}  # fmt: skip


def verdict_in_notebook(which: str, answer: str, capsys) -> str:
    """What the check's cell prints below `answer`, with the notebook's imports and definitions."""
    prelude, _, call = cells_of(which)
    names = {"os": os, "Path": Path}
    for source in prelude:
        kept = [node for node in ast.parse(source).body if isinstance(node, DEFINING)]
        exec(compile(ast.Module(kept, []), "prelude", "exec"), names)
    names.update(NOTEBOOK.get(which[:2], {}))
    exec("from unet_helpers import checks", names)
    exec(answer, names)
    capsys.readouterr()
    exec(call, names)
    return capsys.readouterr().out


# --- right, wrong, untried -----------------------------------------------------------------------


@each
def test_the_solution_is_right_and_its_stub_untried(which, capsys):
    _, solution, call = cells_of(which)
    assert f'checks.check("{which}", ' in call and f'# checks.hint("{which}")' in call
    number = int(which[3:])
    said = verdict_in_notebook(which, solution, capsys)
    assert said.startswith(f"Exercise {number}: right."), said
    said = verdict_in_notebook(which, exercises.stub(solution), capsys)
    assert said == f'Exercise {number}: not tried yet. checks.hint("{which}") gives a first hint.\n'


@pytest.mark.parametrize(
    ("which", "answer", "pattern"),
    [(which, *case) for which, cases in sorted(WRONG.items()) for case in cases],
    ids=[f"{which}-{n}" for which, cases in sorted(WRONG.items()) for n in range(len(cases))],
)
def test_a_wrong_answer_is_refused_with_a_message_that_fits(which, answer, pattern):
    said = checks.verdict(which, *as_tuple(answer), *GIVEN.get(which, ()))
    assert said.startswith(f"Exercise {int(which[3:])}: not yet. "), said
    assert re.search(pattern, said, re.IGNORECASE), said
    assert "\n" not in said and said.endswith((".", "?")), said


def test_every_exercise_has_a_notebook_three_wrong_answers_and_at_most_three_hints():
    asked = []
    for path in SOLUTIONS:
        for cell in nbformat.read(path, as_version=4).cells:
            if "check" in cell.metadata.get("tags", []):
                asked += re.findall(r'checks\.check\("(\d\d\.\d)"', cell.source)
    assert asked == WHICH == sorted(WRONG)
    assert all(len(cases) >= 3 for cases in WRONG.values())
    assert all(1 <= len(found.hints) <= 3 for found in checks.EXERCISES.values())


# --- anything at all -----------------------------------------------------------------------------


class Hostile:
    """Raises whatever one does with it."""

    def _no(self, *arguments):
        raise RuntimeError("do not touch me")

    __repr__ = __str__ = __eq__ = __bool__ = __len__ = __iter__ = __float__ = __getattr__ = _no
    __hash__ = None


def raises(*arguments):
    raise KeyError("wheel")


def leaves(*arguments):
    raise SystemExit("bye")


def for_ever(*arguments):
    return for_ever(*arguments)


GARBAGE = [
    None, "a string", "", b"bytes", True, -1, 10**400, 1e-300, float("nan"), float("inf"), 3 + 4j,
    [], [1, 2], [None] * 4, (0.1,) * 4, {"a": 1}, {1, 2}, object(), Hostile(), int, Hostile,
    np.zeros((2, 7)), np.zeros(0), np.array("text"), np.array([None]), np.full((3, 3), np.nan),
    torch.zeros(3, 1, 2), torch.tensor(float("nan")), torch.zeros(0), torch.ones(2) * 1j,
    raises, leaves, for_ever, lambda: 3, lambda *a: None, lambda *a: "text", lambda *a: Hostile(),
    lambda *a: np.zeros((2, 7)), lambda *a: torch.full((2, 3), torch.nan), lambda *a: a[0],
    lambda *a: (a[0], "text"), lambda *a: [Hostile()] * 2, lambda *a: (yield), lambda *a: {},
    np.mean, torch.relu, len,
]  # fmt: skip


@each
def test_garbage_gets_a_message_and_never_a_traceback(which):
    number, given = int(which[3:]), GIVEN.get(which, ())
    some = as_tuple(WRONG[which][0][0])
    for n, thing in enumerate(GARBAGE):
        context = [[*some] + [thing] * len(given)] if given else []
        for answers in [[thing] * len(some) + [*given], *context]:
            said = checks.verdict(which, *answers)
            assert said.startswith(f"Exercise {number}: not yet. "), (n, said)
            assert "\n" not in said and len(said) < 500, (n, said)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(...),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(WHICH), answers=st.lists(anything, max_size=4), returned=anything)
def test_any_value_and_any_returned_value_get_one_line(which, answers, returned):
    functions = [lambda *a: returned] * len(as_tuple(WRONG[which][0][0]))
    for some in (answers, [*functions, *GIVEN.get(which, ())]):
        said = checks.verdict(which, *some)
        assert said.startswith(f"Exercise {int(which[3:])}: ") and "\n" not in said


def test_an_exercise_that_is_not_there_is_named_with_those_that_are(capsys):
    for which in (None, 3, "99.1", "00", Hostile(), []):
        assert checks.verdict(which, 1).startswith("There is no exercise ")
        checks.hint(which)
        assert "00.1, 00.2" in capsys.readouterr().out


def test_too_few_answers_are_told_how_the_check_is_called():
    assert 'checks.check("00.2", accuracy, lazy_dice, mask)' in checks.verdict("00.2", 0.5)


# --- what a message holds ------------------------------------------------------------------------


def unpaired(photos, masks):
    return photos[99]


def test_an_error_is_named_with_the_line_that_raised_it():
    said = checks.verdict("01.2", unpaired)
    assert said == (
        "Exercise 2: not yet. unpaired raised IndexError: list index out of range "
        '(in the line "return photos[99]").'
    )


def test_a_part_of_the_stub_that_is_left_counts_as_untried():
    for left in (..., lambda *a: ..., lambda *a: ... + 1):
        assert "not tried yet" in checks.verdict("01.2", left)

    def not_yet(*arguments):
        raise NotImplementedError

    assert "not tried yet" in checks.verdict("01.2", not_yet)
    assert "not tried yet" in checks.verdict("00.2", 0.3, ..., MASK)


def test_a_message_begins_with_a_capital_unless_it_begins_with_a_name():
    assert ": not yet. That is the share" in checks.verdict("00.1", 1 - CAR, MASK)
    assert ": not yet. share is" in checks.verdict("00.1", "x", MASK)


def test_a_check_leaves_the_random_numbers_of_the_notebook_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    checks.verdict("06.4", 0.01)
    checks.verdict("04.1", lambda skip, x: torch.cat([skip, x], dim=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mask_is_refused_for_what_it_is_first():
    """Three faults at once: the message names the values, which the learner sees at once."""
    said = checks.verdict("08.3", lambda mask: 255.0 * mask)
    assert "still holds 255" in said and "float" not in said


# --- hints ---------------------------------------------------------------------------------------


def test_hints_come_one_at_a_time_and_then_begin_again(capsys, monkeypatch):
    monkeypatch.setattr(register, "_given", register.Counter())
    hints = checks.EXERCISES["05.2"].hints
    for _ in range(len(hints) + 2):
        checks.hint("05.2")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= register.WIDTH
    said = re.split(r" (?=Hint \d|There are)", " ".join(printed.split()))
    assert said[:3] == [f"Hint {n} of 3: {text}" for n, text in enumerate(hints, start=1)]
    assert "no more hints" in said[3] and "05" in said[3]
    assert said[4] == said[0]
    checks.hint("05.1")
    assert capsys.readouterr().out.startswith("Hint 1 of 3: ")


def test_an_exercise_cannot_be_entered_twice_or_without_hints():
    for which, hints in (("00.1", ["a"]), ("99.9", []), ("99.9", ["a"] * 4)):
        with pytest.raises(ValueError, match=which):
            register.exercise(which, *hints)
    assert "99.9" not in checks.EXERCISES


@pytest.mark.parametrize("features", [(4,), (8, 16), (3, 5, 2, 7), (1, 1, 1, 1, 1, 1)])
def test_parameters_are_counted_as_the_module_has_them(features):
    assert unet_parameters(features) == count_parameters(UNET(features=features))


def test_opencv_agrees_on_the_hole():
    """The check's own idea of a hole against an independent one: flood from the outside."""
    mask = np.zeros((9, 12), np.uint8)
    mask[2:7, 2:10], mask[4, 4:6] = 1, 0

    def flooded(mask):
        framed = np.pad(mask, 1).astype(np.uint8)
        cv2.floodFill(framed, None, (0, 0), 2, flags=4)
        return (framed[1:-1, 1:-1] != 2).astype(np.uint8)

    assert "right" in checks.verdict("08.3", flooded)
