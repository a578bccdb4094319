"""Class indices on disk and as colours: the stored index counts, and nothing is guessed."""

from __future__ import annotations

import io
import zipfile
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unet_helpers.cache import open_cache
from unet_helpers.dataset import CarvanaDataset, read_labels, read_mask, read_photo
from unet_helpers.decode import read_pair
from unet_helpers.environment import CourseError, course_root
from unet_helpers.labels import (
    PARTS,
    class_colours,
    colours_with_background,
    label_picture,
    labels_from_colours,
)
from unet_helpers.pairs import find_pairs
from unet_helpers.sources import open_source
from unet_helpers.split import draw, prepare

LABELS = np.array([[0, 0, 1, 1], [0, 4, 3, 1], [2, 2, 0, 255]], np.uint8)


def palette_png(path, labels=LABELS, palette=(0, 0, 0, 9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200)):
    picture = Image.frombytes("P", labels.shape[::-1], np.ascontiguousarray(labels).tobytes())
    # With a shorter palette Pillow stores fewer bits a pixel, and 255 would become 15.
    picture.putpalette((list(palette) + [255] * 768)[:768])
    picture.save(path)
    return path


# --- reading -------------------------------------------------------------------------------------


def test_the_stored_index_counts_and_not_the_colour(tmp_path):
    """A palette that gives every class the same colour changes nothing; grey files hold it too."""
    one_colour = palette_png(tmp_path / "p.png", palette=[77] * 768)
    Image.fromarray(LABELS).save(tmp_path / "grey.png")
    for path in (one_colour, tmp_path / "grey.png"):
        found = read_labels(path, classes=5, ignore_index=255)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, LABELS)


def test_a_gif_with_many_indices_is_read_as_pillow_stores_it(tmp_path):
    labels = np.random.default_rng(0).integers(0, 5, (40, 60), np.uint8)
    picture = Image.frombytes("P", (60, 40), labels.tobytes())
    picture.putpalette(range(15))
    picture.save(tmp_path / "a.gif", optimize=False)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.gif", 5), labels)


