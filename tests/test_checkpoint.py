from __future__ import annotations

import functools
import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from blobs import blob_config
from safetensors.torch import save_file

from unet_helpers.checkpoint import (
    bare_model,
    capture_rng,
    load_checkpoint,
    load_model,
    model_from_config,
    restore_rng,
    save_checkpoint,
    save_weights,
)
from unet_helpers.environment import CourseError
from unet_helpers.files import write_atomically


def same(first: dict, second: dict) -> bool:
    return list(first) == list(second) and all(torch.equal(first[k], second[k]) for k in first)


def a_model(seed: int = 0, **changes):
    torch.manual_seed(seed)
    return model_from_config(blob_config(**changes))


def a_state(model, config=None) -> dict:
    config = config or blob_config()
    return {
        "model": model.state_dict(),
        "config": config.model_dump(mode="json"),
        "epoch": 3,
        "history": [{"epoch": 3, "dice_mean": 0.5}],
        "rng": capture_rng(),
    }


def a_run(seed: int):
    """Model, optimizer, scheduler and scaler after three steps; the scaler is at work."""
    model = a_model(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=8.0 * (seed + 1))
    for _ in range(3):
        optimizer.zero_grad()
        scaler.scale(model(torch.randn(2, 3, 16, 16)).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
    return model, optimizer, scheduler, scaler


def test_everything_comes_back(tmp_path):
    model, optimizer, scheduler, scaler = a_run(seed=0)
    parts = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    state = a_state(model) | {name: part.state_dict() for name, part in parts.items()}
    path = save_checkpoint(state, tmp_path / "runs" / "last.pt")
    other, *others = a_run(seed=1)
    assert not same(model.state_dict(), other.state_dict())

    loaded = load_checkpoint(path, other, *others)

    assert same(model.state_dict(), other.state_dict())
    assert others[0].param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    for mine, theirs in zip(optimizer.state.values(), others[0].state.values(), strict=True):
        assert torch.equal(mine["exp_avg"], theirs["exp_avg"])
        assert torch.equal(mine["exp_avg_sq"], theirs["exp_avg_sq"])
    assert others[1].last_epoch == 3
    assert others[2].get_scale() == 8.0
    assert loaded["epoch"] == 3
    assert loaded["history"] == [{"epoch": 3, "dice_mean": 0.5}]
    assert loaded["config"]["features"] == [4, 8]


def test_a_disabled_scaler_s_state_fits_any_scaler(tmp_path):
    model = a_model()
    off = torch.amp.GradScaler("cpu", enabled=False)
    path = save_checkpoint(a_state(model) | {"scaler": off.state_dict()}, tmp_path / "last.pt")
    on = torch.amp.GradScaler("cpu", enabled=True, init_scale=32.0)
    load_checkpoint(path, scaler=on)
    assert on.get_scale() == 32.0


def test_random_numbers_go_on_where_they_were(tmp_path):
    def draw():
        return random.random(), random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist()

    random.gauss(0, 1)  # leaves half a pair behind, which is part of the state
    np.random.normal()
    path = save_checkpoint(a_state(a_model()), tmp_path / "last.pt")
    expected = draw()
    assert draw() != expected
    restore_rng(load_checkpoint(path)["rng"])
    assert draw() == expected


# --- files that cannot be written ---------------------------------------------------------------


def fill_the_disk_for(path: Path) -> None:
    """Let the next write of `path` meet a full disk: the kernel's own, /dev/full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path.with_name(f".{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")


@pytest.mark.parametrize("kind", ["checkpoint", "weights"])
def test_a_full_disk_leaves_the_earlier_file(tmp_path, kind):
    path = tmp_path / ("last.pt" if kind == "checkpoint" else "last.safetensors")

    def write(model):
        if kind == "checkpoint":
            save_checkpoint(a_state(model), path)
        else:
            save_weights(model, blob_config(), path)

    write(a_model(seed=0))
    before = path.read_bytes()
    fill_the_disk_for(path)
    with pytest.raises(CourseError, match=r"full disk; last.* is still the one from before"):
        write(a_model(seed=1))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    write(a_model(seed=1))  # with room again, it works
    assert path.read_bytes() != before


def test_killed_while_writing_leaves_the_earlier_file(tmp_path):
    path = write_atomically(tmp_path / "last.pt", lambda file: file.write(b"the earlier one"))
    program = (
        "import os, signal, sys\n"
        "from unet_helpers.files import write_atomically\n"
        "def write(file):\n"
        "    file.write(b'half of the new o')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(sys.argv[1], write)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, path], cwd=Path(__file__).parents[1])
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"the earlier one"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CourseError, match="found a file where the folder should be"):
        save_checkpoint(a_state(a_model()), tmp_path / "file" / "last.pt")


def test_a_state_that_cannot_be_saved_leaves_the_earlier_file(tmp_path):
    path = save_checkpoint(a_state(a_model()), tmp_path / "last.pt")
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        save_checkpoint({"model": lambda: None}, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


# --- files that are something else --------------------------------------------------------------


class Trap:
    """A pickle that makes a folder when it is read the careless way."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("kind", ["plain pickle", "torch.save", "inside a checkpoint"])
def test_no_code_in_a_file_is_run(tmp_path, kind):
    path, target = tmp_path / "best.pt", tmp_path / "trapped"
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps({"model": Trap(target)}))
        pickle.loads(path.read_bytes())
    else:
        inside = a_state(a_model()) if kind == "inside a checkpoint" else {}
        torch.save(inside | {"extra": Trap(target)}, path)
        torch.load(path, weights_only=False)
    assert target.exists()  # the trap does work
    target.rmdir()

    for load in (load_checkpoint, load_model):
        with pytest.raises(CourseError, match="nothing in the file was run"):
            load(path)
    assert not target.exists()


