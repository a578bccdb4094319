"""A hosted service keeps what it has: only missing packages are installed, and runs are kept."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from unet_helpers import environment, hosted
from unet_helpers.environment import CourseError
from unet_helpers.health import read_needs
from unet_helpers.hosted import RESERVED

# Colab's packages; the versions are those that tools/colab_versions.txt pins, by and large.
COLAB = {
    "torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128", "numpy": "2.1.3", "pillow": "11.3.0",
    "albumentations": "2.0.8", "matplotlib": "3.10.0", "pandas": "2.2.2", "ipywidgets": "7.7.1",
    "ipython": "7.34.0", "filelock": "3.20.0", "kaggle": "2.0.2", "packaging": "25.0",
    "pydantic": "2.12.3", "pyyaml": "6.0.3", "requests": "2.32.4", "safetensors": "0.7.0",
    "scipy": "1.16.3", "tensorboard": "2.19.0", "tqdm": "4.67.1",
}  # fmt: skip


class Machine:
    """Made-up installed packages, and a pip that writes down what it is asked for."""

    def __init__(self, **changes: str | None) -> None:
        packages = {**COLAB, **changes}
        self.packages = {name: version for name, version in packages.items() if version}
        self.asked: list[list[str]] = []

    def version_of(self, name: str) -> str:
        if name not in self.packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.packages[name]

    def settle(self) -> list[str]:
        return hosted.install_missing(self.version_of, self.asked.append)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No mark of any service, no folder for runs, and a current folder that may change."""
    for name in list(os.environ):
        if name.startswith(("COLAB_", "KAGGLE_", "PAPERSPACE_", "UNET_COURSE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UNET_COURSE_RUNS", "")  # so that what a test sets is taken back after it
    monkeypatch.chdir(tmp_path)


def test_colabs_own_packages_are_enough():
    machine = Machine()
    assert set(machine.packages) == {hosted._name(text) for text in read_needs().packages}
    assert (machine.settle(), machine.asked) == ([], [])


def test_only_what_is_missing_or_too_old_is_installed_beside_the_services_torch(capsys):
    machine = Machine(kaggle=None, safetensors="0.3.1")
    wanted = [text for text in read_needs().packages if text.startswith(("kaggle", "safetensors"))]
    assert sorted(machine.settle()) == sorted(wanted)
    own = ["torch==2.11.0+cu128", "torchvision==0.26.0+cu128", "numpy==2.1.3"]
    assert sorted(machine.asked[0]) == sorted(wanted + own)
    said = capsys.readouterr().out
    assert "kaggle" in said and "restart" in said  # safetensors was here in an older version


def test_what_was_not_here_before_needs_no_restart(capsys):
    Machine(kaggle=None).settle()
    assert "restart" not in capsys.readouterr().out


def test_an_old_torch_stays_and_is_named(capsys):
    machine = Machine(torch="2.1.1+cu121", torchvision="0.16.1+cu121")
    assert (machine.settle(), machine.asked) == ([], [])
    said = capsys.readouterr().out
    assert "2.1.1+cu121, which stays" in said and "0.16.1+cu121, which stays" in said


def test_an_old_torch_is_pinned_when_something_else_is_installed():
    machine = Machine(torch="2.1.1", kaggle=None)
    machine.settle()
    asked = machine.asked[0]
    assert "torch==2.1.1" in asked
    assert not [text for text in asked if text.startswith("torch>")]


def test_a_machine_without_torch_gets_it():
    machine = Machine(torch=None, torchvision=None)
    assert [text.partition(">")[0] for text in machine.settle()] == ["torch", "torchvision"]


def test_pip_is_this_interpreters_and_its_failure_is_told(monkeypatch):
    calls = []

    def offline(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: no network\n")

    monkeypatch.setattr(hosted.subprocess, "run", offline)
    with pytest.raises(CourseError, match=r"no network.*switch the internet on"):
        hosted.run_pip(["kaggle>=2"])
    assert calls == [[sys.executable, "-m", "pip", "install", "--quiet", "kaggle>=2"]]


@pytest.mark.usefixtures("nowhere")
def test_at_home_nothing_is_done(capsys, tmp_path):
    hosted.settle()
    assert capsys.readouterr().out == ""
    assert Path.cwd() == tmp_path
    assert environment.runs_dir() == environment.course_root() / "runs"


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("mark", "note"),
    [
        ("COLAB_RELEASE_TAG", "Colab forgets them"),
        ("KAGGLE_KERNEL_RUN_TYPE", "save a version"),
        ("PAPERSPACE_FQDN", ""),
    ],
)
def test_a_service_goes_on_in_the_course_and_says_what_becomes_of_runs(
    monkeypatch, capsys, mark, note
):
    monkeypatch.setenv(mark, "x")
    monkeypatch.setattr(hosted, "install_missing", lambda: [])
    hosted.settle()
    said = capsys.readouterr().out
    assert Path.cwd() == environment.course_root()
    assert len(said.splitlines()) == 1 and str(environment.runs_dir()) in said and note in said


@pytest.mark.usefixtures("nowhere")
def test_runs_go_below_the_folder_that_is_named(tmp_path):
    hosted.settle(str(tmp_path))
    assert environment.runs_dir() == tmp_path.resolve() / "unet-from-scratch" / "runs"
    assert environment.runs_dir().is_dir()
    assert environment.data_dir() == environment.course_root() / "data"  # data stays: it is large


@pytest.mark.usefixtures("nowhere")
def test_a_place_that_is_not_there_is_refused():
    with pytest.raises(CourseError, match=r'KEEP = "no/such/folder".*no such folder'):
        hosted.settle("no/such/folder")
    assert environment.runs_dir() == environment.course_root() / "runs"


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("inside", [".", "mine"])
def test_gradients_own_folder_is_refused_although_it_is_there(monkeypatch, tmp_path, inside):
    own = tmp_path / "checkpoints"
    (own / inside).mkdir(parents=True)
    monkeypatch.setattr(hosted, "RESERVED", own)
    with pytest.raises(CourseError, match="keeps for itself"):
        hosted.settle(str(own / inside))
    assert not (own / "unet-from-scratch").exists()


@pytest.mark.usefixtures("nowhere")
def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "unet-from-scratch").write_text("not a folder")
    with pytest.raises(CourseError, match="a folder that may be written to"):
        hosted.settle(str(tmp_path))


