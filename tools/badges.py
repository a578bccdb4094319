"""The badges that open a notebook on a hosted service, and the course's public address.

    python tools/badges.py --repository https://github.com/OWNER/NAME   # set the address everywhere
    python tools/badges.py                                              # write it out again
    python tools/badges.py --unset                                      # no public address
    python tools/badges.py --check                                      # only say which differ

The address stands in one place, pyproject.toml, [project.urls] Repository. From there it goes into
the badges of README.md and of every numbered notebook, and into the setup cells. While there is no
address, a line says so in the place of the badges: a badge never leads nowhere.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import setup_cell  # noqa: E402

BRANCH = "main"
FIRST = "notebooks/00_start_here.ipynb"
ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9-]+)/([A-Za-z0-9._-]+?)(?:\.git)?/?")
UNSET = "*No badges for Colab, Kaggle and Gradient yet: the course has no public address.*"
UNSET_README = (
    "The badges for Colab, Kaggle, Gradient, Codespaces and Binder appear here once the course\n"
    "has a public address (`make badges REPOSITORY=https://github.com/OWNER/NAME` writes them)."
)
BLOCK = re.compile(r"(<!-- badges -->\n).*?(\n<!-- end of badges -->)", re.DOTALL)


def normalise(address: str) -> str:
    """https://github.com/OWNER/NAME without an ending; SystemExit for anything else."""
    match = ADDRESS.fullmatch(address.strip())
    if match is None:
        raise SystemExit(
            f"error: {address!r}: expected https://github.com/OWNER/NAME, which is what the "
            "services open notebooks from"
        )
    return f"https://github.com/{match[1]}/{match[2]}"


def badge(text: str, picture: str, target: str) -> str:
    return f"[![{text}]({picture})]({target})"


def notebook_badges(path: str, address: str) -> str:
    """Badges of one notebook; path: from the course's folder, with / between the parts."""
    if not address:
        return UNSET
    place = address.removeprefix("https://github.com/")
    file = f"{place}/blob/{BRANCH}/{path}"
    return " ".join(
        (
            badge(
                "Open in Colab",
                "https://colab.research.google.com/assets/colab-badge.svg",
                f"https://colab.research.google.com/github/{file}",
            ),
            badge(
                "Open in Kaggle",
                "https://kaggle.com/static/images/open-in-kaggle.svg",
                f"https://kaggle.com/kernels/welcome?src=https://github.com/{file}",
            ),
            badge(
                "Run on Gradient",
                "https://assets.paperspace.io/img/gradient-badge.svg",
                f"https://console.paperspace.com/github/{file}",
            ),
        )
    )


def readme_badges(address: str) -> str:
    """Badges of README.md: notebook 00 on the services, and the whole course on two more."""
    if not address:
        return UNSET_README
    place = address.removeprefix("https://github.com/")
    codespaces = badge(
        "Open in GitHub Codespaces",
        "https://github.com/codespaces/badge.svg",
        f"https://codespaces.new/{place}",
    )
    binder = badge(
        "Open in Binder",
        "https://mybinder.org/badge_logo.svg",
        f"https://mybinder.org/v2/gh/{place}/{BRANCH}?labpath={FIRST.replace('/', '%2F')}",
    )
    return f"{notebook_badges(FIRST, address)}\n{codespaces} {binder}"


def with_badges(first_cell: str, path: str, address: str) -> str:
    """The text of a notebook's first cell with its badges, after the sentence below the title."""
    parts = first_cell.split("\n\n")
    parts = [part for part in parts if part != UNSET and not part.startswith("[![")]
    return "\n\n".join([*parts[:2], notebook_badges(path, address), *parts[2:]])


def write_address(address: str) -> None:
    """Set or, for an empty address, take out Repository in pyproject.toml's [project.urls]."""
    path = ROOT / "pyproject.toml"
    text = re.sub(r"^Repository = .*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if address:
        text = re.sub(
            r"(^\[project\.urls\]\n(?:#.*\n)*)", rf'\1Repository = "{address}"\n', text, flags=re.M
        )
    path.write_text(text, encoding="utf-8", newline="\n")


def write_badges(check: bool = False) -> list[str]:
    """Write badges and setup cells wherever they differ; returns what differed, as paths."""
    address, differing = setup_cell.read_address(), []
    for path in setup_cell.all_notebooks():
        name = path.relative_to(ROOT).as_posix()
        differs = setup_cell.write_setup_cell(path, check)
        if path.parent.name == "notebooks":
            notebook = nbformat.read(path, as_version=4)
            text = with_badges(notebook.cells[0].source, name, address)
            if text != notebook.cells[0].source:
                differs, notebook.cells[0].source = True, text
                if not check:
                    nbformat.write(notebook, path)
        differing += [name] if differs else []
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = BLOCK.sub(lambda block: block[1] + readme_badges(address) + block[2], text, count=1)
    if new != text:
        differing.append(readme.name)
        if not check:
            readme.write_text(new, encoding="utf-8", newline="\n")
    return differing


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write badges and setup cells.")
    parser.add_argument("--repository", help="the public address: https://github.com/OWNER/NAME")
    parser.add_argument("--unset", action="store_true", help="take the address out again")
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    options = parser.parse_args(arguments)
    if options.check and (options.unset or options.repository):
        parser.error("--check changes nothing: use it alone")
    if options.unset or options.repository:
        write_address("" if options.unset else normalise(options.repository))
    differing = write_badges(options.check)
    for name in differing:
        print(f"{name}: {'differs' if options.check else 'written'}")
    print(f"address: {setup_cell.read_address() or 'none'}")
    return int(options.check and bool(differing))


if __name__ == "__main__":
    raise SystemExit(main())
