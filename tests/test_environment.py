"""Device, precision, workers and profile are decided by facts; here the facts are made up."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unet_helpers import environment
from unet_helpers.environment import CourseError


@pytest.fixture
def machine(monkeypatch):
    """A function that turns this machine into another one."""

    def become(gpus=0, native_bf16=False, memory_gib=15.0, mps=False, cores=4, platform="linux"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        # Like a T4: with emulation counted, every GPU says yes.
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True: including_emulation or native_bf16,
        )
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda device: SimpleNamespace(total_memory=int(memory_gib * 1024**3)),
        )
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        monkeypatch.setattr(sys, "platform", platform)
        start = {"linux": "fork"}.get(platform, "spawn")
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: None)
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: [start, "spawn"])

    monkeypatch.delenv("UNET_COURSE_QUICK", raising=False)
    return become


# --- CourseError


def test_course_error_says_subject_expected_found_and_way_out():
    error = CourseError("train.zip", expected="a zip", found="a page.", mend="download it again.")
    assert str(error) == "train.zip: expected a zip; found a page. What to do: download it again."
    assert (error.subject, error.mend) == ("train.zip", "download it again.")


def test_course_error_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(CourseError("a", expected="b", found="c", mend="d")))
    assert (str(error), error.expected) == ("a: expected b; found c. What to do: d.", "b")


class FailingDataset(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise CourseError("x.jpg", expected="a photo", found="half of one", mend="copy it again")


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_course_error_from_a_loader_worker_keeps_its_message_and_loses_the_traceback():
    with pytest.raises(CourseError) as caught:
        list(torch.utils.data.DataLoader(FailingDataset(), num_workers=1))
    expected = "x.jpg: expected a photo; found half of one. What to do: copy it again."
    assert str(caught.value) == expected


# --- folders


def test_folders_are_in_the_checkout_or_where_the_service_says(monkeypatch, tmp_path):
    monkeypatch.delenv("UNET_COURSE_HOME", raising=False)
    assert (environment.course_root() / "unet_helpers" / "environment.py").is_file()
    assert environment.data_dir() == environment.course_root() / "data"
    monkeypatch.setenv("UNET_COURSE_HOME", str(tmp_path))
    assert environment.runs_dir() == tmp_path.resolve() / "runs"
    assert environment.prepared_dir("kaggle") == tmp_path.resolve() / "data" / "prepared" / "kaggle"


def test_prepared_folders_of_different_sources_stay_apart(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    own = environment.prepared_dir(tmp_path / "studio")
    assert own != environment.prepared_dir("studio")
    assert environment.prepared_dir(f"{tmp_path}/cars/").name == "cars"
    assert environment.prepared_dir("cars") == environment.prepared_dir(tmp_path / "cars")


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, "local"),
        ({"COLAB_RELEASE_TAG": "release-colab_2026"}, "colab"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "kaggle"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Batch", "COLAB_RELEASE_TAG": "x"}, "kaggle"),
        ({"PAPERSPACE_FQDN": "n.example"}, "gradient"),
    ],
)
def test_where(monkeypatch, variables, place):
    for name in list(os.environ):
        if name.startswith(("COLAB_", "KAGGLE_", "PAPERSPACE_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment.where() == place


# --- device and precision


@pytest.mark.parametrize(
    ("facts", "device"),
    [
        ({}, "cpu"),
        ({"gpus": 1}, "cuda"),
        ({"mps": True}, "mps"),
        ({"gpus": 1, "mps": True}, "cuda"),
    ],
)
def test_auto_takes_the_best_device(machine, facts, device):
    machine(**facts)
    assert environment.pick_device() == torch.device(device)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "tpu", "", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_by_name(machine, name):
    machine()
    with pytest.raises(CourseError, match="device=auto") as caught:
        environment.pick_device(name)
    assert caught.value.subject == f"device={name}"


def test_the_second_gpu_of_two(machine):
    machine(gpus=2)
    assert environment.pick_device("cuda:1").index == 1
    with pytest.raises(CourseError, match="found 2 of them"):
        environment.pick_device("cuda:2")


@pytest.mark.parametrize(
    ("facts", "device", "asked", "name", "scaler"),
    [
        ({}, "cpu", "auto", "fp32", False),
        ({}, "cpu", "bf16", "bf16", False),
        ({"gpus": 1, "native_bf16": True}, "cuda", "auto", "bf16", False),
        ({"gpus": 1, "native_bf16": False}, "cuda", "auto", "fp16", True),
        ({"gpus": 1, "native_bf16": True}, "cuda", "fp16", "fp16", True),
        ({"gpus": 1, "native_bf16": True}, "cuda", "fp32", "fp32", False),
        ({"mps": True}, "mps", "auto", "fp32", False),
    ],
)
def test_precision(machine, facts, device, asked, name, scaler):
    machine(**facts)
    precision = environment.pick_precision(torch.device(device), asked)
    assert (precision.name, precision.use_scaler, precision.device_type) == (name, scaler, device)


@pytest.mark.parametrize(("device", "name"), [("cuda", "bf16"), ("mps", "fp16"), ("cpu", "fp8")])
def test_precision_that_the_device_lacks_is_refused(machine, device, name):
    machine(gpus=1, native_bf16=False, mps=True)
    with pytest.raises(CourseError, match=f"precision={name}.*precision=auto"):
        environment.pick_precision(device, name)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast_computes_in_the_named_precision(name, dtype):
    precision = environment.pick_precision("cpu", name)
    with precision.autocast():
        assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == dtype == precision.dtype


# --- workers and profile


@pytest.mark.parametrize(
    ("facts", "device", "in_notebook", "workers"),
    [
        ({"gpus": 1, "platform": "win32"}, "cuda", True, 0),
        ({"mps": True, "platform": "darwin"}, "mps", True, 0),
        ({"gpus": 1, "platform": "win32", "cores": 4}, "cuda", False, 3),
        ({"gpus": 1, "cores": 2}, "cuda", True, 1),
        ({"gpus": 1, "cores": 1}, "cuda", False, 1),
        ({"gpus": 1, "cores": 64}, "cuda:0", False, 8),
        ({"cores": 2}, "cpu", False, 0),
        ({"cores": 64}, None, False, 0),
        ({"gpus": 1, "cores": 6}, None, False, 5),
    ],
)
def test_workers(machine, facts, device, in_notebook, workers):
    machine(**facts)
    device = torch.device(device) if device else None
    assert environment.pick_workers(device, in_notebook) == workers


def test_no_workers_in_a_linux_notebook_that_does_not_fork(machine, monkeypatch):
    machine(gpus=1)  # Python 3.14 starts workers from a fork server
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["forkserver", "fork"])
    assert environment.pick_workers("cuda", in_notebook=True) == 0
    assert environment.pick_workers("cuda", in_notebook=False) == 3


def test_a_test_run_is_not_a_notebook():
    assert environment.running_in_notebook() is False


@pytest.mark.parametrize(
    ("facts", "device", "name"),
    [
        ({}, "cpu", "cpu"),
        ({"mps": True}, "mps", "mps"),
        ({"gpus": 1, "memory_gib": 5.8}, "cuda", "small-gpu"),
        ({"gpus": 1, "memory_gib": 14.6}, "cuda", "gpu"),
        ({"gpus": 1, "memory_gib": 79}, "cuda", "big-gpu"),
    ],
)
def test_profile_fits_the_device(machine, facts, device, name):
    machine(**facts)
    profile = environment.pick_profile(device)
    assert profile.name == name
    assert profile.width * 2 == profile.height * 3  # Carvana's shape, nearly
    assert profile.cars is None


def test_quick_mode_wins_everywhere(machine, monkeypatch):
    machine(gpus=1, memory_gib=79)
    monkeypatch.setenv("UNET_COURSE_QUICK", "1")
    profile = environment.pick_profile("cuda")
    assert (profile.name, profile.height, profile.width, profile.epochs) == ("quick", 64, 96, 1)
    assert profile.cars == 4


# --- seed, and what importing costs


def test_seed_everything_repeats_all_three_generators():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    environment.seed_everything(7)
    first = draw()
    environment.seed_everything(7)
    assert draw() == first
    environment.seed_everything(8)
    assert all(a != b for a, b in zip(first, draw(), strict=True))


def test_environment_is_importable_without_any_package():
    code = (
        "import unet_helpers.environment, unet_helpers.health, sys; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=environment.course_root(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "False"