def test_a_smaller_size_invents_no_class(tmp_path):
    """Between body (1) and wheel (3) an average would be window (2)."""
    labels = np.zeros((64, 96), np.uint8)
    labels[:, 20:50], labels[:, 50:80] = 1, 3
    path = palette_png(tmp_path / "p.png", labels)
    small = read_labels(path, 5, size=(17, 23))
    assert set(np.unique(small)) == {0, 1, 3}
    rows, columns = ((2 * np.arange(n) + 1) * full // (2 * n) for n, full in ((17, 64), (23, 96)))
    np.testing.assert_array_equal(small, labels[np.ix_(rows, columns)])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_labels_in_colour_are_refused_with_the_way_back(tmp_path, mode):
    path = tmp_path / "in_colour.png"
    Image.open(palette_png(tmp_path / "p.png")).convert(mode).save(path)
    with pytest.raises(CourseError) as refused:
        read_labels(path, 5)
    said = str(refused.value)
    assert "in_colour.png" in said and f"an image of mode {mode}" in said
    assert "class indices from 0 to 4" in said and "labels_from_colours" in said


@pytest.mark.parametrize(
    ("classes", "ignore_index", "named"),
    [(5, None, "the value 255"), (4, 255, "the value 4"), (3, None, "the values 3, 4, 255"),
     (5, 254, "or 254 for pixels to be ignored")],
)  # fmt: skip
def test_a_value_that_is_no_class_is_named_with_its_file(tmp_path, classes, ignore_index, named):
    path = palette_png(tmp_path / "x_parts.png")
    with pytest.raises(CourseError, match=named) as refused:
        read_labels(path, classes, ignore_index=ignore_index)
    assert "x_parts.png" in str(refused.value)


def test_labels_stretched_to_be_seen_are_refused(tmp_path):
    Image.fromarray(np.uint8([[0, 63, 127], [191, 255, 0]])).save(tmp_path / "seen.png")
    with pytest.raises(CourseError, match=r"63, 127, 191, 255.*nor stretched"):
        read_labels(tmp_path / "seen.png", 5)


def test_a_damaged_or_missing_label_file(tmp_path):
    noise = np.random.default_rng(0).integers(0, 5, (50, 50), np.uint8)
    path = palette_png(tmp_path / "a.png", noise)
    path.write_bytes(path.read_bytes()[:-40])
    for damaged in (path, tmp_path / "none.png"):
        with pytest.raises(CourseError, match=damaged.name):
            read_labels(damaged, 5)
    path.write_bytes(b"no picture at all")
    for read in (partial(read_labels, classes=5), read_mask, read_photo):
        with pytest.raises(CourseError, match="17 bytes that cannot be decoded") as refused:
            read(path)
        assert "BytesIO" not in str(refused.value)


@pytest.mark.parametrize("classes", [0, -1, 257])
def test_a_number_of_classes_that_cannot_be(tmp_path, classes):
    with pytest.raises(CourseError, match=f"classes: expected 1 to 256.*found {classes}"):
        read_labels(palette_png(tmp_path / "p.png"), classes)


def test_part_labels_given_as_a_car_mask_are_refused_and_pointed_to_the_config(tmp_path):
    photo = tmp_path / "photos" / "00087a6bd4dc_01.jpg"
    labels = tmp_path / "labels" / "00087a6bd4dc_01_parts.png"
    for path in (photo, labels):
        path.parent.mkdir()
    Image.new("RGB", (4, 3)).save(photo)
    palette_png(labels)
    (pair,) = find_pairs(photo.parent, labels.parent)
    assert pair.stem == "00087a6bd4dc_01"
    with pytest.raises(CourseError, match=r"configs/parts\.yaml"):
        read_pair(pair)
    np.testing.assert_array_equal(read_pair(pair, classes=5, ignore_index=255)[1], LABELS)


# --- colours -------------------------------------------------------------------------------------


def test_colours_are_as_many_as_asked_for_and_apart():
    for count in (1, 4, 7, 14):
        colours = class_colours(count)
        assert len(set(colours)) == len(colours) == count
    assert colours_with_background(5)[0] == (0, 0, 0) and len(colours_with_background(5)) == 5


def test_a_label_picture_keeps_the_indices_and_shows_the_colours():
    data = io.BytesIO()
    label_picture(LABELS, 5).save(data, "PNG")
    picture = Image.open(data)
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.array(picture), LABELS)
    shown = np.array(picture.convert("RGB"))
    wanted = [*colours_with_background(5), *[(255, 255, 255)] * 251]
    for index in np.unique(LABELS):
        assert (shown[index == LABELS] == wanted[index]).all()


@pytest.mark.parametrize("wrong", [LABELS.astype(np.int64), LABELS[..., None], LABELS / 5])
def test_a_label_picture_of_anything_else_is_refused(wrong):
    with pytest.raises(CourseError, match="predict_classes"):
        label_picture(wrong, 5)


@settings(max_examples=25, deadline=None)
@given(classes=st.integers(2, 9), seed=st.integers(0, 999))
def test_colours_and_back_gives_the_same_labels(classes, seed):
    labels = np.random.default_rng(seed).integers(0, classes, (5, 7), np.uint8)
    picture = np.array(label_picture(labels, classes).convert("RGB"))
    found = labels_from_colours(picture, colours_with_background(classes))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels)


def test_the_studio_labels_come_back_from_their_own_palette():
    """Saved in colour by mistake: with the file's palette, every pixel is found again."""
    pair = open_source("studio", labels="parts")
    with zipfile.ZipFile(pair.masks) as archive:
        picture = Image.open(io.BytesIO(archive.read(archive.namelist()[3])))
        colours = np.reshape(picture.getpalette(), (-1, 3))[:5]
        found = labels_from_colours(np.array(picture.convert("RGB")), colours)
        np.testing.assert_array_equal(found, np.array(picture))


