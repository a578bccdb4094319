"""`check`: is this machine ready for the course, and if not, what mends it.

Only the standard library is imported up here: the check has to answer when torch, or any other
package of the course, is missing or broken.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from . import environment
from .environment import GIB, CourseError

DISTRIBUTION = "unet-from-scratch"


@dataclass(frozen=True)
class Check:
    """One line of the check. `mend` says what to do when not ok; beside an OK it is a hint."""

    name: str
    ok: bool
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{'OK  ' if self.ok else 'FAIL'}  {self.name:<20} {self.found}"
        return f"{line}\n      {'note' if self.ok else 'mend'}: {self.mend}" if self.mend else line


@dataclass(frozen=True)
class Needs:
    """What the course requires of Python and of packages, as in pyproject.toml."""

    python: str
    packages: tuple[str, ...]


def read_needs(root: Path | None = None) -> Needs:
    """Floors from the checkout's pyproject.toml, else from the installed package's metadata."""
    file = (root or environment.course_root()) / "pyproject.toml"
    if file.is_file():
        text = file.read_text(encoding="utf-8")
        try:
            import tomllib
        except ModuleNotFoundError:  # a Python before 3.11: all it needs to hear is that it is old
            return Needs(re.search(r'requires-python\s*=\s*"(.+)"', text)[1], ())
        project = tomllib.loads(text)["project"]
        return Needs(project["requires-python"], tuple(project["dependencies"]))
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise CourseError(
            file,
            expected="the course's list of packages",
            found="neither this file nor an installed course",
            mend="run the check from a complete copy of the course",
        ) from error
    return Needs(metadata["Requires-Python"], tuple(metadata.get_all("Requires-Dist") or ()))


def run_checks(
    source: str = "studio",
    *,
    needs: Needs | None = None,
    python: str | None = None,
    version_of: Callable[[str], str] = importlib.metadata.version,
    requires_of: Callable[[str], Sequence[str] | None] = importlib.metadata.requires,
    import_module: Callable[[str], ModuleType] = importlib.import_module,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> list[Check]:
    """All checks in reading order; source: "studio", "kaggle" or a folder with an archive pair.

    The keyword arguments let tests put made-up machines in the place of this one.
    """
    if importlib.util.find_spec("packaging") is None:
        found = "none that the course needs (packaging is missing)"
        return [Check("packages", False, found, install("--requirement requirements.txt"))]
    needs = needs or read_needs()
    checks = [check_python(needs.python, python or sys.version.split()[0])]
    if not checks[0].ok:
        return checks
    checks += check_packages(needs.packages, version_of)
    checks += check_torch(version_of, requires_of, import_module)
    if all(check.ok for check in checks if check.name in ("torch", "torch + torchvision")):
        checks.append(check_device())
    checks.append(check_disk(source, free_bytes))
    checks.append(check_source(source))
    checks.append(check_credentials(source))
    return checks


def print_checks(checks: Sequence[Check]) -> bool:
    """Print the checks and a closing line; True when every one is OK."""
    for check in checks:
        print(check)
    failed = [check.name for check in checks if not check.ok]
    print(f"\nTo mend: {', '.join(failed)}." if failed else "\nEverything is ready.")
    return not failed


def install(*packages: str, again: bool = False) -> str:
    """Command that installs packages into this environment: with uv where it is at hand."""
    names = " ".join(f'"{name}"' if set(name) & set("<>=") else name for name in packages)
    if importlib.util.find_spec("uv") is not None:
        return f"python -m uv pip install {'--reinstall ' if again else ''}{names}"
    if shutil.which("uv"):
        return f"uv pip install {'--reinstall ' if again else ''}{names}"
    return f"python -m pip install {'--force-reinstall ' if again else ''}{names}"


def check_python(wanted: str, found: str) -> Check:
    """Python's version against requires-python."""
    from packaging.specifiers import SpecifierSet

    ok = SpecifierSet(wanted).contains(found, prereleases=True)
    mend = f"make a new environment with a Python {wanted}, for example: uv venv --python 3.11"
    return Check("Python", ok, f"{found} (needs {wanted})", "" if ok else mend)


def check_packages(needed: Sequence[str], version_of: Callable[[str], str]) -> list[Check]:
    """Installed versions against the floors: one line for all that fit, one for each that fails."""
    from packaging.requirements import Requirement
    from packaging.version import InvalidVersion, Version

    failed, fitting = [], 0
    for requirement in map(Requirement, needed):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, floor = requirement.name, requirement.specifier
        mend = install(f"{name}{floor}")
        try:
            version = Version(version_of(name))
        except importlib.metadata.PackageNotFoundError:
            failed.append(Check(name, False, f"not installed (needs {floor})", mend))
        except (InvalidVersion, TypeError):
            failed.append(Check(name, False, f"a damaged installation (needs {floor})", mend))
        else:
            if floor.contains(version, prereleases=True):
                fitting += 1
            else:
                failed.append(Check(name, False, f"{version} (needs {floor})", mend))
    summary = f"{fitting} of {fitting + len(failed)} are recent enough"
    return [Check("packages", not failed, summary), *failed]


