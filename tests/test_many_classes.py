"""The road with many classes: config, training, checkpoint, prediction, pictures, command line."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import zipfile

import albumentations as A
import numpy as np
import pytest
import torch
from blobs import Blobs, blob_config
from make_pairs import make_archive_pair, make_items
from PIL import Image
from torch.utils.data import DataLoader
from torchmetrics.functional.segmentation import dice_score

from unet_helpers import cli
from unet_helpers.around_the_car import BoxesBehind, ReflectionBelow, ShadowBelow, ToneApart
from unet_helpers.checkpoint import load_checkpoint, load_model, model_from_config, save_checkpoint
from unet_helpers.class_pictures import (
    overlay_classes,
    paint,
    plot_class_bars,
    plot_classes,
    plot_confusion,
)
from unet_helpers.config import TrainConfig, load_config
from unet_helpers.dataset import read_labels, train_transform
from unet_helpers.environment import CourseError, course_root, seed_everything
from unet_helpers.evaluation import checked
from unet_helpers.inference import (
    predict_labels,
    predict_probabilities,
    predict_probability,
    save_predictions_as_imgs,
)
from unet_helpers.labels import class_colours
from unet_helpers.metrics import predict_classes
from unet_helpers.model import UNET
from unet_helpers.run_folder import read_history
from unet_helpers.training import check_accuracy, fit

NAMES = ("background", "body", "window", "wheel", "light")
THREE = {"out_channels": 3, "loss": "ce_dice"}


class TwoBlobs(Blobs):
    """Blobs of two kinds: brighter is class 1, darker class 2; a row of pixels to be ignored."""

    row = 255

    def __getitem__(self, index: int):
        image, mask, stem = super().__getitem__(index)
        noise = image - 2 * mask
        if index % 2:
            mask = 2 * mask
        image = noise + 2 * (mask == 1) - 2 * (mask == 2)
        mask[0] = self.row
        return image, mask, stem


class WholeBlobs(TwoBlobs):
    """The same, and nothing is ignored."""

    row = 0


def two_blobs(train: int = 24, val: int = 6, kind=TwoBlobs):
    return DataLoader(kind(train), 8), DataLoader(kind(val, first=1000), 8)


# --- settings ------------------------------------------------------------------------------------


def test_names_are_those_given_or_plain_ones():
    assert TrainConfig().class_names == ("background", "car")
    assert TrainConfig(**THREE).class_names == ("background", "class 1", "class 2")
    given = TrainConfig(**THREE, classes=["wall", "cat", "dog"])
    assert given.class_names == given.classes == ("wall", "cat", "dog") and given.class_count == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"classes": ["a", "b"]}, "classes, out_channels.*3 names"),
        ({"classes": ["a", "b", "b"]}, "none twice"),
        ({"classes": ["a", "b", ""]}, "classes"),
        ({"class_weights": [1, 2]}, "3 weights, one a class"),
        ({"class_weights": "balanced"}, "expected a list of numbers"),
        ({"classes": "parts"}, "expected a list of names"),
        ({"out_channels": 300}, "less than or equal to 256"),
        ({"class_weights": [1, 2, 0]}, "class_weights"),
        ({"class_weights": [1, 2, float("nan")]}, "class_weights"),
        ({"ignore_index": 2}, "an index that no class has, such as 255"),
        ({"ignore_index": 256}, "ignore_index"),
        (
            {"out_channels": 1, "loss": "bce_dice", "class_weights": [1]},
            "out_channels of 2 or more",
        ),
        ({"out_channels": 1, "loss": "bce_dice", "ignore_index": 255}, "ignore_index"),
        ({"dataset": "voc"}, "dataset"),
    ],
)
def test_settings_of_classes_that_do_not_fit(tmp_path, changes, named):
    path = tmp_path / "run.yaml"
    path.write_text("\n".join(f"{k}: {json.dumps(v)}" for k, v in (THREE | changes).items())
                    .replace("NaN", ".nan"))  # fmt: skip
    with pytest.raises(CourseError, match=named):
        load_config(path)


def test_the_shipped_configs_are_for_many_classes():
    parts = load_config(course_root() / "configs" / "parts.yaml")
    assert parts.class_names == NAMES and parts.out_channels == 5 and parts.loss == "ce_dice"
    pets = load_config(course_root() / "configs" / "pets.yaml")
    assert pets.class_names == ("background", "pet", "border") and pets.dataset == "pets"


# --- training ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_of_three(tmp_path_factory):
    """Folder and history of a run on two kinds of blobs, with weights and an ignored row."""
    config = blob_config(
        **THREE, epochs=8, ignore_index=255, class_weights=(0.5, 1.25, 1.25),
        classes=("ground", "bright", "dark"),
    )  # fmt: skip
    seed_everything(0)
    out = tmp_path_factory.mktemp("three") / "run"
    rows = fit(model_from_config(config), *two_blobs(), config, out, progress=False)
    return out, rows, config


def test_fit_learns_three_classes_and_keeps_the_dice_of_each(run_of_three):
    out, rows, _ = run_of_three
    assert rows[-1]["dice_mean"] > max(0.6, rows[0]["dice_mean"] + 0.2)
    for row in rows:
        each = [row[f"dice_{name}"] for name in ("ground", "bright", "dark")]
        assert row["dice_mean"] == pytest.approx(np.mean(each))
    assert read_history(out) == [
        {key: pytest.approx(value) for key, value in row.items()} for row in rows
    ]


def test_the_score_of_the_history_is_torchmetrics_dice_without_the_ignored_row(run_of_three):
    out, rows, config = run_of_three
    model, saved = load_model(out / "best.pt")
    assert saved == config
    best = max(rows, key=lambda row: row["dice_mean"])
    values = []
    for image, mask, _ in TwoBlobs(6, first=1000):
        found, true = predict_classes(model(image[None])).long()[:, 1:], mask[None, 1:].long()
        each = dice_score(found, true, 3, average="none", input_format="index")
        absent = torch.stack([((found != c) & (true != c)).all() for c in range(3)])
        values.append(torch.where(absent, 1.0, each[0]).mean().item())
    assert best["dice_mean"] == pytest.approx(np.mean(values), abs=1e-6)


def test_an_ignored_row_that_is_not_named_is_refused():
    config = blob_config(**THREE, epochs=1)
    with pytest.raises(CourseError, match="class indices 0 to 2; found the value 255"):
        check_accuracy(two_blobs()[1], model_from_config(config))


class OneWrong(WholeBlobs):
    """The same; a single pixel of the fourth photo is no class."""

    def __getitem__(self, index: int):
        image, mask, stem = super().__getitem__(index)
        mask[3, 4] += 7 * (index == 3)
        return image, mask, stem


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}])
def test_before_a_batch_goes_to_a_gpu_its_labels_are_read(tmp_path, monkeypatch, settings):
    """There neither the loss nor the metrics look; here they are kept from looking."""
    for module in ("losses", "metrics"):
        monkeypatch.setattr(f"unet_helpers.{module}.check_classes", lambda *given, **named: None)
    config, wrong = blob_config(**THREE, **settings, epochs=1), DataLoader(OneWrong(6), 4)
    model, right = model_from_config(config), DataLoader(WholeBlobs(4), 4)
    says = rf"the mask of {OneWrong(6)[3][2]}: expected class indices 0 to 2; found the value [79]"
    for loaders in ((wrong, right), (right, wrong)):
        with pytest.raises(CourseError, match=says):
            fit(model, *loaders, config, tmp_path / str(loaders[0] is wrong), progress=False)
    with pytest.raises(CourseError, match=says):
        check_accuracy(wrong, model)


def test_labels_that_lie_on_a_gpu_are_left_unread():
    """The "meta" device has shapes and no values: whoever reads one fails."""
    batch = torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8), ["a", "b"]
    there = tuple(part.to("meta") for part in batch[:2]) + batch[2:]
    config = TrainConfig(**THREE)
    assert list(checked([batch, there], config)) == [batch, there]


@pytest.fixture
def unfinished(tmp_path):
    """A run of two of three epochs."""
    config = blob_config(**THREE, epochs=3, ignore_index=255)
    stop = lambda row, model: row["epoch"] < 2  # noqa: E731
    out, loaders = tmp_path / "run", two_blobs(8, 4)
    seed_everything(0)
    fit(model_from_config(config), *loaders, config, out, on_epoch=stop, progress=False)
    return out, config, loaders


def test_a_run_of_an_earlier_version_goes_on(unfinished):
    """Its config lacks the later keys, its history the Dice of each class."""
    out, config, _ = unfinished
    config = config.model_copy(update={"ignore_index": None})
    state = load_checkpoint(out / "last.pt")
    for key in ("dataset", "classes", "class_weights", "ignore_index"):
        del state["config"][key]
    state["history"] = [
        {k: v for k, v in row.items() if not k.startswith("dice_class")} for row in state["history"]
    ]
    save_checkpoint(state, out / "last.pt")
    loaders = two_blobs(8, 4, WholeBlobs)
    rows = fit(model_from_config(config), *loaders, config, out, resume=True, progress=False)
    assert len(rows) == 3 and "dice_class 1" in rows[2] and "dice_class 1" not in rows[0]
    with (out / "history.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert kept[0]["dice_class 1"] == "nan" and float(kept[2]["dice_class 1"]) > 0


def test_a_run_of_a_later_version_is_refused_with_the_key(unfinished):
    out, config, loaders = unfinished
    state = load_checkpoint(out / "last.pt")
    state["config"]["boundary_loss"] = 0.5
    save_checkpoint(state, out / "last.pt")
    with pytest.raises(CourseError, match=r"boundary_loss: 0\.5 → no setting of this version"):
        fit(model_from_config(config), *loaders, config, out, resume=True, progress=False)
    with pytest.raises(CourseError, match="boundary_loss"):
        load_model(out / "last.pt")


# --- augmentation --------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", ["none", "gentle", "strong", "tutorial"])
def test_no_augmentation_makes_up_a_class(strength):
    labels = np.zeros((64, 96), np.uint8)
    labels[20:50, 10:80], labels[22:30, 30:60] = 1, 2
    labels[44:54, 20:30], labels[30:34, 12:16], labels[0] = 3, 4, 255
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    transform = train_transform(64, 96, strength)
    seen = set()
    for _ in range(25):
        out = transform(image=photo, mask=labels)
        assert out["mask"].dtype == torch.uint8
        seen |= set(out["mask"].unique().tolist())
    assert seen == {0, 1, 2, 3, 4, 255}


@pytest.mark.parametrize("kind", [BoxesBehind, ShadowBelow, ReflectionBelow])
def test_every_class_but_the_background_is_car_to_what_paints_behind_it(kind):
    """Lights are class 4 and pixels to be ignored 255: a box over them would be a wrong label."""
    labels = np.zeros((60, 90), np.uint8)
    for index, value in enumerate((1, 2, 3, 4, 255)):
        labels[20:40, 10 + 14 * index : 24 + 14 * index] = value
    photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    transform, changed = A.Compose([kind(p=1.0)], seed=2), 0
    for _ in range(20):
        out = transform(image=photo, mask=labels)
        np.testing.assert_array_equal(out["mask"], labels)
        np.testing.assert_array_equal(out["image"][labels > 0], photo[labels > 0])
        changed += (out["image"] != photo).any()
    assert changed >= 15  # a box may lie behind the car altogether


def test_all_parts_of_a_car_change_their_tone_together():
    labels = np.repeat(np.uint8([[0, 1, 2, 3, 4, 0]]), 30, axis=0).repeat(15, axis=1)
    photo = np.full((30, 90, 3), 120, np.uint8)
    transform = A.Compose([ToneApart(p=1.0)], seed=2)
    for _ in range(10):
        out = transform(image=photo, mask=labels)["image"]
        assert len(np.unique(out[labels > 0], axis=0)) == 1


# --- prediction ----------------------------------------------------------------------------------


class Colours(torch.nn.Module):
    """Calls red, green and blue pixels class 1, 2 and 3, and what is grey the background."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        grey = x.mean(dim=1, keepdim=True) + 0.4
        return self.scale * torch.cat([grey, x], dim=1)  # (B, 4, H, W)


