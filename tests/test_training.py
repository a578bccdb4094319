from __future__ import annotations

import ast
import csv
import inspect
import math
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import Blobs, blob_config, blob_loaders
from make_pairs import make_archive_pair
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from unet_helpers.checkpoint import load_checkpoint, load_model, model_from_config
from unet_helpers.dataset import read_mask, read_photo
from unet_helpers.environment import CourseError, Precision, pick_precision
from unet_helpers.inference import predict_mask
from unet_helpers.losses import bce_dice_loss, bce_loss
from unet_helpers.run_folder import fresh_run, holds_run, read_history, stopped_improving
from unet_helpers.run_state import ema_update, learning_rate_factor, prepare_run
from unet_helpers.sources import open_source
from unet_helpers.split import prepare
from unet_helpers.training import check_accuracy, evaluate, fit, loaders_from_config, train_fn

FP32 = pick_precision("cpu", "fp32")
OFF = torch.amp.GradScaler("cpu", enabled=False)


pytestmark = pytest.mark.usefixtures("one_thread")


def a_model(config=None, seed: int = 0):
    torch.manual_seed(seed)
    return model_from_config(config or blob_config())


def weights(model) -> dict:
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return list(first) == list(second) and all(torch.equal(first[k], second[k]) for k in first)


def without_seconds(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


# --- one epoch ----------------------------------------------------------------------------------


def one_pixel_filter(seed: int = 0) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 1, kernel_size=1)


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("scale", [None, 1024.0])
def test_a_step_is_the_gradient_worked_out_by_hand(clip_norm, scale):
    """Of logistic regression: the gradient of the mean BCE is mean((p - y) x), without autograd."""
    model = one_pixel_filter()
    image, mask, stem = Blobs(1)[0]
    before = weights(model)
    x, y = image.double().numpy(), mask.double().numpy()
    w, b = before["weight"].double().numpy().reshape(3), before["bias"].double().item()
    error = 1 / (1 + np.exp(-(np.tensordot(w, x, 1) + b))) - y  # (H, W)
    gradient = np.array([*(error * x).mean(axis=(1, 2)), error.mean()])
    norm = np.linalg.norm(gradient)
    assert norm > 0.05
    if clip_norm is not None:
        gradient *= clip_norm / norm

    scaler = torch.amp.GradScaler("cpu", enabled=scale is not None, init_scale=scale or 1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    batch = (image[None], mask[None], [stem])
    train_fn([batch], model, optimizer, bce_loss, scaler, precision=FP32, clip_norm=clip_norm)

    after = np.array([*model.weight.detach().numpy().reshape(3), model.bias.item()])
    np.testing.assert_allclose(after, np.array([*w, b]) - 0.5 * gradient, rtol=1e-4, atol=1e-6)


def test_the_mean_loss_is_per_image_and_reported_batch_by_batch():
    model = one_pixel_filter()
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    blobs = Blobs(7)
    expected = []
    for image, mask, _ in blobs:
        with torch.no_grad():
            logits = model(image[None])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, mask[None].float())
        expected.append(loss.item())
    seen = []
    loader = DataLoader(blobs, batch_size=3)  # 3, 3 and a last one alone
    mean = train_fn(
        loader, model, still, bce_loss, OFF, precision=FP32, progress=lambda loss: seen.append(loss)
    )
    assert mean == pytest.approx(np.mean(expected), rel=1e-5)
    assert seen == pytest.approx(
        [np.mean(expected[:3]), np.mean(expected[3:6]), expected[6]], rel=1e-5
    )


def test_the_model_is_in_training_mode_and_the_schedule_moves_with_each_step():
    model = a_model().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    loader = DataLoader(Blobs(7), batch_size=3)
    train_fn(loader, model, optimizer, bce_loss, OFF, precision=FP32, scheduler=scheduler)
    assert model.training
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)


