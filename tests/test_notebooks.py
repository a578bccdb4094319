"""The notebooks as a learner meets them: they run without a network, keep the course's frame,
hold small clean outputs, and build exactly what unet_helpers exports.

The frame is described in DESIGN.md ("The frame of a notebook"); the cell tags in use are setup,
key-figure, exercise and check.
"""

from __future__ import annotations

import ast
import json
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import run_notebooks  # noqa: E402
import setup_cell  # noqa: E402

NO_NETWORK = Path(__file__).parent / "no_network"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))
EVERYTHING = NOTEBOOKS + SOLUTIONS
LIMIT = 1_000_000  # bytes a notebook
# What a notebook must build in plain sight, at the least; DESIGN.md's table of the road.
BUILDS = {
    "01": {"parse_stem"},
    "02": {"draw"},
    "04": {"DoubleConv", "UNET"},
    "06": {"train_fn"},
}


def name_of(path: Path) -> str:
    return f"solutions/{path.stem}" if path.parent.name == "solutions" else path.stem


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=name_of)
each = pytest.mark.parametrize("path", EVERYTHING, ids=name_of)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook, tag: str | None = None) -> list:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if tag is None or tag in cell.metadata.get("tags", [])]


def prose(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def printed(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def outputs(notebook) -> list:
    return [output for cell in code(notebook) for output in cell.outputs]


# --- they run ------------------------------------------------------------------------------------


def cut_off_environment(home: Path) -> dict[str, str]:
    environment = run_notebooks.course_environment("studio", quick=True)
    there = os.environ.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(NO_NETWORK)] + ([there] if there else []))
    environment["UNET_COURSE_HOME"] = str(home)
    return environment


def check_verdicts(notebook, verdict: str) -> None:
    for number, cell in enumerate(code(notebook, "check"), start=1):
        assert printed(cell).startswith(f"Exercise {number}: {verdict}"), printed(cell)


def check_alt_texts(notebook) -> None:
    for output in outputs(notebook):
        for kind in getattr(output, "data", {}):
            if kind.startswith("image/"):
                alt = output.metadata.get(kind, {}).get("alt", "")
                assert len(alt.split()) >= 3, f"a picture without an alt text: {alt!r}"


def test_the_network_is_really_cut_off(tmp_path):
    """In a kernel under the tests' environment: no address, no name; this machine is there."""
    cell = nbformat.v4.new_code_cell(
        "import socket, urllib.request\n"
        "for attempt in (lambda: socket.create_connection(('192.0.2.1', 80), 1),\n"
        "                lambda: socket.socket().connect_ex(('192.0.2.1', 80)),\n"
        "                lambda: socket.getaddrinfo('example.com', 80),\n"
        "                lambda: urllib.request.urlopen('http://example.com', timeout=1)):\n"
        "    try:\n        attempt()\n    except OSError as error:\n        print(error)\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()\nprint('here')"
    )
    path = tmp_path / "00_cut.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    lines = printed(
        run_notebooks.execute(path, cut_off_environment(tmp_path)).cells[0]
    ).splitlines()
    assert len(lines) == 5 and lines[-1] == "here"
    assert all("the network is cut off in this test" in line for line in lines[:-1])


@pytest.mark.skipif(sys.platform == "win32", reason="kernels listen on ports there")
def test_a_kernel_listens_on_no_port_that_another_could_take(tmp_path):
    asked = "from ipykernel.connect import get_connection_info; print(get_connection_info())"
    path = tmp_path / "00_asked.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(asked)]), path)
    notebook = run_notebooks.execute(path, cut_off_environment(tmp_path))
    line = json.loads(printed(notebook.cells[0]))
    assert line["transport"] == "ipc"
    folder = Path(line["ip"]).parent
    assert folder != tmp_path and not folder.exists()  # gone with the kernel


@pytest.mark.slow
@each
def test_runs_alone_on_a_fresh_machine_without_a_network(path, tmp_path):
    notebook = run_notebooks.execute(path, cut_off_environment(tmp_path), timeout=300)
    check_alt_texts(notebook)
    if path in NOTEBOOKS:
        assert run_notebooks.key_figure(notebook)
        check_verdicts(notebook, "not tried yet")
    else:
        check_verdicts(notebook, "right")


# --- the frame -----------------------------------------------------------------------------------


