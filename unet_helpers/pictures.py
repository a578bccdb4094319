"""Pictures in a notebook: photos with their masks, predictions with their mistakes, alt text.

Functions that start with ``plot_`` return a matplotlib figure; :func:`show` puts a figure into the
notebook with a description for people who do not see it. Functions that start with ``show_`` do
both. Notebooks import all of this from :mod:`unet_helpers.plotting`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from unet_helpers.environment import CourseError

# Two of Okabe and Ito's colours, which stay apart under every common form of colour blindness.
MASK_COLOUR = (230, 159, 0)
MISSED_COLOUR = (0, 114, 178)
EXTRA_COLOUR = (230, 159, 0)
VIVID, KEPT = 60, 64  # how far apart a vivid colour's channels are; colours kept for such


def figure_png(fig: Figure, dpi: int = 90) -> bytes:
    """The figure as a small PNG: at most 256 colours, no software name or date in it."""
    raw = io.BytesIO()
    fig.savefig(
        raw,
        format="png",
        dpi=dpi,
        bbox_inches="tight",
        facecolor="white",
        metadata={"Software": None},
    )
    return small_png(Image.open(raw).convert("RGB"))


def small_png(picture: Image.Image) -> bytes:
    """An RGB picture as PNG of at most 256 colours: small enough for a notebook's outputs.

    A quarter of the colours is chosen among vivid pixels alone: among all of them, a class or a
    legend of few pixels would be given the colour of something larger.
    """
    pixels = np.asarray(picture).reshape(-1, 3)
    vivid = pixels[pixels.max(axis=1) - pixels.min(axis=1) > VIVID]
    colours = [255, 255, 255, *_colours(pixels, 255 - KEPT, Image.Quantize.MEDIANCUT)]
    if len(vivid):
        colours += _colours(vivid, KEPT, Image.Quantize.FASTOCTREE)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    small = io.BytesIO()
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def _colours(pixels: np.ndarray, count: int, how: Image.Quantize) -> list[int]:
    """At most `count` colours for pixels (N, 3), as a palette's flat list."""
    return Image.fromarray(pixels[None]).quantize(count, how).getpalette()


def show(
    fig: Figure, alt: str, dpi: int = 90, *, place: str | None = None, again: bool = False
) -> None:
    """Display a figure in the notebook with ``alt``, a sentence that says what it shows.

    The sentence is stored as the picture's alt text and as its plain-text form. The figure is
    closed, so that nothing is drawn twice. place: a name for the picture; with again=True the
    figure takes the place of the one last shown under that name, so that a curve can grow.
    Raises CourseError for an empty sentence.
    """
    alt = _one_line(alt)
    png = figure_png(fig, dpi)
    plt.close(fig)
    _display(png, alt, place, again)


def show_picture(path: str | Path, alt: str) -> None:
    """Display a PNG file in the notebook as it is, with ``alt``, which says what it shows.

    Unlike a picture in a text cell, it is stored in the notebook, and so seen wherever the notebook
    is opened. Raises CourseError for an empty sentence, or a file that is no PNG or not there.
    """
    path, alt = Path(path), _one_line(alt)
    png = path.read_bytes() if path.is_file() else b""
    if not png.startswith(b"\x89PNG"):
        raise CourseError(
            path,
            expected="a PNG picture",
            found="another kind of file" if path.is_file() else "no such file",
            mend="take the whole course, with its folder figures/",
        )
    _display(png, alt)


def _one_line(alt: str) -> str:
    alt = " ".join(alt.split())
    if not alt:
        raise CourseError(
            "show(fig, alt)",
            expected="a sentence that says what the picture shows",
            found="an empty text",
            mend="describe the picture for somebody who cannot see it",
        )
    return alt


def _display(png: bytes, alt: str, place: str | None = None, again: bool = False) -> None:
    if get_ipython() is None:
        print(f"[picture: {alt}]")
        return
    bundle = {"image/png": base64.b64encode(png).decode("ascii"), "text/plain": alt}
    metadata = {"image/png": {"alt": alt}}
    display(bundle, raw=True, metadata=metadata, display_id=place, update=again)


def overlay(
    photo: np.ndarray,
    mask: np.ndarray,
    colour: tuple[int, int, int] = MASK_COLOUR,
    alpha: float = 0.5,
) -> np.ndarray:
    """The photo with the mask's pixels tinted.

    photo (H, W, 3) uint8, mask (H, W) with values > 0 inside, colour RGB 0–255, alpha 0–1;
    returns a new (H, W, 3) uint8. Raises CourseError when the two differ in size.
    """
    _same_size(photo, mask)
    tinted = photo.astype(np.float32)
    inside = mask > 0
    tinted[inside] = (1 - alpha) * tinted[inside] + alpha * np.asarray(colour, np.float32)
    return np.rint(tinted).astype(np.uint8)


