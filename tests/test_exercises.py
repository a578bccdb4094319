"""The exercises of the numbered notebooks are those of their solutions, with stubs in place of
answers, and tools/exercises.py makes them so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import exercises  # noqa: E402


@pytest.mark.parametrize("path", exercises.numbered_notebooks(), ids=lambda path: path.stem)
def test_the_exercises_of_a_notebook_are_those_of_its_solutions(path):
    assert not exercises.write_exercises(path, check=True), "run make exercises"


@pytest.mark.parametrize(
    ("solution", "stub"),
    [
        ("# exercise: share = ...  # your answer\nshare = 1 / 2\nprint(share)",
         "share = ...  # your answer"),
        ("def f(x):\n    # exercise: return ...\n    y = x\n\n    return y",
         "def f(x):\n    return ..."),
        ("class A:\n    def f(self):\n        # exercise: return ...\n        x = 1\n\n"
         "        return x\n\n    def g(self):\n        # exercise: pass\n        return 2",
         "class A:\n    def f(self):\n        return ...\n\n    def g(self):\n        pass"),
        ("a = 1\n# exercise: b = ...\nb = a + 1\n# end\nprint(a)", "a = 1\nb = ...\nprint(a)"),
        ("# exercise: def f():\n# exercise:     return ...\nx = 1\n\n\ndef f():\n    return x",
         "def f():\n    return ..."),
        ("for a in b:\n    # exercise: c = ...\n    if a:\n        c = 1\n# d\nprint(a)",
         "for a in b:\n    c = ...\n# d\nprint(a)"),
    ],
)  # fmt: skip
def test_a_stub_takes_the_place_of_the_marked_part(solution, stub):
    assert exercises.stub(solution) == stub


@pytest.mark.parametrize(
    "solution", ["share = 1 / 2", "def f(x):\n    # exercise: return (\n    return x"]
)
def test_a_solution_without_a_mark_or_with_a_stub_that_is_no_code_is_refused(solution):
    with pytest.raises((ValueError, SyntaxError)):
        exercises.stub(solution)


def question(number: int = 1) -> nbformat.NotebookNode:
    tags = {"tags": ["exercise"]}
    return new_markdown_cell(f"### Exercise {number}: why?\n\nBecause.", metadata=tags)


def answer(source: str = "# exercise: a = ...\na = 1") -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": ["exercise"]})


def check(source: str = "print(a)") -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": ["check"]})


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A notebook without exercises, and its solutions: two, with words around them."""
    (tmp_path / "solutions").mkdir()
    cells = [new_markdown_cell("# 00"), new_markdown_cell("## Exercises\n\nSolutions: there.")]
    cells.append(new_markdown_cell("Next: 01"))
    nbformat.write(new_notebook(cells=cells), tmp_path / "00_a.ipynb")
    around = [new_markdown_cell("Solved."), new_code_cell("import os")]
    cells = [*around, question(), answer(), check(), new_markdown_cell("So."), question(2), answer(
        "# exercise: b = ...\nb = 2"), check("print(b)"), new_code_cell("a + b")]  # fmt: skip
    nbformat.write(new_notebook(cells=cells), tmp_path / "solutions" / "00_a.ipynb")
    monkeypatch.setattr(exercises, "NOTEBOOKS", tmp_path)
    return tmp_path / "00_a.ipynb"


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_the_tool_writes_the_exercises_behind_their_heading_and_twice_changes_nothing(
    course, capsys
):
    assert exercises.main(["--check"]) == 1
    assert "00_a.ipynb: differs" in capsys.readouterr().out
    assert len(read(course).cells) == 3  # --check has written nothing
    assert exercises.main([]) == 0
    nbformat.validate(read(course))
    wanted = ["# 00", "## Exercises\n\nSolutions: there.", question().source, "a = ...", "print(a)",
              question(2).source, "b = ...", "print(b)", "Next: 01"]  # fmt: skip
    assert [cell.source for cell in read(course).cells] == wanted
    before = course.read_bytes()
    assert exercises.main([]) == 0 and exercises.main(["--check"]) == 0
    assert course.read_bytes() == before


def test_what_has_not_changed_keeps_its_outputs(course):
    exercises.main([])
    notebook = read(course)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [new_output("stream", text=cell.source)], 7
    nbformat.write(notebook, course)
    solutions = read(course.parent / "solutions" / course.name)
    solutions.cells[7].source = "# exercise: b = ..., ...\nb = 2, 3"
    nbformat.write(solutions, course.parent / "solutions" / course.name)
    assert exercises.main([]) == 0
    counts = [cell.execution_count for cell in read(course).cells if cell.cell_type == "code"]
    assert counts == [7, 7, None, 7]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "found none"),
        ([question(), answer()], "expected question, solution and check in turn"),
        ([question(), check(), answer()], "expected question, solution and check in turn"),
        ([question(2), answer(), check()], "expected '### Exercise 1"),
        ([question(), answer("a = 1"), check()], "exercise 1: no line '# exercise"),
        ([question(), answer("# exercise: a = (\na = 1"), check()], "exercise 1: "),
    ],
)
def test_solutions_that_are_not_whole_are_refused(course, cells, message):
    nbformat.write(new_notebook(cells=cells), course.parent / "solutions" / course.name)
    with pytest.raises(SystemExit, match=message):
        exercises.main([])


def test_a_notebook_without_solutions_or_without_a_place_is_refused(course):
    notebook = read(course)
    notebook.cells[1].source = "## Questions"
    nbformat.write(notebook, course)
    with pytest.raises(SystemExit, match="begins with '## Exercises'"):
        exercises.main([])
    (course.parent / "solutions" / course.name).unlink()
    with pytest.raises(SystemExit, match="expected its solutions"):
        exercises.main([])


def test_cells_of_somebody_else_between_the_exercises_are_not_lost(course):
    exercises.main([])
    notebook = read(course)
    notebook.cells.insert(4, new_markdown_cell("A remark."))
    notebook.cells[3].source = "a = 5"
    nbformat.write(notebook, course)
    with pytest.raises(SystemExit, match="stand others"):
        exercises.main([])
    assert read(course).cells[4].source == "A remark."
