"""GIFs against Pillow; photos and masks at the size that is needed; every kind of bad file."""

from __future__ import annotations

import io
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from make_pairs import draw_car, gif_bytes, jpeg_bytes
from PIL import Image

from unet_helpers.decode import read_mask, read_pair, read_photo
from unet_helpers.environment import CourseError
from unet_helpers.gif import read_gif
from unet_helpers.pairs import Pair, find_pairs

GRAYS = [value for value in range(256) for _ in range(3)]


def gif_of(picture: np.ndarray, interlace: bool = False, **options) -> bytes:
    image = Image.frombytes("P", picture.shape[::-1], picture.tobytes())
    image.putpalette(GRAYS)
    buffer = io.BytesIO()
    image.save(buffer, "GIF", optimize=False, interlace=interlace, **options)
    return buffer.getvalue()


def car(height: int = 64, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    return draw_car(np.random.default_rng(1), 0.4, height, width, (180, 40, 40))


pictures = st.integers(1, 255).flatmap(
    lambda top: arrays(
        np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, top)
    )
)


@settings(deadline=None, max_examples=150)
@given(pictures, st.integers(1, 9), st.booleans())
def test_gif_pixels_are_pillows(picture, enlarge, interlace):
    picture = np.ascontiguousarray(np.kron(picture, np.ones((enlarge, enlarge), np.uint8)))
    data = gif_of(picture, interlace)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.array(opened)
    np.testing.assert_array_equal(read_gif(data).pixels(), expected)
    np.testing.assert_array_equal(expected, picture)  # the oracle itself


