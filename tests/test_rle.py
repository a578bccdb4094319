"""Run-length text against a definition by hand, real masks, and everything that may be wrong."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from unet_helpers.environment import CourseError
from unet_helpers.rle import read_runs, rle_decode, rle_encode

SLOW = [HealthCheck.too_slow]  # a busy machine is no fault

CARVANA = (1280, 1918)
# How the first lines of Kaggle's train_masks.csv begin, as its description shows them.
FIRST_RUNS = {
    "00087a6bd4dc_01": "879386 40 881253 141 883140 205 885009 17",
    "00087a6bd4dc_02": "873779 4 875695 7 877612 9 879528 12",
    "00087a6bd4dc_03": "864300 9 866217 13 868134 15 870051 16",
    "00087a6bd4dc_04": "879735 20 881650 26 883315 92",
}
masks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


def by_hand(mask):
    """Pixel after pixel, as the competition's page explains it."""
    runs, length = [], 0
    pixels = [value for row in mask.tolist() for value in row]
    for number, value in enumerate([*pixels, 0], start=1):
        if value:
            length += 1
        elif length:
            runs += [number - length, length]
            length = 0
    return " ".join(map(str, runs))


def test_a_worked_example():
    mask = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 1]], np.uint8)
    assert rle_encode(mask) == "3 3 10 1 12 1"  # a run goes on in the next row
    assert np.array_equal(rle_decode("3 3 10 1 12 1", (3, 4)), mask)


@settings(deadline=None, suppress_health_check=SLOW)
@given(masks)
def test_text_and_back_is_the_mask_and_the_text_is_that_of_the_definition(mask):
    text = rle_encode(mask)
    assert text == by_hand(mask)
    back = rle_decode(text, mask.shape)
    assert back.dtype == np.uint8 and np.array_equal(back, mask)
    assert rle_encode(mask.astype(bool)) == rle_encode(255 * mask) == text


@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=12))
def test_runs_and_back_are_the_runs_with_touching_ones_joined(parts):
    """From lengths and gaps: the other direction of the round trip."""
    runs, at = [], 1
    for length, gap in parts:
        runs.append((at, length))
        at += length + gap
    text = " ".join(f"{start} {length}" for start, length in runs)
    mask = rle_decode(text, (at, 1))
    assert int(mask.sum()) == sum(length for _, length in runs)
    assert np.array_equal(rle_decode(rle_encode(mask), (at, 1)), mask)
    if all(gap for _, gap in parts):
        assert rle_encode(mask) == text


@pytest.mark.parametrize("shape", [(3, 5), CARVANA])
def test_empty_full_first_and_last_pixel(shape):
    pixels = shape[0] * shape[1]
    mask = np.zeros(shape, np.uint8)
    assert rle_encode(mask) == "" and not rle_decode("", shape).any()
    assert rle_encode(mask + 1) == f"1 {pixels}" and rle_decode(f"1 {pixels}", shape).all()
    mask[0, 0] = mask[-1, -1] = 1
    assert rle_encode(mask) == f"1 1 {pixels} 1"
    assert np.array_equal(rle_decode(f"1 1 {pixels} 1", shape), mask)
    assert len(rle_encode(1 - mask).split()) == 2


def test_the_pixel_879386_of_the_real_mask_is_in_row_458_and_column_941():
    mask = rle_decode(FIRST_RUNS["00087a6bd4dc_01"], CARVANA)
    assert tuple(np.argwhere(mask)[0]) == (458, 941)
    assert mask[458].sum() == 40 and mask[459].sum() == 141  # one run a row: numbered row by row