def coloured_photo() -> np.ndarray:
    photo = np.full((40, 60, 3), 110, np.uint8)
    for channel in range(3):
        photo[8:32, 6 + 18 * channel : 18 + 18 * channel] = 30
        photo[8:32, 6 + 18 * channel : 18 + 18 * channel, channel] = 250
    return photo


def test_every_pixel_gets_its_class_at_the_photos_own_size():
    photo, model = coloured_photo(), Colours().train()
    shares = predict_probabilities(model, photo, (20, 30))
    assert shares.shape == (4, 40, 60) and shares.dtype == np.float32 and model.training
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    labels = predict_labels(model, photo, (20, 30))
    assert labels.dtype == np.uint8 and labels.shape == (40, 60)
    np.testing.assert_array_equal(labels, shares.argmax(axis=0))
    wanted = np.where(np.ptp(photo, axis=2) > 0, photo.argmax(axis=2) + 1, 0)
    assert (labels == wanted).mean() > 0.93


def test_with_flips_a_mirrored_photo_gets_the_mirrored_answer():
    photo = coloured_photo()
    seed_everything(0)
    model = UNET(3, 4, (4, 8)).eval()
    once, mirrored = (
        predict_probabilities(model, one, (40, 60), flips=True)
        for one in (photo, np.ascontiguousarray(photo[:, ::-1]))
    )
    np.testing.assert_allclose(once, mirrored[..., ::-1], atol=1e-5)