def test_the_averaged_model_follows_every_step():
    model = one_pixel_filter()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ema = AveragedModel(model, multi_avg_fn=ema_update(0.2), use_buffers=True)
    path = []
    loader = DataLoader(Blobs(4), batch_size=1)
    train_fn(
        loader, model, optimizer, bce_loss, OFF, precision=FP32, ema=ema,
        progress=lambda loss: path.append(model.weight.detach().clone()),
    )  # fmt: skip
    average = path[0]
    # 2/11 is below 0.2, and 3/12 and 4/13 are above it.
    for weight, kept in zip(path[1:], (2 / 11, 0.2, 0.2), strict=True):
        average = kept * average + (1 - kept) * weight
    assert torch.allclose(ema.module.weight, average, atol=1e-6)
    assert not torch.allclose(ema.module.weight, model.weight, atol=1e-3)


def test_the_average_takes_counters_as_they_are():
    model = nn.BatchNorm2d(1)
    ema = AveragedModel(model, multi_avg_fn=ema_update(0.9), use_buffers=True)
    for _ in range(5):
        model(torch.rand(2, 1, 4, 4))
        ema.update_parameters(model)
    assert ema.module.num_batches_tracked == 5
    assert ema.module.running_mean != model.running_mean


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched(value):
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    batches = list(DataLoader(Blobs(6), batch_size=2))
    batches[1][0][1] = value  # one image of the second batch
    states = []
    with pytest.raises(CourseError) as error:
        train_fn(
            batches, model, optimizer, bce_dice_loss, OFF, precision=FP32,
            progress=lambda loss: states.append([p.detach().clone() for p in model.parameters()]),
        )  # fmt: skip
    message = str(error.value)
    assert "blob_2, blob_3" in message and "blob_0" not in message and "blob_4" not in message
    assert "nan" in message and "learning_rate" in message
    assert len(states) == 1
    for now, after_first_batch in zip(model.parameters(), states[0], strict=True):
        assert torch.equal(now, after_first_batch)


def test_fp16_gradients_that_overflow_are_no_error():
    """The scale starts far too high: that step is skipped, the scale falls, training goes on."""
    model = a_model()
    before = [p.detach().clone() for p in model.parameters()]
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=2.0**100, backoff_factor=2**-30)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fp16 = Precision("fp16", "cpu", torch.float16, use_scaler=True)
    scales, changed = [], []

    def look(loss):
        scales.append(scaler.get_scale())
        changed.append(
            any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        )

    batches = list(DataLoader(Blobs(12), batch_size=2))
    train_fn(
        batches, model, optimizer, bce_loss, scaler, precision=fp16, clip_norm=1.0, progress=look
    )
    assert scales[0] < 2.0**100
    assert not changed[0]  # skipped
    assert changed[-1]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_train_fn_is_short_enough_to_be_taught():
    source = inspect.getsource(train_fn)
    assert len(source.splitlines()) <= 40
    calls = [
        ast.unparse(node.func).split(".")[-1]
        for node in ast.walk(ast.parse(source).body[0])
        if isinstance(node, ast.Call)
    ]
    steps = ["zero_grad", "autocast", "scale", "backward", "unscale_", "clip_grad_norm_", "update"]
    assert set(steps) <= set(calls)
    where = [source.index(f"{step}(") for step in steps]
    assert where == sorted(where)


# --- measuring ----------------------------------------------------------------------------------


