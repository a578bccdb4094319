"""The Colab lane: its versions satisfy the floors, and it finds an interpreter or says so."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import colab_lane  # noqa: E402


def pins() -> dict[str, str]:
    lines = colab_lane.VERSIONS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_colabs_versions_satisfy_the_courses_floors():
    """What the floors are for: on Colab the course replaces nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    floors = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert {"torch", "torchvision", "numpy", "ipywidgets", "ipython", "kaggle"} <= set(pins())
    for name, version in pins().items():
        assert floors[name].contains(Version(version.replace(".*", ".0"))), name


def test_torch_and_torchvision_are_of_one_release():
    """torch 2.N goes with torchvision 0.(N + 15), since 2.0 went with 0.15."""
    torch, vision = (Version(pins()[name].rstrip(".*")) for name in ("torch", "torchvision"))
    assert torch.major == 2 and vision.minor == torch.minor + 15


def interpreter(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Only the interpreters that a test puts on the path or under pyenv; never this one."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(colab_lane, "PYTHONS", ("9.13", "9.12"))
    return tmp_path


def test_the_newer_python_comes_first_and_a_shim_that_does_not_run_is_passed_over(machine):
    interpreter(machine / "bin", "python9.13", "echo 'command not found' >&2; exit 127")
    interpreter(machine / "bin", "python9.12", "echo 9.12")
    newer = interpreter(machine / "pyenv" / "versions" / "9.13.1" / "bin", "python", "echo 9.13")
    assert colab_lane.find_python() == newer


def test_the_older_python_will_do(machine):
    older = interpreter(machine / "bin", "python9.12", "echo 9.12")
    assert colab_lane.find_python() == older


def test_without_either_it_says_what_to_install(machine):
    interpreter(machine / "bin", "python9.13", "echo 3.11")  # calls itself what it is not
    with pytest.raises(SystemExit, match=r"expected Python 9\.13 or 9\.12.*uv python install"):
        colab_lane.find_python()


def test_a_command_that_fails_or_never_ends_stops_the_lane(capsys):
    with pytest.raises(SystemExit, match="exit code 3"):
        colab_lane.run([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(SystemExit, match="not finished"):
        colab_lane.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.5)


def test_it_is_built_once_and_again_when_the_versions_change(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(colab_lane, "VENV", tmp_path / "venv")
    monkeypatch.setattr(colab_lane, "VERSIONS", tmp_path / "versions.txt")
    monkeypatch.setattr(colab_lane, "uv", lambda *words, **options: calls.append(words[:2]))
    (tmp_path / "venv").mkdir()
    (tmp_path / "versions.txt").write_text("torch==2.11.*\n")
    for _ in range(2):
        colab_lane.build(Path(sys.executable), timeout=1)
    assert [words[0] for words in calls] == ["venv", "pip", "pip"]
    (tmp_path / "versions.txt").write_text("torch==2.12.*\n")
    colab_lane.build(Path(sys.executable), timeout=1)
    assert len(calls) == 6


def test_the_question_to_colabs_environment_is_answered_by_this_one(capfd):
    """The program runs; in this environment, too, the setup cell would install nothing."""
    colab_lane.run([sys.executable, "-c", colab_lane.ASK])
    assert "would install nothing" in capfd.readouterr().out
