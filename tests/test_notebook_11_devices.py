"""Notebook 11 on devices that the machine of the tests is not: what it asks of them, they have.

Its cells run here as they stand, on the CPU; which device and what precision there is, is made up.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch

from unet_helpers import environment

ROOT = Path(__file__).resolve().parents[1]
CELLS = nbformat.read(ROOT / "notebooks" / "11_make_it_fast.ipynb", as_version=4).cells


def run_cell(part: str, names: dict) -> dict:
    """Run the one code cell that holds `part` with these names; returns what it leaves behind."""
    (source,) = [c.source for c in CELLS if c.cell_type == "code" and part in c.source]
    exec(compile(source, part, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("device", "native_bf16", "tried"),
    [("cpu", False, "bf16"), ("cuda", True, "bf16"), ("cuda", False, "fp16"), ("mps", False, None)],
)
def test_half_precision_is_one_that_the_device_has(monkeypatch, device, native_bf16, tried):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native_bf16)
    here, asked = torch.device(device), []

    def change(name, alone, precision):
        asked.append(environment.pick_precision(here, precision).name)

    run_cell("precision=half", {
        "device": here, "on_cpu": device == "cpu", "change": change,
        "pick_precision": environment.pick_precision,
    })  # fmt: skip
    assert asked == ([tried] if tried else [])


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_the_stopwatch_waits_for_the_device(monkeypatch, device):
    waited = []
    monkeypatch.setattr(getattr(torch, device), "synchronize", lambda: waited.append(device))
    names = run_cell("class Stopwatch", {"device": torch.device(device)})
    watch = names["Stopwatch"]()
    with watch("forward"):
        assert not waited
    assert waited == [device] and watch["forward"] > 0


@pytest.mark.parametrize("scaled", [True, False])
def test_an_epoch_in_fp16_keeps_small_gradients_by_scaling(scaled):
    """The gradient of each logit is 1e-9, which in fp16 is zero unless it is scaled."""
    names = run_cell("class Stopwatch", {"device": torch.device("cpu")})
    names["transform"] = lambda image, mask: {
        "image": torch.from_numpy(image).permute(2, 0, 1), "mask": torch.from_numpy(mask),
    }  # fmt: skip
    run_cell("def timed_epoch", names)
    names["bce_dice_loss"] = lambda logits, truth: logits.float().sum() * 1e-9
    photo, mask = np.ones((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8)
    model = torch.nn.Conv2d(3, 1, 1)
    seen = []
    model.bias.register_hook(lambda gradient: seen.append(gradient.abs().max().item()))
    fp16 = environment.pick_precision("cpu", "fp16")
    scaler = torch.amp.GradScaler("cpu", enabled=scaled and fp16.use_scaler)
    parts = names["timed_epoch"]([(photo, mask, "a")] * 2, model, fp16, scaler, 1)
    assert list(parts) == ["decode", "augment", "transfer", "forward", "backward", "step"]
    assert all(value > 0 for value in seen) == scaled and len(seen) == 2


@pytest.mark.parametrize(("device", "compiled"), [("mps", False), ("cuda", True), ("cpu", True)])
def test_only_a_device_with_a_compiler_compiles(monkeypatch, capsys, device, compiled):
    monkeypatch.setattr("shutil.which", lambda name: f"bin/{name}")
    tried = []
    way = SimpleNamespace(
        config=SimpleNamespace(model_copy=lambda update: update), epoch=lambda: None
    )
    run_cell('update={"compile": True}', {
        "device": torch.device(device), "on_cpu": device == "cpu", "quick": lambda: False,
        "Way": lambda config: way, "way": way, "ways": {"compile": way}, "everything": [1, 2],
        "change": lambda name, alone, compile: tried.append(name),
        "table": [("compile", {}, 6.0, 5.0, 5.0, True)], "time": SimpleNamespace(perf_counter=int),
    })  # fmt: skip
    assert bool(tried) == compiled
    assert ("paid back" in capsys.readouterr().out) == compiled


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_a_way_scales_where_its_precision_asks_for_it(name):
    given = []
    names = run_cell("class Way:", {
        "device": torch.device("cpu"), "torch": torch, "size": (8, 8), "scratch": Path(),
        "pick_precision": environment.pick_precision, "model_of": lambda config: "a network",
        "photos": Path(), "masks": Path(), "CarvanaDataset": lambda *folders, **how: "photos",
        "timed_epoch": lambda *arguments: given.extend(arguments),
    })  # fmt: skip
    config = SimpleNamespace(precision=name, scaled_decode=True, cache=False, batch_size=8)
    way = names["Way"](config)
    way.epoch()
    assert way.scaler.is_enabled() == (name == "fp16")
    assert given == ["photos", "a network", way.precision, way.scaler, 8]