class Brightness(nn.Module):
    """Calls a pixel car where it is brighter than 1."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images.mean(dim=1, keepdim=True) - self.one


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_check_accuracy_is_the_mean_over_images_for_any_batch_size(batch_size):
    blobs = Blobs(7)
    dice = []
    for image, mask, _ in blobs:
        found, true = image.mean(dim=0).numpy() > 1, mask.numpy() == 1
        dice.append(2 * (found & true).sum() / (found.sum() + true.sum()))
    model = Brightness().train()
    scores = check_accuracy(DataLoader(blobs, batch_size), model, device="cpu")
    assert scores.images == 7
    assert scores.dice_mean == pytest.approx(np.mean(dice), rel=1e-6)
    assert [row["stem"] for row in scores.per_image] == [f"blob_{i}" for i in range(7)]
    assert model.training  # as before


def test_measuring_leaves_batchnorm_as_it_was():
    model = a_model().train()
    before = weights(model)
    check_accuracy(DataLoader(Blobs(4), 2), model)
    assert same(before, weights(model))


def test_measuring_nothing_is_an_error():
    with pytest.raises(CourseError, match="at least one batch"):
        check_accuracy([], Brightness())


# --- the schedule -------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "warmup"), [(50, 0.0), (50, 0.2), (7, 0.5), (1, 0.9), (3, 0.1)])
def test_the_learning_rate_rises_in_a_line_and_falls_as_torch_s_cosine(steps, warmup):
    rising = 0 if steps == 1 else round(warmup * steps)
    factors = [learning_rate_factor(step, steps, warmup) for step in range(steps)]
    assert factors[:rising] == pytest.approx([(i + 1) / rising for i in range(rising)])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = CosineAnnealingLR(optimizer, T_max=max(1, steps - rising))
    for factor in factors[rising:]:
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        oracle.step()
    assert learning_rate_factor(steps, steps, warmup) == pytest.approx(0.0, abs=1e-12)


def test_patience():
    rows = [{"dice_mean": value} for value in (0.5, 0.7, 0.6, 0.7, 0.69)]
    assert not stopped_improving(rows, None)
    assert not stopped_improving(rows[:3], 2)
    assert stopped_improving(rows[:4], 2)  # equal is not better
    assert stopped_improving(rows, 3)
    assert not stopped_improving(rows, 4)
    assert not stopped_improving([], 1)


# --- a whole run --------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_what_the_readme_promises(tmp_path, capsys):
    config = blob_config(epochs=6)
    train, val = blob_loaders(train=32)
    out = tmp_path / "runs" / "studio"
    seen = []
    history = fit(
        a_model(config), train, val, config, out, on_epoch=lambda row, _: seen.append(row)
    )
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6] == [r["epoch"] for r in seen]
    assert history[-1]["dice_mean"] > 0.9
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    assert {"best.pt", "last.pt", "history.csv", "config.yaml", "tensorboard"} == {
        path.name for path in out.iterdir()
    }
    assert read_history(out) == history
    with (out / "history.csv").open() as file:
        assert next(csv.reader(file)) == [
            *("epoch", "train_loss", "val_loss", "dice_mean", "dice_p10", "iou_mean", "accuracy"),
            *("learning_rate", "seconds"),
        ]

    best, found = load_model(out / "best.pt")
    assert found == config
    scores = check_accuracy(val, best)
    assert scores.dice_mean == pytest.approx(max(row["dice_mean"] for row in history), abs=1e-6)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 6  # one line an epoch
    assert printed[2].startswith("epoch 3/6: loss") and "Dice" in printed[2]


def test_tensorboard_shows_the_history(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = blob_config(epochs=2)
    history = fit(a_model(config), *blob_loaders(), config, tmp_path / "run", progress=False)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("Dice/mean")]
    assert shown == [(row["epoch"], pytest.approx(row["dice_mean"])) for row in history]


@pytest.mark.parametrize("ema_decay", [None, 0.8])
def test_best_keeps_the_weights_that_were_measured(tmp_path, ema_decay):
    config = blob_config(epochs=3, ema_decay=ema_decay)
    train, val = blob_loaders()
    measured = {}

    def remember(row, model):
        measured[row["epoch"]] = weights(model)
        if row["epoch"] == 2:  # from here on it finds no car any more
            with torch.no_grad():
                model.final_conv.bias.fill_(-1000.0)

    history = fit(a_model(config), train, val, config, tmp_path, on_epoch=remember, progress=False)
    best = max(history, key=lambda row: row["dice_mean"])["epoch"]
    assert best < 3 and history[-1]["dice_mean"] == 0
    assert same(load_checkpoint(tmp_path / "best.pt")["model"], measured[best])
    assert same(weights(load_model(tmp_path / "last.pt")[0]), measured[3])
    raw = load_checkpoint(tmp_path / "last.pt")["model"]
    assert same(raw, measured[3]) == (ema_decay is None)


def test_a_model_that_is_not_the_config_s_is_refused(tmp_path):
    model = a_model(blob_config(features=(4, 4)))
    with pytest.raises(CourseError, match=r"features=\[4, 8\], as the config says.*\[4, 4\]"):
        fit(model, *blob_loaders(), blob_config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- stopping and resuming ----------------------------------------------------------------------


class Dropping(nn.Module):
    """A small network whose dropout draws from torch's random numbers in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Conv2d(4, 1, 1),
        )

    def forward(self, images):
        return self.layers(images)