def test_one_channel_is_two_classes_and_a_parts_network_is_no_car_probability():
    photo = coloured_photo()
    seed_everything(0)
    one = UNET(3, 1, (4, 8)).eval()
    shares = predict_probabilities(one, photo, (40, 60))
    np.testing.assert_array_equal(shares[1], predict_probability(one, photo, (40, 60)))
    with pytest.raises(CourseError, match="predict_labels"):
        predict_probability(Colours(), photo, (40, 60))


def test_the_shipped_network_gives_the_same_masks_with_two_channels():
    """What notebook 09 shows: logits 0 and z in place of z."""
    one, config = load_model(course_root() / "data" / "weights" / "studio.safetensors")
    two = UNET(3, 2, config.features)
    weights = one.state_dict()
    for key in ("final_conv.weight", "final_conv.bias"):
        weights[key] = torch.cat([torch.zeros_like(weights[key]), weights[key]])
    two.load_state_dict(weights)
    photo = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits_one, logits_two = one.eval()(photo), two.eval()(photo)
    torch.testing.assert_close(
        logits_two.softmax(dim=1)[:, 1], torch.sigmoid(logits_one[:, 0]), atol=1e-6, rtol=1e-5
    )
    assert torch.equal(predict_classes(logits_two), predict_classes(logits_one))
    assert 0 < predict_classes(logits_one).float().mean() < 1