def difference(photo: np.ndarray, mask: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The photo in pale grey, missed pixels in blue, extra pixels in orange.

    photo (H, W, 3) uint8, mask and predicted (H, W), > 0 inside; returns (H, W, 3) uint8.
    """
    _same_size(photo, mask)
    _same_size(photo, predicted)
    grey = photo.mean(axis=2, keepdims=True) * 0.5 + 127
    picture = np.repeat(grey, 3, axis=2).astype(np.uint8)
    picture[(mask > 0) & ~(predicted > 0)] = MISSED_COLOUR
    picture[~(mask > 0) & (predicted > 0)] = EXTRA_COLOUR
    return picture


def _same_size(photo: np.ndarray, mask: np.ndarray) -> None:
    if photo.shape[:2] != mask.shape[:2]:
        raise CourseError(
            "mask drawn on a photo",
            expected=f"a mask of the photo's size, {photo.shape[0]}×{photo.shape[1]}",
            found=f"{mask.shape[0]}×{mask.shape[1]}",
            mend="resize the mask with nearest neighbour, or read both at the same size",
        )


def plot_photos(
    photos: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    width: float = 9.0,
) -> Figure:
    """A grid of pictures: (H, W, 3) uint8 in colour, (H, W) in grey from 0 to its highest value.

    titles: one a picture; columns: all in one row up to 4 unless told; width: of the figure, in
    inches. Raises CourseError when there is nothing to draw or the titles do not match.
    """
    if not len(photos) or (titles is not None and len(titles) != len(photos)):
        raise CourseError(
            "a grid of photos",
            expected="at least one photo, and one title a photo",
            found=f"{len(photos)} photos, {len(titles or [])} titles",
            mend="pass lists of the same length",
        )
    columns = min(len(photos), columns or 4)
    rows = -(-len(photos) // columns)
    tallest = max(photo.shape[0] / photo.shape[1] for photo in photos)
    cell = width / columns
    lines = max((title.count("\n") + 1 for title in titles or [] if title), default=0)
    height = rows * (cell * tallest + 0.08 + 0.2 * lines)
    fig, axes = plt.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    for index, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if index < len(photos):
            _draw(axis, photos[index], titles[index] if titles else None)
    return fig


def _draw(axis: plt.Axes, picture: np.ndarray, title: str | None = None) -> None:
    picture = np.asarray(picture)
    if picture.ndim == 2:
        axis.imshow(picture, cmap="gray", vmin=0, vmax=max(float(picture.max()), 1e-6))
    else:
        axis.imshow(picture)
    axis.set_axis_off()
    if title:
        axis.set_title(title, fontsize=9)


def show_photos(
    photos: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    columns: int | None = None,
    width: float = 9.0,
) -> None:
    """:func:`plot_photos`, displayed with its alt text."""
    show(plot_photos(photos, titles, columns, width), alt)


def show_pairs(
    photos: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    width: float = 9.0,
) -> None:
    """One row a pair: the photo, its mask, the mask laid over the photo."""
    pictures, names = [], []
    for index, (photo, mask) in enumerate(zip(photos, masks, strict=True)):
        pictures += [photo, mask, overlay(photo, mask)]
        names += [titles[index] if titles else "photo", "mask", "both"]
    show_photos(pictures, names, alt=alt, columns=3, width=width)


def plot_predictions(
    photos: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    width: float = 10.0,
) -> Figure:
    """One row a photo: photo, mask, prediction, and where the two differ.

    photos (H, W, 3) uint8; masks and predictions (H, W) uint8 class indices. In the last column
    blue is car that the prediction missed, orange what it added.
    """
    pictures, names = [], []
    for index, (photo, mask, predicted) in enumerate(zip(photos, masks, predictions, strict=True)):
        pictures += [photo, mask > 0, predicted > 0, difference(photo, mask, predicted)]
        names += [titles[index] if titles else "photo", "mask", "prediction", "differences"]
    fig = plot_photos(pictures, names, columns=4, width=width)
    handles = [
        Patch(color=np.asarray(colour) / 255, label=label)
        for colour, label in ((MISSED_COLOUR, "missed"), (EXTRA_COLOUR, "extra"))
    ]
    fig.set_figheight(fig.get_figheight() + 0.3)
    fig.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False, fontsize=9)
    return fig


def show_predictions(
    photos: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    width: float = 10.0,
) -> None:
    """:func:`plot_predictions`, displayed with its alt text."""
    show(plot_predictions(photos, masks, predictions, titles, width), alt)
