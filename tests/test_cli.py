"""The command line from end to end, and what it says to bad input: one message, exit code 2."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from make_pairs import make_archive_pair
from PIL import Image
from skimage.measure import label

from unet_helpers import cli, distributed
from unet_helpers.environment import course_root
from unet_helpers.model import UNET

TINY = ("height=32", "width=48", "features=[4, 8]", "batch_size=8", "augment=none", "device=cpu")
STUDIO = str(course_root() / "configs" / "studio.yaml")


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def home_elsewhere(monkeypatch, tmp_path):
    """A command that is given no folder writes into tmp_path, not into the checkout."""
    monkeypatch.setenv("UNET_COURSE_HOME", str(tmp_path))


@pytest.fixture
def run(capsys):
    """Run a command in this process: its exit code and what it printed."""

    def run(*words):
        capsys.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = stop.code
        return Said(code, *capsys.readouterr())

    return run


def assert_refused(said, *pieces):
    """One message with all the pieces and a way out, exit code 2, no traceback."""
    assert said.code == 2, said
    assert len(re.findall(r"^error: ", said.err, re.MULTILINE)) == 1
    assert "Traceback" not in said.err + said.out
    assert "expected" in said.err and "What to do:" in said.err
    for piece in pieces:
        assert str(piece) in said.err


@pytest.fixture(scope="module")
def cars(tmp_path_factory):
    """A folder with an archive pair of three cars."""
    return make_archive_pair(tmp_path_factory.mktemp("cli") / "cars", cars=3).folder


@pytest.fixture(scope="module")
def prepared(cars):
    folder = cars.parent / "prepared"
    assert cli.main(["prepare", str(cars), "--to", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(prepared):
    """Folder of a run of one epoch."""
    out = prepared.parent / "run"
    words = ["train", STUDIO, *TINY, "epochs=1", "--data", str(prepared), "--out", str(out)]
    assert cli.main(words) == 0
    return out


# --- the road


def test_prepare_makes_a_split_by_car_and_twice_changes_nothing(run, cars, tmp_path):
    said = run("prepare", cars, "--to", tmp_path / "p", "--val-cars", 1, "--seed", 3)
    assert said.code == 0 and "48 photos" in said.out
    with (tmp_path / "p" / "split.csv").open(newline="") as file:
        first = list(csv.DictReader(file))
    by_split = {}
    for row in first:
        by_split.setdefault(row["split"], set()).add(row["car"])
    assert sorted(by_split) == ["test", "train", "val"]
    assert sum(len(cars) for cars in by_split.values()) == 3
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "p").rglob("*.jpg")}
    assert run("prepare", cars, "--to", tmp_path / "p", "--val-cars", 1, "--seed", 3).code == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "p").rglob("*.jpg")}


def test_train_leaves_a_whole_run_folder(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"best.pt", "last.pt", "history.csv", "config.yaml", "saved_images"} <= names
    assert "tensorboard" in names and any((trained / "saved_images").glob("*.png"))
    assert "height: 32" in (trained / "config.yaml").read_text()


def test_evaluate_prints_one_json_object(run, trained, prepared):
    checkpoint = trained / "best.pt"
    said = run("evaluate", checkpoint, "--data", prepared, "--json")
    assert said.code == 0
    facts = json.loads(said.out)
    scores = ["dice_mean", "dice_p10", "iou_mean", "accuracy"]
    assert list(facts) == [*scores, "images", "height", "width", "split", "checkpoint"]
    assert (facts["images"], facts["height"], facts["width"]) == (16, 32, 48)
    assert (facts["split"], facts["checkpoint"]) == ("test", str(checkpoint))
    assert 0 <= facts["iou_mean"] <= facts["dice_mean"] <= 1
    text = run("evaluate", checkpoint, "--data", prepared).out
    assert f"test Dice {facts['dice_mean']:.4f} (32×48, 16 images)" in text


def test_evaluate_on_validation_agrees_with_the_history_of_the_run(run, trained, prepared):
    said = run("evaluate", trained / "best.pt", "--data", prepared, "--split", "val", "--json")
    with (trained / "history.csv").open(newline="") as file:
        best = max(float(row["dice_mean"]) for row in csv.DictReader(file))
    assert json.loads(said.out)["dice_mean"] == pytest.approx(best, abs=1e-6)


def test_with_accumulate_no_command_takes_more_than_a_part_at_a_time(
    run, prepared, tmp_path, monkeypatch
):
    """Training, measuring, the saved pictures and `evaluate`: all on a GPU with little memory."""
    sizes, forward = {}, UNET.forward

    def seen(model, images):
        sizes.setdefault(model.training, set()).add(len(images))
        return forward(model, images)

    monkeypatch.setattr(UNET, "forward", seen)
    words = ("--data", prepared, "--out", tmp_path / "run", "epochs=1", "accumulate=4")
    assert run("train", STUDIO, *TINY, *words).code == 0
    assert len(list((tmp_path / "run" / "saved_images").glob("pred_*.png"))) == 8
    evaluated = run("evaluate", tmp_path / "run" / "best.pt", "--data", prepared)
    assert evaluated.code == 0 and sizes == {True: {2}, False: {2}}


def test_resume_goes_on_and_a_second_start_is_refused(run, trained, prepared, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    words = ("train", STUDIO, *TINY, "--data", prepared, "--out", out)
    before = (out / "last.pt").read_bytes()
    assert_refused(run(*words, "epochs=1"), out, "--resume")
    assert (out / "last.pt").read_bytes() == before
    assert run(*words, "--resume", "epochs=2").code == 0  # settings may stand after options
    with (out / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_ctrl_c_leaves_a_run_that_the_printed_command_resumes(run, prepared, tmp_path):
    """A real process, a real signal."""
    out = tmp_path / "run with a space"
    words = ["train", STUDIO, *TINY, "epochs=5000", "--data", str(prepared), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "unet_helpers", *words],
        cwd=course_root(),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where a shell started the tests in the background, the signal would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        while process.poll() is None and not (out / "history.csv").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    command = err.strip().splitlines()[-1].partition("To go on: python -m unet_helpers ")[2]
    again = shlex.split(command)
    assert again == [*words, "--resume"]
    with (out / "history.csv").open(newline="") as file:
        finished = len(list(csv.DictReader(file)))
    saved = torch.load(out / "last.pt", weights_only=True)["epoch"]
    assert finished <= saved <= finished + 1  # last.pt is written first
    assert run(*again, f"epochs={saved + 1}").code == 0
    with (out / "history.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == saved + 1


def test_predict_writes_mask_cutout_and_background_at_the_photos_own_size(run, trained, tmp_path):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (67, 101, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "my car.png")
    Image.new("RGB", (30, 200), (0, 255, 0)).save(tmp_path / "green.png")
    words = ("predict", trained / "best.pt", "--to", tmp_path / "to")
    said = run(*words, "--background", tmp_path / "green.png", tmp_path / "my car.png")
    assert said.code == 0, said.err
    assert {path.name for path in (tmp_path / "to").iterdir()} == {
        "my car_mask.png",
        "my car_cutout.png",
        "my car_on_background.png",
    }
    mask = Image.open(tmp_path / "to" / "my car_mask.png")
    assert (mask.mode, mask.size) == ("L", (101, 67))
    assert set(np.unique(mask)) <= {0, 255}
    cut = Image.open(tmp_path / "to" / "my car_cutout.png")
    assert (cut.mode, cut.size) == ("RGBA", (101, 67))
    assert np.array_equal(np.asarray(cut)[..., :3], photo)
    alpha = np.asarray(cut)[..., 3]
    green = np.asarray(Image.open(tmp_path / "to" / "my car_on_background.png"))
    assert np.array_equal(green[alpha == 0], np.tile([0, 255, 0], ((alpha == 0).sum(), 1)))
    assert np.array_equal(green[alpha == 255], photo[alpha == 255])


def test_largest_component_leaves_one_piece(run, trained, prepared, tmp_path):
    folder = next(prepared.glob("test_images"))
    assert run("predict", trained / "best.pt", folder, "--to", tmp_path / "all").code == 0
    words = ("predict", trained / "best.pt", folder, "--to", tmp_path / "one")
    assert run(*words, "--largest-component").code == 0
    masks = sorted((tmp_path / "one").glob("*_mask.png"))
    assert len(masks) == 16
    for path in masks:
        one = np.asarray(Image.open(path)) > 0
        everything = np.asarray(Image.open(tmp_path / "all" / path.name)) > 0
        pieces = label(everything, connectivity=2)
        sizes = np.bincount(pieces.ravel())[1:]
        assert label(one, connectivity=2).max() <= 1 and not (one & ~everything).any()
        assert one.sum() == (sizes.max() if len(sizes) else 0)


def test_the_real_photos_take_the_same_road(run, real_carvana, trained, tmp_path):
    """Five full-size photos out of the zip: the mask has the photo's own size."""
    with zipfile.ZipFile(real_carvana / "train.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith(".jpg"))
        (tmp_path / "photo.jpg").write_bytes(archive.read(name))
    assert run("predict", trained / "best.pt", tmp_path / "photo.jpg", "--to", tmp_path).code == 0
    with (
        Image.open(tmp_path / "photo.jpg") as photo,
        Image.open(tmp_path / "photo_mask.png") as mask,
    ):
        assert mask.size == photo.size


# --- arguments and settings


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("fly",),
        ("prepare", "studio"),
        ("prepare", "studio", "--to", "x", "--val-cars", "many"),
        ("evaluate", "best.pt", "--data", "x", "--split", "tset"),
        ("evaluate", "best.pt", "extra", "--data", "x"),
        ("train", "a.yaml", "--reusme"),
        ("predict", "best.pt", "--to", "x"),
    ],
)
def test_bad_arguments(run, words):
    said = run(*words)
    assert said.code == 2 and said.out == ""
    assert "usage:" in said.err and "error:" in said.err