@pytest.fixture
def colab_drive(monkeypatch, tmp_path, nowhere):
    """A made-up google.colab whose mount does what `answer` says."""
    calls = []
    drive = ModuleType("google.colab.drive")
    drive.answer = lambda: (tmp_path / "drive" / "MyDrive").mkdir(parents=True)

    def mount(folder: str) -> None:
        calls.append(folder)
        drive.answer()

    drive.mount, drive.calls = mount, calls
    colab = ModuleType("google.colab")
    colab.drive = drive
    for name, module in {"google.colab": colab, "google.colab.drive": drive}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(hosted, "DRIVE", tmp_path / "drive")
    return drive


def test_drive_is_connected_once_and_keeps_the_runs(colab_drive, tmp_path):
    for _ in range(2):
        runs = hosted.folder_for_runs("drive")
    assert runs == tmp_path / "drive" / "MyDrive" / "unet-from-scratch" / "runs"
    assert colab_drive.calls == [str(tmp_path / "drive")]


def test_a_refused_drive_says_what_to_do(colab_drive):
    def refuse():
        raise ValueError("mount failed: access denied")

    colab_drive.answer = refuse
    with pytest.raises(CourseError, match=r"access denied.*leave KEEP empty"):
        hosted.folder_for_runs("drive")


@pytest.mark.usefixtures("nowhere")
def test_drive_elsewhere_than_on_colab_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(hosted, "DRIVE", tmp_path / "drive")
    monkeypatch.setitem(sys.modules, "google.colab", None)
    with pytest.raises(CourseError, match="only Colab"):
        hosted.folder_for_runs("drive")


def test_no_folder_of_the_course_has_gradients_reserved_name():
    root = environment.course_root()
    assert not [path for path in root.glob("*") if path.name == RESERVED.name]
    assert RESERVED.name not in environment.runs_dir().parts