class Stops(DataLoader):
    """A loader in whose epoch `at` somebody presses Ctrl-C, after two batches."""

    passes, at = 0, None

    def __iter__(self):
        self.passes += 1
        for number, batch in enumerate(super().__iter__()):
            if self.passes == self.at and number == 2:
                raise KeyboardInterrupt
            yield batch


def make_model(kind, config):
    torch.manual_seed(1)
    return Dropping() if kind == "dropout" else model_from_config(config)


@pytest.mark.parametrize("kind", ["unet", "ema", "dropout", "fp16"])
def test_resuming_is_bit_for_bit_as_never_having_stopped(tmp_path, kind, capsys):
    config = blob_config(
        ema_decay=0.9 if kind == "ema" else None, precision="fp16" if kind == "fp16" else "fp32"
    )
    val = DataLoader(Blobs(6, first=1000), 4)

    def loader():
        return Stops(Blobs(20), 6)

    straight = make_model(kind, config)
    expected = fit(straight, loader(), val, config, tmp_path / "straight", progress=False)

    broken = loader()
    broken.at = 3  # in the third of four epochs
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(kind, config), broken, val, config, tmp_path / "run", progress=False)
    assert "last.pt holds the run after 2 finished epochs" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "last.pt")["epoch"] == 2
    assert without_seconds(read_history(tmp_path / "run")) == without_seconds(expected[:2])

    # A new process would start from other random numbers and other weights.
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    model = Dropping() if kind == "dropout" else model_from_config(config)
    resumed = fit(model, loader(), val, config, tmp_path / "run", resume=True, progress=False)

    assert without_seconds(resumed) == without_seconds(expected)
    assert same(weights(model), weights(straight))
    for name in ("last.pt", "best.pt"):
        one, two = (load_checkpoint(tmp_path / where / name) for where in ("straight", "run"))
        assert same(one["model"], two["model"])
        if name == "last.pt":
            assert torch.equal(one["rng"]["torch"], two["rng"]["torch"])
            assert kind != "ema" or same(one["ema"], two["ema"])
            assert one["scaler"] == two["scaler"]
    assert without_seconds(read_history(tmp_path / "run")) == without_seconds(expected)


def test_a_callback_that_draws_random_numbers_changes_nothing(tmp_path):
    config = blob_config(epochs=2)
    val = DataLoader(Blobs(6, first=1000), 4)

    def draw(row, model):
        torch.rand(100)
        np.random.rand(3)

    results = []
    for name, callback in (("quiet", None), ("drawing", draw)):
        model = make_model("dropout", config)
        loader = DataLoader(Blobs(12), 4)
        on_step = callback and (lambda loss: draw(None, None))
        options = {"on_epoch": callback, "on_step": on_step, "progress": False}
        fit(model, loader, val, config, tmp_path / name, **options)
        results.append(weights(model))
    assert same(*results)


def test_a_callback_that_answers_false_ends_the_run_and_it_can_go_on(tmp_path, capsys):
    config = blob_config(epochs=3)
    train, val = blob_loaders()
    straight = fit(a_model(config), train, val, config, tmp_path / "a", progress=False)
    capsys.readouterr()
    for answer in (None, True, 0, (None, None)):  # only False itself ends a run
        out = tmp_path / repr(answer)
        seen = fit(
            a_model(config),
            train,
            val,
            config,
            out,
            progress=False,
            on_epoch=lambda *_, a=answer: a,
        )
        assert len(seen) == 3
    assert "Stopped" not in capsys.readouterr().out
    out = tmp_path / "b"
    stopped = fit(
        a_model(config), train, val, config, out, progress=False,
        on_epoch=lambda row, model: row["epoch"] < 2,
    )  # fmt: skip
    assert without_seconds(stopped) == without_seconds(straight)[:2]
    assert "Stopped after epoch 2 of 3, as asked" in capsys.readouterr().out
    assert load_checkpoint(out / "last.pt")["epoch"] == 2 and len(read_history(out)) == 2
    resumed = fit(a_model(config), train, val, config, out, resume=True, progress=False)
    assert without_seconds(resumed) == without_seconds(straight)