def test_saved_predictions_hold_the_class_indices(tmp_path):
    save_predictions_as_imgs(
        DataLoader(TwoBlobs(3), 2), UNET(3, 3, (4, 8)), tmp_path / "saved", "cpu"
    )
    for _, mask, stem in TwoBlobs(3):
        with Image.open(tmp_path / "saved" / f"true_{stem}.png") as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.array(picture), mask)
        read_labels(tmp_path / "saved" / f"pred_{stem}.png", classes=3)


# --- pictures ------------------------------------------------------------------------------------


def test_the_overlay_tints_each_class_in_its_colour():
    photo = np.full((2, 4, 3), 100, np.uint8)
    labels = np.uint8([[0, 1, 2, 3], [0, 0, 4, 255]])
    picture = overlay_classes(photo, labels, 5, opacity=0.5, ignore_index=255)
    colours = class_colours(4)
    for place in np.ndindex(2, 4):
        label = labels[place]
        wanted = {0: (100,) * 3, 255: (255,) * 3}.get(int(label))
        wanted = wanted or np.rint(50 + 0.5 * np.array(colours[label - 1]))
        np.testing.assert_array_equal(picture[place], wanted)
    assert (photo == 100).all()
    np.testing.assert_array_equal(paint(photo, labels * 0, [], 1.0), photo)


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (np.zeros((3, 4), np.uint8), {}, "found 3×4"),
        (np.full((2, 4), 5, np.uint8), {}, "from 0 to 4; found values from 5 to 5"),
        (np.full((2, 4), 255, np.uint8), {"ignore_index": 254}, "values from 255"),
    ],
)
def test_labels_that_cannot_be_drawn(labels, options, said):
    with pytest.raises(CourseError, match=said):
        overlay_classes(np.zeros((2, 4, 3), np.uint8), labels, 5, **options)


