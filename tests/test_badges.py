"""One public address: what stands in pyproject.toml is what badges and setup cells lead to."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import badges  # noqa: E402
import setup_cell  # noqa: E402

ADDRESS = "https://github.com/some-one/cars.2"
BADGE = re.compile(r"\[!\[([^\]]+)\]\(([^)]+)\)\]\(([^)]+)\)")


def test_the_committed_badges_and_setup_cells_are_those_of_the_address(capsys):
    assert badges.main(["--check"]) == 0, capsys.readouterr().out


@pytest.fixture
def course(tmp_path, monkeypatch) -> Path:
    """A copy of what the address is written into, small enough to be written often."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    new = nbformat.v4
    setup = new.new_code_cell("old", metadata={"tags": ["setup"]})
    cells = [new.new_markdown_cell("# 00 · T\n\nSentence.\n\n**Objectives:** x"), setup]
    for folder in ("notebooks", "notebooks/solutions"):
        (tmp_path / folder).mkdir()
        for name in ("00_start_here", "01_get_the_data"):
            nbformat.write(new.new_notebook(cells=cells), tmp_path / folder / f"{name}.ipynb")
    for module in (badges, setup_cell):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    badges.main([])
    return tmp_path


def first_cell(course: Path, name: str) -> str:
    return nbformat.read(course / "notebooks" / name, as_version=4).cells[0].source


def test_without_an_address_every_place_says_so_and_nothing_leads_anywhere(course):
    badges.main(["--unset"])
    for text in (first_cell(course, "00_start_here.ipynb"), (course / "README.md").read_text()):
        assert "public address" in text and not BADGE.findall(text)
    assert first_cell(course, "00_start_here.ipynb").split("\n\n")[2] == badges.UNSET


@pytest.mark.parametrize("typed", [ADDRESS, f"{ADDRESS}/", f"{ADDRESS}.git"])
def test_one_command_sets_the_address_everywhere(course, typed):
    assert badges.main(["--repository", typed]) == 0
    urls = tomllib.loads((course / "pyproject.toml").read_text())["project"]["urls"]
    assert urls == {"Repository": ADDRESS}
    for path in course.glob("notebooks/**/*.ipynb"):
        cell = nbformat.read(path, as_version=4).cells[1]
        assert f'REPOSITORY = "{ADDRESS}"' in cell.source
    text = first_cell(course, "01_get_the_data.ipynb")
    file = "some-one/cars.2/blob/main/notebooks/01_get_the_data.ipynb"
    assert [target for _, _, target in BADGE.findall(text)] == [
        f"https://colab.research.google.com/github/{file}",
        f"https://kaggle.com/kernels/welcome?src=https://github.com/{file}",
        f"https://console.paperspace.com/github/{file}",
    ]
    assert text.split("\n\n")[1] == "Sentence." and "**Objectives:** x" in text


def test_badges_lead_to_files_that_are_there(course):
    """Every path in a badge of the README is a file of this repository, on every service."""
    badges.main(["--repository", ADDRESS])
    found = BADGE.findall((course / "README.md").read_text())
    assert len(found) == 5
    for _, picture, target in found:
        assert urlsplit(picture).scheme == "https" and picture.endswith(".svg")
        parts = urlsplit(target)
        wanted = parse_qs(parts.query).get("labpath") or parse_qs(parts.query).get("src")
        path = unquote((wanted or [parts.path])[0])
        if "codespaces" in target:
            assert path == "/some-one/cars.2"
        else:
            assert (ROOT / path.split("/main/")[-1]).is_file()


def test_writing_twice_changes_nothing_and_check_finds_a_difference(course, capsys):
    badges.main(["--repository", ADDRESS])
    capsys.readouterr()
    assert badges.main([]) == 0 and "written" not in capsys.readouterr().out
    path = course / "notebooks" / "01_get_the_data.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = notebook.cells[0].source.replace("cars.2", "cars")
    nbformat.write(notebook, path)
    before = path.read_bytes()
    assert badges.main(["--check"]) == 1
    assert "01_get_the_data.ipynb: differs" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_new_address_takes_the_place_of_the_old_one(course):
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    badges.main(["--repository", ADDRESS])
    badges.main(["--repository", "https://github.com/other/name"])
    for path in before:
        assert b"cars.2" not in path.read_bytes()
    badges.main(["--unset"])
    after = {path: path.read_bytes() for path in before}
    assert after == before


@pytest.mark.parametrize("typed", ["cars", "https://github.com/one", "https://example.com/a/b", ""])
def test_what_is_no_address_is_refused_and_nothing_is_written(course, typed):
    before = (course / "pyproject.toml").read_bytes()
    with pytest.raises(SystemExit, match="OWNER/NAME"):
        badges.write_address(badges.normalise(typed))
    assert (course / "pyproject.toml").read_bytes() == before
