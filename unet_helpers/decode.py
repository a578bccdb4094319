"""Photos, masks and labels from disk: decoded at the size that is needed, and checked."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from unet_helpers.environment import CourseError
from unet_helpers.gif import SIGNATURES, Runs, read_gif
from unet_helpers.pairs import Pair

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# JPEG stores blocks of 8×8 pixels as frequencies; leaving out the high ones gives the photo at a
# half, a quarter or an eighth of its size, averaged rather than skipped (libjpeg's "scale_denom").
REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}

# OpenCV starts one thread per core for pictures this small, and every loader worker would do so.
cv2.setNumThreads(0)


def read_photo(
    path: str | Path, size: tuple[int, int] | None = None, scaled: bool = True
) -> np.ndarray:
    """A photo as RGB uint8 (H, W, 3), turned as its EXIF orientation says.

    size: (height, width) wanted; the JPEG is then decoded at the smallest of its scales 1, 1/2,
    1/4, 1/8 that is not below it, and the rest is an area average (linear where it must grow).
    None: the photo's own size. scaled: False decodes all of the JPEG whatever is wanted, which
    takes longer and gives nearly the same picture. Raises CourseError for a file that is missing,
    truncated or not a photo.
    """
    return _photo(Path(path), size, scaled)[0]


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A mask as uint8 (H, W): 1 where the stored value is above 0, else 0.

    What counts is the stored value: in a palette file the index, whatever colours the palette
    gives it. size: (height, width) wanted; every target pixel takes the source pixel at its
    centre (nearest), so no value is made up. Raises CourseError for a file that is missing,
    truncated, in colour, with more than two values or none that means background, or with a
    palette that is upside down.
    """
    return _mask(Path(path), size)[0]


def read_labels(
    path: str | Path,
    classes: int,
    size: tuple[int, int] | None = None,
    ignore_index: int | None = None,
) -> np.ndarray:
    """Class indices as uint8 (H, W), each 0 to classes - 1, or `ignore_index`.

    What counts is the stored value: the index in a palette file, the grey value in one without a
    palette. size: as for `read_mask`. Raises CourseError for a file that is missing, truncated or
    in colour (the indices are gone then: see `labels.labels_from_colours`), or that holds any other
    value.
    """
    return _labels(Path(path), size, classes, ignore_index)[0]


