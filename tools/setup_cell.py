"""The setup cell that every notebook starts with, and the command that writes it into all of them.

    python tools/setup_cell.py            # write it into every notebook (cells tagged "setup")
    python tools/setup_cell.py --check    # only say which notebooks differ; exit code 1 if any do

The course's public address is read from pyproject.toml, [project.urls] Repository; while it is not
set there, the cell says so to learners on a hosted service and tells them how to go on.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]

TEMPLATE = """\
# Setup: the same cell in every notebook. On your own machine it does nothing visible.
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "@REPOSITORY@"  # the course's public address
here, marks = Path.cwd(), ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", "PAPERSPACE_")
hosted = any(name.startswith(marks) for name in os.environ)
places = [here, *here.parents, here / "unet-from-scratch"]
root = next((place for place in places if (place / "unet_helpers").is_dir()), None)
if root is None and hosted and REPOSITORY:
    root = here / "unet-from-scratch"
    subprocess.run(["git", "clone", "--depth", "1", REPOSITORY, root], check=True)
if root is None:
    message = f"unet_helpers/ is neither in {here} nor above it: open this notebook from the "
    message += "folder notebooks/ of the course, with the rest of the course around it."
    if hosted:
        message = f"The course has no public address yet. Upload it to {places[-1]}, and run again."
    raise SystemExit(message)
if hosted:  # add what is missing; the service's own torch stays: it fits the service's GPU
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "torchvision")]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", root, *pins], check=True)
sys.path.insert(0, str(root))"""


def setup_cell(repository: str | None = None) -> str:
    """Text of the setup cell; repository: its address, by default the one in pyproject.toml."""
    if repository is None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        repository = project.get("urls", {}).get("Repository", "")
    return TEMPLATE.replace("@REPOSITORY@", repository)


def all_notebooks() -> list[Path]:
    """Every notebook of the course, the solutions included, in order."""
    folder = ROOT / "notebooks"
    return sorted(folder.glob("[0-9]*.ipynb")) + sorted(folder.glob("solutions/[0-9]*.ipynb"))


def write_setup_cell(path: Path, check: bool = False) -> bool:
    """Put the setup cell into a notebook; returns whether it differed. check: change nothing."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise SystemExit(f"{path.name}: expected one cell tagged 'setup', found {len(cells)}")
    differs = cells[0].source != setup_cell()
    if differs and not check:
        cells[0].source = setup_cell()
        nbformat.write(notebook, path)
    return differs


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the setup cell into every notebook.")
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    options = parser.parse_args()
    differing = [path for path in all_notebooks() if write_setup_cell(path, options.check)]
    for path in differing:
        print(f"{path.relative_to(ROOT)}: {'differs' if options.check else 'written'}")
    return int(options.check and bool(differing))


if __name__ == "__main__":
    raise SystemExit(main())
