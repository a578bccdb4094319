"""Faster, or smaller: every switch of TrainConfig gives the same results, on or off."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from blobs import Blobs, blob_config, blob_loaders
from hypothesis import given, settings
from hypothesis import strategies as st
from make_pairs import make_archive_pair
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, DistributedSampler

from unet_helpers.checkpoint import load_checkpoint, model_from_config, save_checkpoint
from unet_helpers.config import TrainConfig
from unet_helpers.dataset import EpochSampler, make_loader, read_photo
from unet_helpers.distributed import ALONE, World
from unet_helpers.environment import CourseError, pick_precision
from unet_helpers.losses import bce_dice_loss, make_loss
from unet_helpers.metrics import SegmentationMetrics
from unet_helpers.model import UNET
from unet_helpers.shares import SharedSampler, shared, shares
from unet_helpers.speed import (
    divisor_of,
    explained,
    recomputing,
    slower_averages,
    train_in_parts,
    wrapped,
)
from unet_helpers.split import prepare
from unet_helpers.training import fit, loaders_from_config, train_fn

FP32 = pick_precision("cpu", "fp32")
OFF = torch.amp.GradScaler("cpu", enabled=False)


pytestmark = pytest.mark.usefixtures("one_thread")


def small_unet(norm: str = "none", out_channels: int = 1) -> UNET:
    torch.manual_seed(0)
    return UNET(out_channels=out_channels, features=(4, 8), norm=norm)


def blob_batch(count: int, classes: int = 2):
    images, masks, stems = next(iter(DataLoader(Blobs(count), count)))
    if classes > 2:  # a third class in the upper half
        masks[:, :16] *= 2
    return images, masks, stems


def gradients(model: nn.Module, epoch, batches, loss="bce_dice", classes=(), **options) -> dict:
    """What one step's gradients are, seen through an optimizer that subtracts them.

    classes: class weights and ignored index.
    """
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    still = torch.optim.SGD(model.parameters(), lr=1.0)
    loss_fn = make_loss(loss, *classes)
    mean = epoch(batches, model, still, loss_fn, OFF, precision=FP32, **options)
    found = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    return {"loss": torch.tensor(mean), **found}


def assert_near(one: dict, other: dict, **tolerance) -> None:
    assert list(one) == list(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=lambda m, n=name: f"{n}: {m}",
                                   **tolerance)  # fmt: skip


# --- gradient accumulation -----------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 3, 7, 9])
@pytest.mark.parametrize("loss", ["bce_dice", "bce", "dice", "ce_dice"])
def test_parts_of_a_batch_give_the_gradient_of_the_batch(parts, loss):
    """Parts of unequal size, and more parts than images, included."""
    channels = 3 if loss == "ce_dice" else 1
    batch = blob_batch(7, channels)
    whole = gradients(small_unet(out_channels=channels), train_fn, [batch], loss)
    batches = shares([batch], ALONE)
    found = gradients(small_unet(out_channels=channels), train_in_parts, batches, loss, parts=parts)
    assert whole["final_conv.bias"].abs().max() > 1e-3
    assert_near(found, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parts", [2, 7])
@pytest.mark.parametrize("loss", ["ce", "ce_dice"])
@pytest.mark.parametrize("classes", [((1, 2, 20), None), (None, 255), ((1, 2, 20), 255)])
def test_parts_whose_pixels_weigh_unequally_give_the_gradient_of_the_batch(parts, loss, classes):
    """Images with rare classes, nearly ignored ones, and one that is ignored to the last pixel."""
    images, masks, stems = blob_batch(7, 3)
    if classes[1]:
        masks[0], masks[1, 1:] = 255, 255
    model, other = small_unet(out_channels=3), small_unet(out_channels=3)
    config = blob_config(out_channels=3, loss=loss, class_weights=classes[0],
                         ignore_index=classes[1])  # fmt: skip
    whole = gradients(model, train_fn, [(images, masks, stems)], loss, classes)
    batches, options = shares([(images, masks, stems)], ALONE), {"parts": parts}
    options["weigh"] = divisor_of(config)
    found = gradients(other, train_in_parts, batches, loss, classes, **options)
    assert whole["final_conv.bias"].abs().max() > 1e-3
    assert_near(found, whole, rtol=1e-4, atol=1e-6)


def test_a_batch_that_is_ignored_whole_costs_nothing():
    images, masks, stems = blob_batch(4)
    config = blob_config(out_channels=2, loss="ce", ignore_index=255)
    batches, weigh = shares([(images, masks * 0 + 255, stems)], ALONE), divisor_of(config)
    found = gradients(
        small_unet(out_channels=2), train_in_parts, batches, "ce", (None, 255), parts=2, weigh=weigh
    )
    assert all(not value.any() for value in found.values())


def test_in_one_part_it_is_train_fn_bit_for_bit():
    results = []
    for epoch, batches in (
        (train_fn, DataLoader(Blobs(7), 3)),
        (train_in_parts, shares(DataLoader(Blobs(7), 3), ALONE)),
    ):
        model = small_unet("batch")
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        seen = []
        mean = epoch(
            batches, model, optimizer, bce_dice_loss, OFF, precision=FP32, clip_norm=0.1,
            progress=seen.append,
        )  # fmt: skip
        results.append((mean, seen, model.state_dict()))
    assert results[0][:2] == results[1][:2]
    assert_near(results[0][2], results[1][2], rtol=0, atol=0)


def test_only_a_part_is_in_the_network_at_a_time():
    model, sizes = small_unet(), []
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    gradients(model, train_in_parts, shares([blob_batch(8)], ALONE), parts=4)
    assert sizes == [2, 2, 2, 2]


def test_batchnorm_sees_parts_and_its_averages_move_as_far_as_with_the_whole_batch():
    """With the same images in both halves nothing differs, the averages included."""
    images, masks, stems = blob_batch(4)
    batch = images.repeat(2, 1, 1, 1), masks.repeat(2, 1, 1), stems * 2
    whole, halves = small_unet("batch"), small_unet("batch")
    expected = gradients(whole, train_fn, [batch])
    with slower_averages(halves, 2):
        found = gradients(halves, train_in_parts, shares([batch], ALONE), parts=2)
    assert_near(found, expected, rtol=1e-3, atol=1e-5)
    for name, value in whole.named_buffers():
        if "running_mean" in name:
            torch.testing.assert_close(halves.get_buffer(name), value, rtol=1e-3, atol=1e-5)
    assert all(m.momentum == 0.1 for m in halves.modules() if isinstance(m, nn.BatchNorm2d))
    # With other images in the second half it does differ, which is why the docstring says so.
    model = small_unet("batch")
    other = gradients(model, train_in_parts, shares([blob_batch(8)], ALONE), parts=2)
    whole = gradients(small_unet("batch"), train_fn, [blob_batch(8)])
    assert not torch.allclose(other["final_conv.weight"], whole["final_conv.weight"], rtol=1e-3)


# --- activation checkpointing --------------------------------------------------------------------


def kept_bytes(model: nn.Module, images: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, each tensor counted once."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model(images)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    logits.sum().backward()
    return sum(size for pointer, size in kept.items() if pointer not in weights)


def test_activation_checkpointing_gives_the_same_numbers_and_statistics():
    plain, short = small_unet("batch"), small_unet("batch")
    expected = gradients(plain, train_fn, [blob_batch(4)])
    with recomputing(short):
        found = gradients(short, train_fn, [blob_batch(4)])
    assert_near(found, expected, rtol=1e-5, atol=1e-7)
    assert_near(short.state_dict(), plain.state_dict(), rtol=1e-5, atol=1e-6)
    counts = [b for name, b in short.named_buffers() if "num_batches" in name]
    assert counts and all(count == 1 for count in counts)
    assert all("forward" not in vars(module) for module in short.modules())


def test_without_care_batchnorm_would_count_twice():
    """What `recomputing` mends: if torch mends it one day, this fails and it may go."""
    norm = nn.BatchNorm2d(1)
    checkpoint(
        norm, torch.rand(2, 1, 4, 4, requires_grad=True), use_reentrant=False
    ).sum().backward()
    assert norm.num_batches_tracked == 2


def test_activation_checkpointing_keeps_less():
    images = blob_batch(4)[0]
    plain = kept_bytes(small_unet("batch"), images)
    model = small_unet("batch")
    with recomputing(model):
        short = kept_bytes(model, images)
    assert short < 0.5 * plain


def test_activation_checkpointing_needs_the_blocks_it_knows():
    model = nn.Conv2d(3, 1, 1)
    with pytest.raises(CourseError, match="DoubleConv"), recomputing(model):
        pass


# --- every switch through fit --------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    pair = make_archive_pair(folder / "pair", cars=3, angles=8)
    return prepare(pair, folder / "prepared", progress=False)


def run_with(prepared, folder, **changes):
    settings = {"height": 32, "width": 48, "epochs": 2, "batch_size": 4, "augment": "gentle"}
    config = blob_config(**settings | changes)
    loaders = loaders_from_config(config, prepared)
    torch.manual_seed(0)
    return fit(model_from_config(config), *loaders, config, folder, progress=False)


SWITCHES = [
    ({"cache": False}, {}, 0),
    ({"workers": 2}, {}, 0),
    ({"activation_checkpointing": True}, {}, 1e-4),
    ({"channels_last": False}, {}, 1e-2),
    ({"accumulate": 2}, {"norm": "none"}, 1e-3),
    ({"compile": True}, {}, 1e-2),
    ({"compile": True, "activation_checkpointing": True, "accumulate": 2}, {"norm": "none"}, 1e-2),
    ({"precision": "bf16"}, {}, 0.1),
    ({"precision": "fp16"}, {}, 0.1),
    ({"precision": "fp16", "accumulate": 2}, {"norm": "none"}, 0.1),
    ({"scaled_decode": False}, {}, 0.05),
]


@pytest.mark.parametrize(
    ("switch", "also", "tolerance"),
    SWITCHES,
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_a_switch_changes_the_speed_and_not_the_results(
    tmp_path, prepared, monkeypatch, switch, also, tolerance
):
    # The real compiler takes most of a minute; what is tested here is what lies around it.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain = run_with(prepared, tmp_path / "plain", **also)
    switched = run_with(prepared, tmp_path / "switched", **also | switch)
    for one, other in zip(plain, switched, strict=True):
        for key in ("train_loss", "val_loss"):
            assert other[key] == pytest.approx(one[key], rel=tolerance, abs=0)
        assert other["dice_mean"] == pytest.approx(one["dice_mean"], abs=tolerance)


def test_pin_memory_is_for_nvidia_gpus(prepared):
    """Where there is none, torch pins nothing: here it is only seen what the loaders are told."""
    for wanted, device, pinned in ((True, "cuda", True), (False, "cuda", False),
                                   (True, "cpu", False)):  # fmt: skip
        config = blob_config(pin_memory=wanted, workers=0)
        for loader in loaders_from_config(config, prepared, device=device):
            assert loader.pin_memory is pinned
            assert shared(loader, World(0, 2)).pin_memory is pinned


@pytest.mark.slow
def test_the_real_compiler_gives_the_same_results(tmp_path, prepared):
    plain = run_with(prepared, tmp_path / "plain", epochs=1)
    compiled = run_with(prepared, tmp_path / "compiled", epochs=1, compile=True)
    assert compiled[0]["val_loss"] == pytest.approx(plain[0]["val_loss"], rel=1e-2)
    names = load_checkpoint(tmp_path / "compiled" / "best.pt")["model"]
    assert list(names) == list(load_checkpoint(tmp_path / "plain" / "best.pt")["model"])


def test_a_photo_decoded_whole_is_nearly_the_same(prepared):
    path = min(prepared.images("train").iterdir())
    scaled, whole = (read_photo(path, (32, 48), scaled=s).astype(int) for s in (True, False))
    difference = np.abs(scaled - whole)
    assert 0 < difference.mean() < 2.5 and difference.max() < 60


@pytest.mark.parametrize("classes", [{}, {"out_channels": 2, "loss": "ce"}])
def test_whole_and_scaled_photos_never_share_a_cache(prepared, classes):
    size = {"height": 32, "width": 48, **classes}
    photos = []
    for scaled in (True, False, True):
        config = TrainConfig(**size, features=(4, 8), scaled_decode=scaled, device="cpu")
        train, _ = loaders_from_config(config, prepared)
        train.dataset.transform = None
        photos.append(np.stack([train.dataset[i][0] for i in range(8)]))
    assert np.array_equal(photos[0], photos[2]) and not np.array_equal(photos[0], photos[1])


# --- too little memory ---------------------------------------------------------------------------


# One line, as torch writes it.
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 3.44 GiB. GPU 0 has a total capacity of 14.74 GiB of "
    "which 2.98 GiB is free. Process 3021 has 11.75 GiB memory in use. Of the allocated memory "
    "11.35 GiB is allocated by PyTorch, and 259.15 MiB is reserved by PyTorch but unallocated. If "
    "reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF="
    "expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)


class Hungry(nn.Module):
    """A network on a GPU with room for so many photos at a time."""

    def __init__(self, room: int, error=torch.OutOfMemoryError) -> None:
        super().__init__()
        self.room, self.error, self.layer = room, error, nn.Conv2d(3, 1, 1)

    def forward(self, images):
        if len(images) > self.room:
            raise self.error(OUT_OF_MEMORY)
        return self.layer(images)


def test_the_remedies_come_in_order_and_following_them_helps(tmp_path):
    config, room = blob_config(epochs=1, batch_size=8), 2
    loaders = blob_loaders(val=8)
    tried = []
    while True:
        try:
            fit(Hungry(room), *loaders, config, tmp_path, resume=bool(tried), progress=False)
            break
        except CourseError as error:
            message = str(error)
            tried.append(config.accumulate)
        assert "found CUDA out of memory. Tried to allocate 3.44 GiB. What to do" in message
        remedies = ("1. accumulate=", "2. activation_checkpointing=true", "3. height=16 width=16")
        order = [message.index(remedy) for remedy in remedies]
        assert order == sorted(order) and "first 2 go with --resume" in message
        wanted = int(message.partition("1. accumulate=")[2].partition(" ")[0])
        config = config.model_copy(update={"accumulate": wanted})
    assert tried == [1, 2] and config.accumulate == 4  # 8, 4, then 2 photos at a time
    assert load_checkpoint(tmp_path / "last.pt")["epoch"] == 1


def test_one_photo_is_one_photo():
    with pytest.raises(CourseError) as caught, explained(blob_config(accumulate=4)):
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)
    assert "room for 2 photos of" in str(caught.value)
    assert "accumulate=8 (1 photo at a time" in str(caught.value)
    with (
        pytest.raises(CourseError, match="room for 1 photo of"),
        explained(blob_config(accumulate=8)),
    ):
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)


@pytest.mark.parametrize(
    ("settings", "first", "not_named"),
    [
        ({"accumulate": 8}, "1. activation_checkpointing", "accumulate="),
        ({"accumulate": 8, "activation_checkpointing": True}, "1. height=", "checkpointing=true"),
        ({"activation_checkpointing": True}, "1. accumulate=2", "checkpointing=true"),
        ({"batch_size": 9, "accumulate": 2}, "1. accumulate=5", "none"),  # 5 + 4, then 2 at most
    ],
)
def test_what_is_switched_on_already_is_no_remedy(settings, first, not_named):
    config = blob_config(**settings)
    with pytest.raises(CourseError) as caught, explained(config):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert first in str(caught.value) and not_named not in str(caught.value).partition("do:")[2]


def test_too_little_memory_without_a_gpu_is_explained_too():
    with pytest.raises(CourseError, match=r"1\. accumulate=2"), explained(blob_config()):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(RuntimeError, match="shapes"), explained(blob_config()):
        raise RuntimeError("shapes do not fit")


def test_a_missing_compiler_is_explained():
    error = type("InvalidCxxCompiler", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    wanted = r"install a C\+\+ compiler.*compile=false"
    with pytest.raises(CourseError, match=wanted), explained(blob_config(compile=True)):
        raise error("No working C++ compiler found")


# --- shares of several processes -----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(2, 4), st.integers(0, 3))
def test_shares_are_the_batches_of_one_process_and_weigh_as_much(photos, each, size, epoch):
    """Every batch of one process is dealt out; nothing twice, though all have equally many."""
    blobs = Blobs(photos, 4, 4)
    whole = make_loader(blobs, each * size, shuffle=True, seed=3)
    dealt = [shared(whole, World(rank, size)) for rank in range(size)]
    for loader in [whole, *dealt]:
        loader.sampler.set_epoch(epoch)
    shares_of_all = [list(shares(loader, World(r, size))) for r, loader in enumerate(dealt)]
    assert {len(mine) for mine in shares_of_all} == {len(whole)}
    for batch, parts in zip(whole, zip(*shares_of_all, strict=True), strict=True):
        stems = [stem for part in parts for stem in part.stems[: part.count]]
        assert sorted(stems) == sorted(batch[2])
        value = batch[0].mean(dim=(1, 2, 3))  # one number an image
        means = [part.weight * part.images.mean() for part in parts]
        torch.testing.assert_close(sum(means) / size, value.mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("photos", "size"), [(10, 2), (7, 3), (2, 4)])
def test_turns_are_those_of_torch(photos, size):
    blobs = Blobs(photos)
    for rank in range(size):
        oracle = DistributedSampler(blobs, size, rank, shuffle=False)
        assert list(SharedSampler(blobs, False, 0, World(rank, size))) == list(oracle)


@pytest.mark.parametrize(("photos", "size"), [(10, 2), (7, 3), (2, 4)])
def test_for_measuring_every_photo_comes_once(photos, size):
    loader = make_loader(Blobs(photos), 2)
    dealt = [shared(loader, World(rank, size)) for rank in range(size)]
    stems = [[stem for _, _, stems in mine for stem in stems] for mine in dealt]
    found = sorted(stem for mine in stems for stem in mine)
    assert found == sorted(f"blob_{i}" for i in range(photos))
    for mine, names in zip(dealt, stems, strict=True):
        assert len(mine.sampler) == len(names)


def test_a_share_follows_the_epoch_and_tells_the_data_set():
    class Told(Blobs):
        def set_epoch(self, epoch):
            self.epoch = epoch

    blobs = Told(12)
    sampler, whole = SharedSampler(blobs, True, 1, World(1, 2)), EpochSampler(blobs, True, 1)
    for epoch in (0, 5):
        sampler.set_epoch(epoch)
        whole.set_epoch(epoch)
        assert list(sampler) == list(whole)[1::2]
        assert blobs.epoch == epoch


@pytest.mark.parametrize("counts", [(3, 3), (4, 3, 3), (1, 0)])
def test_metrics_counted_in_turns_are_those_of_one_process(counts):
    size, total = len(counts), sum(counts)
    random = torch.Generator().manual_seed(2)
    predicted, masks = (torch.rand(2, total, 8, 8, generator=random) < 0.4).to(torch.uint8)
    stems = [f"photo_{i}" for i in range(total)]
    alone = SegmentationMetrics()
    alone.update(predicted, masks, stems)
    parts = []
    for rank in range(size):
        part = SegmentationMetrics()
        for start in range(rank, total, 2 * size):  # batches of up to two
            chosen = slice(start, start + 2 * size, size)
            part.update(predicted[chosen], masks[chosen], stems[chosen])
        parts.append(part)
    parts = [part for part in parts if part._stems]
    assert SegmentationMetrics.from_turns(parts).compute() == alone.compute()


# --- runs of other versions ----------------------------------------------------------------------


def changed_checkpoint(folder, change) -> TrainConfig:
    config = blob_config(epochs=1)
    torch.manual_seed(0)
    fit(model_from_config(config), *blob_loaders(), config, folder, progress=False)
    state = load_checkpoint(folder / "last.pt")
    change(state)
    save_checkpoint(state, folder / "last.pt")
    return blob_config(epochs=2)


def resume(config, folder):
    return fit(
        model_from_config(config), *blob_loaders(), config, folder, resume=True, progress=False
    )


def test_a_run_from_before_these_switches_goes_on(tmp_path):
    def make_old(state):
        for key in ("compile", "accumulate", "scaled_decode", "pin_memory"):
            del state["config"][key]
        del state["processes"], state["format"]

    assert len(resume(changed_checkpoint(tmp_path, make_old), tmp_path)) == 2


def test_a_run_of_a_newer_version_is_refused_by_name(tmp_path):
    config = changed_checkpoint(tmp_path, lambda state: state["config"].update(warp_drive=True))
    with pytest.raises(
        CourseError, match=r"warp_drive: True → no setting.*with the version of the"
    ):
        resume(config, tmp_path)


def test_a_checkpoint_of_a_newer_format_is_refused(tmp_path):
    config = changed_checkpoint(tmp_path, lambda state: state.update(format=99))
    with pytest.raises(CourseError, match=r"format 99, of a newer version.*up to date"):
        resume(config, tmp_path)


def test_the_way_of_computing_may_change_when_a_run_is_resumed(tmp_path):
    config = changed_checkpoint(tmp_path, lambda state: None)
    switches = {"accumulate": 2, "activation_checkpointing": True, "pin_memory": False}
    assert len(resume(config.model_copy(update=switches), tmp_path)) == 2


def test_wrapped_alone_and_without_compile_is_the_model_itself():
    model = small_unet()
    assert wrapped(model, blob_config(), torch.device("cpu")) is model