def test_gif_with_many_clear_codes():
    """Noise fills LZW's table of 4096 entries again and again."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
    np.testing.assert_array_equal(read_gif(gif_of(noise)).pixels(), noise)


@settings(deadline=None, max_examples=60)
@given(pictures, st.booleans(), st.data())
def test_sampling_runs_equals_sampling_pixels(picture, interlace, data):
    height, width = picture.shape
    rows = data.draw(arrays(np.int64, st.integers(1, 50), elements=st.integers(0, height - 1)))
    columns = data.draw(arrays(np.int64, st.integers(1, 50), elements=st.integers(0, width - 1)))
    columns.sort()
    sampled = read_gif(gif_of(picture, interlace)).sample(rows, columns)
    np.testing.assert_array_equal(sampled, picture[rows][:, columns])


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_damaged_gifs_are_refused_or_read_but_never_crash(data):
    whole = bytearray(gif_of(car()[1]))
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(whole) - 3))
        with pytest.raises(ValueError):
            read_gif(bytes(whole[:cut]))
        return
    for _ in range(3):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        runs = read_gif(bytes(whole))
    except ValueError:
        return
    assert runs.pixels().shape == (runs.height, runs.width)


def test_real_masks_decode_as_pillow_does(real_carvana, tmp_path):
    for path in sorted((real_carvana / "fullres" / "train_masks").glob("*.gif")):
        with Image.open(path) as opened:
            expected, small = np.array(opened), np.array(opened.resize((240, 160), Image.NEAREST))
        np.testing.assert_array_equal(read_gif(path.read_bytes()).pixels(), expected)
        np.testing.assert_array_equal(read_mask(path), expected > 0)
        np.testing.assert_array_equal(read_mask(path, (160, 240)), small > 0)


def test_mask_keeps_the_pixel_at_the_centre(tmp_path):
    """2×6 to 1×2: the centres (row 1.0, columns 1.5 and 4.5) lie in row 1, columns 1 and 4."""
    mask = np.array([[0, 0, 0, 1, 1, 1], [0, 1, 0, 0, 0, 1]], np.uint8)
    (tmp_path / "m.gif").write_bytes(gif_bytes(mask))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.gif", (1, 2)), [[1, 0]])


@pytest.mark.parametrize("stored", ["gif01", "gif0255", "png01", "png0255", "png1bit", "palette"])
def test_mask_is_the_same_however_it_is_stored(tmp_path, stored):
    mask = car()[1]
    path = tmp_path / ("m.gif" if stored.startswith("gif") else "m.png")
    if stored == "gif01":
        path.write_bytes(gif_bytes(mask))
    elif stored == "gif0255":
        path.write_bytes(gif_of(mask * 255))
    elif stored == "palette":  # index 1 is a dark red, as in the Pascal VOC masks
        image = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
        image.putpalette([0, 0, 0, 128, 0, 0])
        image.save(path)
    else:
        image = Image.fromarray(mask * (1 if stored == "png01" else 255))
        (image.convert("1") if stored == "png1bit" else image).save(path)
    read = read_mask(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask)


def test_photo_at_a_smaller_size_is_an_average_of_the_full_one(tmp_path):
    photo, _ = car(640, 960)
    (tmp_path / "p.jpg").write_bytes(jpeg_bytes(photo, 95))
    full = read_photo(tmp_path / "p.jpg")
    assert full.shape == (640, 960, 3)
    assert full.dtype == np.uint8
    with Image.open(tmp_path / "p.jpg") as opened:
        assert np.abs(full.astype(int) - np.array(opened)).max() <= 3
    for size in (
        (320, 480),
        (160, 240),
        (80, 120),
        (128, 192),
        (500, 120),
        (100, 333),
        (700, 1000),
    ):
        small = read_photo(tmp_path / "p.jpg", size)
        averaged = cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA)
        assert small.shape == (*size, 3)
        # a shift by one pixel, or taking every n-th pixel, gives three times this difference
        assert np.abs(small.astype(float) - averaged).mean() < 1.5, size


@pytest.mark.parametrize("axis", [0, 1])
def test_neither_axis_is_decoded_below_the_wanted_size(tmp_path, axis):
    """Stripes of 4 pixels across the axis that keeps its size, while the other shrinks to 1/8."""
    stripes = np.where(np.arange(640) // 4 % 2, 250, 5).astype(np.uint8)
    photo = np.broadcast_to(stripes[:, None, None], (640, 640, 3))
    wanted = (640, 80) if axis == 0 else (80, 640)
    (tmp_path / "p.jpg").write_bytes(jpeg_bytes(photo if axis == 0 else photo.swapaxes(0, 1), 95))
    assert read_photo(tmp_path / "p.jpg", wanted).std() > 100


def test_real_photo_is_not_aliased(real_carvana):
    """The reduced decode is closer to the average than a plain linear resize of the full photo."""
    path = sorted((real_carvana / "fullres" / "train").glob("*.jpg"))[0]
    full = read_photo(path)
    for size in ((160, 240), (128, 192), (64, 96), (512, 512)):
        averaged = cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA).astype(float)
        linear = cv2.resize(full, size[::-1], interpolation=cv2.INTER_LINEAR)
        error = np.square(read_photo(path, size) - averaged).mean()
        assert error < 0.5 * np.square(linear - averaged).mean(), size


def test_photo_is_turned_as_its_exif_says(tmp_path):
    photo, mask = car(64, 96)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(photo).save(tmp_path / "p.jpg", exif=exif, quality=95)
    turned = read_photo(tmp_path / "p.jpg")
    assert turned.shape == (96, 64, 3)
    assert np.abs(turned.astype(int) - np.rot90(photo, -1)).mean() < 5
    (tmp_path / "m.gif").write_bytes(gif_bytes(np.rot90(mask, -1).copy()))
    image, small = read_pair(Pair("p", tmp_path / "p.jpg", tmp_path / "m.gif"), (48, 32))
    assert image.shape == (48, 32, 3)
    assert small.shape == (48, 32)


def test_gray_and_png_photos_come_as_rgb(tmp_path):
    photo, _ = car()
    Image.fromarray(photo).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "p.png"), photo)
    Image.fromarray(photo).convert("L").save(tmp_path / "g.jpg")
    gray = read_photo(tmp_path / "g.jpg")
    assert gray.shape == photo.shape
    assert (gray[..., 0] == gray[..., 2]).all()


def test_pairs_go_by_stem_and_not_by_order(tmp_path):
    photo, mask = car()
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir(), masks.mkdir()
    for stem in ("b", "a", "a_1"):
        (images / f"{stem}.jpg").write_bytes(jpeg_bytes(photo))
    (masks / "a_mask.gif").write_bytes(gif_bytes(mask))
    (masks / "a_1_mask.gif").write_bytes(gif_bytes(mask))
    Image.fromarray(mask).save(masks / "b.png")
    (images / ".DS_Store").write_bytes(b"")
    pairs = find_pairs(images, masks)
    assert [(p.stem, p.image.name, p.mask.name) for p in pairs] == [
        ("a", "a.jpg", "a_mask.gif"),
        ("a_1", "a_1.jpg", "a_1_mask.gif"),
        ("b", "b.jpg", "b.png"),
    ]


def test_every_unpaired_file_is_named(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir(), masks.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (images / name).write_bytes(b"x")
    for name in ("b_mask.gif", "d_mask.gif", "e_mask.gif"):
        (masks / name).write_bytes(b"x")
    with pytest.raises(CourseError) as caught:
        find_pairs(images, masks)
    for name in ("a.jpg", "c.jpg", "d_mask.gif", "e_mask.gif"):
        assert name in str(caught.value)
    assert "b.jpg" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "empty folder"),
        (["a.jpg", "notes.txt"], "notes.txt"),
        (["a.jpg", "a.png"], "a.png"),
        (None, "no such folder"),
    ],
)
def test_wrong_folders(tmp_path, names, said):
    images, masks = tmp_path / "images", tmp_path / "masks"
    masks.mkdir()
    (masks / "a_mask.gif").write_bytes(b"x")
    if names is not None:
        images.mkdir()
        for name in names:
            (images / name).write_bytes(b"x")
    with pytest.raises(CourseError, match=said):
        find_pairs(images, masks)


def bad_files() -> dict[str, tuple[bytes, bytes, str, str]]:
    """Name -> (photo, mask, the file that is to be named, what is to be said)."""
    photo, mask = car()
    jpeg, gif = jpeg_bytes(photo), gif_bytes(mask)
    smooth = cv2.GaussianBlur(mask * 255, (5, 5), 0)
    upside_down = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    upside_down.putpalette([255, 255, 255, 0, 0, 0])

    def png(image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    return {
        "truncated photo": (jpeg[: len(jpeg) // 2], gif, "p.jpg", "cut short"),
        "photo is text": (b"<html>not found</html>", gif, "p.jpg", "cannot be decoded"),
        "empty photo": (b"", gif, "p.jpg", "0 bytes"),
        "truncated mask": (jpeg, gif[: len(gif) // 2], "p_mask.png", "cut short"),
        "truncated png": (jpeg, png(Image.fromarray(mask))[:90], "p_mask.png", "cut short"),
        "empty mask": (jpeg, b"", "p_mask.png", "0 bytes"),
        "other size": (jpeg, gif_bytes(mask[:, :-1].copy()), "p_mask.png", "95×64"),
        "turned": (jpeg, gif_bytes(mask.T.copy()), "p_mask.png", "64×96"),
        "gray values": (jpeg, png(Image.fromarray(smooth)), "p_mask.png", "values"),
        "gray gif": (jpeg, gif_of(smooth), "p_mask.png", "values"),
        "no background": (jpeg, png(Image.fromarray(mask + 1)), "p_mask.png", "2 values (1, 2)"),
        "rgb": (jpeg, png(Image.fromarray(photo)), "p_mask.png", "mode RGB"),
        "rgba": (jpeg, png(Image.fromarray(photo).convert("RGBA")), "p_mask.png", "mode RGBA"),
        "upside down": (jpeg, png(upside_down), "p_mask.png", "upside down"),
    }


@pytest.mark.parametrize("size", [None, (32, 48)])
@pytest.mark.parametrize("name", sorted(bad_files()))
def test_bad_files_are_named_with_the_way_out(tmp_path, name, size):
    photo, mask, file, said = bad_files()[name]
    (tmp_path / "p.jpg").write_bytes(photo)
    (tmp_path / "p_mask.png").write_bytes(mask)
    with pytest.raises(CourseError) as caught:
        read_pair(Pair("p", tmp_path / "p.jpg", tmp_path / "p_mask.png"), size)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / file)), message
    assert said in message
    assert "expected" in message
    assert "What to do" in message


def test_truncated_real_photo_is_noticed(real_carvana, tmp_path):
    """OpenCV 4 alone would fill the missing part with grey."""
    whole = sorted((real_carvana / "fullres" / "train").glob("*.jpg"))[0].read_bytes()
    for share in (0.3, 0.9, 0.999):
        (tmp_path / "p.jpg").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CourseError, match="cut short"):
            read_photo(tmp_path / "p.jpg", (160, 240))
    (tmp_path / "p.jpg").write_bytes(whole + b"\0\0some camera's own data")
    assert read_photo(tmp_path / "p.jpg", (160, 240)).shape == (160, 240, 3)


def test_missing_file(tmp_path):
    shutil.rmtree(tmp_path)
    with pytest.raises(CourseError, match=r"gone\.jpg"):
        read_photo(tmp_path / "gone.jpg")
