"""Windows against the whole photo: networks whose answer is known at every pixel are the oracle."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from ellipses import a_photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from unet_helpers import windows
from unet_helpers.augment import MEAN, STD, NormalizeToTensor
from unet_helpers.environment import CourseError
from unet_helpers.model import UNET
from unet_helpers.windows import (
    fitting_window,
    mask_by_windows,
    pad_to_multiple,
    probability_by_windows,
    probability_strips,
    window_starts,
    window_stride,
    window_weight,
)

SLOW = [HealthCheck.too_slow]  # a busy machine is no fault


class Green(nn.Module):
    """Looks at one pixel: the logit is ten times the green value less 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(10.0))
        self.seen = []

    def forward(self, images):
        self.seen.append((tuple(images.shape), self.training))
        return self.gain * (images[:, 1:2] * STD[1] + MEAN[1] - 0.5)


class Blocks(nn.Module):
    """Looks at squares of 16 pixels, as a network that halves four times does at its bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(3.0))

    def forward(self, images):
        small = F.avg_pool2d(images[:, :1] - images[:, 1:2], 16)
        return self.gain * F.interpolate(small, scale_factor=16.0)


class Neighbours(nn.Module):
    """Looks one pixel far, with zeros beyond the edge of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)
        nn.init.constant_(self.conv.weight, 0.2)

    def forward(self, images):
        return self.conv(images)


class Column(nn.Module):
    """Another answer in the mirror: the logit rises from left to right of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(4.0))

    def forward(self, images):
        return self.slope * torch.linspace(-1, 1, images.shape[-1]) + images[:, :1]


def whole(model, photo):
    """The network's answer to the padded photo in one piece, cropped to the photo."""
    padded, inside = pad_to_multiple(photo)
    with torch.no_grad():
        logits = model(NormalizeToTensor().apply(np.ascontiguousarray(padded))[None])
    return torch.sigmoid(logits)[0, 0].numpy()[inside]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# --- the grid


