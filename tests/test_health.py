"""The check, on this machine and on made-up broken ones: each failure is named with its mend."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from make_pairs import make_archive_pair
from packaging.requirements import Requirement

from unet_helpers import environment, health, sources
from unet_helpers.environment import GIB, CourseError

VERSIONS = {"torch": "2.11.0", "torchvision": "0.26.0", "numpy": "2.1.3"}
NEEDS = health.Needs(">=3.11", ("torch>=2.6", "torchvision>=0.21", "numpy>=1.26"))
KAGGLE_VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with a small built-in pack."""
    root = tmp_path_factory.mktemp("checkout")
    make_archive_pair(root / "data" / "studio", cars=1, angles=1)
    return root


@pytest.fixture(autouse=True)
def clean_home(monkeypatch, tmp_path, checkout):
    """A home without Kaggle credentials, and a course that writes into tmp_path."""
    monkeypatch.setattr(sources, "course_root", lambda: checkout)
    for name in (*KAGGLE_VARIABLES, "XDG_CONFIG_HOME", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE", "UNET_COURSE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def look(source="studio", versions=VERSIONS, broken=None, wants="torch==2.11.0", **others):
    """The checks of a made-up machine, by name."""

    def version_of(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    def import_module(name):
        if name in (broken or {}):
            raise broken[name]
        return ModuleType(name)

    facts = {
        "needs": NEEDS,
        "python": "3.13.1",
        "version_of": version_of,
        "requires_of": lambda name: ["numpy", wants, 'gdown>=4.7 ; extra == "gdown"'],
        "import_module": import_module,
        "free_bytes": lambda folder: 50 * GIB,
    }
    return {check.name: check for check in health.run_checks(source, **(facts | others))}


def failed(checks):
    return {name for name, check in checks.items() if not check.ok}


def test_a_sound_machine_passes():
    checks = look()
    assert failed(checks) == set()
    assert list(checks)[:3] == ["Python", "packages", "torch + torchvision"]
    assert checks["packages"].found.startswith("3 of 3")
    assert checks["device"].found.startswith(str(environment.pick_device()).split(":")[0])


def test_this_machine_has_the_packages_of_pyproject():
    needs = health.read_needs()
    assert needs.python == ">=3.11"
    assert {"torch", "albumentations", "kaggle"} <= {Requirement(n).name for n in needs.packages}
    assert not failed({c.name: c for c in health.run_checks() if c.name != "data source"})


def test_floors_come_from_the_metadata_where_there_is_no_checkout(monkeypatch, tmp_path):
    with monkeypatch.context() as nothing_installed:
        nothing_installed.setattr(sys, "path", [str(tmp_path)])
        with pytest.raises(CourseError, match="complete copy"):
            health.read_needs(tmp_path)
    folder = tmp_path / "unet_from_scratch-0.1.0.dist-info"
    folder.mkdir()
    lines = "Metadata-Version: 2.1\nName: unet-from-scratch\nVersion: 0.1.0\n"
    lines += "Requires-Python: >=3.12\nRequires-Dist: torch>=2.6\n"
    lines += 'Requires-Dist: jupyterlab>=4.2; extra == "lab"\n'
    (folder / "METADATA").write_text(lines)
    monkeypatch.syspath_prepend(str(tmp_path))
    needs = health.read_needs(tmp_path)
    assert needs.python == ">=3.12"
    # An extra is no need of the course: neither missing nor counted.
    assert [str(c) for c in health.check_packages(needs.packages, lambda name: "2.6.0")] == [
        "OK    packages             1 of 1 are recent enough"
    ]


def test_an_old_python():
    checks = look(python="3.10.14")
    assert failed(checks) == {"Python"}
    assert "3.10.14 (needs >=3.11)" in checks["Python"].found
    assert "uv venv" in checks["Python"].mend


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        (None, "not installed"),
        ("1.9.3", "1.9.3"),  # as text, "1.9" would come after "1.26"
        ("1.26.0rc1", "1.26.0rc1"),
        ("not a version", "damaged"),
    ],
)
def test_a_package_below_its_floor(installed, found):
    versions = {k: v for k, v in (VERSIONS | {"numpy": installed}).items() if v}
    checks = look(versions=versions)
    assert failed(checks) == {"packages", "numpy"}
    assert found in checks["numpy"].found and ">=1.26" in checks["numpy"].found
    assert checks["numpy"].mend.endswith('pip install "numpy>=1.26"')


@pytest.mark.parametrize("installed", ["1.26", "2.10.0", "1.26.4+local", "2.4.0rc1"])
def test_a_package_at_or_above_its_floor(installed):
    assert failed(look(versions=VERSIONS | {"numpy": installed})) == set()


def test_torch_that_cannot_be_imported_stops_nothing_else():
    checks = look(broken={"torch": ImportError("libcudart.so.12: cannot open\nmore")})
    assert failed(checks) == {"torch"}
    assert checks["torch"].found == "cannot be used: libcudart.so.12: cannot open"
    assert "reinstall torch torchvision" in checks["torch"].mend
    assert {"disk", "data source", "Kaggle credentials"} <= set(checks)