def check_torch(
    version_of: Callable[[str], str],
    requires_of: Callable[[str], Sequence[str] | None],
    import_module: Callable[[str], ModuleType],
) -> list[Check]:
    """torch imports, and torchvision is from the same release and the same place."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    try:
        import_module("torch")
        torch, vision = version_of("torch"), version_of("torchvision")
        wishes = [Requirement(text) for text in requires_of("torchvision") or ()]
    except Exception as error:
        mend = install("torch", "torchvision", again=True)
        return [Check("torch", False, f"cannot be used: {_first_line(error)}", mend)]
    found = f"torch {torch} with torchvision {vision}"
    mend = (
        f"{install('torch', 'torchvision', again=True)}   (both in one command, so that they come "
        "from the same place and the same release)"
    )
    wanted = next((wish.specifier for wish in wishes if wish.name == "torch"), None)
    if wanted and not wanted.contains(Version(torch), prereleases=True):
        found += f", which was built for torch {wanted}"
        return [Check("torch + torchvision", False, found, mend)]
    try:
        import_module("torchvision")
    except Exception as error:
        said = _first_line(error)
        if "torchvision::nms" in said:
            # What a CPU-only torch beside the registry's torchvision, or the reverse, says.
            said += ": the two are builds of different kinds"
        return [Check("torch + torchvision", False, f"{found}: {said}", mend)]
    return [Check("torch + torchvision", True, found)]


def check_device() -> Check:
    """Device, precision and profile that the notebooks will use."""
    try:
        device = environment.pick_device()
        precision = environment.pick_precision(device)
        profile = environment.pick_profile(device)
    except Exception as error:
        return Check(
            "device", False, _first_line(error), "set CUDA_VISIBLE_DEVICES= to use the CPU"
        )
    found = (
        f"{device.type} ({environment.cpu_count()} CPU cores), {precision.name}, profile "
        f"{profile.name}: {profile.height}×{profile.width}"
    )
    unused = device.type == "cpu" and shutil.which("nvidia-smi")
    mend = "there is an NVIDIA driver, but torch finds no GPU: see nvidia-smi" if unused else ""
    return Check("device", True, found, mend)


def check_disk(source: str, free_bytes: Callable[[Path], int]) -> Check:
    """Room, and leave to write, where the course keeps data and runs."""
    folder = environment.data_dir()
    while not folder.is_dir():
        folder = folder.parent
    # Kaggle: 0.45 GB of zips, as much extracted, a cache of about 1 GB at 256×384, and runs.
    wanted = {"studio": 1, "kaggle": 4}.get(source, 2) * GIB
    free = free_bytes(folder)
    found = f"{free / GIB:.1f} GiB free (needs {wanted / GIB:.0f})"
    mend = "free some space, or set UNET_COURSE_HOME to a folder on a larger disk"
    if not os.access(folder, os.W_OK):
        found, mend = f"{folder} is read-only", "set UNET_COURSE_HOME to a folder you may write to"
        return Check("disk", False, found, mend)
    return Check("disk", free >= wanted, found, "" if free >= wanted else mend)


def kaggle_files() -> Path | None:
    """Folder with the competition's files, where they are here already (Kaggle, or downloaded)."""
    from .sources import COMPETITION, KAGGLE_INPUT

    inputs = (KAGGLE_INPUT / "competitions" / COMPETITION, KAGGLE_INPUT / COMPETITION)
    downloaded = environment.data_dir() / "kaggle"
    if all((downloaded / name).is_file() for name in ("train.zip", "train_masks.zip")):
        return downloaded
    return next((folder for folder in inputs if folder.is_dir()), None)


def check_source(source: str) -> Check:
    """The data source is there and can be opened (Kaggle's: or can be downloaded later)."""
    try:
        from .archives import open_archive
        from .sources import open_source

        folder = kaggle_files() if source == "kaggle" else source
        if folder is None:
            return Check("data source", True, "kaggle: not downloaded yet")
        pair = open_source(folder)
        for half in (pair.photos, pair.masks):
            if half.is_file():
                with open_archive(half):
                    pass
    except CourseError as error:
        found = f"{error.subject}: {error.found}"
        return Check("data source", False, found, str(error.mend or error))
    except Exception as error:
        return Check("data source", False, _first_line(error), "mend the packages above first")
    return Check("data source", True, f"{source}: {pair.photos.name} and {pair.masks.name}")


def check_credentials(source: str) -> Check:
    """Kaggle credentials: needed only to download from Kaggle."""
    mend = (
        "on kaggle.com choose Settings, API, Create New Token, and save what it gives you "
        "as the page says (~/.kaggle/), or set KAGGLE_API_TOKEN"
    )
    place, needed = None, source == "kaggle"
    try:
        from .kaggle_client import find_credentials

        place, needed = find_credentials(), needed and kaggle_files() is None
    except Exception as error:
        mend = f"{_first_line(error)}: mend the packages above first"
    if place:
        return Check("Kaggle credentials", True, f"found in {place}")
    if needed:
        return Check("Kaggle credentials", False, "none", mend)
    return Check("Kaggle credentials", True, "none, and none needed for this data source")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