@functools.cache
def other_files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(a_state(a_model()), buffer)
    whole = buffer.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("train/a.jpg", b"photo")
    files = {f"cut at {part:.0%}": whole[: int(len(whole) * part)] for part in (0.01, 0.5, 0.99)}
    files["cut by one byte"] = whole[:-1]
    files["empty"] = b""
    files["text"] = b"<!DOCTYPE html> you must accept the rules"
    files["another zip"] = archive.getvalue()
    files["pickle of a list"] = pickle.dumps([1, 2, 3])
    files["safetensors"] = safetensors.torch.save({"a": torch.zeros(3)})
    for name, content in {
        "a tensor": torch.zeros(3),
        "bare weights": a_model().state_dict(),
        "other keys": {"state_dict": a_model().state_dict(), "optimizer": {}},
        "no tensors": {"model": {"a": 1}},
        "a number": 3,
    }.items():
        buffer = io.BytesIO()
        torch.save(content, buffer)
        files[name] = buffer.getvalue()
    return files


@pytest.mark.parametrize("name", sorted(other_files()))
def test_other_files_are_refused(tmp_path, name):
    content = other_files()[name]
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    model = a_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CourseError) as error:
        load_checkpoint(path, model)
    assert str(path) in str(error.value)
    assert error.value.expected and error.value.found and error.value.mend
    assert same(before, model.state_dict())
    assert path.read_bytes() == content


def test_no_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(CourseError, match="no such file"):
        load_checkpoint(tmp_path / "best.pt")
    with pytest.raises(CourseError, match="a folder"):
        load_checkpoint(tmp_path)
    with pytest.raises(CourseError, match="no such file"):
        load_model(tmp_path / "best.safetensors")


def test_best_has_no_optimizer_and_says_so(tmp_path):
    model, optimizer, *_ = a_run(seed=0)
    path = save_checkpoint(a_state(model), tmp_path / "best.pt")
    other = a_model(seed=1)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(CourseError, match=r"without optimizer.*last\.pt"):
        load_checkpoint(path, other, optimizer)
    assert same(before, other.state_dict())


# --- another architecture -----------------------------------------------------------------------

