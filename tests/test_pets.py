"""Oxford-IIIT Pet in its own file layout, written here file by file, read by torchvision's loader.

The real data set is not fetched. What is written is what its README says: images/*.jpg of any size,
annotations/trimaps/*.png with 1 pet, 2 background, 3 border, and the two lists.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from unet_helpers.config import TrainConfig
from unet_helpers.dataset import make_loader, train_transform
from unet_helpers.environment import CourseError, course_root
from unet_helpers.loaders import loaders_from_config, open_data, split_loader
from unet_helpers.pets import PetDataset, labels_from_trimap, open_pets
from unet_helpers.toy_pets import draw_pet, write_toy_pets

NAMES = [f"Abyssinian_{n}" for n in range(1, 13)] + [f"basset_hound_{n}" for n in range(1, 9)]
TEST = ["beagle_7", "Sphynx_100"]


def trimap_of(number: int, width: int, height: int) -> np.ndarray:
    trimap = np.full((height, width), 2, np.uint8)
    trimap[5:25, 4 + number : 20 + number] = 3
    trimap[7:23, 6 + number : 18 + number] = 1
    return trimap


def write(root, number: int, name: str) -> None:
    base = root / "oxford-iiit-pet"
    width, height = 40 + 3 * number, 36 + number  # every photo has a size of its own
    colour = (10 * number % 250, 40, 200 - number)
    Image.new("RGB", (width, height), colour).save(base / "images" / f"{name}.jpg", quality=95)
    Image.fromarray(trimap_of(number, width, height)).save(
        base / "annotations" / "trimaps" / f"{name}.png"
    )


@pytest.fixture
def root(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for number, name in enumerate([*NAMES, *TEST]):
        write(tmp_path, number, name)
    for listed, names in (("trainval", NAMES), ("test", TEST)):
        lines = [f"{name} 1 {1 if name[0].isupper() else 2} 1\n" for name in names]
        (base / "annotations" / f"{listed}.txt").write_text("".join(lines))
    # What lies there besides: a photo in no list, and what macOS left in the published archive.
    Image.new("RGB", (5, 5)).save(base / "images" / "Abyssinian_100.jpg")
    (base / "annotations" / "trimaps" / "._Abyssinian_1.png").write_bytes(b"\0\5\26\7")
    return tmp_path


def number_of(name: str) -> int:
    return [*NAMES, *TEST].index(name)


# --- dealing -------------------------------------------------------------------------------------


def test_a_tenth_of_trainval_is_for_validation_and_the_test_list_stays(root):
    pets = open_pets(root)
    assert pets.names["test"] == TEST
    assert len(pets.names["val"]) == 2 and pets.count("train") == 18
    assert sorted(pets.names["train"] + pets.names["val"]) == sorted(NAMES)
    assert pets.summary() == "train 18 photos; val 2 photos; test 2 photos"
    assert open_pets(root).names == pets.names  # the seed decides
    assert any(open_pets(root, seed).names["val"] != pets.names["val"] for seed in range(5))


# --- what the data set gives ---------------------------------------------------------------------


@pytest.mark.parametrize("border", [2, 255])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_name_gets_its_own_photo_and_its_own_labels(root, split, border):
    dataset = PetDataset(open_pets(root), split, border=border)
    assert len(dataset) == len(dataset.stems) > 0
    for photo, labels, name in dataset:
        number = number_of(name)
        width, height = 40 + 3 * number, 36 + number
        assert photo.shape == (height, width, 3) and labels.shape == (height, width)
        assert abs(photo[0, 0].astype(int) - (10 * number % 250, 40, 200 - number)).max() <= 6
        trimap = trimap_of(number, width, height)
        assert labels.dtype == np.uint8
        for stored, index in ((1, 1), (2, 0), (3, border)):
            assert (labels[trimap == stored] == index).all()


def test_it_is_torchvisions_data_set(root):
    theirs = OxfordIIITPet(root, "test", target_types="segmentation")
    ours = PetDataset(open_pets(root), "test")
    for (photo, trimap), (array, labels, _) in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(np.array(photo), array)
        np.testing.assert_array_equal(np.array(trimap) % 3 - (np.array(trimap) == 2) * 2,
                                      np.where(labels == 2, 0, labels))  # fmt: skip


def test_with_a_transform_all_have_one_size_and_no_class_is_invented(root):
    dataset = PetDataset(open_pets(root), "train", train_transform(32, 32, "gentle"), border=255)
    loader = make_loader(dataset, 6, shuffle=True)
    for images, labels, stems in loader:
        assert images.shape[1:] == (3, 32, 32) and labels.shape[1:] == (32, 32)
        assert labels.dtype == torch.uint8 and len(stems) == len(images)
        assert set(labels.unique().tolist()) <= {0, 1, 255}


def test_augmentation_is_a_function_of_seed_epoch_and_index(root):
    pets = open_pets(root)
    datasets = [PetDataset(pets, "train", train_transform(32, 32)) for _ in range(2)]
    for dataset in datasets:
        dataset.set_epoch(3)
    for one, other in zip(*datasets, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    datasets[1].set_epoch(4)
    same = [torch.equal(a[0], b[0]) for a, b in zip(*datasets, strict=True)]
    assert not all(same)


def test_indices_past_the_end_and_from_it(root):
    dataset = PetDataset(open_pets(root), "test")
    assert dataset[-1][2] == TEST[-1]
    with pytest.raises(IndexError):
        dataset[2]


# --- the config's loaders ------------------------------------------------------------------------


def pets_config(**changes) -> TrainConfig:
    settings = {
        "dataset": "pets", "out_channels": 3, "loss": "ce_dice", "cache": False, "height": 32,
        "width": 32, "features": (4, 8), "batch_size": 5, "device": "cpu", "workers": 0,
    }  # fmt: skip
    return TrainConfig(**settings | changes)


def test_a_config_opens_and_loads_the_pets(root):
    config = pets_config()
    pets = open_data(config, root)
    train, val = loaders_from_config(config, pets)
    assert sum(len(stems) for _, _, stems in train) == 18
    assert [stem for _, _, stems in val for stem in stems] == pets.names["val"]
    values = {v for _, labels, _ in split_loader(config, pets, "test") for v in labels.unique()
              .tolist()}  # fmt: skip
    assert values == {0, 1, 2}
    ignoring = pets_config(out_channels=2, ignore_index=255)
    loader = split_loader(ignoring, pets, "test")
    assert {v for _, labels, _ in loader for v in labels.unique().tolist()} == {0, 1, 255}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"out_channels": 4}, "out_channels=3 for background, pet and border"),
        ({"out_channels": 2}, "ignore_index=255"),
        ({"out_channels": 3, "ignore_index": 255}, "ignore_index=255"),
        ({"cache": True}, "cache=false with pets"),
    ],
)
def test_settings_that_do_not_fit_the_pets(changes, keys):
    with pytest.raises(ValueError, match=keys):
        pets_config(**changes)


# --- bad input -----------------------------------------------------------------------------------


def test_a_folder_without_the_data_set_says_how_to_get_it(tmp_path):
    with pytest.raises(CourseError) as refused:
        open_pets(tmp_path)
    assert "trainval.txt" in str(refused.value) and "download=True" in str(refused.value)


def test_missing_files_are_counted_and_named(root):
    base = root / "oxford-iiit-pet"
    (base / "images" / "Abyssinian_3.jpg").unlink()
    (base / "annotations" / "trimaps" / "beagle_7.png").unlink()
    with pytest.raises(CourseError, match=r"2 files missing.*Abyssinian_3\.jpg.*beagle_7\.png\)"):
        open_pets(root)
    (base / "images" / "Abyssinian_3.jpg").touch()
    with pytest.raises(CourseError, match=r"1 file missing \(annotations/trimaps/beagle_7\.png\)"):
        open_pets(root)


def test_the_inner_folder_is_not_downloaded_into(root):
    with pytest.raises(CourseError, match="oxford-iiit-pet itself") as refused:
        open_pets(root / "oxford-iiit-pet")
    assert str(root) in str(refused.value.mend) and "download" not in str(refused.value)


@pytest.mark.parametrize("border", [-1, 0, 1, 256, 300])
def test_a_border_that_is_no_class_of_its_own(root, border):
    with pytest.raises(CourseError, match=f"border: expected 2, .* found {border}"):
        PetDataset(open_pets(root), "test", border=border)


def test_a_split_that_is_none(root):
    with pytest.raises(CourseError, match="split: expected train, val, test; found 'validation'"):
        PetDataset(open_pets(root), "validation")


@pytest.mark.parametrize(
    ("text", "said"),
    [("Abyssinian_1 1 1\n", "line 1"), ("# a\n", "line 1"), ("", "0 lines"),
     ("Abyssinian_1 1 1 1\n", "1 lines"), ("beagle_7 1 1 1\nAbyssinian_1 1 1 1\n", "twice")],
)  # fmt: skip
def test_a_list_that_is_not_one(root, text, said):
    (root / "oxford-iiit-pet" / "annotations" / "trainval.txt").write_text(text)
    with pytest.raises(CourseError, match=said):
        open_pets(root)


def spoil(root, how: str) -> None:
    path = root / "oxford-iiit-pet" / "annotations" / "trimaps" / "beagle_7.png"
    trimap = np.array(Image.open(path))
    if how == "colour":
        Image.fromarray(trimap).convert("RGB").save(path)
    elif how == "size":
        Image.fromarray(trimap[:-1]).save(path)
    elif how == "classes":
        Image.fromarray(labels_from_trimap(trimap)).save(path)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:60])
    elif how == "gone":
        path.unlink()
    else:
        (root / "oxford-iiit-pet" / "images" / "beagle_7.jpg").write_bytes(b"no photo")


@pytest.mark.parametrize(
    ("how", "said"),
    [("colour", "mode RGB"), ("size", "as its photo"), ("classes", "values from 0 to 2"),
     ("cut", "a damaged file"), ("photo", "a damaged file"), ("gone", "found no such file")],
)  # fmt: skip
def test_a_bad_file_is_named(root, how, said):
    dataset = PetDataset(open_pets(root), "test")
    spoil(root, how)
    with pytest.raises(CourseError, match=said) as refused:
        dataset[0]
    assert "beagle_7" in str(refused.value)
    assert dataset[1][2] == "Sphynx_100"


def test_the_trimap_by_hand():
    trimap = np.uint8([[1, 2, 3]])
    assert labels_from_trimap(trimap).tolist() == [[1, 0, 2]]
    assert labels_from_trimap(trimap, border=255).tolist() == [[1, 0, 255]]
    for wrong in ([[0, 1]], [[4]]):
        with pytest.raises(CourseError, match="1 \\(pet\\), 2 \\(background\\) and 3"):
            labels_from_trimap(np.uint8(wrong))


# --- the drawn animals ---------------------------------------------------------------------------


def test_the_drawn_animals_lie_as_the_real_ones_do(tmp_path):
    write_toy_pets(tmp_path, count=16)
    pets = open_pets(tmp_path)
    assert pets.count("test") == 4 and pets.count("train") + pets.count("val") == 12
    kinds = {OxfordIIITPet(tmp_path, s, "binary-category")[i][1] for s, i in (("test", 0),
             ("test", 1))}  # fmt: skip
    assert kinds == {0, 1}  # cats and dogs
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    write_toy_pets(tmp_path, count=16)
    assert before == {path: path.read_bytes() for path in before}


def test_a_drawn_animal_has_a_border_all_around_it():
    for seed in range(6):
        photo, trimap = draw_pet(np.random.default_rng(seed), dog=seed % 2 == 0)
        assert photo.shape == (*trimap.shape, 3) and photo.dtype == np.uint8
        pet = trimap == 1
        around = np.zeros_like(pet)
        around[1:] |= pet[:-1]
        around[:-1] |= pet[1:]
        around[:, 1:] |= pet[:, :-1]
        around[:, :-1] |= pet[:, 1:]
        assert set(np.unique(trimap)) == {1, 2, 3} and not (around & (trimap == 2)).any()


def test_the_shipped_config_is_for_the_published_layout():
    text = (course_root() / "configs" / "pets.yaml").read_text(encoding="utf-8")
    assert "dataset: pets" in text and "download=True" in text