@pytest.mark.real
@pytest.mark.parametrize("stem", FIRST_RUNS)
def test_kaggle_s_runs_begin_where_the_real_masks_begin(real_carvana, stem):
    """The real masks at hand are 512×512, made from those at 1918×1280: the same place, scaled.

    Read column by column, or numbered from 0, the text would begin elsewhere.
    """
    with zipfile.ZipFile(real_carvana / "train_masks.zip") as archive:
        small = np.array(Image.open(io.BytesIO(archive.read(f"train_masks/{stem}_mask.gif"))))
    assert small.shape == (512, 512)
    full = rle_decode(FIRST_RUNS[stem], CARVANA)
    (row, column), (small_row, small_column) = np.argwhere(full)[0], np.argwhere(small)[0]
    assert abs(row * 512 / 1280 - small_row) <= 1
    assert abs(column * 512 / 1918 - small_column) <= 1
    width = full[row].sum() * 512 / 1918  # of the car's highest row
    assert width - 1 <= small[small_row].sum() <= width + 2


@pytest.mark.real
def test_the_real_full_size_masks_survive_the_round_trip(real_carvana):
    paths = sorted((real_carvana / "fullres" / "train_masks").glob("*.gif"))
    assert len(paths) == 5
    for path in paths:
        mask = np.array(Image.open(path))
        text = rle_encode(mask)
        assert mask.shape == CARVANA and np.array_equal(rle_decode(text, CARVANA), mask)
        starts, lengths = read_runs(text, CARVANA)
        assert lengths.sum() == mask.sum() and mask.ravel()[starts - 1].all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5 2 3 1", r'ascending order; found "3 1" behind "5 2"'),
        ("5 2 5 2", "ascending order"),
        ("3 4 6 2", r'do not overlap; found "3 4" and "6 2"'),
        ("1 20 7 2", "do not overlap"),
        ("3", "a length for every start; found 1 numbers"),
        ("3 1 9", "a length for every start"),
        ("0 4", r'1 or more; found "0 4"'),
        ("-3 4", "1 or more"),
        ("3 0", "1 or more"),
        ("18 4", r"20 pixels of 4×5 \(height × width\); found \"18 4\", which ends at 21"),
        ("21 1", "20 pixels"),
        ("1.5 2", "whole numbers"),
        ("a b", "whole numbers"),
        ("1,2", "whole numbers"),
        ("1_0 1", r"whole numbers with spaces.*found '_' in '1_0 1'"),
        ("+3 1", "whole numbers"),
        ("٣ 1", "whole numbers"),
        ("3\u00a01", "whole numbers"),
        ("--3 1", "whole numbers"),
        ("1-2 1", "whole numbers"),
        ("1 99999999999999999999999999", "whole numbers"),
        ("1 4611686018427387904", "numbers of pixels"),
        (float("nan"), "keep_default_na=False"),
        (None, "expected text"),
        (b"1 2", "expected text"),
    ],
)
def test_text_with_a_mistake_is_refused_by_name(text, says):
    with pytest.raises(CourseError, match=says):
        rle_decode(text, (4, 5))
    with pytest.raises(CourseError, match=r"^row 7: "):
        read_runs(text, (4, 5), "row 7")


@pytest.mark.parametrize("shape", [(4, 5, 1), (4,), 20, (4, 0), (-4, 5), (4.0, 5.0), "45", None])
def test_what_is_no_height_and_width_is_refused(shape):
    with pytest.raises(CourseError, match=r"shape: .*photo\.shape\[:2\]"):
        rle_decode("1 1", shape)
    if shape is not None:
        with pytest.raises(CourseError, match="shape: "):
            read_runs("1 1", shape)


def test_touching_runs_and_spare_spaces_are_read():
    assert rle_decode(" 2 2  4 1 \n", (1, 6)).tolist() == [[0, 1, 1, 1, 0, 0]]


@pytest.mark.parametrize(
    "mask",
    [np.full((4, 5), 0.3), np.zeros((4, 5, 1), np.uint8), np.zeros(20, np.uint8), np.array("car")],
)
def test_what_is_no_mask_is_not_encoded(mask):
    with pytest.raises(CourseError, match=r"rle_encode.*> 0\.5"):
        rle_encode(mask)