def test_every_step_is_reported_with_its_loss(tmp_path):
    config = blob_config(epochs=2)
    train, val = blob_loaders()
    losses = []
    history = fit(
        a_model(config), train, val, config, tmp_path, progress=False, on_step=losses.append
    )
    assert len(losses) == 2 * len(train)
    sizes = [len(images) for images, _, _ in train]
    for epoch, row in enumerate(history):
        of_epoch = losses[epoch * len(train) : (epoch + 1) * len(train)]
        mean = sum(n * loss for n, loss in zip(sizes, of_epoch, strict=True)) / sum(sizes)
        assert row["train_loss"] == pytest.approx(mean)


def test_stopped_in_the_first_epoch_it_can_be_resumed_or_started_over(tmp_path):
    config = blob_config(epochs=2)
    val = DataLoader(Blobs(4, first=1000), 4)
    broken = Stops(Blobs(12), 4)
    broken.at = 1
    with pytest.raises(KeyboardInterrupt):
        fit(a_model(config), broken, val, config, tmp_path / "run", progress=False)
    assert not holds_run(tmp_path / "run")
    loader = DataLoader(Blobs(12), 4)
    straight = fit(a_model(config), loader, val, config, tmp_path / "other", progress=False)
    resumed = fit(
        a_model(config, seed=5), loader, val, config, tmp_path / "run", resume=True, progress=False
    )
    assert without_seconds(resumed) == without_seconds(straight)


def test_an_earlier_run_is_never_overwritten(tmp_path, capsys):
    config = blob_config(epochs=1)
    train, val = blob_loaders()
    out = tmp_path / "studio"
    fit(a_model(config), train, val, config, out, progress=False)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(CourseError, match=r"best\.pt, history\.csv, last\.pt.*resume=True"):
        fit(a_model(config), train, val, config, out, progress=False)
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}

    for number in (1, 2):
        assert fresh_run(out) == out
        assert f"kept as studio-{number}" in capsys.readouterr().out
        assert not out.exists()
        fit(a_model(config, seed=number), train, val, config, out, progress=False)
    kept = tmp_path / "studio-1"
    assert before == {path.name: path.read_bytes() for path in kept.iterdir() if path.is_file()}


