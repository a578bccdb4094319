"""The setup cell that every notebook starts with, and the command that writes it into all of them.

    python tools/setup_cell.py            # write it into every notebook (cells tagged "setup")
    python tools/setup_cell.py --check    # only say which notebooks differ; exit code 1 if any do

The course's public address is read from pyproject.toml, [project.urls] Repository (tools/badges.py
sets it). While there is none, the cell tells learners on a hosted service to upload the course.

The cell only finds or fetches the course; what can wait until it is found is in
unet_helpers/hosted.py. A copy that the cell has fetched is brought up to date each time, because
the notebook that runs it comes straight from the public address; a course in which the notebook
itself lies fits that notebook already, and is left alone.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]

TEMPLATE = """\
# Setup: the same cell in every notebook. On your own machine it does nothing visible.
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "@REPOSITORY@"  # the course's public address
KEEP = ""  # where runs outlive a hosted session: "drive" (Colab), "/storage" (Gradient), a folder
marks, here = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", "PAPERSPACE_"), Path.cwd()
hosted = any(name.startswith(marks) for name in os.environ)
homes = (here, "/content", "/kaggle/working", "/notebooks", "/storage")
copies = [Path(home, "unet-from-scratch") for home in homes]
root = next((p for p in (here, *here.parents, *copies) if (p / "unet_helpers").is_dir()), None)
if hosted and REPOSITORY and root in (None, *copies):  # fetch the course, or what is new in it
    pull, clone = ["-C", root, "pull", "--ff-only"], ["clone", "--depth=1", REPOSITORY, copies[0]]
    done = subprocess.run(["git", *(pull if root else clone)], capture_output=True, text=True)
    root = root or (None if done.returncode else copies[0])
    print(done.stderr if done.returncode else "", end="")
if root is None:
    why = f"The course is not in {here} nor above it: open this notebook from its folder notebooks/"
    raise SystemExit(why + (f", or upload the course to {copies[0]}." if hosted else "."))
sys.path.insert(0, str(root))
from unet_helpers.hosted import settle

settle(KEEP)"""


def read_address() -> str:
    """The course's public address from pyproject.toml; empty while there is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def setup_cell(repository: str | None = None) -> str:
    """Text of the setup cell; repository: its address, by default the one in pyproject.toml."""
    return TEMPLATE.replace("@REPOSITORY@", read_address() if repository is None else repository)


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