@each_notebook
def test_first_cell_says_what_for_and_how_long(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    lines = [line for line in first.source.splitlines() if line.strip()]
    assert re.match(rf"# {path.name[:2]} · \S", lines[0])
    assert not lines[1].startswith(("**", "#"))  # the sentence that says what will be made
    assert any(line.startswith("**Objectives:** ") for line in lines)
    time = next(line for line in lines if line.startswith("**Time:** "))
    assert "CPU cores" in time and "T4" in time and "**Before this:** " in time


@each
def test_setup_cell_comes_first_and_is_the_same_everywhere(path):
    cells = code(read(path))
    assert cells[0].metadata.get("tags") == ["setup"]
    assert cells[0].source == setup_cell.setup_cell()
    assert not any("setup" in cell.metadata.get("tags", []) for cell in cells[1:])


@each_notebook
def test_sections_are_numbered_without_gaps(path):
    numbers = [int(n) for n in re.findall(r"^## (\d+)\. \S", prose(read(path)), re.MULTILINE)]
    assert len(numbers) >= 2 and numbers == list(range(1, len(numbers) + 1))


@each_notebook
def test_closes_with_what_you_can_do_now(path):
    text = prose(read(path)).partition("## What you can do now\n")[2].partition("\n## ")[0]
    assert 3 <= len(re.findall(r"^- \S", text, re.MULTILINE)) <= 5


@each_notebook
def test_exercises_have_a_place_to_write_and_a_check_and_a_solution(path):
    notebook = read(path)
    exercises = re.findall(r"^### Exercise (\d+): \S", prose(notebook), re.MULTILINE)
    assert 2 <= len(exercises) <= 4
    assert [int(number) for number in exercises] == list(range(1, len(exercises) + 1))
    assert len(code(notebook, "exercise")) == len(code(notebook, "check")) == len(exercises)
    solution = path.parent / "solutions" / path.name
    assert solution.is_file()
    assert f"(solutions/{path.name})" in prose(notebook)
    solved = read(solution)
    assert [cell.source for cell in code(solved, "check")] == [
        cell.source for cell in code(notebook, "check")
    ]
    assert f"(../{path.name})" in prose(solved)
    assert len(code(solved, "exercise")) == len(exercises)


@pytest.mark.parametrize(
    ("path", "before", "after"),
    list(zip(NOTEBOOKS, [None, *NOTEBOOKS[:-1]], [*NOTEBOOKS[1:], None], strict=True)),
    ids=[path.stem for path in NOTEBOOKS],
)
def test_previous_and_next(path, before, after):
    last = read(path).cells[-1]
    assert last.cell_type == "markdown"
    for word, neighbour in (("Previous", before), ("Next", after)):
        expected = f"{word}: [{neighbour.stem}]({neighbour.name})" if neighbour else None
        assert (expected in last.source) if expected else (word not in last.source)


@each
def test_links_lead_to_files_that_are_there(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(path))):
        if not target.startswith(("http://", "https://", "#", "attachment:")):
            assert (path.parent / target.partition("#")[0]).exists(), target


@each
def test_cells_are_short(path):
    lengths = [len(cell.source.splitlines()) for cell in code(read(path))]
    assert max(lengths) <= 25
    if path in NOTEBOOKS:  # a solution is hardly more than setup and checks
        assert statistics.median(lengths) <= 8


# --- what is stored ------------------------------------------------------------------------------


@each
def test_stored_outputs_are_whole(path):
    notebook = read(path)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run tools/run_notebooks.py --in-place"
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert not [o.text for o in outputs(notebook) if o.get("name") == "stderr"]
    check_alt_texts(notebook)
    check_verdicts(notebook, "not tried yet" if path in NOTEBOOKS else "right")


@each
def test_stored_outputs_are_small_and_hold_no_widgets(path):
    assert path.stat().st_size <= LIMIT
    notebook = read(path)
    assert "widgets" not in notebook.metadata
    kinds = {kind for output in outputs(notebook) for kind in getattr(output, "data", {})}
    assert not [kind for kind in kinds if "widget" in kind]