def read_pair(
    pair: Pair,
    size: tuple[int, int] | None = None,
    classes: int | None = None,
    ignore_index: int | None = None,
    scaled: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Photo uint8 (H, W, 3) and mask uint8 (H, W) of one pair, at `size` if given.

    classes: None for a car's mask in {0, 1}, a number for class indices (see `read_labels`).
    scaled: as for `read_photo`. Raises CourseError as `read_photo` and `read_mask` do, and for a
    mask of another size.
    """
    photo, photo_size = _photo(pair.image, size, scaled)
    if classes is None:
        mask, mask_size = _mask(pair.mask, size)
    else:
        mask, mask_size = _labels(pair.mask, size, classes, ignore_index)
    if mask_size != photo_size:
        raise CourseError(
            pair.mask,
            expected=f"the size of its photo {pair.image.name}, {_shown(photo_size)}",
            found=_shown(mask_size),
            mend="replace the mask by the one that belongs to this photo",
        )
    return photo, mask


def _shown(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]} pixels (width × height)"


def _bytes(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        found = error.strerror or str(error)
        mend = "put the file back, or prepare the data again"
        raise CourseError(path, expected=f"a {kind} file", found=found, mend=mend) from error


def _undecodable(data: bytes, error: Exception) -> str:
    # Pillow names what it was given, which is the bytes in memory: `<_io.BytesIO object at 0x…>`.
    said = re.sub(r"\s*<_io\.BytesIO[^>]*>", "", str(error))
    return f"{len(data):,} bytes that cannot be decoded ({said})"


def _photo(
    path: Path, size: tuple[int, int] | None, scaled: bool
) -> tuple[np.ndarray, tuple[int, int]]:
    """The photo at `size`, and the (height, width) that it has on disk."""
    data = _bytes(path, "photo")
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = "exif" in image.info and image.getexif().get(0x0112, 1) >= 5
            full = image.size if turned else image.size[::-1]
            photo = _decode_jpeg(data, _scale(full, size) if scaled else 1)
            if photo is None:
                photo = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, cv2.error, Image.DecompressionBombError) as error:
        raise CourseError(
            path,
            expected="a whole photo (JPEG or PNG)",
            found=_undecodable(data, error),
            mend="the file is damaged or cut short: copy it again from where it came from",
        ) from error
    return _resize_photo(photo, size), full


def _scale(full: tuple[int, int], size: tuple[int, int] | None) -> int:
    if size is None:
        return 1
    (height, width), (wanted_height, wanted_width) = full, size
    for scale in REDUCED:  # the largest first; libjpeg rounds the reduced size up
        if -(-height // scale) >= wanted_height and -(-width // scale) >= wanted_width:
            return scale
    return 1


def _decode_jpeg(data: bytes, scale: int) -> np.ndarray | None:
    """The JPEG at 1/scale of its size; None when Pillow should have a closer look.

    OpenCV 4 fills what is missing at the end of a truncated JPEG with grey and says nothing. A
    whole one ends with the end-of-image marker (bytes may follow it: Pillow then decides).
    """
    if not (data.startswith(JPEG_START) and data.endswith(JPEG_END)):
        return None
    photo = cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED[scale])
    return None if photo is None else cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


def _resize_photo(photo: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or photo.shape[:2] == tuple(size):
        return photo
    shrinks = photo.shape[0] > size[0] or photo.shape[1] > size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(photo, (size[1], size[0]), interpolation=how)


def _nearest(full: int, wanted: int) -> np.ndarray:
    """For each of `wanted` target pixels, the source pixel of `full` that holds its centre."""
    return (2 * np.arange(wanted) + 1) * full // (2 * wanted)


def _mask(path: Path, size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """The checked mask in {0, 1} at `size`, and the (height, width) that it has on disk."""
    runs = _stored(path, _wrong_mask)
    _check_values(path, runs)
    return (_at_size(runs, size) > 0).astype(np.uint8), (runs.height, runs.width)


def _labels(
    path: Path, size: tuple[int, int] | None, classes: int, ignore_index: int | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """The checked class indices at `size`, and the (height, width) that they have on disk."""
    if not 1 <= classes <= 256:
        raise CourseError(
            "classes", expected="1 to 256, the background included", found=str(classes),
            mend="give the number of classes, such as len(PARTS)",
        )  # fmt: skip
    said = f"one channel with class indices from 0 to {classes - 1}"
    said += "" if ignore_index is None else f", or {ignore_index} for pixels to be ignored"
    refuse = partial(_wrong_labels, expected=said)
    runs = _stored(path, refuse)
    present = np.unique(runs.values)
    wrong = present[(present >= classes) & (present != ignore_index)]
    if len(wrong):
        raise refuse(path, f"the value{'s' * (len(wrong) > 1)} {_listed(wrong)}")
    return _at_size(runs, size), (runs.height, runs.width)


def _stored(path: Path, refuse: Callable[[Path, str], CourseError]) -> Runs:
    """The stored values of a mask; refuse(path, found) makes the error for a picture in colour."""
    data = _bytes(path, "mask")
    try:
        return _decode_mask(data)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise CourseError(
            path,
            expected="a whole mask (GIF or PNG)",
            found=_undecodable(data, error),
            mend="the file is damaged or cut short: copy it again from where it came from",
        ) from error
    except ValueError as error:
        raise refuse(path, str(error)) from error


def _at_size(runs: Runs, size: tuple[int, int] | None) -> np.ndarray:
    if size is None:
        return runs.pixels()
    return runs.sample(*map(_nearest, (runs.height, runs.width), size))


def _listed(values: np.ndarray) -> str:
    return ", ".join(map(str, values[:8])) + (", …" if len(values) > 8 else "")


def _check_values(path: Path, runs: Runs) -> None:
    present, palette = np.unique(runs.values), runs.palette
    if len(present) > 2 or (len(present) == 2 and present[0] != 0):
        raise _wrong_mask(path, f"{len(present)} values ({_listed(present)})")
    car = int(present[-1])
    if palette is not None and car < len(palette):
        background, foreground = palette[[0, car]].sum(axis=1, dtype=int)
        if background > foreground:
            raise _wrong_mask(path, "a palette upside down: index 0 is the brighter colour")


def _wrong_mask(path: Path, found: str) -> CourseError:
    return CourseError(
        path,
        expected="one channel with two values: 0 (background, black) and one other (the car)",
        found=found,
        mend="save the mask as a black-and-white GIF or PNG, without smoothing; if these are class "
        "indices, give the config out_channels and classes, as configs/parts.yaml does",
    )


def _wrong_labels(path: Path, found: str, expected: str) -> CourseError:
    return CourseError(
        path,
        expected=expected,
        found=found,
        mend="save the labels as a palette or grey PNG that holds the indices themselves, neither "
        "in colour nor stretched to be seen; labels_from_colours turns exact colours back",
    )


def _decode_mask(data: bytes) -> Runs:
    """The stored values of a mask. Raises ValueError for a mask in colour."""
    if data.startswith(SIGNATURES):
        try:
            return read_gif(data)
        except ValueError:
            pass  # unusual or damaged: Pillow reads it or says what is wrong
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode not in ("1", "L", "P"):
            raise ValueError(f"an image of mode {image.mode}")
        palette = image.getpalette() if image.mode == "P" else None
        values = np.array(image).astype(np.uint8)
    return Runs.of(values, None if palette is None else np.array(palette).reshape(-1, 3))