def test_the_figures_have_what_they_are_given():
    photo, labels = np.zeros((6, 9, 3), np.uint8), np.zeros((6, 9), np.uint8)
    fig = plot_classes([photo] * 2, [labels] * 2, NAMES, [labels] * 2, ["a", "b"])
    assert [axis.get_title() for axis in fig.axes[:4]] == ["a", "labels", "prediction", "wrong"]
    assert len(fig.axes) == 8
    said = [text.get_text() for text in fig.legends[0].get_texts()]
    assert said == list(NAMES[1:])
    fig = plot_confusion(np.diag([4, 3, 2, 1, 0]) + np.eye(5, k=1), NAMES)
    cells = [text.get_text() for text in fig.axes[0].texts]
    assert cells[:2] == ["80%", "20%"] and cells[-5:] == [""] * 5 and len(cells) == 25
    with pytest.raises(CourseError, match="a row and a column for each name"):
        plot_confusion(np.zeros((2, 5, 5)), NAMES)
    fig = plot_class_bars({"a": [0.1] * 5, "b": [0.9] * 5}, NAMES)
    assert len(fig.axes[0].patches) == 10
    with pytest.raises(CourseError, match=r"bars of b: expected 5 values.*found 4"):
        plot_class_bars({"a": [0.1] * 5, "b": [0.9] * 4}, NAMES)


def test_on_the_photo_no_two_parts_look_alike():
    """Each part, laid over any grey from tyre to white paint, against each other part over any."""
    greys = np.uint8([[20, 60, 127, 190, 255]])[..., None].repeat(3, axis=2)
    seen = [
        overlay_classes(greys, np.full((1, 5), part, np.uint8), 5)[0].astype(float)
        for part in (1, 2, 3, 4)
    ]
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(one[:, None] - other, axis=-1).min() > 40


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts_folder(tmp_path_factory):
    """Three made-up cars with part labels: body 1, window 2, wheel 3, light 4, by colour."""
    folder = tmp_path_factory.mktemp("cars") / "pair"
    make_archive_pair(folder, cars=3)
    with zipfile.ZipFile(folder / "train_parts.zip", "w") as archive:
        for stem, jpeg, gif in make_items(3):
            photo = np.array(Image.open(io.BytesIO(jpeg))).astype(int)
            car = np.array(Image.open(io.BytesIO(gif))) > 0
            glass = np.abs(photo - (70, 80, 95)).sum(axis=2) < 40
            tyre = photo.sum(axis=2) < 120
            labels = np.select([~car, glass, tyre], [0, 2, 3], 1).astype(np.uint8)
            labels[40:42, 45:50] = 4  # inside every car
            data = io.BytesIO()
            picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
            picture.putpalette(list(range(15)))
            picture.save(data, "PNG")
            archive.writestr(f"train_parts/{stem}_parts.png", data.getvalue())
    return folder


@pytest.fixture(scope="module")
def trained_parts(parts_folder):
    """A prepared folder of part labels, and the run of configs/parts.yaml on it, one tiny epoch."""
    prepared, out = parts_folder.parent / "prepared", parts_folder.parent / "run"
    assert cli.main(["prepare", str(parts_folder), "--labels", "parts", "--to", str(prepared)]) == 0
    words = ["train", str(course_root() / "configs" / "parts.yaml"), "height=32", "width=48",
             "features=[4, 8]", "epochs=1", "device=cpu", "--data", str(prepared)]  # fmt: skip
    assert cli.main([*words, "--out", str(out)]) == 0
    return prepared, out


