"""Writes the exercises of the numbered notebooks from their solutions, which are written once.

    python tools/exercises.py            # rewrite the exercises in notebooks/NN_….ipynb
    python tools/exercises.py --check    # change nothing, name the notebooks that differ

In notebooks/solutions/NN_….ipynb an exercise is three cells with tags: the question in prose
("exercise"), the solution in code ("exercise"), and the call of its check in code ("check").
Question and check are copied as they are. Of the solution the learner gets a stub:

    def share_of(mask):
        # exercise: return ...  # your answer
        car = mask.sum()
        return car / mask.size

"# exercise: STUB" opens a part that the learner is to write. It ends with a line "# end" of the
same indentation, with a line that is indented less, or with the cell, and STUB stands in its place.
Several such lines one after the other make a stub of several lines. Cells without these tags
(explanations, demonstrations) stay with the solution.

In the numbered notebook the exercises stand together; at first use, behind "## Exercises". What
has not changed keeps its outputs.
"""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
MARK = re.compile(r"(?P<indent> *)# exercise: (?P<stub>.+)")
ROLES = ("question", "answer", "check")


def stub(solution: str) -> str:
    """The code that a learner gets in place of a solution; ValueError if nothing is marked."""
    kept: list[str] = []
    indent: str | None = None  # of the part that is being left out
    blank: list[str] = []  # lines that may belong to what comes after it
    for line in solution.splitlines():
        mark = MARK.fullmatch(line)
        if mark:
            indent, blank = mark["indent"], []
            kept.append(f"{indent}{mark['stub']}")
        elif indent is None:
            kept.append(line)
        elif line == f"{indent}# end":
            indent = None
        elif not line.strip():
            blank.append(line)
        elif line.startswith(indent):
            blank = []
        else:
            kept += [*blank, line]
            indent = None
    text = "\n".join(kept)
    if text == solution:
        raise ValueError("no line '# exercise: …' marks what the learner writes")
    ast.parse(text)
    return text


def tagged(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell belongs to an exercise."""
    return bool({"exercise", "check"} & set(cell.metadata.get("tags", [])))


def exercise_cells(solutions: nbformat.NotebookNode, name: str) -> list[nbformat.NotebookNode]:
    """The cells of the numbered notebook, three an exercise; SystemExit if one is missing."""
    cells = [cell for cell in solutions.cells if tagged(cell)]
    kinds = [(cell.cell_type, cell.metadata.tags[0]) for cell in cells]
    wanted = [("markdown", "exercise"), ("code", "exercise"), ("code", "check")]
    if not cells or kinds != wanted * (len(cells) // 3):
        found = ", ".join(f"{kind} {tag}" for kind, tag in kinds) or "none"
        raise SystemExit(f"{name}: expected question, solution and check in turn; found {found}")
    made = []
    for index, cell in enumerate(cells):
        role, number, source = ROLES[index % 3], index // 3 + 1, cell.source
        if role == "question" and not source.startswith(f"### Exercise {number}: "):
            raise SystemExit(f"{name}: expected '### Exercise {number}: …'; found {source[:40]!r}")
        if role == "answer":
            try:
                source = stub(source)
            except (ValueError, SyntaxError) as error:
                raise SystemExit(f"{name}, exercise {number}: {error}") from None
        new = new_markdown_cell if role == "question" else new_code_cell
        tags = {"tags": list(cell.metadata.tags)}
        made.append(new(source, metadata=tags, id=f"exercise-{number}-{role}"))
    return made


def write_exercises(path: Path, check: bool = False) -> bool:
    """Put the exercises into one numbered notebook; returns whether it differed.

    check: change nothing. SystemExit where the solution or a place for the exercises is missing.
    """
    solution = path.parent / "solutions" / path.name
    if not solution.is_file():
        raise SystemExit(
            f"{path.name}: expected its solutions in solutions/{path.name}; found none"
        )
    notebook = nbformat.read(path, as_version=4)
    cells = exercise_cells(nbformat.read(solution, as_version=4), f"solutions/{path.name}")
    old = [index for index, cell in enumerate(notebook.cells) if tagged(cell)]
    start, stop = (old[0], old[-1] + 1) if old else (_behind_heading(notebook, path.name),) * 2
    before = notebook.cells[start:stop]
    if len(before) != len(old):
        raise SystemExit(f"{path.name}: between the cells of the exercises stand others, untagged")
    if [_essence(cell) for cell in before] == [_essence(cell) for cell in cells]:
        return False
    if not check:
        known = {(cell.cell_type, cell.source): cell for cell in before}
        for cell in cells:
            same = known.get((cell.cell_type, cell.source))
            if same is not None and cell.cell_type == "code":
                cell.outputs, cell.execution_count = same.outputs, same.execution_count
        notebook.cells[start:stop] = cells
        nbformat.write(notebook, path)
    return True


def _behind_heading(notebook: nbformat.NotebookNode, name: str) -> int:
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and cell.source.startswith("## Exercises"):
            return index + 1
    raise SystemExit(f"{name}: expected a cell that begins with '## Exercises'; found none")


def _essence(cell: nbformat.NotebookNode) -> tuple[str, str, list[str], str]:
    return cell.cell_type, cell.source, list(cell.metadata.get("tags", [])), cell.get("id", "")


def numbered_notebooks() -> list[Path]:
    """The course's notebooks, in order, without the solutions."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the exercises from their solutions.")
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    options = parser.parse_args(arguments)
    differing = [path for path in numbered_notebooks() if write_exercises(path, options.check)]
    for path in differing:
        print(f"{path.name}: {'differs from its solutions' if options.check else 'written'}")
    return int(options.check and bool(differing))


if __name__ == "__main__":
    raise SystemExit(main())
