"""`diagnose` on several classes: silent on the set-up of notebook 09, and it finds its faults."""

from __future__ import annotations

import copy

import pytest
import torch
from PIL import Image
from test_diagnose import in_eval, names_of, right_step
from torch import nn
from torch.utils.data import DataLoader

from unet_helpers.checkpoint import model_from_config
from unet_helpers.config import TrainConfig
from unet_helpers.dataset import eval_transform, make_loader
from unet_helpers.diagnose import diagnose
from unet_helpers.environment import seed_everything
from unet_helpers.labels import PARTS, label_picture
from unet_helpers.loaders import loaders_from_config
from unet_helpers.losses import (
    balanced_weights,
    cross_entropy_dice_loss,
    cross_entropy_loss,
    make_loss,
)
from unet_helpers.pets import PetDataset, open_pets
from unet_helpers.sources import open_source
from unet_helpers.split import prepare
from unet_helpers.toy_pets import write_toy_pets

C = len(PARTS)
WEIGHTS = balanced_weights((0.72, 0.18, 0.05, 0.04, 0.01))
CONFIG = TrainConfig(
    height=64, width=96, features=(4, 8), out_channels=C, classes=PARTS, loss="ce_dice",
    augment="gentle", batch_size=8, workers=0, cache=False, class_weights=WEIGHTS,
)  # fmt: skip
LOSS = make_loss("ce_dice", WEIGHTS)


@pytest.fixture(scope="module")
def loaders(tmp_path_factory):
    """Training and validation loader of part labels, as notebook 09 makes them."""
    source = open_source("studio", labels="parts")
    prepared = prepare(source, tmp_path_factory.mktemp("parts") / "prepared", progress=False)
    return loaders_from_config(CONFIG, prepared, device="cpu", train_cars=4)


@pytest.fixture(scope="module")
def parts(loaders):
    """One batch of sixteen photos: images (16, 3, H, W), labels (16, H, W), stems."""
    data = loaders[1].dataset
    return next(iter(DataLoader(data, 16, sampler=range(0, len(data), 5))))


def network(channels: int = C) -> nn.Module:
    seed_everything(0)
    model = model_from_config(CONFIG)
    if channels != C:
        model.final_conv = nn.Conv2d(4, channels, 1)
    return model


def found_in(batch, model=None, loss=LOSS, **given) -> list[str]:
    return names_of(diagnose([batch], model or network(), loss, quiet=True, **given))


@pytest.mark.parametrize("loss", [LOSS, make_loss("ce"), make_loss("ce", WEIGHTS)])
def test_silent_on_the_set_up_of_notebook_09(loaders, loss):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    found = diagnose(
        loaders[0], model, loss, val_loader=loaders[1], optimizer=optimizer, predict=in_eval,
        step=right_step, quiet=True,
    )  # fmt: skip
    assert found == []


def test_part_labels_with_other_photos_are_found(parts):
    images, labels, stems = parts
    assert found_in(parts) == []
    assert found_in((images, labels.roll(5, 0), stems)) == ["pairs"]
    assert found_in((images, labels.flip(-1), stems)) == ["pairs"]


def test_a_class_too_many_is_found_and_an_ignored_value_is_not(parts):
    images, labels, stems = parts
    finding = diagnose([parts], network(4), LOSS, quiet=True)[0]
    assert finding.name == "mask values" and "class indices 0 to 3" in finding.found
    assert "out_channels" in finding.cure and "binarise" not in finding.cure
    rim = labels.clone()
    rim[:, :2] = 255
    batch = images, rim, stems
    assert found_in(batch) == ["mask values"]
    assert found_in(batch, loss=make_loss("ce_dice", WEIGHTS, 255)) == []  # the loss says so itself
    assert found_in(batch, loss=lambda z, m: LOSS(z, m.clamp(max=4)), ignore_index=255) == []
    torchs = nn.CrossEntropyLoss(ignore_index=255)
    assert found_in((images, rim.long(), stems), loss=torchs) == []
    assert found_in((images, rim.long(), stems), loss=nn.CrossEntropyLoss()) == ["mask values"]


def test_labels_resized_by_averaging_are_found(parts):
    images, labels, stems = parts
    smooth = nn.functional.avg_pool2d(labels[:, None].float(), 3, 1, 1)[:, 0]
    assert found_in((images, smooth, stems)) == ["mask fractions"]


@pytest.mark.parametrize("called", range(C))
def test_a_network_that_calls_every_pixel_the_same_is_found(parts, called):
    model = network()
    with torch.no_grad():
        model.final_conv.weight.zero_()
        model.final_conv.bias.copy_(9 * nn.functional.one_hot(torch.tensor(called), C))
    (finding,) = diagnose([parts], model, LOSS, trained=True, quiet=True)
    assert finding.name == "useless mask" and "cross_entropy_dice_loss" in finding.cure
    assert "calling every pixel class 0" in finding.found  # what there is most of


def test_a_network_that_has_learned_a_little_is_not_found(parts):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2)
    images, labels, stems = (column[::2] for column in parts)
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy_dice_loss(model(images), labels).backward()
        optimizer.step()
    assert found_in((images, labels, stems), model, trained=True) == []


def in_colour(model, images):
    return [label_picture(labels.numpy(), C) for labels in in_eval(model, images)]


def as_grey(model, images):
    return [Image.fromarray(labels.numpy()) for labels in in_eval(model, images)]


@pytest.mark.parametrize(
    ("predict", "found"),
    [
        (in_colour, []),  # a palette shows class 4 bright
        (as_grey, ["picture"]),
        (lambda m, x: (m.eval()(x)[:, 0] > 0).byte(), ["prediction"]),
        (lambda m, x: (torch.sigmoid(m.eval()(x)) > 0.5).byte(), ["prediction"]),
        (lambda m, x: m.eval()(x).argmax(1).clamp(max=1), []),  # the whole car
    ],
)
def test_predictions_of_several_classes(parts, predict, found):
    assert found_in(parts, predict=predict) == found


def test_a_mask_of_one_bit_is_a_bright_picture(parts):
    images, labels, stems = parts

    def one_bit(model, photos):
        return [Image.fromarray(255 * m.numpy()).convert("1") for m in in_eval(model, photos)]

    two = images, (labels > 0).byte(), stems
    model = copy.deepcopy(network(1))
    assert found_in(two, model, make_loss("bce_dice"), predict=one_bit) == []


@pytest.mark.parametrize("border", [2, 255])
def test_silent_on_pets_with_and_without_their_border(tmp_path, border):
    data = PetDataset(open_pets(write_toy_pets(tmp_path, count=16)), "train",
                      eval_transform(64, 64), border=border)  # fmt: skip
    ignored = border if border == 255 else None
    model, loader = network(2 if ignored else 3), make_loader(data, 4)
    loss = make_loss("ce_dice", ignore_index=ignored)
    assert diagnose(loader, model, loss, predict=in_eval, step=right_step, quiet=True) == []
    wrong = make_loss("ce_dice") if ignored else cross_entropy_loss
    model = network(2)
    assert names_of(diagnose(loader, model, wrong, quiet=True)) == ["mask values"]