@each
def test_stored_outputs_name_no_machine(path):
    notebook = read(path)
    texts = [output.get("text", "") for output in outputs(notebook)]
    texts += [
        value
        for output in outputs(notebook)
        for kind, value in getattr(output, "data", {}).items()
        if kind.startswith("text/")
    ]
    folders = [ROOT, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())]
    absolute = re.compile(r"(?<![\w.~:/])/(home|Users|root|work|tmp|usr|opt|private|var|mnt)/\w")
    for text in map(str, texts):
        assert not [folder for folder in folders if str(folder) in text and len(str(folder)) > 5]
        assert not absolute.search(text), text
        assert not re.search(r"\bpid \d", text), "another number in every run"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)


@each_notebook
def test_one_cell_prints_the_key_figure_in_one_line(path):
    cells = code(read(path), "key-figure")
    assert len(cells) == 1
    lines = printed(cells[0]).strip().splitlines()
    assert len(lines) == 1 and re.search(r"\d", lines[0])


# --- what notebooks build is what unet_helpers exports -------------------------------------------


def plain(node: ast.AST) -> str:
    """A definition without docstrings and annotations, which may be shorter in a notebook."""
    node = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part) is not None:
            part.body = part.body[1:] or [ast.Pass()]
        if isinstance(part, ast.FunctionDef):
            part.returns = None
        if isinstance(part, ast.arg):
            part.annotation = None
    return ast.dump(node)