def test_torchvision_of_another_release():
    checks = look(versions=VERSIONS | {"torch": "2.10.0"})
    assert failed(checks) == {"torch + torchvision"}
    assert "built for torch ==2.11.0" in checks["torch + torchvision"].found
    # A local build suffix alone is not another release.
    assert failed(look(versions=VERSIONS | {"torch": "2.11.0+cu130"})) == set()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        ImportError("/x/_C.so: undefined symbol: _ZN5torch"),
        OSError("[WinError 127] The specified procedure could not be found"),
    ],
)
def test_torchvision_that_cannot_be_imported(error):
    pair = look(broken={"torchvision": error})["torch + torchvision"]
    assert not pair.ok and str(error) in pair.found
    assert "torch torchvision" in pair.mend and "same place" in pair.mend
    assert ("different kinds" in pair.found) == ("nms" in str(error))


def test_a_torchvision_that_really_fails_at_import(tmp_path):
    """In a process of its own, with a torchvision first on the path that fails as the real one."""
    package = tmp_path / "fake" / "torchvision"
    package.mkdir(parents=True)
    line = 'raise RuntimeError("operator torchvision::nms does not exist")\n'
    (package / "__init__.py").write_text(line)
    done = subprocess.run(
        [sys.executable, "-m", "unet_helpers", "check"],
        cwd=environment.course_root(),
        env=os.environ | {"PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "FAIL  torch + torchvision" in done.stdout
    assert "nms does not exist: the two are builds of different kinds" in done.stdout
    assert "reinstall torch torchvision" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_check_answers_in_an_environment_without_any_package():
    done = subprocess.run(
        [sys.executable, "-S", "-m", "unet_helpers", "check"],
        cwd=environment.course_root(),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "FAIL  packages" in done.stdout and "requirements.txt" in done.stdout


def test_a_full_disk(tmp_path):
    checks = look(free_bytes=lambda folder: 0.3 * GIB)
    assert failed(checks) == {"disk"}
    assert checks["disk"].found == "0.3 GiB free (needs 1)"
    assert "UNET_COURSE_HOME" in checks["disk"].mend


def test_kaggle_needs_more_disk():
    assert look("studio", free_bytes=lambda folder: 2 * GIB)["disk"].ok
    assert not look("kaggle", free_bytes=lambda folder: 2 * GIB)["disk"].ok


def test_the_disk_that_is_asked_is_the_one_that_will_hold_the_data(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setenv("UNET_COURSE_HOME", str(tmp_path / "not" / "yet"))
    look(free_bytes=lambda folder: asked.append(folder) or 9 * GIB)
    assert asked == [tmp_path]


def test_a_folder_as_the_data_source(tmp_path):
    pair = make_archive_pair(tmp_path / "cars", cars=1, angles=2)
    checks = look(str(pair.folder))
    assert failed(checks) == set()
    assert "train.zip and train_masks.zip" in checks["data source"].found


@pytest.mark.parametrize("what", ["missing", "empty", "not a zip"])
def test_a_data_source_that_is_not_there(tmp_path, what):
    folder = tmp_path / "cars"
    if what == "empty":
        folder.mkdir()
    if what == "not a zip":
        make_archive_pair(folder, cars=1, angles=1)
        (folder / "train.zip").write_text("<html>Sign in</html>")
        assert not zipfile.is_zipfile(folder / "train.zip")
    checks = look(str(folder))
    assert failed(checks) == {"data source"}
    assert str(folder) in checks["data source"].found and checks["data source"].mend


def test_kaggle_credentials_matter_only_for_kaggle(monkeypatch):
    assert look("studio")["Kaggle credentials"].ok
    checks = look("kaggle")
    assert failed(checks) == {"Kaggle credentials"}
    assert "Create New Token" in checks["Kaggle credentials"].mend
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "made-up")
    found = look("kaggle")["Kaggle credentials"]
    assert found.ok and "made-up" not in found.found


def test_files_that_are_here_already_need_no_credentials(tmp_path):
    make_archive_pair(tmp_path / "data" / "kaggle", cars=1, angles=1)
    checks = look("kaggle")
    assert failed(checks) == set()
    assert "train.zip" in checks["data source"].found
    (tmp_path / "data" / "kaggle" / "train.zip").unlink()
    assert failed(look("kaggle")) == {"Kaggle credentials"}


def test_print_checks_says_what_to_mend(capsys):
    checks = [
        health.Check("disk", True, "9 GiB free"),
        health.Check("numpy", False, "1.9 (needs >=1.26)", "install it"),
    ]
    assert health.print_checks(checks) is False
    printed = capsys.readouterr().out
    assert "FAIL  numpy" in printed and "mend: install it" in printed
    assert printed.rstrip().endswith("To mend: numpy.")
    assert health.print_checks(checks[:1]) is True


@pytest.mark.parametrize(
    ("uv_module", "uv_program", "command"),
    [
        (True, False, "python -m uv pip install --reinstall torch"),
        (False, True, "uv pip install --reinstall torch"),
        (False, False, "python -m pip install --force-reinstall torch"),
    ],
)
def test_the_mend_uses_the_installer_that_is_there(monkeypatch, uv_module, uv_program, command):
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda name: uv_module or None)
    monkeypatch.setattr(health.shutil, "which", lambda name: Path("uv") if uv_program else None)
    assert health.install("torch", again=True) == command
