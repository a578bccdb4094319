"""A hosted notebook service (Colab, Kaggle, Gradient) made ready for the course.

The setup cell of every notebook calls :func:`settle`. On one's own machine that does nothing unless
a folder for runs is named. Only the standard library is imported up here: on a service, other
packages may still be missing when this runs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .environment import CourseError, course_root, runs_dir, where
from .health import check_packages, read_needs

# The service's own builds: torch fits its GPU, and numpy is loaded before the first cell runs.
SERVICE_OWN = ("torch", "torchvision", "numpy")
# Gradient keeps a folder of this name for itself.
RESERVED = Path("/notebooks/checkpoints")
DRIVE = Path("/content/drive")
LIFETIME = {
    "colab": ' Colab forgets them when the session ends; KEEP = "drive" above keeps them.',
    "kaggle": " Kaggle keeps them if you save a version of the notebook.",
}


def settle(keep: str = "") -> None:
    """Install what is missing, see to it that runs are kept, and go on in the course's folder.

    keep: where runs outlive the session: "drive" (Google Drive, on Colab) or a folder such as
    Gradient's "/storage"; empty: the course's own folder. On one's own machine only `keep` counts,
    and nothing is printed. Raises CourseError when packages cannot be installed or runs not kept.
    """
    if keep:
        os.environ["UNET_COURSE_RUNS"] = str(folder_for_runs(keep))
    if where() == "local":
        return
    install_missing()
    os.chdir(course_root())
    note = "" if keep else LIFETIME.get(where(), "")
    print(f"The course is in {course_root()}; runs go to {runs_dir()}.{note}")


def missing_packages(version_of: Callable[[str], str] = importlib.metadata.version) -> list[str]:
    """Requirements of the course, such as "kaggle>=2.0.2", that are absent here or too old."""
    from packaging.requirements import Requirement

    needed = read_needs().packages
    failed = {check.name for check in check_packages(needed, version_of)[1:]}
    return [text for text in needed if Requirement(text).name in failed]


def install_missing(
    version_of: Callable[[str], str] = importlib.metadata.version,
    pip: Callable[[list[str]], None] | None = None,
) -> list[str]:
    """Install what is absent or too old, and nothing else; returns the requirements installed.

    The service's torch is never replaced, however old: it fits the GPU and driver of the service.
    Raises CourseError when pip fails.
    """
    pip = pip or run_pip
    if importlib.util.find_spec("packaging") is None:
        pip(["packaging"])
        importlib.invalidate_caches()
    own = {name: version for name in SERVICE_OWN if (version := _version(name, version_of))}
    missing = missing_packages(version_of)
    too_old = [text for text in missing if _name(text) in own]
    for text in too_old:
        print(f"The course asks for {text}; this service has {own[_name(text)]}, which stays. "
              "If a cell fails, choose a newer environment in the service's settings.")  # fmt: skip
    wanted = [text for text in missing if text not in too_old]
    if not wanted:
        return []
    print(f"Installing what is missing: {', '.join(wanted)}")
    older = [text for text in wanted if _version(_name(text), version_of)]
    pip([*wanted, *(f"{name}=={version}" for name, version in own.items())])
    importlib.invalidate_caches()
    if older:
        print("Newer versions are installed now: restart the session, then run this cell again.")
    return wanted


def run_pip(packages: list[str]) -> None:
    """`pip install` for this interpreter; raises CourseError with pip's last line if it fails."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(
            "the course's packages",
            expected=f"pip to install {' '.join(packages)}",
            found=(done.stderr.strip().splitlines() or ["no message from pip"])[-1],
            mend="switch the internet on (on Kaggle: Settings, Internet), then run the cell again",
        )


def folder_for_runs(keep: str) -> Path:
    """Folder for runs below the place `keep`, made if need be: <place>/unet-from-scratch/runs.

    Raises CourseError for a place that is not there, is reserved or cannot be written to.
    """
    place = mount_drive() if keep == "drive" else Path(keep).expanduser().resolve()
    reserved = place == RESERVED or RESERVED in place.parents
    if reserved or not place.is_dir():
        raise CourseError(
            f'KEEP = "{keep}"',
            expected='"drive" on Colab, "/storage" on Gradient, or any folder that is there',
            found="a folder that Gradient keeps for itself" if reserved else "no such folder",
            mend="name another folder, or leave KEEP empty",
        )
    runs = place / "unet-from-scratch" / "runs"
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(
            f'KEEP = "{keep}"',
            expected="a folder that may be written to",
            found=error.strerror or str(error),
            mend="name another folder, or leave KEEP empty",
        ) from error
    return runs


def mount_drive() -> Path:
    """The learner's Google Drive as a folder; asks for leave once a session. Colab only."""
    mine = DRIVE / "MyDrive"
    if mine.is_dir():
        return mine
    found = "the service " + where()
    try:
        from google.colab import drive

        drive.mount(str(DRIVE))
    except ImportError:
        pass
    except Exception as error:  # refused in the dialogue, timed out, no Drive in this account
        found = str(error) or type(error).__name__
    if not mine.is_dir():
        raise CourseError(
            'KEEP = "drive"',
            expected="a Google Drive, which only Colab can connect",
            found=found,
            mend="allow the access that Colab asks for, or leave KEEP empty",
        )
    return mine


def _version(name: str, version_of: Callable[[str], str]) -> str | None:
    try:
        return version_of(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _name(requirement: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(requirement).name
