"""The setup cell on made-up services: what it fetches, what it finds, and what it says.

The course that is fetched is a small stand-in with the real environment, health and hosted modules;
git is the real one and works on a repository in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import setup_cell  # noqa: E402

MARKS = {
    "colab": "COLAB_RELEASE_TAG",
    "kaggle": "KAGGLE_KERNEL_RUN_TYPE",
    "gradient": "PAPERSPACE_FQDN",
}
HOMES = ("/content", "/kaggle/working", "/notebooks", "/storage")
REPORT = "\nimport unet_helpers\nprint('from', unet_helpers.__file__)\nprint('in', os.getcwd())\n"


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A git repository with just enough of the course for the setup cell."""
    folder = tmp_path / "published"
    (folder / "unet_helpers").mkdir(parents=True)
    for name in ("__init__", "environment", "health", "hosted"):
        shutil.copy(ROOT / "unet_helpers" / f"{name}.py", folder / "unet_helpers" / f"{name}.py")
    # Packages that are here in any case: the test is about fetching, not about pip.
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["numpy>=1", "pytest>=1"]\n'
    )
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "course")
    return folder


class Service:
    """A machine with its own folders /content, /notebooks, … below a temporary one."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        for home in HOMES:
            self.at(home).mkdir(parents=True)

    def at(self, folder: str) -> Path:
        return self.disk / folder.lstrip("/")

    def run(self, folder: Path, repository: str = "", keep: str = "", **variables: str):
        text = setup_cell.setup_cell(repository)
        for home in HOMES:
            text = text.replace(f'"{home}"', repr(str(self.at(home))))
        text = text.replace('KEEP = ""', f"KEEP = {keep!r}")
        hidden = ("PYTHONPATH", "COLAB_", "KAGGLE_", "PAPERSPACE_", "UNET_COURSE_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        return subprocess.run(
            [sys.executable, "-c", text + REPORT],
            cwd=folder,
            env={**environment, "PYTHONSAFEPATH": "1", **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "disk")


def source_of(done: subprocess.CompletedProcess) -> Path:
    """Folder of the course that a run has imported."""
    line = next(line for line in done.stdout.splitlines() if line.startswith("from "))
    return Path(line.removeprefix("from ")).parents[1]


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/solutions", "."])
def test_in_the_course_it_does_nothing_visible_and_stays_where_it_is(service, folder):
    done = service.run(ROOT / folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [f"in {(ROOT / folder).resolve()}"]
    assert source_of(done) == ROOT


def test_elsewhere_it_says_where_the_notebook_belongs(service, tmp_path):
    done = service.run(tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr and "folder notebooks/" in done.stderr
    assert "upload" not in done.stderr


@pytest.mark.parametrize(
    ("name", "home"),
    [("colab", "/content"), ("kaggle", "/kaggle/working"), ("gradient", "/notebooks")],
)
def test_a_service_without_an_address_says_where_to_upload_the_course(service, name, home):
    done = service.run(service.at(home), **{MARKS[name]: "x"})
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert f"upload the course to {service.at(home) / 'unet-from-scratch'}" in done.stderr


@pytest.mark.parametrize(
    ("name", "home"),
    [("colab", "/content"), ("kaggle", "/kaggle/working"), ("gradient", "/notebooks")],
)
def test_a_service_fetches_the_course_once_and_then_what_is_new(service, published, name, home):
    here = service.at(home)
    copy = here / "unet-from-scratch"
    done = service.run(here, published.as_uri(), **{MARKS[name]: "x"})
    assert done.returncode == 0, done.stderr
    assert source_of(done) == copy
    assert f"in {copy}" in done.stdout  # goes on where the course is
    assert f"runs go to {copy / 'runs'}" in done.stdout

    (copy / "runs").mkdir()
    (copy / "runs" / "mine.txt").write_text("a run")
    (published / "new.txt").write_text("news")
    git(published, "add", ".")
    git(published, "commit", "-qm", "news")
    again = service.run(here, published.as_uri(), **{MARKS[name]: "x"})
    assert again.returncode == 0, again.stderr
    assert (copy / "new.txt").read_text() == "news"
    assert (copy / "runs" / "mine.txt").read_text() == "a run"
    assert not (copy / "unet-from-scratch").exists()


def test_run_again_from_the_folder_it_went_to_it_finds_the_same_copy(service, published):
    here = service.at("/content")
    service.run(here, published.as_uri(), COLAB_RELEASE_TAG="x")
    copy = here / "unet-from-scratch"
    again = service.run(copy, published.as_uri(), COLAB_RELEASE_TAG="x")
    assert again.returncode == 0, again.stderr
    assert source_of(again) == copy and not (copy / "unet-from-scratch").exists()


def test_a_copy_is_found_on_the_other_disks_of_a_service(service, published):
    copy = service.at("/storage") / "unet-from-scratch"
    subprocess.run(["git", "clone", "-q", published.as_uri(), copy], check=True)
    done = service.run(service.at("/notebooks"), published.as_uri(), PAPERSPACE_FQDN="x")
    assert done.returncode == 0, done.stderr
    assert source_of(done) == copy
    assert not (service.at("/notebooks") / "unet-from-scratch").exists()


def test_without_a_network_the_copy_that_is_here_goes_on_and_git_is_quoted(service, published):
    here = service.at("/kaggle/working")
    marks = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}
    service.run(here, published.as_uri(), **marks)
    shutil.move(published, published.with_name("gone"))
    done = service.run(here, published.as_uri(), **marks)
    assert done.returncode == 0, done.stderr
    assert source_of(done) == here / "unet-from-scratch" and "fatal: " in done.stdout


def test_without_a_network_and_a_copy_it_says_so(service, tmp_path):
    here = service.at("/content")
    done = service.run(here, (tmp_path / "nowhere").as_uri(), COLAB_RELEASE_TAG="x")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "fatal: " in done.stdout and "upload the course to" in done.stderr


def test_a_course_around_the_notebook_is_left_alone(service, published):
    """Gradient opens a repository at /notebooks: its notebook and its modules fit each other."""
    subprocess.run(["git", "clone", "-q", published.as_uri(), service.at("/notebooks")], check=True)
    (service.at("/notebooks") / "notebooks").mkdir()
    (published / "new.txt").write_text("news")
    git(published, "add", ".")
    git(published, "commit", "-qm", "news")
    inside = service.at("/notebooks") / "notebooks"
    done = service.run(inside, published.as_uri(), PAPERSPACE_FQDN="x")
    assert done.returncode == 0, done.stderr
    assert source_of(done) == service.at("/notebooks")
    assert not (service.at("/notebooks") / "new.txt").exists()


def test_runs_are_kept_where_the_learner_says(service, published):
    storage = service.at("/storage")
    done = service.run(
        service.at("/notebooks"), published.as_uri(), keep=str(storage), PAPERSPACE_FQDN="x"
    )
    assert done.returncode == 0, done.stderr
    assert f"runs go to {storage / 'unet-from-scratch' / 'runs'}" in done.stdout
    assert (storage / "unet-from-scratch" / "runs").is_dir()


def test_the_cell_is_short_and_knows_every_service():
    lines = setup_cell.setup_cell("https://github.com/owner/unet-from-scratch").splitlines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 100
    assert all(mark.removesuffix("FQDN") in "\n".join(lines) for mark in MARKS.values())
    assert all(f'"{home}"' in "\n".join(lines) for home in HOMES)