def test_a_mixed_colour_is_no_class_and_is_named():
    picture = np.array(label_picture(LABELS[:2], 5).convert("RGB"))
    picture[1, 2] = (12, 34, 56)
    with pytest.raises(CourseError, match=r"1 pixels.*row 1, column 2, is \(12, 34, 56\)"):
        labels_from_colours(picture, colours_with_background(5))
    with pytest.raises(CourseError, match="another colour for each class"):
        labels_from_colours(picture, [(0, 0, 0), (0, 0, 0)])
    for wrong in ([], [(0, 0, 0, 255), (9, 9, 9, 255)], [(0, 0, 0), (300, 0, 0)], [(0, 0, -1)]):
        with pytest.raises(CourseError, match="one \\(red, green, blue\\) for each class"):
            labels_from_colours(picture, wrong)
    with pytest.raises(CourseError, match="read_labels"):
        labels_from_colours(LABELS, colours_with_background(5))


# --- from the archive to the data set ------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(
        open_source("studio", labels="parts"), tmp_path_factory.mktemp("parts"), progress=False
    )


def test_the_parts_are_dealt_as_the_masks_are(prepared):
    """The same cars are tested on, so weights trained on the masks have not seen them."""
    cars = sorted({row.car for row in prepared.rows})
    dealt = draw(cars, len(cars) // 8, len(cars) // 8, 42)
    assert {row.car: row.split for row in prepared.rows} == dealt
    assert all(path.name.endswith("_parts.png") for path in prepared.masks("test").iterdir())


def test_a_data_set_of_labels_with_and_without_cache(prepared, tmp_path):
    folders = prepared.images("test"), prepared.masks("test")
    options = {"size": (32, 48), "cars": 1, "progress": False}
    plain = CarvanaDataset(*folders, classes=5, **options)
    cached = CarvanaDataset(*folders, classes=5, cache_dir=tmp_path, **options)
    assert len(plain) == 16
    seen = np.zeros(5, int)
    for (photo, labels, stem), again in zip(plain, cached, strict=True):
        np.testing.assert_array_equal(again[0], photo)
        np.testing.assert_array_equal(again[1], labels)
        path = prepared.masks("test") / f"{stem}_parts.png"
        np.testing.assert_array_equal(labels, read_labels(path, len(PARTS), (32, 48)))
        seen += np.bincount(labels.ravel(), minlength=5)
    assert (seen > 0).all()
    with pytest.raises(CourseError, match=r"_parts\.png.*class indices from 0 to 3"):
        CarvanaDataset(*folders, classes=4, cache_dir=tmp_path, **options)


def test_two_ways_of_reading_one_folder_have_two_caches(tmp_path):
    photos, masks = tmp_path / "p", tmp_path / "m"
    photos.mkdir(), masks.mkdir()
    Image.new("RGB", (4, 3)).save(photos / "a.jpg")
    palette_png(masks / "a.png", np.uint8([[0, 9, 9, 0]] * 3))
    pairs = find_pairs(photos, masks)
    open_cache(pairs, (3, 4), tmp_path / "c", progress=False)  # 9 is car
    with pytest.raises(CourseError, match="the value 9"):
        CarvanaDataset(
            photos, masks, size=(3, 4), classes=2, cache_dir=tmp_path / "c", progress=False
        )


@pytest.mark.parametrize(("source", "labels"), [("kaggle", "parts"), ("studio", "wheels")])
def test_labels_that_a_source_does_not_have(source, labels):
    with pytest.raises(CourseError, match=f"labels of {source}"):
        open_source(source, labels=labels)


def test_a_folder_without_part_labels_says_what_is_missing(tmp_path):
    (tmp_path / "train.zip").touch()
    (tmp_path / "train_masks.zip").touch()
    with pytest.raises(CourseError, match=r"train\.zip and train_parts\.zip"):
        open_source(tmp_path, labels="parts")


def test_parts_and_mask_of_the_pack_are_one_another(prepared):
    """Classes 1 to 4 together are the mask, pixel for pixel, as the pack's card says."""
    masks = prepare(open_source("studio"), prepared.root.parent / "masks", progress=False)
    for path in sorted(prepared.masks("val").iterdir())[::29]:
        stem = path.name.removesuffix("_parts.png")
        mask = np.array(Image.open(masks.masks("val") / f"{stem}_mask.gif"))
        np.testing.assert_array_equal(read_labels(path, 5) > 0, mask > 0)
    assert (course_root() / "data" / "studio" / "train_parts.zip").is_file()