def test_train_and_evaluate_say_every_class(trained_parts, capsys):
    prepared, out = trained_parts
    (row,) = read_history(out)
    assert [key for key in row if key.startswith("dice_")][2:] == [f"dice_{name}" for name in NAMES]
    assert (
        sorted(p.name[:4] for p in (out / "saved_images").iterdir()) == ["pred"] * 8 + ["true"] * 8
    )
    capsys.readouterr()
    words = ["evaluate", str(out / "best.pt"), "--data", str(prepared), "--split", "val"]
    assert cli.main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["dice_mean"] == pytest.approx(row["dice_mean"], abs=1e-4)
    each = facts["dice_per_class"]
    assert list(each) == list(NAMES)
    assert facts["dice_foreground"] == pytest.approx(np.mean(list(each.values())[1:]))
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "without background: Dice" in said and all(f"\n{name}" in said for name in NAMES)
    head, *rows = said.splitlines()[2:]
    ends = [title.end() for title in re.finditer("Dice|IoU, all images as one|IoU", head)]
    for row in rows:  # every number ends where its heading does
        assert [number.end() for number in re.finditer(r"\d\.\d{4}", row)] == ends


def test_predict_writes_labels_overlay_and_cut_out(trained_parts, tmp_path, capsys):
    prepared, out = trained_parts
    photo = sorted(prepared.joinpath("test_images").iterdir())[0]
    assert cli.main(["predict", str(out / "best.pt"), str(photo), "--to", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES[1:])
    labels = read_labels(tmp_path / f"{photo.stem}_labels.png", 5)
    with Image.open(tmp_path / f"{photo.stem}_mask.png") as mask:
        np.testing.assert_array_equal(np.array(mask) > 0, labels > 0)
    model, config = load_model(out / "best.pt")
    array = np.array(Image.open(photo))
    expected = predict_labels(model, array, (config.height, config.width))
    assert (labels == expected).mean() > 0.99
    for what, mode in (("overlay", "RGB"), ("cutout", "RGBA")):
        with Image.open(tmp_path / f"{photo.stem}_{what}.png") as picture:
            assert picture.mode == mode and picture.size == (96, 64)


def test_car_masks_given_to_a_parts_config_are_refused(parts_folder, tmp_path, capsys):
    """Otherwise it would learn two classes of five and say nothing."""
    cars = tmp_path / "cars"
    assert cli.main(["prepare", str(parts_folder), "--to", str(cars)]) == 0
    words = ["train", str(course_root() / "configs" / "parts.yaml"), "--data", str(cars)]
    capsys.readouterr()
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "labels of background, body, window, wheel, light" in said and "--labels parts" in said


def test_part_labels_given_to_a_car_config_are_refused(trained_parts, tmp_path, capsys):
    words = ["train", str(course_root() / "configs" / "studio.yaml"), "height=32", "width=48"]
    assert cli.main([*words, "--data", str(trained_parts[0]), "--out", str(tmp_path / "run")]) == 2
    assert "configs/parts.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "piece"),
    [("parts", "prepare studio --labels parts --to"), ("pets", "download=True")],
)
def test_without_data_the_command_that_gets_it_is_named(name, piece, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UNET_COURSE_HOME", str(tmp_path))
    words = ["train", str(course_root() / "configs" / f"{name}.yaml"), "device=cpu"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 2
    assert piece in capsys.readouterr().err


def test_the_pets_take_the_same_road(tmp_path, capsys):
    """train, evaluate and predict on drawn animals in the real set's file layout."""
    from unet_helpers.toy_pets import write_toy_pets

    root, out = write_toy_pets(tmp_path / "pets", count=16), tmp_path / "run"
    words = ["train", str(course_root() / "configs" / "pets.yaml"), "height=32", "width=32",
             "features=[4, 8]", "epochs=1", "device=cpu", "--data", str(root)]  # fmt: skip
    assert cli.main([*words, "--out", str(out)]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(out / "best.pt"), "--data", str(root), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts["iou_per_class"]) == ["background", "pet", "border"] and facts["images"] == 4
    photo = root / "oxford-iiit-pet" / "images" / "pug_4.jpg"
    assert cli.main(["predict", str(out / "best.pt"), str(photo), "--to", str(tmp_path / "p")]) == 0
    with Image.open(photo) as picture, Image.open(tmp_path / "p" / "pug_4_labels.png") as labels:
        assert labels.size == picture.size
