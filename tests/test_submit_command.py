"""`python -m unet_helpers submit`, from a checkpoint and a folder of photos to a submission."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from unet_helpers import cli, cli_photos, inference, submission, windows
from unet_helpers.checkpoint import load_model, model_from_config, save_weights
from unet_helpers.config import TrainConfig
from unet_helpers.dataset import read_photo
from unet_helpers.environment import CourseError, course_root
from unet_helpers.gzip_rows import whole_rows
from unet_helpers.inference import predict_mask
from unet_helpers.rle import rle_decode
from unet_helpers.windows import mask_by_windows

NAMES = [f"00087a6bd4dc_{angle:02d}.png" for angle in (3, 1, 2, 5, 4)]  # no alphabetic order
SIZE = (67, 101)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with weights, five photos of one size, and a sample that names them."""
    folder = tmp_path_factory.mktemp("submit")
    torch.manual_seed(3)
    config = TrainConfig(height=32, width=48, features=(4, 8), device="cpu")
    save_weights(model_from_config(config), config, folder / "weights.safetensors")
    (folder / "photos").mkdir()
    for number, name in enumerate(NAMES):
        noise = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)
        Image.fromarray(noise).save(folder / "photos" / name)
    rows = "".join(f"{name},1 1\n" for name in NAMES)
    (folder / "sample.csv.gz").write_bytes(gzip.compress(f"img,rle_mask\n{rows}".encode()))
    return folder


@pytest.fixture
def run(place, tmp_path, capsys):
    def run(*more, photos=place / "photos"):
        to = tmp_path / "submission.csv.gz"
        words = ["submit", place / "weights.safetensors", "--photos", photos, "--to", to, *more]
        code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        rows = gzip.decompress(to.read_bytes()).decode().splitlines()[1:] if to.exists() else []
        return code, said, dict(row.split(",") for row in rows)

    return run


@pytest.mark.parametrize("options", [(), ("--flips",), ("--window", "32x48", "--flips")])
def test_every_row_is_the_mask_that_the_network_gives(run, place, options):
    code, said, rows = run(*options)
    assert code == 0 and list(rows) == sorted(NAMES), said.err
    assert "5 photos of 67×101" in said.out
    model, config = load_model(place / "weights.safetensors")
    flips = "--flips" in options
    for name, rle in rows.items():
        photo = read_photo(place / "photos" / name)
        if "--window" in options:
            wanted = mask_by_windows(model, photo, (32, 48), flips=flips)
        else:
            wanted = predict_mask(model, photo, (config.height, config.width), flips=flips)
        assert np.array_equal(rle_decode(rle, SIZE), wanted)


def test_the_sample_gives_the_order(run, place):
    _, said, rows = run("--sample", place / "sample.csv.gz")
    assert list(rows) == NAMES and "note:" not in said.out


def test_photos_that_the_sample_does_not_name_are_said(run, place, tmp_path):
    sample = tmp_path / "sample.csv"
    sample.write_text(f"img,rle_mask\n{NAMES[0]},1 1\n{NAMES[3]},1 1\n")
    code, said, rows = run("--sample", sample)
    assert code == 0 and list(rows) == [NAMES[0], NAMES[3]]
    assert "does not name 3 of the photos" in said.out


