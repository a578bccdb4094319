"""Progress bars: characters and no widget, in a notebook among the printed lines."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from unet_helpers import progress
from unet_helpers.progress import progress_bar

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*(ROOT / "unet_helpers").rglob("*.py"), *(ROOT / "notebooks").rglob("*.ipynb")]


@pytest.mark.parametrize("in_notebook", [True, False])
def test_bar_goes_to_printed_lines_in_a_notebook_only(monkeypatch, capsys, in_notebook):
    monkeypatch.setattr(progress, "running_in_notebook", lambda: in_notebook)
    assert list(progress_bar([5, 6, 7], "counting", mininterval=0)) == [5, 6, 7]
    said = capsys.readouterr()
    bar, other = (said.out, said.err) if in_notebook else (said.err, said.out)
    assert "counting" in bar and "3/3" in bar and other == ""


def test_bar_that_is_not_to_stay_leaves_an_empty_line(monkeypatch, capsys):
    monkeypatch.setattr(progress, "running_in_notebook", lambda: True)
    with progress_bar(title="epoch 1", total=2, leave=False, mininterval=0) as bar:
        bar.update()
    print("epoch 1: done")
    shown = [line.rsplit("\r", 1)[-1] for line in capsys.readouterr().out.split("\n")]
    assert shown == ["epoch 1: done", ""]  # as a terminal shows it


def imports(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_draws_its_bar_as_a_widget(path):
    """A saved notebook would show "model not found" in its place."""
    assert not imports(path) & {"tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"}