@settings(deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.integers(1, 60), min_size=3, max_size=3))
def test_windows_cover_a_side_without_gaps_on_the_grid_of_16(sizes):
    stride, window, length = sorted(16 * size for size in sizes)
    starts = window_starts(length, window, stride)
    assert starts[0] == 0 and starts[-1] + window == length
    assert all(start % 16 == 0 for start in starts)
    assert all(0 < b - a <= stride for a, b in itertools.pairwise(starts))
    assert len(starts) == 1 + -(-(length - window) // stride)  # and no more than are needed


def test_the_grid_of_a_carvana_photo_by_hand():
    assert window_starts(1920, 512, window_stride(512, 0.25)) == [0, 384, 768, 1152, 1408]
    assert window_stride(512, 0.25) == 384 and window_stride(256, 0.3) == 176
    assert window_stride(16, 0.9) == 16 and window_stride(64, 0) == 64


@settings(deadline=None, suppress_health_check=SLOW)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([2, 16, 32]), st.booleans())
def test_padding_is_numpy_s_symmetric_one_and_is_taken_off_again(height, width, multiple, colour):
    photo = noise(height, width)
    photo = photo if colour else photo[..., 0]
    padded, inside = pad_to_multiple(photo, multiple)
    assert padded.shape[0] % multiple == 0 == padded.shape[1] % multiple
    assert padded.shape[0] < height + multiple and padded.shape[1] < width + multiple
    assert np.array_equal(padded[inside], photo)
    gaps = [(-side % multiple // 2, (-side % multiple + 1) // 2) for side in (height, width)]
    assert np.array_equal(padded, np.pad(photo, gaps + [(0, 0)] * colour, mode="symmetric"))


def test_1918_columns_become_1920_one_more_at_each_side():
    padded, inside = pad_to_multiple(noise(1280, 1918))
    assert padded.shape == (1280, 1920, 3) and inside == (slice(0, 1280), slice(1, 1919))


@pytest.mark.parametrize("kind", windows.WEIGHTS)
def test_weights_are_symmetric_positive_and_highest_in_the_middle(kind):
    weight = window_weight(64, kind)
    assert weight.dtype == np.float32 and (weight > 0).all() and weight.max() <= 1
    np.testing.assert_allclose(weight, weight[::-1], rtol=1e-5)
    assert (np.diff(weight[:32]) >= 0).all()
    if kind != "flat":
        assert weight[31] > 0.98 and weight[0] < 0.01


# --- the answer


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(
    st.integers(33, 90), st.integers(49, 140), st.sampled_from([(16, 48), (48, 64), (32, 32)]),
    st.sampled_from([0, 0.25, 0.6]), st.sampled_from(windows.WEIGHTS), st.integers(1, 5),
    st.booleans(),
)  # fmt: skip
def test_a_network_that_looks_at_one_pixel_gives_the_same_as_on_the_whole_photo(
    height, width, window, overlap, weight, batch_size, flips
):
    photo, model = noise(height, width), Green()
    how = {"overlap": overlap, "weight": weight, "batch_size": batch_size, "flips": flips}
    found = probability_by_windows(model, photo, window, **how)
    assert found.dtype == np.float32 and found.shape == (height, width)
    np.testing.assert_allclose(
        found, 1 / (1 + np.exp(-10 * (photo[..., 1] / 255 - 0.5))), atol=1e-4
    )
    largest = batch_size * (2 if flips else 1)
    assert all(
        shape[0] <= largest and shape[1:] == (3, *window) and not training
        for shape, training in model.seen
    )


@pytest.mark.parametrize("size", [(64, 96), (75, 130)])
@pytest.mark.parametrize("weight", windows.WEIGHTS)
def test_windows_lie_on_the_pooling_grid_of_the_whole_photo(size, weight):
    """Started anywhere else, they would average other squares."""
    photo = noise(*size)
    found = probability_by_windows(Blocks(), photo, (48, 64), overlap=0.3, weight=weight)
    np.testing.assert_allclose(found, whole(Blocks(), photo), atol=1e-5)


def test_only_where_a_window_ends_can_its_answer_differ_from_that_on_the_whole_photo():
    """The network sees one pixel far; so does the damage, and smooth weights make it small."""
    photo, window, model = noise(96, 160), (64, 64), Neighbours()
    true = whole(model, photo)
    error = {
        kind: np.abs(probability_by_windows(model, photo, window, overlap=0.5, weight=kind) - true)
        for kind in windows.WEIGHTS
    }
    rims = np.zeros(photo.shape[:2], bool)  # where a window ends and the photo goes on
    for top in window_starts(96, 64, 32):
        for left in window_starts(160, 64, 32):
            rows = [row for row in (top, top + 63) if 0 < row < 95]
            columns = [column for column in (left, left + 63) if 0 < column < 159]
            rims[rows, left : left + 64] = True
            rims[top : top + 64, columns] = True
    for kind in windows.WEIGHTS:
        assert error[kind][~rims].max() < 1e-5
    inner = rims[8:-8, 8:-8]
    flat, cosine, gaussian = (
        error[k][8:-8, 8:-8][inner].mean() for k in ("flat", "cosine", "gaussian")
    )
    assert flat > 0.02 and cosine < flat / 50 and gaussian < flat / 50


def test_flips_are_the_mean_of_every_window_s_answer_and_its_mirror_s():
    photo = noise(64, 96)
    found = probability_by_windows(Column(), photo, (64, 96), flips=True)
    plain = whole(Column(), photo)
    mirror = whole(Column(), photo[:, ::-1])[:, ::-1]
    assert np.abs(plain - mirror).max() > 0.3
    np.testing.assert_allclose(found, (plain + mirror) / 2, atol=1e-5)


def test_one_window_that_holds_the_photo_is_the_photo():
    torch.manual_seed(0)
    model = UNET(features=(4, 8)).eval()
    photo, _ = a_photo(64, 96)
    found = probability_by_windows(model, photo, (64, 96))
    np.testing.assert_allclose(found, whole(model, photo), atol=1e-4)


def test_the_mask_is_the_probability_above_the_threshold():
    photo, true = a_photo(100, 150)
    for threshold in (0.2, 0.5, 0.9):
        mask = mask_by_windows(Green(), photo, (32, 48), threshold=threshold, overlap=0.5)
        probability = probability_by_windows(Green(), photo, (32, 48), overlap=0.5)
        assert mask.dtype == np.uint8 and np.array_equal(mask, probability > threshold)
    mask = mask_by_windows(Green(), photo, (32, 48))
    assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.99


def test_the_model_s_mode_is_put_back_even_when_nobody_takes_the_last_strip():
    model = Green().train()
    strips = probability_strips(model, noise(64, 64), (32, 32))
    next(strips)
    assert not model.training
    strips.close()
    assert model.training


# --- memory


def peak_of(height, width=256, window=(64, 64)):
    """What numpy holds at most while the strips are drawn and dropped, in bytes, photo aside."""
    photo, model = noise(height, width), Neighbours()
    tracemalloc.start()
    rows = sum(len(strip) for strip in probability_strips(model, photo, window))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == height
    return peak


def test_memory_does_not_grow_with_the_height_of_the_photo():
    peak_of(128)  # whatever is loaded or cached on the way
    low, high = peak_of(256), peak_of(4096)
    assert high < 1.1 * low + 60_000  # two indices of 8 bytes for each of 3,840 more rows
    strip = 64 * 256
    batch = 2 * 64 * 64 * 3 * 4
    assert low < 20 * strip + 4 * batch + 100_000


RSS = """
import json, sys
import numpy as np, torch
from unet_helpers.model import UNET
from unet_helpers.windows import mask_by_windows
torch.set_num_threads(1)
torch.manual_seed(0)
model, rng, peaks = UNET(features=(4, 8)).eval(), np.random.default_rng(0), []
def peak():
    line = next(x for x in open("/proc/self/status") if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
for height in (512, 512, 4096):
    photo = rng.integers(0, 256, (height, 512, 3), np.uint8)
    assert mask_by_windows(model, photo, (256, 256)).shape == (height, 512)
    peaks.append(peak())
with torch.inference_mode():
    model(torch.zeros(1, 3, 4096, 512))
print(json.dumps([*peaks, peak()]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system has no VmHWM")
def test_the_process_itself_does_not_grow_either():
    """Resident memory, measured by the kernel: the network's maps included."""
    call = [sys.executable, "-c", RSS]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    _, low, high, in_one_piece = json.loads(done.stdout)
    photo_and_mask = (4096 - 512) * 512 * 4 / 2**20  # MiB; the mask is joined from strips: twice
    assert high - low < 2 * photo_and_mask + 10
    assert in_one_piece - high > 60  # what the whole photo would have taken on top


# --- bad input


@pytest.mark.parametrize("window", [(128, 64), (64, 128), (512, 512)])
def test_a_window_larger_than_the_photo_is_refused(window):
    with pytest.raises(
        CourseError, match=r"no larger than the photo of 60×90.*predict_probability"
    ):
        mask_by_windows(Green(), noise(60, 90), window)
    assert mask_by_windows(Green(), noise(60, 90), (64, 96)).shape == (60, 90)  # the padded size


def test_windows_off_the_grid_and_impossible_overlaps_are_refused():
    photo = noise(80, 120)
    with pytest.raises(CourseError, match=r"multiples of 16.*found 50×64.*use window=\(48, 64\)"):
        mask_by_windows(Green(), photo, (50, 64))
    with pytest.raises(CourseError, match="multiples of 16"):
        mask_by_windows(Green(), photo, (0, 64))
    for overlap in (1, -0.1, float("nan")):
        with pytest.raises(CourseError, match="overlap"):
            mask_by_windows(Green(), photo, (32, 32), overlap=overlap)
    with pytest.raises(CourseError, match=r"cosine, gaussian, flat; found 'round'"):
        mask_by_windows(Green(), photo, (32, 32), weight="round")
    for bad in ((10, 20, 10), (20, 10, 11), (20, 10, 0)):
        with pytest.raises(CourseError, match="side that they have to cover"):
            window_starts(*bad)


@pytest.mark.parametrize("window", [64, (64,), ("64", "96"), "64", (64, 96, 3), (64.0, 96.0), None])
def test_a_window_is_two_whole_numbers(window):
    with pytest.raises(CourseError, match=r"^window: expected height and width.*\(256, 384\)"):
        mask_by_windows(Green(), noise(80, 120), window)


@settings(deadline=None, suppress_health_check=SLOW)
@given(st.tuples(*[st.integers(-50, 300)] * 2), st.tuples(*[st.integers(1, 200)] * 2))
def test_the_window_that_an_error_proposes_is_taken_and_no_other_is_nearer(window, size):
    fits = fitting_window(window, size)
    for asked, found, side in zip(window, fits, size, strict=True):
        allowed = range(16, side + 16, 16)  # the last one is the padded side, or it would not end
        assert found in allowed
        assert abs(asked - found) == min(abs(asked - other) for other in allowed)
    assert fitting_window(fits, size) == fits


def test_the_proposed_window_works():
    photo = noise(67, 101)
    with pytest.raises(CourseError, match=r"no larger than .*67×101.*use window=\(80, 112\)"):
        mask_by_windows(Green(), photo, (512, 770))
    assert mask_by_windows(Green(), photo, (80, 112)).shape == (67, 101)


@pytest.mark.parametrize("count", [0, -1, 1.5, None])
def test_counts_below_one_are_refused_by_name(count):
    with pytest.raises(CourseError, match=r"^batch_size: .*batch_size=2"):
        mask_by_windows(Green(), noise(64, 64), (32, 32), batch_size=count)
    with pytest.raises(CourseError, match=r"^multiple: .*multiple=16"):
        pad_to_multiple(noise(64, 64), count)


def test_what_is_no_photo_and_what_has_many_classes_is_refused():
    with pytest.raises(CourseError, match="read_photo"):
        mask_by_windows(Green(), noise(64, 64)[..., 0], (32, 32))
    with pytest.raises(CourseError, match=r"one output channel.*found 3"):
        mask_by_windows(nn.Conv2d(3, 3, 1), noise(64, 64), (32, 32))
