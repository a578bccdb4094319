"""Windows, macOS, Codespaces, Binder: what can be checked about them without being there."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/[0-9][0-9]_*.ipynb"))
SHARED = sorted((ROOT / "unet_helpers").glob("**/*.py"))
LOADERS = {"make_loader", "get_loaders", "DataLoader"}
POSIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"}
MANY_PROCESSES = {"multiprocessing", "concurrent", "joblib"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    """Every file that git knows, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        ROOT / name for name in sorted(set(listed.split("\0"))) if name and (ROOT / name).is_file()
    ]


def program(path: Path) -> ast.Module:
    """A module, or all code cells of a notebook as one."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return ast.parse(text)


def called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


# --- workers -------------------------------------------------------------------------------------


def own_data_sets(tree: ast.Module) -> set[str]:
    """Data set classes that a notebook defines, and the variables that hold one."""
    classes = {
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any("Dataset" in ast.unparse(base) for base in node.bases)
    }
    variables = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and called(node.value) in classes
    }
    return classes | variables


def worker_trouble(tree: ast.Module) -> list[str]:
    """Calls that start workers; on Windows and macOS these cannot see a notebook's classes."""
    own, found = own_data_sets(tree), []
    for call in calls(tree):
        for word in call.keywords:
            counted = word.arg in ("num_workers", "workers")
            if counted and not (isinstance(word.value, ast.Constant) and word.value.value == 0):
                found.append(ast.unparse(call))
        if called(call) in LOADERS:
            names = {n.id for n in ast.walk(call) if isinstance(n, ast.Name)}
            found += [ast.unparse(call)] if names & own else []
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_no_worker_is_started_from_a_notebooks_own_class(path):
    tree = program(path)
    assert not worker_trouble(tree)
    assert not imported(tree) & MANY_PROCESSES


@pytest.mark.parametrize(
    "source",
    [
        "make_loader(d, 8, num_workers=2)",
        "class D(Dataset): pass\nd = D()\nDataLoader(d, batch_size=4)",
        "class D(torch.utils.data.Dataset): pass\nmake_loader(D(), 8)",
    ],
)
def test_a_worker_started_from_a_notebook_is_found(source):
    assert worker_trouble(ast.parse(source))


# --- paths, text, line ends ----------------------------------------------------------------------


def without_encoding(tree: ast.AST) -> list[str]:
    """Text read or written in the encoding of the machine, which on Windows is not UTF-8."""
    found = []
    for call in calls(tree):
        word, place = called(call), 1 if isinstance(call.func, ast.Name) else 0
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        if word == "open":
            mode = named.get("mode") or (call.args[place] if len(call.args) > place else None)
            # An archive's or a library's open gets a name or a file there, and no mode.
            text = mode is None or (isinstance(mode, ast.Constant) and "b" not in str(mode.value))
        else:
            text = (word == "read_text" and not call.args) or (word == "write_text")
        library = ast.unparse(call.func) in ("Image.open", "os.open", "webbrowser.open")
        if text and not library and "encoding" not in named:
            found.append(ast.unparse(call))
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", True),
        ("path.write_text(x)", True),
        ("path.open('w')", True),
        ("open(path)", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.open('wb')", False),
        ("open(path, 'rb')", False),
        ("archive.open(info)", False),
    ],
)
def test_text_without_an_encoding_is_found(source, found):
    assert bool(without_encoding(ast.parse(source))) == found


@pytest.mark.parametrize("path", SHARED + NOTEBOOKS, ids=name_of)
def test_text_is_utf_8_and_modules_are_on_every_system(path):
    tree = program(path)
    assert not without_encoding(tree)
    inside = {name for node in tree.body for name in imported(node)}  # at import, not in a function
    assert not inside & POSIX_ONLY


@pytest.mark.parametrize("path", SHARED + NOTEBOOKS, ids=name_of)
def test_no_path_of_one_system_is_written_down(path):
    """The folders of hosted services, which are Linux machines, do not begin like these."""
    for node in ast.walk(program(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.match(r"(/(tmp|home|usr|var|etc|opt|root|mnt)/|[A-Z]:\\)", node.value)


def test_file_names_are_fit_for_every_system():
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    assert len({name.lower() for name in names}) == len(names)  # Windows and macOS see no case
    assert not [name for name in names if re.search(r'[<>:"|?*\\]|[ .](/|$)', name)]
    reserved = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
    assert not [name for name in names if any(reserved.match(part) for part in name.split("/"))]
    assert max(map(len, names)) < 120  # beside a long path in front of it


def test_line_ends_are_linuxs_and_stay_so():
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    assert "* text=auto eol=lf" in attributes
    pinned = {line.split()[0].removeprefix("*") for line in attributes if line.endswith(" binary")}
    for path in tracked():
        content = path.read_bytes()
        if b"\0" in content[:8000]:
            assert path.suffix in pinned, f"{path.name}: say in .gitattributes that it is binary"
        elif path.suffix not in pinned:
            assert b"\r\n" not in content, path.name


def test_readme_gives_a_way_without_make_for_what_a_learner_does():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.partition("### Without make")[2].partition("\n## ")[0]
    assert "py -m venv" in block and ".venv\\Scripts\\python" in block
    for command, program_run in (
        ("make course", "tools/run_notebooks.py"),
        ("make lab", "-m jupyter lab notebooks/00_start_here.ipynb"),
        ("make test", "-m pytest"),
    ):
        line = next(line for line in block.splitlines() if f"# {command}" in line)
        assert program_run in line


# --- Codespaces and Binder -----------------------------------------------------------------------


def test_codespaces_prepares_the_course_with_a_command_that_is_there():
    file = ROOT / ".devcontainer" / "devcontainer.json"
    container = json.loads(file.read_text(encoding="utf-8"))
    command, target = container["postCreateCommand"].split()
    assert command == "make"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for opened in container["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / opened).is_file()
    assert container["image"].startswith("python:3.")


def test_binders_torch_is_for_cpus_and_its_floors_are_the_courses():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    floors = {r.name: str(r.specifier) for r in map(Requirement, project["dependencies"])}
    text = (ROOT / "binder" / "environment.yml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)["dependencies"]
    assert f"pytorch-cpu{floors['torch']}" in listed
    assert f"torchvision{floors['torchvision']}" in listed
    python = next(
        Requirement(item.replace("=", "==")) for item in listed if item.startswith("python")
    )
    assert project["requires-python"] == ">=3.11" and str(python.specifier) == "==3.11"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no mark that a file may be run")
def test_binders_last_step_can_be_run_and_installs_what_lab_needs():
    script = ROOT / "binder" / "postBuild"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert '".[lab]"' in script.read_text(encoding="utf-8")


def test_readme_says_what_was_not_tried():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("### On a hosted service")[2].partition("\n## ")[0]
    for service in ("Colab", "Kaggle", "Gradient", "Codespaces", "Binder"):
        (row,) = re.findall(rf"^\| {service} \|.*$", table, re.MULTILINE)
        assert "not yet" in row