def test_a_photo_that_is_missing_is_said_before_anything_is_predicted(run, place, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    for name in NAMES[:3]:
        (folder / name).write_bytes((place / "photos" / name).read_bytes())
    code, said, rows = run("--sample", place / "sample.csv.gz", photos=folder)
    assert code == 2 and not rows
    assert (
        "all 5 photos that the sample names; found 3 of them" in said.err and NAMES[3] in said.err
    )
    assert not [path for path in tmp_path.iterdir() if path != folder]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--window", "512x768"), ("no larger than the photo of 67×101", "--window 80x112, or")),
        (("--window", "41x48"), ("multiples of 16", "write --window 48x48")),
        (("--sample", "nowhere.csv"), ("nowhere.csv",)),
        (("--send", "a line"), ("found no --sample", "add --sample sample_submission.csv")),
        (("--to", "{}/s.csv"), ("write to s.csv.gz",)),
        (("--to", "{}/folder.csv.gz"), ("found a folder",)),
    ],
)
def test_bad_options_are_found_before_anything_is_predicted(
    run, tmp_path, monkeypatch, options, says
):
    def refuse(*given, **how):
        pytest.fail("a photo was predicted")

    monkeypatch.setattr(inference, "predict_mask", refuse)
    monkeypatch.setattr(windows, "mask_by_windows", refuse)
    (tmp_path / "folder.csv.gz").mkdir()
    code, said, rows = run(*(option.format(tmp_path) for option in options))
    assert code == 2 and "Traceback" not in said.err and not rows
    assert all(words in said.err for words in says), said.err
    assert "window=" not in said.err and "predict_probability" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv.gz"]


def test_a_window_that_is_no_size_is_an_argument_error(run):
    with pytest.raises(SystemExit):
        run("--window", "large")


def test_a_photo_of_another_size_is_refused_by_name(run, place, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / NAMES[0]).write_bytes((place / "photos" / NAMES[0]).read_bytes())
    Image.new("RGB", (50, 50)).save(folder / "99_99.png")
    code, said, _ = run(photos=folder)
    assert code == 2 and f"{folder / '99_99.png'}: expected 67×101" in said.err
    assert f"the size of {NAMES[0]}" in said.err and "found 50×50" in said.err
    assert "shape=" not in said.err  # which a shell has not


def test_it_is_sent_only_when_asked_for(run, place, monkeypatch):
    sent = []
    monkeypatch.setattr(
        submission, "submit", lambda *given, **how: sent.append((given, how)) or "yes"
    )
    assert run()[0] == 0 and sent == []
    code, said, _ = run("--send", "with flips", "--sample", place / "sample.csv.gz")
    assert code == 0 and "yes" in said.out
    ((given, how),) = sent
    assert given[1] == "with flips" and given[2] == NAMES and how == {"shape": SIZE}


SLOW = """
import sys, time
from unet_helpers import cli, decode
real = decode.read_photo
def slow(path):
    if path.name.endswith("_04.png"):
        time.sleep(600)
    return real(path)
decode.read_photo = slow
sys.exit(cli.main(sys.argv[1:]))
"""


def test_after_a_kill_the_same_call_goes_on(place, tmp_path, monkeypatch, capsys):
    """A real process; the fourth photo never comes."""
    to = tmp_path / "submission.csv.gz"
    words = ["submit", str(place / "weights.safetensors"), "--photos", str(place / "photos")]
    words += ["--to", str(to)]
    call = [sys.executable, "-c", SLOW, *words]
    process = subprocess.Popen(call, cwd=course_root(), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < deadline:
            if any(len(list(whole_rows(path))) == 3 for path in tmp_path.glob(".*.partial")):
                break
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    write, asked = submission.write_submission, []

    def spied(predict, *given, **how):
        return write(lambda rest: asked.extend(rest) or predict(rest), *given, **how)

    monkeypatch.setattr(submission, "write_submission", spied)
    assert cli.main(words) == 0
    assert asked == sorted(NAMES)[3:]
    assert "going on after 3 rows of an earlier call" in capsys.readouterr().out
    assert len(gzip.decompress(to.read_bytes()).decode().splitlines()) == 6


def test_photos_are_read_ahead_and_stay_in_order():
    threads, started = set(), []

    def read(path):
        threads.add(threading.current_thread().name)
        started.append(path)
        return path * 2

    found = cli_photos.read_ahead(read, list(range(20)))
    assert next(found) == 0
    assert list(found) == [2 * n for n in range(1, 20)]
    assert started == list(range(20)) and threading.current_thread().name not in threads

    def fails(path):
        raise CourseError("photo", expected="a photo", found="none", mend="look")

    with pytest.raises(CourseError):
        list(cli_photos.read_ahead(fails, [1, 2]))