def test_a_lone_last_pt_is_not_overwritten_either(tmp_path):
    config = blob_config(epochs=1)
    fit(a_model(config), *blob_loaders(), config, tmp_path / "run", progress=False)
    for name in ("best.pt", "history.csv"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(CourseError, match="without a run"):
        fit(a_model(config), *blob_loaders(), config, tmp_path / "run", progress=False)


def test_resuming_with_other_settings_names_them(tmp_path):
    config = blob_config(epochs=1)
    train, val = blob_loaders()
    fit(a_model(config), train, val, config, tmp_path, progress=False)
    before = (tmp_path / "last.pt").read_bytes()
    other = blob_config(epochs=2, learning_rate=0.02, augment="strong", workers=0, name="b")
    with pytest.raises(CourseError) as error:
        fit(a_model(config), train, val, other, tmp_path, resume=True, progress=False)
    assert "learning_rate: 0.01 → 0.02; augment: gentle → strong)" in str(error.value)
    assert "epochs" not in str(error.value) and "workers" not in str(error.value)
    longer = blob_config(epochs=2)
    with pytest.raises(CourseError, match="3 batches an epoch; found 4 batches an epoch"):
        fit(
            a_model(config), DataLoader(Blobs(32), 8), val, longer, tmp_path, resume=True,
            progress=False,
        )  # fmt: skip
    assert (tmp_path / "last.pt").read_bytes() == before


def test_best_in_the_place_of_last_is_no_run_to_resume(tmp_path):
    config = blob_config(epochs=1)
    fit(a_model(config), *blob_loaders(), config, tmp_path, progress=False)
    (tmp_path / "best.pt").replace(tmp_path / "last.pt")
    longer = blob_config(epochs=2)
    with pytest.raises(CourseError, match="without optimizer, rng, steps_per_epoch"):
        fit(a_model(config), *blob_loaders(), longer, tmp_path, resume=True, progress=False)


def test_resuming_for_more_epochs_follows_the_longer_cosine(tmp_path):
    train, val = blob_loaders()  # three batches an epoch
    short, long = blob_config(epochs=2), blob_config(epochs=5)
    fit(a_model(short), train, val, short, tmp_path, progress=False)
    model = a_model(short, seed=7)
    history = fit(model, train, val, long, tmp_path, resume=True, progress=False)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    for row in history:
        config = short if row["epoch"] <= 2 else long
        last_step = 3 * row["epoch"] - 1
        factor = learning_rate_factor(last_step, 3 * config.epochs, config.warmup)
        assert row["learning_rate"] == pytest.approx(0.01 * factor)
    again = fit(a_model(short), train, val, long, tmp_path, resume=True, progress=False)
    assert again == history  # finished: nothing is left to do


def test_the_first_step_after_resuming_has_the_longer_run_s_rate(tmp_path):
    train, val = blob_loaders()
    short, long = blob_config(epochs=2), blob_config(epochs=5)
    fit(a_model(short), train, val, short, tmp_path, progress=False)
    run = prepare_run(a_model(short), long, torch.device("cpu"), FP32, 3)
    run.load(tmp_path / "last.pt")
    expected = 0.01 * learning_rate_factor(6, 15, long.warmup)
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_resuming_where_nothing_is_starts_a_run_and_says_so(tmp_path, capsys):
    config = blob_config(epochs=1)
    history = fit(
        a_model(config), *blob_loaders(), config, tmp_path / "new", resume=True, progress=False
    )
    assert len(history) == 1
    said = f"Nothing to resume in {tmp_path / 'new'}: starting at epoch 1."
    assert capsys.readouterr().out.splitlines() == [said]
    fit(a_model(config), *blob_loaders(), config, tmp_path / "another", progress=False)
    assert "resume" not in capsys.readouterr().out


def test_patience_ends_a_run(tmp_path, capsys):
    config = blob_config(epochs=8, patience=2, learning_rate=1e-9)  # nothing changes
    history = fit(a_model(config), *blob_loaders(), config, tmp_path, progress=False)
    assert len(history) < 8
    assert "stopped early" in capsys.readouterr().out
    again = fit(a_model(config), *blob_loaders(), config, tmp_path, resume=True, progress=False)
    assert again == history


def test_a_budget_of_time_stops_after_a_batch_and_can_be_resumed(tmp_path):
    config = blob_config(epochs=2)
    train, val = blob_loaders()
    history = fit(a_model(config), train, val, config, tmp_path, progress=False, max_seconds=0)
    assert len(history) == 1
    state = load_checkpoint(tmp_path / "last.pt")
    assert state["scheduler"]["last_epoch"] == 1  # one batch of three, then the measurement
    assert {float(entry["step"]) for entry in state["optimizer"]["state"].values()} == {1.0}
    assert load_model(tmp_path / "best.pt")[1] == config
    resumed = fit(a_model(config), train, val, config, tmp_path, resume=True, progress=False)
    assert [row["epoch"] for row in resumed] == [1, 2]
    ample = fit(
        a_model(config), train, val, config, tmp_path / "b", progress=False, max_seconds=1e6
    )
    assert len(ample) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_in_mid_run_leaves_the_earlier_epoch(tmp_path):
    config = blob_config(epochs=3)
    train, val = blob_loaders()
    straight = fit(a_model(config), train, val, config, tmp_path / "a", progress=False)
    out = tmp_path / "b"

    def fill_the_disk(row, model):
        (out / f".last.pt.{os.getpid()}.tmp").symlink_to("/dev/full")

    with pytest.raises(CourseError, match=r"last\.pt: .*full disk; last\.pt is still the one"):
        fit(a_model(config), train, val, config, out, on_epoch=fill_the_disk, progress=False)
    assert load_checkpoint(out / "last.pt")["epoch"] == 1
    resumed = fit(a_model(config), train, val, config, out, resume=True, progress=False)
    assert without_seconds(resumed) == without_seconds(straight)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_shows_before_the_first_epoch(tmp_path):
    config = blob_config()
    (tmp_path / f".last.pt.{os.getpid()}.tmp").symlink_to("/dev/full")
    train, val = blob_loaders()
    epochs = []
    with pytest.raises(CourseError, match="full disk"):
        fit(a_model(config), train, val, config, tmp_path, on_epoch=lambda *a: epochs.append(a))
    assert not epochs


# --- with the course's own data -----------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    pair = make_archive_pair(folder / "pair", cars=4)
    return prepare(pair, folder / "prepared", progress=False)


def studio_config(**changes):
    settings = {"height": 32, "width": 48, "features": (8, 16), "epochs": 3, "batch_size": 8}
    return blob_config(**settings | changes)


@pytest.mark.parametrize("workers", [0, 2])
def test_photos_are_augmented_alike_after_resuming(tmp_path, prepared, workers):
    config = studio_config(augment="strong", workers=workers)

    def run(out, **options):
        train, val = loaders_from_config(config, prepared)
        return fit(a_model(config), train, val, config, tmp_path / out, progress=False, **options)

    def stop(row, model):
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    expected = run("straight")
    with pytest.raises(KeyboardInterrupt):
        run("broken", on_epoch=stop)
    assert without_seconds(run("broken", resume=True)) == without_seconds(expected)
    last = [
        load_checkpoint(tmp_path / name / "last.pt")["model"] for name in ("straight", "broken")
    ]
    assert same(*last)


def test_a_run_on_made_up_cars_finds_them(tmp_path, prepared):
    config = studio_config(epochs=7, batch_size=4, augment="none")
    train, val = loaders_from_config(config, prepared)
    assert len(train.dataset) == prepared.count("train") == 32
    history = fit(a_model(config), train, val, config, tmp_path, progress=False)

    best, _ = load_model(tmp_path / "best.pt")
    scores = evaluate(best, prepared, "val", config)
    assert scores.images == 16
    assert scores.dice_mean == pytest.approx(max(row["dice_mean"] for row in history), abs=1e-6)
    test = evaluate(best, prepared, "test", config)
    stems = {row["stem"] for row in test.per_image}
    assert stems == {row.file.split(".")[0] for row in prepared.rows if row.split == "test"}

    # Two cars of two colours are no basis for finding others: what must be found are these two.
    last, _ = load_model(tmp_path / "last.pt")
    assert evaluate(last, prepared, "train", config).dice_mean > 0.9
    path = min(prepared.images("train").iterdir())
    true = read_mask(prepared.masks("train") / f"{path.stem}_mask.gif")
    mask = predict_mask(last, read_photo(path), (config.height, config.width))
    assert mask.shape == true.shape == (64, 96)
    assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.85


def test_fewer_cars_and_other_sizes_are_the_config_s_to_say(prepared):
    config = studio_config(height=48, width=80, batch_size=5)
    train, val = loaders_from_config(config, prepared, train_cars=1)
    assert len(train.dataset) == 16
    images, masks, stems = next(iter(train))
    assert images.shape == (5, 3, 48, 80) and images.dtype == torch.float32
    assert masks.shape == (5, 48, 80) and masks.dtype == torch.uint8
    assert len(stems) == 5
    assert len(val.dataset) == prepared.count("val")


@pytest.mark.real
def test_real_photos_are_learnt(tmp_path, real_carvana):
    """Six cars to learn from, one to be measured on: the road works on photographed cars too."""
    for name in ("train.zip", "train_masks.zip"):
        with (
            zipfile.ZipFile(real_carvana / name) as every,
            zipfile.ZipFile(tmp_path / name, "w") as few,
        ):
            for entry in sorted(e for e in every.namelist() if not e.endswith("/"))[: 8 * 16]:
                few.writestr(entry, every.read(entry))
    prepared = prepare(open_source(str(tmp_path)), tmp_path / "prepared", progress=False)
    config = studio_config(height=64, width=96, epochs=6)
    train, val = loaders_from_config(config, prepared)
    history = fit(a_model(config), train, val, config, tmp_path / "run", progress=False)
    assert history[-1]["dice_mean"] > 0.85