def test_help_needs_no_torch():
    code = "import sys; from unet_helpers import cli; cli.build_parser(); print(len(sys.modules))"
    code += "; assert not {'torch', 'numpy', 'albumentations', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=course_root(), check=True, timeout=60)


@pytest.mark.parametrize(
    ("setting", "piece"),
    [
        ("epohcs=2", "write epochs"),
        ("epochs=two", "found 'two'"),
        ("epochs", "key=value"),
        ("features=[4,4,4,4,4,4,4,4]", "at least 256"),
    ],
)
def test_a_setting_with_a_mistake(run, prepared, setting, piece):
    assert_refused(run("train", STUDIO, setting, "--data", prepared), setting, piece)


def test_a_yaml_with_a_typo(run, prepared, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nlerning_rate: 0.1\n")
    assert_refused(run("train", path, "--data", prepared), path, "lerning_rate", "learning_rate")


def test_a_missing_config_names_the_ones_there_are(run, prepared):
    path = course_root() / "configs" / "studoi.yaml"
    assert_refused(run("train", path, "--data", prepared), path, "studio.yaml")


def test_train_on_a_gpu_that_is_not_there(run, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ("train", STUDIO, "device=cuda", "--data", prepared, "--out", tmp_path / "run")
    assert_refused(run(*words), "device=cuda", "device=auto")
    assert not (tmp_path / "run").exists()


def test_train_without_prepared_data_says_how_to_prepare(run, tmp_path):
    default = tmp_path / "data" / "prepared" / "studio"
    command = f"python -m unet_helpers prepare studio --to {default}"
    assert_refused(run("train", STUDIO, "name=another"), default, command)


def test_a_number_of_processes_that_cannot_share_a_batch(run, prepared, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    words = ("train", STUDIO, *TINY, "--data", prepared)
    said = run(*words)
    assert_refused(said, "batch_size=8", "3 processes", "2.67 photos", "batch_size=6 or 9")
    assert "2 or 4 processes" in said.err
    # The others let the first one speak, and repeat it where nobody has ended them meanwhile.
    monkeypatch.setenv("LOCAL_RANK", "1")
    waited = []
    monkeypatch.setattr(distributed.time, "sleep", waited.append)
    assert run(*words) == said
    assert waited == [distributed.REPORT_SECONDS]


# --- data


def test_prepare_refuses_bad_sources(run, cars, tmp_path):
    to = tmp_path / "to"
    empty, half, page = tmp_path / "empty", tmp_path / "half", tmp_path / "page"
    for folder in (empty, half, page):
        folder.mkdir()
    shutil.copy(cars / "train.zip", half)
    shutil.copy(cars / "train_masks.zip", page)
    (page / "train.zip").write_text("<html>Please sign in</html>")
    assert_refused(run("prepare", tmp_path / "nowhere", "--to", to), tmp_path / "nowhere")
    assert_refused(run("prepare", empty, "--to", to), empty, "train.zip")
    assert_refused(run("prepare", half, "--to", to), half, "train_masks.zip")
    assert_refused(run("prepare", page, "--to", to), page / "train.zip", "web page")
    assert not to.exists()


def test_prepare_refuses_a_photo_without_mask_and_the_reverse(run, tmp_path):
    for name in ("train.zip", "train_masks.zip"):
        folder = make_archive_pair(tmp_path / name, cars=3, angles=2).folder
        with zipfile.ZipFile(folder / name) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        lost = sorted(entries)[0]
        with zipfile.ZipFile(folder / name, "w") as archive:
            for entry, content in entries.items():
                if entry != lost:
                    archive.writestr(entry, content)
        stem = Path(lost).stem.removesuffix("_mask")
        assert_refused(run("prepare", folder, "--to", tmp_path / "to"), stem)


def test_prepare_refuses_impossible_numbers_of_cars(run, cars, tmp_path):
    one = make_archive_pair(tmp_path / "one", cars=1, angles=2).folder
    to = tmp_path / "to"
    assert_refused(run("prepare", one, "--to", tmp_path / "one" / "to"), "found 1 car")
    assert_refused(run("prepare", cars, "--to", to, "--val-cars", "30"), "30")
    assert_refused(run("prepare", cars, "--to", to, "--val-cars", "-1"), "-1")


def test_a_failed_change_of_mind_leaves_the_prepared_folder_as_it_was(run, cars, tmp_path):
    to = tmp_path / "to"
    assert run("prepare", cars, "--to", to).code == 0
    before = (to / "split.csv").read_bytes()
    assert_refused(run("prepare", cars, "--to", to, "--test-cars", "9"), "9")
    assert (to / "split.csv").read_bytes() == before


def test_prepare_into_a_place_that_cannot_be_written(run, cars, tmp_path):
    (tmp_path / "file").write_text("I am no folder")
    said = run("prepare", cars, "--to", tmp_path / "file" / "to")
    assert said.code == 2 and str(tmp_path / "file") in said.err
    assert "Traceback" not in said.err
    assert (tmp_path / "file").read_text() == "I am no folder"


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_folder_that_is_not_prepared(run, command, trained, tmp_path):
    first = STUDIO if command == "train" else trained / "best.pt"
    assert_refused(run(command, first, "--data", tmp_path), tmp_path, "prepare", "split.csv")


# --- checkpoints


class Trap:
    """Unpickled with code allowed, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "sprung"))


@pytest.fixture(params=["missing", "pickle", "truncated", "another architecture", "text", "empty"])
def bad_checkpoint(request, trained, tmp_path):
    path = tmp_path / "bad.pt"
    if request.param == "pickle":
        path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    if request.param == "truncated":
        whole = (trained / "best.pt").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    if request.param == "another architecture":
        state = torch.load(trained / "best.pt", weights_only=True)
        torch.save(state | {"model": torch.nn.Conv2d(3, 8, 3).state_dict()}, path)
    if request.param == "text":
        path.write_text("not a checkpoint")
    if request.param == "empty":
        path.touch()
    return path


def test_a_bad_checkpoint(run, bad_checkpoint, prepared, tmp_path):
    photo = next((prepared / "test_images").iterdir())
    said = run("evaluate", bad_checkpoint, "--data", prepared, "--json")
    assert_refused(said, bad_checkpoint)
    assert said.out == ""
    assert_refused(run("predict", bad_checkpoint, photo, "--to", tmp_path / "to"), bad_checkpoint)
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "to").exists()


def test_resuming_with_another_architecture_names_the_difference(run, trained, prepared):
    before = (trained / "last.pt").read_bytes()
    words = [*TINY, "features=[4, 16]", "--data", prepared, "--out", trained, "--resume"]
    assert_refused(run("train", STUDIO, *words), "features", "[4, 16]")
    assert (trained / "last.pt").read_bytes() == before


# --- photos to predict


def test_predict_refuses_before_it_writes(run, trained, prepared, tmp_path):
    good = next((prepared / "test_images").iterdir())
    other, empty = tmp_path / "other" / good.name, tmp_path / "empty"
    other.parent.mkdir()
    empty.mkdir()
    shutil.copy(good, other)
    words = ("predict", trained / "best.pt", "--to", tmp_path / "to", good)
    assert_refused(run(*words, tmp_path / "none.jpg"), tmp_path / "none.jpg")
    assert_refused(run(*words, empty), empty, "without photos")
    assert_refused(run(*words, other), other, "the same name")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("content", ["cut short", "no picture"])
def test_predict_refuses_a_photo_that_cannot_be_read(run, trained, prepared, tmp_path, content):
    path = tmp_path / "photo.jpg"
    whole = next((prepared / "test_images").iterdir()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "cut short" else b"hello")
    said = run("predict", trained / "best.pt", path, "--to", tmp_path / "to")
    assert_refused(said, path)
    assert_refused(
        run("predict", trained / "best.pt", path.with_name("green.png"), "--to", tmp_path / "to")
    )
