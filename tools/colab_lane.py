"""The course with Colab's package versions, in an environment of its own, .venv-colab.

    python tools/colab_lane.py                  # make it, run unit tests and notebooks
    python tools/colab_lane.py --resolve        # only see whether the versions go together
    python tools/colab_lane.py -- -k hosted     # what follows goes to pytest

Python 3.13, which Colab runs, where it is at hand, else 3.12. The tests run every notebook, with
its solutions, on the quick profile and without a network. Before them, the environment is asked
what the setup cell would install on Colab: nothing. The browser's tests stay in the main
environment, since Colab has a page of its own in the place of JupyterLab's.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-colab"
VERSIONS = ROOT / "tools" / "colab_versions.txt"
PYTHONS = ("3.13", "3.12")
LIMIT = 50  # minutes; CI gives everything together 90
AT_A_TIME = ("-n", "auto", "--dist", "loadgroup")  # as `make test`
RUNNERS = ("ipykernel>=6.17", "nbclient>=0.10", "nbformat>=5.9")  # Colab's page does their work


def version_of(python: str | Path) -> str:
    """ "3.13" for an interpreter that runs, "" for one that does not (pyenv's shims may not)."""
    program = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def candidates(wanted: str) -> list[Path]:
    """Interpreters that may be of this version: on the path, then pyenv's."""
    on_path = shutil.which(f"python{wanted}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    theirs = sorted(pyenv.glob(f"{wanted}*/bin/python"), reverse=True)
    return [*([Path(on_path)] if on_path else []), *theirs, Path(sys.executable)]


def find_python() -> Path:
    """The first interpreter of a version in PYTHONS that runs; SystemExit where there is none."""
    for wanted in PYTHONS:
        for python in candidates(wanted):
            if version_of(python) == wanted:
                return python
    raise SystemExit(
        f"error: expected Python {' or '.join(PYTHONS)} for Colab's versions; found neither on the "
        "path nor with pyenv. Install one, for example: uv python install 3.13"
    )


def uv(*arguments: object, timeout: float | None = None) -> None:
    """uv from this environment; SystemExit if it fails."""
    found = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    if found is None:
        raise SystemExit("error: uv is missing: python -m pip install uv")
    run([found, *arguments], timeout)


def run(command: list, timeout: float | None = None, **variables: str) -> None:
    """Run a command in the course's folder; SystemExit if it fails or takes too long."""
    words = [str(word) for word in command]
    shown = " ".join(words).replace(f"{ROOT}{os.sep}", "")
    print(f"$ {shown}", flush=True)
    environment = {**os.environ, **variables}
    environment.pop("VIRTUAL_ENV", None)
    try:
        done = subprocess.run(words, cwd=ROOT, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"error: {shown}: not finished after {timeout / 60:.0f} minutes") from None
    if done.returncode:
        raise SystemExit(f"error: {shown}: exit code {done.returncode}")


def needs() -> list[object]:
    """What goes into the environment: Colab's versions, the course's own needs, the test tools."""
    return ["-r", VERSIONS, "-r", ROOT / "pyproject.toml", "--extra", "test", *RUNNERS]


def resolve(python: Path) -> None:
    """See whether the versions go together for this interpreter; installs nothing."""
    uv("pip", "install", "--quiet", "--dry-run", "--python", python, *needs())
    print(f"Colab's versions go together on Python {version_of(python)}.")


def stamp(python: Path) -> str:
    """Changes when interpreter, versions or needs change."""
    text = version_of(python) + VERSIONS.read_text(encoding="utf-8") + repr(RUNNERS)
    text += (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def build(python: Path, timeout: float) -> Path:
    """Make .venv-colab unless it is there and fits; returns its interpreter."""
    inside = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready, wanted = VENV / ".ready", stamp(python)
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return inside
    uv("venv", "--quiet", "--clear", "--python", python, VENV)
    # Compiled at once, as in the Makefile.
    install = ("pip", "install", "--quiet", "--compile-bytecode", "--python", inside)
    uv(*install, *needs(), timeout=timeout)
    uv("pip", "install", "--quiet", "--python", inside, "--no-deps", "-e", ROOT)
    ready.write_text(wanted, encoding="utf-8")
    return inside


ASK = """
from unet_helpers.hosted import install_missing
import sys, torch, numpy, IPython, ipywidgets
print("Python", sys.version.split()[0], "torch", torch.__version__, "numpy", numpy.__version__,
      "IPython", IPython.__version__, "ipywidgets", ipywidgets.__version__)
def pip(wanted):
    raise SystemExit(f"the setup cell would install {wanted} on Colab")
install_missing(pip=pip)
print("The setup cell would install nothing on Colab.")
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The course with Colab's package versions.")
    parser.add_argument("--resolve", action="store_true", help="resolve only, install nothing")
    parser.add_argument("--limit", type=float, default=LIMIT, help="minutes for everything")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args(arguments)
    python = find_python()
    if options.resolve:
        resolve(python)
        return 0
    end = time.monotonic() + 60 * options.limit
    inside = build(python, end - time.monotonic())
    run([inside, "-c", ASK], end - time.monotonic())
    chosen = options.pytest or ["--ignore=tests/browser", *AT_A_TIME]
    # The lane stands for Colab's packages, not for its machine: its folders and its Drive are not
    # here, so the environment's mark of Colab is not set either.
    run([inside, "-m", "pytest", "-q", *chosen], end - time.monotonic())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