OTHERS = {
    "features": ({"features": (4, 16)}, "features is [4, 16] in the model and [4, 8] in the file"),
    "depth": ({"features": (4, 8, 16)}, "features is [4, 8, 16] in the model"),
    "norm": ({"norm": "none"}, "norm is none in the model and batch in the file"),
    "up": ({"up": "bilinear"}, "up is bilinear in the model and transposed in the file"),
    "skips": ({"skips": False}, "skips is False in the model and True in the file"),
    "in_channels": ({"in_channels": 1}, "in_channels is 1 in the model and 3 in the file"),
    "out_channels": (
        {"out_channels": 4, "loss": "ce_dice"},
        "out_channels is 4 in the model and 1 in the file",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_architecture_is_named_by_its_first_difference(tmp_path, name):
    changes, hint = OTHERS[name]
    path = save_checkpoint(a_state(a_model()), tmp_path / "best.pt")
    model = a_model(seed=1, **changes)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CourseError) as error:
        load_checkpoint(path, model)
    assert same(before, model.state_dict())
    assert hint in str(error.value)
    assert str(error.value).count(" in the model and ") == 1  # no other option is blamed
    # torch's own complaint lists all differences; ours must be one of them.
    with pytest.raises(RuntimeError) as torch_error:
        model.load_state_dict(torch.load(path, weights_only=True)["model"])
    key = str(error.value).split(": ")[1]
    assert key in str(torch_error.value)


def test_the_shapes_of_the_first_difference_are_given(tmp_path):
    path = save_checkpoint(a_state(a_model()), tmp_path / "best.pt")
    with pytest.raises(CourseError) as error:
        load_checkpoint(path, a_model(features=(6, 8)))
    assert "downs.0.layers.0.weight" in str(error.value)
    assert "(6, 3, 3, 3) (the model)" in str(error.value)
    assert "(4, 3, 3, 3) (the file)" in str(error.value)


# --- models to use ------------------------------------------------------------------------------


def test_load_model_rebuilds_the_model_from_the_file_alone(tmp_path):
    config = blob_config(norm="none", up="bilinear", features=(4, 6, 8), skips=False)
    torch.manual_seed(0)
    model = model_from_config(config)
    path = save_checkpoint(a_state(model, config), tmp_path / "best.pt")
    loaded, found = load_model(path)
    assert found == config
    assert not loaded.training
    photo = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(model.eval()(photo), loaded(photo))


def test_load_model_takes_the_averaged_weights_of_a_run(tmp_path):
    model, averaged = a_model(seed=0), a_model(seed=1)
    state = a_state(model) | {"ema": averaged.state_dict()}
    loaded, _ = load_model(save_checkpoint(state, tmp_path / "last.pt"))
    assert same(loaded.state_dict(), averaged.state_dict())


def test_weights_to_share_are_small_and_the_same_model(tmp_path):
    model = a_model()
    for _ in range(3):
        model(torch.randn(4, 3, 32, 48))  # moves BatchNorm's averages
    config = blob_config()
    shared = save_weights(model, config, tmp_path / "best.safetensors")
    full = save_checkpoint(a_state(model), tmp_path / "best.pt")
    assert shared.stat().st_size < 0.7 * full.stat().st_size
    with safetensors.safe_open(shared, framework="np") as file:  # any reader finds the config
        assert json.loads(file.metadata()["config"])["features"] == [4, 8]
        assert file.get_tensor("final_conv.weight").dtype == np.float16
    assert shared.read_bytes() == save_weights(model, config, tmp_path / "b").read_bytes()

    loaded, found = load_model(shared)
    assert found == config
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    photo = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected, given = model.eval()(photo).sigmoid(), loaded(photo).sigmoid()
    assert (expected - given).abs().max() < 0.01


def test_weights_that_fp16_cannot_hold_are_refused(tmp_path):
    model = a_model()
    with torch.no_grad():
        model.final_conv.bias.fill_(1e6)
    with pytest.raises(CourseError, match=r"final_conv\.bias.*65504.*found 1e\+06"):
        save_weights(model, blob_config(), tmp_path / "best.safetensors")
    assert not any(tmp_path.iterdir())


def test_other_safetensors_are_refused(tmp_path):
    path = tmp_path / "best.safetensors"
    weights = {key: value.contiguous() for key, value in a_model().state_dict().items()}
    config = blob_config().model_dump(mode="json")
    cases = {
        "weights without a config": (weights, None),
        "no config": (weights, {"config": "null"}),
        "not safetensors": (weights, {"config": "{broken"}),
        "velocity": (weights, {"config": json.dumps(config | {"velocity": 3})}),
        "no weight final_conv.bias": (
            {key: value for key, value in weights.items() if key != "final_conv.bias"},
            {"config": json.dumps(config)},
        ),
    }
    for found, (tensors, metadata) in cases.items():
        save_file(tensors, path, metadata)
        with pytest.raises(CourseError, match=found):
            load_model(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CourseError, match="not safetensors"):
        load_model(path)
    torch.save(a_state(a_model()), path)
    with pytest.raises(CourseError, match="not safetensors"):
        load_model(path)


def test_a_compiled_model_s_checkpoint_is_a_plain_one(tmp_path):
    model = a_model()
    compiled = torch.compile(model, backend="eager")  # nothing is compiled before the first call
    assert bare_model(compiled) is model
    path = save_weights(compiled, blob_config(), tmp_path / "best.safetensors")
    assert same(load_model(path)[0].half().state_dict(), a_model().half().state_dict())
    path = save_checkpoint(a_state(a_model(seed=1)), tmp_path / "best.pt")
    load_checkpoint(path, compiled)
    assert same(model.state_dict(), a_model(seed=1).state_dict())