def definitions(source: str) -> dict[str, ast.AST]:
    body = ast.parse(source).body
    return {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def exported() -> dict[str, list[tuple[str, str]]]:
    """Public name -> module and plain form of each definition under unet_helpers."""
    found: dict[str, list[tuple[str, str]]] = {}
    for module in sorted((ROOT / "unet_helpers").glob("*.py")):
        for name, node in definitions(module.read_text(encoding="utf-8")).items():
            if not name.startswith("_"):
                found.setdefault(name, []).append((module.stem, plain(node)))
    return found


@each
def test_what_a_notebook_defines_is_what_the_module_exports(path):
    known = exported()
    built = set()
    for cell in code(read(path)):
        for name, node in definitions(cell.source).items():
            if name in known:
                modules = [module for module, _ in known[name]]
                same = plain(node) in [form for _, form in known[name]]
                assert same, f"{name} differs from unet_helpers.{' / '.join(modules)}"
                built.add(name)
    if path in NOTEBOOKS:
        assert built >= BUILDS.get(path.name[:2], set())


def test_plain_form_forgives_docstrings_and_annotations_and_nothing_else():
    def form(text: str) -> str:
        return plain(ast.parse(text).body[0])

    module = 'def f(x: int) -> int:\n    """Long.\n\n    More.\n    """\n    return x + 1'
    assert form("def f(x):\n    return x + 1  # the next") == form(module)
    assert form("def f(x):\n    return x + 2") != form(module)
    assert form("def f(x, y=0):\n    return x + 1") != form(module)
    assert form('class A:\n    "B."') == form("class A:\n    pass")


# --- the tool that runs them ---------------------------------------------------------------------


@pytest.fixture
def toy_course(tmp_path, monkeypatch):
    """A folder with two notebooks: one that works, one whose third cell fails."""
    new = nbformat.v4
    good = [
        new.new_code_cell("print(42)", metadata={"tags": ["key-figure"]}),
        new.new_code_cell(
            "import sys, time\nfrom pathlib import Path\nfrom tqdm import tqdm\n"
            "for _ in tqdm(range(3)): pass\n"
            "sys.stderr.write('\\r 50%|##   | 1/2 [00:01<00:01,  1.00it/s]\\n')\n"
            "for number in range(2):\n"
            "    with tqdm(total=1, leave=False, ncols=40, file=sys.stdout) as bar: bar.update()\n"
            "    print('epoch', number, flush=True)\n"
            "print(Path.home() / 'x')"
        ),
    ]
    bad = [
        new.new_markdown_cell("## 1. Why?"),
        new.new_code_cell("x = 1"),
        new.new_code_cell("print('so far')\nx / 0"),
        new.new_code_cell("print('never')"),
    ]
    for name, cells in (("00_good", good), ("01_bad", bad)):
        nbformat.write(new.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(run_notebooks, "NOTEBOOKS", tmp_path)
    return tmp_path


def test_tool_prints_a_table_and_names_the_cell_that_failed(toy_course, tmp_path, capsys):
    assert run_notebooks.main(["--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert re.search(r"^00_good +[\d.]+ +42$", said.out, re.MULTILINE)
    assert "01_bad.ipynb, cell 3 ('1. Why?'" in said.err
    assert "ZeroDivisionError: division by zero" in said.err and "Traceback" not in said.err
    partial = read(tmp_path / "out" / "01_bad.ipynb")
    assert printed(partial.cells[2]) == "so far\n" and partial.cells[3].execution_count is None
    good = read(tmp_path / "out" / "00_good.ipynb")
    # No bar, not even the spaces that wiped it; no home folder.
    assert printed(good.cells[1]).split("\n") == ["epoch 0", "epoch 1", "~/x", ""]
    assert [o.output_type for o in good.cells[1].outputs] == ["stream"]
    assert read(toy_course / "00_good.ipynb").cells[0].outputs == []  # the original is untouched


def test_tool_keeps_what_a_widget_draws_first_and_not_the_widget(toy_course, tmp_path):
    """Messages sent to the kernel between two cells once made it wait for ever."""
    cells = [
        nbformat.v4.new_code_cell(
            "from ipywidgets import interact\n"
            "@interact(x=(1, 9))\ndef double(x=4):\n    print('twice', x, 'is', 2 * x)"
        ),
        nbformat.v4.new_code_cell("print('on')"),
    ]
    path = toy_course / "02_widget.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    environment = run_notebooks.course_environment("studio")
    notebook = run_notebooks.clean(run_notebooks.execute(path, environment, timeout=100))
    assert printed(notebook.cells[0]) == "twice 4 is 8\n"
    assert [output.output_type for output in notebook.cells[0].outputs] == ["stream"]
    assert "widgets" not in notebook.metadata and printed(notebook.cells[1]) == "on\n"


def test_tool_never_stores_outputs_of_other_photos(toy_course):
    for extra in (["--data", str(toy_course)], ["--data", "kaggle"], ["--quick"]):
        with pytest.raises(SystemExit) as stopped:
            run_notebooks.main(["--in-place", "0", *extra])
        assert stopped.value.code == 2


@pytest.mark.parametrize("arguments", [["7"], ["--data", "no/such/folder"]])
def test_tool_refuses_what_is_not_there(toy_course, arguments):
    with pytest.raises(SystemExit, match=r"no notebook 7|no/such/folder"):
        run_notebooks.main(arguments)


# --- imports go one way --------------------------------------------------------------------------

# fmt: off
ORDER = [
    "environment", "heap", "progress", "files", "config", "records", "distributed", "labels", "gif",
    "archives", "sources", "kaggle_client", "kaggle_download", "pairs", "decode", "placing",
    "split", "cache", "around_the_car", "augment", "dataset", "pets", "shares", "loaders",
    "model", "losses", "metrics", "class_report", "boundary", "checkpoint", "run_folder",
    "speed", "run_state", "evaluation", "training", "ablation", "cutout", "scenes", "toy_pets",
    "inference", "windows", "rle", "gzip_rows", "submission", "diagnose", "pictures",
    "class_pictures", "plotting", "predictions", "widgets", "checks", "health", "hosted",
    "cli_photos", "cli", "__main__",
]
# fmt: on
# health looks at sources and credentials, sources calls the download it is left of: both inside a
# function, so that nothing is imported before it is needed.
ALLOWED = {("sources", "kaggle_download")}


def imports_of(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.relative_to(ROOT).with_suffix("").parts[: -node.level]
                base = ".".join([*above, base]).rstrip(".")
            if base == "unet_helpers":
                found |= {alias.name for alias in node.names}
            elif base.startswith("unet_helpers."):
                found.add(base.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {
                a.name.split(".")[1] for a in node.names if a.name.startswith("unet_helpers.")
            }
    return found


def place_in_order(module: Path) -> str:
    """A package has one place for all its modules."""
    inside = module.parent != ROOT / "unet_helpers"
    return module.parent.name if inside else module.stem


@pytest.mark.parametrize(
    "module",
    sorted({*(ROOT / "unet_helpers").rglob("*.py")} - {ROOT / "unet_helpers" / "__init__.py"}),
    ids=lambda path: f"{place_in_order(path)}-{path.stem}",
)
def test_modules_import_only_leftwards(module):
    place = place_in_order(module)
    assert place in ORDER, f"give {place} its place in ORDER"
    left = set(ORDER[: ORDER.index(place)]) | ({place} if module.stem != place else set())
    right = {name for name in imports_of(module) if name not in left}
    assert not {name for name in right if (place, name) not in ALLOWED}
